"""The `columns` block that would read a file which fits no layout, proposed from its first rows.

A column is found by its name among those that the field's sets use, at any depth, and taken only if its values are of
the kind: questions are sentences, reference answers can be verified.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from smolmath.answers import is_verifiable
from smolmath.data.layouts.endings import read_answer
from smolmath.data.layouts.values import as_text, value_at

Rows = Sequence[Mapping[str, Any]]

# By role the names of columns, lower-case letters alone, the surest first.
_NAMES = {
    "question": "question problem squestion prompt query originalquestion instruction problemtext questiontext input "
    "messages conversations conversation dialogue q",
    "reference_answer": "groundtruth finalanswer referenceanswer expectedanswer correctanswer goldanswer answer "
    "answers correct correctoption gold label target result lsolutions solution output response completion messages "
    "conversations conversation a",
    "reasoning": "reasoning solution rationale explanation worked steps cot chainofthought generatedsolution response "
    "deepseekreasoning thinking",
    "choices": "options choices",
    "source": "source datasource dataset",
}
_STORIES = ("body", "context", "passage")  # stand before their question
_DEPTH = 3


def propose(rows: Rows) -> dict[str, str | list[str]] | None:
    """Role -> column or path, as `columns` of a dataset's params takes it; None where no question or answer is found.

    Args: rows: some of the file's, as they stand there.
    """
    paths = list(dict.fromkeys(path for row in rows for path in _paths(row)))
    question = _first(
        rows, paths, "question", lambda row, path: " " in as_text(value_at(row, path, asks=True)).strip()
    )
    if question is None:
        return None
    reference = _first(
        rows, paths, "reference_answer", _verifiable, but=(question,) if not _is_chat(rows, question) else ()
    )
    if reference is None:
        return None
    asked: str | list[str] = question
    story = next((path for path in paths if _name(path) in _STORIES and _share(rows, path, _is_text) > 0.5), None)
    if story is not None:
        asked = [story, question]
    block: dict[str, str | list[str]] = {"question": asked, "reference_answer": reference}
    used = (question, reference)
    for role, fits in (("reasoning", _is_worked), ("choices", _is_listed), ("source", _is_text)):
        if (found := _first(rows, paths, role, fits, but=used)) is not None:
            block[role] = found
    return block


def _paths(value: Mapping[str, Any], before: str = "", depth: int = _DEPTH) -> Iterator[str]:
    for key, inner in value.items():
        path = f"{before}{key}"
        if (
            isinstance(inner, Mapping) and depth > 1 and not {"text", "A"} & inner.keys()
        ):  # options lie in objects, too
            yield from _paths(inner, f"{path}.", depth - 1)
        else:
            yield path


def _first(
    rows: Rows,
    paths: Sequence[str],
    role: str,
    fits: Callable[[Mapping[str, Any], str], bool],
    but: Sequence[str] = (),
) -> str | None:
    """The path of a known name that fits most rows, at least half; of several the surest."""
    names = _NAMES[role].split()
    known = sorted((names.index(_name(path)), path) for path in paths if path not in but and _name(path) in names)
    shares = [(_share(rows, path, fits), path) for _, path in known]
    best = max((share for share, _ in shares), default=0.0)
    return next((path for share, path in shares if share >= max(0.5, best - 0.1)), None)


def _name(path: str) -> str:
    return "".join(filter(str.isalpha, path.rpartition(".")[2])).lower()


def _share(rows: Rows, path: str, fits: Callable[[Mapping[str, Any], str], bool]) -> float:
    return sum(fits(row, path) for row in rows) / max(1, len(rows))


def _verifiable(row: Mapping[str, Any], path: str) -> bool:
    answer = read_answer("", value_at(row, path, asks=False)).reference_answer
    return is_verifiable(as_text(answer).strip())


def _is_chat(rows: Rows, path: str) -> bool:
    return any(isinstance(value_at(row, path, asks=True), str) and isinstance(row.get(path), list) for row in rows)


def _is_text(row: Mapping[str, Any], path: str) -> bool:
    return bool(as_text(value_at(row, path, asks=False)).strip())


def _is_worked(row: Mapping[str, Any], path: str) -> bool:
    return len(as_text(value_at(row, path, asks=False))) > 10


def _is_listed(row: Mapping[str, Any], path: str) -> bool:
    return bool(value_at(row, path, asks=False))
