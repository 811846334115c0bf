"""How a row of a raw dataset becomes a problem: one layout per arrangement of columns.

A layout says which columns it needs and reads one row into a `Candidate`. `choose_layout` takes the one named in
params, else the first in the table whose columns are all there. `columns` says where in a file what a layout reads is
found: without a layout, each of ROLES by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from smolmath.data.layouts import boxed, gsm8k, instruction, mawps, openr1, reasoning_gym
from smolmath.data.layouts.candidates import Candidate
from smolmath.data.layouts.choices import with_choices
from smolmath.data.layouts.endings import read_answer
from smolmath.data.layouts.values import column_of, value_at
from smolmath.errors import SmolmathError
from smolmath.params.core import listing
from smolmath.params.datasets import LAYOUT_NAMES, ROLES

# What any layout reads beside its own columns, and the columns that are taken for it where none is named.
BESIDE = {
    "choices": ("choices", "options"),
    "level": ("level",),
    "variant_of": ("seed_question", "original_question"),  # GSM-Plus, GSM-Symbolic
}


class LayoutError(SmolmathError):
    """A file whose columns fit no layout, or not the one asked for."""


@dataclass(frozen=True)
class Layout:
    name: str
    columns: tuple[str, ...]  # read from the file; all but `optional` must be there
    read: Callable[[Mapping[str, Any]], Candidate]
    optional: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)  # one of ROLES -> the column that it is in
    beside: tuple[str, ...] = ()  # of BESIDE

    @property
    def required(self) -> list[str]:
        return [column for column in self.columns if column not in self.optional]


def _read_roles(row: Mapping[str, Any]) -> Candidate:
    return read_answer(row["question"], row["reference_answer"], row.get("reasoning"), row.get("source"))


# Order matters: the first whose columns are there is taken, so the most specific stands first.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "reasoning_gym",
            ("question", "answer", "metadata"),
            reasoning_gym.read,
            roles={"reference_answer": "answer"},
        ),
        Layout(
            "openr1",
            ("problem", "answer", "solution", "source", *openr1.TRACE_COLUMNS),
            openr1.read,
            optional=("solution", "source", *openr1.TRACE_COLUMNS),
            roles={"question": "problem", "reference_answer": "answer", "reasoning": "solution"},
        ),
        Layout(
            "boxed",
            ("problem", "solution", "source"),
            boxed.read,
            optional=("source",),
            roles={"question": "problem", "reference_answer": "solution", "reasoning": "solution"},
        ),
        Layout(
            "mawps",
            ("Question", "Numbers", "Answer"),
            mawps.read,
            roles={"question": "Question", "reference_answer": "Answer"},
        ),
        Layout(
            "gsm8k",
            ("question", "answer", "body", "solution", "source"),
            gsm8k.read,
            optional=("body", "solution", "source"),
            roles={"reference_answer": "answer", "reasoning": "solution"},
        ),
        Layout(
            "instruction",
            ("instruction", "output", "input"),
            instruction.read,
            optional=("input",),
            roles={"question": "instruction", "reference_answer": "output", "reasoning": "output"},
        ),
    )
}
BY_ROLE = Layout("columns", tuple(r for r in ROLES if r not in BESIDE), _read_roles, optional=("reasoning", "source"))
assert tuple(LAYOUTS) == LAYOUT_NAMES


def choose_layout(
    found: list[str],
    *,
    name: str | None,
    columns: Mapping[str, str | Sequence[str]] | None,
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
    named = LAYOUTS[name] if name is not None else None
    if columns is not None:
        return _mapped(named or BY_ROLE, columns, found, where)
    layout = named or next((each for each in LAYOUTS.values() if set(each.required) <= set(found)), None)
    if layout is None:
        known = "; ".join(f"{each.name} ({', '.join(each.required)})" for each in LAYOUTS.values())
        raise LayoutError(
            f"{where}: found the columns {listing(found)}, which fit no known layout: {known}. Name yours, "
            "e.g. columns: {question: problem_text, reference_answer: final}; `smolmath inspect` proposes them."
        )
    _refuse_lacking(layout, layout.required, found, where)
    left_out = () if traces else openr1.TRACE_COLUMNS
    kept = tuple(c for c in layout.columns if (more or c in found) and c not in left_out)
    chosen = replace(layout, columns=kept)
    return _with_beside(chosen, {}, found, where)


def _mapped(layout: Layout, columns: Mapping[str, str | Sequence[str]], found: Sequence[str], where: str) -> Layout:
    """A layout whose columns stand elsewhere in the file. Keys are roles or the layout's own columns."""
    paths = {layout.roles.get(ours, ours): theirs for ours, theirs in columns.items() if ours not in BESIDE}
    if lacking := [column for column in layout.required if column not in paths and column not in found]:
        raise LayoutError(
            f"{where}: `columns` must say which column holds the {listing(lacking)} of layout {layout.name}. Found the"
            f" columns {listing(found)}."
        )
    rest = {column: column for column in layout.columns if layout is not BY_ROLE and column in found}
    paths = rest | paths
    tops = {
        path: column_of(path, found) for each in paths.values() for path in ([each] if isinstance(each, str) else each)
    }
    _refuse_lacking(layout, list(tops.values()), found, where)
    asked = layout.roles.get("question", "question")
    mapped = replace(
        layout,
        columns=tuple(dict.fromkeys(tops.values())),
        read=partial(_read_mapped, layout.read, dict(paths), asked),
        optional=(),
    )
    return _with_beside(mapped, columns, found, where)


def _read_mapped(
    read: Callable[[Mapping[str, Any]], Candidate],
    paths: Mapping[str, str | Sequence[str]],
    asked: str,
    row: Mapping[str, Any],
) -> Candidate:
    return read({column: value_at(row, path, asks=column in (asked, "body")) for column, path in paths.items()})


def _with_beside(
    layout: Layout, columns: Mapping[str, str | Sequence[str]], found: Sequence[str], where: str
) -> Layout:
    """The layout, reading too what else a problem is made of, where `columns` names it or the file has it."""
    for what, usual in BESIDE.items():
        paths = columns.get(what, next((name for name in usual if name in found), None))
        if paths is None:
            continue
        tops = [column_of(path, found) for path in ([paths] if isinstance(paths, str) else paths)]
        _refuse_lacking(layout, tops, found, where)
        layout = replace(
            layout,
            columns=tuple(dict.fromkeys([*layout.columns, *tops])),
            read=partial(_read_beside, layout.read, what, paths),
            optional=(*layout.optional, *tops),
            beside=(*layout.beside, what),
        )
    return layout


def _read_beside(
    read: Callable[[Mapping[str, Any]], Candidate], what: str, paths: str | Sequence[str], row: Mapping[str, Any]
) -> Candidate:
    candidate, value = read(row), value_at(row, paths, asks=what == "variant_of")
    return with_choices(candidate, value) if what == "choices" else replace(candidate, **{what: value})


def _refuse_lacking(layout: Layout, wanted: Sequence[str], found: Sequence[str], where: str) -> None:
    if lacking := [column for column in wanted if column not in found]:
        raise LayoutError(
            f"{where}: layout {layout.name} needs {listing(lacking)}; found the columns {listing(found)}."
        )
