"""Seconds by activity: of the running step, and of the whole run."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up seconds under names.

    >>> watch = Stopwatch()
    >>> with watch("generate"):
    ...     pass
    >>> sorted(watch.total)
    ['generate']
    """

    def __init__(self) -> None:
        self.total: defaultdict[str, float] = defaultdict(float)
        self._step: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        self.total[name] += seconds
        self._step[name] += seconds

    def lap(self) -> dict[str, float]:
        """What was added since the last lap."""
        lap, self._step = dict(self._step), defaultdict(float)
        return lap
