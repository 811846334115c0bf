"""`dvc exp run`, its queue, and temporary workspaces, by real DVC on tiny copies of the project."""

import json
import shutil
import subprocess
import sys
import time

import pytest

from smolmath.running.lockfile import read_lock
from tests.conftest import ROOT, clone, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(finished_project, tmp_path):
    copied = clone(finished_project, tmp_path / "project")
    yield copied
    copied.dvc("queue", "stop", "--kill", check=False)


def wait_for_queue(project, names, seconds=420):
    """Name -> how it ended, once all have."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rows = [line.split() for line in project.dvc("queue", "status").stdout.splitlines()]
        found = {row[1]: row[-1] for row in rows if len(row) > 2 and row[1] in names}
        if len(found) == len(names) and set(found.values()) <= {"Success", "Failed"}:
            return found
        time.sleep(2)
    raise AssertionError(project.dvc("queue", "status").stdout)


def shown(project):
    """Experiment -> (params, metrics), as `dvc exp show` has them."""
    found = {}
    for row in json.loads(project.dvc("exp", "show", "--json").stdout):
        for experiment in row["experiments"] or []:
            for revision in experiment["revs"]:
                data = revision.get("data")
                if data and (experiment.get("executor") or {}).get("state") != "failed":
                    found[revision["name"]] = (
                        data["params"]["params.yaml"]["data"],
                        data["metrics"]["metrics/summary.json"]["data"],
                    )
    return found


def test_a_queue_of_experiments_over_two_keys_is_ranked_and_the_one_that_fails_harms_nobody(copy):
    before = copy.run("git", "status", "--porcelain").stdout, copy.read("dvc.lock"), copy.read("params.yaml")
    copy.dvc("exp", "run", "--queue", "-S", "phases.legs.sft.learning_rate=1e-3,1e-6")  # a grid of two
    copy.dvc(
        "exp",
        "run",
        "--queue",
        "--name",
        "both",
        "-S",
        "phases.legs.sft.learning_rate=2e-3",
        "-S",
        "phases.legs.examples_per_step=8",
    )
    copy.dvc("exp", "run", "--queue", "--name", "bad", "-S", "phases.legs.examples_per_step=0")
    rows = [line.split() for line in copy.dvc("queue", "status").stdout.splitlines()]
    names = [row[1] for row in rows if len(row) > 2 and row[-1] == "Queued"]
    assert len(names) == 4
    copy.dvc("queue", "start", "--jobs", "2")
    ended = wait_for_queue(copy, names)
    assert ended == {name: "Failed" if name == "bad" else "Success" for name in names}
    assert "phases.legs.examples_per_step: 0 is not allowed" in copy.dvc("queue", "logs", "bad").stdout
    assert (
        copy.run("git", "status", "--porcelain", "--untracked-files=no").stdout,
        copy.read("dvc.lock"),
        copy.read("params.yaml"),
    ) == ("", *before[1:])

    found = shown(copy)
    assert sorted(found) == sorted(name for name in names if name != "bad")
    rates = sorted(params["phases"]["legs"]["sft"]["learning_rate"] for params, _ in found.values())
    assert rates == [1e-6, 1e-3, 2e-3]
    assert found["both"][0]["phases"]["legs"]["examples_per_step"] == 8
    for _, metrics in found.values():
        assert set(metrics) == {"base", "sums", "legs"}

    ranked = json.loads(copy.run("smolmath", "compare", "HEAD", *sorted(found), "--json", PYTHONPATH="src").stdout)
    assert [one["b"] for one in ranked["ranked"]] == sorted(found)
    for one in ranked["ranked"]:
        assert {d["model_b"] for d in one["differences"]} | {s["model"] for s in one["same"]} == {
            "base",
            "sums",
            "legs",
        }
        for difference in one["differences"]:
            assert difference["difference_low"] <= difference["difference"] <= difference["difference_high"]
    assert "A: HEAD" in copy.run("smolmath", "compare", "HEAD", *sorted(found), PYTHONPATH="src").stdout

    # The winner becomes a branch, or the workspace; then nothing is left to run.
    copy.dvc("exp", "branch", "both", "promoted")
    assert "examples_per_step: 8" in copy.run("git", "show", "promoted:params.yaml").stdout
    copy.dvc("exp", "apply", "both")
    assert "examples_per_step: 8" in copy.read("params.yaml")
    assert copy.repro() == []
    assert len(list((copy.folder / "journal" / "train@legs").iterdir())) == 2  # the first's and the applied one's
    assert "results are what dvc.lock records" in copy.run("smolmath", "verify", PYTHONPATH="src").stdout


def test_a_temporary_workspace_keeps_its_code_while_the_main_one_is_edited(copy):
    copy.params(lambda params: params["phases"]["sums"]["grpo"].update(max_steps=6))
    copy.run("git", "commit", "-qam", "longer")
    running = subprocess.Popen(
        [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", "quiet", "train@sums"],
        cwd=copy.folder, env=copy.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    state = copy.folder / ".work" / "train@sums"  # in the main workspace, whatever the other is called
    wait_until(lambda: list(state.glob("*/checkpoints/checkpoint-1")), running)
    copy.write("src/smolmath/rewards/grpo/rewards.py", "raise RuntimeError('edited')\n")
    copy.write("src/smolmath/training/phase/curves.py", "raise RuntimeError('edited')\n")
    copy.params(lambda params: params["phases"]["sums"]["grpo"].update(learning_rate=0.5))
    _, said = running.communicate()
    assert running.returncode == 0, said
    edited = lock_of(copy, "quiet")["train@sums"]
    copy.run("git", "checkout", "-q", ".")
    copy.dvc("exp", "run", "--name", "undisturbed", "--force", "train@sums")
    undisturbed = lock_of(copy, "undisturbed")["train@sums"]
    assert edited.outs == undisturbed.outs
    assert edited.params == undisturbed.params


def lock_of(project, experiment):
    """dvc.lock of an experiment, whose reference lies where Git does not look by its short name."""
    references = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    (found,) = [name for name in references if name.endswith(f"/{experiment}")]
    return read_lock(project.run("git", "show", f"{found}:dvc.lock").stdout, experiment)


def test_switching_recipes_leaves_nothing_of_the_old_one_in_the_summary(copy):
    def rename(params):
        params["phases"]["counting"] = params["phases"].pop("legs")
        params["evaluate"]["models"] = ["base", "counting"]

    params_file = copy.folder / "params.yaml"
    tiny_copy = params_file.read_text()
    copy.params(rename)
    (copy.folder / "recipes" / "renamed.yaml").write_text(params_file.read_text())
    params_file.write_text(tiny_copy)
    said = copy.run("smolmath", "recipe", "use", "renamed", PYTHONPATH="src").stdout
    assert "Left over from before (smolmath prune removes it): " in said
    assert "models/legs" in said
    copy.repro()
    assert list(json.loads(copy.read("metrics/summary.json"))) == ["base", "counting"]
    assert (copy.folder / "models" / "legs").is_dir()
    said = copy.run("smolmath", "recipe", "use", "renamed", "--prune", PYTHONPATH="src").stdout
    assert "Removed: " in said
    assert not (copy.folder / "models" / "legs").exists()
    assert not (copy.folder / "metrics" / "eval" / "legs").exists()
    assert "train@legs" not in copy.read("dvc.lock")
    assert copy.repro() == []
    assert list(json.loads(copy.read("metrics/summary.json"))) == ["base", "counting"]


def test_the_compare_table_against_another_commit_is_made_on_this_machine(copy):
    (copy.folder / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "compare_with.sh", copy.folder / "tools")
    copy.params(lambda params: params["phases"]["legs"]["sft"].update(learning_rate=1.0e-2))
    copy.repro()
    copy.run("git", "add", "-A")
    copy.run("git", "commit", "-qm", "another rate")
    table = copy.run("tools/compare_with.sh", "HEAD~1", PYTHONPATH="src").stdout
    assert table.startswith("**workspace** against **compared-")
    assert "legs on" in table
    assert "base on sums" in table.splitlines()[-1]
    assert copy.run("git", "tag").stdout == ""
    assert copy.run("git", "status", "--porcelain", "--untracked-files=no").stdout == ""
    refused = copy.run("tools/compare_with.sh", "nowhere", check=False)
    assert "error: nowhere is no commit here: git fetch" in refused.stderr
