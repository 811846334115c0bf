"""Contamination: word n-grams that a question shares with the problems of another dataset.

An index holds a hash of every n-gram of the other dataset's questions, and which problem it comes from. A question is
measured by the share of its own n-grams that are found there: a copy has all of them, a problem that was made from
the same template with other names and numbers has some.
Source: n-gram overlap, arXiv:2005.14165, appendix C (13-grams); 8-grams are what open-r1 removes by.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
_WORD = re.compile(r"\w+|[-+*/=<>^×÷±·]")  # signs too: 5 + 3 is not 5 - 3
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that each word's place counts


class OverlapIndex:
    """The n-grams of some questions.

    Args: ngram: words in a row; a shorter question counts as one. questions: (where it stands, normalised text).
    """

    def __init__(self, ngram: int, questions: Iterable[tuple[str, str]]) -> None:
        self.ngram = ngram
        self.places: list[str] = []
        grams, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
        for place, text in questions:
            if not _WORD.search(text):
                continue  # nothing to find it by
            found = np.unique(self._grams([text])[0])
            owners.append(np.full(len(found), len(self.places), np.int32))
            grams.append(found)
            self.places.append(place)
        self._grams_sorted, first = np.unique(np.concatenate(grams), return_index=True)
        self._owners = np.concatenate(owners)[first]

    def overlaps(self, questions: Sequence[str]) -> list[tuple[float, str]]:
        """For each normalised question the share of its n-grams that are in the index, and where the first stands."""
        if not questions:
            return []
        grams, owners = self._grams(questions)
        if not len(self._grams_sorted):
            return [(0.0, "")] * len(questions)
        at = np.searchsorted(self._grams_sorted, grams).clip(max=len(self._grams_sorted) - 1)
        hits = (self._grams_sorted[at] == grams) & (grams != 0)  # 0: a question without words
        totals = np.bincount(owners, minlength=len(questions))
        shares = np.bincount(owners, hits, minlength=len(questions)) / np.maximum(totals, 1)
        first = {int(owners[i]): self.places[self._owners[at[i]]] for i in np.flatnonzero(hits)[::-1]}
        return [(float(share), first.get(index, "")) for index, share in enumerate(shares)]

    def _grams(self, questions: Sequence[str]) -> tuple[Hashes, npt.NDArray[np.int64]]:
        """(G,) hash of every n-gram of every question, (G,) which question it is of."""
        words = [_WORD.findall(text) for text in questions]
        # Zeros fill up a question that is shorter than an n-gram: it then is one.
        padded = [[*map(_word_hash, each), *([0] * (self.ngram - len(each)))] for each in words]
        hashes = np.array([h for each in padded for h in each], np.uint64)
        lengths = np.array([len(each) for each in padded])
        windows = len(hashes) - self.ngram + 1
        rolled = np.zeros(windows, np.uint64)
        for offset in range(self.ngram):
            rolled = rolled * _BASE + hashes[offset : offset + windows]
        owners = np.repeat(np.arange(len(questions)), lengths)
        inside = owners[:windows] == owners[self.ngram - 1 :]  # a window must not run from one question into the next
        return rolled[inside], owners[:windows][inside]


@lru_cache(maxsize=200_000)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
