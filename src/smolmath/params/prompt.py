"""Section `prompt`: what the model reads, and the tags that it is asked to answer in."""

from pydantic import Field

from smolmath.params.core import Strict
from smolmath.tags import Tags

TAG = r"^[a-z][a-z_]*$"


class PromptParams(Strict):
    system: str  # system prompt; empty: none
    reasoning_tag: str = Field(pattern=TAG)
    answer_tag: str = Field(pattern=TAG)

    @property
    def tags(self) -> Tags:
        return Tags(reasoning=self.reasoning_tag, answer=self.answer_tag)
