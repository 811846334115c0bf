"""A completion's reasoning and answer, told apart while it is still being written."""

from collections.abc import Iterator
from typing import Literal

from smolmath.tags import Tags

Part = Literal["reasoning", "answer", "text"]  # text: outside both blocks


class PartsReader:
    """Takes the pieces of a completion as they come and gives the parts that are sure, tags left out.

    A piece that may be the beginning of a tag is held back until the next one shows what it is.

    >>> reader = PartsReader()
    >>> [*reader.feed("<reasoning>\\n2+2=4</reas"), *reader.feed("oning>\\n<answer>4</answer>"), *reader.end()]
    [('reasoning', '\\n2+2=4'), ('text', '\\n'), ('answer', '4')]
    """

    def __init__(self, tags: Tags | None = None) -> None:
        tags = tags or Tags()
        self._opening: dict[str, Part] = {f"<{tags.reasoning}>": "reasoning", f"<{tags.answer}>": "answer"}
        self._closing: dict[Part, str] = {part: f"</{tag[1:]}" for tag, part in self._opening.items()}
        self._part: Part = "text"
        self._held = ""

    def feed(self, piece: str) -> Iterator[tuple[Part, str]]:
        self._held += piece
        while self._held:
            tags = [self._closing[self._part]] if self._part != "text" else list(self._opening)
            start, tag = min(((self._held.find(tag), tag) for tag in tags if tag in self._held), default=(-1, ""))
            if tag:
                yield from self._give(start)
                self._held = self._held[len(tag) :]
                self._part = self._opening[tag] if self._part == "text" else "text"
                continue
            begun = max((self._begun(tag) for tag in tags), default=0)
            yield from self._give(len(self._held) - begun)
            return

    def end(self) -> Iterator[tuple[Part, str]]:
        """What was held back: the completion is over."""
        yield from self._give(len(self._held))

    def _give(self, length: int) -> Iterator[tuple[Part, str]]:
        text, self._held = self._held[:length], self._held[length:]
        if text:
            yield self._part, text

    def _begun(self, tag: str) -> int:
        """How many of the last characters may begin a tag."""
        return next((n for n in range(len(tag) - 1, 0, -1) if self._held.endswith(tag[:n])), 0)


def split_parts(completion: str, tags: Tags) -> dict[Part, str]:
    """The text of each part of a whole completion, trimmed; of several blocks of a kind, one after the other."""
    reader = PartsReader(tags)
    found: dict[Part, str] = {"reasoning": "", "answer": "", "text": ""}
    for part, text in [*reader.feed(completion), *reader.end()]:
        found[part] += text
    return {part: text.strip() for part, text in found.items()}
