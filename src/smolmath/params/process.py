"""Section `process`: which rows of a raw dataset become problems, and what worked solution they get."""

import unicodedata
from functools import lru_cache
from typing import Literal

from pydantic import Field, field_validator

from smolmath.params.core import Strict, nearest


class ContaminationParams(Strict):
    """Rows that may be trained on and share n-grams with another dataset's problems are rejected."""

    dataset: str  # key in `datasets`; one string, so that it can be a DVC dep; never compared with itself
    ngram: int | None = Field(ge=3)  # words in a row, 8 or 13 as a rule; null: nothing is compared
    share: float = Field(gt=0, le=1)  # of a question's n-grams that must be found to reject it


class ProcessParams(Strict):
    shard_rows: int = Field(ge=1)  # rows per shard-XXXXX.parquet
    fraction: float = Field(gt=0, le=1)  # of rows that may be trained on, by hash: a larger one contains the smaller
    limit: int | None = Field(ge=1)  # at most this many problems per side, lowest hash first; null: all
    trace: Literal["shortest", "first", "solution"]  # OpenR1: which verified generation, or the human solution
    max_row_chars: int = Field(ge=1)  # of all text read of a row; longer rows are `row_too_long`
    question_chars: list[int] = Field(min_length=2, max_length=2)  # [least, most], else `question_too_short`, `…_long`
    max_question_tokens: int | None = Field(ge=1)  # counted by `tokenizer`; null: not counted
    tokenizer: str = Field(min_length=1)  # a tokenizer.json: a DVC dep, so that another one runs this again
    control_characters: Literal["reject", "remove"]  # remove: what only can't be seen; control codes are faults
    mojibake: Literal["reject", "keep"]  # text that was read in the wrong encoding
    scripts: list[str] | None  # whose letters a question may hold, e.g. [LATIN, GREEK]; null: any
    multiple_choice: Literal["keep", "drop", "resolve"]  # a letter as reference; resolve: to its option's text
    near_duplicates: float | None = Field(
        gt=0, le=0.99
    )  # similarity of two wordings of one problem; null: none dropped
    contamination: ContaminationParams

    @field_validator("question_chars")
    @classmethod
    def _in_order(cls, bounds: list[int]) -> list[int]:
        if not 1 <= bounds[0] <= bounds[1]:
            raise ValueError(f"{bounds} is no range: write [least, most], with 1 ≤ least ≤ most.")
        return bounds

    @field_validator("scripts")
    @classmethod
    def _are_scripts(cls, scripts: list[str] | None) -> list[str] | None:
        for script in scripts or []:
            if script not in _known_scripts():
                raise ValueError(f"{script!r} is no script of Unicode.{nearest(script.upper(), _known_scripts())}")
        return scripts


@lru_cache(maxsize=1)
def _known_scripts() -> frozenset[str]:
    """The first words of the names of all letters of the basic plane: LATIN, GREEK, CJK, …"""
    letters = (chr(code) for code in range(0x10000))
    return frozenset(unicodedata.name(c).split()[0] for c in letters if c.isalpha())
