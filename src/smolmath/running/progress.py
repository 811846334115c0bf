"""Progress of anything that takes longer than two seconds: what, how far, how fast, what is left.

A moving bar on a terminal; elsewhere (a log file, CI) a plain line every few seconds.
"""

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_EVERY_S = 10.0

Advance = Callable[..., None]  # advance(n=1, note="")


def print_whatever_it_is() -> None:
    """From here on what the terminal's encoding lacks is `?`: Latin-1 has no arrow, which is no reason to end."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


@contextmanager
def progress(what: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
    """Show how `what` gets on; the body calls `advance(n, note)` for every n units done.

    Args: total: units in all. done: units that an earlier, interrupted run has left behind.
    """
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]} {task.fields[note]}", style="dim"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total, completed=done, speed="", note="")
            clock = _Clock(total, done)

            def advance(n: int = 1, note: str = "") -> None:
                clock.done += n
                bar.update(task, advance=n, note=note, speed=f"{clock.rate:.3g} {unit}/s")

            yield advance
    else:
        clock = _Clock(total, done)
        print(
            f"{what}: {total} {unit}" + (f", {done} done by an earlier run" if done else ""),
            file=sys.stderr,
            flush=True,
        )

        def log(n: int = 1, note: str = "") -> None:
            clock.done += n
            if clock.due():
                print(f"{what}: {clock.line(unit)} {note}".rstrip(), file=sys.stderr, flush=True)

        yield log
        ended = f"done, {clock.done}" if clock.done >= total else f"ended at {clock.done} of {total}"
        print(f"{what}: {ended} {unit} in {clock.elapsed:.1f} s", file=sys.stderr, flush=True)


class _Clock:
    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self._before = total, done, done
        self._started = self._logged = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        return (self.done - self._before) / max(self.elapsed, 1e-9)

    def due(self) -> bool:
        if time.monotonic() - self._logged < LOG_EVERY_S:
            return False
        self._logged = time.monotonic()
        return True

    def line(self, unit: str) -> str:
        left = (self.total - self.done) / max(self.rate, 1e-9)
        return f"{self.done}/{self.total} {unit}, {self.rate:.3g} {unit}/s, {left:.0f} s left"
