"""The fields of the installed TRL's SFTConfig and GRPOConfig, with their types, read without importing TRL.

`import trl` takes seven seconds, which `smolmath check` must not; the configs are dataclasses, so their source says
everything. Fields that smolmath derives from other keys are owned: they are refused here, with the right key named.
"""

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from smolmath.params.core import ParamsError, listing, nearest

_SOURCES = {
    "sft": ("trl", "trainer/sft_config.py", "SFTConfig"),
    "grpo": ("trl", "trainer/grpo_config.py", "GRPOConfig"),
}
_BASES = [("trl", "trainer/base_config.py", "_BaseConfig"), ("transformers", "training_args.py", "TrainingArguments")]

_SMOLMATH_DECIDES = "nothing: smolmath sets it"
OWNED: dict[str, str] = {
    "num_train_epochs": "max_steps: epochs depend on what was filtered",
    "output_dir": "nothing: state lies under .work",
    "per_device_train_batch_size": "hardware.micro_batch, prompts_per_step or examples_per_step",
    "gradient_accumulation_steps": "hardware.micro_batch, prompts_per_step or examples_per_step",
    "generation_batch_size": "prompts_per_step and grpo.steps_per_generation",
    "auto_find_batch_size": "hardware.micro_batch",
    "seed": "seed, at the top of params.yaml",
    "data_seed": "seed, at the top of params.yaml",
    "bf16": "model.dtype",
    "fp16": "model.dtype",
    "use_cpu": "hardware.device",
    "use_vllm": "hardware.vllm",
    "reward_weights": "the phase's rewards",
    "report_to": "tracking.wandb",
    "run_name": "tracking",
    "project": "tracking.project",
    "save_steps": "the phase's checkpoint_steps",
    "model_init_kwargs": "model.dtype",
    "trust_remote_code": "nothing: code of a model is never run",
    "resume_from_checkpoint": "nothing: a killed run goes on by itself",
    "sync_ref_model": "nothing: no checkpoint holds the synced reference, so a resumed run would differ",
    "chat_template_kwargs": "prompt.chat_template_kwargs: every stage renders prompts alike",
    **dict.fromkeys(
        ["eval_strategy", "eval_steps", "eval_on_start", "load_best_model_at_end", "metric_for_best_model"],
        "the phase's validation",
    ),
    **dict.fromkeys(
        [
            "save_strategy",
            "save_total_limit",
            "save_only_model",
            "logging_steps",
            "logging_strategy",
            "disable_tqdm",
            "logging_nan_inf_filter",
        ],
        _SMOLMATH_DECIDES,
    ),
    **dict.fromkeys(["do_train", "do_eval", "do_predict", "remove_unused_columns"], _SMOLMATH_DECIDES),
    **dict.fromkeys(["deepspeed", "fsdp", "fsdp_config", "ddp_find_unused_parameters"], "hardware.accelerate"),
    **dict.fromkeys(["completion_only_loss", "assistant_only_loss", "dataset_text_field"], _SMOLMATH_DECIDES),
}
# What numbers may be, since TRL and torch look at few of them, and only when a phase begins. All others: 0 or more.
_ANY, _FROM_0, _FROM_1, _ABOVE_0 = Field(), Field(ge=0), Field(ge=1), Field(gt=0)
_RANGES = {
    **dict.fromkeys(["learning_rate", "temperature", "repetition_penalty", "adam_epsilon"], _ABOVE_0),
    **dict.fromkeys(["adam_beta1", "adam_beta2"], Field(ge=0, lt=1)),
    **dict.fromkeys(["top_p", "top_entropy_quantile"], Field(gt=0, le=1)),
    **dict.fromkeys(["max_completion_length", "max_length", "num_iterations", "steps_per_generation"], _FROM_1),
    **dict.fromkeys(["entropy_coef", "entropy_coef_min", "entropy_coef_max", "local_rank", "max_steps"], _ANY),
}
_OWNED_PREFIXES = {
    "hub_": "nothing: stages never push",
    "push_to_hub": "nothing: stages never push",
    "log_completions_hub_repo": "nothing: stages never push",
    # TRL's continuous batching casts the trained weights to bf16, and they stay so: small steps would be lost.
    "use_transformers_": "hardware.vllm",
    "transformers_": "hardware.vllm",
    "vllm_": "hardware.vllm",
}


def check_trl_fields(method: Literal["sft", "grpo"], values: dict[str, Any], dotted: str) -> None:
    """Refuse unknown fields, owned fields and values of a wrong type under `phases.<name>.<method>`.

    Args: dotted: `phases.<name>`, for the message.
    Raises: ParamsError, a line per mistake.
    """
    known = trl_fields(method)
    mistakes = []
    for name, value in values.items():
        key = f"{dotted}.{method}.{name}"
        if owner := _owner(name):
            mistakes.append(f"{key}: smolmath owns this field. Set {owner} instead.")
        elif name not in known:
            config = _SOURCES[method][2]
            mistakes.append(f"{key}: the installed trl.{config} has no such field.{nearest(name, known)}")
        else:
            try:
                TypeAdapter(known[name]).validate_python(value, strict=True)
            except ValidationError as error:
                expected = listing({e["msg"].removeprefix("Input should be ") for e in error.errors()})
                mistakes.append(f"{key}: {value!r} is a {type(value).__name__}; expected: {expected}.")
                continue
            if isinstance(value, int | float) and (why := _out_of_range(name, value)):
                mistakes.append(f"{key}: {value!r} is not allowed: {why}.")
    if mistakes:
        raise ParamsError("\n".join(mistakes))


def _out_of_range(name: str, value: float) -> str:
    """What is wrong with a number, in pydantic's words; the empty string if nothing is."""
    allowed = TypeAdapter(Annotated[float, _RANGES.get(name, _FROM_0), Field(allow_inf_nan=False)])
    try:
        allowed.validate_python(float(value))
    except ValidationError as error:
        return error.errors()[0]["msg"].replace("Input", "it", 1)
    return ""


@cache
def trl_fields(method: Literal["sft", "grpo"]) -> dict[str, Any]:
    """Field name -> type, of the config class and its bases; a type that isn't plain Python is Any."""
    fields: dict[str, Any] = {}
    for package, path, name in [*reversed(_BASES), _SOURCES[method]]:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ParamsError(f"{package} is not installed in this environment. Run: make setup")
        tree = ast.parse((Path(spec.origin).parent / path).read_text(encoding="utf-8"))
        body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
        for node in body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                fields[node.target.id] = _plain_type(ast.unparse(node.annotation))
    return {name: kind for name, kind in fields.items() if not name.startswith("_")}


def _plain_type(annotation: str) -> Any:
    names = {"Any": Any, "Literal": Literal, "int": int, "float": float, "str": str, "bool": bool, "dict": dict}
    # The text comes from an installed library's source and only these names are known to it.
    try:
        return eval(annotation, {"__builtins__": {}, **names, "list": list, "None": None})
    except (NameError, AttributeError, TypeError, SyntaxError):
        return Any


def _owner(name: str) -> str | None:
    if name in OWNED:
        return OWNED[name]
    if name.startswith("vllm_importance_sampling"):
        return None  # part of the loss, not of the engine
    return next((owner for prefix, owner in _OWNED_PREFIXES.items() if name.startswith(prefix)), None)
