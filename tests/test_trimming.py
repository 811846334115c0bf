"""Micro-batches of rows of like length, cut to what they hold: what is learnt is what TRL's own padded passes learn."""

from importlib.util import find_spec

import pytest

if find_spec("vllm"):
    pytest.skip(
        "beside vLLM trl warns when it is imported; these tests run in the other environment", allow_module_level=True
    )

import torch
from transformers import TrainerCallback
from trl import GRPOTrainer

from smolmath.training.grpo.timed import TimedTrainer
from smolmath.training.grpo.trimmed import TrimmedTrainer, by_length
from tests.test_training import GRPO, HARDWARE, SUMS, grpo_trainer

STEPS = 20


class PaddedTrainer(TimedTrainer):
    """All else as ours; what is computed, and by what, as in TRL."""

    _prepare_inputs = GRPOTrainer._prepare_inputs
    _get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies


def trained(folder, monkeypatch, trainer_class, settings, micro_batch=4):
    """(log rows, the gradient of each step, weights in the end)."""
    monkeypatch.setattr("smolmath.training.grpo.trainer.TimedTrainer", trainer_class)
    common = {"num_generations": 4, "max_steps": STEPS, "max_completion_length": 48, "num_iterations": 1}
    # Plain descent: Adam divides by the gradient's size, and makes a step of any rounding error.
    plain = {"optim": "sgd", "learning_rate": 1.0e-4, "lr_scheduler_type": "constant", "max_grad_norm": 1.0e9}
    phase = GRPO.model_copy(update={"prompts_per_step": 4, "grpo": common | plain | settings})
    trainer, _ = grpo_trainer(folder, phase, HARDWARE.model_copy(update={"micro_batch": micro_batch}), problems=SUMS)
    gradients = []

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **_):
            gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))

    trainer.add_callback(Keep())
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    return rows, gradients, torch.cat([weight.data.flatten() for weight in trainer.model.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"loss_type": "dapo", "mask_truncated_completions": True},
        {"loss_type": "dr_grpo", "beta": 0.04},
        {"loss_type": "grpo", "temperature": 0.7, "steps_per_generation": 2},
        {"loss_type": "bnpo", "entropy_coef": 0.01},
    ],
    ids=lambda settings: settings["loss_type"],
)
def test_loss_gradient_and_weights_are_those_of_padded_passes(tmp_path, monkeypatch, settings):
    ours, our_gradients, our_weights = trained(tmp_path / "ours", monkeypatch, TimedTrainer, settings)
    theirs, their_gradients, their_weights = trained(tmp_path / "theirs", monkeypatch, PaddedTrainer, settings)
    assert len(ours) == len(theirs) == len(our_gradients) == STEPS
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], abs=1e-6)
        for drawn in ("reward", "completions/mean_length"):  # in the steps that generate
            assert mine.get(drawn) == other.get(drawn)
    for mine, other in zip(our_gradients, their_gradients, strict=True):
        assert float(other.abs().max()) > 1e-3  # there is something to compare
        assert float((mine - other).abs().max()) < 1e-6 * max(1.0, float(other.norm()))
    assert float((our_weights - their_weights).abs().max()) < 1e-6
    computed, real = (sum(row[f"tokens/{kind}"] for row in ours) for kind in ("computed", "real"))
    assert real < computed < 1.3 * real
    if settings["loss_type"] == "bnpo":  # whose rows are not sorted
        return
    # A mean over the step's tokens does not depend on which rows meet in a pass; TRL's own does.
    alone, _, _ = trained(tmp_path / "alone", monkeypatch, TimedTrainer, settings | {"max_steps": 1}, micro_batch=1)
    assert alone[0]["entropy"] == pytest.approx(ours[0]["entropy"], rel=1e-4)


def batch(lengths, *, width=8, first=0):
    rows = len(lengths)
    return {
        "prompt_mask": torch.ones(rows, 3, dtype=torch.long),
        "completion_mask": torch.tensor([[1] * n + [0] * (width - n) for n in lengths]),
        "advantages": torch.arange(first, first + rows),
        "num_items_in_batch": torch.tensor(99),
    }


def test_rows_stay_in_their_optimiser_step_and_meet_rows_of_like_length():
    batches = [batch([8, 1]), batch([2, 7], first=2), batch([3, 3], first=4), batch([1, 8], first=6)]
    arranged = by_length(batches, passes=2)
    assert [one["advantages"].tolist() for one in arranged] == [[1, 2], [3, 0], [6, 4], [5, 7]]
    assert [one["completion_mask"].sum(1).tolist() for one in arranged] == [[1, 2], [7, 8], [1, 3], [3, 8]]
    assert all(int(one["num_items_in_batch"]) == 99 for one in arranged)


class Recorded(TrimmedTrainer):
    """Scores a token by its number, and keeps the shapes that it was asked to compute."""

    def __init__(self):
        self.shapes = []

    def _count(self, mask):
        pass

    def _score(self, model, ids, mask, keep, **more):
        self.shapes.append(tuple(ids.shape))
        return ids[:, -keep:].float(), None


@pytest.mark.parametrize(
    ("mask", "shapes", "scores"),
    [
        ([[0, 1, 1, 1, 1, 0, 0]], [(1, 4)], [[3, 4, 0, 0]]),  # padded on both sides
        ([[0, 0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 1, 0]], [(2, 5)], [[3, 4, 5, 0], [3, 4, 5, 0]]),  # the longest counts
        ([[1, 1, 1, 0, 0, 0, 0]], [(1, 4)], [[3, 0, 0, 0]]),  # cut off and masked: one token, since none is no pass
    ],
)
def test_a_pass_is_cut_to_the_tokens_of_its_rows(mask, shapes, scores):
    trainer, attention = Recorded(), torch.tensor(mask)
    ids = torch.arange(7).repeat(len(mask), 1)
    logps, entropies, _ = trainer._get_per_token_logps_and_entropies(None, ids, attention, logits_to_keep=4)
    assert (trainer.shapes, logps.tolist(), entropies) == (shapes, scores, None)
