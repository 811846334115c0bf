"""Answer blocks `<answer>…</answer>`, and where the reasoning ends."""

import re
from functools import lru_cache
from typing import NamedTuple

# What stands between answers that are offered side by side: nothing, numbers, labels, hedges; no step of a solution.
_SIDE_BY_SIDE = re.compile(
    r"(?:[^\w=]|\d|_|\b(?:[a-z]|or|and|maybe|perhaps|possibly|probably|alternatively|else|even|either|also|again|another"
    r"|it|this|that|is|are|be|could|might|may|can|the|an|my|your|option|choice|answer|candidate|possibility|guess|case"
    r"|part|number|first|second|third|final|other|quad|qquad|text|textbf|mbox|hbox|boldsymbol|color|red)\b)*",
    re.IGNORECASE,
)
_OR = re.compile(
    r"\b(?:or|maybe|perhaps|possibly|alternatively|else|either|could|might|may|option|choice|guess|candidate)\b", re.I
)
_ANOTHER_TRY = re.compile(
    r"\b(?:(?:second|another|other|next|last) (?:try|attempt|guess|option|possibility)|(?:try|consider) also|also try"
    r"|if (?:that|this|it) (?:is|was) (?:not|n't)|if not\b|backup|fallback)\b",
    re.IGNORECASE,
)
MAX_BETWEEN = 120  # characters between two answers that are offered side by side
_NO_ANSWER = frozenset(("and", "or", "...", "…", "tag", "tags"))  # what stands between tags that are only mentioned


@lru_cache(maxsize=16)
def answer_tag(name: str) -> re.Pattern[str]:
    """Opening and closing answer tags; group 1 is the slash."""
    return re.compile(rf"< ?(/?) ?(?:{re.escape(name)}|final_answer) ?>", re.IGNORECASE)


@lru_cache(maxsize=16)
def reasoning_tag(name: str) -> re.Pattern[str]:
    """Closing tags of the reasoning."""
    return re.compile(rf"< ?/ ?(?:{re.escape(name)}|think|thinking) ?>", re.IGNORECASE)


class Block(NamedTuple):
    """Where a block and its content stand."""

    opened: int  # where the opening tag starts
    start: int
    end: int
    closed: int  # where the closing tag ends


def find_blocks(text: str, name: str) -> tuple[list[Block], str | None]:
    """The complete answer blocks, and what stands behind an opening tag after them that never closes."""
    opening: re.Match[str] | None = None
    twice: Block | None = None
    blocks: list[Block] = []
    nested: list[Block] = []
    for tag in answer_tag(name).finditer(text):
        if not tag[1]:
            if opening and re.fullmatch(r"\s*\S{1,40}\s*", text[opening.end() : tag.start()]):
                # "<answer>17 <answer>18</answer>" offers both; "<answer> tags" only mentions one.
                nested.append(Block(opening.start(), opening.end(), tag.start(), tag.start()))
            twice = Block(opening.start(), opening.end(), tag.start(), tag.end()) if opening else None
            opening = tag
        elif opening:
            if text[opening.end() : tag.start()].strip(" \t\n`").lower() not in _NO_ANSWER:
                blocks += [block for block in nested if text[block.start : block.end].strip()[-1:].isdigit()]
                blocks.append(Block(opening.start(), opening.end(), tag.start(), tag.end()))
            opening, twice, nested = None, None, []
    # "<answer>24<answer>": the second was meant to close the first.
    if twice and not text[twice.closed :].strip() and text[twice.start : twice.end].strip():
        return [*blocks, twice], None
    return blocks, text[opening.end() :] if opening else None


def joint(between: str) -> str | None:
    """How two answers are joined by what stands between them, " or " or ", "; None if the second follows the first."""
    if len(between) > MAX_BETWEEN:
        return None
    if _ANOTHER_TRY.search(between):
        return " or "
    if not _SIDE_BY_SIDE.fullmatch(between):
        return None
    return " or " if _OR.search(between) else ", "


def offered_blocks(blocks: list[Block], text: str) -> str:
    """What the last block holds; with those before it if they are offered side by side."""
    last = blocks[-1]
    offered = [text[last.start : last.end].strip()]
    joints = set()
    for before, after in zip(blocks[-2::-1], blocks[:0:-1], strict=True):
        if not (join := joint(text[before.closed : after.opened])):
            break
        joints.add(join)
        offered.append(text[before.start : before.end].strip())
    distinct = list(dict.fromkeys(filter(None, reversed(offered)))) or [""]
    return max(joints, default="").join(distinct) if len(distinct) > 1 else distinct[0]


def reasoning_end(text: str, name: str) -> int:
    """Where the last closed reasoning block ends, 0 if there is none."""
    end = 0
    for tag in reasoning_tag(name).finditer(text):
        end = tag.end()
    return end


def is_thinking(text: str, name: str) -> bool:
    """Whether a text without a closed reasoning block begins with an open one."""
    return bool(re.match(rf"\s*<(?:{re.escape(name)}|think|thinking)>", text, re.IGNORECASE))
