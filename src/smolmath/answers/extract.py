"""The predicted answer of a completion: what it commits to last, and how that was found.

The order of STRATEGIES is the order of trust. A complete answer block yields only to a later block, a withdrawal, or
an explicit "final answer is X"; among the other commitments the last by position counts; without any, a finished
completion is read by its closing sentence (prose.py). All scans are linear in the completion.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from smolmath.answers.blocks import answer_tag, find_blocks, is_thinking, offered_blocks, reasoning_end
from smolmath.answers.boxes import find_boxes, offered, unboxed
from smolmath.answers.kinds import read_value_kind
from smolmath.answers.normalise import CACHED_LENGTH
from smolmath.answers.phrases import (
    ANSWER_IS,
    COURTESY,
    DENIED,
    FINAL_ANSWER,
    HEDGE,
    IF,
    NEGATED,
    OR_ELSE,
    REFUSAL,
    REPLACEMENT,
    SECOND_THOUGHT,
    SENTENCE_END,
    TO_THE_GRADER,
    WITHDRAWAL,
    WRONG_ONE,
)
from smolmath.answers.prose import HAS_VALUE, MAX_SENTENCE, NUMBER, Piece, stated, value
from smolmath.tags import DEFAULT_TAGS, Tags

STRATEGIES = (
    "answer_block",  # <answer>…</answer> or <final_answer>…</final_answer>
    "open_answer_block",  # <answer>… to the end, in a finished completion
    "boxed",  # \boxed{…}
    "hashes",  # #### …
    "the_answer_is",  # the answer is …, Answer: …
    "assignments",  # closing sentence: x = 4
    "formula",  # closing sentence: $…$, or nothing but a formula
    "closing_number",  # closing sentence: the number that it states
    "withdrawn",  # a commitment was taken back and nothing put in its place
)

_HEADING = re.compile(r"\d{1,2}[.)]\s+[A-Z][a-z]|\W*(?i:step|part|question|problem|example|case|section)\b")
_ASSIGNMENTS = re.compile(r"(?<![\w\\])[a-zA-Z](?:_\w)?\s*=(?!=)")
_DISPLAY = re.compile(r"(?:\$\$|\\\[)([^$]*?)(?:\$\$|\\\])[\s.]*\Z", re.DOTALL)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{(?:aligned|align\*?|gathered|equation\*?|split)\}")
_ENUMERATION = re.compile(r"^[ *#]{0,8}(?:step )?\d{1,2}[.):]\s", re.IGNORECASE | re.MULTILINE)
_CODE = re.compile(r"```[^`]*(?:```|\Z)")
_WORD = re.compile(r"[^\W\d_]{2,}")
_LIST_ITEM = re.compile(r"\d{1,2}[.)]\s+\S")
_END_OF_TURN = re.compile(r"<\|(?:im_end|im_start|endoftext|eot_id|end)\|>")
_ANSWER_LINE = re.compile(
    r"[\W_]{0,6}(?:A[*_]{0,3}:|(?:ans|answer)\b[\s*_:.=]{1,6})[\s*_]*([^\n]{1,1000})", re.IGNORECASE
)
_ANY_TAG = re.compile(r"</?[a-zA-Z_]+>")
_PAUSE = re.compile(r"^[\s,;:!]*(?:\.(?!\d))?[\s,;:!]*")
_COMMITMENTS = ("boxed", "hashes", "the_answer_is", "withdrawn")
MAX_TRIES = 20  # last mentions of "answer" that are looked at for a value
CLOSING_WINDOW = 2000  # characters at the end of a completion in which its closing sentence is looked for


@dataclass(frozen=True, slots=True)
class Extraction:
    """The predicted answer as written, None if there is none, and the strategy that found it."""

    text: str | None
    strategy: str | None


def extract_answer(completion: str, *, finished: bool = True, tags: Tags = DEFAULT_TAGS) -> Extraction:
    """The answer that a completion commits to.

    Args:
        completion: what the model wrote, without the prompt.
        finished: False if it was cut off; then nothing is read from an open block, a line that may go on, or a closing
            sentence.
        tags: tag names of the response format; `<final_answer>` is taken for an answer tag too.

    >>> extract_answer("9 * 2 = 18, so the answer is $18.")
    Extraction(text='$18', strategy='the_answer_is')
    """
    if "<|" in completion and (turn := _END_OF_TURN.search(completion)):
        completion, finished = completion[: turn.start()], True  # the rest is another turn
    thought = reasoning_end(completion, tags.reasoning)
    scope = completion[thought:]
    blocks, open_block = find_blocks(scope, tags.answer)
    if open_block is not None and finished:
        return _from_block(_ANY_TAG.split(open_block)[0], "open_answer_block")
    if not blocks:
        answer = _without_block(answer_tag(tags.answer).sub("\n", scope), finished)
        if not finished and answer.strategy == "the_answer_is" and is_thinking(scope, tags.reasoning):
            return Extraction(None, None)  # it was still thinking
        if answer.strategy in _COMMITMENTS:
            return answer
        # A block within the reasoning is still a block, if nothing is committed to after it.
        blocks, open_block = find_blocks(completion[:thought], tags.answer)
        if open_block is not None and finished and not scope.strip():
            return _from_block(_ANY_TAG.split(open_block)[0], "open_answer_block")
        if not blocks or REFUSAL.search(scope):
            return answer
        scope = completion
    tail = scope[blocks[-1].closed :]
    block = offered_blocks(blocks, scope)
    return (_after_block(block, tail, finished) if tail.strip() else None) or _from_block(block, "answer_block")


def follows_format(completion: str, *, tags: Tags = DEFAULT_TAGS) -> bool:
    """Whether a completion is `<reasoning>\\n…\\n</reasoning>\\n<answer>\\n…\\n</answer>`, with each tag once."""
    text = completion.strip()
    opening, middle = f"<{tags.reasoning}>\n", f"\n</{tags.reasoning}>\n<{tags.answer}>\n"
    closing = f"\n</{tags.answer}>"
    if not (text.startswith(opening) and text.endswith(closing)):
        return False
    at = text.find(middle)
    once = all(text.count(tag) == 1 for tag in (opening[:-1], closing[1:], f"</{tags.reasoning}>", f"<{tags.answer}>"))
    return once and len(opening) <= at and at + len(middle) <= len(text) - len(closing)


def _after_block(block: str, tail: str, finished: bool) -> Extraction | None:
    """What replaces the block: an explicit final answer or the correction after a withdrawal; None if nothing does."""
    if found := _last_statement(FINAL_ANSWER, tail, finished):
        return Extraction(value(found.text), "the_answer_is")
    for withdrawal in reversed(list(WITHDRAWAL.finditer(tail))[-MAX_TRIES:]):
        # "A common mistake is 12; that is wrong" takes nothing back from a block that holds 13.
        clause = SENTENCE_END.split(tail[max(0, withdrawal.start() - 200) : withdrawal.start()])[-1]
        others = [number[0].strip() for number in NUMBER.finditer(clause)]
        if not others or any(number in block for number in others):
            return _corrected(tail[withdrawal.end() :], finished)
    if also := OR_ELSE.match(tail):
        return Extraction(block.strip() + also[0], "answer_block")
    if SECOND_THOUGHT.match(tail) and (again := _without_block(tail, finished)).strategy in _COMMITMENTS:
        return again
    return None


def _corrected(rest: str, finished: bool) -> Extraction:
    found = _without_block(_PAUSE.sub("", rest, count=1), finished)
    return found if found.text is not None else Extraction(None, "withdrawn")


def _from_block(content: str, strategy: str) -> Extraction:
    # A group of completions gives the same few answers again and again.
    content = content.strip()
    return _cached_from_block(content, strategy) if len(content) <= CACHED_LENGTH else _read_block(content, strategy)


def _read_block(text: str, strategy: str) -> Extraction:
    if withdrawal := _last(WITHDRAWAL.finditer(text)):
        return Extraction(_corrected(text[withdrawal.end() :], finished=True).text, strategy)
    if boxes := find_boxes(text):
        # What stands around the boxes may be words or the way to the value, but no second value.
        alone = _offers_nothing(unboxed(boxes, text, keep=False))
        text = offered(boxes, text).text if alone else unboxed(boxes, text)
    elif found := list(ANSWER_IS.finditer(text))[-MAX_TRIES:]:
        said = [text[a.end() : b].strip() for a, b in zip(found, [*(f.start() for f in found[1:]), None], strict=True)]
        text = _one_of([value(SENTENCE_END.split(each)[0]) for each in said[:-1]], said[-1])
    elif line := _hashed_line(text, finished=True):
        before = _hashed_line(text[: line.start], finished=True)
        text = _one_of([before.text] if before else [], line.text)
    return Extraction(value(text) or None, strategy)


_cached_from_block = lru_cache(maxsize=16384)(_read_block)


def _offers_nothing(around: str) -> bool:
    """Whether what stands around a block's boxes offers no value: words, or a solution in sentences and equations."""
    if not NUMBER.search(around):
        return not re.search(r"\bor\b", around)
    numbered = [s for s in SENTENCE_END.split(_ENUMERATION.sub("", _CODE.sub("\n", around))) if NUMBER.search(s)]
    return not ANSWER_IS.search(around) and all(_is_step(s) and not HEDGE.search(s) for s in numbered)


def _is_step(sentence: str) -> bool:
    """Whether a sentence leads somewhere: an equation with two sides, or three words."""
    left, _, right = sentence.rpartition("=")
    return bool(left.strip() and right.strip()) or len(_WORD.findall(sentence)) > 2


def _one_of(before: list[str], last: str) -> str:
    """The last of several values, or all of them if they differ: then they are no one answer."""
    others = [each for each in before if HAS_VALUE.search(each) and each != value(last)]
    return " or ".join([*others, last]) if others else last


def _without_block(scope: str, finished: bool) -> Extraction:
    """The last box, #### line or "the answer is"; else the closing sentence."""
    found: list[tuple[Piece, str]] = []
    boxes = [b for b in find_boxes(scope) if not DENIED.search(scope[max(0, b.start - 20) : b.start])]
    if boxes:
        found.append((offered(boxes, scope), "boxed"))
    if line := _hashed_line(scope, finished):
        found.append((line, "hashes"))
    # By position first: what is said before a box or a #### line is not looked at.
    start = max((piece.end for piece, _ in found), default=0)
    if statement := _last_statement(ANSWER_IS, scope, finished, start):
        found.append((statement, "the_answer_is"))
    if finished and (line := _last_line(scope, start)):
        found.append((line, "the_answer_is"))
    if not found:
        return _closing_sentence(scope) if finished else Extraction(None, None)
    (_, end, text, _), strategy = max(found)
    if withdrawal := _last(WITHDRAWAL.finditer(scope[end:])):
        return _corrected(scope[end + withdrawal.end() :], finished)
    if also := OR_ELSE.match(scope, end):
        return Extraction(f"{value(text)}{also[0]}", strategy)
    inner = find_boxes(text) if strategy != "boxed" else []
    return Extraction((offered(inner, text).text if inner else value(text)) or None, strategy)


def _hashed_line(text: str, finished: bool) -> Piece | None:
    """The last line `#### …` that holds an answer rather than a markdown heading."""
    at = len(text)
    for _ in range(MAX_TRIES):
        at = text.rfind("####", 0, at)
        if at < 0:
            return None
        if text[text.rfind("\n", 0, at) + 1 : at].strip(" \t"):
            continue
        end = text.find("\n", at)
        line = text[at + 4 : end if end >= 0 else len(text)].strip()
        if (end < 0 and not finished) or not HAS_VALUE.search(line) or _HEADING.match(line):
            continue
        if read_value_kind(line) != "prose" or stated(line) is not None:
            return Piece(at, end if end >= 0 else len(text), line)
    return None


def _last_statement(pattern: re.Pattern[str], text: str, finished: bool, start: int = 0) -> Piece | None:
    """The last sentence of the form "the answer is …" with a value in it, which is not said to whoever grades it."""
    for found in reversed(list(pattern.finditer(text, start))[-MAX_TRIES:]):
        sentence = text[found.end() : found.end() + MAX_SENTENCE]
        # "The answer is:" may stand above its answer.
        lead = len(sentence) - len(sentence.lstrip())
        end = SENTENCE_END.search(sentence, lead)
        if end is None and not finished:
            continue  # more of it was to come
        if end and end[0] == "?":
            continue  # asked, not stated
        if "\n" in found[0] + sentence[:lead] and _LIST_ITEM.match(sentence, lead):
            continue  # "Answer:" above a list of steps
        stated_there = sentence[: end.start() if end else None]
        before = text[max(0, found.start() - 200) : found.start()]
        around = SENTENCE_END.split(before)[-1] + found[0] + stated_there
        denied = NEGATED.match(stated_there) and not REPLACEMENT.match(stated_there)
        if WRONG_ONE.search(before) or IF.search(before) or denied or TO_THE_GRADER.search(around):
            continue
        if HAS_VALUE.search(stated_there):
            return Piece(found.end() + lead, found.end() + len(stated_there.rstrip()), stated_there.strip())
    return None


def _last_line(text: str, start: int) -> Piece | None:
    """What the last line states as `A: 18` or `**Ans** 18`."""
    line_start = max(start, text.rstrip().rfind("\n") + 1)
    found = _ANSWER_LINE.fullmatch(text[line_start:].strip())
    if not found or not HAS_VALUE.search(found[1]):
        return None
    at = text.index(found[1], line_start)
    return Piece(at, at + len(found[1]), found[1])


def _closing_sentence(scope: str) -> Extraction:
    window = scope[-CLOSING_WINDOW:]
    if (display := _DISPLAY.search(window)) and "\n" in display[1].strip():
        rows = re.split(r"\\\\|\n", _ENVIRONMENT.sub("", display[1]).replace("&", "").strip())
        last = rows[-1].rpartition("=")[2].strip()
        return Extraction(last, "formula") if HAS_VALUE.search(last) else Extraction(None, None)
    lines = [line.strip() for line in window.split("\n") if re.search(r"[\w<]", line)]
    while lines and (COURTESY.match(lines[-1]) or TO_THE_GRADER.search(lines[-1]) or _ANY_TAG.fullmatch(lines[-1])):
        lines.pop()
    if not lines or _ANY_TAG.search(lines[-1]):
        return Extraction(None, None)
    if REFUSAL.search(lines[-1]):
        return Extraction(None, None)
    sentences = [s for s in _sentences(lines[-1]) if not COURTESY.match(s)]
    if not sentences:
        return Extraction(None, None)
    sentence = sentences[-1].strip(" \t\r_").rstrip(".! 。")
    if read_value_kind(sentence) != "prose":
        strategy = "assignments" if _ASSIGNMENTS.match(sentence.lstrip("$ ")) else "formula"
        return Extraction(sentence.strip("* "), strategy) if HAS_VALUE.search(sentence) else Extraction(None, None)
    if sentence.endswith("?") or (piece := stated(sentence)) is None:
        return Extraction(None, None)
    if not piece.formula:
        return Extraction(piece.text, "closing_number")
    return Extraction(piece.text, "assignments" if _ASSIGNMENTS.match(piece.text) else "formula")


def _sentences(line: str) -> list[str]:
    ends = [0, *(found.end() for found in SENTENCE_END.finditer(line)), len(line)]
    return [line[a:b] for a, b in pairwise(ends) if re.search(r"\w", line[a:b])]


def _last(matches: Iterable[re.Match[str]]) -> re.Match[str] | None:
    last = None
    for last in matches:  # noqa: B007 - the last one is what is wanted
        pass
    return last
