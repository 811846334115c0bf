"""A GPU for each stage that runs at the same time: DVC's queue starts several experiments and gives none a device.

`hardware.devices: auto` takes one GPU that no other stage of this user holds, by a lock file for each; the lock goes
with the process, however it ends. Nothing happens where there is no GPU, or `hardware.device` is cpu.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pynvml
from filelock import FileLock, Timeout

from smolmath.errors import SmolmathError
from smolmath.params.hardware import HardwareParams

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_S = 5.0


class DeviceError(SmolmathError):
    """hardware.devices asks for a GPU that is not there."""


@contextmanager
def claimed_gpu(hardware: HardwareParams) -> Iterator[str | None]:
    """Let CUDA see one free GPU alone while the body runs; waits for one where all are held. Yields its name.

    Enter it before anything asks CUDA for its devices: importing vllm or trl does, and the answer is kept.

    Raises: DeviceError if hardware.devices names a GPU beyond those that there are.
    """
    candidates = [] if hardware.device == "cpu" or hardware.devices == "all" else visible_gpus()
    if isinstance(hardware.devices, list) and candidates:
        if beyond := [number for number in hardware.devices if number >= len(candidates)]:
            raise DeviceError(
                f"hardware.devices: there is no GPU {beyond[0]}; this machine shows {len(candidates)}, counted from 0."
            )
        candidates = [candidates[number] for number in hardware.devices]
    if not candidates:
        yield None
        return
    with ExitStack() as held:
        gpu = _first_free(candidates, held)
        before = os.environ.get(VISIBLE)
        os.environ[VISIBLE] = gpu
        try:
            yield gpu
        finally:
            if before is None:
                del os.environ[VISIBLE]
            else:
                os.environ[VISIBLE] = before


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA names them: what CUDA_VISIBLE_DEVICES lists, else every UUID."""
    if (listed := os.environ.get(VISIBLE)) is not None:
        return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    except pynvml.NVMLError:  # no driver
        return []


def locks() -> Path:
    """The folder of the lock files: one for each user, since several projects share the GPUs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "smolmath" / "devices"


def _first_free(candidates: Sequence[str], held: ExitStack) -> str:
    locks().mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        for gpu in candidates:
            try:
                held.enter_context(FileLock(locks() / f"{_lock_name(gpu)}.lock", timeout=0))
            except Timeout:
                continue
            return gpu
        if not told:
            print(f"waiting for a free GPU: other stages hold {', '.join(candidates)}", flush=True)
            told = True
        time.sleep(POLL_S)


def _lock_name(gpu: str) -> str:
    """One name however the GPU is called: CUDA_VISIBLE_DEVICES has numbers, NVML UUIDs."""
    if gpu.isdigit():
        try:
            pynvml.nvmlInit()
            return str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(int(gpu))))
        except pynvml.NVMLError:
            return f"gpu-{gpu}"
    return gpu.replace("/", "-")
