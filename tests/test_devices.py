"""Which GPU a stage gets. NVML is played by a stand-in, since few test machines have a GPU; locks and processes are real."""

import os
import subprocess
import sys
import time

import pynvml
import pytest

from smolmath.running.devices import DeviceError, claimed_gpus
from tests.conftest import ROOT
from tests.test_training import HARDWARE

CUDA = HARDWARE.model_copy(update={"device": "auto", "devices": "auto"})


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: f"GPU-{handle}")


def with_devices(devices):
    return CUDA.model_copy(update={"devices": devices})


def test_two_stages_get_a_gpu_each_and_give_it_back(two_gpus):
    with claimed_gpus(CUDA) as one:
        assert [os.environ["CUDA_VISIBLE_DEVICES"]] == one == ["GPU-0"]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    held = hold("GPU-0")
    with claimed_gpus(CUDA) as one:
        assert one == ["GPU-1"]
    end(held)
    with claimed_gpus(CUDA) as one:  # the lock went with the process that was killed
        assert one == ["GPU-0"]


def hold(gpu):
    """A process that is shown one GPU and holds it until it is killed."""
    code = f"""
import os, time
os.environ["CUDA_VISIBLE_DEVICES"] = {gpu!r}
from smolmath.running.devices import claimed_gpus
from tests.test_devices import CUDA
with claimed_gpus(CUDA) as got:
    print(*got, flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == f"{gpu}\n"
    process.stdout.close()
    return process


def end(process):
    process.kill()
    process.wait()


def test_a_stage_waits_where_all_are_held(two_gpus, capsys, monkeypatch):
    held = [hold("GPU-0"), hold("GPU-1")]
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        end(held[1])

    monkeypatch.setattr(time, "sleep", sleep)
    with claimed_gpus(CUDA) as one:
        assert one == ["GPU-1"]
    assert waited
    assert "waiting for a free GPU: other stages hold some of GPU-0, GPU-1" in capsys.readouterr().out
    end(held[0])


def test_the_params_choose_among_those_that_the_process_may_use(two_gpus, monkeypatch):
    with claimed_gpus(with_devices([1])) as one:
        assert one == ["GPU-1"]
    with claimed_gpus(with_devices("all")) as both:
        assert both == ["GPU-0", "GPU-1"]
    with (
        pytest.raises(DeviceError, match=r"there is no GPU 2; this machine shows 2, counted from 0"),
        claimed_gpus(with_devices([0, 2])),
    ):
        pass
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with claimed_gpus(with_devices([0])) as one:
        assert one == ["1"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_several_at_once(two_gpus, monkeypatch):
    with claimed_gpus(CUDA, 2) as both:
        assert both == ["GPU-0", "GPU-1"]
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-0,GPU-1"
    with (
        pytest.raises(
            DeviceError, match=r"3 GPUs are asked for, and this machine has 2 for them \(hardware.devices: au"
        ),
        claimed_gpus(CUDA, 3),
    ):
        pass
    held = hold("GPU-1")

    def sleep(_):
        with claimed_gpus(CUDA) as one:  # who waits for two holds none of them
            assert one == ["GPU-0"]
        end(held)

    monkeypatch.setattr(time, "sleep", sleep)
    with claimed_gpus(CUDA, None) as both:
        assert both == ["GPU-0", "GPU-1"]


def test_a_gpu_has_one_lock_by_number_and_by_uuid(two_gpus, monkeypatch):
    held = hold("GPU-1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    with claimed_gpus(CUDA) as one:
        assert one == ["0"]
    end(held)


def test_without_a_gpu_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with claimed_gpus(CUDA) as one:
        assert one == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with claimed_gpus(CUDA.model_copy(update={"device": "cpu"})) as one:
        assert one == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
