"""Cut processed problems into train, validation and test, so that nothing evaluated was ever trained on."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from smolmath.params.split import SplitParams
from smolmath.problems import SIDES, Side, side_of
from smolmath.records import PROBLEMS, REJECTED, read_batches, read_manifest, shards, write_manifest, write_table

REASONS = ("held_out_elsewhere",)


def split_dataset(
    key: str, processed: Path, out: Path, datasets: Iterable[str], params: SplitParams
) -> dict[str, Any]:
    """Write train, validation and test.parquet of one dataset into `out`; returns the manifest.

    A train row whose problem is validated or tested on in any dataset of the recipe is rejected as
    `held_out_elsewhere`; so is a validation row that is tested on.

    Args: processed: the folder that holds every dataset's shards. datasets: all keys of the recipe.
    """
    held_out: dict[str, Side] = {}  # problem id -> its most protected side anywhere, if not train
    for other in sorted(datasets):
        for batch in _sided(processed / other, params, columns=("id", "raw_file")):
            for row, side in batch:
                if _rank(side) > _rank(held_out.get(row["id"], "train")):
                    held_out[row["id"]] = side
    counts: Counter[str] = Counter()
    rejected = []
    with ExitStack() as files:
        writers = {
            side: files.enter_context(pq.ParquetWriter(out / f"{side}.parquet", PROBLEMS, compression="zstd"))
            for side in SIDES
        }
        for batch in _sided(processed / key, params):
            kept: dict[Side, list[dict[str, Any]]] = {side: [] for side in SIDES}
            for row, side in batch:
                if (elsewhere := held_out.get(row["id"])) and _rank(elsewhere) > _rank(side):
                    detail = f"{row['id']} is on side {elsewhere}"
                    place = {"raw_file": row["raw_file"], "raw_row": row["raw_row"]}
                    rejected.append({**place, "reason": "held_out_elsewhere", "detail": detail})
                else:
                    kept[side].append(row)
            for side, rows in kept.items():
                counts[side] += len(rows)
                writers[side].write_table(pa.Table.from_pylist(rows, schema=PROBLEMS))
    write_table(out / "rejected.parquet", rejected, REJECTED)
    manifest = {
        "dataset": key,
        "rows": {side: counts[side] for side in SIDES},
        "rejected_by_reason": {"held_out_elsewhere": len(rejected)} if rejected else {},
    }
    rows_in = read_manifest(processed / key)["rows"]["kept"]
    assert rows_in == sum(counts.values()) + len(rejected), (rows_in, counts, len(rejected))
    write_manifest(out, manifest)
    return manifest


def _sided(
    folder: Path, params: SplitParams, columns: Sequence[str] = PROBLEMS.names
) -> Iterator[list[tuple[dict[str, Any], Side]]]:
    """The processed problems with their sides, batch by batch."""
    own_sides: dict[str, Side | None] = read_manifest(folder)["sides"]
    lacking = {side for side in SIDES if side not in own_sides.values()}
    schema = pa.schema([PROBLEMS.field(name) for name in columns])
    for shard in shards(folder):
        for rows in read_batches(shard, schema):
            yield [(row, _side(row["id"], own_sides[row["raw_file"]], lacking=lacking, params=params)) for row in rows]


def _side(problem: str, own: Side | None, *, lacking: set[Side], params: SplitParams) -> Side:
    """A source's own sides are kept; a validation or test side that it lacks is cut from its train side by hash."""
    if own not in (None, "train"):
        return own
    return side_of(
        problem,
        seed=params.seed,
        validation_fraction=params.validation_fraction if "validation" in lacking else 0.0,
        test_fraction=params.test_fraction if "test" in lacking else 0.0,
    )


def _rank(side: Side) -> int:
    return SIDES.index(side)
