"""The value that a sentence states: `She pays $90, which is $30 less than $120.` states $90.

A sentence with one number states that number. With several, what the sentence says of itself decides: a number behind
the last equals sign, after the verb rather than in its subject, not behind a preposition or in brackets. Numbers that
stand side by side after that are several values, which equal only a reference of just these.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from smolmath.answers.kinds import read_value_kind
from smolmath.answers.normalise import CACHED_LENGTH, normalise
from smolmath.answers.numbers import numbers_match, parse_number
from smolmath.answers.phrases import (
    AFTERTHOUGHT,
    ALTERNATIVE,
    ASIDE,
    CONCLUSION,
    CONJUNCTION,
    CONSEQUENCE,
    CONTEXT,
    CONTRAST,
    ELSEWHEN,
    FINITE_VERB,
    HEDGE,
    LEADING_CLAUSE,
    NO_STATEMENT,
    NOT_ITSELF,
    OPERATOR_BEFORE,
    OPERATOR_BEHIND,
    OR_SO,
    RANGE,
    REASON,
    REPLACEMENT,
    SENTENCE_END,
    SUBORDINATE,
    TENTATIVE,
    TO_THE_GRADER,
    TRAILING_ASIDE,
    UNCLOSED,
    WHILE,
)

MAX_SENTENCE = 1000  # characters; a 30,000-digit answer belongs into a block or a box
_PLAIN = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_UNITS = (
    r"(?:\s?(?:%|\\%|percent\b|cm\b|km\b|mm\b|kg\b|ml\b|mph\b|ft\b|lbs?\b|oz\b|million\b|thousand\b|billion\b|hundred\b|dozen\b|cents?\b"
    r"|[\u4e00-\u9fff]{1,3}))?"
)
NUMBER = re.compile(
    rf"(?<![\w\\^_:.])(?:[-−–]\s?|\b(?:minus|negative)\s)?(?:\\?\$|[€£])?\s?[-−]?{_PLAIN}(?:/\d+)?(?:\s?[×x*^]\s?{_PLAIN}){{0,3}}"
    rf"{_UNITS}(?![\w:^]|\.\d|,\d{{3}}\b|-[a-z])"
)
_TEXT = re.compile(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}")
_FORMULA = re.compile(r"(?<!\\)\$\$?([^$\n]{1,300})(?<!\\)\$\$?|\\\(([^\n]{1,300}?)\\\)|\\\[([^\n]{1,300}?)\\\]")
_BOLD = re.compile(r"\*\*([^*\n]{1,60})\*\*")
_JOINT = re.compile(
    r"[\s$*]{0,9}(?:\\(?:[ ()\[\]]|q?quad))?[\s$*]{0,9}"
    r"(,?\s?\b(?:and|or)(?: (?:maybe|else|even|possibly|perhaps))?\b|[,;/|]|,?\s?alternatively\b|"
    r"\\text\{\s?(?:and|or)\s?\})(?:\\ )?[\s$*,]{0,9}"
    r"(?:\\[()\[\]])?\s?(?:[a-zA-Z][\w{}]{0,8}\s?=\s?)?[\s$*]{0,9}",
    re.IGNORECASE,
)
_CODE = re.compile(r"==|[\"{}_;\\]|[a-zA-Z_]{2}\(|\(\)|\blambda\b")
_LEAD = re.compile(
    r"(?:\\text\w{0,8}\{)?\s?(?:so |thus |therefore,? )?(?:the |my )?(?:final |correct )?answer"
    r"(?: is|:| =){1,2}\s?\}?\s?",
    re.I,
)
_CHANGED = re.compile(
    rf"\W*{_PLAIN}\s(?:less|fewer|more|too \w+|in (?:binary|octal|hexadecimal))\W*"
)  # 18 less is not 18
_ASSIGNED = re.compile(r"(?<!\w)[a-zA-Z]\s?=\s?[-\d]")
HAS_VALUE = re.compile(r"\d|\\[a-zA-Z]{2,}|(?<![\w'])[A-J](?![\w'])|[πθ∞√]")


class Piece(NamedTuple):
    """A number or formula, and where it stands."""

    start: int
    end: int
    text: str
    formula: bool = False


def formulas(text: str) -> list[Piece]:
    """The formulas that state a value; dollar signs of money enclose words or half a sum."""
    found = [Piece(f.start(), f.end(), (f[1] or f[2] or f[3]).strip(), True) for f in _FORMULA.finditer(text)]
    return [
        piece
        for piece in found
        if HAS_VALUE.search(piece.text) and piece.text[-1] not in "=+-*/,(" and read_value_kind(piece.text) != "prose"
    ]


def joined(pieces: list[Piece], text: str) -> Piece:
    """The last piece, joined with those before it that only a comma, "and" or "or" keeps apart."""
    start, end, words, formula = pieces[-1]
    for piece in reversed(pieces[:-1]):
        between = text[piece.end : start]
        connector = _JOINT.fullmatch(between) if len(between) < 60 else None
        if not connector:
            break
        word = re.sub(r"\\text\{\s*|\s*\}", "", connector[1]).strip(", ") or ","
        word = word if word.lower() in ("and", ",", ";") else "or"
        words = f"{piece.text}{' ' if word.isalpha() else ''}{word} {words}"
        start = piece.start
    return Piece(start, end, words, formula)


def value(text: str) -> str:
    """The value within a phrase: what it states if it is a sentence, else the phrase itself."""
    return _cached_value(text) if len(text) <= CACHED_LENGTH else _value(text)


def _value(text: str) -> str:
    if text.isdecimal():  # the common case
        return text
    text = _LEAD.sub("", text.strip().strip("*_` "))
    text = text if text.endswith("..") else text.rstrip(". 。")  # "7, 8, ..." goes on
    if text.count("(") > text.count(")"):
        text = UNCLOSED.sub("", text)  # the sentence ended at "i.e."
    text = TRAILING_ASIDE.sub("", text) or text
    if contrast := CONTRAST.fullmatch(text):
        text = contrast[1] if HAS_VALUE.search(contrast[1]) else text
    elif replacement := REPLACEMENT.fullmatch(text):
        text = replacement[1]
    if read_value_kind(text) != "prose":
        return text
    if _CHANGED.fullmatch(text):
        return text
    if "\n" in text or len(SENTENCE_END.findall(text)) > 0:
        sentences = [s.strip() for s in SENTENCE_END.split(text) if s.strip()]
        text = sentences[-1] if CONCLUSION.match(sentences[-1]) else text
    piece = stated(_TEXT.sub(r" \1 ", text), firm=False)
    return piece.text if piece else text


_cached_value = lru_cache(maxsize=16384)(_value)


def stated(sentence: str, *, firm: bool = True) -> Piece | None:
    """The value that a sentence states, or None if it states none.

    Args:
        sentence: one sentence, without its full stop.
        firm: whether a guess is no statement; in an answer block it is one.
    """
    if len(sentence) > MAX_SENTENCE:
        return None
    if NO_STATEMENT.search(sentence) or (firm and TENTATIVE.search(sentence)):
        return None
    if not formulas(sentence) and _CODE.search(sentence.replace("\\$", "$").replace("\\%", "%")):
        return None
    bare = ASIDE.sub("", sentence)
    if bare != sentence and any(ALTERNATIVE.search(aside) for aside in ASIDE.findall(sentence)):
        return None
    sentence = bare if HAS_VALUE.search(bare) else sentence
    if TO_THE_GRADER.search(sentence):
        return None
    for part in _main_clauses(sentence):
        if pieces := _pieces(part):
            piece = _chosen(pieces, part)
            guarded = NOT_ITSELF.search(part[max(0, piece.start - 40) : piece.start].rstrip("$\\( ") + " ")
            within = OPERATOR_BEFORE.search(part[max(0, piece.start - 30) : piece.start]) or OPERATOR_BEHIND.match(
                part, piece.end
            )
            return None if guarded or within or OR_SO.match(part, piece.end) else piece
    return None


def _main_clauses(sentence: str) -> list[str]:
    """The sentence cut down to what it says, then less and less cut down, for want of a number."""
    clauses = [sentence]
    for cut in (_after_consequence, _without_lead, _until(REASON), _right_side, _until(AFTERTHOUGHT)):
        shorter = cut(clauses[0])
        if shorter != clauses[0] and _pieces(shorter):
            clauses.insert(0, shorter)
    return clauses


def _after_consequence(text: str) -> str:
    ends = [found.end() for found in CONSEQUENCE.finditer(text)]
    return text[ends[-1] :] if ends else text


def _without_lead(text: str) -> str:
    found = LEADING_CLAUSE.match(text)
    return text[found.end() :] if found else text


def _until(pattern: re.Pattern[str]) -> Callable[[str], str]:
    return lambda text: pattern.split(text, maxsplit=1)[0]


def _right_side(text: str) -> str:
    # "5 + 7 = 12" comes to 12, but "n = 5, n = 6 and n = 7" are three values, and "5 = 7" is none.
    if formulas(text) or len(_ASSIGNED.findall(text)) > 1:
        return text
    values = [number for side in text.split("=")[1:] if (number := parse_number(normalise(side[:MAX_SENTENCE])))]
    agree = all(numbers_match(number, values[-1]) for number in values)
    return text.rpartition("=")[2] if agree else text


def _pieces(text: str) -> list[Piece]:
    found = formulas(text)
    numbers = [
        Piece(n.start(), n.end(), n[0].strip())
        for n in NUMBER.finditer(text)
        if not any(piece.start < n.end() and n.start() < piece.end for piece in found)
    ]
    return sorted(found + numbers)


def _chosen(pieces: list[Piece], text: str) -> Piece:
    if bold := [b for b in _BOLD.finditer(text) if NUMBER.search(b[1])]:
        emphasised = [p for p in pieces if any(b.start() < p.start and p.end < b.end() for b in bold)]
        pieces = emphasised or pieces
    if len(pieces) > 1 and (group := joined(pieces, text)).start == pieces[0].start:
        return group
    chosen = [pieces[0]]
    for piece in pieces[1:]:
        gap = text[max(chosen[-1].end, piece.start - 200) : piece.start]
        if piece.text == chosen[-1].text or ELSEWHEN.match(text, piece.end):
            continue  # the same value twice is fine
        verb, conjunction = FINITE_VERB.search(gap), CONJUNCTION.search(gap)
        if HEDGE.search(gap) or RANGE.fullmatch(gap):
            return _several(text, chosen[0], piece)
        predicate = verb and not (conjunction or SUBORDINATE.search(gap) or WHILE.search(gap))
        if predicate and (len(chosen) == 1 or _is_subject(chosen, text)):
            chosen = [piece]  # "16 glasses cost $64": the first was in the subject
        elif verb and conjunction and conjunction.start() < verb.start():
            chosen.append(piece)  # "…, and has $16 left"
        elif not CONTEXT.search(gap) or gap.rstrip(" $\\").endswith((" and", " but")):
            chosen.append(piece)
    return chosen[0] if len(chosen) == 1 else _several(text, chosen[0], chosen[-1])


def _is_subject(chosen: list[Piece], text: str) -> bool:
    return not FINITE_VERB.search(text[: chosen[-1].start])


def _several(text: str, first: Piece, last: Piece) -> Piece:
    return Piece(first.start, last.end, text[first.start : last.end].strip("$"), last.formula)
