"""Rows of JSON files: an object a line, one array of objects, or objects that are written over several lines.

Any element becomes the bytes of one line, so that all of them are read alike from there on.
"""

import io
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

from smolmath.data.tables.opening import MAX_LINE, TableError, binary, lines

_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\r\n]*")
_CHUNK = 1 << 20  # characters
_DECODER = json.JSONDecoder()
# No JSON: stands for a line that is passed over.
_OVERLONG = b"\0"


def is_lines(path: Path) -> bool:
    """Whether each line is one row; else the rows are elements of an array, or objects over several lines."""
    return _form(path) == "lines"


def _form(path: Path) -> Literal["lines", "array", "objects"]:
    """Told by the first two lines that are not blank.

    A first line that is broken still is one where the name says lines, or another object begins in the second.
    """
    with binary(path) as file:
        first, second, *_ = [*islice(filter(None, _lines(file)), 2), b"", b""]
    if first.startswith(b"["):
        return "lines" if second and _row(first)[1] == "" else "array"
    named = any(suffix in (".jsonl", ".ndjson") for suffix in path.suffixes)
    lines = named or not first.startswith(b"{") or _row(first)[1] == "" or second.startswith(b"{")
    return "lines" if lines else "objects"


def rows_as_lines(path: Path, file: BinaryIO, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Every row's bytes. Args: start, stop: bytes, for a file of lines. Raises: TableError."""
    if is_lines(path):
        return filter(None, _lines(file, start, stop))
    return _elements(path, file)


def _lines(file: BinaryIO, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    for line in lines(file, start, stop):
        yield _OVERLONG if line is None else line.removeprefix(_BOM).strip()


def _elements(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """The elements of an array, or the objects that follow each other, as they are written."""
    text, at, number, array, closed = "", 0, 0, False, False

    def wrong(what: str) -> TableError:
        return TableError(f"{path}: {what} at row {number} (counted from 0). Mend or fetch it again.")

    with io.TextIOWrapper(file, "utf-8-sig", "surrogateescape") as reader:
        while True:
            at = _at_something(text, at)
            if at == len(text):
                if not (text := reader.read(_CHUNK)):
                    break
                at = 0
            elif closed:
                raise wrong("something stands behind the end of the array")
            elif not array and not number and text[at] == "[":
                array, at = True, at + 1
            elif array and text[at] == "]":
                closed, at = True, at + 1
            else:
                # The whole element, and what stands behind it: a number may go on in the next chunk.
                end, problem = _end(text, at)
                while _at_something(text, end) == len(text) and len(text) - at <= MAX_LINE:
                    if not (more := reader.read(max(_CHUNK, len(text)))):
                        break
                    text, at = text[at:] + more, 0
                    end, problem = _end(text, at)
                if problem:
                    raise wrong(problem)
                yield text[at:end].encode("utf-8", "surrogateescape")
                number, at = number + 1, _at_something(text, end)
                if array and at < len(text) and text[at] != "]":
                    if text[at] != ",":
                        raise wrong("no comma before the element")
                    at += 1
    if array and not closed:
        raise wrong("the file ends within its array,")


def _end(text: str, at: int) -> tuple[int, str]:
    """Where the JSON value ends that begins there, or the text's end and why there is none."""
    try:
        return _DECODER.raw_decode(text, at)[1], ""
    except (ValueError, RecursionError) as error:
        return len(text), f"no JSON ({getattr(error, 'msg', error)})"


def _at_something(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # the pattern fits anything


def json_row(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """The row, or why it can't be read. A list of objects has their numbers as columns, as on the hub."""
    row, problem = _row(line)
    if isinstance(row, list) and row and all(isinstance(item, dict) for item in row):
        row = {str(number): item for number, item in enumerate(row)}
    if problem or isinstance(row, dict):
        return row, problem
    return None, f"a {type(row).__name__}, not an object"


def _row(line: bytes) -> tuple[Any, str]:
    if line == _OVERLONG:
        return None, f"a line of more than {MAX_LINE // 1_000_000} MB"
    try:
        return json.loads(line.decode(), parse_constant=lambda _: None), ""  # NaN and Infinity are no values
    except UnicodeDecodeError:
        return None, "invalid UTF-8"
    except json.JSONDecodeError as error:
        return None, f"not JSON: {error.msg} at column {error.colno}"
    except RecursionError:
        return None, "not JSON: nested too deeply"
    except ValueError as error:  # a number of more digits than Python reads
        return None, f"not readable: {error}"


_TYPES = {str: "text", int: "number", float: "number", bool: "true or false", type(None): "null"} | {
    list: "list",
    dict: "object",
}


def json_types(path: Path, rows: list[tuple[dict[str, Any] | None, str]]) -> dict[str, str]:
    """Column -> type of what the first rows hold. Raises: TableError if they hold no column."""
    types: dict[str, str] = {}
    for row, _ in rows:
        for name, value in (row or {}).items():
            if types.get(name, "null") == "null":
                types[name] = _TYPES[type(value)]
    if not types:
        raise TableError(f"{path}:1: {rows[0][1] or 'an empty object'}. Each line must hold one JSON object.")
    if len(rows) == 1 and not {*types.values()} - {"list", "object"} and _form(path) == "objects":
        raise TableError(
            f"{path}: one object of {', '.join(f'{name} ({kind})' for name, kind in types.items())}, no rows. Write "
            "the rows as an array of objects, or as one object a line."
        )
    return types
