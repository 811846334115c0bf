"""Text that is broken, or whose characters cannot be seen."""

import re
import unicodedata
from functools import lru_cache

from ftfy import fix_encoding
from ftfy.badness import is_bad

_CONTROL = frozenset({"Cc", "Co", "Cs", "Cn"})  # control codes, private, surrogates, unassigned
_INVISIBLE = frozenset({"Cf", "Zl", "Zp"})  # zero-width and direction marks, line and paragraph separators
_SEEN = {"\u2062": "·", "\u2063": ",", "\u2064": "+"}  # invisible times, separator and plus
_WHITE = "\n\r\t"
_JOINER = "\u200d"  # makes one emoji of several
_LOOSE_JOINER = re.compile("[\x00-\x7f]\u200d|\u200d[\x00-\x7f]|^\u200d|\u200d$")
_REPLACEMENT = "\ufffd"  # what a decoder puts where bytes made no character


def odd_characters(text: str) -> str:
    """The control and invisible characters of a text, and replacement characters, each once and sorted."""
    if text.isascii() and text.isprintable():
        return ""
    odd = {c for c in set(text) if c not in _WHITE and _is_odd(c)}
    if _JOINER in odd and not _LOOSE_JOINER.search(text):
        odd.remove(_JOINER)
    return "".join(sorted(odd))


def without_invisible(text: str) -> str:
    """The text without what only cannot be seen; separators become line ends. Control codes stay: they are faults."""
    if text.isascii():
        return text
    invisible = {c for c in set(text) if _category(c) in _INVISIBLE and c != _JOINER}
    return text.translate({ord(c): _SEEN.get(c, "\n" if _category(c) in ("Zl", "Zp") else "") for c in invisible})


def is_mojibake(text: str) -> bool:
    """Whether a text looks like UTF-8 that was read as another encoding: `â€œtwoâ€` for “two”."""
    if text.isascii() or not is_bad(text):
        return False
    # Symbols in a row (5 Å², π×²) look bad too; but read in the other encoding they make no better text.
    mended = fix_encoding(text)
    return mended != text and not is_bad(mended)


def _is_odd(character: str) -> bool:
    return character == _REPLACEMENT or _category(character) in _CONTROL | _INVISIBLE


@lru_cache(maxsize=65536)
def _category(character: str) -> str:
    return unicodedata.category(character)
