"""Equality of two answers, which references can be compared, and the process that decides formulas."""

import multiprocessing
import os
import signal
import threading
import time
import warnings
from fractions import Fraction
from pathlib import Path

import pytest
from tests.conftest import ending

from smolmath.answers import answers_match, is_verifiable
from smolmath.answers.judge import JUDGE
from smolmath.answers.normalise import normalise
from smolmath.answers.numbers import Number, parse_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"$\dfrac12$.", r"\frac{1}{2}"),
        (r"\frac 1 2", r"\frac{1}{2}"),
        (r"\sqrt5", r"\sqrt{5}"),
        ("２５％", "25%"),
        ("5²", "5^{2}"),
        (r"5\text{ cm}", r"5\unit{cm}"),
        ("1 8", "1 8"),
        ("(1, 2)", "(1;2)"),
        (r"\left( 1,2 \right]", "(1,2]"),
        ("**18**", "18"),
        ("", ""),
    ],
)
def test_normalising_gives_one_spelling(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", 18),
        ("-1,250.50", Fraction(-2501, 2)),
        (r"1\frac{1}{2}", Fraction(3, 2)),
        ("3*(4-1)/2", Fraction(9, 2)),
        ("2^-3", Fraction(1, 8)),
        ("3 million", 3_000_000),
        ("4x", None),
        ("7:30", None),
        ("1/0", None),
        ("10^100000", None),
        ("2(3)", None),
        ("18 or more", None),
    ],
)
def test_a_number_is_exact_or_none(text, value):
    number = parse_number(text)
    assert (number and number.value) == value


def test_units_and_percent_are_kept_beside_the_number():
    assert parse_number("25%") == Number(Fraction(25), percent=True)
    assert parse_number("5 km") == Number(Fraction(5), unit="km")


@pytest.mark.parametrize(
    "reference",
    ["18", "1,250", "-3.5", r"\frac{1}{7}", "ab + 1", r"2 \sqrt{5}", r"1000\mathrm{M}", "D", "(B)", "1, 2", "(1,2)",
     "x=1 or x=2",
     r"\{1,2\}", "v_{R}=4, v_{B}=10", "x > 4", r"[1,2)\cup(3,\infty)", "25%", "5 cm", "9" * 50_000, "3:4"],
)  # fmt: skip
def test_numbers_formulas_sets_and_letters_are_verifiable_and_equal_themselves(reference):
    assert is_verifiable(reference)
    assert answers_match(reference, reference)


@pytest.mark.parametrize(
    "reference",
    ["", " ", "proof", "Proof.", "See the solution above", "NaN", "yes", "No", "no solution", r"\text{even}", "$$",
     "the function is increasing", "Not found"],
)  # fmt: skip
def test_words_proofs_and_nothing_are_not_verifiable(reference):
    assert not is_verifiable(reference)


def test_a_reference_decimal_takes_what_rounds_to_it_but_not_the_other_way_round():
    assert answers_match("2/3", "0.67")
    assert not answers_match("0.67", "2/3")


DEEP = "+".join(rf"\sin(x^{{{n}}})^{{{n}}}" for n in range(2, 40))


def test_the_judge_gives_up_in_time_and_is_there_for_the_next_question(caplog):
    JUDGE.equal(predicted=r"\sqrt{4}", reference="2")  # starts it
    before = JUDGE.counts.copy()
    for n in range(3):  # one after the other: none waits for a replacement
        assert JUDGE.equal(predicted=f"({DEEP})^{{3{n}}}", reference=f"({DEEP})^{{29}}") is None
        assert JUDGE.equal(predicted=r"\sqrt{20}", reference=r"2\sqrt{5}") is True
    assert JUDGE.counts - before == {"questions": 6, "overrun": 3}
    assert "no verdict (overrun, " in caplog.text
    assert "counts as not equal" in caplog.text


def test_a_killed_judge_counts_as_not_equal_and_is_replaced():
    assert JUDGE.equal(predicted=r"\sqrt{9}", reference="3")
    before = JUDGE.counts.copy()
    supervisor = JUDGE._worker.process.pid
    os.kill(children(supervisor)[0], signal.SIGKILL)
    assert JUDGE.equal(predicted=r"\sqrt{9}", reference="3") is None
    assert JUDGE.equal(predicted=r"\sqrt{9}", reference="3")
    os.kill(supervisor, signal.SIGKILL)
    assert JUDGE.equal(predicted=r"\sqrt{9}", reference="3") is None
    assert JUDGE.equal(predicted=r"\sqrt{9}", reference="3")
    assert JUDGE._worker.process.pid != supervisor
    assert JUDGE.counts - before == {"questions": 4, "died": 1, "lost": 1}


@pytest.mark.parametrize(
    ("n", "whom", "sent"),
    [
        (3, "supervisor", signal.SIGKILL),
        (4, "supervisor", signal.SIGSTOP),
        (5, "child", signal.SIGKILL),
        (6, "child", signal.SIGSTOP),
    ],
)
def test_a_judge_that_is_killed_or_stopped_costs_time_and_no_verdict(n, whom, sent):
    JUDGE.close()
    assert JUDGE.equal(predicted=r"\sqrt{9}", reference="3")
    supervisor = JUDGE._worker.process.pid
    os.kill(supervisor if whom == "supervisor" else children(supervisor)[0], sent)
    before = JUDGE.counts.copy()
    with ending():
        assert answers_match(rf"\sqrt{{{n * n + 2}+{2 * n}\sqrt{{2}}}}", rf"{n}+\sqrt{{2}}")
    lost = JUDGE.counts - before
    assert lost["questions"] == 2
    assert lost["died"] + lost["lost"] == 1


def test_what_the_judge_did_not_decide_is_asked_once_more_and_not_remembered(monkeypatch):
    replies = [(None, 0.0), (None, 0.0), (True, 0.0)]
    monkeypatch.setattr(JUDGE, "ask", lambda **question: replies.pop(0))
    undecided = r"\sqrt{13+4\sqrt{3}}", r"1+2\sqrt{3}"
    assert not answers_match(*undecided)
    assert len(replies) == 1
    assert answers_match(*undecided)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_every_kind_of_process_gives_the_same_verdicts(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads
        with ending(), multiprocessing.get_context(method).Pool(2) as pool:
            verdicts = pool.starmap(
                answers_match, [(r"2\sin x\cos x", r"\sin 2x"), (r"\sin^2 x", r"\sin x"), ("18", "18.0")]
            )
    assert verdicts == [True, False, True]


def test_the_judge_leaves_no_process_behind():
    JUDGE.equal(predicted=f"({DEEP})^{{30}}", reference=f"({DEEP})^{{28}}")
    supervisor = JUDGE._worker.process.pid
    (child,) = children(supervisor)  # one, whatever was killed before
    JUDGE.close()
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(child)
    assert JUDGE.equal(predicted=r"\sqrt{9}", reference="3")


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_judge_answers_several_threads():
    verdicts = {}

    def ask(n):
        verdicts[n] = JUDGE.equal(predicted=rf"\sqrt{{{n * n}}}", reference=str(n + n % 2))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {n: n % 2 == 0 for n in range(2, 8)}
