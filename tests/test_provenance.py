"""The trail of a result and `smolmath verify`, on a small pipeline that real DVC has run."""

import json
import os
import shutil
import subprocess
import sys
from hashlib import md5
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smolmath.cli import app
from smolmath.running.hashes import content_hash
from smolmath.running.lockfile import read_lock, upstream
from smolmath.studies.provenance.trail import TrailError, trail
from smolmath.studies.provenance.verify import verify
from tests.conftest import Project, committed, new_project

DVC_YAML = """
stages:
  fetch:
    foreach: ${datasets}
    do:
      cmd: PYTHONPATH=src python stages/fetch.py
      deps: [stages/fetch.py, src/smolmath/errors.py, own]
      params: ["datasets.${key}"]
      outs: ["data/raw/${key}"]
  train:
    foreach: ${phases}
    do:
      cmd: PYTHONPATH=src python stages/train.py
      deps: [data/raw/rows, stages/train.py, src/smolmath/params]
      params: ["phases.${key}.rate"]
      outs: ["models/${key}"]
      metrics:
        - metrics/${key}.json:
            cache: false
  gather:
    cmd: PYTHONPATH=src python stages/gather.py
    deps: [metrics, stages/gather.py]
    outs: [gathered.txt]
  other:
    cmd: echo x > other.txt
    outs: [other.txt]
"""
PARAMS = {"datasets": {"rows": {"n": 3}}, "phases": {"one": {"rate": 1e-4}}}
STAGE = """
import json
from pathlib import Path
from smolmath.running.runs import stage_run

with stage_run({name!r}) as run:
    folder = run.out({out!r})
    folder.mkdir()
    (folder / "first.txt").write_text("first")
    (folder / "second.txt").write_text(str(run.params["phases"]["one"]["rate"]))
    (folder / "manifest.json").write_text(json.dumps({{"revision": "abc", "files": [{{"path": "first.txt", "rows": 3, "sha256": "ff"}}]}}))
    if {metric!r}:
        run.out({metric!r}).write_text("{{}}")
    run.facts["steps"] = 7
"""


GATHER = """
from smolmath.running.runs import stage_run

with stage_run("gather") as run:
    run.out("gathered.txt").write_text("gathered")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with two stages that have run and are committed."""
    project = new_project(tmp_path_factory.mktemp("provenance") / "project", served=False)
    project.write("dvc.yaml", DVC_YAML)
    project.write("params.yaml", "datasets: {rows: {n: 3}}\nphases: {one: {rate: 1.0e-4}}\nunrelated: 1\n")
    project.write("stages/fetch.py", STAGE.format(name="fetch@rows", out="data/raw/rows", metric=""))
    project.write("stages/train.py", STAGE.format(name="train@one", out="models/one", metric="metrics/one.json"))
    project.write("stages/gather.py", GATHER)
    project.write("own/rows.txt", "rows")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "code")
    assert sorted(project.repro()) == ["fetch@rows", "gather", "other", "train@one"]
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "results")
    return project


@pytest.fixture
def workspace(made, tmp_path, monkeypatch):
    """A clone of it, with the same cache and its outs in place."""
    subprocess.run(["cp", "-a", str(made.folder), str(tmp_path / "project")], check=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path / "project"


def git(*arguments):
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def smolmath(*arguments):
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "160"})


def test_our_hashes_are_dvcs_own(workspace):
    lock = read_lock(Path("dvc.lock").read_text(), "it")
    claimed = {path: md5 for made in lock.values() for path, md5 in {**made.deps, **made.outs}.items()}
    assert {path: content_hash(Path(path)) for path in claimed} == claimed
    assert sum(md5.endswith(".dir") for md5 in claimed.values()) == 5
    bytecode = Path("src/smolmath/params/__pycache__")
    bytecode.mkdir(exist_ok=True)
    (bytecode / "core.cpython-399.pyc").write_bytes(b"compiled")  # in no hash
    assert content_hash(bytecode.parent) == claimed["src/smolmath/params"]


def test_without_git_nothing_but_the_commit_is_missing(workspace, monkeypatch):
    shutil.rmtree(".git")
    monkeypatch.setenv("PATH", str(workspace))  # no program of that name either
    found = trail("models/one")
    assert found.recorded_in is None
    assert found.sources["rows"]["revision"] == "abc"
    said = smolmath("verify")
    assert (said.exit_code, said.stderr) == (0, "")
    Path("models/one/second.txt").write_text("another")
    assert "(second.txt)" in smolmath("verify", "models/one").output  # DVC's cache has the folder's listing


def test_a_model_leads_to_commit_params_data_versions_and_seconds(workspace):
    found = trail("models/one")
    assert [run.recorded.stage for run in found.runs] == ["fetch@rows", "train@one"]  # not `other`
    assert found.last.recorded.params == {"phases.one.rate": 1e-4}
    assert found.last.recorded.deps["data/raw/rows"] == found.runs[0].recorded.outs["data/raw/rows"]
    assert found.last.journal["git"] == {"commit": git("rev-parse", "HEAD~1"), "changed": []}
    assert found.recorded_in == git("rev-parse", "HEAD")
    assert found.sources == {"rows": {"revision": "abc", "files": [{"path": "first.txt", "rows": 3, "sha256": "ff"}]}}
    assert found.seconds == sum(run.journal["seconds"] for run in found.runs)
    assert trail("metrics/one.json").last == found.last

    said = smolmath("inspect", "models/one").output
    for text in (
        git("rev-parse", "HEAD~1")[:12],
        git("rev-parse", "HEAD"),
        "rate",
        "0.0001",
        "revision abc; 3 rows",
        "pyarrow",
        "steps",
    ):
        assert text in said, text
    told = json.loads(smolmath("inspect", "models/one", "--json").output)
    assert [stage["stage"] for stage in told["stages"]] == ["fetch@rows", "train@one"]
    assert told["stages"][1]["journal"]["packages"]["dvc"]


def test_a_run_on_changed_code_is_told_from_its_commit(workspace):
    Path("stages/train.py").write_text(Path("stages/train.py").read_text() + "# edited\n")
    Path("README.md").write_text("no code\n")
    environment = Project.clean_environment()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], env=environment, check=True)
    found = trail("models/one")
    assert found.last.journal["git"] == {"commit": git("rev-parse", "HEAD"), "changed": ["stages/train.py"]}
    assert "with changes to stages/train.py" in smolmath("inspect", "models/one").output


def test_what_is_as_recorded_is_verified(workspace):
    findings = verify([], PARAMS)
    # A stage of one's own keeps no journal: that is worth a note, and no more.
    assert [(f.stage, f.status) for f in findings if f.status != "ok"] == [("other", "note")]
    assert smolmath("verify").exit_code == 0
    done = smolmath("verify", "models/one", "metrics/one.json")
    assert done.exit_code == 0, done.output
    assert "3 results are what dvc.lock records." in done.output


def test_an_edited_out_is_named_with_the_file_that_differs(workspace):
    Path("models/one/second.txt").unlink()  # a link into the cache, where links are used
    Path("models/one/second.txt").write_text("tampered")
    done = smolmath("verify", "models/one")
    assert done.exit_code == 1
    assert "wrong" in done.output
    assert "(second.txt)" in done.output


@pytest.mark.parametrize("content", [b"tampered", b"[1]", b"\xff\xfe", b'{"accuracy": 1}'])
@pytest.mark.parametrize("out", ["metrics/one.json", "gathered.txt"])
def test_an_edited_file_is_wrong_whatever_it_holds(workspace, out, content):
    recorded = Path(out).read_bytes()
    Path(out).unlink()
    Path(out).write_bytes(content)
    done = smolmath("verify")
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert f"{out}: dvc.lock records {md5(recorded).hexdigest()}" in " ".join(done.output.split())


@pytest.mark.parametrize("out", ["models/one", "metrics/one.json"])
def test_a_cache_that_holds_something_else_names_no_file(workspace, out):
    claimed = next(
        made.outs[out] for made in read_lock(Path("dvc.lock").read_text(), "it").values() if out in made.outs
    )
    cached = Path(".dvc/cache/files/md5", claimed[:2], claimed[2:])
    cached.parent.mkdir(exist_ok=True)
    cached.unlink(missing_ok=True)
    cached.write_bytes(b"\xffcorrupt")
    subprocess.run(["rm", "-r", out], check=True)
    Path(out).write_text("a file, and no folder")
    done = smolmath("verify", out)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "wrong" in done.output


def test_what_params_no_longer_name_is_not_verified_unless_it_is_asked_for(workspace):
    Path("params.yaml").write_text("datasets: {rows: {n: 3}}\nphases: {two: {rate: 1.0e-4}}\n")
    Path("models/one/second.txt").unlink()
    Path("models/one/second.txt").write_text("tampered")
    found = verify([], {**PARAMS, "phases": {"two": {"rate": 1e-4}}})
    assert {finding.stage for finding in found} == {"fetch@rows", "gather", "other"}
    assert smolmath("verify", "models/one").exit_code == 1


def test_a_broken_chain_is_wrong(workspace):
    lock = Path("dvc.lock").read_text()
    data = read_lock(lock, "it")["fetch@rows"].outs["data/raw/rows"]
    Path("dvc.lock").write_text(lock.replace(data, "0" * 32 + ".dir", 1))  # the stage that reads it comes first
    wrong = [f for f in verify(["models/one"], PARAMS) if f.status == "wrong"]
    assert any(f.what == "read data/raw/rows" and "has written" in f.detail for f in wrong)


def test_a_folder_of_outs_that_were_written_again_is_a_broken_chain(workspace):
    lock = Path("dvc.lock").read_text()
    made = read_lock(lock, "it")
    gathered = made["gather"].deps["metrics"]
    assert gathered == content_hash(Path("metrics"))
    Path("metrics/one.json").write_text('{"accuracy": 1}')
    Path("dvc.lock").write_text(
        lock.replace(made["train@one"].outs["metrics/one.json"], content_hash(Path("metrics/one.json")))
    )
    wrong = [(f.stage, f.what) for f in verify(["gathered.txt"], PARAMS) if f.status == "wrong"]
    assert wrong == [("gather", "read metrics")]


def test_an_input_that_no_stage_made_is_looked_at_too(workspace):
    Path("own/rows.txt").write_text("edited")
    notes = {f.stage: f.detail for f in verify(["models/one"], PARAMS) if f.status == "note"}
    assert notes == {"fetch@rows": "own"}  # the commit has it as it was


def test_a_journal_entry_of_other_outs_is_of_another_run(workspace):
    (entry,) = Path("journal/train@one").iterdir()
    told = json.loads(entry.read_text())
    entry.write_text(json.dumps({**told, "outs": {**told["outs"], "models/one": "0" * 32 + ".dir"}}))
    assert [(f.stage, f.what) for f in verify(["models/one"], PARAMS) if f.status == "missing"] == [
        ("train@one", "journal")
    ]


def test_the_data_of_a_trail_is_that_of_the_record_and_not_what_lies_here(workspace):
    path = Path("data/raw/rows/manifest.json")
    path.unlink()
    path.write_text('{"revision": "of another checkout"}')
    assert trail("models/one").sources["rows"]["revision"] == "abc"


def test_a_misspelt_result_is_not_taken_for_a_dataset_of_the_hub(workspace):
    done = smolmath("inspect", "models/on")
    assert done.exit_code == 1
    assert "models/on: no stage is recorded as having made it" in done.output


def test_code_and_params_of_today_are_a_note_where_the_commit_has_those_of_then(workspace):
    Path("stages/train.py").write_text("# other code\n")
    Path("src/smolmath/params/core.py").write_text("# other code\n")
    findings = verify(["models/one"], {**PARAMS, "phases": {"one": {"rate": 2e-4}}})
    notes = [f for f in findings if f.status == "note"]
    assert [(f.stage, f.detail) for f in notes] == [
        ("train@one", "src/smolmath/params, stages/train.py, params.yaml: phases.one.rate")
    ]
    assert not [f for f in findings if f.status in ("wrong", "missing")]


def test_code_that_nobody_has_any_more_is_missing(workspace):
    Path("stages/train.py").write_text(Path("stages/train.py").read_text() + "# never committed\n")
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], env=Project.clean_environment(), check=True)
    git("checkout", "-q", "stages/train.py")
    (lost,) = [f for f in verify(["models/one"], PARAMS) if f.status == "missing"]
    assert "stages/train.py as it read it is neither in the workspace nor in commit" in lost.detail


def test_a_run_that_the_journal_does_not_know_is_missing(workspace):
    for path in Path("journal/train@one").iterdir():
        path.unlink()
    (lost,) = [f for f in verify(["models/one"], PARAMS) if f.status == "missing"]
    assert lost.stage == "train@one"
    assert lost.what == "journal"
    assert "unknown: the journal has no entry of this run" in smolmath("inspect", "models/one").output


def test_what_is_not_here_is_missing_where_it_was_named_alone(workspace):
    subprocess.run(["rm", "-r", "data/raw/rows"], check=True)
    assert smolmath("verify", "models/one").exit_code == 0
    done = smolmath("verify", "data/raw/rows")
    assert done.exit_code == 1
    assert "not here; dvc pull" in done.output
    assert "revision abc" in smolmath("inspect", "models/one").output  # from the cache
    subprocess.run(["rm", "-r", ".dvc/cache"], check=True)
    assert "its raw rows are not here" in smolmath("inspect", "models/one").output


def test_what_nobody_made_is_refused(workspace):
    with pytest.raises(TrailError, match=r"models/two: no stage is recorded as having made it. dvc.lock records: "):
        trail("models/two")
    done = smolmath("verify", "models/two")
    assert done.exit_code == 1
    assert "no stage is recorded as having made it" in done.output
    os.remove("dvc.lock")
    assert "there is no dvc.lock" in smolmath("verify").output


def test_the_committed_demos_models_hang_on_what_made_them():
    lock = read_lock(committed("dvc.lock"), "it")
    stages = [made.stage for made in upstream(lock, lock["train@legs"])]
    assert stages[-2:] == ["train@sums", "train@legs"]
    assert {"check", "base", "fetch@sums", "process@legs", "split@legs"} <= set(stages)
    assert not [stage for stage in stages if stage.startswith(("generate", "evaluate", "summarize"))]
