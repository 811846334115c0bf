"""The bytes of a data file, decompressed as its name says, and its lines within bounds."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

import pyarrow as pa

from smolmath.errors import SmolmathError

MAX_LINE = 64_000_000  # bytes; a compressed file of kilobytes may hold one line of gigabytes
_POINTER = b"version https://git-lfs.github.com/spec/"


class TableError(SmolmathError):
    """A data file that is no table, or not the table that was asked for."""


def _zstandard(path: Path) -> BinaryIO:
    return io.BufferedReader(cast(io.RawIOBase, pa.input_stream(str(path), compression="zstd")))


_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _zstandard}
COMPRESSIONS = tuple(_OPENERS)


@contextmanager
def binary(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes. Raises: TableError if it is not there, a pointer, or not what its name says."""
    refuse_pointer(path)
    opener = _OPENERS.get(path.suffix)
    try:
        with opener(path) if opener else path.open("rb") as file:
            yield file
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, OSError, pa.ArrowInvalid) as error:
        if opener is None or getattr(error, "errno", None) is not None:
            raise  # the disk's
        kind = path.suffix[1:]
        raise TableError(f"{path}: not a readable {kind} file ({error}). Fetch or copy it again.") from None


def refuse_pointer(path: Path) -> None:
    """Raises: TableError if the file is not there, or Git LFS has left its address instead of its contents."""
    if not path.is_file():
        raise TableError(f"{path}: there is no such file.")
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise TableError(
                f"{path}: a Git LFS pointer, not the data. Run `git lfs pull` where it was cloned, or download it."
            )


def lines(file: BinaryIO, start: int = 0, stop: int | None = None) -> Iterator[bytes | None]:
    """The lines that begin between two bytes of a file; None for one of more than MAX_LINE, which is passed over."""
    at = 0
    if start:
        file.seek(start - 1)
        at = start - 1 + sum(map(len, _line(file)))  # of the line before, or its end alone
    while stop is None or at < stop:
        length, first = 0, b""
        for part in _line(file):
            first = first or part
            length += len(part)
        if not length:
            return
        yield first if length == len(first) else None
        at += length


def _line(file: BinaryIO) -> Iterator[bytes]:
    """One line in parts of MAX_LINE at most."""
    while part := file.readline(MAX_LINE):
        yield part
        if part.endswith(b"\n"):
            return


def bounded(path: Path, text: TextIO) -> Iterator[str]:
    """The lines of a text. Raises: TableError at one of more than MAX_LINE characters."""
    while line := text.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise TableError(f"{path}: a line of more than {MAX_LINE // 1_000_000} million characters. Is it a table?")
        yield line
