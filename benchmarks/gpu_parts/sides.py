"""What runs in a measured process: the two trainings, the clock that is hung into them, the lengths they are given."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .machine import memory_in_use, synchronise
from .world import PHASE, Lengths, completion_lengths

ACTIVITIES = ("generate", "grade", "train")  # of a step; what else it does is the rest


class Clock:
    """Seconds by activity of each step, without what is inside another; lengths of what each step generated."""

    def __init__(self) -> None:
        self.begins: list[float] = []
        self.spent: dict[int, dict[str, float]] = defaultdict(lambda: dict.fromkeys(ACTIVITIES, 0.0))
        self.generated: dict[int, list[tuple[int, int]]] = {}  # step -> (prompt, completion) tokens of its batch
        self.memory = 0
        self._inside: list[float] = []  # seconds of the activities within each open one

    @contextmanager
    def __call__(self, activity: str) -> Iterator[None]:
        synchronise()
        began = time.perf_counter()
        self._inside.append(0.0)
        try:
            yield
        finally:
            synchronise()
            taken = time.perf_counter() - began
            self.spent[len(self.begins) - 1][activity] += taken - self._inside.pop()
            if self._inside:
                self._inside[-1] += taken
            self.memory = max(self.memory, memory_in_use())

    def watched(self, activity: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def called(*args: Any, **keywords: Any) -> Any:
            with self(activity):
                return method(*args, **keywords)

        return called

    def step(self) -> None:
        synchronise()
        self.begins.append(time.perf_counter())


def measured(train: Callable[[], None], lengths: Lengths) -> dict[str, Any]:
    """Call `train` and note of the GRPO trainer that it makes: what `Clock` has, step by step."""
    import transformers
    import trl
    from transformers.trainer_utils import SaveStrategy

    clock = Clock()

    class Steps(transformers.TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.step()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            clock.step()

        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            synchronise()
            self.updating = time.perf_counter()

        def on_optimizer_step(self, *_: Any, **__: Any) -> None:
            synchronise()
            clock.spent[len(clock.begins) - 1]["train"] += time.perf_counter() - self.updating

    trainer, generate = trl.GRPOTrainer, trl.GRPOTrainer._generate

    def noting_lengths(self: Any, prompts: list[Any]) -> Any:
        with clock("generate"):
            found = generate(self, prompts)
        clock.generated[len(clock.begins) - 1] = [(len(p), len(c)) for p, c in zip(found[0], found[1], strict=True)]
        return found

    trainer._generate = noting_lengths
    trainer._calculate_rewards = clock.watched("grade", trainer._calculate_rewards)
    trainer.training_step = clock.watched("train", trainer.training_step)
    unmeasured = transformers.Trainer.train

    def measured_train(self: Any, *args: Any, **keywords: Any) -> Any:
        self.args.save_strategy = SaveStrategy.NO  # the last step would write 6 GB, in a moment that is measured
        self.add_callback(Steps())
        return unmeasured(self, *args, **keywords)

    transformers.Trainer.train = measured_train
    transformers.GenerationMixin.generate = forced(transformers.GenerationMixin.generate, lengths)
    force_vllm(lengths)
    train()
    steps = range(len(clock.begins) - 1)
    return {
        "seconds": [clock.begins[step + 1] - clock.begins[step] for step in steps],
        "spent": [clock.spent[step] for step in steps],
        "generated": [clock.generated.get(step, []) for step in steps],
        "memory": clock.memory,
    }


def forced(generate: Callable[..., Any], lengths: Lengths) -> Callable[..., Any]:
    """transformers' `generate`, whose completions end where `lengths` says and nowhere else."""
    from transformers import LogitsProcessor, LogitsProcessorList

    class Ends(LogitsProcessor):
        def __init__(self, prompt_tokens: int, ends: list[int], drawn: list[int]) -> None:
            self.prompt_tokens, self.ends = prompt_tokens, ends
            self.rows: dict[int, list[int]] = defaultdict(list)  # completion length -> the rows that have it
            for row, length in enumerate(drawn):
                self.rows[length].append(row)

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            scores[:, self.ends] = -float("inf")
            if rows := self.rows.get(input_ids.shape[1] - self.prompt_tokens + 1):
                scores[rows] = -float("inf")
                scores[rows, self.ends[0]] = 0.0
            return scores

    @functools.wraps(generate)
    def called(self: Any, *args: Any, generation_config: Any = None, **keywords: Any) -> Any:
        ids, config = keywords["input_ids"], generation_config or self.generation_config
        ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        processor = Ends(ids.shape[1], ends, lengths.take(ids.shape[0]))
        return generate(
            self,
            *args,
            generation_config=generation_config,
            logits_processor=LogitsProcessorList([processor]),
            **keywords,
        )

    return called


def force_vllm(lengths: Lengths) -> None:
    """The same for vLLM, where it is installed: each prompt gets its own limit and ignores the end token."""
    try:
        from vllm import LLM
    except ImportError:
        return
    generate = LLM.generate

    @functools.wraps(generate)
    def called(self: Any, prompts: list[Any], sampling_params: Any, **keywords: Any) -> Any:
        drawn = []
        for length in lengths.take(len(prompts)):
            one = sampling_params.clone()
            one.max_tokens, one.ignore_eos = length, True
            drawn.append(one)
        return generate(self, prompts, sampling_params=drawn, **keywords)

    LLM.generate = called


def peer(params: dict[str, Any], *, dtype: str) -> None:
    """TRL alone with the classic notebook's settings; of smolmath it has the rewards, the same work for both.

    16 sequences a pass, 4 passes a step, weights in bf16, everything that the notebook left to TRL as TRL has it
    (gradient checkpointing on). vLLM's 0.3 of the GPU, as the notebook had it, where `params` say colocate.
    """
    import datasets
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from smolmath.rewards import reward_functions

    phase, hardware = params["phases"][PHASE], params["hardware"]
    small = hardware["device"] == "cpu"
    grpo = {name: value for name, value in phase["grpo"].items() if name in CLASSIC}
    sequences = phase["prompts_per_step"] * grpo["num_generations"]
    tokenizer = AutoTokenizer.from_pretrained("models/base", trust_remote_code=False)
    system = {"role": "system", "content": params["prompt"]["system"]}
    problems = datasets.Dataset.from_parquet(f"data/split/{PHASE}/train.parquet", cache_dir="peer-cache").map(
        lambda row: {"prompt": [system, {"role": "user", "content": row["question"]}]}
    )

    def knowing_the_end(reward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(reward)
        def scored(*, completion_ids: list[list[int]], **columns: Any) -> Any:
            finished = [ids[-1] == tokenizer.eos_token_id for ids in completion_ids]
            return reward(completion_ids=completion_ids, finished=finished, **columns)

        return scored

    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(
            "models/base", dtype=getattr(torch, dtype), trust_remote_code=False
        ),
        reward_funcs=[knowing_the_end(reward) for reward in reward_functions(list(phase["rewards"]))],
        args=GRPOConfig(
            output_dir="peer",
            per_device_train_batch_size=sequences // 4,
            gradient_accumulation_steps=4,
            reward_weights=list(phase["rewards"].values()),
            bf16=True,
            use_cpu=small,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=not small,
            **({"use_vllm": True, "vllm_gpu_memory_utilization": 0.3} if hardware["vllm"] == "colocate" else {}),
            **grpo,
        ),
        train_dataset=problems.select_columns(["prompt", "reference_answer", "reasoning"]),
        processing_class=tokenizer,
    )
    trainer.train()


# What the classic notebook set itself; it is what recipes/gsm8k-classic.yaml was made of.
CLASSIC = (
    "max_steps",
    "num_generations",
    "max_completion_length",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "adam_beta1",
    "adam_beta2",
    "weight_decay",
    "max_grad_norm",
)


def run(side: str, params: dict[str, Any]) -> dict[str, Any]:
    """Args: side: peer, peer-fp32, or anything else for our stage with `params`, which lie in params.yaml too."""
    from training import ours

    if side.startswith("peer"):
        train = functools.partial(peer, params, dtype="float32" if side == "peer-fp32" else "bfloat16")
    else:
        train = functools.partial(ours, params, PHASE)
    return measured(train, completion_lengths(params))
