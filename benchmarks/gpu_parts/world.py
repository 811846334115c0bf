"""A GSM8K run without a download: random weights of Qwen2.5-0.5B's shape, a tokenizer of made-up words, its lengths.

A random model never ends a completion and writes nothing that a grader could read, so lengths are drawn, and rewards
are 0: what is timed is the work, which does not depend on what is written.
"""

import itertools
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from smolmath.data.problems import problem_id
from smolmath.params.prompt import PromptParams
from smolmath.prompts import chat_prompt
from smolmath.records import PROBLEMS, write_table

from .costs import QWEN2_5_0_5B, Shape

ROOT = Path(__file__).resolve().parents[2]
PHASE = "gsm8k"
SMALL = Shape(hidden=128, intermediate=256, layers=2, heads=4, kv_heads=2, vocabulary=2048)
PROBLEM_COUNT = 256

# Tokens at 0, 5, … 100 % of GSM8K's 7,473 train problems: of the whole prompt (gsm8k-classic's system prompt and chat
# template included), and of the worked solution in the asked format with its end token. Counted with SmolLM2's
# tokenizer, which like Qwen2.5's has digits as single tokens and ChatML; Qwen2.5's own was not at hand.
PROMPT_TOKENS = (55, 76, 80, 82, 85, 88, 90, 92, 94, 97, 99, 102, 104, 108, 111, 114, 119, 125, 133, 144, 266)
COMPLETION_TOKENS = (41, 58, 65, 69, 74, 79, 83, 87, 92, 96, 101, 107, 112, 119, 125, 132, 140, 152, 167, 193, 359)

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|> {{ message['role'] }} {{ message['content'] }}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|> assistant{% endif %}"
)


class Lengths:
    """Lengths drawn from a distribution, the same ones in the same order for every side, whatever its batches are.

    Args: quantiles: at equal distances from 0 to 100 %. limit: what is longer is cut to.
    """

    def __init__(self, quantiles: Sequence[int], limit: int, *, scale: float = 1.0, seed: int = 1) -> None:
        self._quantiles, self._limit, self._scale = quantiles, limit, scale
        self._random = np.random.default_rng(seed)

    def take(self, count: int) -> list[int]:
        points = np.linspace(0, 1, len(self._quantiles))
        drawn = np.interp(self._random.random(count), points, self._quantiles) * self._scale
        return [max(2, min(self._limit, round(length))) for length in drawn]


def params_of_the_run(*, small: bool, steps: int) -> dict[str, Any]:
    """recipes/gsm8k-classic.yaml for `steps` steps, without a look before or a validation; `small`: for a CPU."""
    params: dict[str, Any] = YAML(typ="safe").load(
        (ROOT / "recipes" / "gsm8k-classic.yaml").read_text(encoding="utf-8")
    )
    phase = params["phases"][PHASE]
    # No random model would pass the look; neither it nor validation nor a checkpoint is part of a step.
    phase |= {"preflight": "off", "validation": None, "checkpoint_steps": 1000}
    phase["grpo"] |= {"max_steps": steps, "warmup_steps": 0}
    # Of a word that is one token: the question makes up the prompt's length, of which the real one is a part.
    params["prompt"]["system"] = "ab"
    params["hardware"]["checkpoint_minutes"] = None
    if small:
        phase["prompts_per_step"] = 2
        phase["grpo"] |= {"num_generations": 4, "max_completion_length": 25}
        params["model"]["dtype"] = "float32"
        params["hardware"] |= {"device": "cpu", "micro_batch": 4, "vllm": "off"}
    return params


def completion_lengths(params: dict[str, Any]) -> Lengths:
    limit = params["phases"][PHASE]["grpo"]["max_completion_length"]
    return Lengths(COMPLETION_TOKENS, limit, scale=limit / 200)


def make_world(folder: Path, params: dict[str, Any], *, small: bool) -> None:
    """models/base and data/split of a run, where its stage expects them."""
    shape = SMALL if small else QWEN2_5_0_5B
    tokenizer = made_up_tokenizer(shape.vocabulary)
    write_model(folder / "models" / "base", shape, tokenizer, dtype=params["model"]["dtype"])
    limit = params["phases"][PHASE]["max_prompt_tokens"]
    problems = made_up_problems(tokenizer, PromptParams(**params["prompt"]), Lengths(PROMPT_TOKENS, limit))
    write_table(folder / "data" / "split" / PHASE / "train.parquet", problems, PROBLEMS)


def made_up_tokenizer(vocabulary: int) -> Any:
    """Qwen2's tokenizer with other tokens: bytes, and as many words of letters behind a space as the vocabulary holds.

    A config of Qwen2 makes transformers and vLLM read whatever lies beside it as Qwen2's own kind, byte-level BPE.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    tokens, merges, stems = [*SPECIAL, *sorted(ByteLevel.alphabet())], [], ["Ġ"]
    while len(tokens) < vocabulary:
        pairs = list(itertools.islice(itertools.product(stems, string.ascii_lowercase), vocabulary - len(tokens)))
        merges += pairs
        stems = [stem + letter for stem, letter in pairs]
        tokens += stems
    return Qwen2Tokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
    )


def write_model(folder: Path, shape: Shape, tokenizer: Any, *, dtype: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(model_config(shape, eos=tokenizer.eos_token_id))
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def model_config(shape: Shape, *, eos: int) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=True,
        max_position_embeddings=32768,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        rms_norm_eps=1e-6,
        bos_token_id=None,
        eos_token_id=eos,
    )


def made_up_problems(tokenizer: Any, prompt: PromptParams, lengths: Lengths) -> list[dict[str, Any]]:
    """Problems whose whole prompts have the drawn lengths, or a word if the rest is longer."""

    def tokens(question: str) -> int:
        text = tokenizer.apply_chat_template(chat_prompt(question, prompt), tokenize=False, add_generation_prompt=True)
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    random = np.random.default_rng(1)
    words = sorted(token[1:] for token in tokenizer.get_vocab() if token.startswith("Ġ") and len(token) > 2)
    rest = tokens(words[0]) - 1
    drawn = lengths.take(PROBLEM_COUNT)
    questions = [" ".join(random.choice(words, max(1, n - rest))) for n in drawn]
    assert [tokens(question) for question in questions] == [max(1 + rest, n) for n in drawn]
    return [
        {
            "id": problem_id(question),
            "dataset": PHASE,
            "question": question,
            "reference_answer": str(number),
            "reasoning": None,
            "source": None,
            "raw_file": "made-up",
            "raw_row": number,
        }
        for number, question in enumerate(questions)
    ]
