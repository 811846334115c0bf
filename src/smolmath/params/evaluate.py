"""Section `evaluate`: which models answer which problems, and how they are sampled."""

from typing import Any, Self

from pydantic import Field, model_validator

from smolmath.params.core import Strict, listing, nearest


class SamplingParams(Strict):
    """How completions are made; everything here changes the completions, so all of it is hashed."""

    problems: int | None = Field(ge=1)  # at most this many test problems per dataset, lowest id first; null: all
    samples: int = Field(ge=0)  # sampled completions per problem, beside the greedy one
    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    max_completion_tokens: int = Field(ge=1)
    batch_size: int = Field(ge=1)  # prompts generated together; seeds are per batch, so it belongs to the result


class EvaluationSampling(SamplingParams):
    shots: int = Field(default=0, ge=0)  # worked problems of the train side that stand before each question
    system: str | None = None  # instead of `prompt.system`; the answer's tags stay


class EvaluateParams(Strict):
    models: list[str] = Field(min_length=1)  # `base` or phases
    datasets: list[str] = Field(min_length=1)
    sampling: EvaluationSampling
    # Dataset -> keys of `sampling` that are otherwise there.
    per_dataset: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        for dataset, own in self.per_dataset.items():
            if dataset not in self.datasets:
                raise ValueError(
                    f"per_dataset.{dataset}: not among evaluate.datasets ({listing(self.datasets)})."
                    f"{nearest(dataset, self.datasets)}"
                )
            for key in own:
                if key not in EvaluationSampling.model_fields:
                    hint = nearest(key, EvaluationSampling.model_fields)
                    raise ValueError(f"per_dataset.{dataset}.{key}: not a key of `sampling`.{hint}")
            self.sampling_of(dataset)
        return self

    def sampling_of(self, dataset: str) -> EvaluationSampling:
        return sampling_with(self.sampling, self.per_dataset.get(dataset, {}))


def sampling_with(default: EvaluationSampling, own: dict[str, Any]) -> EvaluationSampling:
    """A dataset's sampling: the section's, but for the keys that it has otherwise."""
    return EvaluationSampling.model_validate(default.model_dump() | own)
