"""What a stage depends on, read from dvc.yaml: the one list of deps, params and outs.

DVC resolves its own templates when it runs a stage; a stage needs the same answer to fingerprint its inputs, and
importing DVC for that would cost a second per stage. Only the templates that dvc.yaml uses are known here; a test
holds every stage against DVC's own resolver.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smolmath.params.core import ParamsError, lookup

_TEMPLATE = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True)
class Stage:
    """One stage with its templates filled in. `name` is DVC's address, e.g. `train@sums`."""

    name: str
    cmd: str
    deps: tuple[str, ...]  # paths
    params: tuple[str, ...]  # dotted keys of params.yaml
    outs: tuple[str, ...]  # paths: outs, metrics and plots


def load_stages(params: Mapping[str, Any], dvc_yaml: Path | str = "dvc.yaml") -> dict[str, Stage]:
    """Every stage of dvc.yaml by address, foreach and matrix unrolled."""
    return stages_of(Path(dvc_yaml).read_text(encoding="utf-8"), params)


def stages_of(dvc_yaml: str, params: Mapping[str, Any]) -> dict[str, Stage]:
    """Likewise, of dvc.yaml's text. Raises: ParamsError if it is broken, or the params lack what it names."""
    stages: dict[str, Stage] = {}
    for name, body in _bodies(dvc_yaml).items():
        for address, template, scope in _unrolled(name, body, params):
            stages[address] = Stage(
                name=address,
                cmd=_fill(template["cmd"], scope),
                deps=tuple(_fill(dep, scope) for dep in template.get("deps", [])),
                params=tuple(_fill(key, scope) for key in template.get("params", [])),
                outs=tuple(_fill(out, scope) for out in _outs(template)),
            )
    return stages


def out_patterns(dvc_yaml: Path | str = "dvc.yaml") -> list[str]:
    """The outs of every stage as globs, whatever the params: `models/*`, `metrics/eval/*/*.json`."""
    bodies = _bodies(Path(dvc_yaml).read_text(encoding="utf-8")).values()
    return [_TEMPLATE.sub("*", out) for body in bodies for out in _outs(body.get("do", body)) if _TEMPLATE.search(out)]


def _bodies(dvc_yaml: str) -> dict[str, Any]:
    """Stage -> its body as written. Raises: ParamsError."""
    try:
        bodies = YAML(typ="safe").load(dvc_yaml)["stages"]
    except (YAMLError, KeyError, TypeError):
        bodies = None
    if not isinstance(bodies, dict) or not all(isinstance(body, dict) for body in bodies.values()):
        raise ParamsError("dvc.yaml holds no stages: settle its merge, or put it back: git checkout dvc.yaml.")
    return bodies


def _outs(template: Mapping[str, Any]) -> list[str]:
    """Paths of its outs, metrics and plots."""
    return [
        next(iter(out)) if isinstance(out, Mapping) else out
        for kind in ("outs", "metrics", "plots")
        for out in template.get(kind, [])
    ]


def _unrolled(
    name: str, body: Mapping[str, Any], params: Mapping[str, Any]
) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """(address, template, names in scope) for each instance of one entry of dvc.yaml."""
    if "foreach" in body:
        items = lookup(params, _TEMPLATE.fullmatch(body["foreach"])[1])  # type: ignore[index]  # a foreach is a template
        return [(f"{name}@{key}", body["do"], {**params, "key": key, "item": item}) for key, item in items.items()]
    if "matrix" in body:
        axes = {axis: lookup(params, _TEMPLATE.fullmatch(source)[1]) for axis, source in body["matrix"].items()}  # type: ignore[index]  # likewise
        return [
            (f"{name}@{'-'.join(map(str, values))}", body, {**params, "item": dict(zip(axes, values, strict=True))})
            for values in itertools.product(*axes.values())
        ]
    return [(name, body, params)]


def _fill(template: str, scope: Mapping[str, Any]) -> str:
    return _TEMPLATE.sub(lambda found: str(lookup(scope, found[1])), template)
