"""Section `prompt`: what the model reads, and the tags that it is asked to answer in."""

from pydantic import Field, field_validator

from smolmath.params.core import Strict
from smolmath.tags import Tags

TAG = r"^[a-z][a-z_]*$"
RENDERED = ("messages", "add_generation_prompt")  # what rendering itself gives to a template


class PromptParams(Strict):
    system: str  # system prompt; empty: none
    reasoning_tag: str = Field(pattern=TAG)
    answer_tag: str = Field(pattern=TAG)
    # What the model's chat template asks for by name: {enable_thinking: false} of Qwen3.
    chat_template_kwargs: dict[str, str | bool | int | float] = Field(default_factory=dict)

    @field_validator("chat_template_kwargs")
    @classmethod
    def _named(cls, settings: dict[str, str | bool | int | float]) -> dict[str, str | bool | int | float]:
        if unusable := [name for name in settings if not name.isidentifier() or name in RENDERED]:
            raise ValueError(f"{unusable[0]!r} is no setting of a chat template.")
        return settings

    @property
    def tags(self) -> Tags:
        return Tags(reasoning=self.reasoning_tag, answer=self.answer_tag)
