"""Text that goes round in circles."""

import re

_WORD = re.compile(r"\w+|[^\w\s]")
_NGRAM = 4


def repeated(text: str) -> float:
    """The share of a text's word 4-grams that stood there before, 0 to 1; 0 for a shorter text.

    >>> repeated("and so on and so on and so on")  # 6 of them, 3 different
    0.5
    """
    words = _WORD.findall(text)
    grams = [tuple(words[i : i + _NGRAM]) for i in range(len(words) - _NGRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
