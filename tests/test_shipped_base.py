"""The base that ships with the repository: small, safe to load, and never shown what the demo evaluates."""

import importlib.util
import json

import pytest

from smolmath.data.problems import problem_id, side_of
from smolmath.params.core import load_section, read_params
from smolmath.params.split import SplitParams
from tests.conftest import ROOT

BASE = ROOT / "bases" / "calc"


def load_make():
    spec = importlib.util.spec_from_file_location("make_calc", BASE / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # one of reasoning-gym's own dependencies compares with `is`
def test_the_base_was_trained_on_no_problem_that_the_demo_validates_or_tests():
    import reasoning_gym

    make = load_make()
    config = make.settings()
    trained = {problem_id(row["question"]) for _, row in make.train_side_problems(config)}
    params = read_params(ROOT / "recipes" / "demo.yaml")
    split = load_section(params, "split", SplitParams).model_dump()
    assert config["split"] == split
    held_out = {
        identity
        for entry in params["datasets"].values()
        for row in reasoning_gym.create_dataset(
            entry["task"], seed=entry["seed"], size=entry["rows"], **entry["options"]
        )
        if side_of(identity := problem_id(row["question"]), **split) != "train"
    }
    assert len(trained) > 100_000
    assert len(held_out) > 1_000
    assert not trained & held_out


def test_the_base_is_small_and_holds_nothing_but_configs_tokenizer_and_safetensors():
    files = {path.name: path.stat().st_size for path in BASE.iterdir() if path.is_file()}
    assert sum(files.values()) <= 4_000_000
    assert set(files) == {
        "chat_template.jinja", "config.json", "generation_config.json", "make.py", "model.safetensors", "settings.yaml",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    config = json.loads((BASE / "config.json").read_text())
    assert config["hidden_size"] // config["num_attention_heads"] >= 32  # the least that vLLM takes on a CPU


def test_the_base_was_taught_the_prompt_that_the_demo_asks_with():
    assert load_make().settings()["system"] == read_params(ROOT / "recipes" / "demo.yaml")["prompt"]["system"]


@pytest.mark.slow
def test_the_tags_are_single_tokens_that_decoding_keeps():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(BASE)
    for tag in load_make().TAGS:
        ids = tokenizer(tag, add_special_tokens=False)["input_ids"]
        assert len(ids) == 1
        assert tokenizer.decode(ids, skip_special_tokens=True) == tag
