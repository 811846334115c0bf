"""One function over many items in several processes: results in the items' order, memory bounded, no orphans.

The processes are this machine's, or those of a Ray cluster (ray_workers.py). A process that dies costs its items
another try: each is a function of the item alone, so that the results are the same.
"""

import os
import pickle
import signal
import sys
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Protocol, TypeVar

from smolmath.errors import SmolmathError

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 2  # items per worker that wait or are worked on: keeps all busy, holds few
RETRIES = 2  # of an item that a worker died over


class WorkerError(SmolmathError):
    """A worker process that died."""


class Pool(Protocol):
    """Worker processes, from `pool`."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`function(item)` of every item, in order.

        Args:
            function: sent to each worker once, so it may hold much; it and the items must pickle.
            items: read as results are taken, a few ahead.

        Raises: WorkerError if workers die over an item again and again, and whatever `function` raises.
        """
        ...


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of_each(threads: int | None, processes: int) -> int:
    """CPU threads of one process, of those that all have together; None: of the machine's cores."""
    return max(1, (threads or available_cores()) // processes)


@contextmanager
def pool(workers: int | None, *, on: str = "local") -> Iterator[Pool]:
    """Processes for any number of maps, one after the other.

    Args:
        workers: processes; None: one for each core. One of this machine works in this process.
        on: "local", or "ray": a Ray cluster.
    """
    if on == "ray":
        from smolmath.running.ray_workers import ray_pool

        with ray_pool(workers) as rays:
            yield rays
    elif (count := workers or available_cores()) == 1:
        yield _ThisProcess()
    else:
        processes = _Processes(count)
        try:
            yield processes
        finally:
            processes.shutdown()


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], *, workers: int | None, on: str = "local"
) -> Iterator[R]:
    """`function(item)` of every item, in order: see `Pool.map` and `pool`."""
    with pool(workers, on=on) as processes:
        yield from processes.map(function, items)


def worker_died(item: object) -> WorkerError:
    """The error for an item over which several workers have died."""
    return WorkerError(
        f"worker processes ended before their time {RETRIES + 1} times at the same work "
        f"({textwrap.shorten(str(item), 80)}); when memory is short the system ends the largest process. "
        "Set hardware.workers to a smaller number (smolmath grade: --workers)."
    )


class _ThisProcess:
    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        return map(function, items)


@dataclass
class _Sent:
    item: Any
    future: Future[Any] | None = None  # None: to be sent again
    deaths: int = 0


class _Processes:
    """Processes of this machine."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor = self._started()

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        # By a file: an executor's tasks carry their function each time, and this one may hold a large index.
        with NamedTemporaryFile(prefix="smolmath-", suffix=".pickle") as file:
            pickle.dump(function, file)
            file.flush()
            yield from self._map(Path(file.name), iter(items))

    def _map(self, function: Path, items: Iterator[T]) -> Iterator[Any]:
        waiting: deque[_Sent] = deque()
        while True:
            try:
                # Which of the items in flight a worker died over is not known: each is tried again alone.
                if all(sent.future for sent in waiting):
                    for item in islice(items, AHEAD * self._workers - len(waiting)):
                        waiting.append(_Sent(item))
                        waiting[-1].future = self._executor.submit(_call, function, item)
                if not waiting:
                    return
                first = waiting[0]
                first.future = first.future or self._executor.submit(_call, function, first.item)
                result = first.future.result()
            except BrokenProcessPool:
                self._executor.shutdown(wait=True)
                self._executor = self._started()
                for sent in waiting:
                    if sent.future and isinstance(sent.future.exception(), BrokenProcessPool):
                        sent.future = None
                waiting[0].deaths += 1
                if waiting[0].deaths > RETRIES:
                    raise worker_died(waiting[0].item) from None
                print("a worker process ended before its time: its work is done again", file=sys.stderr, flush=True)
                continue
            waiting.popleft()
            yield result

    def shutdown(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        # Fresh processes: a fork of one with threads, as pyarrow's and sympy's hosts are, may hang.
        return ProcessPoolExecutor(self._workers, get_context("spawn"), initializer=_start, initargs=(os.getpid(),))


def _start(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    end_with(parent)


def end_with(parent: int, end: Callable[[], object] = lambda: os._exit(1)) -> None:
    """From here on `end` this process when its parent has ended: one that was killed cannot end those it started."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        end()

    threading.Thread(target=watch, daemon=True).start()


@lru_cache(maxsize=1)
def _loaded(function: Path) -> Callable[[Any], Any]:
    with function.open("rb") as file:
        loaded: Callable[[Any], Any] = pickle.load(file)
        return loaded


def _call(function: Path, item: Any) -> Any:
    return _loaded(function)(item)
