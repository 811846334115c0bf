"""One function over many items in several processes: results in the items' order, memory bounded, no orphans."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

from smolmath.errors import SmolmathError

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 2  # items per worker that wait or are worked on: keeps all busy, holds few
_function: Callable[[Any], Any]


class WorkerError(SmolmathError):
    """A worker process that died."""


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(function: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """`function(item)` of every item, in order.

    Args:
        function: sent to each worker once, so it may hold much; it and the items must pickle.
        items: read as results are taken, a few ahead.
        workers: processes; 1 works in this one.

    Raises: WorkerError if a worker dies, and whatever `function` raises.
    """
    if workers == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    remaining = iter(items)
    # Fresh processes: a fork of one with threads, as pyarrow's and sympy's hosts are, may hang.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start, initargs=(function, os.getpid()))
    try:
        waiting.extend(pool.submit(_call, item) for item in islice(remaining, AHEAD * workers))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(_call, item) for item in islice(remaining, 1))
            yield result
    except BrokenProcessPool:
        raise WorkerError(
            "a worker process ended before its time; when memory is short the system ends the largest process. "
            "Set hardware.workers to a smaller number (smolmath grade: --workers)."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(function: Callable[[Any], Any], parent: int) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def end_with(parent: int) -> None:
    """End this process when its parent has ended: one that was killed cannot end those that it started."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _call(item: Any) -> Any:
    return _function(item)
