"""What several processes are started by, and what is refused before they are: no process starts here."""

import json
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
import torch

from smolmath.errors import StageError
from smolmath.running.devices import DeviceError, claimed_gpus
from smolmath.running.launch import elastic
from smolmath.running.launch.config import AccelerateConfig, LaunchError, checked_config, environment, read_config
from smolmath.running.launch.job import Job, refuse_difference
from smolmath.running.launch.stage import _gpus
from smolmath.training.phase import checkpoints, ranks
from smolmath.training.phase.arguments import largest_divisor, shared_arguments
from smolmath.training.phase.checkpoints import last_whole_checkpoint, refuse_other_kind
from tests.conftest import ROOT
from tests.test_training import GRPO, HARDWARE

SHIPPED = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """Pretend that the machine has so many GPUs."""

    def pretend(count):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: count)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: f"GPU-{handle}")

    return pretend


def with_accelerate(name, **more):
    return HARDWARE.model_copy(update={"accelerate": f"configs/accelerate/{name}.yaml", "device": "auto", **more})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_accelerate_reads_the_shipped_files_as_we_do(path):
    config = read_config(str(path.relative_to(ROOT)))
    assert config.machines == 1
    variables = environment(config, 2)
    asked = {
        "MULTI_CPU": {"ACCELERATE_USE_CPU": "true"},
        "MULTI_GPU": {},
        "FSDP": {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT"},
        "DEEPSPEED": {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": path.stem[-1]},
    }[config.kind]
    assert asked.items() <= variables.items()
    assert "ACCELERATE_MIXED_PRECISION" not in variables  # model.dtype says it


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "has distributed_type None; smolmath trains with MULTI_CPU, MULTI_GPU, FSDP, DEEPSPEED"),
        ("distributed_type: XLA\n", "has distributed_type XLA"),
        ("a: [\n", "is no YAML"),
        ("distributed_type: MULTI_GPU\nnum_processes: 0\n", "has num_processes 0, which is no number from 1 up"),
        ("distributed_type: MULTI_GPU\nnum_machines: two\n", "has num_machines two"),
        ("distributed_type: MULTI_GPU\nnum_processes: 3\nnum_machines: 2\n", "asks for 3 processes on 2 machines"),
        ("distributed_type: MULTI_CPU\n", "must name num_processes"),
        ("distributed_type: FSDP\n", "must have fsdp_config.fsdp_version: 2"),
    ],
)
def test_what_a_config_gets_wrong_is_said(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(LaunchError) as told:
        read_config(str(path))
    assert said in str(told.value)
    assert str(path) in str(told.value)


def test_a_missing_config_is_named_with_the_nearest():
    with pytest.raises(LaunchError, match=r"configs/accelerate/fdsp2.yaml does not exist.*fsdp2.yaml"):
        read_config("configs/accelerate/fdsp2.yaml")


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero2", "zero3"])
def test_what_needs_gpus_is_refused_without(gpus, name):
    gpus(0)
    with pytest.raises(LaunchError, match=r"is for GPUs, and device is auto on a machine without one here"):
        checked_config(with_accelerate(name))
    gpus(2)
    assert checked_config(with_accelerate(name)).processes is None
    with pytest.raises(LaunchError, match=r"is for GPUs, and device is cpu"):
        checked_config(with_accelerate(name, device="cpu"))


def test_the_cpu_is_not_taken_where_a_gpu_is_meant(gpus):
    gpus(2)
    with pytest.raises(LaunchError, match=r"cpu.yaml is for CPUs, and device is auto on a machine with a GPU"):
        checked_config(with_accelerate("cpu"))
    assert checked_config(with_accelerate("cpu", device="cpu")).processes == 2


def test_more_processes_than_gpus_are_refused(gpus, tmp_path):
    gpus(2)
    path = tmp_path / "four.yaml"
    path.write_text("distributed_type: MULTI_GPU\nnum_processes: 4\n")
    hardware = with_accelerate("ddp", accelerate=str(path), devices="all")
    with (
        pytest.raises(DeviceError, match=r"4 GPUs are asked for, and this machine has 2 for them"),
        claimed_gpus(hardware, _gpus(hardware)),
    ):
        pass
    path.write_text("distributed_type: MULTI_GPU\nnum_processes: 4\nnum_machines: 2\n")
    with claimed_gpus(hardware, _gpus(hardware)) as mine:
        assert mine == ["GPU-0", "GPU-1"]
    one = with_accelerate("ddp", devices=[1])
    with claimed_gpus(one, _gpus(one)) as mine:
        assert mine == ["GPU-1"]


JOB = Job(
    name="train@sums",
    arguments=["stages/train.py"],
    deps={"src/smolmath/training": "a"},
    params={"seed": 1},
    hardware={"micro_batch": 4, "devices": [0, 1]},
    packages={"torch": "2.13.0"},
    state=".work/train@sums/0",
    machines=2,
)
HERE = {"deps": JOB.deps, "params": JOB.params, "hardware": JOB.hardware, "packages": JOB.packages}


def test_a_job_goes_through_its_file(tmp_path):
    JOB.write(tmp_path / "job.json")
    assert Job.read(tmp_path / "job.json") == JOB
    refuse_difference(Job.read(tmp_path / "job.json"), HERE | {"hardware": {**JOB.hardware, "devices": (0, 1)}}, "it")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"deps": {"src/smolmath/training": "b"}}, "has another src/smolmath/training than process 0. All"),
        ({"params": {"seed": 2}}, "has another params.yaml: seed than process 0: 2 here, 1 in process 0"),
        (
            {"hardware": JOB.hardware | {"micro_batch": 8}},
            "another params.yaml: hardware.micro_batch than process 0: 8",
        ),
        ({"packages": {"torch": "2.12.0"}}, "another package torch than process 0: '2.12.0' here"),
        ({"packages": {}}, "another package torch than process 0: None here"),
    ],
)
def test_a_process_that_sees_something_else_is_refused(change, said):
    with pytest.raises(LaunchError) as told:
        refuse_difference(JOB, HERE | change, "process 3")
    assert str(told.value).startswith("train@sums: process 3 has another ")
    assert said in str(told.value)


class Failure(SimpleNamespace):
    """What torch reports of a process that ended badly."""

    def __init__(self, exitcode, message=""):
        super().__init__(exitcode=exitcode, message=message, pid=2**22 + 1, error_file="logs/1/error.json")

    def signal_name(self):
        return signal.Signals(-self.exitcode).name


def raised(kind, said):
    return {"message": f"{kind}: {said}", "extraInfo": {"py_callstack": "Traceback (most recent call last)"}}


@pytest.mark.parametrize(
    ("failures", "said"),
    [
        ({0: Failure(3), 1: Failure(-9), 2: Failure(-15)}, "process 1 of 4 was ended by SIGKILL, and the others were ended with it. When"),
        ({1: Failure(-15), 0: Failure(3, raised("StageError", "lost")), 2: Failure(1, raised("StageError", "a step is too large."))}, "process 2 of 4 ended with an error, and the others were ended with it: a step is too large."),
        ({3: Failure(1, raised("RuntimeError", "broken"))}, "with it: RuntimeError: broken"),
        ({3: Failure(1)}, "with it. It wrote into logs/1/error.json"),
    ],
)  # fmt: skip
def test_the_process_that_is_named_is_the_cause(failures, said):
    assert said in elastic._ended("train@sums", 4, failures)


def test_a_second_machine_that_never_comes_ends_the_wait(tmp_path):
    with pytest.raises(
        LaunchError, match=r"after 0.02 minutes \(hardware.wait_minutes\) not all of 2 machines had met"
    ):
        elastic.run_processes(
            print, name="smolmath", count=1, logs=tmp_path, threads=1, machines=2, address=f"127.0.0.1:{free_port()}",
            wait_minutes=0.02,
        )  # fmt: skip


def test_a_port_that_is_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(LaunchError, match=rf"{address} can't be listened at .*another main_process_port"):
            elastic.run_processes(
                print, name="smolmath", count=1, logs=tmp_path, threads=1, machines=2, address=address
            )


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def checkpoint(folder: Path, step: int, *files: str) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in ("trainer_state.json", *files):
        (path / name).write_text("{}")
    return path


def test_a_checkpoint_of_several_is_whole_when_all_have_written(tmp_path):
    four = checkpoint(tmp_path, 4, "rng_state_0.pth", "rng_state_1.pth", checkpoints.MADE_BY)
    six = checkpoint(tmp_path, 6, "rng_state_0.pth", "rng_state_1.pth")
    assert last_whole_checkpoint(tmp_path) == four
    assert not six.exists()
    eight = checkpoint(tmp_path, 8, "rng_state.pth")  # of one process
    assert last_whole_checkpoint(tmp_path) == eight


@pytest.mark.parametrize(
    ("made", "now", "refused"),
    [
        (None, (None, 1), False),
        (None, ("MULTI_GPU", 8), False),
        ({"kind": "MULTI_GPU", "processes": 8}, (None, 1), False),
        ({"kind": "MULTI_GPU", "processes": 8}, ("MULTI_GPU", 4), False),
        ({"kind": "FSDP", "processes": 8}, ("FSDP", 8), False),
        ({"kind": "FSDP", "processes": 8}, ("FSDP", 4), True),
        ({"kind": "FSDP", "processes": 8}, (None, 1), True),
        ({"kind": "DEEPSPEED", "processes": 2}, ("FSDP", 2), True),
        (None, ("DEEPSPEED", 2), True),
    ],
)
def test_whose_checkpoints_are_gone_on_from(tmp_path, monkeypatch, capsys, made, now, refused):
    path = checkpoint(tmp_path, 4)
    if made:
        (path / checkpoints.MADE_BY).write_text(json.dumps(made))
    kind, count = now
    monkeypatch.setattr(checkpoints, "processes", lambda: count)
    if refused:
        with pytest.raises(StageError, match=r"which can't read it. Put hardware.accelerate back, or start afresh"):
            refuse_other_kind(path, kind)
        return
    refuse_other_kind(path, kind)
    assert ("go on from it" in capsys.readouterr().err) == ((made or {"processes": 1})["processes"] != count)


def test_one_process_meets_nobody_however_often_it_trains():
    places = list(torch.serialization._package_registry)
    for _ in range(2):
        ranks.join(cpu=True)
    assert torch.serialization._package_registry == places


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("items", [1, 5, 8])
def test_shares_go_up_into_the_whole(monkeypatch, count, items):
    whole = list(range(items))
    monkeypatch.setattr(ranks, "processes", lambda: count)
    shares = []
    for number in range(count):
        monkeypatch.setattr(ranks, "rank", lambda number=number: number)
        shares.append(ranks.share(whole))
    assert len({len(share) for share in shares}) == 1
    monkeypatch.setattr(ranks, "gather", lambda _: [item for share in shares for item in share])
    assert ranks.joined(shares[0], items) == whole


def test_what_one_pass_takes_divides_the_share():
    assert [largest_divisor(64, most) for most in (1, 16, 24, 64, 100)] == [1, 16, 16, 64, 64]
    assert largest_divisor(21, 16) == 7


@pytest.mark.parametrize(("count", "batch", "passes"), [(1, 4, 6), (2, 4, 3), (4, 3, 2)])
def test_the_step_is_divided_among_the_processes(monkeypatch, tmp_path, count, batch, passes):
    monkeypatch.setattr("smolmath.training.phase.arguments.processes", lambda: count)
    hardware = HARDWARE.model_copy(update={"micro_batch": 4})
    arguments = shared_arguments(GRPO, seed=1, dtype="float32", hardware=hardware, state=tmp_path)
    assert GRPO.completions_per_step == 24
    assert arguments["per_device_train_batch_size"] == batch
    assert arguments["gradient_accumulation_steps"] == passes
    monkeypatch.setattr("smolmath.training.phase.arguments.processes", lambda: 5)
    with pytest.raises(StageError, match="24 sequences of a step can't be divided equally among 5 processes"):
        shared_arguments(GRPO, seed=1, dtype="float32", hardware=hardware, state=tmp_path)


def test_the_number_on_each_machine():
    assert AccelerateConfig("x", "MULTI_GPU", 2, 16).per_machine == 8
    assert AccelerateConfig("x", "MULTI_GPU", 2, None).per_machine is None
