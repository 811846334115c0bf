"""The verdict on whole completions: the labelled table, the format, and properties that hold for any text."""

import subprocess
import sys

import pytest
from cases import CASES
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smolmath.answers import Tags, grade


def label(case):
    rule, completion, reference, _ = case
    short = completion.replace("\n", " ").replace("<answer>", "[").replace("</answer>", "]")
    return f"{rule} {short[-40:]} vs {reference[:20]}".encode("ascii", "backslashreplace").decode()


@pytest.mark.parametrize("case", CASES, ids=label)
def test_the_verdict_is_the_one_of_a_careful_examiner(case):
    _, completion, reference, correct = case
    assert grade(completion, reference).correct is correct


def test_the_table_holds_every_rule_and_both_verdicts():
    assert len(CASES) >= 150
    assert {(rule.split("-")[0], correct) for rule, *_, correct in CASES} >= {
        (str(n), verdict) for n in range(1, 11) for verdict in (True, False)
    }


GOOD = "<reasoning>\n9 * 2\n= 18\n</reasoning>\n<answer>\n18\n</answer>"


@pytest.mark.parametrize(
    ("completion", "strict"),
    [
        (GOOD, True),
        (f"\n{GOOD}\n ", True),
        (GOOD.replace("<answer>\n18\n", "<answer>18"), False),
        (GOOD.replace("</reasoning>\n", "</reasoning>"), False),
        (f"Sure!\n{GOOD}", False),
        (f"{GOOD}\nDone.", False),
        (GOOD.replace("= 18", "<answer>"), False),
        (GOOD + "\n<answer>\n18\n</answer>", False),
        ("<reasoning>\n</reasoning>\n<answer>\n18\n</answer>", False),
        ("<answer>\n18\n</answer>", False),
    ],
)
def test_strict_wants_exactly_the_asked_format(completion, strict):
    verdict = grade(completion, "18")
    assert (verdict.correct, verdict.strict) == (True, strict)


def test_a_wrong_answer_in_the_right_format_is_not_strict():
    assert not grade(GOOD, "19").strict


def test_tag_names_are_those_of_the_recipe():
    tags = Tags(reasoning="think", answer="final")
    completion = "<think>\n9*2\n</think>\n<final>\n18\n</final>"
    assert grade(completion, "18", tags=tags).strict
    assert not grade(completion, "18").strict


@pytest.mark.parametrize(
    ("completion", "correct"),
    [
        ("9 * 2 = 18", False),
        ("The answer is 18", False),
        ("<answer>18", False),
        (r"\boxed{18", False),
        ("#### 18", False),  # of 180, perhaps
        ("#### 18\n", True),
        (r"\boxed{18} and so", True),
        ("<answer>18</answer> and so", True),
        ("<answer>18</answer> <answer>1", True),
    ],
)
def test_a_completion_that_was_cut_off_counts_only_what_it_had_committed_to(completion, correct):
    assert grade(completion, "18", finished=False).correct is correct


WRAPPINGS = [
    "{}", "<answer>{}</answer>", GOOD.replace("\n18\n", "\n{}\n"), r"\boxed{{{}}}", "#### {}", "The answer is {}.",
    "So ${}$", "She has {} eggs.", "<answer>\\boxed{{{}}}</answer>", "<answer>x = {}</answer>", "Answer: **{}**",
]  # fmt: skip


@given(number=st.integers(), wrapping=st.sampled_from(WRAPPINGS))
def test_every_integer_is_right_against_itself_in_every_wrapping(number, wrapping):
    verdict = grade(wrapping.format(number), str(number))
    assert verdict.correct
    assert verdict.verifiable


@given(number=st.integers(), other=st.integers(), wrapping=st.sampled_from(WRAPPINGS))
def test_another_integer_is_wrong_in_every_wrapping(number, other, wrapping):
    assert grade(wrapping.format(number), str(other)).correct is (number == other)


# The judge has a test of its own: left out here, because a strange formula may take its half second.
FRAGMENTS = st.sampled_from([
    "<answer>", "</answer>", "</reasoning>", "\\boxed{", "}", "{", "####", "the answer is ", "wait, that is wrong",
    ",", " or ", "$", "\\frac", "^", "(", ")", "[", "]", "=", "%", "5", "1,000", ".", "-", "\n", "not ", "\\text{", "\\",
    "½",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    completion=st.text() | st.lists(FRAGMENTS | st.text(max_size=3), max_size=25).map("".join), finished=st.booleans()
)
def test_any_text_gets_a_verdict(completion, finished):
    grade(completion, "18", finished=finished)


@settings(max_examples=200, deadline=None)
@example(reference="0À")  # a unit of no ASCII letter
@example(reference="𐩀")  # a digit that int() refuses
@given(reference=st.text() | st.lists(FRAGMENTS, max_size=15).map("".join))
def test_any_reference_gets_a_verdict(reference):
    grade("<answer>18</answer>", reference)


@pytest.mark.parametrize(
    "piece",
    ["<answer>", "<answer>5</answer>", "\\boxed{", "\\boxed{5} ", "answer is ", "answer: ", "final answer is 5 ",
     "#### 5\n", "$", "1,", "1,000,", "((", "\\frac{", "{", " ", "a", "5 ", "x=1,", "**", "wait, ", "I made a ", "not ", "sqrt(",
     "\\text{",
     "5-", "cm ", "\\pm ", "^{", "\n", "=", "A) ", "or "],
)  # fmt: skip
@pytest.mark.parametrize("wrapping", ["{}", "<answer>{}</answer>", "<answer>5</answer>{}"])
def test_long_repetitions_cost_less_than_a_second(piece, wrapping):
    # 100 kB, more than any model is allowed to write, and CPU seconds of this process: a hundredth is usual.
    import time

    completion = wrapping.replace("{}", piece * (100_000 // len(piece)))
    start = time.process_time()
    grade(completion, "18")
    assert time.process_time() - start < 1


def test_plain_numbers_start_no_process_and_import_no_sympy():
    script = (
        "import sys; from smolmath.answers import grade; from smolmath.rewards import REWARDS\n"
        "assert grade('<answer>1,250 dollars</answer>', '1250').correct\n"
        "assert not grade('<answer>1/3</answer>', '1/2').correct\n"
        "print([m for m in ('sympy', 'math_verify', 'torch', 'trl', 'subprocess') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
