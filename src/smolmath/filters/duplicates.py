"""Duplicates: questions that are the same when normalised, and questions that are nearly the same.

Near duplicates are found by MinHash (Broder 1997) over word trigrams with locality-sensitive hashing: a signature is
cut into bands, and two questions meet if a band is equal. Problems that differ in one number are different problems
though a MinHash barely sees it, so the reference answer and the question's numbers in their order are part of every
band: only another wording of the same numbers with the same answer can meet.
"""

import hashlib
import math
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

from smolmath.answers.normalise import normalise

Hashes = npt.NDArray[np.uint64]  # (N,)
Rows = npt.NDArray[np.uint32]  # (N,) place of each row in the dataset, counted through its files
BANDS = 4  # of 12 bytes each, for every row
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
        earlier = self._find(new)
        known = earlier >= 0
        result = np.where(known, earlier, rows[first])[inverse]
        result[first[~known]] = -1
        self._runs.append((new[~known], rows[first[~known]]))
        while len(self._runs) > 1 and 2 * len(self._runs[-1][0]) > len(self._runs[-2][0]):
            (keys_a, rows_a), (keys_b, rows_b) = self._runs.pop(), self._runs.pop()
            at = np.searchsorted(keys_b, keys_a)
            self._runs.append((np.insert(keys_b, at, keys_a), np.insert(rows_b, at, rows_a)))
        return result

    def _find(self, keys: Hashes) -> npt.NDArray[np.int64]:
        found = np.full(len(keys), -1, np.int64)
        for run, rows in self._runs:
            if len(run):
                at = np.searchsorted(run, keys).clip(max=len(run) - 1)
                hit = run[at] == keys
                found[hit] = rows[at[hit]]
        return found


def band_keys(questions: Sequence[str], answers: Sequence[str], threshold: float) -> Hashes:
    """(N, BANDS) keys; near duplicates share one.

    Args: questions: normalised. answers: their reference answers. threshold: Jaccard similarity, 0 to 1, at which
    two questions meet as often as not.
    """
    # Two signatures of similarity s share a band with probability 1 - (1 - s^r)^b, which is steepest near (1/b)^(1/r).
    rows = max(1, round(math.log(1 / BANDS) / math.log(threshold)))
    keys = np.empty((len(questions), BANDS), np.uint64)
    for index, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        words = _WORD.findall(question)
        signature = RMinHash(num_perm=BANDS * rows, seed=0)
        signature.update([" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))])
        bands: Hashes = np.array(signature.digest(), np.uint64).reshape(BANDS, rows)
        same = _hash("\n".join([normalise(answer), *_NUMBER.findall(question)]))
        mixed = (np.arange(BANDS, dtype=np.uint64) + same).astype(np.uint64)
        for column in range(rows):
            mixed = (mixed ^ bands[:, column]) * _MIX
            mixed ^= mixed >> np.uint64(29)
        keys[index] = mixed
    return keys


def _hash(text: str) -> np.uint64:
    return np.uint64(
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    )


class NearDuplicates:
    """The index: for each band which row held a key first."""

    def __init__(self) -> None:
        self._bands = [FirstSeen() for _ in range(BANDS)]

    def add(self, keys: Hashes, rows: Rows) -> npt.NDArray[np.int64]:
        """For each row of the (N, BANDS) `keys` the first row that is near it, -1 if none is."""
        near = np.stack([seen.add(keys[:, band], rows) for band, seen in enumerate(self._bands)])
        none = np.iinfo(np.int64).max
        first: npt.NDArray[np.int64] = np.where(near < 0, none, near).min(axis=0)
        return np.where(first == none, -1, first)
