"""How a row of a raw dataset becomes a problem: one layout per arrangement of columns.

A layout says which columns it needs and reads one row into a `Candidate`. `choose_layout` takes the one named in
params, else the first in the table whose columns are all there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from smolmath.data.layouts import boxed, gsm8k, instruction, openr1, reasoning_gym
from smolmath.data.layouts.candidates import Candidate
from smolmath.errors import SmolmathError
from smolmath.params.core import listing, nearest


class LayoutError(SmolmathError):
    """A file whose columns fit no layout, or not the one asked for."""


@dataclass(frozen=True)
class Layout:
    name: str
    columns: tuple[str, ...]  # read from the file; all but `optional` must be there
    read: Callable[[Mapping[str, Any]], Candidate]
    optional: tuple[str, ...] = ()

    @property
    def required(self) -> list[str]:
        return [column for column in self.columns if column not in self.optional]


# Order matters: the first whose columns are there is taken, so the most specific stands first.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("reasoning_gym", ("question", "answer", "metadata"), reasoning_gym.read),
        Layout(
            "openr1",
            ("problem", "answer", "solution", "source", *openr1.TRACE_COLUMNS),
            openr1.read,
            optional=("solution", "source", *openr1.TRACE_COLUMNS),
        ),
        Layout("boxed", ("problem", "solution", "source"), boxed.read, optional=("source",)),
        Layout("gsm8k", ("question", "answer"), gsm8k.read),
        Layout("instruction", ("instruction", "output", "input"), instruction.read, optional=("input",)),
    )
}


def choose_layout(
    found: list[str],
    *,
    name: str | None,
    columns: Mapping[str, str] | None,
    where: str,
    traces: bool = True,
    more: bool = False,
) -> Layout:
    """The layout for a file with the columns `found`, and of its columns those that are there.

    Args: name, columns: `layout` and `columns` of the dataset's params. where: the file, for the message. traces:
    whether generations are to be read, which are most of a file's bytes. more: whether later rows may have columns
    that were not found.
    Raises: LayoutError that lists what was found.
    """
    if columns is not None:
        layout = _mapped(columns, where)
    elif name is not None:
        if name not in LAYOUTS:
            raise LayoutError(f"layout {name!r} does not exist.{nearest(name, LAYOUTS)} Allowed: {listing(LAYOUTS)}.")
        layout = LAYOUTS[name]
    else:
        fitting = (layout for layout in LAYOUTS.values() if set(layout.required) <= set(found))
        layout = next(fitting, None)  # type: ignore[assignment]  # None is handled in the next line
        if layout is not None and (choices := {"choices", "options"} & set(found)):
            raise LayoutError(
                f"{where}: beside the columns of layout {layout.name} there is {listing(choices)}, so the answer may "
                "be the number of a choice. Say how it is to be read: columns: {question: …, reference_answer: …}, or "
                f"layout: {layout.name} if it is the answer itself."
            )
        if layout is None:
            known = "; ".join(f"{each.name} ({', '.join(each.required)})" for each in LAYOUTS.values())
            raise LayoutError(
                f"{where}: found the columns {listing(found)}, which fit no known layout: {known}. Name yours, "
                "e.g. columns: {question: problem_text, reference_answer: final}."
            )
    if lacking := [column for column in layout.required if column not in found]:
        raise LayoutError(
            f"{where}: layout {layout.name} needs {listing(lacking)}; found the columns {listing(found)}."
        )
    left_out = () if traces else openr1.TRACE_COLUMNS
    return replace(layout, columns=tuple(c for c in layout.columns if (more or c in found) and c not in left_out))


def _mapped(columns: Mapping[str, str], where: str) -> Layout:
    allowed = ("question", "reference_answer", "reasoning", "source")
    for ours in columns:
        if ours not in allowed:
            raise LayoutError(f"columns.{ours}: unknown.{nearest(ours, allowed)} Allowed: {listing(allowed)}.")
    for ours in ("question", "reference_answer"):
        if ours not in columns:
            raise LayoutError(f"{where}: `columns` must say which column holds the {ours}.")
    return Layout("columns", tuple(columns.values()), partial(_read_mapped, dict(columns)))


def _read_mapped(columns: Mapping[str, str], row: Mapping[str, Any]) -> Candidate:
    return Candidate(**{ours: row[theirs] for ours, theirs in columns.items()})
