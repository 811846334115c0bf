"""What a stage run guarantees: outs whole or not at all, inputs unchanged, one process per state directory."""

import io
import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from smolmath.running import runs
from smolmath.running.journal import entry_of
from smolmath.running.runs import stage_run
from tests.conftest import ROOT

DVC_YAML = """
stages:
  copy:
    cmd: python copy.py
    deps: [source.txt, folder]
    params: [number]
    outs: [out/result.txt]
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("number: 1\nunrelated: 1\n")
    (tmp_path / "source.txt").write_text("source")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(runs, "refuse_foreign_checkout", lambda: None)
    return tmp_path


def fingerprint():
    with stage_run("copy") as run:
        run.out("out/result.txt").write_text("result")
    return run.fingerprint


def test_an_out_appears_when_the_stage_has_ended_well(workspace):
    with stage_run("copy") as run:
        run.out("out/result.txt").write_text("result")
        assert not (workspace / "out" / "result.txt").exists()
    assert (workspace / "out" / "result.txt").read_text() == "result"
    assert not run.state.exists()


def test_weights_that_their_writer_kept_to_itself_are_published_for_all_who_may_read_a_new_file(workspace):
    umask = os.umask(0o027)
    try:
        with stage_run("copy") as run:
            out = run.out("out/result.txt")
            out.mkdir()
            for name, mode in (("weights", 0o600), ("config", 0o444)):
                (out / name).write_text("x")
                (out / name).chmod(mode)
    finally:
        os.umask(umask)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (workspace / "out" / "result.txt").iterdir()}
    assert modes == {"weights": 0o640, "config": 0o444}


def test_a_terminal_that_lacks_a_character_ends_no_stage(workspace, monkeypatch):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="latin-1", write_through=True))
    with stage_run("copy") as run:
        run.out("out/result.txt").write_text("result")
        print("1 → 2")
    assert printed.getvalue() == b"1 ? 2\n"


def test_a_stage_that_fails_leaves_no_out_and_keeps_its_state(workspace):
    def fail():
        with stage_run("copy") as run:
            run.out("out/result.txt").write_text("half")
            (run.state / "batch").write_text("kept")
            raise RuntimeError(str(run.state))

    with pytest.raises(RuntimeError) as caught:
        fail()
    assert os.listdir(workspace / "out") == []
    assert os.listdir(str(caught.value)) == ["batch"]


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("source.txt", "edited", "source.txt"),
        ("folder/a.txt", "edited", "folder"),
        ("folder/b.txt", "new", "folder"),
        ("params.yaml", "number: 2\nunrelated: 1\n", "params.yaml: number"),
    ],
)
def test_an_input_edited_while_the_stage_runs_publishes_nothing(workspace, capsys, name, text, named):
    def edit():
        with stage_run("copy") as run:
            run.out("out/result.txt").write_text("result")
            (workspace / name).write_text(text)

    with pytest.raises(SystemExit) as caught:
        edit()
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert f"{named} changed while it ran" in message
    assert "was not published" in message
    assert not (workspace / "out" / "result.txt").exists()


def test_an_edit_of_an_unrelated_param_publishes(workspace):
    with stage_run("copy") as run:
        run.out("out/result.txt").write_text("result")
        (workspace / "params.yaml").write_text("number: 1\nunrelated: 2\n")
    assert (workspace / "out" / "result.txt").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [("source.txt", "x"), ("folder/a.txt", "x"), ("folder/b.txt", ""), ("params.yaml", "number: 2\n")],
)
def test_every_input_moves_the_fingerprint_and_back_again(workspace, name, text):
    before = fingerprint()
    path = workspace / name
    old = path.read_text() if path.exists() else None
    path.write_text(text)
    assert fingerprint() != before
    path.unlink() if old is None else path.write_text(old)
    assert fingerprint() == before


def test_a_second_process_is_refused_and_told_the_holders_pid(workspace, capsys):
    code = (
        "import time\nfrom smolmath.running import runs\nruns.refuse_foreign_checkout = lambda: None\n"
        "with runs.stage_run('copy') as run:\n print('held', flush=True)\n time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(SystemExit), stage_run("copy"):
                pass
        finally:
            holder.kill()
    assert f"is in use by process {holder.pid}" in capsys.readouterr().err


def test_the_journal_is_written_once_per_fingerprint(workspace):
    fingerprint()
    (entry,) = (workspace / "journal" / "copy").iterdir()
    written = entry.read_text()
    assert json.loads(written)["stage"] == "copy"
    fingerprint()
    assert entry.read_text() == written


def test_state_lies_in_the_main_workspace_and_the_journal_in_both(workspace, tmp_path_factory, monkeypatch):
    main = tmp_path_factory.mktemp("main")
    monkeypatch.setenv("DVC_ROOT", str(main))
    with stage_run("copy") as run:
        run.out("out/result.txt").write_text("result")
        assert run.state.is_relative_to(main)
    entry = (workspace / "journal" / "copy" / f"{run.fingerprint}.json").read_text()
    assert (main / ".work" / "journal" / f"copy-{run.fingerprint}.json").read_text() == entry
    assert not (main / "journal").exists()
    monkeypatch.chdir(main)
    outs = json.loads(entry)["outs"]
    assert not entry_of("copy", run.fingerprint, {"out/result.txt": "another"}).exists()
    assert entry_of("copy", run.fingerprint, outs).read_text() == entry
    assert (workspace / "out" / "result.txt").exists()


def test_a_missing_dep_names_the_command_that_makes_it(workspace, capsys):
    (workspace / "source.txt").unlink()
    with pytest.raises(SystemExit), stage_run("copy"):
        pass
    assert "source.txt does not exist. Run `dvc repro copy`" in capsys.readouterr().err


def test_a_foreign_checkout_is_refused(workspace, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.chdir(workspace)
    with pytest.raises(SystemExit), stage_run("copy"):
        pass
    assert "smolmath was imported from" in capsys.readouterr().err


@pytest.mark.parametrize(("killed", "kept"), [("dvc", True), ("shell", False)])
def test_only_the_death_of_its_dvc_makes_a_stage_an_orphan(workspace, killed, kept):
    """`nohup dvc repro &` and a logout: the shell is gone, and dvc records what the stage publishes."""
    stage = (
        "import sys, time\nfrom pathlib import Path\nfrom smolmath.running import runs\n"
        "runs.refuse_foreign_checkout = lambda: None\n"
        "with runs.stage_run('copy') as run:\n run.out('out/result.txt').write_text('result')\n"
        " Path('started').touch()\n while not Path('go').exists(): time.sleep(0.02)\n"
    )
    (workspace / "stage.py").write_text(stage)
    # A program called dvc that waits for its stage, as the real one does.
    (workspace / "dvc").write_text(f"import subprocess, sys\nsubprocess.run(['{sys.executable}', 'stage.py'])\n")
    (workspace / "shell.py").write_text(f"import subprocess\nsubprocess.run(['{sys.executable}', 'dvc', 'repro'])\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen([sys.executable, "shell.py"], env=environment) as shell:
        try:
            assert wait(lambda: (workspace / "started").exists())
            (dvc,) = psutil.Process(shell.pid).children()
            (copy,) = dvc.children()
            (dvc if killed == "dvc" else shell).kill()
            assert wait(lambda: not runs.alive(dvc) if killed == "dvc" else shell.poll() is not None)
            (workspace / "go").touch()
            assert wait(lambda: not runs.alive(copy))
        finally:
            shell.kill()
    assert (workspace / "out" / "result.txt").exists()
    states = [path for path in (workspace / ".work" / "copy").iterdir() if path.is_dir()]
    assert bool(states) == kept


def wait(condition):
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_what_a_killed_run_on_other_inputs_had_begun_to_write_goes(workspace):
    left = workspace / "out" / ".result.txt.0123456789abcdef.part"
    left.parent.mkdir()
    left.write_text("half")
    fingerprint()
    assert os.listdir(workspace / "out") == ["result.txt"]


def test_what_is_begun_beside_an_input_is_no_input(workspace):
    before = fingerprint()
    (workspace / "folder" / ".x.0123456789abcdef.part").mkdir()
    (workspace / "folder" / ".x.0123456789abcdef.part" / "shard.parquet").write_text("half")
    assert fingerprint() == before
