"""What `smolmath push` and `smolmath export` print."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from smolmath.using.publishing.files import sizes


def files_in_words(files: Mapping[str, Path | bytes]) -> str:
    """A line per file with its bytes, and their sum."""
    found = sizes(files)
    width = max(map(len, found))
    lines = [f"{name:<{width}}  {size:>14,}" for name, size in found.items()]
    return "\n".join([*lines, f"{f'{len(found)} files, bytes':<{width}}  {sum(found.values()):>14,}"])


def warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
