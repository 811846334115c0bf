"""How to run a published model, as code that runs as it stands; a test runs what the card says."""

import json
import re
import shlex
from dataclasses import dataclass

from smolmath.params.prompt import PromptParams

QUESTION = "Tom has 3 apples and buys 4 more. How many apples has he now?"
LONGEST = 400  # characters of a question that code shows
WIDTH = 80  # of its lines


@dataclass(frozen=True)
class Snippets:
    """Code blocks without their fences."""

    transformers: str
    vllm_serve: str
    vllm_client: str
    smolagents: str


def snippets(
    called: str,
    *,
    prompt: PromptParams,
    knows_prompt: bool,
    question: str | None,
    max_completion_tokens: int,
    adapter_base: str | None,
) -> Snippets:
    """Args: knows_prompt: the chat template adds the system prompt, so that a chat need not have it."""
    words = {
        "model": _text(called),
        "chat": _chat(prompt, knows_prompt=knows_prompt),
        "tokens": str(max_completion_tokens),
        "tag": prompt.answer_tag,
        "question": _wrapped(question if question and len(question) <= LONGEST else QUESTION),
    }
    loaded = LOADED[adapter_base is not None]
    name = called.rstrip("/").split("/")[-1]
    return Snippets(
        transformers=_filled(f"import re\n{loaded}{PLAIN}", words),
        vllm_serve=(
            shlex.join(["vllm", "serve", adapter_base, "--enable-lora", "--lora-modules", f"{name}={called}"])
            if adapter_base
            else shlex.join(["vllm", "serve", called])
        ),
        vllm_client=_filled(
            CLIENT,
            words
            | (
                {"model": _text(name), "chat": _chat(prompt, knows_prompt=False)}
                if adapter_base  # vLLM takes the base's chat template
                else {}
            ),
        ),
        smolagents=_filled(f"from smolagents import CodeAgent, InferenceClientModel, tool{loaded}\n{AGENT}", words),
    )


def _chat(prompt: PromptParams, *, knows_prompt: bool) -> str:
    """A chat that asks what the variable `question` holds."""
    user = '{"role": "user", "content": question}'
    if knows_prompt or not prompt.system:
        return f"[{user}]"
    return f'[{{"role": "system", "content": {_text(prompt.system)}}}, {user}]'


def _text(value: str) -> str:
    """A Python literal in double quotes."""
    return json.dumps(value, ensure_ascii=False)


def _wrapped(value: str) -> str:
    """The same over several lines, where it is long."""
    pieces = [""]
    for word in re.split(r"(?<=\s)", value):
        if len(pieces[-1] + word) > WIDTH:
            pieces.append("")
        pieces[-1] += word
    if len(pieces) == 1:
        return _text(value)
    return "(\n" + "".join(f"    {_text(piece)}\n" for piece in pieces) + ")"


def _filled(template: str, words: dict[str, str]) -> str:
    return re.sub("«([a-z]+)»", lambda found: words[found[1]], template.strip("\n"))  # once: values aren't looked at


LOADED = {
    False: """
from transformers import pipeline

ask = pipeline("text-generation", model=«model»)
""",
    True: """
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer, GenerationConfig, pipeline

model = AutoPeftModelForCausalLM.from_pretrained(«model»)
model.generation_config = GenerationConfig.from_pretrained(«model»)
ask = pipeline("text-generation", model=model, tokenizer=AutoTokenizer.from_pretrained(«model»))
""",
}  # of an adapter?
PLAIN = """
question = «question»
chat = «chat»
completion = ask(chat, max_new_tokens=«tokens», do_sample=False)[0]["generated_text"][-1]["content"]
print(completion)

answers = re.findall(r"<«tag»>\\s*(.*?)\\s*</«tag»>", completion, re.DOTALL)
print("answer:", answers[-1] if answers else "none")
"""
CLIENT = """
from openai import OpenAI

client = OpenAI(base_url="http://localhost:8000/v1", api_key="none")
question = «question»
chat = «chat»
reply = client.chat.completions.create(model=«model», messages=chat, temperature=0, max_tokens=«tokens»)
print(reply.choices[0].message.content)
"""
# A tool around the pipeline, not smolagents' TransformersModel: what that writes for a message's role (an enum's name)
# is not what every chat template expects.
AGENT = """
@tool
def work_out(question: str) -> str:
    \"\"\"Works a math problem out, step by step, and gives its answer.

    Args:
        question: The problem, as a person would ask it.
    \"\"\"
    chat = «chat»
    return ask(chat, max_new_tokens=«tokens», do_sample=False)[0]["generated_text"][-1]["content"]


question = «question»
print(work_out(question))
agent = CodeAgent(tools=[work_out], model=InferenceClientModel())  # or any other model of smolagents
"""
