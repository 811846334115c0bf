"""Which rows are duplicates, decided in partitions that know nothing of each other.

Two rows can only be duplicates, equal or near, if their keys have the same `group` (spills.py): the same question has
the same numbers, and near duplicates must have them. All rows of a group are in one partition, in their order, so that
what is decided is what one pass over all rows would decide, and partitions may be decided anywhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from smolmath.data.examine import TRAINED_ON
from smolmath.data.filters.duplicates import FirstSeen, NearDuplicates, Signatures
from smolmath.data.process.spills import Keys, Outcome

PARTITION_ROWS = 50_000
_AT_ONCE = 2_000  # rows that are looked for at once; no result depends on it

# A row that is a duplicate, and of which: places, counted through the files in their order.
DROPPED = np.dtype([("row", np.uint32), ("of", np.uint32), ("near", np.bool_)])
Dropped = npt.NDArray[Any]


class Partitions:
    """What came of all pieces, the keys of their rows by partition: 64 bytes a row.

    Args: rows: of the dataset; how many partitions there are depends on it alone.
    """

    def __init__(self, rows: int) -> None:
        self.rows: list[int] = []  # of each piece
        self.problems: list[int] = []  # of them those that stood the tests of a row alone
        self.not_selected = 0
        self.mended = 0
        self._count = max(1, -(-rows // PARTITION_ROWS))
        self._total = 0
        self._keys: list[Keys] = []  # of each piece, sorted by partition
        self._borders: list[npt.NDArray[np.uint32]] = []

    def add(self, outcome: Outcome) -> None:
        """Args: outcome: of the next piece."""
        partition = outcome.keys["group"] % np.uint32(self._count)
        order = np.argsort(partition, kind="stable")
        keys = outcome.keys[order]
        keys["row"] += np.uint32(self._total)
        self._keys.append(keys)
        self._borders.append(np.searchsorted(partition[order], np.arange(self._count + 1)).astype(np.uint32))
        self.rows.append(outcome.rows)
        self.problems.append(len(keys))
        self.not_selected += outcome.not_selected
        self.mended += outcome.mended
        self._total += outcome.rows

    def __iter__(self) -> Iterator[Keys]:
        """Of each partition the keys of its rows, in the rows' order."""
        for partition in range(self._count):
            held = zip(self._keys, self._borders, strict=True)
            yield np.concatenate([keys[borders[partition] : borders[partition + 1]] for keys, borders in held])

    @property
    def nbytes(self) -> int:
        return sum(keys.nbytes for keys in self._keys)


@dataclass(frozen=True)
class Decision:
    """Finds the duplicates of a partition: of equal and of near questions the first stays.

    A duplicate is one of the same side; a near duplicate is one of a row that stays, of any side, and is only dropped
    where it may be trained on.
    """

    sides: Sequence[tuple[str | None, int]]  # in the rows' order, each with the place of its end
    near_duplicates: float | None

    def __call__(self, keys: Keys) -> Dropped:
        same, near = np.full(len(keys), -1), np.full(len(keys), -1)  # row of this partition
        seen: dict[str | None, FirstSeen] = {}
        index = None if self.near_duplicates is None else NearDuplicates(len(keys), self.near_duplicates)
        begins = 0
        for (side, _), ends in zip(self.sides, np.searchsorted(keys["row"], self._ends()).tolist(), strict=True):
            for start in range(begins, ends, _AT_ONCE):
                rows = np.arange(start, min(start + _AT_ONCE, ends), dtype=np.uint32)
                same[rows] = seen.setdefault(side, FirstSeen()).add(keys["id"][rows], rows)
                if index is not None:
                    new = rows[same[rows] < 0]
                    near[new] = index.add(_signatures(keys[new]), new, droppable=side in TRAINED_ON)
            begins = ends
        dropped = np.flatnonzero((same >= 0) | (near >= 0))
        found = np.empty(len(dropped), DROPPED)
        found["row"] = keys["row"][dropped]
        found["of"] = keys["row"][np.where(same >= 0, same, near)[dropped]]
        found["near"] = same[dropped] < 0
        return found

    def _ends(self) -> list[int]:
        return [end for _, end in self.sides]


def _signatures(keys: Keys) -> Signatures:
    return Signatures(keys["bands"], keys["minima"], keys["group"])
