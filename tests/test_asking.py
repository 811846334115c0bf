"""Questions put to several models, without a browser: whose turn it is, when one is stopped, what failed."""

import threading

import pytest

from smolmath.engines import Completion
from smolmath.params.prompt import PromptParams
from smolmath.using.serving.asking import Asking, Drawn
from smolmath.using.solving.models import FoundModel
from smolmath.using.solving.reasoner import Reasoner
from tests.conftest import ROOT

PROMPT = PromptParams(system="", reasoning_tag="reasoning", answer_tag="answer")
GREEDY = Drawn(samples=1, temperature=0.0, max_completion_tokens=64)
PIECES = ["<reasoning>\n1+", "1=2\n</rea", "soning>\n<answer>\n", "2\n</answer>"]


class Writer:
    """An engine that writes PIECES, and counts what was written."""

    device = "cpu"

    def __init__(self, error=None):
        self.written, self.error = 0, error

    def render(self, prompt):
        return prompt[-1]["content"]

    def count_tokens(self, text):
        return len(text)

    def generate(self, prompts, sampling, write=None):
        if self.error:
            raise self.error
        for piece in PIECES:
            write(piece)
            self.written += 1
        return [[Completion("".join(PIECES), "stop", 9)]]


def asking(*engines):
    return Asking(
        [
            Reasoner(FoundModel(f"model{i}", ROOT / "bases" / "calc", PROMPT, "float32", 64), engine)
            for i, engine in enumerate(engines)
        ]
    )


def test_models_take_turns_and_end_with_reasoning_and_answer():
    seen = list(asking(Writer(), Writer()).ask("1 + 1 =", GREEDY, threading.Event()))
    states = list(dict.fromkeys(tuple(one.state for one in shown) for shown in seen))
    assert states == [
        ("waiting", "waiting"),
        ("writing", "waiting"),
        ("done", "waiting"),
        ("done", "writing"),
        ("done", "done"),
    ]
    assert [(one.reasoning, one.answer) for one in seen[-1]] == [("1+1=2", "2")] * 2


def test_what_is_stopped_before_it_begins_writes_nothing():
    engines = Writer(), Writer()
    gone = threading.Event()
    gone.set()
    *_, last = asking(*engines).ask("1 + 1 =", GREEDY, gone)
    assert [one.state for one in last] == ["stopped", "stopped"]
    assert [engine.written for engine in engines] == [0, 0]


class Samples(Writer):
    """Several completions, which are whole before anything can be written."""

    def __init__(self, gone):
        super().__init__()
        self.gone = gone

    def generate(self, prompts, sampling, write=None):
        self.gone.set()  # stopped meanwhile
        return [[Completion("<answer>2</answer>", "stop", 9)] * sampling.samples]


def test_several_completions_that_nobody_waits_for_any_longer_are_stopped():
    gone = threading.Event()
    *_, last = asking(Samples(gone)).ask("1 + 1 =", Drawn(4, 1.0, 64), gone)
    assert (last[0].state, last[0].answer) == ("stopped", None)


@pytest.mark.parametrize(("reference", "right"), [("2", True), ("4/2", True), ("3", False)])
def test_an_answer_is_graded_where_the_reference_is_known(reference, right):
    questions = asking(Writer())
    questions.references = {"1 + 1 =": reference}
    *_, last = questions.ask("1 + 1 =", GREEDY, threading.Event())
    assert (last[0].reference, last[0].right) == (reference, right)
    *_, other = questions.ask("1 + 2 =", GREEDY, threading.Event())
    assert (other[0].reference, other[0].right) == (None, None)


def test_closing_the_iterator_stops():
    gone = threading.Event()
    shown = asking(Writer()).ask("1 + 1 =", GREEDY, gone)
    next(shown)
    shown.close()
    assert gone.is_set()


def test_a_question_that_cannot_be_asked_is_refused_by_each():
    *_, last = asking(Writer(), Writer()).ask("", GREEDY, threading.Event())
    assert [(one.state, one.reason) for one in last] == [("refused", "the question is empty.")] * 2


def test_a_failure_of_the_model_is_raised_and_the_next_question_is_asked():
    engine = Writer(error=RuntimeError("out of memory"))
    questions = asking(engine)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(questions.ask("1 + 1 =", GREEDY, threading.Event()))
    engine.error = None
    *_, last = questions.ask("1 + 1 =", GREEDY, threading.Event())
    assert last[0].answer == "2"
