"""Section `datasets`: where problems come from, and how their columns are read."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from smolmath.params.core import ParamsError, Strict, listing, lookup, nearest, parse
from smolmath.records import SIDES

SOURCES = "src/smolmath/data/sources"
# Of smolmath.data.layouts.LAYOUTS, in its order.
LAYOUT_NAMES = ("reasoning_gym", "openr1", "boxed", "mawps", "gsm8k", "instruction")
ROLES = ("question", "reference_answer", "reasoning", "choices", "source", "level", "variant_of")  # of a problem
# Beside the roles, with a layout: the columns that it reads.
_OWN = (
    "problem", "answer", "solution", "body", "instruction", "input", "output", "metadata",
    "Question", "Numbers", "Answer",
)  # fmt: skip


class DatasetParams(Strict):
    """What every dataset has, whatever its source."""

    path: str = Field(min_length=1)  # the one DVC dep of the fetch stage; never a list, never `../x` (lost in --temp)
    layout: str | None = None  # how a row is read, one of LAYOUT_NAMES; null: detected from the columns
    # One of ROLES -> its column in the file: a name, a path (`reward_model.ground_truth`, `prompt[0].content`), or
    # several that are joined by a space. Without a layout each is read by itself.
    columns: dict[str, str | list[str]] | None = None
    use: Literal["test"] | None = None  # test: all of it is tested on, whatever its sides are called

    @field_validator("layout")
    @classmethod
    def _known_layout(cls, layout: str | None) -> str | None:
        if layout is not None and layout not in LAYOUT_NAMES:
            raise ValueError(
                f"layout {layout!r} does not exist.{nearest(layout, LAYOUT_NAMES)} Allowed: {listing(LAYOUT_NAMES)}."
            )
        return layout

    @model_validator(mode="after")
    def _known_columns(self) -> Self:
        allowed = ROLES if self.layout is None else ROLES + _OWN
        for ours, theirs in (self.columns or {}).items():
            if ours not in allowed:
                raise ValueError(f"columns.{ours}: unknown.{nearest(ours, allowed)} Allowed: {listing(allowed)}.")
            if not theirs or not all(theirs):
                raise ValueError(f"columns.{ours}: {theirs!r} names no column of the file.")
        if self.columns is not None and self.layout is None:
            for ours in ("question", "reference_answer"):
                if ours not in self.columns:
                    raise ValueError(f"columns must say which column holds the {ours}.")
        return self

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if path.startswith(".."):
            raise ValueError(
                f"{path!r} leaves the repository, and is lost in `dvc exp run --temp`: name it absolutely."
            )
        return path


class HubDataset(DatasetParams):
    """A dataset on the Hugging Face hub; `splits` maps our sides to the dataset's split names."""

    source: Literal["hub"]
    id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    config: str | None = None
    revision: str | None = None
    splits: dict[str, str] = Field(min_length=1)
    path: str = f"{SOURCES}/hub.py"

    _sides = field_validator("splits")(lambda value: _known_sides(value))

    @field_validator("splits")
    @classmethod
    def _each_once(cls, splits: dict[str, str]) -> dict[str, str]:
        if len(set(splits.values())) < len(splits):
            raise ValueError(f"{splits} puts one split on two sides: what is tested would be trained on.")
        return splits


class FilesDataset(DatasetParams):
    """Local parquet, jsonl or csv; `sides` maps our sides to globs inside `path` (absent: one file, sides by hash)."""

    source: Literal["files"]
    sides: dict[str, str] | None = None

    _sides = field_validator("sides")(lambda value: _known_sides(value))


class ReasoningGymDataset(DatasetParams):
    """Problems that a reasoning-gym task generates: `rows` of them, row i seeded by `seed` + i."""

    source: Literal["reasoning_gym"]
    task: str
    rows: int = Field(ge=1)
    seed: int = Field(ge=0)
    options: dict[str, Any] = Field(default_factory=dict)
    path: str = f"{SOURCES}/reasoning_gym.py"


Dataset = HubDataset | FilesDataset | ReasoningGymDataset
_BY_SOURCE: dict[str, type[HubDataset] | type[FilesDataset] | type[ReasoningGymDataset]] = {
    "hub": HubDataset,
    "files": FilesDataset,
    "reasoning_gym": ReasoningGymDataset,
}


def load_dataset_params(params: dict[str, Any], key: str) -> Dataset:
    """`datasets.<key>` as the model of its source. Raises: ParamsError."""
    entry = lookup(params, f"datasets.{key}")
    dotted = f"datasets.{key}"
    source = entry.get("source") if isinstance(entry, dict) else None
    if not isinstance(source, str) or source not in _BY_SOURCE:
        hint = nearest(str(source), _BY_SOURCE)
        raise ParamsError(f"{dotted}.source: {source!r} is no source.{hint} Allowed: {listing(_BY_SOURCE)}.")
    if "path" not in entry:
        example = "the file or folder" if source == "files" else f"{SOURCES}/{source}.py"
        raise ParamsError(f"{dotted}.path: missing. It is what DVC watches for this source: {example}.")
    return parse(entry, dotted, _BY_SOURCE[source])


def _known_sides(value: dict[str, str] | None) -> dict[str, str] | None:
    for side in value or {}:
        if side not in SIDES:
            raise ValueError(f"{side!r} is no side of a split.{nearest(side, SIDES)} Allowed: {listing(SIDES)}.")
    return value
