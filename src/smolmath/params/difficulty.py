"""Section `difficulty`: train problems rated by how often a model solves them.

An entry is a dataset for phases: the same split, with a pass rate for each train problem, so that `pass_rate` of a
phase can leave out what is too easy or too hard to learn from.
"""

from pydantic import Field

from smolmath.params.evaluate import SamplingParams


class DifficultyParams(SamplingParams):
    """`problems` and the rest as in `evaluate.sampling`, of the train side."""

    dataset: str  # whose train side is rated
    model: str  # `base` or a phase
    samples: int = Field(ge=1)  # completions per problem; the pass rate is the share that is right
