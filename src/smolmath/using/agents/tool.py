"""A trained model as a tool of any agent.

smolagents saves a tool as the source of its class, so that methods import what they use and nothing stands outside.
"""

from typing import Any, ClassVar

from smolagents import Tool


class MathReasonerTool(Tool):  # type: ignore[misc]  # smolagents' class is Any here
    """A tool that works out the question it is given and returns the answer.

    The model is found as `smolmath solve` finds it, in the project's folder, and loaded at the first question or by
    `setup()`; `reasoner` may also be set to one that is loaded. Questions are answered one after the other, also those
    of an agent that makes several calls at once. `solutions` has every one of them, with its reasoning.

    `save`, `to_dict` and `push_to_hub` write the code of this class and no more: what is read back needs smolmath
    installed, has no weights with it, and asks the last phase that has been trained, since arguments are not kept.

    Args:
        model: a phase, `base`, a directory or an id on the hub; None is the last phase that has been trained.
        samples: completions for each question; of several, drawn at temperature 1, the majority's answer is returned.
        example: a question in the words that the model was trained on, which the agent is told to follow. Small
            models know few wordings.
    """

    name = "math_reasoner"
    description = (
        "Works out one math problem step by step and returns its final answer, as text. Give it a complete problem "
        "with all of its numbers: it knows nothing of the task or of earlier questions."
    )
    inputs: ClassVar[dict[str, dict[str, str]]] = {
        "question": {"type": "string", "description": "The problem, in words or as a formula."}
    }
    output_type = "string"

    def __init__(self, model: str | None = None, samples: int = 1, example: str = "") -> None:
        import threading

        super().__init__()
        self.model, self.samples = model, samples
        if example:
            self.description = f"{self.description} Word it like this: {example}"
        self.solutions: list[Any] = []
        self.reasoner: Any = None  # a Reasoner, once it is loaded
        self._lock = threading.RLock()

    def setup(self) -> None:
        """Load the model. Raises: ModelError, StageError, ParamsError if it can't be had."""
        from smolmath.using.solving.reasoner import Reasoner

        with self._lock:  # an agent's calls may come in several threads at once
            if self.reasoner is None:
                self.reasoner = Reasoner.load(self.model)
            self.is_initialized = True

    def forward(self, question: str) -> str:
        """Raises: QuestionError, which the agent reads, if the question is empty or too long."""
        with self._lock:
            solution = self.reasoner.solve(
                question, samples=self.samples, temperature=1.0 if self.samples > 1 else 0.0
            )
            self.solutions.append(solution)
        return solution.answer or f"No answer was found. The model wrote: {solution.completion}"
