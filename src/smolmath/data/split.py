"""Cut processed problems into train, validation and test, so that nothing evaluated was ever trained on."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smolmath.data.filters.overlap import OverlapIndex, shared
from smolmath.data.problems import id_numbers, normalise_question, side_of
from smolmath.errors import SmolmathError
from smolmath.params.process import ContaminationParams
from smolmath.params.split import SplitParams
from smolmath.records import (
    PROBLEMS,
    REJECTED,
    SIDES,
    Side,
    TableWriter,
    read_batches,
    read_manifest,
    shards,
    write_manifest,
)

REASONS = ("held_out_elsewhere", "contaminated")
TRAIN = SIDES.index("train")
Ids = npt.NDArray[np.uint64]  # (N,) sorted problem ids


class LeakError(SmolmathError):
    """A problem on two sides of the split; the stage that cuts it must be wrong, or its files were changed."""


def split_dataset(
    key: str,
    processed: Path,
    out: Path,
    datasets: Sequence[str],
    params: SplitParams,
    contamination: ContaminationParams | None = None,
) -> dict[str, Any]:
    """Write train, validation and test.parquet of one dataset into `out`; returns the manifest.

    A train row whose problem is validated or tested on in any dataset of the recipe is rejected as
    `held_out_elsewhere`; so is a validation row that is tested on. A train row that shares n-grams with what another
    dataset validates or tests on is rejected as `contaminated`.

    Args:
        processed: the folder that holds every dataset's shards.
        datasets: all keys of the recipe.
        contamination: how many n-grams are too many; None: nothing is compared.

    Raises: LeakError if what was written has a problem on two sides.
    """
    held_out = _held_out([processed / other for other in datasets], params)
    overlap = _overlap([processed / other for other in datasets if other != key], params, contamination)
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with ExitStack() as files:
        writers = [files.enter_context(TableWriter(out / f"{side}.parquet", PROBLEMS)) for side in SIDES]
        rejected = files.enter_context(TableWriter(out / "rejected.parquet", REJECTED))
        for batch, ids, sides in _sided(processed / key, params):
            elsewhere = np.full(len(ids), TRAIN)
            for side, found in enumerate(held_out):  # in rising order: the most protected side wins
                elsewhere[_contained(ids, found)] = side
            why = dict[int, tuple[str, str]]()
            for row in np.flatnonzero(elsewhere > sides).tolist():
                why[row] = ("held_out_elsewhere", f"{ids[row]:016x} is on side {SIDES[elsewhere[row]]}")
            if overlap is not None:
                train = [row for row in np.flatnonzero(sides == TRAIN).tolist() if row not in why]
                questions = batch["question"].take(pa.array(train, pa.int64())).to_pylist()
                questions = [normalise_question(question) for question in questions]
                for row, (share, place) in zip(train, overlap.overlaps(questions), strict=True):
                    if contamination is not None and share >= contamination.share:
                        why[row] = ("contaminated", shared(share, overlap.ngram, place))
            refused = np.isin(np.arange(len(ids)), [*why])
            for side, writer in enumerate(writers):
                writer.add(batch.filter(pa.array((sides == side) & ~refused)))
            rejected.add(_rejections(batch.filter(pa.array(refused)), [why[row] for row in sorted(why)]))
            reasons.update(reason for reason, _ in why.values())
        counts.update({side: writer.rows for side, writer in zip(SIDES, writers, strict=True)})
    manifest = {
        "dataset": key,
        "rows": {side: counts[side] for side in SIDES},
        "cut_by_hash": _lacking(read_manifest(processed / key)["sides"]),
        "rejected_by_reason": {reason: reasons[reason] for reason in REASONS if reasons[reason]},
        "files": [writer.entry() for writer in (*writers, rejected)],
    }
    rows_in = read_manifest(processed / key)["rows"]["kept"]
    assert rows_in == sum(counts.values()) + rejected.rows, (rows_in, counts, rejected.rows)
    refuse_leaks(key, out, held_out)
    write_manifest(out, manifest)
    return manifest


def refuse_leaks(key: str, split: Path, held_out: Sequence[Ids]) -> None:
    """Read the three files back and compare them with each other and with what any dataset holds out.

    Args: held_out: for each of SIDES the ids that some dataset of the recipe has on that side (train: none).
    Raises: LeakError naming a problem.
    """
    found: list[Ids] = []
    for side, name in enumerate(SIDES):
        schema = pa.schema([PROBLEMS.field("id")])
        batches = [id_numbers(b["id"].to_pylist()) for b in read_batches(split / f"{name}.parquet", schema)]
        found.append(_merged(batches))
        for other in range(side + 1, len(SIDES)):
            if (leaked := found[side][_contained(found[side], held_out[other])]).size:
                where = f"on side {SIDES[other]} of a dataset of this recipe"
                raise LeakError(f"data/split/{key}: problem {leaked[0]:016x} is on side {name} and {where}.")
        for other in range(side):
            if (leaked := found[side][_contained(found[side], found[other])]).size:
                raise LeakError(f"data/split/{key}: problem {leaked[0]:016x} is on sides {SIDES[other]} and {name}.")


def _held_out(folders: Sequence[Path], params: SplitParams) -> list[Ids]:
    """For each of SIDES the ids that are on it in any of the datasets; what is trained on protects nothing: none."""
    ids: list[list[Ids]] = [[], [], []]
    for folder in folders:
        for _, numbers, sides in _sided(folder, params, columns=("id", "raw_file")):
            for side in range(TRAIN + 1, len(SIDES)):
                ids[side].append(numbers[sides == side])
    return [_merged(found) for found in ids]


def _overlap(
    folders: Sequence[Path], params: SplitParams, contamination: ContaminationParams | None
) -> OverlapIndex | None:
    """The n-grams of what these datasets validate and test on."""
    if contamination is None or contamination.ngram is None:
        return None
    held_out = (
        (f"{folder.name}, {problem['raw_file']} row {problem['raw_row']}", normalise_question(problem["question"]))
        for folder in folders
        for batch, _, sides in _sided(folder, params, columns=("id", "question", "raw_file", "raw_row"))
        for problem in batch.filter(pa.array(sides > TRAIN)).to_pylist()
    )
    return OverlapIndex(contamination.ngram, held_out)


def _lacking(own_sides: Mapping[str, Side | None]) -> list[Side]:
    """The sides that a source does not have itself."""
    return [side for side in SIDES if side not in own_sides.values()]


def _sided(
    folder: Path, params: SplitParams, columns: Sequence[str] = PROBLEMS.names
) -> Iterator[tuple[pa.RecordBatch, Ids, npt.NDArray[np.int64]]]:
    """The processed problems batch by batch, with their ids as numbers and their sides as places in SIDES."""
    own_sides: dict[str, Side | None] = read_manifest(folder)["sides"]
    lacking = _lacking(own_sides)
    schema = pa.schema([PROBLEMS.field(name) for name in columns])
    for shard in shards(folder):
        for batch in read_batches(shard, schema):
            ids, files = batch["id"].to_pylist(), batch["raw_file"].to_pylist()
            sides = [_side(i, own_sides[f], lacking=lacking, params=params) for i, f in zip(ids, files, strict=True)]
            yield batch, id_numbers(ids), np.array([SIDES.index(side) for side in sides], np.int64)


def _side(problem: str, own: Side | None, *, lacking: Sequence[Side], params: SplitParams) -> Side:
    """A source's own sides are kept; a validation or test side that it lacks is cut from its train side by hash.

    By the same cut for every dataset, whichever sides it lacks: else what one validates on another would test on.
    """
    if own not in (None, "train"):
        return own
    cut = side_of(
        problem,
        seed=params.seed,
        validation_fraction=params.validation_fraction,
        test_fraction=params.test_fraction,
    )
    return cut if cut in lacking else "train"


def _rejections(batch: pa.RecordBatch, why: Sequence[tuple[str, str]]) -> pa.RecordBatch:
    columns = {
        "raw_file": batch["raw_file"],
        "raw_row": batch["raw_row"],
        "reason": [reason for reason, _ in why],
        "detail": [detail for _, detail in why],
    }
    return pa.RecordBatch.from_pydict(columns, schema=REJECTED)


def _merged(parts: Sequence[Ids]) -> Ids:
    return np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))


def _contained(ids: Ids, among: Ids) -> npt.NDArray[np.bool_]:
    """Which of `ids` are in the sorted `among`."""
    if not len(among):
        return np.zeros(len(ids), bool)
    return np.asarray(among[np.searchsorted(among, ids).clip(max=len(among) - 1)] == ids)


def shown(manifest: dict[str, Any]) -> str:
    """What became of the problems, for the terminal."""
    rows = ", ".join(f"{count:,} {side}" for side, count in manifest["rows"].items())
    cut = " and ".join(side for side in manifest["cut_by_hash"] if side != "train")
    lines = [f"{manifest['dataset']}: {rows}" + (f"; {cut} cut by hash" if cut else "")]
    return "\n".join(lines + [f"  rejected as {why}: {n:,}" for why, n in manifest["rejected_by_reason"].items()])
