"""A Modelfile for Ollama: how a GGUF file is asked there as it was trained to be.

Ollama writes chats by Go templates, and knows those of well-known models only. What stands around each message is
taken from what the model's own template writes; where that is no sequence of messages, Ollama is left to its guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smolmath.prompts import Message
from smolmath.using.solving.models import FoundModel

_TEXTS = {"system": "Sys tem 1", "user": "Us er 2", "assistant": "Assis tant 3"}  # that no template writes itself


@dataclass(frozen=True)
class ChatFormat:
    """Text around each role's messages, before a completion, and the system message of a chat that has none."""

    around: dict[str, tuple[str, str]]
    opening: str  # of the completion
    system: str | None

    def written(self, chat: Sequence[Message]) -> str:
        return "".join(self._around(one["role"], one["content"]) for one in chat) + self.opening

    def go_template(self) -> str:
        cases = [f'if eq .Role "{role}" }}}}' + self._around(role, "{{ .Content }}") for role in self.around]
        return "{{ range .Messages }}{{ " + "{{ else ".join(cases) + "{{ end }}{{ end }}" + self.opening

    def _around(self, role: str, content: str) -> str:
        before, after = self.around[role]
        return f"{before}{content}{after}"


def chat_format(tokenizer: Any) -> ChatFormat | None:
    """None where the template writes a chat in another way than message by message."""

    # What llama.cpp puts before every text by itself, as the tokenizer does.
    first = str(tokenizer.decode(tokenizer("")["input_ids"]))

    def render(chat: Sequence[Message], *, opened: bool = False) -> str:
        text = tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=opened)
        return str(text).removeprefix(first)

    chat: list[Message] = [{"role": role, "content": text} for role, text in _TEXTS.items()]
    try:
        around, before = {}, ""
        for end, message in enumerate(chat, 1):
            text = render(chat[:end])
            parts = text.removeprefix(before).split(message["content"])
            if not text.startswith(before) or len(parts) != 2:
                return None
            around[message["role"]], before = (parts[0], parts[1]), text
        opening = render(chat[:2], opened=True).removeprefix(render(chat[:2]))
        found = ChatFormat(around, opening, None)
        longer = [*chat, chat[1], chat[2], chat[1]]
        if found.written(longer) != render(longer, opened=True) or any(
            "{{" in text for text in (opening, *sum(around.values(), ()))
        ):
            return None
        system = _default_system(found, render(chat[1:2], opened=True), chat[1])
    except Exception:  # a template is a program of the model's, and some refuse such chats
        return None
    return None if system is None else ChatFormat(around, opening, system or None)


def _default_system(found: ChatFormat, alone: str, question: Message) -> str | None:
    """What the template itself tells a chat without a system message; None if it tells it in another way."""
    asked = found.written([question])
    begins, ends = found.around["system"]
    told = alone.removesuffix(asked)
    if told == "":
        return ""
    inner = told.removeprefix(begins).removesuffix(ends)
    return inner if alone.endswith(asked) and told == begins + inner + ends else None


def modelfile_of(model: FoundModel, gguf: str) -> str:
    """Raises: StageError if the model has no chat template."""
    from transformers import GenerationConfig

    from smolmath.engines.transformers import load_tokenizer

    tokenizer = load_tokenizer(model.folder)
    named = None
    if (model.folder / "generation_config.json").is_file():
        named = GenerationConfig.from_pretrained(model.folder).eos_token_id
    ids = {*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id} - {None}
    return modelfile(
        gguf,
        tokenizer,
        system=model.prompt.system,
        ends=[tokenizer.decode([token]) for token in sorted(ids)],
        context=model.context,
        tokens=model.max_completion_tokens,
    )


def modelfile(gguf: str, tokenizer: Any, *, system: str, ends: Sequence[str], context: int, tokens: int) -> str:
    """Args: gguf: the file's name. system: of training. ends: texts that end a completion. tokens: of one, at most."""
    found = chat_format(tokenizer)
    lines = [f"FROM ./{gguf}"]
    if found and '"""' not in found.go_template():
        lines.append(f'TEMPLATE """{found.go_template()}"""')
    told = (found.system if found else None) or system
    if told and '"""' not in told:
        lines.append(f'SYSTEM """{told}"""')
    settings = {
        "temperature": 0,
        "top_k": 0,
        "top_p": 1,
        "repeat_penalty": 1,
        "num_ctx": context,
        "num_predict": tokens,
    }
    lines += [f"PARAMETER {name} {value}" for name, value in settings.items()]
    lines += [f'PARAMETER stop "{end}"' for end in ends if '"' not in end]
    return "\n".join(lines) + "\n"
