"""What a model reads: every recipe's prompt, and what a chat template is given by name, also in the saved model."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from smolmath.engines.transformers import ChatReader, load_tokenizer
from smolmath.errors import StageError
from smolmath.params.core import read_params
from smolmath.params.prompt import PromptParams
from smolmath.prompts import chat_prompt, with_default_system, with_settings
from tests.conftest import ROOT

# As Qwen3's ends: without thinking the answer begins behind an empty block of it.
OWN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
OFF = {"enable_thinking": False}
ASKED = [{"role": "user", "content": "1+1="}]
THINKS, ANSWERS = "<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.fixture
def model(tmp_path):
    """The shipped base with a template that asks for something."""
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "bases" / "calc", folder)
    (folder / "chat_template.jinja").write_text(OWN)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": OWN}))
    return folder


def rendered(tokenizer, **named):
    return tokenizer.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True, **named)


def test_a_template_is_given_its_settings_wherever_it_is_rendered(model):
    assert ChatReader(load_tokenizer(model)).render(ASKED).endswith(THINKS)
    tokenizer = load_tokenizer(model, OFF)
    assert ChatReader(tokenizer).render(ASKED).endswith(ANSWERS)
    assert rendered(tokenizer, enable_thinking=True).endswith(THINKS)  # who names it decides


def test_a_saved_model_keeps_the_settings_beside_its_system_prompt_until_others_are_asked_for(model):
    tokenizer = load_tokenizer(model, OFF)
    tokenizer.chat_template = with_default_system(tokenizer.chat_template, "Be brief.")
    tokenizer.save_pretrained(model)
    saved = load_tokenizer(model)
    prompt = PromptParams(system="Be brief.", reasoning_tag="reasoning", answer_tag="answer")
    assert rendered(saved).endswith(ANSWERS)
    assert rendered(saved).startswith("<|im_start|>system\nBe brief.")
    assert ChatReader(load_tokenizer(model, OFF)).render(chat_prompt("1+1=", prompt)) == rendered(saved)
    assert load_tokenizer(model, OFF).chat_template == saved.chat_template
    other = load_tokenizer(model, {"enable_thinking": True})  # the next phase's
    assert rendered(other).endswith(THINKS)
    other.chat_template = with_default_system(other.chat_template, "Think.")
    assert rendered(other).endswith(THINKS)
    assert "Be brief" not in rendered(other)
    assert rendered(load_tokenizer(model, {})).endswith(THINKS)  # none: the template's own


def test_no_settings_leave_a_template_as_it_is():
    assert with_settings(OWN, {}, "m") == OWN


def test_a_setting_that_the_template_does_not_know_is_named(model):
    with pytest.raises(
        StageError, match=r"chat_template_kwargs: the chat template of .*model does not ask for enable_"
    ):
        load_tokenizer(model, {"enable_thinkin": False})


# The templates of the models that the recipes name: Qwen's as TRL keeps them, word for word.
TRL = Path(find_spec("trl").submodule_search_locations[0], "chat_templates")
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEMPLATES = {
    "Qwen/Qwen2.5-0.5B-Instruct": (TRL / "qwen2_5.jinja").read_text(),
    "Qwen/Qwen2.5-Coder-0.5B-Instruct": (TRL / "qwen2_5.jinja").read_text(),
    "Qwen/Qwen3-0.6B": (TRL / "qwen3.jinja").read_text(),
    "HuggingFaceTB/SmolLM2-135M-Instruct": SMOLLM2,
    "HuggingFaceTB/SmolLM2-360M-Instruct": SMOLLM2,
    "bases/calc": (ROOT / "bases" / "calc" / "chat_template.jinja").read_text(),
}
GOLDEN = {"Qwen/Qwen3-0.6B": "qwen3", "bases/calc": "demo"}  # the others write the same: qwen2.5
NOT_AT_HAND = {"Qwen/Qwen2.5-Math-1.5B"}


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")))
def test_a_recipes_prompt_is_the_text_that_its_model_was_taught_to_read(recipe, model):
    params = read_params(ROOT / "recipes" / f"{recipe}.yaml")
    base = params["model"].get("id") or params["model"]["path"]
    if base in NOT_AT_HAND:
        pytest.skip(f"the chat template of {base} is not at hand")
    (model / "chat_template.jinja").write_text(TEMPLATES[base])
    prompt = PromptParams(**params["prompt"])
    reader = ChatReader(load_tokenizer(model, prompt.chat_template_kwargs))
    golden = ROOT / "tests" / "prompts" / f"{GOLDEN.get(base, 'qwen2.5')}.txt"
    assert reader.render(chat_prompt("What is 6 times 7?", prompt)) == golden.read_text()
