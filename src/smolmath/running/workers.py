"""One function over many items in several processes: results in the items' order, memory bounded, no orphans.

The processes are this machine's (`concurrent.futures`), where one that dies ends the work, or those of a Ray cluster
(ray_workers.py), where Ray does lost work again. Each result is a function of its item alone, so both give the same.
"""

import os
import pickle
import signal
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
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


class WorkerError(SmolmathError):
    """A worker process that died."""


class Pool(Protocol):
    """Worker processes, from `pool`."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`function(item)` of every item, in order.

        Args:
            function: sent to each worker once, so it may hold much; it and the items must pickle.
            items: read as results are taken, a few ahead.

        Raises: WorkerError if a worker dies (on Ray: again and again), and whatever `function` raises.
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


def in_order(
    submit: Callable[[T], Future[R]], items: Iterable[T], *, ahead: int, died: tuple[type[Exception], ...]
) -> Iterator[R]:
    """Results of `submit(item)` in the items' order, `ahead` items submitted at a time.

    Args: died: what a future raises whose process has ended.
    Raises: WorkerError in its place.
    """
    remaining = iter(items)
    waiting: deque[tuple[T, Future[R]]] = deque()
    while True:
        try:
            for item in islice(remaining, ahead - len(waiting)):
                waiting.append((item, submit(item)))
            if not waiting:
                return
            result = waiting[0][1].result()
        except died:
            first = waiting[0][0] if waiting else item
            raise WorkerError(
                f"a worker process ended before its time, at {textwrap.shorten(str(first), 80)} or at what follows. "
                "When memory is short the system ends the largest process: set hardware.workers to a smaller number "
                "(smolmath grade: --workers). Then run the same command again: `dvc repro` keeps what is finished."
            ) from None
        waiting.popleft()
        yield result


class _ThisProcess:
    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        return map(function, items)


class _Processes:
    """Processes of this machine."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        # Fresh processes: a fork of one with threads, as pyarrow's and sympy's hosts are, may hang.
        self._executor = ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=_start, initargs=(os.getpid(),)
        )

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        # By a file: an executor's tasks carry their function each time, and this one may hold a large index.
        with NamedTemporaryFile(prefix="smolmath-", suffix=".pickle") as file:
            pickle.dump(function, file)
            file.flush()
            path = Path(file.name)
            yield from in_order(
                lambda item: self._executor.submit(_call, path, item),
                items,
                ahead=AHEAD * self._workers,
                died=(BrokenProcessPool,),
            )

    def shutdown(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


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
