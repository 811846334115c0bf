"""Each reward: right, wrong, no answer, unscorable reference; and the two bugs that once made rewards silent zeros."""

import math
import sys
from pathlib import Path

import pytest

from smolmath.answers import Tags
from smolmath.rewards.grpo.rewards import DEFAULT_WEIGHTS, REWARDS, reward_functions

RIGHT = "<reasoning>\n16 - 3 - 4 = 9\n9 * 2 = 18\n</reasoning>\n<answer>\n18\n</answer>"
WRONG = RIGHT.replace("\n18\n", "\n17\n")
FRACTION = RIGHT.replace("\n18\n", "\n1/2\n")
NO_ANSWER = "Who knows?"
WORKED = "She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nShe makes 9 * 2 = $<<9*2=18>>18.\n#### 18"


def reward(name, *completions, **columns):
    return REWARDS[name]([None] * len(completions), list(completions), **columns)


def test_correctness_is_one_for_the_reference_answer_and_never_none_for_a_bad_completion():
    assert reward("correctness", RIGHT, WRONG, NO_ANSWER, "", reference_answer=["18"] * 4) == [1.0, 0.0, 0.0, 0.0]


def test_correctness_is_none_for_an_unscorable_reference():
    assert reward("correctness", RIGHT, RIGHT, reference_answer=["proof", "18"]) == [None, 1.0]


def test_correctness_of_a_completion_that_was_cut_off():
    columns = {"reference_answer": ["18", "18"], "finished": [False, True]}
    assert reward("correctness", "It is 18", "It is 18", **columns) == [0.0, 1.0]


def test_completions_may_be_messages():
    message = [{"role": "assistant", "content": RIGHT}]
    assert reward("correctness", message, reference_answer=["18"]) == [1.0]
    assert reward("strict_format", message) == [1.0]


def test_columns_that_a_reward_does_not_read_are_passed_over():
    assert reward("strict_format", RIGHT, reference_answer=["18"], reasoning=[None], completion_ids=[[1]]) == [1.0]


def test_integer_wants_a_whole_number_right_or_wrong():
    assert reward("integer", RIGHT, WRONG, FRACTION, NO_ANSWER, "<answer>1,250 eggs</answer>") == [
        1.0,
        1.0,
        0.0,
        0.0,
        1.0,
    ]


def test_strict_format_wants_every_line_break():
    assert reward("strict_format", RIGHT, RIGHT.replace("\n", " "), NO_ANSWER) == [1.0, 0.0, 0.0]


def test_soft_format_wants_the_blocks_in_order():
    swapped = "<answer>18</answer><reasoning>9*2</reasoning>"
    assert reward("soft_format", RIGHT, RIGHT.replace("\n", " "), f"Sure: {RIGHT}!", swapped, NO_ANSWER) == [
        1,
        1,
        1,
        0,
        0,
    ]


def test_format_rewards_match_over_several_lines():
    # The patterns of the classic run lacked DOTALL: reasoning of two lines never matched, and both rewards stayed 0.
    assert RIGHT.partition("</reasoning>")[0].count("\n") > 2
    assert reward("strict_format", RIGHT) == reward("soft_format", RIGHT) == [1.0]


def test_correctness_never_compares_an_answer_with_an_xml_reference():
    # The classic OpenR1 run did, and its correctness was 0 in all 234 steps. Such a reference is unscorable.
    assert reward("correctness", RIGHT, reference_answer=[RIGHT]) == [None]
    assert reward("correctness", RIGHT, reference_answer=["18"]) == [1.0]


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (RIGHT, 4.0),
        (RIGHT + "\n", 4.0),
        (RIGHT + "\nBye", 4 - 3 * 0.016),  # three characters behind the answer
        (RIGHT + "\n" + "x" * 1000, 0.0),  # 4 - 16, but never below 0
        ("<reasoning>\n9*2 = 18", 1.0),
        (RIGHT + "\n" + RIGHT, 0.0),  # no tag is used once
        (NO_ANSWER, 0.0),
        ("", 0.0),
    ],
)
def test_xml_count_counts_tags_on_their_own_lines(completion, expected):
    assert reward("xml_count", completion) == [pytest.approx(expected)]


def test_the_default_weights_give_the_classic_sum_for_a_perfect_completion():
    total = sum(weight * reward(name, RIGHT, reference_answer=["18"])[0] for name, weight in DEFAULT_WEIGHTS.items())
    assert total == pytest.approx(2.0 + 0.5 + 0.5 + 0.5 + 4 * 0.125)  # = 4.0


@pytest.mark.parametrize(
    ("completion", "worked", "expected"),
    [
        (RIGHT, WORKED, 1.0),
        (
            "<reasoning>\n9*2=18\n</reasoning>",
            WORKED,
            0.5 * 1 / 2 + 0.5 * 1 / 2,
        ),  # one of two steps, one of two equations
        ("<reasoning>\n19*2=180\n</reasoning>", WORKED, 0.5 * 1 / 2),  # 9*2=18 is no part of 19*2=180
        ("<reasoning>\na\nb\nc\nd\n</reasoning>", WORKED, 0.5 * 2 / 4),  # padding does not pay
        ("<reasoning>\na\nb\n</reasoning>", "Look.\nSee.", 1.0),  # no equations in the reference
        ("<reasoning>\n3×4=12\n</reasoning>", "so 3 * 4 = 12", 1.0),
        (NO_ANSWER, WORKED, 0.0),
        (RIGHT, None, None),
        (RIGHT, " ", None),
    ],
)
def test_reasoning_steps_are_half_steps_and_half_equations(completion, worked, expected):
    assert reward("reasoning_steps", completion, reasoning=[worked]) == [expected]


OPTIONS = {
    "cosine_length": {"max_tokens": 100, "correct": [1.0, 0.5], "wrong": [-1.0, -0.5]},
    "repetition_penalty": {"ngram_size": 2, "max_penalty": -1.0},
    "overlong": {"max_tokens": 100, "soft_tokens": 20},
}
NAMED = {name: OPTIONS.get(name, {}) for name in REWARDS}


@pytest.mark.parametrize("name", [name for name in REWARDS if name not in OPTIONS])
def test_a_completion_without_an_answer_earns_nothing(name):
    assert reward(name, NO_ANSWER, reference_answer=["18"], reasoning=[WORKED]) == [0.0]


@pytest.mark.parametrize(
    ("completion", "tokens", "expected"),
    [
        (RIGHT, 0, 1.0),
        (RIGHT, 50, 0.75),  # 0.5 + (1.0 - 0.5) * (1 + cos(pi/2)) / 2
        (RIGHT, 100, 0.5),
        (RIGHT, 250, 0.5),  # not up the cosine again
        (WRONG, 0, -1.0),
        (WRONG, 50, -0.75),
        (NO_ANSWER, 100, -0.5),
    ],
)
def test_cosine_length_prefers_short_right_and_long_wrong_completions(completion, tokens, expected):
    columns = {"reference_answer": ["18"], "completion_ids": [[1] * tokens]}
    assert reward("cosine_length", completion, **columns, **OPTIONS["cosine_length"]) == [expected]


def test_cosine_length_is_none_for_an_unscorable_reference():
    columns = {"reference_answer": ["proof"], "completion_ids": [[1]]}
    assert reward("cosine_length", RIGHT, **columns, **OPTIONS["cosine_length"]) == [None]


def test_cosine_length_is_the_one_of_trl():
    trl = pytest.importorskip("trl.rewards")
    ours, ids = RIGHT.replace("\n18\n", "\n$18$\n"), [[1] * 33]
    theirs = trl.get_cosine_scaled_reward(max_len=100)([[{"content": r"\boxed{18}"}]], ["18"], ids)
    assert reward("cosine_length", ours, reference_answer=["18"], completion_ids=ids, **OPTIONS["cosine_length"]) == (
        pytest.approx(theirs)
    )


def test_repetition_penalty_is_the_share_of_repeated_ngrams():
    ids = [[1, 2, 3, 4], [5] * 5, [1]]  # 3 of 3 pairs new; 3 of 4 old; too short for a pair
    assert reward("repetition_penalty", "a", "b", "c", completion_ids=ids, **OPTIONS["repetition_penalty"]) == [
        0.0,
        -0.75,
        0.0,
    ]


def test_overlong_falls_to_minus_one_over_the_soft_tokens():
    ids = [[1] * n for n in (80, 90, 100, 101)]
    assert reward("overlong", *"abcd", completion_ids=ids, **OPTIONS["overlong"]) == [0.0, -0.5, -1.0, -1.0]


def test_tag_count_is_the_share_of_tags_used_once():
    twice = RIGHT + "\n<answer>\n19\n</answer>"
    assert reward("tag_count", RIGHT, RIGHT.replace("\n", ""), twice, "<answer>18") == [1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (
            {"overlong": {"max_tokens": 9}},
            r"'overlong' needs soft_tokens\. .*Write overlong: {weight: 1.0, max_tokens",
        ),
        ({"correctness": {"max_tokens": 9}}, r"'correctness' has no option 'max_tokens'\. Its options: none"),
    ],
)
def test_options_are_those_of_the_function(rewards, message):
    with pytest.raises(ValueError, match=message):
        reward_functions(rewards)


def test_bound_rewards_keep_their_names_and_take_the_tags():
    tags = Tags(reasoning="think", answer="final")
    functions = reward_functions(NAMED, tags)
    assert [function.__name__ for function in functions] == list(REWARDS)
    renamed = RIGHT.replace("reasoning>", "think>").replace("answer>", "final>")
    columns = {"reference_answer": ["18"], "reasoning": [WORKED], "completion_ids": [[1, 2, 3]]}
    rewards = {f.__name__: f(prompts=[None], completions=[renamed], **columns)[0] for f in functions}
    assert rewards.pop("cosine_length") == pytest.approx(0.5 + 0.25 * (1 + math.cos(math.pi * 0.03)))
    assert list(rewards.values()) == [1, 1, 1, 1, 4, 1, 0, 0, 1]


def test_a_reward_of_ones_own_is_found_where_its_function_is(tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(
        "def short(prompts, completions, **columns): return [1.0] * len(completions)"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (short,) = reward_functions({"mine": {"function": "my_rewards:short"}})
    assert (short.__name__, short([None], ["hi"])) == ("mine", [1.0])
    with pytest.raises(ValueError, match=r"my_rewards.py has no function 'long'"):
        reward_functions({"mine": {"function": "my_rewards:long"}})


def test_an_unknown_reward_names_the_known_ones():
    with pytest.raises(
        ValueError, match=r"Unknown reward 'corectness'\. Known: correctness, integer, .* `function: package"
    ):
        reward_functions(["corectness"])
    with pytest.raises(ValueError, match=r"no module 'no_such_module' can be imported\. Put it under src/"):
        reward_functions({"mine": {"function": "no_such_module:f"}})


def test_rewards_import_no_torch():
    assert "smolmath.rewards.grpo.rewards" in sys.modules
    source = sys.modules["smolmath.rewards.grpo.rewards"].__file__
    with open(source) as file:
        assert not [line for line in file if line.startswith(("import torch", "from trl", "from transformers"))]


def test_the_worked_example_of_the_docs_works(tmp_path, monkeypatch):
    page = (Path(__file__).parent.parent / "docs" / "rewards.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "brief_of_the_docs.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"function": "brief_of_the_docs:brief"}
    (brief,) = reward_functions({"brief": {**own, "max_words": 4}})
    assert brief(prompts=[None] * 3, completions=["a b", "a b c d e f", "a " * 9], reference_answer=[""] * 3) == [
        1.0,
        0.5,  # 2 - 6 / 4
        0.0,
    ]
    with pytest.raises(ValueError, match="needs max_words"):
        reward_functions({"brief": own})


def test_every_reward_is_in_the_docs_with_its_options():
    page = (Path(__file__).parent.parent / "docs" / "rewards.md").read_text()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert set(rows) == set(REWARDS)
    for name, options in OPTIONS.items():
        assert all(f"`{option}`" in rows[name] for option in options), name
    assert all(f"| {weight} |" in rows[name] for name, weight in DEFAULT_WEIGHTS.items())
