"""The model card: README.md with the hub's metadata on top, made of what is recorded. One model, one card's bytes."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from smolmath.params.core import lookup_or_none
from smolmath.params.prompt import PromptParams
from smolmath.studies.provenance.show import commit_in_words
from smolmath.studies.provenance.trail import facts_of
from smolmath.studies.wording import METHODS, duration, percent, visible
from smolmath.using.publishing.examples import Example
from smolmath.using.publishing.markdown import code, escaped, fenced
from smolmath.using.publishing.origin import Dataset, Origin, Phase, Result, sampling_of
from smolmath.using.publishing.recipe import public_path
from smolmath.using.publishing.snippets import snippets
from smolmath.using.publishing.yaml import yaml_text

TEMPLATE = "card.md.j2"


@dataclass(frozen=True)
class Subject:
    """What a card is about."""

    called: str  # the hub's id, or the folder's name
    prompt: PromptParams
    knows_prompt: bool  # its chat template adds the system prompt
    parameters: int
    max_completion_tokens: int
    licence: str | None
    in_words_as: str  # where it comes from, for one without an origin
    hub_id: str | None = None  # that it is a copy of
    adapter_base: str | None = None  # of an adapter: the model that it is put on
    example: Example | None = None


def model_card(subject: Subject, origin: Origin | None) -> str:
    """The whole of README.md."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
        finalize=lambda value: visible(value) if isinstance(value, str) else value,
    )  # fmt: skip
    environment.filters |= {
        "md": escaped, "code": code, "fenced": fenced, "duration": duration, "percent": percent, "yaml": yaml_text,
        "thousands": "{:,}".format, "public_path": public_path, "shell": shlex.quote,
    }  # fmt: skip
    text = environment.get_template(TEMPLATE).render(
        subject=subject,
        origin=origin,
        title=subject.called.rstrip("/").split("/")[-1],
        size=size_in_words(subject.parameters),
        methods=methods_in_words(origin) if origin else "",
        sampling=sampling_of(origin),
        per_dataset=(lookup_or_none(origin.recipe, "evaluate.per_dataset") or {}) if origin else {},
        sampled=any(result.found.k for result in origin.results) if origin else False,
        samples=max((result.found.k for result in origin.results), default=0) if origin else 0,
        evaluated=[result.dataset for result in origin.results] if origin else [],
        snippets=snippets(
            subject.called,
            prompt=subject.prompt,
            knows_prompt=subject.knows_prompt,
            question=subject.example.question if subject.example else None,
            max_completion_tokens=subject.max_completion_tokens,
            adapter_base=subject.adapter_base,
        ),
        phase_in_words=phase_in_words,
        interval=interval,
        code_at=commit_in_words(origin.trail.last) if origin else "",
        hardware=hardware(origin) if origin else "",
        packages={name: ", ".join(words) for name, words in facts_of(origin.trail.runs, "packages").items()}
        if origin
        else {},
        hashes=hashes(origin) if origin else {},
        train_seconds=sum(phase.journal["seconds"] for phase in origin.phases if phase.journal) if origin else 0,
    )
    return f"---\n{metadata(subject, origin).to_yaml()}\n---\n\n{text}"


def metadata(subject: Subject, origin: Origin | None) -> ModelCardData:
    """What the hub reads. Ids are named only where they are ids of the hub."""
    base = subject.adapter_base or subject.hub_id or (origin.base.hub_id if origin else None)
    trained = bool(origin and origin.phases)
    methods = [phase.params["method"] for phase in origin.phases] if origin else []
    relation = "adapter" if subject.adapter_base else "finetune" if trained else None
    return ModelCardData(
        license=subject.licence,
        library_name="peft" if subject.adapter_base else "transformers",
        pipeline_tag="text-generation",
        base_model=base if base and not Path(base).is_dir() else None,
        base_model_relation=relation if base and not Path(base).is_dir() else None,
        datasets=(origin.hub_datasets if origin else None) or None,
        tags=["smolmath", "math", "reasoning", *methods, *(["lora"] if subject.adapter_base else [])],
        metrics=["accuracy"] if origin and origin.results else None,
        model_name=subject.called.split("/")[-1] if origin and origin.results else None,
        eval_results=[one for result in origin.results for one in _eval_results(result, origin)] or None
        if origin
        else None,
    )


def _eval_results(result: Result, origin: Origin) -> list[EvalResult]:
    dataset: Dataset = next(one for one in origin.datasets if one.name == result.dataset)
    found = result.found

    def evaluated(name: str, value: float, interval: str) -> EvalResult:
        return EvalResult(
            task_type="text-generation",
            task_name="Math problems",
            dataset_name=dataset.hub_id or dataset.name,
            dataset_type=dataset.hub_id or dataset.name,
            dataset_config=dataset.config,
            dataset_split=dataset.splits.get("test", "test"),
            dataset_revision=dataset.revision,
            metric_type="accuracy",
            metric_value=round(value, 4),
            metric_name=f"{name}, {found.n} problems (95 % interval {interval})",
        )

    results = [evaluated("greedy accuracy", found.accuracy, f"{found.accuracy_low:.4f} to {found.accuracy_high:.4f}")]
    if found.mean_at_k is not None and found.mean_at_k_low is not None and found.mean_at_k_high is not None:
        interval = f"{found.mean_at_k_low:.4f} to {found.mean_at_k_high:.4f}"
        results.append(evaluated(f"sampled accuracy, mean of {found.k}", found.mean_at_k, interval))
    return results


def methods_in_words(origin: Origin) -> str:
    """`GRPO`, `GRPO and SFT`; empty for a base."""
    return " and ".join(dict.fromkeys(METHODS[phase.params["method"]] for phase in origin.phases))


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """`98.8 (96.6–99.6)` of shares, in percent, with a no-break space; or a dash."""
    if value is None or low is None or high is None:
        return "–"
    return f"{100 * value:.1f}\u00a0({100 * low:.1f}–{100 * high:.1f})"


def size_in_words(parameters: int) -> str:
    """`0.9 M`, `135 M`, `1.5 B`."""
    for unit, divisor in (("B", 1e9), ("M", 1e6)):
        if parameters >= 0.1 * divisor:
            number = parameters / divisor
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
    return f"{parameters:,}"


def phase_in_words(phase: Phase) -> str:
    """A phase's settings that a reader asks for first; the recipe has them all."""
    params, method = phase.params, phase.params["method"]
    settings = params[method]
    words = []
    if phase.journal and "steps" in phase.journal:
        words.append(f"{phase.journal['steps']} steps")
        if phase.journal.get("published_step") not in (None, phase.journal["steps"]):
            words.append(f"the model of step {phase.journal['published_step']}, the best on the validation side")
    if method == "grpo":
        words.append(f"{params['prompts_per_step']} prompts × {settings['num_generations']} completions a step")
        weights = {name: r["weight"] if isinstance(r, Mapping) else r for name, r in params["rewards"].items()}
        words.append("rewards " + " + ".join(f"{weight:g} × {name}" for name, weight in weights.items() if weight))
    else:
        words.append(f"{params['examples_per_step']} worked solutions a step")
    if "learning_rate" in settings:
        words.append(f"learning rate {settings['learning_rate']:g}")
    if lora := params.get("lora"):
        words.append(f"LoRA r {lora['r']}, alpha {lora['alpha']} on {', '.join(lora['target_modules'])}")
    return "; ".join(words)


def hardware(origin: Origin) -> str:
    """The machine of the trainings; empty if the journal has none of them."""
    runs = [run for run in origin.trail.runs if run.recorded.stage.startswith("train@")]
    facts = facts_of(runs, "machine")
    device = facts.get("gpu") or facts.get("cpu") or []
    watt_hours = sum((run.journal or {}).get("energy_wh") or 0 for run in runs)
    words = [" and ".join(device)] if device else []
    if device and not facts.get("gpu"):
        words.append(f"{' or '.join(facts.get('cores', ['?']))} cores")
    return ", ".join([*words, *([f"{watt_hours:.1f} Wh"] if watt_hours else [])])


def hashes(origin: Origin) -> dict[str, str]:
    """What the trail depends on and what it gave: path -> DVC's hash, of data and models."""
    found: dict[str, str] = {}
    for run in origin.trail.runs:
        found |= {out: md5 for out, md5 in run.recorded.outs.items() if out.startswith(("data/", "models/"))}
    return found
