"""Duplicates: questions that are the same when normalised, and questions that are nearly the same.

Near duplicates are found by MinHash (Broder 1997) over word trigrams with locality-sensitive hashing: a signature is
cut into bands, and two questions meet if a band is equal and enough of the rest too. Problems that differ in one
number are different problems though a MinHash barely sees it, so the reference answer and the question's numbers in
their order are part of every band: only another wording of the same numbers with the same answer can meet.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

from smolmath.answers.normalise import normalise

Hashes = npt.NDArray[np.uint64]  # (N,)
Minima = npt.NDArray[np.uint8]  # (N, CHECKED)
Rows = npt.NDArray[np.uint32]  # (N,) place of each row in the dataset, counted through its files
BANDS, CHECKED = 4, 16  # 4 × 12 + 16 bytes a row
_NONE = np.iinfo(np.int64).max
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"\w+|[^\w\s]")
_MIX = np.uint64(0x9E3779B97F4A7C15)


class FirstSeen:
    """Which row held a 64-bit key first, in 12 bytes a key: sorted runs, merged as they grow alike."""

    def __init__(self) -> None:
        self._runs: list[tuple[Hashes, Rows]] = []

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self._runs)

    def add(self, keys: Hashes, rows: Rows) -> npt.NDArray[np.int64]:
        """For each key the row that held it before, -1 if none did; afterwards all keys are there.

        Args: keys, rows: (N,) each, in the rows' order; equal keys count as one after the other.
        """
        new, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        earlier = self.find(new)
        known = earlier >= 0
        result = np.where(known, earlier, rows[first])[inverse]
        result[first[~known]] = -1
        self._runs.append((new[~known], rows[first[~known]]))
        while len(self._runs) > 1 and 2 * len(self._runs[-1][0]) > len(self._runs[-2][0]):
            (keys_a, rows_a), (keys_b, rows_b) = self._runs.pop(), self._runs.pop()
            at = np.searchsorted(keys_b, keys_a)
            self._runs.append((np.insert(keys_b, at, keys_a), np.insert(rows_b, at, rows_a)))
        return result

    def find(self, keys: Hashes) -> npt.NDArray[np.int64]:
        """For each key the row that held it first, -1 if none did."""
        found = np.full(len(keys), -1, np.int64)
        for run, rows in self._runs:
            if len(run):
                at = np.searchsorted(run, keys).clip(max=len(run) - 1)
                hit = run[at] == keys
                found[hit] = rows[at[hit]]
        return found


@dataclass(frozen=True)
class Signatures:
    """MinHash signatures of N questions."""

    keys: Hashes  # (N, BANDS); near duplicates share one
    minima: Minima  # (N, CHECKED) low bytes of further minima, which tell how near two questions are
    numbers: npt.NDArray[np.uint32]  # (N,) hash of the question's numbers: what is near or equal shares it


def signatures(questions: Sequence[str], answers: Sequence[str], threshold: float) -> Signatures:
    """MinHash over word trigrams, with what must be the same hashed into every key.

    Args: questions: normalised. answers: their reference answers. threshold: Jaccard similarity, 0 to 1, at which
    two questions meet as often as not.
    """
    # Signatures of similarity s share a band with probability 1 - (1 - s^r)^b: a half where s^r = 1 - 0.5^(1/b).
    rows = max(1, round(math.log(1 - 0.5 ** (1 / BANDS)) / math.log(threshold)))
    keys = np.empty((len(questions), BANDS), np.uint64)
    minima = np.empty((len(questions), CHECKED), np.uint8)
    shared = np.empty(len(questions), np.uint32)
    for index, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        words = _WORD.findall(question)
        signature = RMinHash(num_perm=BANDS * rows + CHECKED, seed=0)
        signature.update([" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))])
        digest: Hashes = np.array(signature.digest(), np.uint64)
        bands = digest[: BANDS * rows].reshape(BANDS, rows)
        numbers = _NUMBER.findall(question)
        same = _hash("\n".join([normalise(answer), *numbers]))
        shared[index] = _hash("\n".join(numbers)) >> np.uint64(32)
        mixed = (np.arange(BANDS, dtype=np.uint64) + same).astype(np.uint64)
        for column in range(rows):
            mixed = (mixed ^ bands[:, column]) * _MIX
            mixed ^= mixed >> np.uint64(29)
        keys[index] = mixed
        minima[index] = digest[BANDS * rows :] & np.uint64(0xFF)
    return Signatures(keys, minima, shared)


def _hash(text: str) -> np.uint64:
    return np.uint64(
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    )


class NearDuplicates:
    """The index, 64 bytes a row: for each band which kept row held a key first, and every row's minima.

    Rows that are near another one are not in it: near is not transitive, and a chain of small steps would end far from
    the row that is kept.
    Args: rows: of the dataset. threshold: as of `signatures`.
    """

    def __init__(self, rows: int, threshold: float) -> None:
        self._bands = [FirstSeen() for _ in range(BANDS)]
        self._minima: Minima = np.zeros((rows, CHECKED), np.uint8)
        # One band may agree by chance at half the similarity. A standard deviation of the estimate is about a tenth.
        self._alike = math.ceil(CHECKED * (threshold - 0.15))

    def add(self, signed: Signatures, rows: Rows, *, droppable: bool) -> npt.NDArray[np.int64]:
        """For each of the N signatures the first kept row that is near it, -1 if none is.

        Args: rows: (N,), their places in the dataset. droppable: whether rows that are near another are dropped.
        """
        self._minima[rows] = signed.minima
        nearest = np.full(len(rows), _NONE)
        if droppable:
            held = self._held(signed)
            nearest = self._nearest(signed, held)
            self._compare_within(signed, rows, nearest, held >= 0)
        kept = nearest == _NONE
        for band, seen in enumerate(self._bands):
            seen.add(signed.keys[kept, band], rows[kept])
        return np.where(kept, -1, nearest)

    def nearest(self, signed: Signatures) -> npt.NDArray[np.int64]:
        """For each of the N signatures the first row of the index that is near it, -1 if none is."""
        nearest = self._nearest(signed, self._held(signed))
        return np.where(nearest == _NONE, -1, nearest)

    def _held(self, signed: Signatures) -> npt.NDArray[np.int64]:
        """(N, BANDS), the row of the index that holds each key, -1 where none does."""
        return np.stack([seen.find(signed.keys[:, band]) for band, seen in enumerate(self._bands)], axis=1)

    def _nearest(self, signed: Signatures, held: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        nearest = np.full(len(held), _NONE)
        for earlier in held.T:
            met = np.flatnonzero(earlier >= 0)
            alike = self._are_alike(self._minima[earlier[met]], signed.minima[met])
            nearest[met[alike]] = np.minimum(nearest[met[alike]], earlier[met[alike]])
        return nearest

    def _compare_within(
        self, signed: Signatures, rows: Rows, nearest: npt.NDArray[np.int64], held: npt.NDArray[np.bool_]
    ) -> None:
        """Fill in `nearest` for rows that are near a kept one of the same batch, which is in no index yet.

        Args: held: (N, BANDS), the keys that a row of an earlier batch holds.
        """
        first: dict[tuple[int, int], int] = {}  # (band, key) -> the first kept row of this batch that has it
        for index, (keys, known) in enumerate(zip(signed.keys.tolist(), held.tolist(), strict=True)):
            if nearest[index] != _NONE:
                continue
            bands = [(band, key) for band, key in enumerate(keys) if not known[band]]
            met = sorted({first[band] for band in bands if band in first})
            near = next((m for m in met if self._are_alike(signed.minima[m], signed.minima[index])), None)
            if near is not None:
                nearest[index] = rows[near]
                continue
            for band in bands:
                first.setdefault(band, index)

    def _are_alike(self, some: Minima, others: Minima) -> Any:
        """(…,) whether two rows' minima agree often enough, of (…, CHECKED) each."""
        return (some == others).sum(axis=-1) >= self._alike
