"""Copies of an engine at the same time: nothing depends on how many, and none outlives what it belongs to."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial

import psutil
import pytest

import smolmath.evaluation.copies
from smolmath.errors import StageError
from smolmath.evaluation.copies import EngineCopies, engine_gpus, gpu_shares, load_engines, share_of
from smolmath.evaluation.generation import generate_batches, read_completions
from smolmath.running.devices import VISIBLE
from smolmath.running.runs import alive
from tests.conftest import ROOT, clone, wait_until
from tests.test_generation import PROBLEMS, PROMPT, SAMPLING, CountingEngine
from tests.test_training import HARDWARE

# --- what the copies do; it must be found here by their processes


class CountingEngineOnCpu(CountingEngine):
    device = "cpu"


def load_counting(*, hardware):
    return CountingEngineOnCpu()


def load_refusing(*, hardware):
    raise StageError("hardware.engine: it is not installed.")


def meet(folder, engine, task):
    """Ends when another process has a task, too."""
    (folder / task).write_text("")
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.02)
    return see(engine, task)


def see(engine, task):
    return task, os.getpid(), os.environ.get(VISIBLE)


def end_oddly(folder, engine, how):
    """`wait` first, with a child as vLLM's engine is one, and then `kill` or `raise`."""
    if how == "wait":
        child = subprocess.Popen(["sleep", "600"])
        (folder / "waits").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    while not (folder / "waits").exists() or not (folder / "waits").read_text():
        time.sleep(0.02)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("the copy's own words")


def copies(load, engines, **hardware):
    return EngineCopies(load, CountingEngine(), HARDWARE.model_copy(update={"engines": engines, **hardware}))


@pytest.fixture
def started(monkeypatch):
    """Names of the copies that were started."""
    names = []

    class Noted(smolmath.evaluation.copies._Copy):
        def __init__(self, name, *rest):
            names.append(name)
            super().__init__(name, *rest)

    monkeypatch.setattr(smolmath.evaluation.copies, "_Copy", Noted)
    return names


def gone(pid):
    return not psutil.pid_exists(pid) or not alive(psutil.Process(pid))


def all_end(waits):
    """The processes that are named in the file; a signal to a group reaches those in it one after the other."""
    deadline = time.monotonic() + 60
    while not all(gone(int(pid)) for pid in waits.read_text().split()):
        assert time.monotonic() < deadline, "they are still there"
        time.sleep(0.05)


# ---


@pytest.mark.parametrize("engines", [2, 3])
def test_completions_are_those_of_one_engine(tmp_path, started, engines):
    def generate(engine, state):
        paths = generate_batches(engine, PROBLEMS, prompt=PROMPT, sampling=SAMPLING, seed=5, state=state, what="test")
        return {path.name: path.read_bytes() for path in paths}

    several = copies(load_counting, engines)
    assert generate(several, tmp_path / "several") == generate(CountingEngine(), tmp_path / "one")
    assert len(started) == engines  # four batches: work for each
    assert several.device == "cpu"


def test_tasks_are_shared_by_the_copies(tmp_path, started):
    done = list(copies(load_counting, 2).run(partial(meet, tmp_path), ["a", "b"]))
    assert started == ["1 of 2", "2 of 2"]
    assert sorted(task for task, _, _ in done) == ["a", "b"]
    assert len({pid for _, pid, _ in done} - {os.getpid()}) == 2


def test_there_are_no_more_copies_than_batches_and_none_where_all_are_done(started):
    several = copies(load_counting, 3)
    assert sorted(task for task, _, _ in several.run(see, ["a", "b"])) == ["a", "b"]
    assert started == ["1 of 2", "2 of 2"]
    assert list(several.run(see, [])) == []
    assert started == ["1 of 2", "2 of 2"]


def test_finished_batches_stay_and_are_not_asked_again(tmp_path, started):
    generate = partial(
        generate_batches, problems=PROBLEMS, prompt=PROMPT, sampling=SAMPLING, seed=5, state=tmp_path, what="test"
    )
    paths = generate(CountingEngine())
    whole, kept = read_completions(paths), paths[0].stat().st_mtime_ns
    paths[2].unlink()
    assert read_completions(generate(copies(load_counting, 2))) == whole
    assert started == ["1 of 1"]
    assert paths[0].stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    ("how", "message", "told"),
    [
        ("kill", r"copy \d of 2 of the engine ended by SIGKILL. If memory was short: set hardware.engines to a smaller", ""),
        ("raise", r"copy \d of 2 of the engine ended with 1, and said why above.*the same command goes on", "RuntimeError: the copy's own words"),
    ],
)  # fmt: skip
def test_a_copy_that_ends_before_its_time_takes_the_others_with_it(tmp_path, capfd, how, message, told):
    with pytest.raises(StageError, match=message):
        list(copies(load_counting, 2).run(partial(end_oddly, tmp_path), ["wait", how]))
    all_end(tmp_path / "waits")
    said = capfd.readouterr().err
    assert told in said
    assert ("Traceback" in said) == bool(told)


def test_what_a_copy_refuses_is_told_once_in_its_own_words(capfd):
    with pytest.raises(StageError, match=r"^hardware.engine: it is not installed.$"):
        list(copies(load_refusing, 2).run(see, ["a", "b"]))
    assert capfd.readouterr().err == ""


def test_a_run_that_is_left_ends_its_copies():
    with closing(copies(load_counting, 2).run(see, list("abcdef"))) as done:
        _, pid, _ = next(done)
        assert not gone(pid)
    assert gone(pid)


PARENT = """
from functools import partial
from pathlib import Path
from tests.test_copies import copies, end_oddly, load_counting
if __name__ == "__main__":
    list(copies(load_counting, 1).run(partial(end_oddly, Path({folder!r})), ["wait"]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_copies_end_with_their_parent(tmp_path, number):
    script, waits = tmp_path / "parent.py", tmp_path / "waits"
    script.write_text(PARENT.format(folder=str(tmp_path)))
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    with (tmp_path / "said").open("w") as said:
        parent = subprocess.Popen([sys.executable, str(script)], cwd=ROOT, env=environment, stderr=said)
    wait_until(lambda: waits.exists() and len(waits.read_text().split()) == 2, parent)
    parent.send_signal(number)
    parent.wait(60)
    all_end(waits)


def test_each_copy_gets_gpus_of_its_own():
    assert gpu_shares(["0", "1", "2", "3"], copies=4, each=1) == [["0"], ["1"], ["2"], ["3"]]
    assert gpu_shares(["GPU-a", "GPU-b", "GPU-c", "GPU-d"], copies=2, each=2) == [
        ["GPU-a", "GPU-b"],
        ["GPU-c", "GPU-d"],
    ]
    assert gpu_shares([], copies=2, each=1) == [None, None]
    with pytest.raises(StageError, match=r"hardware.engines: 2 engines want 2 GPU each, and 3 are visible. Lower it."):
        gpu_shares(["0", "1", "2"], copies=2, each=2)


@pytest.mark.parametrize(("device", "seen"), [("auto", ["4,5", "7,9"]), ("cpu", ["4,5,7,9,11"] * 2)])
def test_what_a_copy_sees_is_set_before_it_starts(monkeypatch, tmp_path, device, seen):
    monkeypatch.setenv(VISIBLE, "4,5,7,9,11")
    hardware = {"device": device, "engine": "vllm", "vllm_tensor_parallel": 2}
    done = list(copies(load_counting, 2, **hardware).run(partial(meet, tmp_path), ["a", "b"]))
    assert sorted(visible for _, _, visible in done) == seen  # GPU 11 is left over
    assert os.environ[VISIBLE] == "4,5,7,9,11"


@pytest.mark.parametrize(
    ("engine", "gpus"), [("vllm", 6), ("transformers", 3)]
)  # 3 engines, of which each vLLM spreads over 2
def test_a_stage_takes_the_gpus_of_all_copies(engine, gpus):
    several = {"engines": 3, "vllm_tensor_parallel": 2, "engine": engine}
    assert engine_gpus(HARDWARE.model_copy(update=several)) == gpus


@pytest.mark.parametrize(("threads", "engines", "each"), [(4, 2, 2), (5, 2, 2), (2, 3, 1)])
def test_threads_are_divided(threads, engines, each):
    share = share_of(HARDWARE.model_copy(update={"threads": threads, "engines": engines}))
    assert (share.threads, share.engines) == (each, 1)


def test_one_engine_stays_in_this_process():
    assert not isinstance(load_engines(ROOT / "bases" / "calc", dtype="float32", hardware=HARDWARE), EngineCopies)


@pytest.fixture
def projects(prepared_project, tmp_path):
    """The tiny demo with a model and problems, and eight batches of them to answer."""

    def more(params):
        params["evaluate"]["sampling"] |= {"problems": 16, "samples": 2, "max_completion_tokens": 48, "batch_size": 2}

    project = clone(prepared_project, tmp_path / "project")
    project.params(more)
    return project


GENERATE = ("generate@base-sums",)
COMPLETIONS = "results/completions/base/sums.parquet"


@pytest.mark.slow
def test_the_stage_writes_the_same_bytes_with_two_engines_also_after_one_was_killed(projects):
    projects.params(lambda params: params["hardware"].update(engines=2, threads=2))
    log = projects.folder / "log"
    with log.open("w") as said:
        dvc = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", *GENERATE],
            cwd=projects.folder, env=projects.real_processes, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
    state = projects.folder / ".work" / GENERATE[0]
    wait_until(lambda: list(state.glob("*/transformers/batch-*.parquet")), dvc)
    found = [
        p for p in psutil.Process(dvc.pid).children(recursive=True) if "multiprocessing.spawn" in str(p.cmdline())
    ]
    copies = [p for p in found if p.parent().cmdline()[1:2] == ["stages/generate.py"]]
    assert len(copies) == 2
    copies[0].kill()
    assert dvc.wait() != 0
    assert re.search(r"error: copy \d of 2 of the engine ended by SIGKILL", log.read_text())
    assert "Traceback" not in log.read_text()
    assert not any(alive(copy) for copy in copies)
    done = projects.dvc("repro", *GENERATE)
    assert re.search(r"problems, [1-9]\d* done by an earlier run", done.stderr)
    two = (projects.folder / COMPLETIONS).read_bytes()
    projects.params(lambda params: params["hardware"].update(engines=1, threads=1))
    assert GENERATE[0] not in projects.repro(*GENERATE)  # hardware is in no stage's params
    assert projects.repro("-f", "-s", *GENERATE) == [*GENERATE]
    assert (projects.folder / COMPLETIONS).read_bytes() == two


@pytest.mark.slow
def test_a_model_without_a_chat_template_is_told_once(projects):
    (projects.folder / "models/base/chat_template.jinja").unlink()
    projects.params(lambda params: params["hardware"].update(engines=2))
    command = "stages/generate.py --model base --dataset sums --weights models/base --split data/split/sums --out"
    done = projects.run(sys.executable, *command.split(), COMPLETIONS, check=False, PYTHONPATH="src")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: models/base: the tokenizer has no chat template. Use an instruct model, or add one to it."
    ]
