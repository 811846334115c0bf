"""Several engines at the same time: nothing depends on how many, and none outlives what it belongs to."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest

from smolmath.errors import StageError
from smolmath.evaluation.generation import generate_batches, read_completions
from smolmath.evaluation.several import SeveralEngines, engine_gpus, gpu_shares, load_engines, share_of
from smolmath.running.devices import VISIBLE
from smolmath.running.runs import alive
from tests.conftest import ROOT, clone, wait_until
from tests.test_generation import PROBLEMS, PROMPT, SAMPLING, CountingEngine
from tests.test_training import HARDWARE

# --- what the processes do; it must be found here by them


class CountingEngineOnCpu(CountingEngine):
    device = "cpu"


def load_counting(*, hardware):
    return CountingEngineOnCpu()


def load_refusing(*, hardware):
    raise StageError("hardware.engine: it is not installed.")


def note(folder, engine, rank, processes):
    (folder / str(rank)).write_text(f"{processes} {os.getpid()} {os.environ.get(VISIBLE)}")


def end_oddly(folder, how, engine, rank, processes):
    """The first waits, with a child as vLLM's engine is one; the last is killed, or raises, once it does."""
    if rank == 0:
        child = subprocess.Popen(["sleep", "600"])
        (folder / "waits").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    while not (folder / "waits").exists() or not (folder / "waits").read_text():
        time.sleep(0.02)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("the engine's own words")


def several(load, engines, **hardware):
    return SeveralEngines(load, CountingEngine(), HARDWARE.model_copy(update={"engines": engines, **hardware}))


def gone(pid):
    return not psutil.pid_exists(pid) or not alive(psutil.Process(pid))


def all_end(waits):
    """The processes that are named in the file; a signal to a group reaches those in it one after the other."""
    deadline = time.monotonic() + 60
    while not all(gone(int(pid)) for pid in waits.read_text().split()):
        assert time.monotonic() < deadline, "they are still there"
        time.sleep(0.05)


# ---


def test_completions_are_those_of_one_engine(tmp_path, capfd):
    def generate(engine, state):
        paths = generate_batches(engine, PROBLEMS, prompt=PROMPT, sampling=SAMPLING, seed=5, state=state, what="test")
        return {path.name: path.read_bytes() for path in paths}

    three = several(load_counting, 3)
    assert generate(three, tmp_path / "three") == generate(CountingEngine(), tmp_path / "one")
    assert three.device == "cpu"
    assert capfd.readouterr().err.count("test: done, 10 problems") == 2  # the first process sees all to their end


def test_finished_batches_stay_and_are_not_asked_again(tmp_path, capfd):
    generate = partial(
        generate_batches, problems=PROBLEMS, prompt=PROMPT, sampling=SAMPLING, seed=5, state=tmp_path, what="test"
    )
    paths = generate(CountingEngine())
    whole, kept = read_completions(paths), paths[0].stat().st_mtime_ns
    paths[2].unlink()
    capfd.readouterr()
    assert read_completions(generate(several(load_counting, 2))) == whole
    assert "test: 10 problems, 7 done by an earlier run" in capfd.readouterr().err
    assert paths[0].stat().st_mtime_ns == kept


@pytest.mark.parametrize(("device", "seen"), [("auto", ["4,5", "7,9"]), ("cpu", ["4,5,7,9,11"] * 2)])
def test_there_is_a_process_for_each_engine_or_task_and_it_sees_gpus_of_its_own(monkeypatch, tmp_path, device, seen):
    monkeypatch.setenv(VISIBLE, "4,5,7,9,11")
    hardware = {"device": device, "engine": "vllm", "vllm_tensor_parallel": 2}
    several(load_counting, 3, **hardware).run(partial(note, tmp_path), tasks=2, name="test", logs=tmp_path / "logs")
    found = [(tmp_path / str(rank)).read_text().split() for rank in range(2)]
    assert not (tmp_path / "2").exists()
    assert [(processes, visible) for processes, _, visible in found] == [
        ("2", gpus) for gpus in seen
    ]  # 11 is left over
    assert len({pid for _, pid, _ in found} | {str(os.getpid())}) == 3
    assert os.environ[VISIBLE] == "4,5,7,9,11"


def test_no_process_starts_where_all_is_done(tmp_path):
    several(load_refusing, 2).run(partial(note, tmp_path), tasks=0, name="test", logs=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("how", "message", "said"),
    [
        ("kill", r"^test: process 1 of 2 was ended by SIGKILL, and the others were ended with it\. .*hardware\.engines", ""),
        ("raise", r"^test: process 1 of 2 ended with an error, .*: RuntimeError: the engine's own words$", "in end_oddly"),
    ],
)  # fmt: skip
def test_a_process_that_ends_before_its_time_takes_the_others_with_it(tmp_path, capfd, how, message, said):
    with pytest.raises(StageError, match=message):
        several(load_counting, 2).run(partial(end_oddly, tmp_path, how), tasks=2, name="test", logs=tmp_path / "logs")
    all_end(tmp_path / "waits")
    errors = capfd.readouterr().err
    assert said in errors
    assert ("Traceback" in errors) == bool(said)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_an_engine_refuses_is_said_once_in_its_own_words(tmp_path, capfd):
    with pytest.raises(StageError, match=r"process \d of 2 .* with it: hardware.engine: it is not installed.$"):
        several(load_refusing, 2).run(partial(note, tmp_path), tasks=2, name="test", logs=tmp_path)
    assert capfd.readouterr().err == ""


PARENT = """
from functools import partial
from pathlib import Path
from tests.test_several import end_oddly, load_counting, several
if __name__ == "__main__":
    folder = Path({folder!r})
    several(load_counting, 1).run(partial(end_oddly, folder, ""), tasks=1, name="test", logs=folder / "logs")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_engines_end_with_their_parent(tmp_path, number):
    script, waits = tmp_path / "parent.py", tmp_path / "waits"
    script.write_text(PARENT.format(folder=str(tmp_path)))
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    with (tmp_path / "said").open("w") as said:
        parent = subprocess.Popen([sys.executable, str(script)], cwd=ROOT, env=environment, stderr=said)
    wait_until(lambda: waits.exists() and len(waits.read_text().split()) == 2, parent)
    parent.send_signal(number)
    parent.wait(60)
    all_end(waits)


def test_each_engine_gets_gpus_of_its_own():
    assert gpu_shares(["0", "1", "2", "3"], engines=4, each=1) == [["0"], ["1"], ["2"], ["3"]]
    assert gpu_shares(["GPU-a", "GPU-b", "GPU-c", "GPU-d"], engines=2, each=2) == [
        ["GPU-a", "GPU-b"],
        ["GPU-c", "GPU-d"],
    ]
    assert gpu_shares([], engines=2, each=1) == [None, None]
    with pytest.raises(StageError, match=r"hardware.engines: 2 engines want 2 GPU each, and 3 are visible. Lower it."):
        gpu_shares(["0", "1", "2"], engines=2, each=2)


@pytest.mark.parametrize(
    ("engine", "gpus"), [("vllm", 6), ("transformers", 3)]
)  # 3 engines, of which each vLLM spreads over 2
def test_a_stage_takes_the_gpus_of_all_engines(engine, gpus):
    several = {"engines": 3, "vllm_tensor_parallel": 2, "engine": engine}
    assert engine_gpus(HARDWARE.model_copy(update=several)) == gpus


@pytest.mark.parametrize(("threads", "engines", "each"), [(4, 2, 2), (5, 2, 2), (2, 3, 1)])
def test_threads_are_divided(threads, engines, each):
    share = share_of(HARDWARE.model_copy(update={"threads": threads, "engines": engines}))
    assert (share.threads, share.engines) == (each, 1)


def test_one_engine_stays_in_this_process():
    assert not isinstance(load_engines(ROOT / "bases" / "calc", dtype="float32", hardware=HARDWARE), SeveralEngines)


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
    engines = [p for p in found if p.parent().cmdline()[1:2] == ["stages/generate.py"]]
    assert len(engines) == 2
    engines[0].kill()
    assert dvc.wait() != 0
    assert re.search(r"error: generate base on sums: process \d of 2 was ended by SIGKILL", log.read_text())
    assert "Traceback" not in log.read_text()
    assert not any(alive(engine) for engine in engines)
    done = projects.dvc("repro", *GENERATE)
    assert re.search(r"problems, [1-9]\d* done by an earlier run", done.stderr)
    two = (projects.folder / COMPLETIONS).read_bytes()
    projects.params(lambda params: params["hardware"].update(engines=1, threads=1))
    assert GENERATE[0] not in projects.repro(*GENERATE)  # hardware is in no stage's params
    assert projects.repro("-f", "-s", *GENERATE) == [*GENERATE]
    assert (projects.folder / COMPLETIONS).read_bytes() == two


@pytest.mark.slow
def test_a_model_without_a_chat_template_is_refused_once(projects):
    (projects.folder / "models/base/chat_template.jinja").unlink()
    projects.params(lambda params: params["hardware"].update(engines=2))
    command = "stages/generate.py --model base --dataset sums --weights models/base --split data/split/sums"
    command += " --sampling data/sampling/sums.json --out"
    done = projects.run(sys.executable, *command.split(), COMPLETIONS, check=False, PYTHONPATH="src")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: models/base: the tokenizer has no chat template. Use an instruct model, or add one to it."
    ]
