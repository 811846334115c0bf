"""The whole of params.yaml at once: every section's own rules, then what sections say of each other."""

import inspect
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from smolmath.params.core import (
    KEY,
    ParamsError,
    Strict,
    flat,
    listing,
    load_section,
    lookup_or_none,
    nearest,
    read_params,
)
from smolmath.params.datasets import FilesDataset, load_dataset_params
from smolmath.params.difficulty import DifficultyParams
from smolmath.params.evaluate import EvaluateParams
from smolmath.params.model import FilesModel, ShippedModel, load_model_params
from smolmath.params.phases import GrpoPhase, Phase, load_phase_params
from smolmath.params.process import ProcessParams
from smolmath.params.prompt import PromptParams
from smolmath.params.split import SplitParams
from smolmath.params.trl_fields import check_trl_fields
from smolmath.rewards.grpo.rewards import reward_functions
from smolmath.running.graph import load_stages
from smolmath.running.params import HardwareParams, TrackingParams

_PLAIN: dict[str, type[Strict]] = {
    "process": ProcessParams,
    "split": SplitParams,
    "prompt": PromptParams,
    "evaluate": EvaluateParams,
    "tracking": TrackingParams,
    "hardware": HardwareParams,
}
_OF_SAMPLES = re.compile(r"\b(?:pass|maj|mean)(?:@|_at_)\w+(?=$|\.)")
SECTIONS = ("seed", "datasets", "model", "difficulty", "phases", *_PLAIN)
# DVC takes a tracked group that holds one of these keys for a file's metadata and restores stale outs (DVC #10296).
_UNSAFE_KEYS = ("size", "nfiles")
# Of the most to the least that a reward gives, whether the answer is right or not; a reward of one's own: unknown.
SPANS = {
    **dict.fromkeys(("integer", "strict_format", "soft_format", "reasoning_steps", "tag_count", "overlong"), 1.0),
    "xml_count": 4.0,
}


def check_params(params: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the file, a line per mistake; empty when it is sound.

    Looks at params.yaml and at which local paths exist, and reads no data.
    """
    mistakes: list[str] = []

    def attempt(action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except ParamsError as error:
            mistakes.extend(str(error).splitlines())
            return None

    for name in params:
        if name not in SECTIONS:
            mistakes.append(f"{name}: unknown section.{nearest(name, SECTIONS)} Allowed: {listing(SECTIONS)}.")
    missing = [name for name in SECTIONS if name not in params]
    mistakes += [f"{name}: section missing. recipes/demo.yaml has an example." for name in missing]
    mistakes += _unsafe(params, "")
    if missing:
        return mistakes
    if type(params["seed"]) is not int or params["seed"] < 0:
        mistakes.append(f"seed: {params['seed']!r} is not allowed: it must be a whole number, 0 or more.")

    plain = {name: attempt(load_section, params, name, _PLAIN[name]) for name in _PLAIN}
    datasets = _entries(params, "datasets", mistakes)
    phases = _entries(params, "phases", mistakes)
    difficulty = _entries(params, "difficulty", mistakes, may_be_empty=True)
    for key in datasets:
        entry = attempt(load_dataset_params, dict(params), key)
        if isinstance(entry, FilesDataset):
            mistakes += _missing_path(f"datasets.{key}.path", entry.path)
    for key in difficulty:
        if rated := attempt(load_section, params, f"difficulty.{key}", DifficultyParams):
            mistakes += _unknown_names(f"difficulty.{key}.dataset", [rated.dataset], datasets, "no dataset")
            mistakes += _tested_only(f"difficulty.{key}.dataset", rated.dataset, params)
            mistakes += _unknown_names(f"difficulty.{key}.model", [rated.model], ["base", *phases], "no phase")
        if key in datasets:
            mistakes.append(f"difficulty.{key}: a dataset has this name, and both are split into data/split/{key}.")
    if process := plain["process"]:
        against = process.contamination.dataset
        mistakes += _unknown_names("process.contamination.dataset", [against], datasets, "no dataset")
    model = attempt(load_model_params, dict(params))
    if isinstance(model, FilesModel | ShippedModel):
        mistakes += _missing_model(model.path)
    loaded = {name: attempt(load_phase_params, dict(params), name) for name in phases}
    for name, phase in loaded.items():
        if phase is not None:
            attempt(check_trl_fields, phase.method, getattr(phase, phase.method), f"phases.{name}")
            mistakes += _phase_mistakes(name, phase, params)
            mistakes += _batch_mistakes(name, phase, plain["hardware"])
            mistakes += _step_mistakes(name, phase)
            mistakes += _prompt_mistakes(name, phase, params) if isinstance(phase, GrpoPhase) else []
    mistakes += _circles(phases, difficulty)
    mistakes += _made_of_samples(params["evaluate"])
    if evaluate := plain["evaluate"]:
        for dataset in evaluate.datasets:
            if evaluate.sampling_of(dataset).shots:
                mistakes += _tested_only(f"evaluate: shots for {dataset}", dataset, params)
        mistakes += _unknown_names("evaluate.models", evaluate.models, ["base", *phases], "no phase")
        mistakes += _unknown_names("evaluate.datasets", evaluate.datasets, datasets, "no dataset")
        pairs = [f"{model}-{dataset}" for model in evaluate.models for dataset in evaluate.datasets]
        if doubled := sorted({pair for pair in pairs if pairs.count(pair) > 1}):
            mistakes.append(f"evaluate: {listing(doubled)} would name two stages. Name a phase or dataset otherwise.")
    if not mistakes and Path("dvc.yaml").exists():
        for name, phase in loaded.items():
            mistakes += _unwatched_rewards(name, phase, params) if isinstance(phase, GrpoPhase) else []
    return mistakes


def check_file(path: Path = Path("params.yaml")) -> list[str]:
    """Everything that is wrong with a params file, as DVC must read it, too.

    Raises: ParamsError if it cannot be read at all.
    """
    return [*check_params(read_params(path)), *_unwritable(path)]


def _unwritable(path: Path) -> list[str]:
    """What `dvc exp run -S` would leave unreadable: it writes the file anew, and DVC's parser is stricter than that.

    In a flow mapping, `{a: b:c}`, it takes no colon in a bare word, and what was quoted is written bare.
    """
    rewritten = io.StringIO()
    writer = YAML()  # as dvc.utils.serialize has it
    writer.default_flow_style = False
    writer.dump(writer.load(path.read_text(encoding="utf-8")), rewritten)
    try:
        YAML(typ="safe").load(rewritten.getvalue())
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = rewritten.getvalue().splitlines()[mark.line].strip() if mark else ""
        return [
            f"{line!r}: DVC cannot read this again once `dvc exp run -S` has rewritten the file "
            f"({error.problem or error.context}). Write the mapping or list a key or an entry a line, without braces."
        ]
    return []


def warnings(params: Mapping[str, Any]) -> list[str]:
    """What is allowed and seldom meant, a line each, of params without mistakes."""
    phases = {name: load_phase_params(dict(params), name) for name in params["phases"]}
    return [
        line for name, phase in phases.items() if isinstance(phase, GrpoPhase) for line in _outweighed(name, phase)
    ]


def _outweighed(name: str, phase: GrpoPhase) -> list[str]:
    """Rewards that together pay as much as being right does: a wrong answer in good form may then earn more."""
    right = others = 0.0
    for reward, weight in phase.reward_weights.items():
        options = phase.reward_options[reward]
        if reward == "correctness":
            right += weight
        elif reward == "cosine_length":  # what a long right answer earns above the best wrong one
            right += weight * (min(options["correct"]) - max(options["wrong"]))
        elif reward == "repetition_penalty":
            others += abs(weight * options["max_penalty"])
        else:
            others += abs(weight) * SPANS.get(reward, 0.0)
    if others < right or not others:
        return []
    return [
        f"phases.{name}.rewards: those beside correctness can pay {others:g} together, and being right {right:g}: a "
        "wrong answer in good form may earn more than a right one. Lower their weights, e.g. to a tenth of it."
    ]


def _entries(
    params: Mapping[str, Any], section: str, mistakes: list[str], *, may_be_empty: bool = False
) -> Mapping[str, Any]:
    entries = params[section]
    if not isinstance(entries, Mapping) or not (entries or may_be_empty):
        mistakes.append(f"{section}: holds no entries. recipes/demo.yaml has an example.")
        return {}
    for key in entries:
        if not re.fullmatch(KEY, str(key)) or (section == "phases" and key == "base"):
            rule = "lower-case letters, digits, _ and -, beginning with a letter"
            rule += "; `base` is the model before the first phase" if section == "phases" else ""
            mistakes.append(f"{section}.{key}: not a usable name. Allowed: {rule}.")
    return entries


def _phase_mistakes(name: str, phase: Phase, params: Mapping[str, Any]) -> list[str]:
    phases = ["base", *params["phases"]]
    known = [*params["datasets"], *params["difficulty"]]
    mistakes = _unknown_names(f"phases.{name}.dataset", [phase.dataset], known, "no dataset")
    mistakes += _tested_only(f"phases.{name}.dataset", phase.dataset, params)
    if phase.pass_rate is not None and phase.dataset in params["datasets"]:
        mistakes.append(
            f"phases.{name}.pass_rate: the problems of dataset {phase.dataset!r} have no pass rates. Rate them in an "
            "entry of `difficulty` and name that as the dataset, or set pass_rate to null."
        )
    mistakes += _unknown_names(f"phases.{name}.init", [phase.init], phases, "neither base nor a phase")
    if isinstance(phase, GrpoPhase):
        try:
            reward_functions(phase.reward_options)
        except ValueError as error:
            mistakes.append(f"phases.{name}.rewards: {error}")
    return mistakes


def _tested_only(dotted: str, dataset: str, params: Mapping[str, Any]) -> list[str]:
    entry = params["datasets"].get(dataset)
    if not (isinstance(entry, Mapping) and entry.get("use") == "test"):
        return []
    return [
        f"{dotted}: dataset {dataset!r} is there to be tested on (`use: test`): it has no train side. Name another."
    ]


def _made_of_samples(evaluate: Any) -> list[str]:
    """Metrics of k samples that somebody asks for by name: they are always there, and `samples` says of how many."""
    asked = [key for key in (flat(evaluate) if isinstance(evaluate, Mapping) else {}) if _OF_SAMPLES.search(key)]
    return [
        f"evaluate.{key}: pass@k, maj@k and mean@k are made of `samples` completions, for every k up to there; with 0 "
        "there is the greedy one alone. For pass@8 write samples: 8."
        for key in asked
    ]


def _unwatched_rewards(name: str, phase: GrpoPhase, params: Mapping[str, Any]) -> list[str]:
    """Rewards of one's own in this project that the train stage does not depend on: an edit would rerun nothing."""
    deps = [Path(dep).resolve() for dep in load_stages(params)[f"train@{name}"].deps]
    mistakes = []
    functions: list[Any] = reward_functions(phase.reward_options)
    for key, function in zip(phase.rewards, functions, strict=True):
        source = Path(inspect.getsourcefile(function.func) or "").resolve()
        inside = source.is_relative_to(Path.cwd()) and "site-packages" not in source.parts
        if inside and not any(source.is_relative_to(dep) for dep in deps):
            path = source.relative_to(Path.cwd())
            mistakes.append(
                f"phases.{name}.rewards: {key!r} is read from {path}, which the train stage does not depend on, so an "
                f"edit would rerun nothing. Add {path} to train's deps in dvc.yaml, or move it to "
                "src/smolmath/rewards/grpo."
            )
    return mistakes


def _batch_mistakes(name: str, phase: Phase, hardware: HardwareParams | None) -> list[str]:
    """The step's sequences must divide into passes of hardware.micro_batch."""
    if hardware is None or hardware.micro_batch is None:
        return []
    if isinstance(phase, GrpoPhase):
        generations = int(phase.grpo["num_generations"])
        step, made_of = (
            phase.completions_per_step,
            f"prompts_per_step {phase.prompts_per_step} × num_generations {generations}",
        )
    else:
        step, made_of = phase.examples_per_step, "examples_per_step"
    if step % min(hardware.micro_batch, step) == 0:
        return []
    fitting = [str(n) for n in range(1, step + 1) if step % n == 0]
    return [
        f"phases.{name}: a step has {step} sequences ({made_of}), which hardware.micro_batch {hardware.micro_batch} "
        f"does not divide. Change num_generations or the step, or set micro_batch to one of {', '.join(fitting)}."
    ]


def _step_mistakes(name: str, phase: Phase) -> list[str]:
    """Steps are counted by max_steps, and checkpoints fall on generation boundaries, or a resumed run would differ."""
    fields = phase.grpo if isinstance(phase, GrpoPhase) else phase.sft
    mistakes = []
    steps = fields.get("max_steps")
    if type(steps) is not int or steps < 1:
        mistakes.append(f"phases.{name}.{phase.method}.max_steps: {steps!r} is not allowed: set the number of steps.")
    every, reused = fields.get("steps_per_generation", 1), fields.get("num_iterations", 1)
    if type(every) is int and type(reused) is int and phase.checkpoint_steps % max(1, every * reused):
        mistakes.append(
            f"phases.{name}.checkpoint_steps: {phase.checkpoint_steps} is no multiple of steps_per_generation × "
            f"num_iterations = {every * reused}: a resumed run would differ from an undisturbed one."
        )
    return mistakes


def _prompt_mistakes(name: str, phase: GrpoPhase, params: Mapping[str, Any]) -> list[str]:
    """A generation needs its prompts, and others beside them where some give their places up."""
    if type(phase.grpo.get("steps_per_generation", 1)) is not int:
        return []  # said elsewhere
    rated = lookup_or_none(params, f"difficulty.{phase.dataset}.dataset")
    bounds = ["process.limit", f"datasets.{rated or phase.dataset}.rows"]
    bounds += [f"difficulty.{phase.dataset}.problems"] if phase.pass_rate is not None else []
    asked, key = phase.prompts_per_generation, phase.needs_others
    mistakes = []
    for dotted in bounds:
        most = lookup_or_none(params, dotted)
        if type(most) is int and most < asked + bool(key):
            mistakes.append(
                f"phases.{name}: one generation asks {asked} prompts (prompts_per_step × grpo.steps_per_generation)"
                f"{f', {key} needs others beside them' if key else ''}, and {dotted} allows {most} problems. Raise "
                "that, or lower prompts_per_step."
            )
    return mistakes


def _circles(phases: Mapping[str, Any], difficulty: Mapping[str, Any]) -> list[str]:
    """Phases that need themselves: through `init`, or a dataset that is rated by what it is to train."""

    def needs(name: str) -> list[str]:
        phase = phases[name] if isinstance(phases[name], Mapping) else {}
        rated = difficulty.get(str(phase.get("dataset")))
        models = [phase.get("init"), rated.get("model") if isinstance(rated, Mapping) else None]
        return [model for model in map(str, models) if model in phases]

    def circle_from(path: list[str]) -> list[str] | None:
        for following in needs(path[-1]):
            if following == path[0]:
                return [*path, following]
            if following not in path and (found := circle_from([*path, following])):
                return found
        return None

    mistakes = []
    order = list(phases)
    for name in order:
        chain = circle_from([name])
        # Named once, at its first member in the file.
        if chain and name == min(chain, key=order.index):
            mistakes.append(
                f"phases.{name}.init: the phases form a circle ({' → '.join(chain)}). Let one start from base."
                + (" A dataset must be rated by a model that is trained before." if difficulty else "")
            )
    return mistakes


def _unknown_names(dotted: str, names: list[str], known: list[str] | Mapping[str, Any], what: str) -> list[str]:
    return [
        f"{dotted}: {name!r} is {what}.{nearest(name, known)} Known: {listing(known)}."
        for name in names
        if name not in known
    ]


def _missing_path(dotted: str, path: str) -> list[str]:
    if Path(path).exists():
        return []
    return [f"{dotted}: {path} does not exist. Name a file or folder of parquet, jsonl or csv."]


def _missing_model(path: str) -> list[str]:
    folder = Path(path)
    if not folder.is_dir():
        return [f"model.path: the model directory {path} does not exist. It must hold config.json and *.safetensors."]
    lacking = [name for name in ("config.json", "tokenizer_config.json") if not (folder / name).is_file()]
    lacking += [] if list(folder.glob("*.safetensors")) else ["*.safetensors"]
    if lacking:
        return [f"model.path: {path} is no model directory: it lacks {listing(lacking)}."]
    return []


def _unsafe(value: Any, dotted: str) -> list[str]:
    if not isinstance(value, Mapping):
        return []
    mistakes = []
    for key, inner in value.items():
        here = f"{dotted}.{key}" if dotted else str(key)
        if key in _UNSAFE_KEYS:
            mistakes.append(f"{here}: the key {key!r} makes DVC restore stale results (DVC #10296). Use another name.")
        mistakes += _unsafe(inner, here)
    return mistakes
