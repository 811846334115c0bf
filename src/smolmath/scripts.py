"""Which scripts a text is written in: of a question to be trained on, and of an answer to it."""

import unicodedata
from collections.abc import Collection
from functools import lru_cache

_LETTER = frozenset({"Lu", "Ll", "Lt", "Lo"})
MATHEMATICS = frozenset({"LATIN", "GREEK"})


def foreign_letters(text: str, scripts: Collection[str]) -> str:
    """The letters of other scripts than `scripts` (LATIN, GREEK, CYRILLIC, CJK, …), each once and sorted."""
    if text.isascii():
        return ""
    # Not marks and modifiers, which belong to no script: ʹ is written for ′.
    plain = "".join(c for c in text if not "\u2100" <= c <= "\u214f")  # ℝ and ℵ are symbols
    letters = {
        c for c in unicodedata.normalize("NFKC", plain) if not c.isascii() and unicodedata.category(c) in _LETTER
    }
    return "".join(sorted(c for c in letters if script_of(c) not in scripts))


@lru_cache(maxsize=65536)
def script_of(letter: str) -> str:
    """First word of the letter's Unicode name, which is its script."""
    return unicodedata.name(letter, "UNKNOWN").split()[0]


def mixes_scripts(answer: str, question: str) -> bool:
    """Whether an answer has letters of a script that neither its question nor mathematics has: 所以 x = 3.

    >>> mixes_scripts("So x = 3, 所以 3.", "What is x?"), mixes_scripts("Δ = 所以 3", "求 x")
    (True, False)
    """
    if answer.isascii():
        return False
    return bool(foreign_letters(answer, MATHEMATICS | {script_of(letter) for letter in set(question)}))
