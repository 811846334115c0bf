"""The longest pass, before step 1: what does not fit is met there, and nothing of a pass that fits is kept."""

from functools import partial

import pytest
import torch

from smolmath.errors import StageError
from smolmath.training.phase.worst import WorstPassCallback
from tests.conftest import ROOT
from tests.test_training import DEMO_PROMPT, GRPO, HARDWARE, SFT, SUMS, context

pytestmark = pytest.mark.slow
WORKED = [problem | {"reasoning": "1+2=3"} for problem in SUMS]


def prepared(folder, phase, micro_batch=4):
    """(trainer with the callback, the callback)."""
    import importlib

    from smolmath.training.phase.models import load_for_training

    method = importlib.import_module(f"smolmath.training.{phase.method}.trainer").METHOD
    model, tokenizer = load_for_training(ROOT / "bases" / "calc", HARDWARE)
    made = context(
        folder, phase, hardware=HARDWARE.model_copy(update={"micro_batch": micro_batch}), model=model,
        tokenizer=tokenizer, problems=WORKED, prompt=DEMO_PROMPT, max_completion_tokens=method.max_completion_tokens(phase),
    )  # fmt: skip
    trainer = method.make_trainer(made)
    worst = WorstPassCallback(made, trainer, partial(method.worst, made), method.steps_drawn(phase))
    return trainer, worst


SETTINGS = {"max_steps": 2, "learning_rate": 1e-3, "gradient_checkpointing": False}
PHASES = {
    "grpo": GRPO.model_copy(
        update={"grpo": SETTINGS | {"num_generations": 6, "max_completion_length": 24}, "prompts_per_step": 2}
    ),
    "sft": SFT.model_copy(update={"sft": SETTINGS | {"max_length": 128}}),
}


@pytest.mark.parametrize("method", PHASES)
def test_a_pass_that_fits_changes_nothing_and_bounds_the_run(tmp_path, method, capsys):
    plain, _ = prepared(tmp_path / "plain", PHASES[method])
    plain.train()
    tried, worst = prepared(tmp_path / "tried", PHASES[method])
    tried.add_callback(worst)
    tried.train()
    for mine, other in zip(tried.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    rows = [[row for row in t.state.log_history if "loss" in row] for t in (tried, plain)]
    for mine, other in zip(*rows, strict=True):
        assert {k: v for k, v in mine.items() if "time" not in k} == {
            k: v for k, v in other.items() if "time" not in k
        }
    assert worst.forecast > 0
    assert "p: at most about 0:0" in capsys.readouterr().out


@pytest.mark.parametrize("method", PHASES)
def test_a_pass_that_does_not_fit_ends_the_phase_with_the_number_to_lower(tmp_path, method):
    trainer, worst = prepared(tmp_path, PHASES[method])
    asked = []

    def loss(trainer, rows):
        asked.append(rows)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore")

    worst.loss = loss
    trainer.add_callback(worst)
    with pytest.raises(
        StageError, match=r"p: the longest pass .* 4 sequences at once.*set hardware.micro_batch: 2, or"
    ):
        trainer.train()
    assert asked == [4]
    assert trainer.state.global_step == 0


def test_a_run_that_redraws_is_expected_to_draw_as_often_as_it_may():
    from smolmath.params.phases import ResampleParams
    from smolmath.training.grpo.trainer import METHOD

    plain = METHOD.steps_drawn(PHASES["grpo"])
    assert METHOD.steps_drawn(PHASES["grpo"].model_copy(update={"resample": ResampleParams(rounds=3)})) == plain / 4


def test_the_pass_is_as_long_as_the_params_allow(tmp_path, monkeypatch):
    trainer, worst = prepared(tmp_path, PHASES["grpo"])
    shapes = []
    monkeypatch.setattr(trainer, "_score", lambda model, ids, mask, keep, **_: shapes.append((*ids.shape, keep)) or (torch.zeros(4, keep, requires_grad=True), None))  # fmt: skip
    worst.loss(trainer, 4)
    assert shapes == [(4, 64 + 24, 24)]
