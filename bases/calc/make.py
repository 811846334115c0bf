"""Make the small base model that ships with smolmath: `python bases/calc/make.py OUT_DIR`.

A Qwen2-architecture model of about 0.9 million parameters, trained from nothing on problems of two reasoning-gym
tasks. It knows how to work a problem out line by line inside the tags, and it knows the habit of answering at once,
which is usually wrong; settings.yaml says how often it saw which. That leaves something to learn for SFT (legs: it
mostly answers at once) and for GRPO (sums: it tosses a coin), while the arithmetic itself is there.

Only problems whose side is `train` under settings.yaml's split are used; tests/test_shipped_base.py makes their ids
again and finds none of them on the validation or test side of the demo. Takes about 15 minutes on two cores.
"""

import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "src"))

from smolmath.data.layouts.worked import WORKED  # noqa: E402 (the path above comes first)
from smolmath.data.problems import problem_id, side_of  # noqa: E402

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TAGS = ["<reasoning>", "</reasoning>", "<answer>", "</answer>"]


def settings() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load((HERE / "settings.yaml").read_text())
    return loaded


def train_side_problems(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(task, reasoning-gym row) for every problem the base is trained on: the train side, each question once."""
    import reasoning_gym

    for task, entry in config["tasks"].items():
        seen = set()
        rows = reasoning_gym.create_dataset(task, seed=entry["seed"], size=entry["rows"], **entry["options"])
        for row in rows:
            identity = problem_id(row["question"])
            if identity not in seen and side_of(identity, **config["split"]) == "train":
                seen.add(identity)
                yield task, row


def completion(task: str, row: dict[str, Any], at_once: bool) -> str:
    if at_once:
        return f"The answer is {row['answer']}."
    steps = WORKED[task](row["metadata"])
    return f"<reasoning>\n{steps}\n</reasoning>\n<answer>\n{row['answer']}\n</answer>"


def make_tokenizer(texts: list[str], config: dict[str, Any]) -> Any:
    """Byte-level BPE with every digit a token of its own, so that numbers are read place by place."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config["vocabulary"],
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # Tags are single tokens but not special ones: skip_special_tokens must leave them in the text.
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="left"
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.model_max_length = config["model"]["max_position_embeddings"]
    return fast


def as_batch(pairs: list[tuple[str, str]], tokenizer: Any) -> tuple[Any, Any]:
    """Token ids and labels, both (B, T), padded on the right; the prompt's labels are -100, so it carries no loss."""
    import torch

    prompts = tokenizer([p for p, _ in pairs])["input_ids"]
    answers = tokenizer([c for _, c in pairs])["input_ids"]
    width = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    ids = torch.full((len(pairs), width), tokenizer.pad_token_id)
    labels = torch.full((len(pairs), width), -100)
    for i, (p, a) in enumerate(zip(prompts, answers, strict=True)):
        ids[i, : len(p) + len(a)] = torch.tensor(p + a)
        labels[i, len(p) : len(p) + len(a)] = torch.tensor(a)
    return ids, labels


def main(out: Path) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = settings()
    rng = random.Random(config["seed"])
    torch.manual_seed(config["seed"])
    problems: dict[str, list[dict[str, Any]]] = {task: [] for task in config["tasks"]}
    for task, row in train_side_problems(config):
        problems[task].append(row)
    print({task: len(rows) for task, rows in problems.items()}, "problems on the train side", flush=True)

    def sample_text() -> tuple[str, str]:
        task = rng.choices(list(problems), weights=[entry["share"] for entry in config["tasks"].values()])[0]
        row = rng.choice(problems[task])
        at_once = rng.random() < config["tasks"][task]["at_once"]
        prompt = "".join(
            f"<|im_start|>{role}\n{content}<|im_end|>\n"
            for role, content in (("system", config["system"]), ("user", row["question"].strip()))
        )
        return prompt + "<|im_start|>assistant\n", completion(task, row, at_once) + "<|im_end|>"

    tokenizer = make_tokenizer(["".join(sample_text()) for _ in range(20_000)], config)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            **config["model"],
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.set_attn_implementation("eager")  # a third faster than the fused kernel at this size on a CPU
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, vocabulary {len(tokenizer)}", flush=True)

    train = config["train"]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=train["learning_rate"], betas=(0.9, 0.95), weight_decay=train["weight_decay"]
    )
    started = time.monotonic()
    for step in range(train["steps"]):
        warmup = min(1.0, (step + 1) / train["warmup_steps"])
        rate = train["learning_rate"] * warmup * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / train["steps"])))
        for group in optimizer.param_groups:
            group["lr"] = rate
        total = 0.0
        samples = [sample_text() for _ in range(train["batch"])]
        targets = sum(len(ids) for ids in tokenizer([c for _, c in samples])["input_ids"])
        # Like lengths together: in one piece, half of the batch would be padding.
        samples.sort(key=lambda sample: len(sample[0]) + len(sample[1]))
        for chunk in range(0, len(samples), train["chunk"]):
            ids, labels = as_batch(samples[chunk : chunk + train["chunk"]], tokenizer)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(input_ids=ids).logits  # causal: padding on the right is never looked at
            loss = (
                torch.nn.functional.cross_entropy(
                    logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), reduction="sum"
                )
                / targets
            )
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 20 == 0 or step + 1 == train["steps"]:
            seconds = time.monotonic() - started
            print(f"step {step + 1}/{train['steps']}  loss {total:.4f}  {seconds:.0f} s", flush=True)
        if (step + 1) % 250 == 0 or step + 1 == train["steps"]:
            model.generation_config.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
            model.save_pretrained(out)
            tokenizer.save_pretrained(out)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
