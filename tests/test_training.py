"""What a trainer is given, and what the curve says of it. Real TRL, on the shipped base."""

import csv

import pytest

from smolmath.params.hardware import HardwareParams
from smolmath.params.phases import GrpoPhase, SftPhase
from smolmath.params.prompt import PromptParams
from smolmath.training.curves import write_curve
from tests.conftest import ROOT

HARDWARE = HardwareParams(device="cpu", engine="transformers", gpu_memory=0.9, threads=2, micro_batch=None, workers=1)
PROMPT = PromptParams(system="Work it out.", reasoning_tag="reasoning", answer_tag="answer")
COMMON = {
    "dataset": "d",
    "pass_rate": None,
    "init": "base",
    "max_prompt_tokens": 64,
    "checkpoint_steps": 10,
    "validation": None,
    "lora": None,
}
GRPO = GrpoPhase(
    **COMMON,
    method="grpo",
    prompts_per_step=4,
    rewards={"correctness": 1.0},
    grpo={"num_generations": 6, "max_steps": 1},
)
SFT = SftPhase(**COMMON, method="sft", examples_per_step=12, sft={"max_steps": 1})


def test_a_curve_has_one_row_per_step_and_named_parts(tmp_path):
    history = [
        {"step": 1, "loss": 0.5, "reward": 1.0, "rewards/correctness/mean": 0.25, "step_time": 3.1},
        {
            "step": 2,
            "loss": float("nan"),
            "reward": 1.25,
            "rewards/correctness/mean": 0.5,
            "validation_accuracy": 0.75,
        },
        {"step": 2, "train_runtime": 12.0},  # the closing summary is no step
    ]
    write_curve(history, tmp_path / "curve.csv")
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {
            "step": "1",
            "loss": "0.5",
            "reward": "1",
            "validation_accuracy": "",
            "reward_correctness": "0.25",
            "objective": "1",
        },
        {
            "step": "2",
            "loss": "",
            "reward": "1.25",
            "validation_accuracy": "0.75",
            "reward_correctness": "0.5",
            "objective": "1.25",
        },
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "sequences"), [(GRPO, 24), (SFT, 12)])
@pytest.mark.parametrize("micro_batch", [None, 4, 1_000])
def test_the_hardware_divides_the_step_and_never_changes_it(tmp_path, phase, sequences, micro_batch):
    from smolmath.training.arguments import shared_arguments

    hardware = HARDWARE.model_copy(update={"micro_batch": micro_batch})
    arguments = shared_arguments(phase, seed=1, dtype="float32", hardware=hardware, state=tmp_path, wandb=False)
    passes, per_pass = arguments["gradient_accumulation_steps"], arguments["per_device_train_batch_size"]
    assert passes * per_pass == sequences
    assert per_pass == min(micro_batch or sequences, sequences)


@pytest.mark.slow
def test_prompt_tokens_carry_no_loss_in_sft(tmp_path):
    from smolmath.sft.trainer import make_sft_trainer
    from smolmath.training.arguments import shared_arguments
    from smolmath.training.models import load_for_training

    model, tokenizer = load_for_training(ROOT / "bases" / "calc", HARDWARE)
    problems = [{"question": "1 + 2 =", "reference_answer": "3", "reasoning": "1+2=3"}] * 12
    trainer = make_sft_trainer(
        model=model, tokenizer=tokenizer, phase=SFT, name="p", problems=problems, prompt=PROMPT,
        arguments=shared_arguments(SFT, seed=1, dtype="float32", hardware=HARDWARE, state=tmp_path, wandb=False),
        peft_config=None, callbacks=[],
    )  # fmt: skip
    batch = next(iter(trainer.get_train_dataloader()))
    learnt = [
        t
        for t, label in zip(batch["input_ids"][0].tolist(), batch["labels"][0].tolist(), strict=True)
        if label != -100
    ]
    text = tokenizer.decode(learnt, skip_special_tokens=False)
    assert text.startswith("<reasoning>\n1+2=3\n</reasoning>\n<answer>\n3\n</answer><|im_end|>")
    assert "Work it out." in tokenizer.decode(batch["input_ids"][0])


@pytest.mark.slow
def test_a_lora_phase_saves_its_adapter_and_merged_weights_that_load_plainly(tmp_path):
    import torch
    from peft import PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    from smolmath.params.phases import LoraParams
    from smolmath.training.models import load_for_training, lora_config, save_model

    model, tokenizer = load_for_training(ROOT / "bases" / "calc", HARDWARE)
    adapted = get_peft_model(model, lora_config(LoraParams(r=4, alpha=8, dropout=0.0, target_modules=["q_proj"])))
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(20)[None]
    with torch.no_grad():
        expected = adapted(ids).logits
    save_model(adapted, tokenizer, tmp_path / "out", dtype="float32")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(ROOT / "bases" / "calc")
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, expected, atol=1e-4, rtol=1e-4)
        assert (base(ids).logits - expected).abs().max() > 0.1
        torch.testing.assert_close(
            PeftModel.from_pretrained(base, tmp_path / "out" / "adapter")(ids).logits, expected, atol=1e-4, rtol=1e-4
        )
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".bin", ".pt", ".md")]


@pytest.mark.slow
def test_a_completion_that_was_cut_is_told_to_the_rewards():
    from smolmath.grpo.trainer import with_finished

    def reward(*, finished, **columns):
        return [float(done) for done in finished]

    scored = with_finished(reward, {2})
    assert scored.__name__ == "reward"
    assert scored(completion_ids=[[5, 2], [5, 5], []], prompts=[]) == [1.0, 0.0, 0.0]


@pytest.mark.slow
def test_the_engine_tells_a_finished_completion_from_one_that_was_cut_and_draws_by_its_seed():
    import torch

    from smolmath.engines import Sampling
    from smolmath.engines.transformers import TransformersEngine

    engine = TransformersEngine.load(ROOT / "bases" / "calc", dtype="float32", hardware=HARDWARE)
    ask = [{"role": "user", "content": "State the final answer to the following arithmetic problem: 4 - 1 - 7 ="}]
    longer = [{"role": "system", "content": "Work it out."}, *ask]
    ((whole,), _) = engine.generate([ask, longer], Sampling(0.0, 1.0, 1, 64, 0))
    assert whole.finish_reason == "stop"
    ((alone,),) = engine.generate([ask], Sampling(0.0, 1.0, 1, 64, 0))
    assert alone == whole  # padding on the left changes nothing
    ((cut,),) = engine.generate([ask], Sampling(0.0, 1.0, 1, 2, 0))
    assert (cut.finish_reason, cut.tokens) == ("length", 2)
    state = torch.random.get_rng_state()
    drawn = engine.generate([ask], Sampling(1.0, 1.0, 8, 64, 3))
    assert engine.generate([ask], Sampling(1.0, 1.0, 8, 64, 3)) == drawn
    assert engine.generate([ask], Sampling(1.0, 1.0, 8, 64, 4)) != drawn
    assert torch.equal(torch.random.get_rng_state(), state)
