"""Values of a row by the path of their column: `prompt`, `reward_model.ground_truth`, `prompt[0].content`.

A path goes through structs and lists. A list of chat messages reads as its last turn: the user's for a question, the
assistant's for anything else.
"""

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

_USERS = {"user", "human", "prompter"}
_ASSISTANTS = {"assistant", "gpt", "model", "bot", "chatgpt"}


def as_text(value: Any) -> str:
    """Text as it is; numbers as written; nothing else is text, and neither are NaN and infinity."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")  # what is no UTF-8 is rejected for its replacement characters
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return ""
    return str(value) if isinstance(value, int) or math.isfinite(value) else ""


def column_of(path: str, found: Sequence[str]) -> str:
    """The file's column that a path begins in: its whole where a column is called so, else its first part."""
    return path if path in found else _parts(path)[0]


def value_at(row: Mapping[str, Any], paths: str | Sequence[str], *, asks: bool) -> Any:
    """What stands at a path, None where it leads nowhere; of several the texts, joined by a space.

    Args: asks: whether of a list of messages the user's last turn is meant, not the assistant's.
    """
    if isinstance(paths, str):
        return _turn(_follow(row, paths), asks=asks)
    values = [as_text(_turn(_follow(row, path), asks=asks)).strip() for path in paths]
    return " ".join(filter(None, values)) or None


def _follow(row: Mapping[str, Any], path: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for part in _parts(path):
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):  # a struct that was written out
            value = _parsed(value)
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.lstrip("-").isdecimal() and -len(value) <= int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _parts(path: str) -> list[str]:
    return path.replace("[", ".").replace("]", "").split(".")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _turn(value: Any, *, asks: bool) -> Any:
    if not (isinstance(value, list) and value and all(isinstance(turn, Mapping) for turn in value)):
        return value
    if not all({"content", "value"} & turn.keys() for turn in value):
        return value
    wanted = _USERS if asks else _ASSISTANTS
    said = [turn for turn in value if str(turn.get("role", turn.get("from"))).lower() in wanted]
    content = said[-1].get("content", said[-1].get("value")) if said else None
    if isinstance(content, list):  # parts, as of models that also see pictures
        return "\n".join(as_text(part.get("text")) for part in content if isinstance(part, Mapping))
    return content


def only_one(value: Any) -> Any:
    """The answer that a list of one holds, also where the list is written out in JSON."""
    if isinstance(value, str) and value.startswith('["') and value.endswith('"]'):
        value = parsed if isinstance(parsed := _parsed(value), list) else value
    if isinstance(value, list) and value and all(item == value[0] for item in value):
        return only_one(value[0]) if isinstance(value[0], list) else value[0]
    return value
