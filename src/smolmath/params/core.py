"""How params.yaml is read: YAML 1.2, frozen models that know every key, errors that name the dotted key.

A key that is not known, a value of a wrong type or out of range stops a run before any work; the message says where
it is, what it holds, what is allowed, and which known key is nearest.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from smolmath.errors import SmolmathError

KEY = r"[a-z][a-z0-9_-]*"


class ParamsError(SmolmathError):
    """Something in params.yaml that a person must change; the message is complete and needs no traceback."""


class Strict(BaseModel):
    """Base of every params model: no unknown keys, no silent conversion ("3" is not 3), no inf, no change later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)


def read_params(path: Path | str = "params.yaml") -> dict[str, Any]:
    """The whole file as plain dicts and lists, read as DVC reads it (YAML 1.2: `1e-06` is a number).

    Raises: ParamsError if the file is missing, not YAML, or not a mapping.
    """
    path, text = Path(path), ""
    try:
        text = path.read_text(encoding="utf-8")
        loaded = YAML(typ="safe", pure=True).load(text)
    except FileNotFoundError:
        raise ParamsError(
            f"{path} does not exist. Start from a recipe: smolmath recipe use demo (or copy one from recipes/)."
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        if re.search("^<<<<<<< ", text, re.M):
            raise ParamsError(f"{place}: a merge is not settled: choose among its lines (docs/merging.md).") from None
        raise ParamsError(f"{place}: not valid YAML: {error.problem or error.context}.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise ParamsError(f"{path} holds no mapping of sections. Compare it with recipes/demo.yaml.")
    return loaded


def lookup(params: Mapping[str, Any], dotted: str) -> Any:
    """The value at `a.b.c`. Raises: ParamsError naming the first part that is missing, and what is there instead."""
    value: Any = params
    parts = dotted.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(value, Mapping) or part not in value:
            where = ".".join(parts[:depth]) or "params.yaml"
            known = list(value) if isinstance(value, Mapping) else []
            raise ParamsError(f"{'.'.join(parts[: depth + 1])} is missing. {where} holds: {listing(known)}.")
        value = value[part]
    return value


def lookup_or_none(params: Mapping[str, Any], dotted: str) -> Any:
    """The value at `a.b.c`; None if there is none."""
    try:
        return lookup(params, dotted)
    except ParamsError:
        return None


def flat(value: Any, dotted: str = "") -> dict[str, str]:
    """Dotted key -> value as text, of every key that holds no mapping of its own."""
    if isinstance(value, Mapping) and value:
        return {
            k: v for key, inner in value.items() for k, v in flat(inner, f"{dotted}.{key}" if dotted else key).items()
        }
    return {dotted: str(value)}


def load_section(params: Mapping[str, Any], dotted: str, model: type[M]) -> M:
    """The section at `dotted` as `model`. Raises: ParamsError with one line per mistake."""
    return parse(lookup(params, dotted), dotted, model)


def parse(value: Any, dotted: str, model: type[M]) -> M:
    """`value` as `model`, whose keys are named `dotted.…` in errors."""
    if not isinstance(value, Mapping):
        raise ParamsError(f"{dotted}: {value!r} is not a mapping. Allowed keys: {listing(model.model_fields)}.")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ParamsError("\n".join(sorted({_explain(e, dotted, model, value) for e in error.errors()}))) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for a typo, else the empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def listing(names: Iterable[str]) -> str:
    """`a, b, c`, or `nothing`."""
    return ", ".join(sorted(str(name) for name in names)) or "nothing"


def _explain(error: ErrorDetails, dotted: str, model: type[BaseModel], value: Any) -> str:
    location = [str(part) for part in error["loc"]]
    key = ".".join([dotted, *location])
    if error["type"] == "extra_forbidden":
        known = list(_fields_at(model, location[:-1]))
        return f"{key}: unknown key.{nearest(location[-1], known)} Allowed: {listing(known)}."
    if error["type"] == "missing":
        return f"{key}: missing. Add it; recipes/demo.yaml has an example."
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    return f"{key}: {error['input']!r} is not allowed: {error['msg'][0].lower()}{error['msg'][1:]}."


def _fields_at(model: type[BaseModel], path: list[str]) -> Iterable[str]:
    for part in path:
        field = model.model_fields.get(part)
        inner = [t for t in _types(field.annotation) if issubclass(t, BaseModel)] if field else []
        if not inner:
            return []
        model = inner[0]
    return model.model_fields


def _types(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [t for argument in getattr(annotation, "__args__", ()) for t in _types(argument)]
