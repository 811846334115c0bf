"""What the readers of the report's inputs need: their error, JSON files, and the advice to put a file back."""

import json
from pathlib import Path
from typing import Any

from smolmath.errors import SmolmathError


class ReportError(SmolmathError):
    """A file that the report needs and cannot read; the message is complete and needs no traceback."""


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: no readable JSON ({error}). {put_back(path)}") from None
    if not isinstance(loaded, dict):
        raise ReportError(f"{path}: holds no object with keys. {put_back(path)}")
    return loaded


def put_back(path: Path) -> str:
    return f"Put it back: dvc checkout {path}, or git checkout {path} if Git tracks it"
