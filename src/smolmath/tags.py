"""Names of the two tags in the response format. Imports nothing, so that prompts and params may use it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tags:
    """Tag names without brackets: `Tags("think", "final")` asks for `<think>…</think>` and `<final>…</final>`."""

    reasoning: str = "reasoning"
    answer: str = "answer"


DEFAULT_TAGS = Tags()
