"""Which edits a stage notices, and when: real processes, paused at a chosen moment while somebody edits a file."""

import os
import subprocess
import sys
import textwrap
import time

import pytest

from smolmath.running import edits, runs
from smolmath.running.runs import stage_run
from tests.conftest import ROOT, wait_until

DVC_YAML = """
stages:
  copy:
    cmd: python stages/duplicate.py
    deps: [stages/duplicate.py, src/mine, source.txt]
    params: [number]
    outs: [result.txt]
"""
SCRIPT = """
import os, time
from pathlib import Path

import smolmath
if Path("pause").exists():
    Path("pause").unlink()
    while not Path("go").exists():
        time.sleep(0.01)
from smolmath.running import runs
runs.refuse_foreign_checkout = lambda: None

with runs.stage_run("copy") as run:
    run.out("result.txt").write_text("result")
    print("worked")
"""


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("number: 1\nhardware: null\n")
    (tmp_path / "source.txt").write_text("source")
    (tmp_path / "src" / "mine").mkdir(parents=True)
    (tmp_path / "src" / "mine" / "one.py").write_text("VALUE = 1\n")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "duplicate.py").write_text(SCRIPT)
    return tmp_path


@pytest.fixture
def here(workspace, monkeypatch):
    """The workspace, whose stage runs in this process."""
    monkeypatch.chdir(workspace)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(runs, "refuse_foreign_checkout", lambda: None)
    monkeypatch.setattr(edits, "_FOLDER", str(workspace))
    monkeypatch.setattr(edits, "_IMPORTED", edits._code_files())
    return workspace


def test_the_example_at_the_head_of_runs_publishes_its_out(here):
    exec(textwrap.dedent(runs.__doc__.split("\n\n")[1]), vars(runs))
    assert (here / "result.txt").read_text() == "1"
    assert not list(here.glob(".result.txt*"))


def started(workspace):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")} | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "stages/duplicate.py"]
    return subprocess.Popen(
        command, cwd=workspace, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def keeping_times(path, text):
    """As `rsync --times` or an unpacked archive: other contents of the same size, at the old time."""
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


EDITS = {  # name -> (the edit, the dep that it changes)
    "a module": (lambda folder: (folder / "src/mine/one.py").write_text("VALUE = 22\n"), "src/mine"),
    "a module at its old time": (lambda folder: keeping_times(folder / "src/mine/one.py", "VALUE = 2\n"), "src/mine"),
    "a module replaced": (lambda folder: replaced(folder / "src/mine/one.py", "VALUE = 2\n"), "src/mine"),
    "a new module": (lambda folder: (folder / "src/mine/two.py").write_text("VALUE = 2\n"), "src/mine"),
    "a module removed": (lambda folder: (folder / "src/mine/one.py").unlink(), "src/mine"),
    "the script": (
        lambda folder: (folder / "stages/duplicate.py").write_text(f"{SCRIPT}\nmain()\n"),
        "stages/duplicate.py",
    ),
    "a script that is no Python": (
        lambda folder: (folder / "stages/duplicate.py").write_text("\0"),
        "stages/duplicate.py",
    ),
}
DATA = {
    "data": (lambda folder: (folder / "source.txt").write_text("edited"), "source.txt"),
    "data at its old time": (lambda folder: keeping_times(folder / "source.txt", "edited"), "source.txt"),
    "data removed": (lambda folder: (folder / "source.txt").unlink(), "source.txt"),
    "a param": (lambda folder: (folder / "params.yaml").write_text("number: 2\n"), "params.yaml: number"),
}


def replaced(path, text):
    """As an editor saves: another file under the same name."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize("name", ["a module", "the script"])
def test_code_edited_while_its_process_starts_is_noticed_before_any_work(workspace, name):
    edit, dep = EDITS[name]
    (workspace / "pause").touch()
    with started(workspace) as running:
        wait_until(lambda: not (workspace / "pause").exists(), running)
        edit(workspace)
        (workspace / "go").touch()
        printed, errors = running.communicate(timeout=60)
    assert (running.returncode, printed) == (1, "")
    assert f"copy: edited while this process started, which may have read the old text: {dep}." in errors
    assert "Nothing has been done yet: run `dvc repro copy` again." in errors


def test_a_script_edited_before_it_has_imported_anything_is_noticed(workspace):
    script = workspace / "stages" / "duplicate.py"
    script.write_text(
        SCRIPT.replace("\nimport smolmath\n", "\n").replace("runs.refuse", "import smolmath\nruns.refuse")
    )
    (workspace / "pause").touch()
    with started(workspace) as running:
        wait_until(lambda: not (workspace / "pause").exists(), running)
        script.write_text(SCRIPT)
        (workspace / "go").touch()
        printed, errors = running.communicate(timeout=60)
    assert (running.returncode, printed) == (1, "")
    assert "may have read the old text: stages/duplicate.py." in errors


@pytest.mark.parametrize("name", [name for name in EDITS if "script" not in name])
def test_code_edited_before_the_stage_is_begun_is_noticed(here, capsys, name):
    edit, dep = EDITS[name]
    edit(here)
    with pytest.raises(SystemExit), stage_run("copy"):
        raise AssertionError("it began")
    assert f"may have read the old text: {dep}." in capsys.readouterr().err


@pytest.mark.parametrize("name", [*EDITS, "a param"])
def test_an_edit_during_the_last_imports_is_noticed_before_any_work(here, capsys, name):
    edit, dep = {**EDITS, **DATA}[name]

    def begun():
        with stage_run("copy") as run:
            edit(here)
            run.out("result.txt")
            raise AssertionError("it works")

    with pytest.raises(SystemExit):
        begun()
    assert f"copy: {dep} changed while it ran" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*EDITS, *DATA])
def test_an_edit_while_it_works_is_noticed_and_nothing_is_published(here, capsys, name):
    edit, dep = {**EDITS, **DATA}[name]

    def working():
        with stage_run("copy") as run:
            run.out("result.txt").write_text("result")
            edit(here)

    with pytest.raises(SystemExit):
        working()
    assert f"copy: {dep} changed while it ran" in capsys.readouterr().err
    assert not (here / "result.txt").exists()


@pytest.mark.parametrize("skew_s", [0.66, 3600])
def test_a_file_from_the_future_is_no_edit(workspace, skew_s):
    """The boot's fraction of a second, a clock that was set, an archive of another time zone."""
    for path in [*workspace.rglob("*.py"), workspace / "source.txt"]:
        os.utime(path, ns=(time.time_ns(), time.time_ns() + int(skew_s * 1e9)))
    with started(workspace) as running:
        printed, errors = running.communicate(timeout=60)
    assert (running.returncode, printed, errors) == (0, "worked\n", "")


def test_a_file_that_is_touched_or_linked_while_the_stage_works_is_no_edit(here):
    with stage_run("copy") as run:
        run.out("result.txt").write_text("result")
        for number, path in enumerate([*here.rglob("*.py"), here / "source.txt"]):
            os.utime(path)
            os.link(path, here / f"link{number}")
    assert (here / "result.txt").exists()


@pytest.mark.parametrize("tick_s", [1, 2])
def test_an_edit_within_one_tick_of_a_coarse_file_system_is_noticed(tmp_path, monkeypatch, tick_s):
    def coarse(path):
        size = path.stat().st_size
        return str(path), 1, size, 7 * tick_s * 10**9, 7 * tick_s * 10**9

    monkeypatch.setattr(edits, "_signature", coarse)
    (tmp_path / "a").write_text("1")
    before = edits.signatures([str(tmp_path)])[str(tmp_path)]
    (tmp_path / "a").write_text("2")
    now = edits.signatures([str(tmp_path)])[str(tmp_path)]
    assert before == now
    assert edits.touched(before, now)


def test_what_nobody_touched_is_not_read_again(tmp_path):
    path = tmp_path / "a"
    path.write_text("1")
    while path.stat().st_ctime_ns % 1_000_000_000 == 0:  # once in a billion
        os.utime(path)
    before = edits.signatures([str(path)])[str(path)]
    assert not edits.touched(before, edits.signatures([str(path)])[str(path)])


def test_a_module_replaced_within_the_second_of_its_import_runs_by_its_new_text(workspace):
    module = workspace / "src" / "mine" / "one.py"
    os.utime(module, ns=(10**18, 10**18))
    project = [str(ROOT / "src"), str(workspace / "src")]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = os.pathsep.join(project)
    value = [sys.executable, "-c", "import smolmath.running.edits, mine.one; print(mine.one.VALUE)"]
    printed = []
    for text in ("VALUE = 1\n", "VALUE = 2\n"):
        keeping_times(module, text)
        printed.append(subprocess.check_output(value, cwd=workspace, env=environment, text=True).strip())
    assert printed == ["1", "2"]
