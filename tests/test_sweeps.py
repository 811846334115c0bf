"""`smolmath tune` by real DVC on tiny copies of the project: killed, resumed, trials ended early."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.conftest import make_tiny, wait_until

pytestmark = pytest.mark.slow


def tune(project):
    """The command line of `smolmath tune`, which gives the `python` of its own folder to what it starts."""
    as_shim = f"import sys; sys.executable = {shutil.which('python', path=project.environment['PATH'])!r}"
    return [sys.executable, "-c", f"{as_shim}; from smolmath.cli import app; app()", "tune", "search.yaml"]


def wait_for_end(project):
    """No stage of this project is at work any more."""
    deadline = time.monotonic() + 60
    while stages := [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline", "cwd"])
        if str(project.folder) in (process.info["cwd"] or "") and "--phase" in (process.info["cmdline"] or [])
    ]:
        assert time.monotonic() < deadline, stages
        time.sleep(0.5)


SEARCH = """
phase: legs
space:
  phases.legs.sft.learning_rate: {low: 1.0e-8, high: 1.0, log: true}
fixed: {phases.legs.init: base}
trials: 5
train_only: true
"""


def searchable(params):
    """SFT of the base on sums: a dozen steps at a good rate teach it to work them out; at others it stays or breaks."""
    make_tiny(params)
    params["datasets"]["sums"]["rows"] = 800
    params["phases"]["legs"]["sft"] |= {"max_steps": 12, "warmup_steps": 2, "learning_rate": 1.0e-8}
    params["phases"]["legs"] |= {
        "dataset": "sums", "examples_per_step": 32, "checkpoint_steps": 12, "preflight": "off",
        "validation": {"problems": 60, "every_steps": 12, "metric": "accuracy", "patience": None},
    }  # fmt: skip


def test_a_sweep_is_killed_and_resumed_and_finds_the_good_learning_rate(project):
    project.params(searchable)
    project.write("search.yaml", SEARCH)
    project.repro("base", "split@sums")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "before the search")
    environment = project.environment | {"PYTHONPATH": "src"}
    command = tune(project)
    output = (project.folder / "tune.log").open("w+")
    running = subprocess.Popen(
        command, cwd=project.folder, env=environment, stdout=output, stderr=output, start_new_session=True
    )
    try:
        wait_until(lambda: "search-2: learning_rate" in project.read("tune.log"), running)  # two ended, one begun
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        for process in psutil.process_iter(["cmdline", "cwd"]):  # the machine goes down: workers and stages too
            if str(project.folder) in (process.info["cwd"] or "") and process.pid != os.getpid():
                process.kill()
        done = project.run(*command, PYTHONPATH="src", COLUMNS="160")
    finally:
        running.kill()
        output.close()
        project.dvc("queue", "stop", "--kill", check=False)
    said = done.stdout
    assert "taken up again" in said
    best = next(line for line in said.splitlines() if line.startswith("best: search-"))
    rate = float(best.rpartition("learning_rate ")[2])
    assert 3e-5 < rate < 5e-3, said  # planted: below it stays at 0.72, above it breaks
    assert float(best.split()[2]) > 0.85, said
    names = project.dvc("exp", "list", "--name-only").stdout.split()
    assert len(names) == 5
    assert all(name.startswith("search-") for name in names)
    # Once more: everything has been tried, so nothing runs.
    again = project.run(*command, PYTHONPATH="src", COLUMNS="160")
    assert best in again.stdout
    assert "on 60 problems, at step" not in again.stdout


def test_a_trial_that_validates_below_the_others_is_ended_early(project):
    def params(values):
        searchable(values)
        values["phases"]["legs"]["sft"]["max_steps"] = 60
        values["phases"]["legs"]["validation"]["every_steps"] = 4

    project.params(params)
    project.write(
        "search.yaml",
        """
        phase: legs
        space:
          phases.legs.sft.learning_rate: {low: 1.0e-8, high: 1.0}
        fixed: {phases.legs.init: base}
        trials: 2
        train_only: true
        prune: {undisturbed_trials: 1, after_step: 1}
        """,
    )
    project.repro("base", "split@sums")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "before the search")
    said = project.run(*tune(project), PYTHONPATH="src", COLUMNS="160").stdout
    assert "search-0: learning_rate 1e-08" in said  # today's value first: nothing is learnt, and nothing breaks
    assert re.search(r"search-1: ended early, 0\.\d+ at step \d+ is below the median", said), said
    assert "best: search-0" in said
    assert re.search(r"search-1 .*pruned", said), said
    assert project.dvc("exp", "list", "--name-only").stdout.split() == ["search-0"]
    wait_for_end(project)
    again = project.run(*tune(project), PYTHONPATH="src", COLUMNS="160").stdout
    assert "ended early" not in again  # a result, though without a value: nothing is run a second time
