"""Several engines that answer at the same time, each in a process of its own with its share of GPUs and CPU threads.

Which engine makes which batch is fixed by its number, and no completion depends on it.
"""

import gc
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from smolmath.engines import Engine, Reader, load_engine
from smolmath.errors import SmolmathError, StageError
from smolmath.prompts import Message
from smolmath.running.devices import VISIBLE, visible_gpus
from smolmath.running.launch.elastic import run_processes
from smolmath.running.params import HardwareParams
from smolmath.running.workers import end_with, threads_of_each

# What each process does with its engine, its number and how many there are.
Work = Callable[[Engine, int, int], None]


def engine_gpus(hardware: HardwareParams) -> int:
    """GPUs that all engines take together, where there are some."""
    return hardware.engines * _gpus_of_one(hardware)


def _gpus_of_one(hardware: HardwareParams) -> int:
    return hardware.vllm_tensor_parallel if hardware.engine == "vllm" else 1


def load_engines(
    model: Path, *, dtype: str, hardware: HardwareParams, template: Mapping[str, Any] | None = None
) -> "Engine | SeveralEngines":
    """The engine of `hardware`, loaded in this process, or `hardware.engines` of them that load when they work.

    Args: dtype, template: as of `load_engine`.
    """
    if hardware.engines == 1:
        return load_engine(model, dtype=dtype, hardware=hardware, template=template)
    import torch

    from smolmath.engines.transformers import ChatReader, load_tokenizer

    torch.set_num_threads(share_of(hardware).threads)  # nothing is computed here; the journal notes it
    load = partial(load_engine, model, dtype=dtype, template=template)
    return SeveralEngines(load, ChatReader(load_tokenizer(model, template)), hardware)


class SeveralEngines:
    """Stands where one engine would: renders prompts here, and has the rest done by processes."""

    def __init__(self, load: Callable[..., Engine], reader: Reader, hardware: HardwareParams) -> None:
        """Args: load: called in each process with its share of `hardware`, by that name; it must pickle."""
        self.load, self.reader, self.hardware = load, reader, hardware
        self._device: str | None = None

    def render(self, prompt: Sequence[Message]) -> str:
        return self.reader.render(prompt)

    def count_tokens(self, text: str) -> int:
        return self.reader.count_tokens(text)

    @property
    def device(self) -> str:
        """`cpu` or `cuda`, as the processes reported; where none had to work, one is loaded here to see."""
        if self._device is None:
            self._device = self.load(hardware=share_of(self.hardware)).device
        return self._device

    def run(self, work: Work, *, tasks: int, name: str, logs: Path) -> None:
        """`work` in as many processes as there are engines, or tasks if those are fewer.

        Args: work: must pickle. name, logs: as of `run_processes`.
        Raises: StageError that says which process ended how.
        """
        count = min(self.hardware.engines, tasks)
        if not count:
            return
        shown = [] if self.hardware.device == "cpu" else visible_gpus()
        gpus = gpu_shares(shown, count, _gpus_of_one(self.hardware))
        share = share_of(self.hardware)
        given = os.getpid(), self.load, share, gpus, work
        self._device = run_processes(_begin, *given, name=name, count=count, logs=logs, threads=share.threads or 1)[0]


def share_of(hardware: HardwareParams) -> HardwareParams:
    """What one engine has of the box. A function of `hardware` alone: the thread count can move how sums round, and a
    generation that goes on with fewer batches than engines must go on as it began."""
    threads = threads_of_each(hardware.threads, hardware.engines)
    return hardware.model_copy(update={"threads": threads, "engines": 1})


def gpu_shares(gpus: Sequence[str], engines: int, each: int) -> list[list[str] | None]:
    """The GPUs of each engine; None where there are none.

    >>> gpu_shares(["0", "1", "2", "3", "4"], engines=2, each=2)
    [['0', '1'], ['2', '3']]
    """
    if not gpus:
        return [None] * engines
    if engines * each > len(gpus):
        raise StageError(
            f"hardware.engines: {engines} engines want {each} GPU each, and {len(gpus)} are visible. Lower it."
        )
    return [list(gpus[i * each : (i + 1) * each]) for i in range(engines)]


def _begin(
    parent: int, load: Callable[..., Engine], share: HardwareParams, gpus: Sequence[list[str] | None], work: Work
) -> str:
    """In each process: the engine's device, once the work is done."""
    # A group of its own with all that the engine starts (vLLM's is a process of its own). It ends as a whole, and a
    # terminal's Ctrl-C does not reach it: torch sends SIGTERM, and SIGINT when the parent is gone.
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: _end_group())
    end_with(parent, _end_group)
    rank = int(os.environ["RANK"])
    if (mine := gpus[rank]) is not None:
        os.environ[VISIBLE] = ",".join(mine)  # before CUDA is asked for the first time
    try:
        engine = load(hardware=share)
        work(engine, rank, int(os.environ["WORLD_SIZE"]))
        device = str(engine.device)
    except (SmolmathError, OSError) as error:
        raise StageError(str(error)) from error
    del engine
    gc.collect()  # vLLM's engine ends its process when it is collected
    return device


def _end_group() -> NoReturn:
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("this process is in that group")
