"""Questions read from a file; solutions and conversations appended to one, whole lines at a time."""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from smolmath.engines import Sampling
from smolmath.errors import SmolmathError
from smolmath.using.solving.reasoner import QuestionError, Solution

SHOWN = 5  # bad lines that an error names


class SaveError(SmolmathError):
    """A file that can't be written."""


@dataclass(frozen=True)
class Question:
    text: str
    id: str | int | None = None  # as the file has it
    place: str = ""  # of a file: questions.jsonl:7


def read_questions(path: Path) -> list[Question]:
    """The questions of a file: of a .jsonl (or .json) one object a line with `question` and, where they have one,
    `id`; of any other a question a line. Empty lines are passed over.

    Raises: QuestionError if there is no such file, no question in it, or a line that holds none, each by its number.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise QuestionError(f"{path}: not readable ({error.strerror}).") from None
    read = _object if path.suffix in (".jsonl", ".json") else _plain
    questions, bad = [], []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                questions.append(read(line, f"{path}:{number}"))
            except QuestionError as error:
                bad.append(str(error))
    if bad:
        more = [f"… and {len(bad) - SHOWN} more lines"] if len(bad) > SHOWN else []
        raise QuestionError("\n  ".join(["questions that can't be read:", *bad[:SHOWN], *more]))
    if not questions:
        raise QuestionError(f"{path}: holds no question.")
    return questions


def _plain(line: bytes, place: str) -> Question:
    try:
        return Question(line.decode().strip(), place=place)
    except UnicodeDecodeError:
        raise QuestionError(f"{place}: no UTF-8.") from None


def _object(line: bytes, place: str) -> Question:
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise QuestionError(f"{place}: not JSON ({reason}).") from None
    if not isinstance(row, dict) or not isinstance(row.get("question"), str):
        raise QuestionError(f'{place}: no object with a text under "question".')
    if not row["question"].strip():
        raise QuestionError(f"{place}: the question is empty.")
    named = row.get("id")
    if named is not None and (isinstance(named, bool) or not isinstance(named, str | int)):
        raise QuestionError(f"{place}: the id is neither text nor a whole number.")
    return Question(row["question"], named, place)


def solution_row(asked: Question, solution: Solution, model: str, sampling: Sampling) -> dict[str, Any]:
    """What is written of a solution; of the same question, model and sampling it is the same."""
    row: dict[str, Any] = {"id": asked.id, "question": asked.text}
    row |= {"reasoning": solution.reasoning, "answer": solution.answer, "completion": solution.completion}
    row |= {"finished": solution.finished, "tokens": solution.tokens, "votes": solution.votes}
    return row | {"model": model, "sampling": asdict(sampling)}


def json_line(row: Mapping[str, Any]) -> str:
    """The row as JSON that can be encoded: in ASCII where a file's id or question holds half of a surrogate pair."""
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        return json.dumps(row)
    return line


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def append_row(path: Path, row: Mapping[str, Any] | None) -> None:
    """Append a line of JSON, whole or not at all, whoever else appends at the same time.

    Args: row: None only looks whether the file can be written, and makes it.
    Raises: SaveError if it can't.
    """
    line = b"" if row is None else json_line(row).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # goes with the file, however this ends
            before = file.seek(0, os.SEEK_END)
            if line and before:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a line that another program has left open
                    line = b"\n" + line
            try:
                while line:
                    line = line[file.write(line) :]
            except BaseException:  # a full disk, Ctrl-C
                file.truncate(before)
                raise
    except OSError as error:
        raise SaveError(f"{path}: cannot be written ({error.strerror}). Name another file.") from None
