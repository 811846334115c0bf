"""Text that is broken, or in letters that the model is not meant to read."""

import unicodedata
from collections.abc import Collection
from functools import lru_cache

from ftfy.badness import is_bad

_CONTROL = frozenset({"Cc", "Co", "Cs", "Cn"})  # control codes, private, surrogates, unassigned
_INVISIBLE = frozenset({"Cf", "Zl", "Zp"})  # zero-width and direction marks, line and paragraph separators
_WHITE = "\n\r\t"
_REPLACEMENT = "\ufffd"  # what a decoder puts where bytes made no character


def odd_characters(text: str) -> str:
    """The control and invisible characters of a text, and replacement characters, each once and sorted."""
    if text.isascii() and text.isprintable():
        return ""
    return "".join(sorted(c for c in set(text) if c not in _WHITE and _is_odd(c)))


def without_invisible(text: str) -> str:
    """The text without what only cannot be seen; separators become line ends. Control codes stay: they are faults."""
    if text.isascii():
        return text
    invisible = {c for c in set(text) if _category(c) in _INVISIBLE}
    return text.translate({ord(c): "\n" if _category(c) in ("Zl", "Zp") else None for c in invisible})


def is_mojibake(text: str) -> bool:
    """Whether a text looks like UTF-8 that was read as another encoding: `â€œtwoâ€` for “two”."""
    return not text.isascii() and is_bad(text)


def foreign_letters(text: str, scripts: Collection[str]) -> str:
    """The letters of other scripts than `scripts` (LATIN, GREEK, CYRILLIC, CJK, …), each once and sorted."""
    if text.isascii():
        return ""
    letters = {c for c in unicodedata.normalize("NFKC", text) if not c.isascii() and c.isalpha()}
    return "".join(sorted(c for c in letters if script_of(c) not in scripts))


@lru_cache(maxsize=65536)
def script_of(letter: str) -> str:
    """First word of the letter's Unicode name, which is its script."""
    return unicodedata.name(letter, "UNKNOWN").split()[0]


def _is_odd(character: str) -> bool:
    return character == _REPLACEMENT or _category(character) in _CONTROL | _INVISIBLE


@lru_cache(maxsize=65536)
def _category(character: str) -> str:
    return unicodedata.category(character)
