"""A project's life, by real DVC and Git on a tiny copy: what compare, report, verify and `dvc status` say on the way."""

import json
import re
import time

import pytest

from tests.conftest import ROOT, Project, clone

pytestmark = pytest.mark.slow


def smolmath(project, *arguments, code=0):
    done = project.run("smolmath", *arguments, check=False, PYTHONPATH="src", COLUMNS="200")
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def compared(project, *sides):
    """(model, dataset) that a comparison says something of; its warnings."""
    told = json.loads(project.run("smolmath", "compare", *sides, "--json", PYTHONPATH="src").stdout)
    pairs = {(d["model_b"], d["dataset"]) for d in told["differences"]} | {
        (s["model"], s["dataset"]) for s in told["same"]
    }
    return sorted(pairs), told["warnings"]


def is_settled(project):
    """Nothing is to be done, and every reader says so."""
    assert "up to date" in project.dvc("status").stdout
    assert "results are what dvc.lock records" in smolmath(project, "verify")
    smolmath(project, "report")
    page = project.read("reports/index.html")
    assert not re.findall("not evaluated yet|last evaluated with|no journal entry|is not here", page)


def commit(project, message):
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", message)
    project.dvc("push", "-q")


def every(models, datasets):
    return sorted((model, dataset) for model in models for dataset in datasets)


def rate_of(phase, rate):
    def change(params):
        params["phases"][phase][params["phases"][phase]["method"]]["learning_rate"] = rate

    return change


def git_clone(project, folder):
    project.run("git", "clone", "-q", str(project.folder), str(folder))
    cloned = Project(folder)
    for key in ("name", "email"):
        cloned.run("git", "config", f"user.{key}", "tester@example.invalid")
    return cloned


def test_phases_and_datasets_come_and_go_and_every_reader_says_what_is_true(finished_project, tmp_path):
    box = clone(finished_project, tmp_path / "box")
    box.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    commit(box, "a remote")
    is_settled(box)

    def add_phase(params):
        params["phases"]["more"] = {**params["phases"]["legs"], "init": "legs", "dataset": "sums"}
        params["evaluate"]["models"].append("more")

    box.params(add_phase)
    box.repro()
    commit(box, "another phase")
    is_settled(box)
    assert compared(box, "HEAD~1", "HEAD") == (every(["base", "sums", "legs"], ["sums", "legs"]), [])

    box.params(rate_of("sums", 1e-2))
    assert box.repro("train@sums") == ["check", "train@sums"]
    pairs, (warning,) = compared(box, "HEAD")
    assert pairs == every(["base"], ["sums", "legs"])
    assert warning == (
        "workspace: sums on sums, sums on legs, legs on sums, legs on legs, more on sums, more on legs left out, "
        "evaluated with another models/sums than train@sums has written since. `dvc repro` evaluates again."
    )
    assert "nothing to compare" in smolmath(box, "compare", ":base", ":sums", code=1)
    assert "train@sums has written" in smolmath(box, "verify", code=1)
    smolmath(box, "report")
    page = box.read("reports/index.html")
    assert page.count('colspan="10">last evaluated with another models/sums') == 6
    assert "GRPO on sums: last evaluated with another models/sums than train@sums has written since" in page
    box.repro()
    commit(box, "another rate")
    is_settled(box)
    assert compared(box, "HEAD~1") == (every(["base", "sums", "legs", "more"], ["sums", "legs"]), [])

    def drop_legs(params):
        del params["datasets"]["legs"], params["phases"]["legs"], params["phases"]["more"]
        params["evaluate"] |= {"models": ["base", "sums"], "datasets": ["sums"]}

    box.params(drop_legs)
    assert box.repro() == ["check", "split@sums", "summarize"]
    commit(box, "without legs")
    is_settled(box)
    assert compared(box, ":base", ":sums")[0] == [("sums", "sums")]
    assert compared(box, "HEAD~1")[0] == every(["base", "sums"], ["sums"])

    laptop = git_clone(box, tmp_path / "laptop")
    laptop.dvc("pull", "-q")
    is_settled(laptop)
    assert compared(laptop, "HEAD~1")[0] == every(["base", "sums"], ["sums"])
    assert "Removed: 17 stages of dvc.lock" in smolmath(laptop, "prune")
    assert not (laptop.folder / "journal" / "train@legs").exists()
    is_settled(laptop)
    commit(laptop, "pruned")

    laptop.run("git", "checkout", "-qb", "slower")
    laptop.params(rate_of("sums", 1e-5))
    laptop.repro()
    commit(laptop, "slower")
    laptop.run("git", "checkout", "-q", "main")
    laptop.dvc("checkout", "-q")
    laptop.params(rate_of("sums", 1e-3))
    laptop.repro()
    commit(laptop, "faster")
    page = (ROOT / "docs" / "merging.md").read_text()
    first, *rest, repro, add, push = page.split("```\n")[1].splitlines()
    merged = laptop.run("bash", "-c", first, check=False)
    assert {"dvc.lock", "params.yaml"} <= {*re.findall(r"Merge conflict in (\S+)", merged.stdout)}
    for command in ("check", "verify", "report"):
        assert "a merge is not settled: choose among its lines" in smolmath(laptop, command, code=1)
    assert "cannot be read: settle its merge" in smolmath(laptop, "compare", "HEAD", code=1)
    for line in rest:
        laptop.run("bash", "-c", line, PYTHONPATH="src")
    assert repro.startswith("dvc repro ")
    assert laptop.repro() == []  # DVC's run-cache has each of them
    laptop.run("bash", "-ec", f"{add}\n{push}")
    is_settled(laptop)
    told = json.loads(laptop.run("smolmath", "compare", "slower", "--json", PYTHONPATH="src").stdout)
    assert (told["differences"], len(told["same"])) == ([], 2)


def test_a_fresh_clone_reads_results_without_models_and_runs_on_after_one_edit(finished_project, tmp_path):
    box = clone(finished_project, tmp_path / "box")
    box.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    commit(box, "a remote")
    reader = git_clone(box, tmp_path / "reader")
    reader.dvc("pull", "evaluate", "generate", "split")
    smolmath(reader, "report")
    assert compared(reader, ":base", ":sums")[0] == every(["sums"], ["sums", "legs"])
    assert not (reader.folder / "models" / "sums").exists()
    assert "up to date" in reader.dvc("repro", "--pull", "--allow-missing", "--dry").stdout

    editor = git_clone(box, tmp_path / "editor")
    editor.params(rate_of("legs", 1e-3))
    done = editor.dvc("repro", "--pull", "--allow-missing", check=False)
    assert "summarize: results/verdicts/base/sums.parquet is not here" in done.stderr
    assert "`dvc pull evaluate`" in done.stderr
    editor.dvc("pull", "process", "evaluate", "--allow-missing")
    assert editor.repro("--pull", "--allow-missing") == ["summarize"]
    assert "results are what dvc.lock records" in smolmath(editor, "verify")


def test_an_experiment_carries_its_journal_and_a_pulled_one_is_whole(finished_project, tmp_path):
    box = clone(finished_project, tmp_path / "box")
    box.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    box.run("git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "hub.git"))
    box.run("git", "remote", "add", "origin", str(tmp_path / "hub.git"))
    commit(box, "a remote")
    box.run("git", "push", "-q", "origin", "main")
    key = "phases.legs.sft.learning_rate"
    box.dvc("exp", "run", "--queue", "--name", "queued", "-S", f"{key}=1e-3")
    box.dvc("queue", "start")
    wait_for(lambda: "Success" in box.dvc("queue", "status").stdout)
    assert box.run("git", "status", "--porcelain").stdout == ""  # nothing to choose from
    is_settled(box)
    box.dvc("exp", "run", "--name", "here", "-S", f"{key}=2e-3")
    is_settled(box)
    box.run("git", "reset", "-q", "--hard")
    box.dvc("checkout", "-q")
    box.dvc("exp", "apply", "here")  # over the entries that it has left
    is_settled(box)
    box.run("git", "reset", "-q", "--hard")
    box.dvc("checkout", "-q")
    box.dvc("exp", "push", "-q", "origin", "queued", "here")

    laptop = git_clone(Project(tmp_path / "hub.git"), tmp_path / "laptop")
    laptop.dvc("exp", "pull", "origin", "queued", "here")
    for name in ("queued", "here"):
        laptop.run("git", "reset", "-q", "--hard")
        laptop.dvc("exp", "apply", name)
        assert "results are what dvc.lock records" in smolmath(laptop, "verify", "models/legs")
        assert (laptop.folder / "models" / "legs").exists()
        assert "up to date" in laptop.dvc("status").stdout

    # The same values by hand: DVC's run-cache brings the results, and no stage runs that would write an entry.
    entries = set((box.folder / "journal" / "train@legs").iterdir())
    box.params(rate_of("legs", 1e-3))
    assert box.repro() == ["check"]
    is_settled(box)
    assert len(set((box.folder / "journal" / "train@legs").iterdir()) - entries) == 1


def wait_for(condition, seconds=600):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(1)
