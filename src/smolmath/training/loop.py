"""One phase from start to saved model; `sft` and `grpo` give the trainer, the rest is the same."""

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PrinterCallback

from smolmath.params.hardware import HardwareParams
from smolmath.params.phases import Phase, load_phase_params
from smolmath.params.prompt import PromptParams
from smolmath.params.tracking import TrackingParams
from smolmath.progress import progress
from smolmath.runs import StageError, StageRun, main_workspace
from smolmath.tracking import tracked
from smolmath.training.arguments import shared_arguments
from smolmath.training.callbacks import ProgressCallback, ValidationCallback
from smolmath.training.curves import write_curve
from smolmath.training.data import fitting_problems, load_problems, problems_within
from smolmath.training.models import load_for_training, lora_config, save_model

MakeTrainer = Callable[..., Any]  # keywords as in `train_phase`; returns a TRL trainer


def train_phase(
    run: StageRun,
    name: str,
    make_trainer: MakeTrainer,
    *,
    init: Path,
    split: Path,
    model_out: Path,
    curve_out: Path,
    max_completion_tokens: Callable[[Any], int],
) -> None:
    """Train phase `name` from the model `init` on `split`'s train side; write the model and its curve.

    Goes on from the last whole checkpoint in the run's state directory, if there is one.

    Args:
        make_trainer: called with model, tokenizer, phase, problems, prompt, arguments, peft_config and callbacks.
        max_completion_tokens: the phase -> its limit, for validation.
    """
    phase: Phase = load_phase_params(run.params, name)
    prompt = run.section("prompt", PromptParams)
    hardware = run.section("hardware", HardwareParams)
    dtype = run.params["model"]["dtype"]
    model, tokenizer = load_for_training(init, hardware)
    problems = fitting_problems(
        problems_within(load_problems(split, "train"), split, phase.pass_rate, name),
        tokenizer,
        prompt=prompt,
        max_prompt_tokens=phase.max_prompt_tokens,
        phase=name,
    )
    tracking = run.section("tracking", TrackingParams)
    with tracked(
        tracking,
        run_id=run.fingerprint,
        name=name,
        phases=list(run.params["phases"]),
        config={"phase": name, **run.params["phases"][name], "seed": run.params["seed"], "model": run.params["model"]},
        folder=main_workspace(),
    ) as wandb:
        validation = None
        if phase.validation is not None:
            held = load_problems(split, "validation", phase.validation.problems)
            if not held:
                raise StageError(f"phases.{name}.validation: {split} has no validation problem. Set it to null.")
            validation = ValidationCallback(
                phase.validation,
                held,
                tokenizer=tokenizer,
                prompt=prompt,
                max_completion_tokens=max_completion_tokens(phase),
            )
        trainer = make_trainer(
            model=model,
            tokenizer=tokenizer,
            phase=phase,
            name=name,
            problems=problems,
            prompt=prompt,
            arguments=shared_arguments(
                phase, seed=run.params["seed"], dtype=dtype, hardware=hardware, state=run.state, wandb=wandb
            ),
            peft_config=lora_config(phase.lora),
            callbacks=[validation] if validation else [],
        )
        if validation:
            validation.trainer = trainer
        checkpoint = last_whole_checkpoint(run.state / "checkpoints")
        done = int(checkpoint.name.split("-")[1]) if checkpoint else 0
        started = time.monotonic()
        with _steps(name, trainer, done) as advance:
            trainer.remove_callback(PrinterCallback)  # a line of forty numbers per step
            trainer.add_callback(ProgressCallback(advance))
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        seconds = time.monotonic() - started
    write_curve(trainer.state.log_history, curve_out)
    save_model(trainer.model, tokenizer, model_out, dtype=dtype)
    run.facts |= {
        "train_seconds": round(seconds, 1),
        "steps": trainer.state.global_step,
        "resumed_from_step": done,
        "train_problems": len(problems),
        "effective": effective_settings(trainer.args),
    }


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint whose trainer state, the last file that is written, is whole; others are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True)
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            print(f"{path.name} is incomplete and removed", file=sys.stderr)
            shutil.rmtree(path)
        else:
            return path
    return None


def effective_settings(arguments: Any) -> dict[str, Any]:
    """Every argument the trainer ran with, less paths and tokens: what smolmath did not set is TRL's default."""
    settings: dict[str, Any] = arguments.to_dict()
    return {
        key: value
        for key, value in sorted(settings.items())
        if not key.endswith(("_dir", "_token")) and isinstance(value, str | int | float | bool | list | dict | None)
    }


def _steps(name: str, trainer: Any, done: int) -> contextlib.AbstractContextManager[Any]:
    return progress(f"train {name}", trainer.args.max_steps, "steps", done=done)
