"""Section `split`: how a dataset without sides of its own is cut."""

from typing import Self

from pydantic import Field, model_validator

from smolmath.params.core import Strict


class SplitParams(Strict):
    seed: int = Field(ge=0)
    validation_fraction: float = Field(ge=0, lt=1)
    test_fraction: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _leaves_train(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"{self.validation_fraction} + test_fraction {self.test_fraction} leave nothing to "
                "train on: validation_fraction and test_fraction must add up to less than 1."
            )
        return self
