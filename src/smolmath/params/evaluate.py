"""Section `evaluate`: which models answer which problems, and how they are sampled."""

from pydantic import Field

from smolmath.params.core import Strict


class SamplingParams(Strict):
    """How completions are made; everything here changes the completions, so all of it is hashed."""

    problems: int | None = Field(ge=1)  # at most this many test problems per dataset, lowest id first; null: all
    samples: int = Field(ge=0)  # sampled completions per problem, beside the greedy one
    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    max_completion_tokens: int = Field(ge=1)
    batch_size: int = Field(ge=1)  # prompts generated together; seeds are per batch, so it belongs to the result


class EvaluateParams(Strict):
    models: list[str] = Field(min_length=1)  # `base` or phases
    datasets: list[str] = Field(min_length=1)
    sampling: SamplingParams
