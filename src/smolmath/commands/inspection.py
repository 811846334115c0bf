"""`smolmath inspect`: what a dataset holds and whether smolmath can use it, before it is named in params.yaml."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic import ValidationError
from rich.table import Table

from smolmath.answers import is_verifiable
from smolmath.commands.proposal import Rows, propose
from smolmath.data.examine import storable
from smolmath.data.layouts import LayoutError, choose_layout
from smolmath.data.layouts.candidates import Candidate
from smolmath.data.layouts.values import as_text
from smolmath.data.sources.files import data_files
from smolmath.data.tables import column_types, count_rows, read_rows
from smolmath.errors import SmolmathError
from smolmath.params.datasets import FilesDataset

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
EXAMPLES = 3
CELL = 300  # characters of a value, of which the terminal shows what fits
BINS = 12


class InspectionError(SmolmathError):
    """What was asked for is no dataset."""


@dataclass(frozen=True)
class Inspection:
    """What one file of a dataset is like, from its first rows."""

    name: str
    files: int
    rows: int | None  # of all files; None: not counted, on the hub
    looked_at: int
    unreadable: int
    types: dict[str, str]
    filled: Counter[str]  # column -> rows in which it is neither null nor empty
    examples: list[dict[str, Any]]
    layout: str | None
    problem: str  # why there is no layout
    candidates: list[Candidate]
    proposed: Mapping[str, str | list[str]] | None  # `columns` that would read more of the rows

    @property
    def verifiable(self) -> float:
        """Share of the rows whose reference answer can be verified."""
        return _verifiable(self.candidates)

    @property
    def question_chars(self) -> list[int]:
        return [len(question) for c in self.candidates if (question := as_text(c.question))]


def inspect_dataset(
    target: str, rows: int, config: str | None = None, *, columns: str | None = None, layout: str | None = None
) -> Inspection:
    """Look at the first `rows` rows of a file, a folder's first file, or a dataset on the Hugging Face hub.

    Args: columns: YAML of what params would say. layout: one of LAYOUT_NAMES; both None: as found.
    Raises: InspectionError if there is nothing at `target`, or the columns are no such block; TableError if its file
    is unreadable; LayoutError if the file lacks what `columns` or `layout` name.
    """
    how = _how(columns, layout)
    path = Path(target)
    if not path.exists() and HUB_ID.fullmatch(target):
        with _from_hub(target, config, rows) as (head, count):
            return _look(target, head, count, None, rows, how)
    if not path.exists():
        raise InspectionError(f"{target}: there is no such file or folder, and it is no hub id (owner/name) either.")
    files = [path] if path.is_file() else [path / found for found in data_files(path)]
    if not files:
        raise InspectionError(f"{target}: the folder holds no data file: no parquet, JSON, csv or Arrow.")
    return _look(str(files[0]), files[0], len(files), sum(map(count_rows, files)), rows, how)


def _how(columns: str | None, layout: str | None) -> FilesDataset:
    """The params of a dataset that is read so."""
    try:
        block = yaml.safe_load(columns) if columns is not None else None
        return FilesDataset(source="files", path="inspected", columns=block, layout=layout)
    except yaml.YAMLError as error:
        raise InspectionError(f"--columns: no YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        said = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise InspectionError(f"--columns or --layout: {said}") from None


def _look(name: str, file: Path, files: int, total: int | None, limit: int, how: FilesDataset) -> Inspection:
    types = column_types(file)
    looked_at = unreadable = 0
    filled: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for _, row, _ in islice(read_rows(file, None), limit):
        looked_at += 1
        if row is None:
            unreadable += 1
            continue
        filled.update(column for column, value in row.items() if value not in (None, "", [], {}))
        rows.append(row)
    layout, problem, candidates = None, "", list[Candidate]()
    try:
        layout, candidates = _read(rows, list(types), how, name)
    except LayoutError as error:
        if how.columns or how.layout:
            raise
        problem = str(error)
    return Inspection(
        name=name,
        files=files,
        rows=total,
        looked_at=looked_at,
        unreadable=unreadable,
        types=types,
        filled=filled,
        examples=rows[:EXAMPLES],
        layout=layout,
        problem=problem,
        candidates=candidates,
        proposed=None if how.columns else _proposed(rows, list(types), candidates, name),
    )


def _read(rows: Rows, found: list[str], how: FilesDataset, where: str) -> tuple[str, list[Candidate]]:
    layout = choose_layout(found, name=how.layout, columns=how.columns, where=where)
    return layout.name, [layout.read({column: row.get(column) for column in layout.columns}) for row in rows]


def _proposed(
    rows: Rows, found: list[str], candidates: list[Candidate], where: str
) -> Mapping[str, str | list[str]] | None:
    """A `columns` block that gives clearly more answers than what was read without one, if any does."""
    block = propose(rows)
    if block is None:
        return None
    how = FilesDataset(source="files", path="inspected", columns=block)
    _, mapped = _read(rows, found, how, where)
    return block if _verifiable(mapped) > _verifiable(candidates) + 0.05 else None


def _verifiable(candidates: list[Candidate]) -> float:
    right = sum(is_verifiable(as_text(candidate.reference_answer).strip()) for candidate in candidates)
    return right / max(1, len(candidates))


@contextmanager
def _from_hub(dataset: str, config: str | None, rows: int) -> Iterator[tuple[Path, int]]:
    """The head of the first data file of a hub dataset as a local file, and how many data files there are."""
    from smolmath.data.sources import hub  # needs `datasets`, which takes two seconds

    with TemporaryDirectory() as folder:
        yield hub.head(dataset, config, rows, Path(folder))


def inspection_tables(found: Inspection) -> list[Table | str]:
    """What was found, for a terminal."""
    total = "" if found.rows is None else f", {found.rows:,} rows"
    parts: list[Table | str] = [f"{found.name}: {found.files} file{'s'[: found.files != 1]}{total}"]
    widest = max(map(len, found.types), default=0)
    columns = _table(widest, "column", "filled", "type")
    for name, kind in found.types.items():
        columns.add_row(storable(name), f"{found.filled[name] / max(1, found.looked_at):.1%}", kind)
    parts += ["", columns]
    for number, row in enumerate(found.examples, 1):
        table = _table(widest, f"row {number}", "")
        for name, value in row.items():
            table.add_row(storable(name), _cell(str(value)))
        parts += ["", table]
    parts.append("")
    head = f"of the first {found.looked_at:,} rows: "
    if found.unreadable:
        parts.append(f"{head}{found.unreadable:,} cannot be read")
    if found.layout is None:
        said = found.problem.partition(" Name yours")[0] if found.proposed else found.problem
        return [*parts, f"layout: none. {said}", *_proposal(found)]
    parts.append(f"layout: {found.layout}")
    for number, candidate in enumerate(found.candidates[:EXAMPLES], 1):
        table = _table(len("reference_answer"), f"row {number} reads", "")
        for part in ("question", "reference_answer", "reasoning", "source"):
            if (value := getattr(candidate, part)) is not None:
                table.add_row(part, _cell(as_text(value) or repr(value)))
        parts += ["", table]
    parts.append("")
    traces = [c.traces for c in found.candidates if c.traces]
    parts.append(f"{head}{found.verifiable:.1%} have a reference answer that can be verified")
    if traces:
        parts.append(f"{head}{len(traces):,} have generations, {sum(map(len, traces)) / len(traces):.1f} on average")
    parts += _proposal(found)
    return [*parts, "", "question length, characters:", _histogram(found.question_chars)]


def _proposal(found: Inspection) -> list[Table | str]:
    if found.proposed is None:
        return []
    block = yaml.safe_dump(dict(found.proposed), default_flow_style=True, sort_keys=False, width=10_000).strip()
    return [
        "",
        "By their names and values these columns hold problems; to paste into params.yaml:",
        f"columns: {block}",
    ]


def _cell(text: str) -> str:
    return storable(" ".join(text[:CELL].split()))


def _table(width: int, *titles: str) -> Table:
    """One line a row, its first cell `width` wide: what doesn't fit the terminal ends in an ellipsis."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, title in enumerate(titles):
        table.add_column(title, no_wrap=True, overflow="ellipsis", min_width=len(title) if number else width)
    return table


def _histogram(lengths: list[int]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1))
    if not lengths:
        return table
    # The longest few would squeeze all others into one bar: they share the last.
    top = sorted(lengths)[int(0.99 * (len(lengths) - 1))]
    width = 10 * max(1, -(-(top + 1) // (10 * BINS)))
    counts = Counter(min(length // width, BINS) for length in lengths)
    for i in range(max(counts) + 1):
        name = f"{i * width:,}–{(i + 1) * width - 1:,}" if i < BINS else f"{i * width:,} and more"
        table.add_row(name, f"{counts[i]:,}", "█" * round(40 * counts[i] / max(counts.values())))
    table.columns[0].justify = table.columns[1].justify = "right"
    return table
