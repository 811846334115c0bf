"""The verdict on whole completions: the labelled table, the format, and properties that hold for any text."""

import subprocess
import sys
from fractions import Fraction

import pytest
from cases import CASES
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.conftest import ending

from smolmath.answers import Tags, answers_match, grade
from smolmath.answers.judge import JUDGE


def label(case):
    rule, completion, reference, _ = case
    short = completion.replace("\n", " ").replace("<answer>", "[").replace("</answer>", "]")
    return f"{rule} {short[-40:]} vs {reference[:20]}".encode("ascii", "backslashreplace").decode()


@pytest.mark.parametrize("case", CASES, ids=label)
def test_the_verdict_is_the_one_of_a_careful_examiner(case):
    _, completion, reference, correct = case
    assert grade(completion, reference).correct is correct


def test_the_table_holds_every_rule_and_both_verdicts():
    assert len(CASES) >= 350
    assert {(rule.split("-")[0], correct) for rule, *_, correct in CASES} >= {
        (str(n), verdict) for n in range(1, 20) for verdict in (True, False)
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


@pytest.mark.parametrize(
    ("answer", "reference", "question", "correct"),
    [
        (r"(x+1)^2", "x^2+2x+1", "Expand $(x+1)^2$.", False),
        (r"x^2+2x+1", "x^2+2x+1", "Expand $(x+1)^2$.", True),
        (r"x^2 + 2x + 1", r"(x+1)^{2}", "Factor x^2+2x+1, if you can.", False),
        (r"\sqrt{324}", "18", r"Find \(\sqrt{324}\).", False),
        (r"2^{10}", "1024", "What is $2^{10} - 0$?", True),
        (r"3^{20}", "3^{20}", "Which is larger, $2^{30}$ or $3^{20}$?", True),
        (r"\frac{1}{2}", "0.5", r"Each falls with probability $\frac{1}{2}$.", True),
        (r"\sin x \cos x", r"\frac{\sin 2x}{2}", r"Write \[\sin x \cos x = f(2x)\] with one function.", False),
        ("5 dozen", "5", "How many dozens of eggs?", True),
        ("5 dozen", "5", "How many eggs?", False),
        ("60", "60", "How many eggs are 5 dozen?", True),
    ],
)
def test_a_formula_that_is_copied_from_the_question_is_no_answer(answer, reference, question, correct):
    assert grade(rf"\boxed{{{answer}}}", reference, question=question).correct is correct


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
def test_long_repetitions_get_a_verdict(piece, wrapping):
    # 100 kB, more than any model is allowed to write. Time: test_linear.py, and benchmarks/grader.py.
    with ending():
        grade(wrapping.replace("{}", piece * (100_000 // len(piece))), "18")


BOMBS = [
    "9**9**9**9", "10^{10^{10}}", "9^{9^{9^{9}}}", "100000!", "(10^{10})!", "9!!!!!!!!", r"\binom{10^9}{5\cdot10^8}",
    r"\frac{1}{" * 500 + "2" + "}" * 500, r"\sqrt{" * 500 + "2" + "}" * 500, "(" * 50_000, "=" * 1_000_000,
    "<answer>" * 125_000, r"\boxed{" * 100_000, "7" * 100_000, "0." + "3" * 100_000, "x+" * 50_000 + "x", "1,000" * 50_000,
    "5" + "%" * 1_000, r"\frac" * 20_000, r"\mathbf{" * 20_000 + "5" + "}" * 20_000, "{" * 50_000 + "5" + "}" * 50_000,
    "=5" * 50_000, r"\sqrt(" * 20_000, "(x)=(" * 20_000, "1,000;" * 20_000,
    "\x00" * 1000 + "5", "\ud800", "\udfff5", "1e999999999", "1e-999999999", r"\sum_{k=1}^{10^9} k^{k}", "a" * 1_000_000,
    r"\int_0^1 " * 200, "{" * 100_000 + "}" * 100_000, "٣" * 10_000, r"\text{" * 50_000, "5 " * 200_000, "\u202e5", "½" * 50_000,
]  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda text: text[:20].encode("ascii", "backslashreplace").decode())
@pytest.mark.parametrize("wrapping", ["{}", "<answer>{}</answer>", r"\boxed{{{}}}", "The answer is {}.", "#### {}"])
def test_a_bomb_is_wrong(bomb, wrapping):
    with ending():
        assert not grade(wrapping.format(bomb), "18").correct
        assert not grade("<answer>18</answer>", bomb).correct


def listed(pattern, numbers):
    return ", ".join(pattern.replace("N", str(n)) for n in numbers)


NESTED = r"\{" + ",".join("{" + ",".join(f"{{{a},{b}x,3}}" for b in range(9)) + "}" for a in range(11, 40)) + r"\}"
COSTLY = {  # each question is cheap, but there are many
    "sums": (listed(r"\sum_{k=1}^{N0} \frac{1}{k^3+k}", range(5, 45)), listed(r"\sum_{k=1}^{N0} \frac{1}{k^3+k}", range(45, 85))),
    "integrals": (listed(r"\int_0^{N} \sin(x^2)dx", range(2, 32)), listed(r"\int_0^{N} \sin(x^2)dx", range(32, 62))),
    "nested sets": (NESTED, NESTED.replace("3}", "4}")),
    "flat sets": (r"\{" + listed("Nx", range(35)) + r"\}", r"\{" + listed("Ny", range(35)) + r"\}"),
    "prose": ("He has 5 apples " + "in 6 boxes " * 2000, "18"),
    "alternatives": ("such that " + "$1$ or " * 20_000, "18"),
}  # fmt: skip


@pytest.mark.parametrize("case", COSTLY)
def test_many_small_questions_share_one_limit(case, monkeypatch):
    """A second for the pair, of CPU time as the judge counts it: what has been spent is not there for the next."""
    spent = []
    ask = JUDGE.ask

    def counted(**question):
        verdict, seconds = ask(**question)
        spent.append(seconds)
        return verdict, seconds

    monkeypatch.setattr(JUDGE, "ask", counted)
    answer, reference = COSTLY[case]
    with ending():
        assert not grade(f"<answer>{answer}</answer>", reference).correct
    assert sum(spent) < 2


NUMBERS = st.integers() | st.fractions() | st.decimals(allow_nan=False, allow_infinity=False, places=4)


@given(a=NUMBERS, b=NUMBERS)
def test_equality_of_exact_numbers_is_symmetric_and_tight(a, b):
    forward, backward = answers_match(str(a), str(b)), answers_match(str(b), str(a))
    difference = abs(Fraction(a) - Fraction(b))
    if difference == 0:
        assert forward
        assert backward
    # A decimal takes what rounds to it at its places, 0.00005 here; nothing further off is ever right.
    elif difference > max(Fraction(1, 20_000), abs(Fraction(b)) / 10**13):
        assert not forward
        assert not backward


ANSWERS = st.one_of(
    NUMBERS.map(str),
    st.tuples(st.integers(), st.integers(1, 999)).map(lambda t: rf"\frac{{{t[0]}}}{{{t[1]}}}"),
    st.integers(1, 10**6).map(lambda n: rf"\sqrt{{{n}}}"),
    st.lists(st.integers(-99, 99), min_size=2, max_size=4, unique=True).map(lambda v: ", ".join(map(str, v))),
    st.lists(st.integers(-99, 99), min_size=2, max_size=3).map(lambda v: f"({', '.join(map(str, v))})"),
    st.tuples(st.integers(-99, 0), st.integers(1, 99)).map(lambda t: f"[{t[0]}, {t[1]})"),
    st.integers(1, 99).map(lambda n: f"x^2 + {n}x - 1"),
    st.sampled_from("ABCDE").map(lambda letter: f"({letter})"),
)
FORMATS = ["<answer>{}</answer>", "<answer>\n${}$\n</answer>", GOOD.replace("\n18\n", "\n{}\n"), r"So \boxed{{{}}}.", "#### {}",
           r"The final answer is $\boxed{{{}}}$", r"<answer>\boxed{{{}}}</answer>", "**Answer:** ${}$"]  # fmt: skip


@given(answer=ANSWERS, wrapping=st.sampled_from(FORMATS))
def test_every_answer_is_right_against_itself_in_every_format(answer, wrapping):
    verdict = grade(wrapping.format(answer), answer)
    assert verdict.verifiable
    assert verdict.correct


def test_plain_numbers_start_no_process_and_import_no_sympy():
    script = (
        "import sys; from smolmath.answers import grade; from smolmath.rewards import REWARDS\n"
        "assert grade('<answer>1,250 dollars</answer>', '1250').correct\n"
        "assert not grade('<answer>1/3</answer>', '1/2').correct\n"
        "print([m for m in ('sympy', 'math_verify', 'torch', 'trl', 'subprocess') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


CHOICE = "Which is it?\nA. 12\nB. $\\frac{1}{2}$\nC. 12.0\nAnswer as A, B or C."


@pytest.mark.parametrize(
    ("answer", "reference", "correct"),
    [
        ("B", "\\frac{1}{2}", True),
        ("(B)", "0.5", True),
        ("B. \\frac{1}{2}", "0.5", True),
        ("0.5", "B", True),
        ("B", "B", True),
        ("A", "\\frac{1}{2}", False),
        ("B. 12", "\\frac{1}{2}", False),  # says two things
        ("A or B", "\\frac{1}{2}", False),
        ("12", "A", False),  # C says it too
        ("D", "\\frac{1}{2}", False),
    ],
)
def test_of_the_options_that_a_question_lists_letter_and_text_are_one_answer(answer, reference, correct):
    assert grade(rf"\boxed{{{answer}}}", reference, question=CHOICE).correct is correct
    assert not grade("0.5", "B").correct
