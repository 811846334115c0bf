"""Layouts beyond GSM8K's: which answer and which worked solution a row gives."""

import pytest

from smolmath.answers import grade
from smolmath.data.layouts import boxed, gsm8k, instruction, openr1, reasoning_gym
from smolmath.data.layouts.candidates import Trace
from smolmath.data.layouts.traces import split_trace, verified_trace
from smolmath.params.prompt import PromptParams
from smolmath.prompts import worked_completion

THINK = "<think>\n{}\n</think>\n\nSo it is\n\n**Final Answer**\n\\boxed{{{}}}"


def row(*generations, **flags):
    return {
        "problem": "What is 6 × 7?",
        "answer": "42",
        "solution": "6 × 7 = 42",
        "source": "x",
        "generations": list(generations),
        **flags,
    }


def chosen(read, which="shortest"):
    return verified_trace(read.traces, read.question, [read.reference_answer], which)


LONG, SHORT = THINK.format("Okay, " + "6 × 7 is 42. " * 20, "42"), THINK.format("Okay, 6 × 7 is 42.", "42")
WRONG = THINK.format("Hm, 41.", "41")


def test_the_shortest_right_trace_is_taken_or_the_first():
    read = openr1.read(row(LONG, SHORT))
    assert chosen(read) == "Okay, 6 × 7 is 42."
    assert chosen(read, "first").startswith("Okay, 6 × 7 is 42. 6 × 7")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, "Okay, 6 × 7 is 42."),  # nobody looked: our grader's word counts
        ({"correctness_math_verify": [True, False]}, "long"),
        ({"correctness_math_verify": [True]}, "Okay, 6 × 7 is 42."),  # a flag too few leaves the second unverified
        ({"correctness_math_verify": [False, False], "correctness_llama": [True, False]}, "long"),
        ({"correctness_math_verify": None, "correctness_llama": None}, "Okay, 6 × 7 is 42."),
        ({"is_reasoning_complete": [True, False]}, "long"),
        ({"finish_reasons": ["stop", "length"]}, "long"),
        ({"correctness_math_verify": [False, False]}, None),
        ({"is_reasoning_complete": [False, False]}, None),
    ],
)
def test_a_trace_must_be_complete_and_verified(flags, expected):
    found = chosen(openr1.read(row(LONG, SHORT, **flags)))
    assert ("long" if found and len(found) > 100 else found) == expected


def test_a_trace_whose_answer_disagrees_is_never_taken_whatever_its_flag_says():
    assert chosen(openr1.read(row(WRONG, correctness_math_verify=[True]))) is None
    assert chosen(openr1.read(row(WRONG, LONG, correctness_math_verify=[True, True]))).startswith("Okay")


@pytest.mark.parametrize(
    "trace",
    [
        "<think>I believe it is 41, yes, 41.</think>",
        "<think>41.</think>\n\n",
        "<think></think>",
        "<think>\n</think>\n",
    ],
)
def test_a_trace_that_gives_no_answer_is_not_taken(trace):
    assert chosen(openr1.read(row(trace, correctness_math_verify=[True]))) is None
    assert chosen(openr1.read(row(trace, SHORT))) == "Okay, 6 × 7 is 42."


def test_a_thought_that_boxes_another_answer_is_not_taken():
    assert chosen(openr1.read(row("<think>It is \\boxed{41}.</think>\\boxed{42}"))) is None


def test_a_letters_trace_may_give_the_letter_or_its_options_text():
    traces = openr1.read(row(THINK.format("It is 42.", "B"))).traces
    assert verified_trace(traces, "What is 6 × 7?", ["42", "B"], "shortest") == "It is 42."
    assert verified_trace(traces, "What is 6 × 7?", ["42"], "shortest") is None


def test_values_that_are_no_generations_are_passed_over():
    assert chosen(openr1.read(row(None, 3, SHORT, correctness_math_verify=[True, True, True]))) == "Okay, 6 × 7 is 42."
    assert openr1.read(row() | {"generations": None}).traces is None
    assert chosen(openr1.read(row('["<think>\\n42</think> \\\\boxed{42}"]'))) is None  # a list written out as text


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("<think>\na\n</think>\n\nb \\boxed{1}", "a", "b \\boxed{1}"),
        ("a\n</think>\n\\boxed{1}", "a", "\\boxed{1}"),  # the template wrote the opening tag
        ("<think>\n\n</think>\n\nb \\boxed{1}", "b 1", "b \\boxed{1}"),
        ("We get \\boxed{\\frac{1}{2}}.", "We get \\frac{1}{2}.", "We get \\boxed{\\frac{1}{2}}."),
        ("<think>\nso \\boxed{\\boxed{1}} it is\n</think>\n\\boxed{1}", "so 1 it is", "\\boxed{1}"),
    ],
)
def test_think_tags_and_boxes_are_taken_off(text, reasoning, answer):
    found = split_trace(text)
    assert found is not None
    assert found[0] == reasoning
    assert found[1].strip() == answer


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nnever ends",
        "<think>a</think> b <think>c</think> \\boxed{1}",
        "x <think>a</think> \\boxed{1}",
        "<think>a \\boxed{</think>\\boxed{5}",
        "<thinking>so</thinking>\\boxed{5}",
        "<Think>so</Think>\\boxed{5}",
        "<|begin_of_thought|>so<|end_of_thought|><|begin_of_solution|>\\boxed{5}<|end_of_solution|>",
    ],
)
def test_broken_think_tags_make_no_trace(text):
    assert split_trace(text) is None


def test_a_trace_becomes_a_completion_in_the_asked_format_that_the_grader_finds_right():
    trace = verified_trace((Trace(SHORT, True, True),), "What is 6 × 7?", ["42"], "shortest")
    (message,) = worked_completion(
        trace, "42", PromptParams(system="", reasoning_tag="reasoning", answer_tag="answer")
    )
    assert message["content"] == "<reasoning>\nOkay, 6 × 7 is 42.\n</reasoning>\n<answer>\n42\n</answer>"
    assert grade(message["content"], "42").strict


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("Each bag has 4 apples, so 3 * 4 = 12", "12"),
        ("2 + 3 = 5\n5 * 4 = 20.", "20"),
        ("so $x = \\frac{1}{2}$", "\\frac{1}{2}"),
        ("He buys 3 * 4 = 12 apples, and 12 / 2 = 6", "6"),
        ("First 2+3=5; then 5*2=10", "10"),
        ("x + 3 = 10, so x = 7", "7"),
        ("v_{R}=4, v_{B}=10", None),  # two values
        ("x=5\ny=6", None),
        ("The total is 12. Check: 12/4 = 3", None),
        ("The maximum is 7 when x = 2", None),
        ("The answer is 42.\nNote: 1 dozen = 12", "42"),  # stated, so no equation is looked for
        ("Answer: 7 (because 2+2 = 4)", "7"),
        ("x <= 7", None),
        ("x != 5", None),
        ("2x = 10", None),
        ("x + 1 = 6 => 5", None),
        ("7 = 3 + 4", None),
        ("12 = x", None),
        ("x = 12 since all bags are full", None),  # prose after the equation
        ("there are twelve", None),
        ("x = 3\nAnd that is all.", None),
        ("x =", None),
        (12, None),
    ],
)
def test_what_follows_the_last_equals_sign_is_the_answer_only_where_it_is_one(output, answer):
    assert instruction.read({"instruction": "q", "output": output}).reference_answer == answer


def test_an_input_is_part_of_the_question():
    read = instruction.read({"instruction": "Add the numbers.", "input": "3, 4", "output": "3 + 4 = 7"})
    assert (read.question, read.reference_answer) == ("Add the numbers.\n3, 4", "7")


@pytest.mark.parametrize(
    "metadata",
    [
        {"source_dataset": "chain_sum"},
        {"source_dataset": "chain_sum", "expression": ""},
        {"source_dataset": "chain_sum", "expression": "1 - 2 +"},
        {"source_dataset": "chain_sum", "expression": "1 * 2"},
        {"source_dataset": "leg_counting", "animals": {"unicorn": 2}},
        {"source_dataset": "leg_counting", "animals": {"cat": None}},
        {"source_dataset": "gsm_symbolic"},
    ],
)
def test_metadata_without_the_steps_gives_no_worked_solution(metadata):
    read = reasoning_gym.read({"question": "q", "answer": "7", "metadata": metadata})
    assert (read.reference_answer, read.reasoning) == ("7", None)


def test_metadata_of_another_kind_makes_a_row_as_gsm8ks():
    read = reasoning_gym.read({"question": "q", "answer": "1 + 1 = <<1+1=2>>2\n#### 2", "metadata": {"level": 1}})
    assert (read.reference_answer.strip(), read.reasoning) == ("2", "1 + 1 = 2")


def test_an_answer_that_is_nothing_but_a_value_needs_no_hashes():
    assert gsm8k.read({"question": "q", "answer": " 7 "}).reference_answer == " 7 "
    assert gsm8k.read({"question": "q", "answer": "Tom has 7 apples left in his bag."}).reference_answer is None


def test_the_last_box_of_a_solution_is_the_answer():
    read = boxed.read({"problem": "q", "solution": "First \\boxed{3}, then \\boxed{\\frac{1}{2}}.", "source": "m"})
    assert (read.reference_answer, read.source) == ("\\frac{1}{2}", "m")
    assert boxed.read({"problem": "q", "solution": "no box"}).reference_answer is None
