"""Section `model`: the base model that the first phase starts from."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from smolmath.params.core import ParamsError, Strict, listing, lookup, nearest, parse


class ModelParams(Strict):
    path: str = Field(min_length=1)  # the one DVC dep of the base stage
    dtype: Literal["float32", "bfloat16", "float16"]  # of the weights, in training and generation

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if path.startswith(".."):
            raise ValueError(
                f"{path!r} leaves the repository, and is lost in `dvc exp run --temp`: name it absolutely."
            )
        return path


class HubModel(ModelParams):
    source: Literal["hub"]
    id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str | None = None


class FilesModel(ModelParams):
    """A model directory in Hugging Face layout on this machine."""

    source: Literal["files"]


class ShippedModel(ModelParams):
    """A model of this repository: bases/<name>, made by bases/<name>/make.py."""

    source: Literal["shipped"]
    name: str

    @model_validator(mode="after")
    def _path_of_name(self) -> Self:
        if self.path != f"bases/{self.name}":
            raise ValueError(f"path {self.path!r} is not the shipped model's: write path: bases/{self.name}")
        return self


Model = HubModel | FilesModel | ShippedModel
_BY_SOURCE: dict[str, type[HubModel] | type[FilesModel] | type[ShippedModel]] = {
    "hub": HubModel,
    "files": FilesModel,
    "shipped": ShippedModel,
}


def load_model_params(params: dict[str, Any]) -> Model:
    """Section `model` as the model of its source. Raises: ParamsError."""
    entry = lookup(params, "model")
    source = entry.get("source") if isinstance(entry, dict) else None
    if not isinstance(source, str) or source not in _BY_SOURCE:
        hint = nearest(str(source), _BY_SOURCE)
        raise ParamsError(f"model.source: {source!r} is no source.{hint} Allowed: {listing(_BY_SOURCE)}.")
    return parse(entry, "model", _BY_SOURCE[source])
