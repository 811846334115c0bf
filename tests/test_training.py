"""What a trainer is given, and what the curve says of it. Real TRL, on the shipped base."""

import asyncio
import csv
import json
from functools import partial

import pytest

from smolmath.errors import StageError
from smolmath.params.phases import GrpoPhase, RewardParams, SftPhase
from smolmath.params.prompt import PromptParams
from smolmath.running.params import HardwareParams
from smolmath.training.phase.curves import named, write_curve
from tests.conftest import ROOT

HARDWARE = HardwareParams(
    device="cpu",
    devices="auto",
    engine="transformers",
    gpu_memory=0.9,
    vllm="off",
    vllm_memory=0.3,
    vllm_sleep=True,
    vllm_server=None,
    vllm_tensor_parallel=1,
    accelerate=None,
    engines=1,
    attention="sdpa",
    threads=2,
    micro_batch=None,
    checkpoint_minutes=None,
    workers=1,
    data="local",
)
PROMPT = PromptParams(system="Work it out.", reasoning_tag="reasoning", answer_tag="answer")
COMMON = {
    "dataset": "d",
    "pass_rate": None,
    "init": "base",
    "max_prompt_tokens": 64,
    "preflight": "off",
    "checkpoint_steps": 10,
    "validation": None,
    "lora": None,
}
GRPO = GrpoPhase(
    **COMMON,
    method="grpo",
    prompts_per_step=4,
    rewards={"correctness": 1.0},
    answer_grounding_weight=0.0,
    sample_steps=None,
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


def test_what_vllm_sampled_beside_what_is_trained_stands_in_the_curve(tmp_path):
    logged = {
        "sampling/sampling_logp_difference/mean": 0.02,
        "sampling/sampling_logp_difference/max": 0.75,
        "sampling/importance_sampling_ratio/min": 0.0,
        "sampling/importance_sampling_ratio/mean": 0.98,
        "sampling/importance_sampling_ratio/max": 1.5,
    }
    columns = {
        "sampling_difference": 0.02,
        "sampling_difference_max": 0.75,
        "sampling_ratio_min": 0.0,
        "sampling_ratio": 0.98,
        "sampling_ratio_max": 1.5,
    }
    row = {"step": 1, "loss": 0.5, **logged}
    assert named(row) == {"step": 1, "loss": 0.5, **columns}  # what W&B is given
    write_curve([row], tmp_path / "curve.csv")
    with (tmp_path / "curve.csv").open() as file:
        (read,) = csv.DictReader(file)
    assert {name: float(read[name]) for name in columns} == columns


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "sequences"), [(GRPO, 24), (SFT, 12)])
@pytest.mark.parametrize("micro_batch", [None, 4, 1_000])
def test_the_hardware_divides_the_step_and_never_changes_it(tmp_path, phase, sequences, micro_batch):
    from smolmath.training.phase.arguments import shared_arguments

    hardware = HARDWARE.model_copy(update={"micro_batch": micro_batch})
    arguments = shared_arguments(phase, seed=1, dtype="float32", hardware=hardware, state=tmp_path)
    passes, per_pass = arguments["gradient_accumulation_steps"], arguments["per_device_train_batch_size"]
    assert passes * per_pass == sequences
    assert per_pass == min(micro_batch or sequences, sequences)


@pytest.mark.slow
def test_prompt_tokens_carry_no_loss_in_sft(tmp_path):
    from smolmath.training.phase.models import load_for_training
    from smolmath.training.sft.trainer import make_sft_trainer

    model, tokenizer = load_for_training(ROOT / "bases" / "calc", HARDWARE)
    problems = [{"question": "1 + 2 =", "reference_answer": "3", "reasoning": "1+2=3"}] * 12
    trainer = make_sft_trainer(context(tmp_path, SFT, problems=problems, model=model, tokenizer=tokenizer))
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

    from smolmath.engines.transformers import load_tokenizer
    from smolmath.params.phases import LoraParams
    from smolmath.training.phase.models import load_for_training, lora_config, save_model

    model, tokenizer = load_for_training(ROOT / "bases" / "calc", HARDWARE)
    adapted = get_peft_model(
        model, lora_config(LoraParams(r=4, alpha=8, dropout=0.0, target_modules=["q_proj"]), model, "p")
    )
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(20)[None]
    with torch.no_grad():
        expected = adapted(ids).logits
    prompt = PromptParams(system='Say "why".\n', reasoning_tag="reasoning", answer_tag="answer")
    adapted.generation_config.repetition_penalty = 1.1  # as Qwen2.5 has it
    save_model(adapted, tokenizer, tmp_path / "out", dtype="float32", prompt=prompt)
    config = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert config.keys() - {"transformers_version"} == {"eos_token_id", "pad_token_id"}
    saved, question = load_tokenizer(tmp_path / "out"), [{"role": "user", "content": "1 + 1 ="}]
    asked = [{"role": "system", "content": prompt.system}, *question]
    assert saved.apply_chat_template(question, tokenize=False) == tokenizer.apply_chat_template(asked, tokenize=False)
    assert saved.apply_chat_template(asked, tokenize=False) == tokenizer.apply_chat_template(asked, tokenize=False)
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
    from smolmath.training.grpo.trainer import with_finished

    def reward(*, finished, **columns):
        return [float(done) for done in finished]

    scored = with_finished(reward, {2})
    assert scored.__name__ == "reward"
    assert scored(completion_ids=[[5, 2], [5, 5], []], prompts=[]) == [1.0, 0.0, 0.0]


async def slow_to_answer(*, completions, finished=None, seconds=0.2, **columns):
    """A reward that asks somebody else, and waits."""
    await asyncio.sleep(seconds)
    return [float(done) for done in finished] if finished else [1.0] * len(completions)


async def asks_in_vain(**columns):
    async with asyncio.timeout(0.01):
        await asyncio.sleep(5)


@pytest.mark.slow
def test_a_reward_that_is_a_coroutine_stays_one_and_says_when_its_time_is_over():
    from trl.trainer.utils import is_async_callable

    from smolmath.training.grpo.trainer import with_finished

    scored = with_finished(slow_to_answer, {2})
    assert is_async_callable(scored)  # TRL awaits those of a step together
    assert asyncio.run(scored(completion_ids=[[5, 2], [5, 5]], completions=["", ""])) == [1.0, 0.0]
    with pytest.raises(StageError, match=r"reward asks_in_vain: no answer within its time.*return None"):
        asyncio.run(with_finished(asks_in_vain, {2})(completion_ids=[[5, 2]], completions=[""]))


@pytest.mark.slow
def test_rewards_that_are_coroutines_are_awaited_together_where_no_trainer_does_it():
    from smolmath.engines import Completion
    from smolmath.engines.transformers import load_tokenizer
    from smolmath.training.grpo.scoring import phase_scorer

    own = RewardParams(weight=2.0, function="tests.test_training:slow_to_answer", seconds=1.0)
    rewards = {"slow": own, "soft_format": 1.0}
    phase = GRPO.model_copy(update={"rewards": rewards})
    score = phase_scorer(phase, PROMPT, load_tokenizer(ROOT / "bases" / "calc"))
    one, two = score([SUMS[0], SUMS[1]], [Completion("1", "stop", 1), Completion("2", "length", 1)])
    assert (one.total, two.total) == (2.0, 0.0)
    assert one.parts == {"slow": 1.0, "soft_format": 0.0}


def test_the_colocated_engine_is_given_the_type_that_is_trained(monkeypatch):
    from trl.generation import vllm_generation

    from smolmath.training.grpo.trainer import engine_type

    def engine(**settings):
        return settings

    monkeypatch.setattr(vllm_generation, "LLM", engine, raising=False)  # vLLM need not be installed
    with engine_type("float16"):
        assert vllm_generation.LLM(model="m") == {"model": "m", "dtype": "float16"}
    assert vllm_generation.LLM is engine


@pytest.mark.parametrize(("asked", "length"), [(None, 64 + 256), (400, 400)])
def test_the_colocated_engine_lays_out_its_cache_for_what_the_phase_can_need(monkeypatch, asked, length):
    from smolmath.training.grpo import trainer

    monkeypatch.setattr(trainer, "require_vllm", lambda *_: None)
    hardware = HARDWARE.model_copy(update={"vllm": "colocate", "vllm_max_length": asked})
    assert trainer.vllm_arguments(hardware, GRPO)["vllm_max_model_length"] == length
    with pytest.raises(StageError, match=r"vllm_max_length: 300 is shorter than .* \(320: max_prompt_tokens"):
        trainer.vllm_arguments(hardware.model_copy(update={"vllm_max_length": 300}), GRPO)


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


def context(folder, phase, **more):
    """What a trainer is made of, in float32 if nothing else is asked for."""
    from smolmath.training.phase.context import PhaseContext
    from smolmath.training.phase.samples import Samples
    from smolmath.training.phase.stopwatch import Stopwatch

    common = {
        "name": "p", "prompt": PROMPT, "hardware": HARDWARE, "dtype": "float32", "seed": 1, "peft_config": None,
        "max_completion_tokens": 1024, "score": None, "stopwatch": Stopwatch(),
        "samples": Samples(folder / "samples", list(getattr(phase, "rewards", [])), PROMPT.tags),
    }  # fmt: skip
    return PhaseContext(state=folder, phase=phase, **common | more)


def grpo_trainer(folder, phase, hardware=HARDWARE, *, peft_config=None, problems=None, dtype="float32"):
    """(trainer, samples): real TRL on the shipped base."""
    from smolmath.training.grpo.trainer import METHOD
    from smolmath.training.phase.models import load_for_training

    model, tokenizer = load_for_training(ROOT / "bases" / "calc", hardware)
    made = context(
        folder, phase, hardware=hardware, model=model, tokenizer=tokenizer, problems=problems or SUMS,
        prompt=DEMO_PROMPT, peft_config=peft_config, dtype=dtype,
    )  # fmt: skip
    trainer = METHOD.make_trainer(made)
    for callback in METHOD.callbacks(made, trainer):
        trainer.add_callback(callback)
    return trainer, made.samples


DEMO_PROMPT = PromptParams(
    system="Work it out in <reasoning> tags, then give the result in <answer> tags.",
    reasoning_tag="reasoning",
    answer_tag="answer",
)
SUMS = [
    {
        "question": f"State the final answer to the following arithmetic problem: {a} + {b} - {c} =",
        "reference_answer": str(a + b - c),
        "reasoning": None,
    }
    for a, b, c in [(1, 2, 3), (4, 5, 6), (7, 8, 9), (9, 9, 1), (3, 0, 8), (6, 6, 6), (2, 7, 4), (5, 1, 0)]
]


def weights_of(trainer):
    return {name: weights.detach().clone() for name, weights in trainer.model.named_parameters()}


@pytest.mark.slow
def test_a_generation_in_16_bits_casts_each_weight_once_and_writes_what_trl_alone_would(tmp_path):
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from transformers import set_seed
    from trl import GRPOTrainer

    settings = {"num_generations": 6, "max_steps": 1, "max_completion_length": 32}
    trainer, _ = grpo_trainer(tmp_path, GRPO.model_copy(update={"grpo": settings}), dtype="bfloat16")
    trainer.accelerator.prepare_model(trainer.model)  # what train() begins with: autocast around every forward
    weights = {weight.data_ptr() for weight in trainer.model.parameters()}
    prompts = [row["prompt"] for row in trainer.train_dataset]

    class Casts(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), keywords=None):
            if function is torch.ops.aten._to_copy.default and args[0].data_ptr() in weights:
                self.count += keywords["dtype"] is torch.bfloat16
            return function(*args, **(keywords or {}))

    def generated(generate):
        set_seed(1)
        with Casts() as casts:
            ids = generate(trainer, prompts)[1]
        return ids, casts.count

    ours, casts = generated(type(trainer)._generate)
    theirs, casts_of_theirs = generated(GRPOTrainer._generate)
    assert ours == theirs
    assert 0 < casts <= len(weights)
    tokens = max(map(len, ours))
    assert casts_of_theirs == casts * tokens > casts


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_phase_trains_with_the_attention_that_the_hardware_names(tmp_path, attention):
    trainer, _ = grpo_trainer(tmp_path, GRPO, HARDWARE.model_copy(update={"attention": attention}))
    assert trainer.model.config._attn_implementation == attention


@pytest.mark.slow
@pytest.mark.parametrize(
    ("installed", "device", "dtype", "message"),
    [
        (False, "cuda", "bfloat16", r"flash_attn is not installed.*flash-attn`, or set hardware.attention: sdpa\."),
        (True, "cpu", "bfloat16", r"on a CPU\. Set hardware.device: cuda, or set hardware.attention: sdpa\."),
        (True, "cuda", "float32", r"model.dtype is float32\. Set that to bfloat16, which is a new run, or set"),
    ],
)
def test_flash_attention_is_refused_where_it_cannot_run(monkeypatch, installed, device, dtype, message):
    from smolmath.errors import StageError
    from smolmath.training.phase import models

    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(models, "device_of", lambda hardware: device)
    hardware = HARDWARE.model_copy(update={"attention": "flash_attention_2"})
    with pytest.raises(StageError, match=message):
        models.load_for_training(ROOT / "bases" / "calc", hardware, dtype=dtype)


@pytest.mark.slow
def test_a_grounded_step_makes_the_reference_answer_likelier_and_weight_0_leaves_the_loss_as_it_is(tmp_path):
    import torch

    from smolmath.training.grpo.grounding import GroundedTrainer, answer_nll, grounding_example

    settings = {"num_generations": 6, "max_steps": 3, "learning_rate": 1.0e-3, "max_completion_length": 64}
    settings["lr_scheduler_type"] = "constant"
    flat = GRPO.model_copy(update={"grpo": settings, "rewards": {"strict_format": 1.0}})
    problems = [SUMS[0] | {"reference_answer": "7"}] * 4  # a wrong reference, which the model would not say by itself

    def nll(trainer):
        tokenizer = trainer.processing_class
        ids, start = grounding_example(
            tokenizer, trainer.train_dataset[0]["prompt"], "<reasoning>\n1+2=3\n</reasoning>", "7", DEMO_PROMPT.tags
        )
        ids = torch.tensor([ids])
        marked = torch.arange(ids.shape[1])[None] >= start
        with torch.no_grad():
            return float(answer_nll(trainer.model, ids, torch.ones_like(ids), marked))

    plain, _ = grpo_trainer(tmp_path / "plain", flat, problems=problems)
    assert not isinstance(plain, GroundedTrainer)
    grounded, _ = grpo_trainer(
        tmp_path / "grounded", flat.model_copy(update={"answer_grounding_weight": 1.0}), problems=problems
    )
    before = nll(grounded)
    assert nll(plain) == before
    plain.train()
    grounded.train()
    assert nll(grounded) < before - 0.5
    assert nll(grounded) < nll(plain) - 0.5
    logged = [row["answer_grounding"] for row in grounded.state.log_history if "answer_grounding" in row]
    assert logged[-1] < logged[0]
    # The class with weight 0, on the same seed: the same losses and weights to the last bit. TRL's own: the same losses
    # but for what sums round otherwise where passes are cut to what they hold (tests/test_trimming.py), and what Adam,
    # which divides by a gradient's size, makes of it.
    from trl import GRPOConfig, GRPOTrainer

    shared = {
        "reward_funcs": plain.reward_funcs,
        "train_dataset": plain.train_dataset,
        "processing_class": plain.processing_class,
    }
    own_arguments = GRPOConfig(**{k: v for k, v in plain.args.to_dict().items() if k in OWN_FIELDS})
    nothing = {"grounding_weight": 0.0, "tags": DEMO_PROMPT.tags, "stopwatch": plain.stopwatch, "args": plain.args}
    for make, rounding in (
        (partial(GroundedTrainer, **nothing), 0.0),
        (partial(GRPOTrainer, args=own_arguments), 1e-3),
    ):
        trainer = make(model=fresh(), **shared)  # seeds, so that the next one is made when this one has trained
        trainer.train()
        assert losses(trainer) == [pytest.approx(row, rel=rounding, abs=0.0) for row in losses(plain)]
        for name, weights in weights_of(plain).items():
            assert rounding or torch.equal(weights, weights_of(trainer)[name]), name


OWN_FIELDS = {
    "output_dir", "max_steps", "learning_rate", "lr_scheduler_type", "num_generations", "max_completion_length", "seed",
    "data_seed", "per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "use_cpu",
    "save_strategy", "save_steps", "disable_tqdm", "report_to", "dataloader_pin_memory", "logging_steps", "bf16",
    "reward_weights",
}  # fmt: skip


def fresh():
    from smolmath.training.phase.models import load_for_training

    return load_for_training(ROOT / "bases" / "calc", HARDWARE)[0]


def losses(trainer):
    return [(row["loss"], row["grad_norm"], row["reward"]) for row in trainer.state.log_history if "loss" in row]


def test_a_grounding_example_ends_in_the_reference_answer_block_and_its_end_token():
    from transformers import AutoTokenizer

    from smolmath.training.grpo.grounding import first_reasoned, grounding_example

    tokenizer = AutoTokenizer.from_pretrained(ROOT / "bases" / "calc")
    tags = DEMO_PROMPT.tags
    said = "<reasoning>\n1+2=3\n</reasoning>\n<answer>\n9\n</answer>"
    ids, start = grounding_example(tokenizer, [{"role": "user", "content": "1 + 2 ="}], said, "3", tags)
    assert tokenizer.decode(ids[start:]) == f"<answer>\n3\n</answer>{tokenizer.eos_token}"
    assert tokenizer.decode(ids[:start]).endswith("<reasoning>\n1+2=3\n</reasoning>\n")
    assert first_reasoned(["no", said, said, "no", "no", "no"], 3, tags) == {1}


@pytest.mark.slow
def test_sampled_completions_hold_what_the_step_learnt_from(tmp_path):
    import pyarrow.parquet as pq

    rewards = {"correctness": 2.0, "soft_format": 0.5}
    phase = GRPO.model_copy(update={"sample_steps": 2, "rewards": rewards, "grpo": GRPO.grpo | {"max_steps": 3}})
    trainer, samples = grpo_trainer(tmp_path, phase)
    trainer.train()
    (path,) = samples.folder.glob("*.parquet")
    table = pq.read_table(path).to_pylist()
    assert path.name == "00000002-train.parquet"
    assert len(table) == 24
    row = next(row for row in trainer.state.log_history if row["step"] == 2)
    assert sum(r["reward"] for r in table) / 24 == pytest.approx(row["reward"])
    assert sum(r["reward_correctness"] for r in table) / 24 == pytest.approx(row["rewards/correctness/mean"])
    assert all(r["correct"] == (r["reward_correctness"] == 1.0) for r in table)
    assert sum(r["tokens"] for r in table) / 24 == pytest.approx(row["completions/mean_length"])
    assert {"generate", "grade"} <= set(trainer.stopwatch.total)


@pytest.mark.slow
def test_the_look_before_step_1_draws_nothing_from_the_training(tmp_path):
    import torch

    from smolmath.training.grpo.scoring import phase_scorer
    from smolmath.training.grpo.trainer import METHOD

    phase = GRPO.model_copy(update={"grpo": GRPO.grpo | {"max_steps": 2, "learning_rate": 1.0e-3}})
    looked, _ = grpo_trainer(tmp_path / "b", phase)
    tokenizer = looked.processing_class
    findings, seen = METHOD.look(
        context(
            tmp_path,
            phase,
            model=looked.model,
            tokenizer=tokenizer,
            problems=SUMS,
            prompt=DEMO_PROMPT,
            max_completion_tokens=64,
            score=phase_scorer(phase, DEMO_PROMPT, tokenizer),
        )
    )
    assert seen == "8 prompts × 6 completions"
    assert {f.what for f in findings} >= {"cut off", "in the asked format", "groups without a spread of rewards"}
    looked.train()
    plain, _ = grpo_trainer(tmp_path / "a", phase)  # seeds, so that it is made when the other has trained
    plain.train()
    assert losses(plain) == losses(looked)
    for name, weights in weights_of(plain).items():
        assert torch.equal(weights, weights_of(looked)[name]), name


@pytest.mark.slow
def test_a_lora_target_that_matches_nothing_is_named_with_the_nearest():
    from smolmath.errors import StageError
    from smolmath.params.phases import LoraParams
    from smolmath.training.phase.models import load_for_training, lora_config

    model, _ = load_for_training(ROOT / "bases" / "calc", HARDWARE)
    lora = LoraParams(r=4, alpha=8, dropout=0.0, target_modules=["q_proj", "q_prj"])
    with pytest.raises(
        StageError, match=r"phases\.p\.lora\.target_modules: the model has no module 'q_prj'\. Did you mean 'q_proj'"
    ):
        lora_config(lora, model, "p")


@pytest.mark.slow
def test_sft_learns_the_end_token_also_where_it_pads_and_packs_where_it_is_asked_to(tmp_path):
    from smolmath.training.phase.models import load_for_training
    from smolmath.training.sft.trainer import make_sft_trainer

    model, tokenizer = load_for_training(ROOT / "bases" / "calc", HARDWARE)
    tokenizer.pad_token = tokenizer.eos_token
    problems = [
        {"question": "1 + 2 =", "reference_answer": "3", "reasoning": "1+2=3" + "\n3+0=3" * (i % 3)} for i in range(24)
    ]

    def batch(phase):
        trainer = make_sft_trainer(context(tmp_path, phase, problems=problems, model=model, tokenizer=tokenizer))
        return next(iter(trainer.get_train_dataloader()))

    plain = batch(SFT)
    for ids, labels in zip(plain["input_ids"].tolist(), plain["labels"].tolist(), strict=True):
        learnt = [token for token, label in zip(ids, labels, strict=True) if label != -100]
        assert learnt.count(tokenizer.eos_token_id) == 1  # its own end, and no padding
    packed = batch(SFT.model_copy(update={"sft": {"max_steps": 1, "packing": True, "max_length": 256}}))
    text = tokenizer.decode([t for t in packed["labels"].flatten().tolist() if t != -100])
    assert text.count("<answer>") > 12  # more than one example in a row, each with loss on its completion alone
    assert "Work it out." not in text


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_before_its_checkpoint_and_names_the_step(tmp_path):
    from smolmath.errors import StageError
    from smolmath.training.phase.models import load_for_training
    from smolmath.training.phase.stopwatch import Stopwatch
    from smolmath.training.phase.watching import WatchCallback
    from smolmath.training.sft.trainer import make_sft_trainer

    phase = SFT.model_copy(
        update={
            "checkpoint_steps": 1,
            "sft": {"max_steps": 5, "learning_rate": 1.0e30, "lr_scheduler_type": "constant"},
        }
    )
    model, tokenizer = load_for_training(ROOT / "bases" / "calc", HARDWARE)
    problems = [{"question": f"{i} + 2 =", "reference_answer": "3", "reasoning": "1+2=3"} for i in range(12)]
    trainer = make_sft_trainer(context(tmp_path, phase, problems=problems, model=model, tokenizer=tokenizer))
    trainer.add_callback(
        WatchCallback("p", stopwatch=Stopwatch(), advance=lambda *_: None, tracker=None, validation_problems=None)
    )
    with pytest.raises(StageError, match=r"p: the (loss|grad_norm) of step 2 is (nan|inf), so the weights are lost"):
        trainer.train()
    assert [path.name for path in (tmp_path / "checkpoints").glob("checkpoint-*")] == ["checkpoint-1"]
