"""A loaded model that is asked questions: one completion as it comes, or several and a majority vote."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import smolmath.kernels  # noqa: F401  # before torch: completions are those of evaluation
from smolmath.answers import extract_answer
from smolmath.engines import Completion, Engine, Sampling, load_engine
from smolmath.errors import SmolmathError
from smolmath.evaluation.voting import AnswerGroups
from smolmath.params.core import load_section, read_params
from smolmath.prompts import Message, chat_prompt
from smolmath.running.params import HardwareParams
from smolmath.using.solving.models import FoundModel, ModelError, find_model
from smolmath.using.solving.parts import split_parts

MOST_SAMPLES = 1024  # of a question: they are drawn together


class QuestionError(SmolmathError):
    """A question that can't be asked."""


@dataclass(frozen=True)
class Solution:
    question: str
    completion: str  # of several: the first that gives the answer
    reasoning: str  # the text of its reasoning block; the whole completion where it has none
    answer: str | None  # the predicted answer: of several completions, the one that most agree on
    votes: list[tuple[str, int]]  # each different answer and how many completions gave it, most first
    samples: int
    finished: bool  # False: cut off at the limit
    tokens: int  # of all completions


@dataclass(frozen=True)
class Reasoner:
    """A model with its engine. `load` takes seconds; then each question is asked with `solve`."""

    model: FoundModel
    engine: Engine

    @classmethod
    def load(
        cls, asked: str | FoundModel | None, params: Mapping[str, Any] | None = None, *, engine: str | None = None
    ) -> Self:
        """The model that `find_model` finds, loaded.

        Args: asked: or the model that it has found. engine: instead of `hardware.engine`.
        Raises: ModelError, StageError as `find_model` and `load_engine`; ModelError if its files can't be used.
        """
        params = read_params() if params is None else params
        model = asked if isinstance(asked, FoundModel) else find_model(asked, params)
        hardware = load_section(params, "hardware", HardwareParams)
        if engine is not None:
            hardware = hardware.model_copy(update={"engine": engine})
        try:
            template = model.prompt.chat_template_kwargs
            return cls(model, load_engine(model.folder, dtype=model.dtype, hardware=hardware, template=template))
        except SmolmathError:
            raise
        except Exception as error:
            # Broken weights, a kind of model that transformers doesn't know: each library has errors of its own. What
            # else was wrong is in the error's chain.
            reason = (str(error).strip().splitlines() or [""])[0]
            raise ModelError(
                f"{model.name}: {model.folder} can't be loaded ({type(error).__name__}: {reason})."
            ) from error

    def solve(
        self,
        question: str,
        *,
        samples: int = 1,
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_completion_tokens: int | None = None,
        seed: int = 0,
        history: Sequence[Message] | None = None,
        write: Callable[[str], None] | None = None,
    ) -> Solution:
        """Ask one question.

        Args:
            temperature: 0 is greedy, as evaluation has it; more than one sample needs more.
            max_completion_tokens: evaluation's limit if not named.
            history: earlier messages of a conversation, without the system prompt.
            write: is given the completion piece by piece, as it comes; of a single sample only.
        Raises: QuestionError if the question is empty, or with the completion doesn't fit the model, or it can't be
            drawn so.
        """
        check_question(question)
        check_drawing(samples=samples, temperature=temperature, seed=seed)
        wanted = max_completion_tokens or self.model.max_completion_tokens
        room = self.room(question, history)
        if room < 1:
            raise QuestionError(
                f"the question is too long: with the system prompt it has {self.model.context - room:,} tokens, and "
                f"{self.model.name} reads {self.model.context:,}."
            )
        sampling = Sampling(temperature, top_p, samples, min(room, wanted), seed)
        prompt = self.prompt(question, history)
        (completions,) = self.engine.generate([prompt], sampling, write if samples == 1 else None)
        return self._solution(question, completions)

    def prompt(self, question: str, history: Sequence[Message] | None = None) -> list[Message]:
        """The chat that asks the question: the system prompt, what was said before, the question."""
        *system, asked = chat_prompt(question, self.model.prompt)
        return [*system, *(history or []), asked]

    def room(self, question: str, history: Sequence[Message] | None = None) -> int:
        """Tokens that are left for the completion; below 1 if the question doesn't fit."""
        return self.model.context - self.engine.count_tokens(self.engine.render(self.prompt(question, history)))

    def _solution(self, question: str, completions: list[Completion]) -> Solution:
        tags = self.model.prompt.tags
        answers = [
            extract_answer(one.text, finished=one.finish_reason == "stop", tags=tags).text for one in completions
        ]
        groups = AnswerGroups()
        numbers = [groups.number("", answer, correct=False) for answer in answers]
        counted = Counter(number for number in numbers if number is not None).most_common()
        votes = [(str(answers[numbers.index(number)]), count) for number, count in counted]
        shown = completions[numbers.index(counted[0][0]) if counted else 0]
        parts = split_parts(shown.text, tags)
        return Solution(
            question=question,
            completion=shown.text,
            reasoning=parts["reasoning"] or (shown.text.strip() if not parts["answer"] else parts["text"]),
            answer=votes[0][0] if votes else None,
            votes=votes,
            samples=len(completions),
            finished=shown.finish_reason == "stop",
            tokens=sum(one.tokens for one in completions),
        )


def check_drawing(*, samples: int, temperature: float, seed: int) -> None:
    """Raises: QuestionError if completions can't be drawn so: torch would fail, or take all memory."""
    if samples > 1 and temperature == 0:
        raise QuestionError("several samples of a greedy completion are all the same: set a temperature, e.g. 1.0.")
    if not (temperature == 0 or 0.01 <= temperature <= 100):  # nan too
        raise QuestionError(f"a temperature of {temperature:g}: it can be 0, which is greedy, or 0.01 to 100.")
    if not 1 <= samples <= MOST_SAMPLES:
        raise QuestionError(f"{samples:,} samples: 1 to {MOST_SAMPLES:,} are drawn of a question.")
    if not 0 <= seed < 2**63:
        raise QuestionError(f"a seed of {str(seed)[:40]}: it can be 0 to 2**63 - 1.")


def check_question(question: str) -> None:
    """Raises: QuestionError if there is nothing to be asked."""
    if not question.strip():
        raise QuestionError("the question is empty.")
    try:
        question.encode()
    except UnicodeEncodeError:
        raise QuestionError("the question is not valid UTF-8.") from None
