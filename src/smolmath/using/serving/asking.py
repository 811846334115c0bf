"""Questions put to one model or several, one after the other, and what each has written so far."""

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from smolmath.answers import grade
from smolmath.errors import SmolmathError
from smolmath.using.solving.parts import PartsReader
from smolmath.using.solving.reasoner import Reasoner, Solution

_Items = queue.SimpleQueue[str | Solution | Exception]


@dataclass(frozen=True)
class Drawn:
    """How completions are drawn."""

    samples: int
    temperature: float
    max_completion_tokens: int


@dataclass(frozen=True)
class Shown:
    """What there is to see of one model's work at one moment."""

    model: str
    state: Literal["idle", "waiting", "writing", "done", "stopped", "refused"]
    reasoning: str = ""
    answer: str | None = None
    solution: Solution | None = None  # when done
    reason: str = ""  # when refused
    reference: str | None = None  # of a question whose answer is known
    right: bool | None = None  # of such a one, when done


class _NobodyReads(Exception):
    """Raised inside a generation to end it."""


class Asking:
    """Reasoners that work one at a time: they share the machine, and torch's random numbers.

    Args: references: question -> its reference answer, where that is known: then answers are graded.
    """

    def __init__(self, reasoners: Sequence[Reasoner], references: Mapping[str, str] | None = None) -> None:
        self.reasoners, self.references = list(reasoners), references or {}
        self._working = threading.Lock()

    def ask(self, question: str, drawn: Drawn, gone: threading.Event) -> Iterator[list[Shown]]:
        """What each model shows, again and again until all are done.

        Args: gone: set it to stop; what was written so far stays. Closing the iterator stops too. A completion ends
            with its next token, several samples when they are whole.
        """
        reference = self.references.get(question)
        shown = [Shown(reasoner.model.name, "waiting", reference=reference) for reasoner in self.reasoners]
        try:
            yield list(shown)
            for number, reasoner in enumerate(self.reasoners):
                for now in self._watch(reasoner, question, drawn, gone):
                    shown[number] = now
                    yield list(shown)
        finally:
            gone.set()

    def _watch(self, reasoner: Reasoner, question: str, drawn: Drawn, gone: threading.Event) -> Iterator[Shown]:
        items: _Items = queue.SimpleQueue()
        arguments = (reasoner, question, drawn, gone, items)
        threading.Thread(target=self._work, args=arguments, daemon=True).start()
        reader, text = PartsReader(reasoner.model.prompt.tags), {"reasoning": "", "answer": "", "text": ""}
        shown = Shown(reasoner.model.name, "writing", reference=self.references.get(question))
        yield shown
        while isinstance(item := items.get(), str):
            for part, piece in reader.feed(item):
                text[part] += piece
            if items.empty():  # else the next piece is there already, and nobody reads so fast
                reasoning = (text["reasoning"] or text["text"]).strip()
                shown = replace(shown, reasoning=reasoning, answer=text["answer"].strip() or None)
                yield shown
        if isinstance(item, Solution):
            right = None if shown.reference is None else _is_right(item, shown.reference, reasoner)
            yield replace(
                shown, state="done", reasoning=item.reasoning, answer=item.answer, solution=item, right=right
            )
        elif isinstance(item, _NobodyReads):
            yield replace(shown, state="stopped")
        elif isinstance(item, SmolmathError):
            yield replace(shown, state="refused", reason=str(item))
        else:
            raise item

    def _work(self, reasoner: Reasoner, question: str, drawn: Drawn, gone: threading.Event, items: _Items) -> None:
        def write(piece: str) -> None:
            if gone.is_set():
                raise _NobodyReads
            items.put(piece)

        try:
            with self._working:
                write("")  # stopped while it waited?
                solution = reasoner.solve(
                    question,
                    samples=drawn.samples,
                    temperature=drawn.temperature,
                    max_completion_tokens=drawn.max_completion_tokens,
                    write=write,
                )
                write("")  # or while several were drawn, which write nothing?
                items.put(solution)
        except Exception as error:  # to the thread that waits for it, which raises what it can't show
            items.put(error)


def _is_right(solution: Solution, reference: str, reasoner: Reasoner) -> bool:
    """Of several completions, whether the majority's answer is."""
    verdict = grade(
        solution.completion,
        reference,
        question=solution.question,
        finished=solution.finished,
        tags=reasoner.model.prompt.tags,
    )
    return verdict.correct
