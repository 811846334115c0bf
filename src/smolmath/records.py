"""Every table on disk: its columns and types, written whole, read back checked."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from smolmath.errors import SmolmathError

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")

PROBLEMS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # problem id, see smolmath.data.problems
        pa.field("dataset", pa.string(), nullable=False),  # key in params.yaml
        pa.field("question", pa.string(), nullable=False),
        pa.field("reference_answer", pa.string(), nullable=False),  # as given, trimmed
        pa.field("reasoning", pa.string()),  # worked solution or verified trace
        pa.field("source", pa.string()),  # origin inside the dataset
        pa.field("raw_file", pa.string(), nullable=False),
        pa.field("raw_row", pa.int64(), nullable=False),
    ],
    metadata={"smolmath.schema": "problems/1"},
)
REJECTED = pa.schema(
    [
        pa.field("raw_file", pa.string(), nullable=False),
        pa.field("raw_row", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # one of smolmath.data.examine.REASONS or splitting's
        pa.field("detail", pa.string(), nullable=False),
    ],
    metadata={"smolmath.schema": "rejected/1"},
)
COMPLETIONS = pa.schema(
    [
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),  # 0: greedy; 1…k: sampled
        pa.field("prompt", pa.string(), nullable=False),  # as rendered by the chat template
        pa.field("completion", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),  # stop, or length: cut off
        pa.field("tokens", pa.int32(), nullable=False),  # of the completion, its end token included
    ],
    metadata={"smolmath.schema": "completions/1"},
)
PASS_RATES = pa.schema(
    [
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("samples", pa.int32(), nullable=False),  # completions drawn
        pa.field("correct", pa.int32(), nullable=False),  # of them right
        pa.field("cut", pa.int32(), nullable=False),  # of them cut off at the length limit
    ],
    metadata={"smolmath.schema": "pass_rates/1"},
)


class RecordsError(SmolmathError):
    """A table that cannot be read, or is not the table it should be."""


def write_table(path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> None:
    """Write rows as zstd parquet, whole or not at all; the same rows give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), part, compression="zstd")
    os.replace(part, path)


class TableWriter:
    """Streams rows into one parquet file, of which a row group is held at a time.

    Row groups have `GROUP_ROWS` rows whatever the batches were, so the bytes depend on the rows alone.
    """

    GROUP_ROWS = 500
    REPEATED = ("dataset", "source", "raw_file", "reason")  # few values each; of long texts a dictionary costs memory

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=list(self.REPEATED))
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        while batch.num_rows:
            part = batch.slice(0, self.GROUP_ROWS - self._waiting_rows)
            batch = batch.slice(part.num_rows)
            self._waiting.append(part)
            self._waiting_rows += part.num_rows
            if self._waiting_rows == self.GROUP_ROWS:
                self._flush()

    def close(self) -> None:
        if self._waiting_rows:
            self._flush()
        self._writer.close()

    def entry(self) -> dict[str, Any]:
        """What a manifest says of the closed file: its name, rows, bytes and sha256."""
        return {"file": self.path.name, "rows": self.rows, **file_facts(self.path)}

    def _flush(self) -> None:
        # One chunk: several would be several pages, whose borders are the batches'.
        table = pa.Table.from_batches(self._waiting, self.schema).combine_chunks()
        self._writer.write_table(table, row_group_size=self.GROUP_ROWS)
        self._waiting, self._waiting_rows = [], 0


class ShardWriter:
    """Rows into shard-00000.parquet and on, `shard_rows` each; `written` is the manifest's entries."""

    def __init__(self, out: Path, schema: pa.Schema, shard_rows: int) -> None:
        self.out, self.schema, self.shard_rows = out, schema, shard_rows
        self.written: list[dict[str, Any]] = []
        self._open: TableWriter | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        while batch.num_rows:
            if self._open is None:
                self._open = TableWriter(self.out / f"shard-{len(self.written):05d}.parquet", self.schema)
            part = batch.slice(0, self.shard_rows - self._open.rows)
            batch = batch.slice(part.num_rows)
            self._open.add(part)
            if self._open.rows == self.shard_rows:
                self.close()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self.written.append(self._open.entry())
            self._open = None


def file_facts(path: Path) -> dict[str, Any]:
    """`bytes` and `sha256` of a file."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def read_table(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """All rows. Raises: RecordsError if the file is missing, no parquet, or has other columns."""
    _check(path, schema)
    rows: list[dict[str, Any]] = pq.read_table(path, columns=schema.names).to_pylist()
    return rows


def read_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows in batches, so that memory doesn't grow with the file. Raises: RecordsError as `read_table`."""
    _check(path, schema)
    file = pq.ParquetFile(path, pre_buffer=False)  # else all that was read is held until the file is closed
    yield from file.iter_batches(TableWriter.GROUP_ROWS, columns=schema.names)


def shards(folder: Path) -> list[Path]:
    """shard-00000.parquet and on, in order."""
    return sorted(folder.glob("shard-*.parquet"))


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise RecordsError(f"{path} is missing: {folder} was not written by smolmath. Run: dvc repro")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def _check(path: Path, schema: pa.Schema) -> None:
    try:
        found = pq.read_schema(path)
    except FileNotFoundError:
        raise RecordsError(f"{path} does not exist. Run: dvc repro (or dvc pull, where a remote has it)") from None
    except pa.ArrowInvalid as error:
        raise RecordsError(f"{path} is no readable parquet file ({error}). Remove it and run: dvc repro") from None
    if lacking := [name for name in schema.names if name not in found.names]:
        raise RecordsError(
            f"{path} lacks the columns {', '.join(lacking)}; it has {', '.join(found.names)}. Another version wrote "
            "it: run dvc repro."
        )
