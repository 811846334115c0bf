"""Copies of an engine that work at the same time, each a process of its own with its share of GPUs and CPU threads.

They take one task after another; no result depends on which copy made it. A copy is a fresh interpreter, the leader
of a process group with all that its engine starts (vLLM's is a process of its own): the group goes with the copy, with
an error in another one, and with this process however it ends.
"""

import contextlib
import gc
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from smolmath.engines import Engine, Reader, load_engine
from smolmath.errors import SmolmathError, StageError
from smolmath.prompts import Message
from smolmath.running.devices import VISIBLE, visible_gpus
from smolmath.running.params import HardwareParams
from smolmath.running.workers import available_cores, end_with

T = TypeVar("T")
R = TypeVar("R")
POLL_S = 0.5
GRACE_S = 30.0  # for an engine that has done its work to put its things away; vLLM shares memory


def engine_gpus(hardware: HardwareParams) -> int:
    """GPUs that all copies take together, where there are some."""
    return hardware.engines * _gpus_of_one(hardware)


def _gpus_of_one(hardware: HardwareParams) -> int:
    return hardware.vllm_tensor_parallel if hardware.engine == "vllm" else 1


def load_engines(model: Path, *, dtype: str, hardware: HardwareParams) -> "Engine | EngineCopies":
    """The engine of `hardware`, loaded in this process, or `hardware.engines` copies of it that load when they work.

    Args: dtype: of the weights: float32, bfloat16 or float16.
    """
    if hardware.engines == 1:
        return load_engine(model, dtype=dtype, hardware=hardware)
    import torch

    from smolmath.engines.transformers import ChatReader, load_tokenizer

    torch.set_num_threads(share_of(hardware).threads)  # nothing is computed here; the journal notes it
    return EngineCopies(partial(load_engine, model, dtype=dtype), ChatReader(load_tokenizer(model)), hardware)


class EngineCopies:
    """Stands where one engine would: renders prompts here, and has the rest done by the copies."""

    def __init__(self, load: Callable[..., Engine], reader: Reader, hardware: HardwareParams) -> None:
        """Args: load: called in each copy with its share of `hardware`, by that name; it must pickle."""
        self.load, self.reader, self.hardware = load, reader, hardware
        self._device: str | None = None

    def render(self, prompt: Sequence[Message]) -> str:
        return self.reader.render(prompt)

    def count_tokens(self, text: str) -> int:
        return self.reader.count_tokens(text)

    @property
    def device(self) -> str:
        """`cpu` or `cuda`, as the copies reported; where none had to work, one is loaded here to see."""
        if self._device is None:
            self._device = self.load(hardware=share_of(self.hardware)).device
        return self._device

    def run(self, work: Callable[[Engine, T], R], tasks: Sequence[T]) -> Generator[R]:
        """`work(engine, task)` of every task, each as it is done, in no order; no more copies than tasks.

        Close it if it is not read to its end. Args: work: must pickle, with the tasks and what it returns.
        Raises: StageError if a copy ends before its time; a SmolmathError or OSError of a copy as it is.
        """
        waiting, unfinished, copies = deque(tasks), len(tasks), list[_Copy]()
        shown = [] if self.hardware.device == "cpu" else visible_gpus()
        count = min(self.hardware.engines, len(tasks))
        try:
            for number, gpus in enumerate(gpu_shares(shown, count, _gpus_of_one(self.hardware)), start=1):
                copies.append(_Copy(f"{number} of {count}", gpus, (self.load, share_of(self.hardware), work)))
            busy = {copy.connection: copy for copy in copies}
            while unfinished:  # and not: until a copy that is no more needed has loaded
                wait(list(busy), timeout=POLL_S)
                for connection, copy in [*busy.items()]:
                    if not (connection.poll() or copy.ended()):
                        continue
                    kind, value = copy.receive()
                    if kind == "error":
                        raise value
                    if kind == "loaded":
                        self._device = value
                    else:
                        unfinished -= 1
                        yield value
                    if waiting:
                        copy.send(waiting.popleft())
                    else:
                        busy.pop(connection).dismiss()
            for copy in copies:
                if copy not in busy.values():
                    copy.process.join(GRACE_S)
        finally:
            for copy in copies:
                copy.end()


def share_of(hardware: HardwareParams) -> HardwareParams:
    """What one copy has of the box. A function of `hardware` alone: the thread count can move how sums round, and a
    generation that goes on with fewer batches than copies must go on as it began."""
    threads = max(1, (hardware.threads or available_cores()) // hardware.engines)
    return hardware.model_copy(update={"threads": threads, "engines": 1})


def gpu_shares(gpus: Sequence[str], copies: int, each: int) -> list[list[str] | None]:
    """The GPUs of each copy; None where there are none.

    >>> gpu_shares(["0", "1", "2", "3", "4"], copies=2, each=2)
    [['0', '1'], ['2', '3']]
    """
    if not gpus:
        return [None] * copies
    if copies * each > len(gpus):
        raise StageError(
            f"hardware.engines: {copies} engines want {each} GPU each, and {len(gpus)} are visible. Lower it."
        )
    return [list(gpus[i * each : (i + 1) * each]) for i in range(copies)]


class _Copy:
    """One of the processes, from here."""

    def __init__(self, name: str, gpus: list[str] | None, start: tuple[Any, ...]) -> None:
        self.name = name
        spawn = get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        # Not a daemon: those may have no children, and vLLM has.
        self.process = spawn.Process(target=_serve, args=(theirs, os.getpid(), *start), name=f"engine {name}")
        with _visible(gpus):  # before its first import: what is asked of CUDA once is kept
            self.process.start()
        theirs.close()
        assert self.process.pid
        self.pid = self.process.pid  # and that of its group

    def ended(self) -> bool:
        """Its pipe need not tell: what the engine has started may hold the other end."""
        return self.process.exitcode is not None

    def send(self, task: Any) -> None:
        try:
            self.connection.send(task)
        except OSError:
            raise self._lost() from None

    def receive(self) -> tuple[str, Any]:
        """(kind, value) of its next message. Raises: StageError if there will be none."""
        try:
            if self.ended() and not self.connection.poll():
                raise self._lost()
            kind, value = self.connection.recv()
            return str(kind), value
        except (EOFError, ConnectionResetError):
            raise self._lost() from None

    def _lost(self) -> StageError:
        self.process.join()
        code = self.process.exitcode or 0
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with {code}, and said why above"
        return StageError(
            f"copy {self.name} of the engine ended {how}. If memory was short: set hardware.engines to a smaller "
            "number (or with vLLM hardware.gpu_memory). Finished batches are kept, and the same command goes on from "
            "them."
        )

    def dismiss(self) -> None:
        """There are no more tasks: it ends by itself."""
        self.connection.close()

    def end(self) -> None:
        """At once, with all that the engine has started."""
        self.connection.close()
        self.process.kill()
        with contextlib.suppress(ProcessLookupError):  # not its group's leader yet, or all have ended
            os.killpg(self.pid, signal.SIGKILL)
        self.process.join()


@contextmanager
def _visible(gpus: list[str] | None) -> Iterator[None]:
    """What CUDA will see in a process that is started in the body; None: as here."""
    before = os.environ.get(VISIBLE)
    if gpus is not None:
        os.environ[VISIBLE] = ",".join(gpus)
    try:
        yield
    finally:
        if before is not None:
            os.environ[VISIBLE] = before
        elif gpus is not None:
            del os.environ[VISIBLE]


# From here on: what runs in a copy.


def _serve(
    connection: Connection,
    parent: int,
    load: Callable[..., Engine],
    share: HardwareParams,
    work: Callable[[Engine, Any], Any],
) -> None:
    os.setsid()  # a group of its own, which a terminal's Ctrl-C does not reach: the parent ends it
    end_with(parent, lambda: os.killpg(0, signal.SIGKILL))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the parent has gone
        try:
            _work(connection, load(hardware=share), work)
        except (SmolmathError, OSError) as error:
            connection.send(("error", error))
    gc.collect()  # vLLM's engine ends its process when it is collected


def _work(connection: Connection, engine: Engine, work: Callable[[Engine, Any], Any]) -> None:
    connection.send(("loaded", engine.device))
    while True:
        try:
            task = connection.recv()
        except EOFError:  # there are no more
            return
        connection.send(("done", work(engine, task)))
