"""Trainings that are killed, stopped, edited and starved: what goes on from where, and what is never published."""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest

from smolmath.runs import alive
from tests.conftest import Project, make_tiny

pytestmark = pytest.mark.slow

STEPS = 24
MODEL = "models/sums/model.safetensors"


def survivor(params):
    """The tiny demo with enough steps to be killed in, a checkpoint at every second and a best that may be any."""
    make_tiny(params)
    phase = params["phases"]["sums"]
    phase["grpo"] |= {"max_steps": STEPS, "learning_rate": 1.0e-3, "max_completion_length": 48}
    phase |= {
        "checkpoint_steps": 2,
        "validation": {"problems": 8, "every_steps": 3, "metric": "reward", "patience": None},
    }
    phase["sample_steps"] = 2


def clone(project, folder):
    shutil.copytree(project.folder, folder, symlinks=True)
    cloned = object.__new__(Project)
    cloned.folder, cloned.environment = folder, project.environment
    return cloned


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A project in which all that the phase needs has been made."""
    folder = tmp_path_factory.mktemp("prepared") / "project"
    folder.mkdir()
    project = Project(folder, git=False)
    project.params(survivor)
    project.repro("split@sums", "base")
    return project


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    """The same, with the phase trained in peace."""
    project = clone(prepared, tmp_path_factory.mktemp("undisturbed") / "project")
    project.repro("train@sums")
    return project


@pytest.fixture
def project(prepared, tmp_path):
    """The same, before the training."""
    return clone(prepared, tmp_path / "project")


def results(project):
    names = [MODEL, "models/sums/smolmath.json", "metrics/train/sums.csv", "results/training/sums.parquet"]
    return {name: hashlib.sha256((project.folder / name).read_bytes()).hexdigest() for name in names}


def start(project):
    with (project.folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", "train@sums"],
            cwd=project.folder,
            env=project.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stage_of(dvc):
    """The training's process, once it runs; None if dvc has ended before."""
    while dvc.poll() is None:
        try:
            for child in psutil.Process(dvc.pid).children(recursive=True):
                if any("train_grpo.py" in word for word in child.cmdline()) and "python" in child.name():
                    return child
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.02)
    return None


def wait_for(condition, process, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    return True


def end_of(stage):
    deadline = time.monotonic() + 180
    while alive(stage):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def checkpoints(project):
    return list((project.folder / ".work" / "train@sums").glob("*/checkpoints/checkpoint-*"))


def trainings_begun(project, number):
    return project.read("log").count("train sums: 24 steps") >= number


def one_is_being_written(project, before):
    return any(not (path / "trainer_state.json").exists() for path in set(checkpoints(project)) - before)


def visible(project):
    return sorted(p.name for p in (project.folder / "models").iterdir() if not p.name.startswith("."))


def test_ten_kills_at_random_moments_change_no_byte(project, undisturbed):
    dice = random.Random(20)
    victims = ["stage", "dvc", "both"] * 3 + ["both"]
    writing = {2, 5, 8}  # of the kills: those that wait for a checkpoint that is being written
    killed = 0
    for number, victim in enumerate(victims):
        dvc = start(project)
        stage = stage_of(dvc)
        if stage is None:
            break
        wait_for(partial(trainings_begun, project, 1 + number), dvc)
        if number in writing:
            wait_for(partial(one_is_being_written, project, set(checkpoints(project))), dvc)
        else:
            time.sleep(dice.uniform(0.0, 1.0))
        if dvc.poll() is not None:
            break
        if victim in ("dvc", "both"):
            dvc.kill()
        if victim in ("stage", "both"):
            stage.kill()
        dvc.wait()
        if alive(stage):
            stage.kill()  # an orphan, which would go on by itself
        end_of(stage)
        killed += 1
        assert visible(project) == ["base"]
    assert killed >= 6  # a slow machine is killed ten times, a fast one may end before
    project.repro("train@sums")
    assert results(project) == results(undisturbed)
    curve = project.read("metrics/train/sums.csv").splitlines()[1:]
    assert [line.split(",")[0] for line in curve] == [str(step) for step in range(1, STEPS + 1)]
    (journal,) = (project.folder / "journal" / "train@sums").iterdir()
    assert json.loads(journal.read_text())["resumed_from_step"] > 0
    assert not checkpoints(project)


def test_what_an_orphan_has_trained_is_published_without_training_it_again(project, undisturbed):
    dvc = start(project)
    stage = stage_of(dvc)
    assert wait_for(lambda: checkpoints(project), dvc)
    dvc.kill()
    dvc.wait()
    end_of(stage)
    done = project.dvc("repro", "train@sums")
    assert "train sums:" not in done.stderr
    assert results(project) == results(undisturbed)
    assert not checkpoints(project)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_that_is_asked_to_stop_saves_and_goes_on(project, undisturbed, number):
    dvc = start(project)
    stage = stage_of(dvc)
    assert wait_for(lambda: checkpoints(project), dvc)
    stage.send_signal(number)
    dvc.wait()
    said = project.read("log")
    assert f"error: sums: stopped by {number.name} after step" in said
    assert "Traceback" not in said
    step = int(said.split("after step ")[1].split()[0])
    assert 0 < step < STEPS
    assert visible(project) == ["base"]
    done = project.dvc("repro", "train@sums")
    assert f"{step} done by an earlier run" in done.stderr
    assert results(project) == results(undisturbed)


def test_another_input_starts_afresh_and_the_old_one_finds_its_state_again(project, undisturbed):
    dvc = start(project)
    stage = stage_of(dvc)
    assert wait_for(lambda: checkpoints(project), dvc)
    stage.terminate()
    dvc.wait()
    old = {path.name for path in (project.folder / ".work" / "train@sums").iterdir() if path.is_dir()}
    project.params(lambda params: params["phases"]["sums"]["grpo"].update(learning_rate=1.0e-4))
    dvc = start(project)
    stage = stage_of(dvc)
    assert wait_for(
        lambda: len(checkpoints(project)) > 2 or project.read("log").count("train sums: 24 steps") > 1, dvc
    )
    stage.terminate()
    dvc.wait()
    listed = project.run("smolmath", "work", COLUMNS="200", PYTHONPATH="src").stdout
    assert listed.count("train@sums") == 2
    assert "of other inputs" in listed
    assert "goes on from it" in listed
    assert old.pop() in listed
    project.params(survivor)
    done = project.dvc("repro", "train@sums")
    assert "done by an earlier run" in done.stderr
    assert results(project) == results(undisturbed)
    project.run("smolmath", "work", "--clean", PYTHONPATH="src")
    assert not checkpoints(project)


def test_params_edited_while_it_trains_publish_nothing_and_keep_the_state(project, undisturbed):
    dvc = start(project)
    assert stage_of(dvc)
    assert wait_for(lambda: checkpoints(project), dvc)
    project.params(lambda params: params["phases"]["sums"]["grpo"].update(learning_rate=1.0e-4))
    dvc.wait()
    said = project.read("log")
    assert "params.yaml: phases.sums changed while it ran" in said
    assert visible(project) == ["base"]
    project.params(survivor)
    assert "train sums:" not in project.dvc("repro", "train@sums").stderr  # only published: all steps were done
    assert results(project) == results(undisturbed)


def test_lost_weights_stop_the_phase_and_keep_the_checkpoint_before(project):
    project.params(lambda params: params["phases"]["sums"]["grpo"].update(learning_rate=1.0e30, warmup_steps=0))
    project.params(lambda params: params["phases"]["sums"].update(checkpoint_steps=1, validation=None))
    done = project.dvc("repro", "train@sums", check=False)
    assert done.returncode != 0
    assert "so the weights are lost. The last checkpoint before it is kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in checkpoints(project)] == ["checkpoint-1"]
    assert visible(project) == ["base"]


def test_a_full_disk_during_a_checkpoint_keeps_the_one_before(project, undisturbed):
    work = project.folder / ".work"
    work.mkdir(exist_ok=True)
    # One checkpoint (weights and two moments of 0.9 M parameters, 11 MB) and the best weights fit, two don't.
    command = "PYTHONPATH=src python stages/train_grpo.py --phase sums --init models/base --split data/split/sums --out models/sums --curve metrics/train/sums.csv --samples results/training/sums.parquet"
    kept = project.folder / "kept"
    inside = f"mount -t tmpfs -o size=21m none {work} && {command}; cp -r {work} {kept}"
    done = project.run("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()[:200]}")
    assert "error: sums: no space left for a checkpoint" in done.stderr
    assert "Traceback" not in done.stderr
    assert visible(project) == ["base"]
    shutil.rmtree(work)
    kept.rename(work)
    done = project.dvc("repro", "train@sums")
    assert "2 done by an earlier run" in done.stderr
    assert results(project) == results(undisturbed)


def test_patience_ends_a_phase_and_the_model_is_that_of_its_best_step(project):
    def impatient(params):
        params["phases"]["sums"]["grpo"].update(learning_rate=3.0e-2, max_completion_length=16)
        params["phases"]["sums"]["validation"].update(every_steps=1, patience=2, metric="accuracy", problems=14)

    project.params(impatient)
    project.repro("train@sums")
    rows = [line.split(",") for line in project.read("metrics/train/sums.csv").splitlines()]
    column = rows[0].index("validation_accuracy")
    scores = [float(row[column]) for row in rows[1:]]
    best = max(range(len(scores)), key=lambda i: (scores[i], i))
    assert len(scores) < STEPS
    assert len(scores) == best + 1 + 2
    origin = json.loads(project.read("models/sums/smolmath.json"))
    assert origin["step"] == best + 1
    assert origin["validation_accuracy"] == pytest.approx(scores[best], abs=1e-5)
    (journal,) = (project.folder / "journal" / "train@sums").iterdir()
    assert json.loads(journal.read_text())["published_step"] == best + 1
    # The weights are those of that step: a phase of so many steps without validation ends with the same.
    saved = (project.folder / MODEL).read_bytes()
    project.params(lambda params: params["phases"]["sums"].update(validation=None))
    project.params(lambda params: params["phases"]["sums"]["grpo"].update(max_steps=best + 1))
    project.repro("train@sums")
    assert (project.folder / MODEL).read_bytes() == saved


def test_two_processes_never_share_a_state(project):
    dvc = start(project)
    stage = stage_of(dvc)
    assert wait_for(lambda: checkpoints(project), dvc)
    dvc.kill()
    dvc.wait()  # the stage goes on, an orphan
    second = project.dvc("repro", "train@sums", check=False)
    assert second.returncode != 0
    assert f"is in use by process {stage.pid}" in second.stderr
    stage.kill()
    end_of(stage)
