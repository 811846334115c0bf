"""Where the predicted answer is read from."""

import pytest

from smolmath.answers import Extraction, Tags, extract_answer
from smolmath.answers.extract import STRATEGIES

FOUND = [
    ("<answer>\n18\n</answer>", "18", "answer_block"),
    ("<answer>18", "18", "open_answer_block"),
    (r"so $\boxed{\frac{1}{2}}$", r"\frac{1}{2}", "boxed"),
    (r"\boxed{2} and \boxed{3}", "2 and 3", "boxed"),
    (r"\boxed{5}; no, \boxed{7}", "7", "boxed"),
    ("9*2=18\n#### 18", "18", "hashes"),
    ("The final answer is $18$.", "$18$", "the_answer_is"),
    ("**Answer:** 3.5", "3.5", "the_answer_is"),
    ("The answer is that she has 18 eggs left.", "18", "the_answer_is"),
    ("x = 4", "x = 4", "assignments"),
    (r"So we get $x=1$ and $y=2$.", "x=1 and y=2", "assignments"),
    (r"Hence the area is $2\sqrt{5}$.", r"2\sqrt{5}", "formula"),
    ("She pays $3 + 2 = $5 in total.", "$5", "closing_number"),
    ("When $x = 2$ the total is 5.", "5", "closing_number"),
    ("It takes 2 + 1 = 3 bolts.", "3", "closing_number"),
    ("It is -18 degrees.", "-18", "closing_number"),
    ("<answer>5</answer> That is wrong.", None, "withdrawn"),
    ("<answer></answer>", None, "answer_block"),
    ("I cannot say.", None, None),
    ("", None, None),
]


@pytest.mark.parametrize(("completion", "text", "strategy"), FOUND, ids=[row[0] for row in FOUND])
def test_the_last_commitment_is_read(completion, text, strategy):
    assert extract_answer(completion) == Extraction(text, strategy)


def test_every_strategy_is_documented_and_tried_here():
    assert {strategy for *_, strategy in FOUND} - {None} == set(STRATEGIES)


def test_the_answer_tag_may_have_another_name():
    assert extract_answer("<final>7</final><answer>5</answer>", tags=Tags(answer="final")).text == "7"


def test_nothing_is_read_from_a_closed_reasoning_block():
    assert extract_answer("<reasoning>so the answer is 18.</reasoning>") == Extraction(None, None)


def test_a_cut_completion_has_no_last_number():
    assert extract_answer("She makes 9 * 2 = 18", finished=False) == Extraction(None, None)
