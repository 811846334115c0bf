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
from smolmath.running.params import HardwareParams

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_S = 5.0


class DeviceError(SmolmathError):
    """hardware.devices asks for a GPU that is not there."""


@contextmanager
def claimed_gpus(hardware: HardwareParams, count: int | None = 1) -> Iterator[list[str]]:
    """Let CUDA see `count` free GPUs alone while the body runs; waits where others hold them. Yields their names.

    Enter it before anything asks CUDA for its devices: importing vllm or trl does, and the answer is kept.

    Args: count: None: all that hardware.devices names. With hardware.devices: all nothing is held, and all are seen.
    Raises: DeviceError as `allowed_gpus`.
    """
    candidates = allowed_gpus(hardware, count)
    if not candidates or hardware.devices == "all":
        yield candidates
        return
    with ExitStack() as held:
        gpus = _free(candidates, count or len(candidates), held)
        with variable(VISIBLE, ",".join(gpus)):
            yield gpus


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """An environment variable of this process, and of those that the body starts."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def allowed_gpus(hardware: HardwareParams, count: int | None) -> list[str]:
    """The GPUs that a stage may take, held or not; none where there are none, or hardware.device is cpu.

    Raises: DeviceError if hardware.devices names a GPU beyond those that there are, or fewer than `count`.
    """
    candidates = [] if hardware.device == "cpu" else visible_gpus()
    if isinstance(hardware.devices, list) and candidates:
        if beyond := [number for number in hardware.devices if number >= len(candidates)]:
            raise DeviceError(
                f"hardware.devices: there is no GPU {beyond[0]}; this machine shows {len(candidates)}, counted from 0."
            )
        candidates = [candidates[number] for number in hardware.devices]
    if candidates and (count or 1) > len(candidates):
        raise DeviceError(
            f"hardware: {count} GPUs are asked for, and this machine has {len(candidates)} for them "
            f"(hardware.devices: {hardware.devices}). Lower num_processes in the file that hardware.accelerate names, "
            "hardware.engines or hardware.vllm_tensor_parallel."
        )
    return candidates


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


def _free(candidates: Sequence[str], count: int, held: ExitStack) -> list[str]:
    """`count` GPUs whose locks are now `held`: all at once or none, so that two stages never wait for each other."""
    locks().mkdir(parents=True, exist_ok=True)
    said = False
    while True:
        with ExitStack() as mine:
            gpus: list[str] = []
            for gpu in candidates:
                try:
                    mine.enter_context(FileLock(locks() / f"{_lock_name(gpu)}.lock", timeout=0))
                except Timeout:
                    continue
                gpus.append(gpu)
                if len(gpus) == count:
                    held.enter_context(mine.pop_all())
                    return gpus
        if not said:
            what = "a free GPU" if count == 1 else f"{count} free GPUs"
            print(f"waiting for {what}: other stages hold some of {', '.join(candidates)}", flush=True)
            said = True
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
