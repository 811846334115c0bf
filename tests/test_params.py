"""Bad params get one clear error: which key, what it holds, what is allowed."""

import copy
import math

import pytest

from smolmath.params.core import ParamsError, read_params
from smolmath.running.check import check_file, check_params, warnings
from tests.conftest import ROOT

RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.chdir(ROOT)
    return copy.deepcopy(read_params("recipes/demo.yaml"))


def put(params, dotted, value):
    *path, last = dotted.split(".")
    for part in path:
        params = params[part]
    params[last] = value


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_sound(recipe, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert check_params(read_params(f"recipes/{recipe}.yaml")) == []


RATED = {
    "dataset": "sums", "model": "base", "problems": None, "samples": 4, "temperature": 1.0, "top_p": 1.0,
    "max_completion_tokens": 8, "batch_size": 4,
}  # fmt: skip
CASES = {
    "unknown section": ("trackng", {}, "trackng: unknown section. Did you mean 'tracking'?"),
    "misspelt key": ("evaluate.sampling.temprature", 1.0, "evaluate.sampling.temprature: unknown key. Did you mean 'temperature'?"),
    "wrong type": ("evaluate.sampling.samples", "4", "evaluate.sampling.samples: '4' is not allowed: input should be a valid integer."),
    "out of range": ("split.test_fraction", 1.5, "split.test_fraction: 1.5 is not allowed: input should be less than 1."),
    "nothing left to train": ("split.test_fraction", 0.95, "must add up to less than 1"),
    "seed of a wrong type": ("seed", "one", "seed: 'one' is not allowed"),
    "init that does not exist": ("phases.legs.init", "sum", "phases.legs.init: 'sum' is neither base nor a phase. Did you mean 'sums'?"),
    "circle": ("phases.sums.init", "legs", "the phases form a circle (sums → legs → sums). Let one start from base."),
    "phase that starts from itself": ("phases.sums.init", "sums", "the phases form a circle (sums → sums)."),
    "dataset of a phase": ("phases.sums.dataset", "sum", "phases.sums.dataset: 'sum' is no dataset. Did you mean 'sums'?"),
    "method": ("phases.sums.method", "gpro", "phases.sums.method: 'gpro' is no method. Did you mean 'grpo'?"),
    "evaluated model": ("evaluate.models", ["base", "leg"], "evaluate.models: 'leg' is no phase. Did you mean 'legs'?"),
    "evaluated dataset": ("evaluate.datasets", ["sum"], "evaluate.datasets: 'sum' is no dataset. Did you mean 'sums'?"),
    "source": ("datasets.sums.source", "reasoning-gym", "datasets.sums.source: 'reasoning-gym' is no source. Did you mean 'reasoning_gym'?"),
    "data file that is missing": (
        "datasets.mine", {"source": "files", "path": "nowhere/data"}, "datasets.mine.path: nowhere/data does not exist."),
    "path out of the repository": (
        "datasets.mine", {"source": "files", "path": "../data"}, "name it absolutely"),
    "side": (
        "datasets.mine", {"source": "files", "path": "data", "sides": {"trian": "*"}}, "'trian' is no side of a split. Did you mean 'train'?"),
    "one split on two sides": (
        "datasets.mine", {"source": "hub", "path": "x", "id": "a/b", "splits": {"train": "train", "test": "train"}},
        "puts one split on two sides: what is tested would be trained on"),
    "layout": (
        "datasets.mine", {"source": "files", "path": "data", "layout": "gsm8"}, "layout 'gsm8' does not exist. Did you mean 'gsm8k'?"),
    "role of a column": (
        "datasets.mine", {"source": "files", "path": "data", "columns": {"question": "q", "refrence_answer": "a"}},
        "datasets.mine: columns.refrence_answer: unknown. Did you mean 'reference_answer'?"),
    "script": ("process.scripts", ["LATIN", "CYRILIC"], "process.scripts: 'CYRILIC' is no script of Unicode. Did you mean 'CYRILLIC'?"),
    "range of lengths": ("process.question_chars", [9, 3], "process.question_chars: [9, 3] is no range"),
    "range of pass rates": ("phases.sums.pass_rate", [0.9, 0.1], "phases.sums.pass_rate: [0.9, 0.1] is no range of pass rates"),
    "pass rate of problems that nobody rated": (
        "phases.sums.pass_rate", [0.1, 0.9], "phases.sums.pass_rate: the problems of dataset 'sums' have no pass rates"),
    "protected dataset": ("process.contamination.dataset", "sum", "process.contamination.dataset: 'sum' is no dataset. Did you mean 'sums'?"),
    "rated by a model that is unknown": ("difficulty.rated", RATED | {"model": "sum"}, "difficulty.rated.model: 'sum' is no phase. Did you mean 'sums'?"),
    "sampling of an unknown dataset": (
        "evaluate.per_dataset", {"leg": {"samples": 1}}, "per_dataset.leg: not among evaluate.datasets (legs, sums). Did you mean 'legs'?"),
    "unknown key of a dataset's sampling": (
        "evaluate.per_dataset", {"legs": {"sample": 1}}, "per_dataset.legs.sample: not a key of `sampling`. Did you mean 'samples'?"),
    "pass@k by name": ("evaluate.sampling.pass_at_k", 8, "evaluate.sampling.pass_at_k: pass@k, maj@k and mean@k are made of `samples`"),
    "pass@k of no samples": (
        "evaluate.per_dataset", {"legs": {"samples": 0, "pass@8": True}}, "evaluate.per_dataset.legs.pass@8: pass@k, maj@k and mean@k"),
    "impossible sampling of a dataset": ("evaluate.per_dataset", {"legs": {"temperature": 0}}, "temperature"),
    "test-only dataset of a phase": ("datasets.sums.use", "test", "phases.sums.dataset: dataset 'sums' is there to be tested on"),
    "rated dataset": ("difficulty.rated", RATED | {"dataset": "sum"}, "difficulty.rated.dataset: 'sum' is no dataset. Did you mean 'sums'?"),
    "rating called as a dataset": ("difficulty.sums", RATED, "difficulty.sums: a dataset has this name"),
    "model directory": (
        "model", {"source": "files", "path": "models/none", "dtype": "float32"},
        "model.path: the model directory models/none does not exist."),
    "model directory without weights": (
        "model", {"source": "files", "path": "stages", "dtype": "float32"}, "stages is no model directory: it lacks *.safetensors"),
    "unknown reward": ("phases.sums.rewards", {"corectness": 1.0}, "phases.sums.rewards:"),
    "reward without its options": ("phases.sums.rewards", {"overlong": {"weight": 1.0, "max_tokens": 9}}, "phases.sums.rewards: Reward 'overlong' needs soft_tokens."),
    "reward of an unknown option": ("phases.sums.rewards", {"correctness": {"weight": 1.0, "scale": 2}}, "phases.sums.rewards: Reward 'correctness' has no option 'scale'."),
    "reward without a weight": ("phases.sums.rewards", {"tag_count": {"scale": 2}}, "phases.sums.rewards.tag_count"),
    "reward that DVC does not watch": ("phases.sums.rewards", {"mine": {"weight": 1.0, "function": "smolmath.running.recipes:recipes"}}, "'mine' is read from src/smolmath/running/recipes.py, which the train stage does not depend on"),
    "reward without a module": ("phases.sums.rewards", {"mine": {"weight": 1.0, "function": "brief"}}, "phases.sums.rewards.mine"),
    "rewards all zero": ("phases.sums.rewards", {"correctness": 0.0}, "every weight is 0"),
    "no round of redrawing": ("phases.sums.resample", {"rounds": 0}, "phases.sums.resample.rounds: 0 is not allowed: input should be greater than or equal to 1."),
    "redrawing without a bound": ("phases.sums.resample", {}, "phases.sums.resample.rounds"),
    "redrawing where nothing is drawn": ("phases.legs.resample", {"rounds": 2}, "phases.legs.resample: unknown key."),
    "problems that are never passed over": ("phases.sums.online_difficulty", {"skip": 0.0}, "phases.sums.online_difficulty.skip: 0.0 is not allowed: input should be greater than 0."),
    "more prompts than problems": ("process.limit", 7, "phases.sums: one generation asks 8 prompts (prompts_per_step × grpo.steps_per_generation), and process.limit allows 7 problems. Raise that"),
    "group of one": ("phases.sums.grpo.num_generations", 1, "a group needs at least 2 completions to compare"),
    "generations that don't fit": (
        "hardware.micro_batch", 24, "8 × num_generations 16), which hardware.micro_batch 24 does not divide."),
    "no GPU at all": ("hardware.devices", [], "hardware.devices: [] names no GPUs: auto, all, or their numbers"),
    "unknown TRL field": (
        "phases.sums.grpo.learning_rat", 1e-6, "the installed trl.GRPOConfig has no such field. Did you mean 'learning_rate'?"),
    "TRL field of a wrong type": ("phases.sums.grpo.learning_rate", "1e-6", "'1e-6' is a str; expected: a valid number."),
    "negative learning rate": (
        "phases.sums.grpo.learning_rate", -1, "phases.sums.grpo.learning_rate: -1 is not allowed: it should be greater than 0."),
    "share above 1": ("phases.sums.grpo.top_p", 1.5, "phases.sums.grpo.top_p: 1.5 is not allowed: it should be less than or equal to 1."),
    "field that smolmath owns": (
        "phases.legs.sft.per_device_train_batch_size", 8, "smolmath owns this field. Set hardware.micro_batch"),
    "completions pushed to the hub": (
        "phases.sums.grpo.log_completions_hub_repo", "me/mine", "Set nothing: stages never push instead."),
    "weights cast to bf16 for good": (
        "phases.sums.grpo.use_transformers_continuous_batching", True, "smolmath owns this field. Set hardware.vllm"),
    "the same by its old name": ("phases.sums.grpo.use_transformers_paged", True, "Set hardware.vllm instead."),
    "settings of what is refused": (
        "phases.sums.grpo.transformers_continuous_batching_config", {}, "smolmath owns this field. Set hardware.vllm"),
    "setting of a template that rendering gives": (
        "prompt.chat_template_kwargs", {"messages": "x"}, "prompt.chat_template_kwargs: 'messages' is no setting of a chat template"),
    "setting of a template without a name": ("prompt.chat_template_kwargs", {"enable thinking": False}, "'enable thinking' is no setting"),
    "settings of a template under the phase": (
        "phases.sums.grpo.chat_template_kwargs", {"enable_thinking": False}, "Set prompt.chat_template_kwargs"),
    "W&B project under the phase": ("phases.legs.sft.report_to", "wandb", "Set tracking.wandb instead."),
    "init of a wrong type": ("phases.legs.init", ["base"], "phases.legs.init:"),
    "method of a wrong type": ("phases.legs.method", ["sft"], "phases.legs.method: ['sft'] is no method."),
    "source of a wrong type": ("model.source", ["hub"], "model.source: ['hub'] is no source."),
    "no steps": ("phases.sums.grpo.max_steps", -5, "phases.sums.grpo.max_steps: -5 is not allowed"),
    "checkpoints off the generation's boundaries": (
        "phases.sums.grpo.steps_per_generation", 3, "is no multiple of steps_per_generation × num_iterations = 3"),
    "two stages of one name": (
        "evaluate.models", ["sums", "sums"], "evaluate: sums-legs, sums-sums would name two stages."),
    "key that breaks DVC": ("datasets.sums.options.size", 3, "datasets.sums.options.size: the key 'size' makes DVC restore stale"),
    "name that DVC cannot use": ("datasets.Sums", {}, "datasets.Sums: not a usable name."),
    "name that ends a line": ("datasets.sums\n", {}, "not a usable name."),
    "phase called base": ("phases.base", {}, "phases.base: not a usable name."),
}  # fmt: skip


def test_worked_examples_of_a_dataset_that_is_only_tested_on_are_refused_before_anything_runs(demo):
    put(demo, "datasets.legs.use", "test")
    put(demo, "phases.legs.dataset", "sums")
    assert check_params(demo) == []
    put(demo, "evaluate.per_dataset", {"legs": {"shots": 2}})
    assert any(
        "evaluate: shots for legs: dataset 'legs' is there to be tested on" in one for one in check_params(demo)
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_mistake_is_named_with_its_key_and_its_mend(demo, case):
    dotted, value, message = CASES[case]
    put(demo, dotted, value)
    mistakes = check_params(demo)
    assert any(message in mistake for mistake in mistakes), "\n".join(mistakes)


@pytest.mark.parametrize(("key", "chooses"), [("resample", {"rounds": 1}), ("online_difficulty", {"skip": 0.5})])
def test_where_prompts_give_their_places_up_there_must_be_others(demo, key, chooses):
    demo["datasets"]["sums"]["rows"] = 8  # what a step asks
    assert check_params(demo) == []
    demo["phases"]["sums"][key] = chooses
    (mistake,) = check_params(demo)
    assert f"{key} needs others beside them, and datasets.sums.rows allows 8 problems." in mistake
    demo["datasets"]["sums"]["rows"] = 9
    demo["difficulty"] = {"rated": RATED | {"problems": 8}}
    demo["phases"]["sums"] |= {"dataset": "rated", "pass_rate": [0.1, 0.9]}
    (mistake,) = check_params(demo)
    assert "difficulty.rated.problems allows 8 problems" in mistake


@pytest.mark.parametrize("reward", ["'my_pkg.rewards:brief': 0.2", "mine: {weight: 0.2, function: 'my_pkg:brief'}"])
def test_what_dvc_could_not_read_again_is_refused_with_the_line(tmp_path, monkeypatch, reward):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "params.yaml"
    text = (ROOT / "recipes" / "demo.yaml").read_text()
    path.write_text(
        text.replace(
            "    rewards:\n      correctness: 2.0\n", f"    rewards: {{correctness: 2.0, {reward}}}\n    x:\n"
        )
    )
    read_params(path)  # is YAML
    (mistake,) = [line for line in check_file(path) if "DVC cannot read this again" in line]
    assert "my_pkg" in mistake
    assert "a key or an entry a line, without braces" in mistake
    for recipe in RECIPES:
        assert check_file(ROOT / "recipes" / f"{recipe}.yaml") == []


def test_dvc_reaches_a_reward_of_ones_own_by_its_name(tmp_path, monkeypatch):
    from dvc.utils.hydra import apply_overrides

    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "rewards.md").read_text()
    example = page[page.index("  brief:\n    function:") :].split("```")[0]
    path = tmp_path / "params.yaml"
    text = (ROOT / "recipes" / "demo.yaml").read_text()
    path.write_text(
        text.replace(
            "      correctness: 2.0\n",
            "      correctness: 2.0\n" + "".join(f"    {line}\n" for line in example.splitlines()),
        )
    )
    apply_overrides(path, ["phases.sums.rewards.brief.weight=0.5"])
    assert read_params(path)["phases"]["sums"]["rewards"]["brief"] == {
        "function": "smolmath.rewards.grpo.brief:brief",
        "weight": 0.5,
        "max_words": 60,
    }
    (mistake,) = check_file(path)  # the module alone is not there
    assert "Reward 'brief': no module 'smolmath.rewards.grpo.brief' can be imported" in mistake


def numbers(value, *path):
    """(path, number) of each in nested values."""
    if isinstance(value, bool) or not isinstance(value, dict | list | int | float):
        return []
    if isinstance(value, int | float):
        return [(path, value)]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, inner in items for found in numbers(inner, *path, key)]


@pytest.mark.parametrize("recipe", ["demo", "gsm8k"])
def test_no_number_may_be_less_than_nothing_or_no_number_at_all(recipe, monkeypatch):
    monkeypatch.chdir(ROOT)
    params = read_params(f"recipes/{recipe}.yaml")
    accepted = []
    for (*path, last), number in numbers(params):
        holder = params
        for key in path:
            holder = holder[key]
        for bad in [-1, *([math.nan, math.inf] if isinstance(number, float) else [])]:
            holder[last] = bad
            accepted += [] if check_params(params) else [(*path, last, bad)]
        holder[last] = number
    assert {key for key in accepted if key[:1] != ("datasets",)} == {
        ("phases", phase, "rewards", reward, -1)  # a reward may be a penalty
        for phase in params["phases"]
        for reward in params["phases"][phase].get("rewards", {})
    }


@pytest.mark.parametrize(
    ("rewards", "said"),
    [
        ({"correctness": 2.0, "soft_format": 0.4}, None),
        ({"correctness": 1.0, "strict_format": 0.1, "soft_format": 0.1}, None),
        ({"correctness": 2.0, "integer": 0.5, "strict_format": 0.5, "soft_format": 0.5, "xml_count": 0.125}, "pay 2 together, and being right 2"),
        ({"correctness": 1.0, "xml_count": 0.3}, "pay 1.2 together, and being right 1"),  # of four tags
        ({"correctness": 0.0, "soft_format": 1.0}, "pay 1 together, and being right 0"),
        ({"cosine_length": {"weight": 1.0, "max_tokens": 9, "correct": [1.0, 0.5], "wrong": [-1.0, -0.5]}, "soft_format": 0.9}, None),
        ({"correctness": 1.0, "repetition_penalty": {"weight": 2.0, "ngram_size": 2, "max_penalty": -1.0}}, "pay 2 together"),
        ({"correctness": 1.0, "my_project.rewards:mine": 9.0}, None),  # nobody knows what it pays
    ],
)  # fmt: skip
def test_rewards_that_can_outweigh_being_right_are_warned_of(demo, rewards, said):
    demo["phases"]["sums"]["rewards"] = rewards
    warned = warnings(demo)
    assert [said in line for line in warned] == ([True] if said else []), warned


def test_one_mistake_gives_one_line(demo):
    put(demo, "phases.sums.grpo.learning_rat", 1.0e-6)
    assert len(check_params(demo)) == 1


def test_a_number_as_dvc_writes_it_is_a_number(tmp_path):
    (tmp_path / "params.yaml").write_text("learning_rate: 1e-06\n")
    assert read_params(tmp_path / "params.yaml") == {"learning_rate": 1e-6}


def test_broken_yaml_is_named_with_line_and_column(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("seed: 1\nphases: {a: [1\n")
    with pytest.raises(ParamsError, match=r"params\.yaml:3:1: not valid YAML"):
        read_params(path)


def test_a_merge_that_is_not_settled_is_said(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> other\n")
    with pytest.raises(ParamsError, match=r"params\.yaml:\d+:\d+: a merge is not settled"):
        read_params(path)


def test_missing_params_say_how_to_start(tmp_path):
    with pytest.raises(ParamsError, match="smolmath recipe use demo"):
        read_params(tmp_path / "params.yaml")


def test_a_dataset_that_is_rated_by_the_phase_it_trains_is_a_circle(demo):
    demo["difficulty"]["rated"] = RATED | {"model": "legs"}
    demo["phases"]["sums"]["dataset"] = "rated"
    (mistake,) = check_params(demo)
    assert "phases.sums.init: the phases form a circle (sums → legs → sums)" in mistake
    assert "A dataset must be rated by a model that is trained before." in mistake


def test_rated_problems_are_a_dataset_of_phases_alone(demo):
    demo["difficulty"]["rated"] = RATED
    demo["phases"]["sums"].update(dataset="rated", pass_rate=[0.1, 0.9])
    assert check_params(demo) == []
    demo["evaluate"]["datasets"] = ["rated"]
    assert "evaluate.datasets: 'rated' is no dataset" in check_params(demo)[0]
