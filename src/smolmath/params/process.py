"""Section `process`: which rows of a raw dataset become problems."""

from pydantic import Field

from smolmath.params.core import Strict


class ProcessParams(Strict):
    shard_rows: int = Field(ge=1)  # rows per shard-XXXXX.parquet
    max_question_chars: int = Field(ge=1)  # longer questions are rejected as `question_too_long`
    fraction: float = Field(gt=0, le=1)  # share of rows to select, by hash: a larger fraction contains the smaller one
    limit: int | None = Field(ge=1)  # at most this many problems per side, lowest hash first; null: all
