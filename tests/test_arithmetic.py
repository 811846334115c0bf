r"""`reasoning_arithmetic` against completions that were labelled by hand: of each equation of numbers whether it holds."""

import pytest

from smolmath.evaluation.arithmetic import equations
from smolmath.evaluation.metrics import evaluation_metrics
from smolmath.evaluation.repetition import repeated
from smolmath.evaluation.verdicts import majority_share
from tests.conftest import ending
from tests.test_metrics import verdict

# Completion -> a letter an equation, in order: r holds, w doesn't.
LABELLED = {
    # as worked solutions and small models write them
    "48/2 = 24 clips": "r",
    "Natalia sold 48/2 = 24 clips in May. She sold 48+24 = 72 clips altogether.": "rr",
    "Natalia sold 48/2 = 24 clips in May. She sold 48+24 = 70 clips altogether.": "rw",
    "Weng earns 12/60 = $0.2 per minute. Working 50 minutes, she earned 0.2 x 50 = $10.": "rr",
    "Weng earns $12/60 = $0.20 per minute, so $0.20 * 50 = $100.": "rw",
    "16 - 3 - 4 = 9 eggs, and 9 * 2 = $18": "rr",
    "16 - 3 - 4 = 8 eggs, and 8 * 2 = $16": "wr",
    "She has 20 - 5 = 15 left. 15 x 2 = 30": "rr",
    "<reasoning>\n9+0=9\n9-4=5\n</reasoning>\n<answer>\n5\n</answer>": "rr",
    "<reasoning>\n9+0=9\n9-4=6\n</reasoning>\n<answer>\n5\n</answer>": "rw",
    "First, 120 * 3 = 360. Then 360 / 4 = 90. Finally 90 + 10 = 100.": "rrr",
    "First, 120 * 3 = 340. Then 340 / 4 = 85. Finally 85 + 10 = 95.": "wrr",
    "Total: 3+4=7.": "r",
    "1. 5 * 8 = 40\n2. 40 - 12 = 28\n3. 28 / 4 = 7": "rrr",
    "- Monday: 15 + 15 = 30\n- Tuesday: 30 + 15 = 55": "rw",
    "The area is 12 * 7 = 84 square meters, and the perimeter 2 * (12 + 7) = 38 m.": "rr",
    "The area is 12 * 7 = 86 square meters.": "w",
    "He pays 5 * 3.50 = 17.50 dollars and gets 20 - 17.50 = 2.50 back.": "rr",
    "He pays 5 * 3.50 = 17.00 dollars.": "w",
    "So the cost is $1,000 + $200 = $1,200.": "r",
    "That is 1,250 * 4 = 5,000 and 5,000 - 1,250 = 3,650.": "rw",
    "$80,000 + $50,000 = $130,000; 150% of it. 80000 * 150% = 120000. 120000 + 80000 = 200000": "rrr",
    # LaTeX
    r"$3 \times 4 = 12$": "r",
    r"\(3 \cdot 4 = 12\) and \(12 \div 5 = 2.4\)": "rr",
    r"\[ 7 \times 8 = 54 \]": "w",
    r"\frac{1}{2} + \frac{1}{4} = \frac{3}{4}": "r",
    r"$\frac{1}{2} + \frac{1}{3} = \frac{2}{5}$": "w",
    r"$\dfrac{10}{4} = 2.5$": "r",
    r"$1{,}000 \times 3 = 3{,}000$": "r",
    r"$20\% \times 50 = 10$": "r",
    r"$\left(3+4\right) \times 2 = 14$": "r",
    r"\$5 \times 4 = \$20": "r",
    # signs of other kinds
    "3 × 4 = 12 and 12 ÷ 5 = 2.4": "rr",
    "12 − 5 = 7": "r",
    "12 − 5 = 8": "w",
    "12 - 15 = -3": "r",
    "-3 + 5 = 2": "r",
    "6 · 7 = 42": "r",
    "€5 + €3 = €8": "r",
    # rounding
    "1/3 = 0.33": "r",
    "1/3 = 0.34": "w",
    "2/3 = 0.67": "r",
    "2/3 = 0.66": "w",
    "100 / 7 = 14.29": "r",
    "100/7 = 14": "w",
    "22 / 7 = 3.142857": "r",
    "0.5 * 4 = 2": "r",
    "0.5 * 4 = 2.0": "r",
    "1.5 + 2.5 = 4": "r",
    "3 + 4 = 7.5": "w",
    "20/50 = 40%": "r",
    "1/3 = 33.3%": "r",
    "1/3 = 33%": "w",
    "50 * 20% = 10": "r",
    ".5 + .5 = 1": "r",
    # brackets and order
    "3 * (4 + 5) = 27": "r",
    "(3+4)*2 = 14": "r",
    "3 + 4 * 2 = 14": "w",
    "3 + 4 * 2 = 11": "r",
    "10 - 3 - 2 = 5": "r",
    "10 - (3 - 2) = 9": "r",
    "2 * (3 + (4 - 1)) = 12": "r",
    "100 / (2 * 5) = 10": "r",
    "100 / 2 * 5 = 10": "w",
    # chains
    "2 + 2 = 4 = 2 + 2": "r",
    "3+4 = 5+2 = 7": "rr",
    "5 + 5 = 10 + 5 = 15": "wr",
    "10 - 3 = 7 - 2 = 5": "wr",
    "x = 3 + 4 = 7": "r",
    "x = 3 + 4 = 8": "w",
    "area = 3 * 4 = 12": "r",
    "A = 0.5 * 6 * 4 = 12": "r",
    # numbers alone compute nothing, and what is not numbers alone says nothing
    "7 = 7": "",
    "a = 7": "",
    "The answer is 18.": "",
    "2x + 3 = 7": "",
    "2 x + 3 = 7": "",
    "x + 3 + 4 = 9": "",
    "y - 3 + 4 = 7": "",
    "y*3 + 4 = 7": "",
    "x_1 + 3 = 5": "",
    "f(2) + 3 = 5": "",
    "2^3 = 8": "",
    "2 * 3^2 = 18": "",
    "2 + 3**2 = 11": "",
    "5! + 3 = 123": "",
    "3 + 4 = 7 + y": "",
    "5 + 3 = 8x": "",
    "5 apples + 3 apples = 8 apples": "",
    "60 minutes/hour = 60": "",
    "10% of 50 = 5": "",
    "ratio 3:4 = 7": "",
    "(3+4*2 = 14": "",
    "5/0 = 0": "",
    r"\sqrt{16} + 3 = 7": "",
    r"3 + \sqrt{16} = 7": "",
    "Room 12-14 = closed": "",
    "def f(a=3): return a": "",
    "print(3+4)": "",
    "30*2=60 km": "r",
}


def test_there_are_a_hundred():
    assert len(LABELLED) == 100


@pytest.mark.parametrize("completion", LABELLED)
def test_each_equation_is_judged_as_by_hand(completion):
    assert "".join("r" if holds else "w" for holds in equations(completion)) == LABELLED[completion]


def test_a_hostile_completion_ends_soon():
    for text in (
        "1+" * 100_000 + "1=3",
        "(" * 100_000,
        "1=" * 50_000 + "1",
        "9" * 100_000 + "+1=2",
        "- " * 50_000 + "1=1",
    ):
        with ending(30):
            equations(text)


def test_metrics_of_the_reasoning_are_over_completions_that_compute_something():
    told = [(True, 2, 0), (True, 3, 1), (False, 1, 1), (True, 0, 0)]
    rows = [
        verdict(f"{i}", 0, correct) | {"equations": n, "wrong_equations": wrong, "repeated": 0.25}
        for i, (correct, n, wrong) in enumerate(told)
    ]
    metrics = evaluation_metrics(rows, {})
    assert metrics["reasoning_arithmetic"] == pytest.approx(1 / 3, abs=1e-6)
    assert metrics["right_by_wrong_steps"] == 0.5
    assert metrics["repeated"] == 0.25
    assert "reasoning_arithmetic" not in evaluation_metrics([rows[3]], {})


def test_repetition_and_majority_share():
    assert repeated("one two three") == 0.0
    assert repeated("1 2 3 4 5 6 7 8") == 0.0
    assert repeated("a b c d " * 10) == pytest.approx(1 - 4 / 37)
    samples = [{"answer_group": group} for group in (0, 0, 3, None)]
    assert majority_share(samples) == 0.5
    assert majority_share([{"answer_group": None}]) == 0.0
