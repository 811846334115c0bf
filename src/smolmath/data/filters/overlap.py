"""Contamination: word n-grams that a question shares with the problems of another dataset.

An index holds a hash of every n-gram of the other dataset's questions, and which problems it comes from. Two shares
are measured: of the question's own n-grams those that are found there, and of each of those problems' n-grams those
that the question has. A copy has all of both; a copy among other words, before it or behind, has all of the second;
a problem that was made from the same template with other names and numbers has some.
Source: n-gram overlap, arXiv:2005.14165, appendix C (13-grams); 8-grams are what open-r1 removes by.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
_WORD = re.compile(r"\w+|[-+*/=<>^×÷±·]")  # signs too: 5 + 3 is not 5 - 3
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that each word's place counts
TEMPLATE = 32  # n-grams that more problems than these share are their template's, and tell none of them
SHORTEST = 8  # words of a question, shorter than an n-gram, that is looked for within others; fewer stand anywhere


class OverlapIndex:
    """The n-grams of some questions.

    Args: ngram: words in a row; a shorter question counts as one. questions: (where it stands, normalised text).
    """

    def __init__(self, ngram: int, questions: Iterable[tuple[str, str]]) -> None:
        self.ngram = ngram
        self.places: list[str] = []
        self._short: dict[int, list[tuple[int, list[str]]]] = defaultdict(list)  # by hash of its first words
        grams, owners, seen = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], set()
        for place, text in questions:
            words = _words(text)
            if not words or tuple(words) in seen:
                continue  # nothing to find it by, or nothing more
            seen.add(tuple(words))
            if SHORTEST <= len(words) < ngram:
                first = int(_grams([words[:SHORTEST]], SHORTEST)[0][0])
                self._short[first].append((len(self.places), words))
            found = np.unique(_grams([words], ngram)[0])
            owners.append(np.full(len(found), len(self.places)))
            grams.append(found)
            self.places.append(place)
        all_grams, all_owners = np.concatenate(grams), np.concatenate(owners)
        order = np.argsort(all_grams, kind="stable")
        self._owners = all_owners[order]
        self._grams, self._starts, self._counts = np.unique(all_grams[order], return_index=True, return_counts=True)
        tells = np.repeat(self._counts <= TEMPLATE, self._counts)
        telling = np.bincount(self._owners[tells], minlength=len(self.places))
        # Of a problem most of whose n-grams are its template's too little is left to tell it by.
        self._telling = np.where(2 * telling >= np.bincount(self._owners, minlength=len(self.places)), telling, 0)

    def overlaps(self, questions: Sequence[str]) -> list[tuple[float, str]]:
        """For each normalised question the larger of both shares, and where the problem stands that it is shared with.

        Of the question's own n-grams the problem is the first that has any.
        """
        if not questions or not self.places:
            return [(0.0, "")] * len(questions)
        words = [_words(text) for text in questions]
        grams, owners = _grams(words, self.ngram)
        at = np.searchsorted(self._grams, grams).clip(max=len(self._grams) - 1)
        hits = (self._grams[at] == grams) & (grams != 0)  # 0: a question without words
        totals = np.bincount(owners, minlength=len(words))
        shares = np.bincount(owners, hits, minlength=len(words)) / np.maximum(totals, 1)
        first = np.full(len(words), -1)
        found = np.flatnonzero(hits)[::-1]
        first[owners[found]] = self._owners[self._starts[at[found]]]
        covered, whose = self._coverage(owners[hits], at[hits], len(words))
        more = covered > shares
        shares, first = np.where(more, covered, shares), np.where(more, whose, first)
        for question, place in self._short_within(words):
            shares[question], first[question] = 1.0, place
        return [
            (float(share), self.places[place] if place >= 0 else "")
            for share, place in zip(shares, first, strict=True)
        ]

    def _coverage(
        self, asked: npt.NDArray[np.int64], grams: npt.NDArray[np.int64], questions: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """(N,) largest share of a problem's n-grams that each question has, and (N,) the problem's place.

        Args: asked, grams: (H,) question and n-gram of each hit.
        """
        asked, grams = np.unique(np.stack([asked, grams]), axis=1)
        tells = self._counts[grams] <= TEMPLATE
        asked, grams = asked[tells], grams[tells]
        counts = self._counts[grams]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = self._owners[np.repeat(self._starts[grams], counts) + within]
        pairs, shared = np.unique(np.repeat(asked, counts) * len(self.places) + places, return_counts=True)
        asked, places = np.divmod(pairs, len(self.places))
        known = self._telling[places] > 0
        covered = np.where(known, shared / np.maximum(self._telling[places], 1), 0.0)
        best, whose = np.zeros(questions), np.full(questions, -1)
        order = np.argsort(covered, kind="stable")  # the largest is written last
        best[asked[order]], whose[asked[order]] = covered[order], places[order]
        return best, whose

    def _short_within(self, words: list[list[str]]) -> Iterable[tuple[int, int]]:
        """(question, place) of questions that hold a whole problem of fewer words than an n-gram."""
        if not self._short:
            return
        grams, owners = _grams(words, SHORTEST)
        begins = np.flatnonzero(np.diff(owners, prepend=-1))  # of each question's grams; every one has some
        for hit in np.flatnonzero(np.isin(grams, np.fromiter(self._short, np.uint64))):
            question = int(owners[hit])
            start = int(hit - begins[question])
            for place, short in self._short[int(grams[hit])]:
                if words[question][start : start + len(short)] == short:
                    yield question, place


def shared(share: float, ngram: int, place: str) -> str:
    """What an overlap is, for a person."""
    return f"{share:.0%} of {ngram}-grams shared with {place}"


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _grams(words: list[list[str]], length: int) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """(G,) hash of every n-gram of that length of every question, (G,) which question it is of."""
    # Zeros fill up a question that is shorter than an n-gram: it then is one.
    padded = [[*map(_word_hash, each), *([0] * (length - len(each)))] for each in words]
    hashes = np.array([h for each in padded for h in each], np.uint64)
    lengths = np.array([len(each) for each in padded])
    windows = len(hashes) - length + 1
    rolled = np.zeros(windows, np.uint64)
    for offset in range(length):
        rolled = rolled * _BASE + hashes[offset : offset + windows]
    owners = np.repeat(np.arange(len(words)), lengths)
    inside = owners[:windows] == owners[length - 1 :]  # a window must not run from one question into the next
    return rolled[inside], owners[:windows][inside]


@lru_cache(maxsize=200_000)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
