"""Answers in `\boxed{…}`, with whatever braces they hold."""

import re

from smolmath.answers.blocks import joint
from smolmath.answers.prose import Piece, joined

_BOX = re.compile(r"\\f?box(?:ed)?\s*\{")


def find_boxes(text: str) -> list[Piece]:
    r"""Each complete outermost `\boxed{…}` or `\fbox{…}` that holds something, in order."""
    boxes: list[Piece] = []
    position = 0
    while found := _BOX.search(text, position):
        depth, at = 1, found.end()
        while at < len(text) and depth:
            if text[at] == "\\":
                at += 1  # an escaped brace opens nothing
            else:
                depth += (text[at] == "{") - (text[at] == "}")
            at += 1
        if depth:
            break
        if content := text[found.end() : at - 1].strip():
            boxes.append(Piece(found.start(), at, content))
        position = at
    return boxes


def offered(boxes: list[Piece], text: str) -> Piece:
    """What the last box holds, with those before it that are offered side by side."""
    piece = boxes[-1]
    for box in reversed(boxes[:-1]):
        both = joined([box, piece], text)
        if both.start == piece.start:
            if not (join := joint(text[box.end : piece.start])):
                break
            both = Piece(
                box.start, piece.end, piece.text if box.text == piece.text else f"{box.text}{join}{piece.text}"
            )
        piece = both
    return piece


def unboxed(boxes: list[Piece], text: str, *, keep: bool = True) -> str:
    """The text without the commands of its boxes, or without the boxes."""
    pieces, position = [], 0
    for box in boxes:
        pieces += [text[position : box.start], box.text if keep else " "]
        position = box.end
    return "".join([*pieces, text[position:]])
