"""Trainings that are killed, stopped, edited and starved: what goes on from where, and what is never published."""

import csv
import hashlib
import json
import runpy
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

import smolmath.running.runs
from smolmath.running.runs import alive
from tests.conftest import ROOT, clone, make_tiny

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
    phase["resample"] = {"rounds": 2}


@pytest.fixture(scope="module")
def prepared(prepared_project, tmp_path_factory):
    """A project in which all that the phase needs has been made."""
    project = clone(prepared_project, tmp_path_factory.mktemp("prepared") / "project")
    project.params(survivor)
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


def results(project, phase="sums"):
    model = f"models/{phase}"
    names = [f"{model}/model.safetensors", f"{model}/smolmath.json", f"metrics/train/{phase}.csv"]
    names.append(f"results/training/{phase}.parquet")
    return {name: hashlib.sha256((project.folder / name).read_bytes()).hexdigest() for name in names}


def start(project):
    with (project.folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", "train@sums"],
            cwd=project.folder,
            env=project.real_processes,  # a stage is this dvc's child, and can be found and killed
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stage_of(dvc):
    """The training's process, once it runs; None if dvc has ended before."""
    while dvc.poll() is None:
        try:
            for child in psutil.Process(dvc.pid).children(recursive=True):
                if any("train.py" in word for word in child.cmdline()) and "python" in child.name():
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


def newest(project):
    """Step of the newest whole checkpoint."""
    whole = [path for path in checkpoints(project) if (path / "trainer_state.json").exists()]
    return max((int(path.name.split("-")[1]) for path in whole), default=0)


def trained_to(project, step):
    return newest(project) >= step


def start_and_train(project, step):
    """(dvc, its stage), once a checkpoint of that step is whole."""
    dvc = start(project)
    stage = stage_of(dvc)
    assert wait_for(partial(trained_to, project, step), dvc)
    return dvc, stage


def trainings_begun(project, number):
    return project.read("log").count("train sums: 24 steps") >= number


def is_being_written(project, before):
    return any(not (path / "trainer_state.json").exists() for path in set(checkpoints(project)) - before)


def newest_is(step, project, _):
    return newest(project) >= step


def visible(project):
    return sorted(p.name for p in (project.folder / "models").iterdir() if not p.name.startswith("."))


KILLS = {  # who is killed, and when
    "the stage": (["stage"], partial(newest_is, 2)),
    "dvc, then the orphan": (["dvc", "stage"], partial(newest_is, 8)),
    "the stage while it writes a checkpoint": (["stage"], is_being_written),
    "both": (["stage", "dvc"], partial(newest_is, 18)),
}


def test_a_training_killed_in_each_way_ends_as_an_undisturbed_one(project, undisturbed):
    for number, (victims, moment) in enumerate(KILLS.values(), start=1):
        dvc = start(project)
        stage = stage_of(dvc)
        assert wait_for(partial(trainings_begun, project, number), dvc)
        assert wait_for(partial(moment, project, set(checkpoints(project))), dvc), "it ended before it was killed"
        for victim in victims:
            {"stage": stage, "dvc": dvc}[victim].kill()
        dvc.wait()
        end_of(stage)
        assert visible(project) == ["base"]
    project.repro("train@sums")
    assert results(project) == results(undisturbed)
    curve = list(csv.DictReader(project.read("metrics/train/sums.csv").splitlines()))
    assert [int(row["step"]) for row in curve] == list(range(1, STEPS + 1))
    assert (
        sum(float(row["redrawn_groups"]) > 0 for row in curve) > STEPS // 4
    )  # a checkpoint says nothing of these prompts
    (journal,) = (project.folder / "journal" / "train@sums").iterdir()
    assert json.loads(journal.read_text())["resumed_from_step"] >= 18
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
    command = "PYTHONPATH=src python stages/train.py --method grpo --phase sums --init models/base --split data/split/sums --out models/sums --curve metrics/train/sums.csv --samples results/training/sums.parquet"
    kept = project.folder / "kept"
    inside = f"mount -t tmpfs -o size=21m none {work} && {command}; cp -r {work} {kept}"
    done = project.run(
        "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, check=False, **project.real_processes
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()[:200]}")
    assert "error: sums: no space left to write" in done.stderr
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


class Killed(BaseException):
    """What nobody catches."""


SETTINGS = {  # name -> (phase, its params, fields of its trainer, hardware); ten steps, killed in the ninth
    "the second epoch": (
        "sums",
        {"prompts_per_step": 16, "online_difficulty": {"skip": 0.8}},
        {"num_generations": 2},
        {},
    ),
    "an adapter": (
        "sums",
        {"lora": {"r": 4, "alpha": 8, "dropout": 0.1, "target_modules": ["q_proj", "up_proj"]}},
        {"learning_rate": 1.0e-2},
        {},
    ),
    "a generation for four steps": (
        "sums",
        {"checkpoint_steps": 4},
        {"steps_per_generation": 2, "num_iterations": 2},
        {"micro_batch": 4},
    ),
    "all that a loss can have": (
        "sums",
        {"answer_grounding_weight": 0.1, "resample": {"rounds": 1}},
        {
            "beta": 0.04,
            "epsilon_high": 0.28,
            "mask_truncated_completions": True,
            "scale_rewards": "batch",
            "use_adaptive_entropy": True,
            "entropy_coef": 0.01,
            "gradient_checkpointing": True,
        },
        {},
    ),
    "SFT in its second epoch": ("legs", {"init": "base", "examples_per_step": 16, "preflight": "off"}, {}, {}),
    "bfloat16": ("sums", {}, {"max_completion_length": 16}, {}),
}


def train_here(project, monkeypatch, phase, method, kill_in=None):
    """The phase's stage in this process, which imports TRL once; killed at the end of a step's work."""
    from smolmath.training.phase.watching import WatchCallback

    with monkeypatch.context() as patch:
        patch.chdir(project.folder)
        patch.setattr(smolmath.running.runs, "refuse_foreign_checkout", lambda: None)
        if kill_in:
            step_end = WatchCallback.on_step_end

            def killed(self, args, state, control, **rest):
                if state.global_step == kill_in:
                    raise Killed
                step_end(self, args, state, control, **rest)

            patch.setattr(WatchCallback, "on_step_end", killed)
        runpy.run_path(str(ROOT / "stages" / "train.py"))["main"](
            method=method,
            phase=phase,
            init=Path("models/base"),
            split=Path(f"data/split/{phase}"),
            out=Path(f"models/{phase}"),
            curve=Path(f"metrics/train/{phase}.csv"),
            samples=Path(f"results/training/{phase}.parquet"),
        )


@pytest.mark.parametrize("name", SETTINGS)
def test_whatever_is_set_a_killed_training_ends_as_an_undisturbed_one(prepared, tmp_path, monkeypatch, name):
    phase, own, fields, hardware = SETTINGS[name]

    def settings(params):
        method = params["phases"][phase]["method"]
        common = {"checkpoint_steps": 2, "validation": {"problems": 8, "every_steps": 3, "metric": "accuracy", "patience": None}}  # fmt: skip
        params["phases"][phase] |= common | own
        params["phases"][phase][method] |= {"max_steps": 10} | fields
        params["hardware"] |= hardware
        if name == "bfloat16":
            params["model"]["dtype"] = "bfloat16"

    peaceful, disturbed = (clone(prepared, tmp_path / which / "project") for which in ("peaceful", "disturbed"))
    method = "sft" if phase == "legs" else "grpo"
    for project in (peaceful, disturbed):
        project.params(settings)
    train_here(peaceful, monkeypatch, phase, method)
    with pytest.raises(Killed):
        train_here(disturbed, monkeypatch, phase, method, kill_in=9)
    assert not (disturbed.folder / f"models/{phase}").exists()
    train_here(disturbed, monkeypatch, phase, method)
    (journal,) = (disturbed.folder / "journal" / f"train@{phase}").iterdir()
    assert json.loads(journal.read_text())["resumed_from_step"] == 8
    assert results(disturbed, phase) == results(peaceful, phase)
    if name == "the second epoch":
        curve = list(csv.DictReader(peaceful.read("metrics/train/sums.csv").splitlines()))
        assert float(curve[-1]["skipped_prompts"]) > 0  # known from before the kill
        (undisturbed_entry,) = (peaceful.folder / "journal" / "train@sums").iterdir()
        entry = json.loads(undisturbed_entry.read_text())
        assert entry["forecast_seconds"] > 0  # an upper bound, beside what it took
        assert entry["seconds"] >= sum(entry["seconds_by_activity"][name] for name in ("generate", "train"))


def test_too_few_problems_for_one_generation_are_told(prepared, tmp_path, monkeypatch, capsys):
    project = clone(prepared, tmp_path / "project")
    project.params(lambda params: params["phases"]["sums"].update(prompts_per_step=1_000))
    with pytest.raises(SystemExit):
        train_here(project, monkeypatch, "sums", "grpo")
    assert "train problems are fewer than the 1000 prompts of one generation" in capsys.readouterr().err
    assert visible(project) == ["base"]


def test_a_prompt_limit_below_every_prompt_is_told(prepared, tmp_path, monkeypatch, capsys):
    project = clone(prepared, tmp_path / "project")
    project.params(lambda params: params["phases"]["sums"].update(max_prompt_tokens=3))
    with pytest.raises(SystemExit):
        train_here(project, monkeypatch, "sums", "grpo")
    assert "phases.sums.max_prompt_tokens: 3 is shorter than every prompt" in capsys.readouterr().err


def test_a_model_without_a_chat_template_is_told(prepared, tmp_path, monkeypatch, capsys):
    project = clone(prepared, tmp_path / "project")
    (project.folder / "models/base/chat_template.jinja").unlink()
    with pytest.raises(SystemExit):
        train_here(project, monkeypatch, "sums", "grpo")
    assert "models/base: the tokenizer has no chat template. Use an instruct model" in capsys.readouterr().err


def test_a_tokenizer_without_a_pad_token_pads_with_its_end_token(prepared, tmp_path):
    from smolmath.engines.transformers import load_tokenizer

    folder = tmp_path / "base"
    shutil.copytree(prepared.folder / "models/base", folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["pad_token"] = None
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


def test_a_checkpoint_is_whole_when_its_last_file_is(tmp_path):
    from smolmath.training.phase.checkpoints import last_whole_checkpoint

    for step in (2, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-2" / "entropy_ctrl_state.json").write_text("{}")
    assert last_whole_checkpoint(tmp_path).name == "checkpoint-4"
    assert last_whole_checkpoint(tmp_path, last_file="entropy_ctrl_state.json").name == "checkpoint-2"
    assert not (tmp_path / "checkpoint-4").exists()
