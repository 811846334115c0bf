"""A conversation with a model, held within its context: where it grows too long the oldest turns are left out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smolmath.prompts import Message
from smolmath.using.solving.files import append_row, now
from smolmath.using.solving.reasoner import Reasoner, Solution


@dataclass
class Conversation:
    reasoner: Reasoner
    max_completion_tokens: int | None = None  # evaluation's limit if not named
    turns: list[Solution] = field(default_factory=list)
    dropped: int = 0  # of the turns: the first so many, which the model no longer reads

    def ask(self, question: str, write: Callable[[str], None], drop: Callable[[int], None]) -> Solution:
        """Ask the next question. If it can't be asked, or the completion is stopped, the conversation stays as it was.

        Args:
            write: is given the completion piece by piece, as it comes.
            drop: is told before that how many of the oldest turns are left out from now on, if any are.
        Raises: QuestionError if the question is empty or alone too long.
        """
        limit = self.max_completion_tokens or self.reasoner.model.max_completion_tokens
        free = min(limit, self.reasoner.model.context // 2)  # a limit beyond the context must not forget everything
        first = self.dropped
        while first < len(self.turns) and self.reasoner.room(question, self._messages(first)) < free:
            first += 1
        alone = first == len(self.turns)  # then `solve` says whether it fits
        if first > self.dropped and not (alone and self.reasoner.room(question) < 1):
            drop(first - self.dropped)
        solution = self.reasoner.solve(
            question, max_completion_tokens=limit, history=self._messages(first), write=write
        )
        self.dropped = first
        self.turns.append(solution)
        return solution

    def clear(self) -> None:
        self.turns, self.dropped = [], 0

    def row(self) -> dict[str, Any]:
        """The conversation from its beginning, as chat messages."""
        system = self.reasoner.prompt("")[:-1]
        return {"time": now(), "model": self.reasoner.model.name, "messages": [*system, *self._messages(0)]}

    def save(self, path: Path) -> None:
        """Append it to a JSONL file, a line. Raises: SaveError."""
        append_row(path, self.row())

    def _messages(self, first: int) -> list[Message]:
        return [
            {"role": role, "content": text}
            for turn in self.turns[first:]
            for role, text in (("user", turn.question), ("assistant", turn.completion))
        ]
