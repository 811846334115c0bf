"""Generation with transformers: prompts padded on the left and generated together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.generation import BaseStreamer
from transformers.utils import logging as hf_logging

from smolmath.engines import Completion, Sampling
from smolmath.errors import StageError
from smolmath.kernels import arithmetic
from smolmath.prompts import Message, with_settings
from smolmath.running.params import HardwareParams

hf_logging.disable_progress_bar()  # its bars for loading and saving say nothing at these sizes


class ChatReader:
    """A tokenizer with its chat template: what every engine reads of a chat."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def render(self, prompt: Sequence[Message]) -> str:
        """Raises: StageError if the template is none, or refuses the chat (some know no system message)."""
        try:
            return str(self.tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True))
        except Exception as error:  # a template is a program of the model's: anything may go wrong in it
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            hint = " or empty prompt.system in params.yaml" if prompt[0]["role"] == "system" else ""
            raise StageError(
                f"{self.tokenizer.name_or_path}: its chat template can't write this chat ({reason}). Mend it{hint}, "
                "or use another model."
            ) from None

    def count_tokens(self, text: str) -> int:
        # verbose: of a text that is longer than the model reads it would print a warning
        return len(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


class TransformersEngine(ChatReader):
    """A model and its tokenizer, loaded (`load`) or borrowed from a trainer."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        self.model = model

    @classmethod
    def load(
        cls, model: Path, *, dtype: str, hardware: HardwareParams, template: Mapping[str, Any] | None = None
    ) -> Self:
        if hardware.threads:
            torch.set_num_threads(hardware.threads)
        device = device_of(hardware)
        computed = arithmetic(dtype, device)
        # Of one token at a time, a CPU's fused attention in bf16 is ten times slower than attention written out.
        attention = "eager" if device == "cpu" and computed != "float32" else None
        loaded = load_model(model, dtype=computed, attn_implementation=attention)
        loaded.to(device).eval()
        return cls(loaded, load_tokenizer(model, template))

    @property
    def device(self) -> str:
        return str(self.model.device.type)

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        sampling: Sampling,
        write: Callable[[str], None] | None = None,
    ) -> list[list[Completion]]:
        greedy = sampling.temperature == 0
        texts = [self.render(prompt) for prompt in prompts]
        batch = self.tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        ).to(self.model.device)
        draw: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if not greedy:
            draw = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        # A model's own generation config may hold more (Qwen2.5 asks for a repetition penalty): training and vLLM
        # don't use it, and all three must draw from the same distribution.
        draw |= {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_p": None, "typical_p": 1.0}
        ends = eos_ids(self.model, self.tokenizer)
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        # The seed is this call's alone: training that validates must draw what training that doesn't would draw.
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            torch.manual_seed(sampling.seed)
            output = self.model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=sampling.max_completion_tokens,
                num_return_sequences=sampling.samples,
                pad_token_id=self.tokenizer.pad_token_id,
                use_cache=True,
                streamer=None if write is None else _Pieces(self.tokenizer, ends, write),
                **draw,
            )
        completions = [self._completion(ids) for ids in output[:, batch["input_ids"].shape[1] :].tolist()]
        return [completions[i : i + sampling.samples] for i in range(0, len(completions), sampling.samples)]

    def _completion(self, ids: list[int]) -> Completion:
        """Cut at the first end token; without one the completion ran into the limit."""
        ends = eos_ids(self.model, self.tokenizer)
        length = next((i + 1 for i, token in enumerate(ids) if token in ends), None)
        text = self.tokenizer.decode(ids[:length], skip_special_tokens=True)
        return Completion(text, "length" if length is None else "stop", length or len(ids))


class _Pieces(BaseStreamer):  # type: ignore[misc]  # transformers' class is Any here
    """Hands on a completion's text token by token; what it has written in the end is the decoded completion.

    Not transformers' own TextStreamer, which decodes line by line: of tokenizers that leave out the space before a
    text's first word that loses spaces, and a formula without spaces would come only when its line is full.
    """

    def __init__(self, tokenizer: Any, ends: set[int], write: Callable[[str], None]) -> None:
        self.tokenizer, self.ends, self.write = tokenizer, ends, write
        self.ids: list[int] = []
        self.shown = self.before = 0  # ids whose text was written; the first of them that is decoded with the next
        self.asked = self.ended = False

    def put(self, value: Any) -> None:
        if not self.asked:  # the first that comes is the prompt
            self.asked = True
            return
        if self.ended:
            return
        self.ids += value.flatten().tolist()
        self.ended = self.ids[-1] in self.ends
        written, text = self._decode(self.ids[self.before : self.shown]), self._decode(self.ids[self.before :])
        if len(text) > len(written) and not text.endswith("\ufffd"):  # half of a character
            self.write(text[len(written) :])
            self.before, self.shown = self.shown, len(self.ids)

    def end(self) -> None:
        left = self._decode(self.ids[self.before :])[len(self._decode(self.ids[self.before : self.shown])) :]
        if left:
            self.write(left)

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


def load_model(folder: Path, **options: Any) -> Any:
    """A directory's model, by transformers' own code. Raises: StageError if it has to bring code along."""
    with no_code_of(folder):
        return AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, trust_remote_code=False, **options)


@contextmanager
def no_code_of(folder: Path) -> Iterator[None]:
    """Else transformers asks at the terminal, for 15 seconds, whether to run what the directory holds."""
    try:
        yield
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise StageError(
            f"{folder}: works with code of its own alone (auto_map in one of its files), and code of a model is never "
            "run. Use a model that transformers itself knows."
        ) from None


def load_tokenizer(folder: Path, template: Mapping[str, Any] | None = None) -> Any:
    """The tokenizer of a model directory, made to agree with its generation config on how a completion ends.

    Converted models are seen whose tokenizer names the wrong end token, or none to pad with; the generation config,
    which `generate` stops by, is then believed. Padding may share the end token: TRL masks by position, not by value,
    so the end token is learnt all the same.

    Args: template: what its chat template is given by name, wherever it renders (`prompt.chat_template_kwargs`);
        None: what it was saved with.
    Raises: StageError if it has no chat template, or one that does not ask for a name in `template`, or has to bring
    code along.
    """
    with no_code_of(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if not tokenizer.chat_template:
        raise StageError(f"{folder}: the tokenizer has no chat template. Use an instruct model, or add one to it.")
    if template is not None:
        tokenizer.chat_template = with_settings(tokenizer.chat_template, template, str(folder))
    if (folder / "generation_config.json").is_file():
        ends = GenerationConfig.from_pretrained(folder).eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        if ends[0] is not None and tokenizer.eos_token_id not in ends:
            tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ends[0])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def device_of(hardware: HardwareParams) -> str:
    """`cuda` or `cpu`; `auto` is CUDA where there is one."""
    if hardware.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if hardware.device == "cuda" and not torch.cuda.is_available():
        raise StageError("hardware.device: cuda, but torch sees no CUDA device here. Set it to auto or cpu.")
    return hardware.device


def eos_ids(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a completion: the generation config may name several."""
    configured = model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return {token for token in [*ids, tokenizer.eos_token_id] if token is not None}
