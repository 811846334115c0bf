"""One phase from start to saved model; a `Method` (SFT or GRPO) gives the trainer, the rest is the same."""

import json
import logging
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerState

from smolmath.engines.transformers import device_of
from smolmath.errors import StageError
from smolmath.kernels import arithmetic
from smolmath.params.phases import GrpoPhase, Phase, load_phase_params
from smolmath.params.prompt import PromptParams
from smolmath.running.launch.config import checked_config
from smolmath.running.params import HardwareParams, TrackingParams
from smolmath.running.progress import progress
from smolmath.running.runs import StageRun, main_workspace
from smolmath.running.tracking import Tracker, tracked
from smolmath.running.tracking_config import run_config
from smolmath.training.phase.checkpoints import (
    CheckpointCallback,
    StopRequest,
    last_whole_checkpoint,
    log_history,
    refuse_other_kind,
)
from smolmath.training.phase.context import PhaseContext
from smolmath.training.phase.curves import named, write_curve
from smolmath.training.phase.data import fitting_problems, load_problems, problems_within
from smolmath.training.phase.failures import explained
from smolmath.training.phase.method import Method
from smolmath.training.phase.models import load_for_training, lora_config, save_model
from smolmath.training.phase.preflight import judge
from smolmath.training.phase.ranks import SyncedGenerationCallback, is_first, join, refuse_fallback, wait_for_all
from smolmath.training.phase.samples import Samples, as_text
from smolmath.training.phase.stopwatch import Stopwatch
from smolmath.training.phase.validation import ValidationCallback, best_step, out_of_patience
from smolmath.training.phase.watching import WatchCallback
from smolmath.training.phase.weights import LastWeightsCallback, load_weights
from smolmath.training.phase.worst import WorstPassCallback

# It takes a tied output layer, which no checkpoint holds twice, for a missing one.
logging.getLogger("transformers.trainer").setLevel(logging.ERROR)


def train_phase(
    run: StageRun,
    name: str,
    method: Method[Any],
    *,
    init: Path,
    split: Path,
    model_out: Path,
    curve_out: Path,
    samples_out: Path,
) -> None:
    """Train phase `name` from the model `init` on `split`'s train side; write the model, its curve and its samples.

    Goes on from the last whole checkpoint in the run's state directory, if there is one. The model is that of the best
    validation, or of the last step where the phase does not validate. Where several processes train, all call this,
    and the first of them writes.

    Raises: StageError for what a person must change, and after SIGTERM or Ctrl-C, with a checkpoint saved.
    """
    phase: Phase = load_phase_params(run.params, name)
    hardware = run.section("hardware", HardwareParams)
    kind = None if hardware.accelerate is None else checked_config(hardware).kind
    join(cpu=device_of(hardware) == "cpu")
    max_steps = int(phase.settings["max_steps"])
    # TRL writes the adaptive entropy's coefficient after everything else.
    last_file = "entropy_ctrl_state.json" if phase.settings.get("use_adaptive_entropy") else "trainer_state.json"
    checkpoint = last_whole_checkpoint(run.state / "checkpoints", last_file=last_file) if is_first() else None
    wait_for_all()  # the first has removed what is not whole
    checkpoint = checkpoint or last_whole_checkpoint(run.state / "checkpoints", last_file=last_file)
    if checkpoint:
        refuse_other_kind(checkpoint, kind)
    history = log_history(checkpoint)
    done = int(checkpoint.name.split("-")[1]) if checkpoint else 0
    with (
        explained(name, run.state),
        tracked(
            run.section("tracking", TrackingParams),
            run_id=run.fingerprint,
            name=name,
            job_type="train",
            phases=list(run.params["phases"]),
            config=run_config(run.params, phase=name, fingerprint=run.fingerprint),
            folder=main_workspace(),
        )
        if is_first()
        else nullcontext() as tracker,
    ):
        if tracker:
            tracker.resume([{"step": row["step"], **named(row)} for row in history if "loss" in row])
        context = _context(run, name, phase, method, init, split, tracker)
        held = _validated_on(context, split)
        trainer = method.make_trainer(context)
        trainer.remove_callback(PrinterCallback)  # a line of forty numbers per step
        refuse_fallback(trainer, kind)
        worst = WorstPassCallback(context, trainer, partial(method.worst, context), method.steps_drawn(phase))
        if phase.preflight != "off" and not done:
            if is_first():  # the others wait for it at step 1
                run.facts["preflight"] = _look(context, method, trainer)
            trainer.add_callback(worst)
        # Killed after its last step, before anything was published.
        last = checkpoint if done >= max_steps or out_of_patience(history, phase.validation) else None
        stop = StopRequest()
        shown = nullcontext(lambda *_: None) if last else progress(f"train {name}", max_steps, "steps", done=done)
        with stop.noticed(), shown as advance:
            watch = WatchCallback(
                name,
                stopwatch=context.stopwatch,
                advance=advance,
                tracker=tracker,
                validation_problems=len(held) or None,
            )
            for callback in (
                watch,
                ValidationCallback(context, held, trainer) if held else LastWeightsCallback(context.best, trainer),
                *method.callbacks(context, trainer),
                *([SyncedGenerationCallback()] if kind == "FSDP" else []),
                CheckpointCallback(hardware.checkpoint_minutes, method.border(phase), stop, kind),
            ):
                trainer.add_callback(callback)
            if last:
                trainer.state = TrainerState.load_from_json(str(last / "trainer_state.json"))
            else:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
                _refuse_unfinished(context, trainer.state, stop, max_steps)
        if not is_first():
            return
        step = _published_step(run, phase, trainer.state)
        write_curve(trainer.state.log_history, curve_out)
        model = load_weights(init, context.best / f"step-{step}")
        save_model(model, context.tokenizer, model_out, dtype=context.dtype, prompt=context.prompt)
        _write_origin(model_out, context, step, trainer.state.log_history)
        context.samples.join(samples_out, trainer.state.global_step)
        run.facts |= {
            "steps": trainer.state.global_step,
            "published_step": step,
            "resumed_from_step": done,
            "train_problems": len(trainer.train_dataset),
            **watch.facts(),
            "arithmetic": arithmetic(context.dtype, device_of(hardware)),
            **({} if worst.forecast is None else {"forecast_seconds": round(worst.forecast)}),
            "effective": effective_settings(trainer.args),
        }
        if tracker:
            seconds = run.facts["seconds_by_activity"]
            tracker.summary({"published_step": step} | {f"total_seconds_{name}": s for name, s in seconds.items()})


def _context(
    run: StageRun, name: str, phase: Phase, method: Method[Any], init: Path, split: Path, tracker: Tracker | None
) -> PhaseContext[Any]:
    """The model, its problems, and all else that the trainer and its callbacks share."""
    prompt, hardware = run.section("prompt", PromptParams), run.section("hardware", HardwareParams)
    dtype, printed = run.params["model"]["dtype"], run.section("tracking", TrackingParams).print_completions
    frozen, template = phase.lora is not None, prompt.chat_template_kwargs
    model, tokenizer = load_for_training(init, hardware, dtype=dtype, frozen=frozen, template=template)

    def show(kind: str, step: int, rows: list[dict[str, Any]]) -> None:
        if rows[:printed]:
            print(as_text(rows[:printed]), flush=True)
        if tracker:
            tracker.table(f"completions_{kind}", step, rows[:16])

    rewards = list(phase.rewards) if isinstance(phase, GrpoPhase) else []
    return PhaseContext(
        name=name,
        phase=phase,
        prompt=prompt,
        hardware=hardware,
        dtype=dtype,
        seed=run.params["seed"],
        state=run.state,
        model=model,
        tokenizer=tokenizer,
        peft_config=lora_config(phase.lora, model, name),
        problems=fitting_problems(
            problems_within(load_problems(split, "train"), split, phase.pass_rate, name),
            tokenizer,
            prompt=prompt,
            max_prompt_tokens=phase.max_prompt_tokens,
            phase=name,
        ),
        max_completion_tokens=method.max_completion_tokens(phase),
        score=method.scorer(phase, prompt, tokenizer) if method.scorer else None,
        samples=Samples(run.state / "samples", rewards, prompt.tags, show),
        stopwatch=Stopwatch(),
    )


def _validated_on(context: PhaseContext[Any], split: Path) -> list[dict[str, Any]]:
    """What validation asks, if the phase validates. Raises: StageError if no problem is there."""
    name, asked = context.name, context.phase.validation
    if asked is None:
        return []
    held = load_problems(split, "validation", asked.problems)
    if not held:
        raise StageError(f"phases.{name}.validation: {split} has no validation problem. Set it to null.")
    if len(held) < asked.problems:
        print(f"{name}: {split} has {len(held)} validation problems, not {asked.problems}")
    return held


def _look(context: PhaseContext[Any], method: Method[Any], trainer: Any) -> dict[str, Any]:
    # As a step computes: with the trainer's model, and its own autocast, which begins with its first step.
    with context.stopwatch("preflight"), trainer.accelerator.autocast():
        findings, seen = method.look(replace(context, model=trainer.model))
    return judge(context.name, findings, context.phase.preflight, seen)


def _refuse_unfinished(context: PhaseContext[Any], state: TrainerState, stop: StopRequest, max_steps: int) -> None:
    reached = state.global_step
    if reached >= max_steps or out_of_patience(state.log_history, context.phase.validation):
        return
    if stop.signal is None:
        raise StageError(f"{context.name}: the trainer ended by itself after step {reached} of {max_steps}.")
    raise StageError(
        f"{context.name}: stopped by {stop.signal} after step {reached} of {max_steps}, which is saved in "
        f"{context.state}. `dvc repro` goes on from there."
    )


def _published_step(run: StageRun, phase: Phase, state: TrainerState) -> int:
    """The step of the best validation; the last one where the phase does not validate."""
    best = best_step(state.log_history, phase.validation.metric) if phase.validation else None
    if best is None:
        return int(state.global_step)
    step, score = best
    if step != state.global_step:
        print(f"{run.stage.name}: the model is that of step {step}, with the best validation ({score:.3f})")
    return step


def _write_origin(model: Path, context: PhaseContext[Any], step: int, history: list[dict[str, Any]]) -> None:
    """smolmath.json in the model's directory: which step of which phase it is, and the prompt that it knows."""
    row: dict[str, Any] = next((row for row in history if row["step"] == step), {})
    phase = context.phase
    origin: dict[str, Any] = {"phase": context.name, "method": phase.method, "init": phase.init, "step": step}
    origin |= {key: row[key] for key in ("validation_accuracy", "validation_reward") if key in row}
    origin["prompt"] = context.prompt.model_dump(exclude_defaults=True)
    (model / "smolmath.json").write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")


def effective_settings(arguments: Any) -> dict[str, Any]:
    """Every argument the trainer ran with, less paths and tokens: what smolmath did not set is TRL's default."""
    settings: dict[str, Any] = arguments.to_dict()
    return {
        key: value
        for key, value in sorted(settings.items())
        if not key.endswith(("_dir", "_token")) and isinstance(value, str | int | float | bool | list | dict | None)
    }
