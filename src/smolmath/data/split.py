"""Cut processed problems into train, validation and test, so that nothing evaluated was ever trained on."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smolmath.data.filters.duplicates import NearDuplicates, signatures
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
from smolmath.traits import problems_schema

REASONS = ("held_out_elsewhere", "contaminated", "near_duplicate")
TRAIN = SIDES.index("train")
Ids = npt.NDArray[np.uint64]  # (N,) sorted problem ids
Why = tuple[str, str, str]  # reason, detail, and the dataset that holds the problem out


class LeakError(SmolmathError):
    """A problem on two sides of the split; the stage that cuts it must be wrong, or its files were changed."""


@dataclass(frozen=True)
class HowNear:
    """How like another dataset's held-out problems a train row may be. None: only the same question is too like."""

    contamination: ContaminationParams | None = None
    near_duplicates: float | None = None


def split_dataset(
    key: str,
    processed: Path,
    out: Path,
    datasets: Sequence[str],
    params: SplitParams,
    how_near: HowNear = HowNear(),
) -> dict[str, Any]:
    """Write train, validation and test.parquet of one dataset into `out`; returns the manifest.

    A train row whose problem is validated or tested on in any dataset of the recipe is rejected as
    `held_out_elsewhere`; so is a validation row that is tested on. A train row that shares n-grams with what another
    dataset validates or tests on is rejected as `contaminated`, one that words such a problem otherwise as
    `near_duplicate`.

    Args:
        processed: the folder that holds every dataset's shards.
        datasets: all keys of the recipe.

    Raises: LeakError if what was written has a problem on two sides.
    """
    held_out = {other: _held_out(processed / other, params) for other in datasets}
    others = [processed / other for other in datasets if other != key]
    tests = _Tests(_problems_held_out(others, params), how_near)
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    with ExitStack() as files:
        schema = problems_schema(shards(processed / key)[0])
        writers = [files.enter_context(TableWriter(out / f"{side}.parquet", schema)) for side in SIDES]
        rejected = files.enter_context(TableWriter(out / "rejected.parquet", REJECTED))
        for batch, ids, sides in _sided(processed / key, params, schema):
            why = _protected(held_out, ids, sides)
            train = [row for row in np.flatnonzero(sides == TRAIN).tolist() if row not in why]
            found = tests.likeness(batch.take(pa.array(train, pa.int64())))
            why |= {train[at]: reason for at, reason in found.items()}
            refused = np.isin(np.arange(len(ids)), [*why])
            for side, writer in enumerate(writers):
                writer.add(batch.filter(pa.array((sides == side) & ~refused)))
            rejected.add(_rejections(batch.filter(pa.array(refused)), [why[row] for row in sorted(why)]))
            reasons.update(reason for reason, _, _ in why.values())
            lost.update(why[row][2] for row in np.flatnonzero(sides == TRAIN).tolist() if row in why)
        counts.update({side: writer.rows for side, writer in zip(SIDES, writers, strict=True)})
    manifest = {
        "dataset": key,
        "rows": {side: counts[side] for side in SIDES},
        "cut_by_hash": _lacking(read_manifest(processed / key)["sides"]),
        "rejected_by_reason": {reason: reasons[reason] for reason in REASONS if reasons[reason]},
        "train_rows_lost_to": {other: lost[other] for other in datasets if lost[other]},
        "files": [writer.entry() for writer in (*writers, rejected)],
    }
    rows_in = read_manifest(processed / key)["rows"]["kept"]
    assert rows_in == sum(counts.values()) + rejected.rows, (rows_in, counts, rejected.rows)
    refuse_leaks(key, out, [_merged([ids[side] for ids in held_out.values()]) for side in range(len(SIDES))])
    write_manifest(out, manifest)
    return manifest


def _protected(held_out: dict[str, list[Ids]], ids: Ids, sides: npt.NDArray[np.int64]) -> dict[int, Why]:
    """Row -> why: those whose problem is on a more protected side of any dataset."""
    why = dict[int, Why]()
    for side in range(TRAIN + 1, len(SIDES)):  # in rising order: the most protected side wins
        for other, found in reversed(held_out.items()):  # of one side the first dataset
            for row in np.flatnonzero(_contained(ids, found[side]) & (sides < side)).tolist():
                why[row] = ("held_out_elsewhere", f"{ids[row]:016x} is on side {SIDES[side]} of {other}", other)
    return why


class _Tests:
    """What other datasets validate and test on: train rows must not be like it.

    Args: problems: those, with the columns of `records.PROBLEMS` that are read here.
    """

    def __init__(self, problems: Iterator[Mapping[str, Any]], how_near: HowNear) -> None:
        contamination, threshold = how_near.contamination, how_near.near_duplicates
        self._share = contamination.share if contamination is not None else 1.0
        ngram = contamination.ngram if contamination is not None else None
        self._threshold = threshold
        self._dataset_of = dict[str, str]()  # where each problem stands -> its dataset
        questions, answers = list[str](), list[str]()
        for problem in problems if ngram is not None or threshold is not None else ():
            place = f"{problem['dataset']}, {problem['raw_file']} row {problem['raw_row']}"
            self._dataset_of[place] = problem["dataset"]
            questions.append(normalise_question(problem["question"]))
            answers.append(problem["reference_answer"])
        asked = list(zip(self._dataset_of, questions, strict=True))
        self._overlap = None if ngram is None or not asked else OverlapIndex(ngram, asked)
        self._places = [*self._dataset_of]
        self._near = None if threshold is None or not asked else NearDuplicates(len(asked), threshold)
        if self._near is not None and threshold is not None:
            rows = np.arange(len(asked), dtype=np.uint32)
            self._near.add(signatures(questions, answers, threshold), rows, droppable=False)

    def likeness(self, batch: pa.RecordBatch) -> dict[int, Why]:
        """Row of a batch of train rows -> why it is too like a held-out problem, where it is."""
        why = dict[int, Why]()
        if not batch.num_rows or (self._overlap is None and self._near is None):
            return why
        questions = [normalise_question(question) for question in batch["question"].to_pylist()]
        if self._near is not None and self._threshold is not None:
            signed = signatures(questions, batch["reference_answer"].to_pylist(), self._threshold)
            for row, of in enumerate(self._near.nearest(signed).tolist()):
                if of >= 0:
                    place = self._places[of]
                    why[row] = ("near_duplicate", f"of {place}", self._dataset_of[place])
        if self._overlap is not None:
            for row, (share, place) in enumerate(self._overlap.overlaps(questions)):
                if share >= self._share:
                    why[row] = ("contaminated", shared(share, self._overlap.ngram, place), self._dataset_of[place])
        return why


def refuse_leaks(key: str, split: Path, held_out: Sequence[Ids]) -> None:
    """Read the three files back and compare them with each other and with what any dataset holds out.

    Args: held_out: for each of SIDES the ids that some dataset of the recipe has on that side (train: none).
    Raises: LeakError naming a problem.
    """
    found: list[Ids] = []
    for side, name in enumerate(SIDES):
        batches = [id_numbers(b["id"].to_pylist()) for b in read_batches(split / f"{name}.parquet", _columns("id"))]
        found.append(_merged(batches))
        for other in range(side + 1, len(SIDES)):
            if (leaked := found[side][_contained(found[side], held_out[other])]).size:
                where = f"on side {SIDES[other]} of a dataset of this recipe"
                raise LeakError(f"data/split/{key}: problem {leaked[0]:016x} is on side {name} and {where}.")
        for other in range(side):
            if (leaked := found[side][_contained(found[side], found[other])]).size:
                raise LeakError(f"data/split/{key}: problem {leaked[0]:016x} is on sides {SIDES[other]} and {name}.")


def _held_out(folder: Path, params: SplitParams) -> list[Ids]:
    """For each of SIDES the ids that a dataset has on it; what is trained on protects nothing: none."""
    ids: list[list[Ids]] = [[], [], []]
    for _, numbers, sides in _sided(folder, params, _columns("id", "raw_file")):
        for side in range(TRAIN + 1, len(SIDES)):
            ids[side].append(numbers[sides == side])
    return [_merged(found) for found in ids]


def _problems_held_out(folders: Sequence[Path], params: SplitParams) -> Iterator[dict[str, Any]]:
    columns = _columns("id", "dataset", "question", "reference_answer", "raw_file", "raw_row")
    for folder in folders:
        for batch, _, sides in _sided(folder, params, columns):
            yield from batch.filter(pa.array(sides > TRAIN)).to_pylist()


def _lacking(own_sides: Mapping[str, Side | None]) -> list[Side]:
    """The sides that a source does not have itself."""
    return [side for side in SIDES if side not in own_sides.values()]


def _columns(*names: str) -> pa.Schema:
    return pa.schema([PROBLEMS.field(name) for name in names])


def _sided(
    folder: Path, params: SplitParams, schema: pa.Schema
) -> Iterator[tuple[pa.RecordBatch, Ids, npt.NDArray[np.int64]]]:
    """The processed problems batch by batch, with their ids as numbers and their sides as places in SIDES."""
    own_sides: dict[str, Side | None] = read_manifest(folder)["sides"]
    lacking = _lacking(own_sides)
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


def _rejections(batch: pa.RecordBatch, why: Sequence[Why]) -> pa.RecordBatch:
    columns = {
        "raw_file": batch["raw_file"],
        "raw_row": batch["raw_row"],
        "reason": [reason for reason, _, _ in why],
        "detail": [detail for _, detail, _ in why],
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
    lines += [f"  rejected as {why}: {n:,}" for why, n in manifest["rejected_by_reason"].items()]
    lines += [
        f"  train rows lost to what {other} holds out: {n:,}" for other, n in manifest["train_rows_lost_to"].items()
    ]
    return "\n".join(lines)
