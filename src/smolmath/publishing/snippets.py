"""How to run a published model, as code that runs as it stands; a test runs what the card says."""

import json
import re
from dataclasses import dataclass

from smolmath.params.prompt import PromptParams

QUESTION = "Tom has 3 apples and buys 4 more. How many apples has he now?"
LONGEST = 200  # characters of a question that fits into a line of code


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
    question = question if question and len(question) <= LONGEST else QUESTION
    told = {
        "model": _text(called),
        "chat": _chat(prompt, knows_prompt=knows_prompt, question=question),
        "tokens": str(max_completion_tokens),
        "tag": prompt.answer_tag,
        "messages": _messages(prompt, knows_prompt=knows_prompt),
        "question": _text(question),
    }
    name = called.rstrip("/").split("/")[-1]
    return Snippets(
        transformers=_filled(ADAPTER if adapter_base else PIPELINE, told),
        vllm_serve=(
            f"vllm serve {adapter_base} --enable-lora --lora-modules {name}={called}"
            if adapter_base
            else f"vllm serve {called}"
        ),
        vllm_client=_filled(
            CLIENT,
            told
            | (
                {"model": _text(name), "chat": _chat(prompt, knows_prompt=False, question=question)}
                if adapter_base  # vLLM takes the base's chat template
                else {}
            ),
        ),
        smolagents=_filled(AGENT, told),
    )


def _messages(prompt: PromptParams, *, knows_prompt: bool) -> str:
    """What stands before the user's message in smolagents' form."""
    if knows_prompt or not prompt.system:
        return ""
    return f'{{"role": "system", "content": [{{"type": "text", "text": {_text(prompt.system)}}}]}}, '


def _chat(prompt: PromptParams, *, knows_prompt: bool, question: str) -> str:
    user = f'{{"role": "user", "content": {_text(question)}}}'
    if knows_prompt or not prompt.system:
        return f"[{user}]"
    return f'[{{"role": "system", "content": {_text(prompt.system)}}},\n        {user}]'


def _text(value: str) -> str:
    """A Python literal in double quotes."""
    return json.dumps(value, ensure_ascii=False)


def _filled(template: str, told: dict[str, str]) -> str:
    return re.sub("«([a-z]+)»", lambda found: told[found[1]], template.strip("\n"))  # once: values aren't looked at


ANSWER = """
chat = «chat»
completion = ask(chat, max_new_tokens=«tokens», do_sample=False)[0]["generated_text"][-1]["content"]
print(completion)

answers = re.findall(r"<«tag»>\\s*(.*?)\\s*</«tag»>", completion, re.DOTALL)
print("answer:", answers[-1] if answers else "none")
"""
PIPELINE = f"""
import re

from transformers import pipeline

ask = pipeline("text-generation", model=«model»)
{ANSWER.strip()}
"""
ADAPTER = f"""
import re

from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer, GenerationConfig, pipeline

model = AutoPeftModelForCausalLM.from_pretrained(«model»)
model.generation_config = GenerationConfig.from_pretrained(«model»)
ask = pipeline("text-generation", model=model, tokenizer=AutoTokenizer.from_pretrained(«model»))
{ANSWER.strip()}
"""
CLIENT = """
from openai import OpenAI

client = OpenAI(base_url="http://localhost:8000/v1", api_key="none")
chat = «chat»
reply = client.chat.completions.create(model=«model», messages=chat, temperature=0, max_tokens=«tokens»)
print(reply.choices[0].message.content)
"""
AGENT = """
from smolagents import CodeAgent, InferenceClientModel, TransformersModel, tool

reasoner = TransformersModel(model_id=«model», max_new_tokens=«tokens», do_sample=False)


@tool
def work_out(question: str) -> str:
    \"\"\"Works a math problem out, step by step, and gives its answer.

    Args:
        question: The problem, as a person would ask it.
    \"\"\"
    asked = [«messages»{"role": "user", "content": [{"type": "text", "text": question}]}]
    return reasoner(asked).content


print(work_out(«question»))
agent = CodeAgent(tools=[work_out], model=InferenceClientModel())  # or any other model of smolagents
"""
