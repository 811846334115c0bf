"""Answer blocks `<answer>…</answer>`, and where the reasoning ends."""

import re
from functools import lru_cache
from typing import NamedTuple

_ALTERNATIVELY = re.compile(
    r"[\s,;/|&]{0,9}(?:(?:or|alternatively|maybe|perhaps|possibly|else|even|either)\b[\s,:]{0,5}){0,3}", re.IGNORECASE
)
_ROW = re.compile(r"[\s\d.)(*#:-]{0,20}")
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
    for tag in answer_tag(name).finditer(text):
        if not tag[1]:
            twice = Block(opening.start(), opening.end(), tag.start(), tag.end()) if opening else None
            opening = tag
        elif opening:
            if text[opening.end() : tag.start()].strip(" \t\n`").lower() not in _NO_ANSWER:
                blocks.append(Block(opening.start(), opening.end(), tag.start(), tag.end()))
            opening = twice = None
    # "<answer>24<answer>": the second was meant to close the first.
    if twice and not text[twice.closed :].strip() and text[twice.start : twice.end].strip():
        return [*blocks, twice], None
    return blocks, text[opening.end() :] if opening else None


def offered_blocks(blocks: list[Block], text: str) -> str:
    """What the last block holds; with those before it if they are alternatives: joined by "or", or a row of three."""
    if len(blocks) == 1:
        return text[blocks[0].start : blocks[0].end]
    run, alternatives = [blocks[-1]], False
    for block in reversed(blocks[:-1]):
        between = text[block.closed : run[-1].opened]
        if not (_ROW.fullmatch(between) or _ALTERNATIVELY.fullmatch(between)):
            break
        alternatives |= bool(between.strip()) and not _ROW.fullmatch(between)
        run.append(block)
    contents = list(dict.fromkeys(text[block.start : block.end].strip() for block in reversed(run)))
    return " or ".join(contents) if alternatives or len(contents) > 2 else text[run[0].start : run[0].end]


def reasoning_end(text: str, name: str) -> int:
    """Where the last closed reasoning block ends, 0 if there is none."""
    end = 0
    for tag in reasoning_tag(name).finditer(text):
        end = tag.end()
    return end


def is_thinking(text: str, name: str) -> bool:
    """Whether a text without a closed reasoning block begins with an open one."""
    return bool(re.match(rf"\s*<(?:{re.escape(name)}|think|thinking)>", text, re.IGNORECASE))
