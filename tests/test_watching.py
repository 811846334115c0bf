"""What a training says of itself: alerts, the look before step 1, the best step, samples. No trainer is run here."""

import errno
from types import SimpleNamespace

import pytest

from smolmath.engines import Completion
from smolmath.errors import StageError
from smolmath.params.phases import GrpoPhase, SftPhase, ValidationParams
from smolmath.tags import DEFAULT_TAGS
from smolmath.training.phase.alerts import new_alerts
from smolmath.training.phase.preflight import Finding, judge, percentile
from smolmath.training.phase.samples import Samples, Scored, as_text
from tests.test_training import COMMON

GOOD = "<reasoning>\n1+1=2\n</reasoning>\n<answer>\n2\n</answer>"


def rows(steps, **columns):
    """A log history; a column is a value, or a function of the step."""
    return [
        {"step": step, "loss": 0.1, "reward": 1.0}
        | {name.replace("__", "/"): v(step) if callable(v) else v for name, v in columns.items()}
        for step in range(1, steps + 1)
    ]


def all_alerts(history, problems=None):
    """(step, alert) as a run would have given them."""
    return [(n, alert) for n in range(1, len(history) + 1) for alert in new_alerts(history[:n], problems)]


@pytest.mark.parametrize(
    ("columns", "words", "step"),
    [
        ({"entropy": lambda s: 0.5 if s <= 12 else 0.01}, "entropy fell from 0.5 to", 17),
        ({"completions__mean_length": lambda s: 20.0 if s <= 12 else 200.0}, "completions grew from 20 to", 14),
        (
            {
                "completions__mean_length": lambda s: 200.0 if s <= 12 else 35.0,
                "rewards__correctness__mean": lambda s: 0.125 if s <= 12 else 0.0,
            },
            "completions shrank from 200 to 35 tokens, and 0% of them are right where 12%",
            17,
        ),
        ({"completions__clipped_ratio": lambda s: 0.2 if s <= 12 else 0.9}, "54% of completions are cut off", None),
        ({"frac_reward_zero_std": lambda s: 0.5 if s <= 12 else 1.0}, "of groups have no spread", None),
        (
            {
                "sampling__sampling_logp_difference__mean": lambda s: 0.02 if s <= 12 else 0.5,
                "sampling__importance_sampling_ratio__mean": 0.6,
            },
            "differ by 0.12 on average, and the importance ratio is 0.6",
            13,
        ),
    ],
)
def test_an_alert_is_given_once_when_it_begins_to_hold(columns, words, step):
    given = all_alerts(rows(30, **columns))
    assert len(given) == 1
    assert words.split(" ")[-1] in given[0][1]
    assert given[0][0] > 12
    if step:
        assert given[0][0] == step


def test_shorter_completions_that_are_right_more_often_are_no_alert():
    columns = {"completions__mean_length": lambda s: 200.0 if s <= 12 else 35.0}
    assert all_alerts(rows(30, **columns, rewards__correctness__mean=lambda s: s / 100)) == []
    assert all_alerts(rows(30, **columns)) == []


def test_an_alert_that_ceased_is_given_again():
    given = all_alerts(rows(60, frac_reward_zero_std=lambda s: 0.0 if s // 15 % 2 else 1.0))
    assert [alert.split(":")[0] for _, alert in given] == ["100% of groups have no spread of rewards and teach nothing", "100% of groups have no spread of rewards and teach nothing"]  # fmt: skip
    assert given[1][0] - given[0][0] > 15


def test_a_healthy_run_gives_no_alert():
    healthy = rows(
        100,
        entropy=lambda s: 0.5 - s / 400,
        completions__mean_length=lambda s: 20 + s / 10,
        completions__clipped_ratio=0.1,
        sampling__sampling_logp_difference__mean=0.03,
        frac_reward_zero_std=0.4,
        reward=lambda s: s / 100,
        validation_accuracy=lambda s: 0.5 + s / 300,
    )
    assert all_alerts(healthy, 64) == []


def test_a_reward_that_rises_while_accuracy_falls_is_called_out_only_beyond_its_error():
    def run(low):
        history = rows(40, reward=lambda s: s / 10)
        for step, accuracy in ((10, 0.8), (20, 0.82), (30, 0.6), (40, low)):
            history[step - 1]["validation_accuracy"] = accuracy
        return all_alerts(history, 64)

    assert [step for step, _ in run(0.5)] == [30]
    history = rows(40, reward=lambda s: s / 10)
    for step, accuracy in ((10, 0.80), (20, 0.82), (30, 0.78)):
        history[step - 1]["validation_accuracy"] = accuracy
    assert all_alerts(history, 64) == []


def test_a_step_in_which_nothing_could_be_scored_is_no_reason_to_stop(capsys):
    from smolmath.training.phase.stopwatch import Stopwatch
    from smolmath.training.phase.watching import WatchCallback

    history = rows(40, reward=lambda s: None if s in (20, 31) else s / 10, num_tokens=lambda s: 100.0 * s)
    for step, accuracy in ((10, 0.8), (20, 0.82), (30, 0.5)):
        history[step - 1]["validation_accuracy"] = accuracy
    assert [step for step, _ in all_alerts(history, 64)] == [30]
    told = []
    watch = WatchCallback(
        "p", stopwatch=Stopwatch(), advance=lambda *line: told.append(line), tracker=None, validation_problems=64
    )
    state, args = SimpleNamespace(global_step=31, log_history=history[:31]), SimpleNamespace(fp16=False)
    watch.on_step_end(args, state, None)
    watch.on_log(args, state, None, logs=history[30])
    assert told == [(1, "loss 0.100")]


def test_tokens_per_second_are_never_negative_where_a_resumed_trainer_counts_anew():
    from smolmath.training.phase.stopwatch import Stopwatch
    from smolmath.training.phase.watching import WatchCallback

    watch = WatchCallback("p", stopwatch=Stopwatch(), advance=lambda *_: None, tracker=None, validation_problems=None)
    args, before = SimpleNamespace(fp16=False), rows(1, num_tokens=9_000.0)
    watch.on_train_begin(args, SimpleNamespace(log_history=before), None)
    after = [*before, {"step": 2, "loss": 0.1, "num_tokens": 500.0, "tokens/real": 700.0, "tokens/computed": 900.0}]
    state = SimpleNamespace(global_step=2, log_history=after)
    watch.on_step_end(args, state, None)
    watch.on_log(args, state, None, logs=after[-1])
    assert watch.speeds[0] == pytest.approx(500 / watch.step_seconds[0])
    assert watch.facts()["tokens_of_passes"] == {"real": 700, "computed": 900}


def phase(**changes):
    return GrpoPhase(
        **COMMON | {"validation": None},
        method="grpo",
        prompts_per_step=2,
        rewards={"correctness": 2.0, "soft_format": 0.5},
        sample_steps=None,
        grpo={"num_generations": 4, "max_steps": 1},
        **{"answer_grounding_weight": 0.0} | changes,
    )


def look_at(completions, totals, lengths=(), **changes):
    from smolmath.training.grpo.preflight import findings

    found = findings(
        phase(**changes),
        prompt_tokens=[20, 31],
        completions=completions,
        scored=[Scored(t, {"correctness": t, "soft_format": None}) for t in totals],
        group=4,
        max_completion_tokens=100,
        tags=DEFAULT_TAGS,
        lengths=lengths,
    )
    return {f.what.strip(): f for f in found}


DONE = Completion(GOOD, "stop", 40)
CUT = Completion("so", "length", 100)


def test_the_look_before_step_1_says_what_is_fine():
    found = look_at([DONE] * 7 + [CUT], [1.0, 0.0] * 4)
    assert found["cut off"].value == "12%"
    assert found["in the asked format"].value == "88%"
    assert found["completion tokens, p50 and p95"].value == "40, 100 of 100"
    assert found["prompt tokens, longest"].value == "31 of 64"
    assert found["correctness"].value == "0.500"
    assert found["soft_format"].value == "none"
    assert [f.what for f in found.values() if f.fix] == []


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ([*range(100, 290, 10), 333], "raise max_completion_length to about 340, which cuts 5 %."),
        ([200] * 18 + [400] * 2, "raise max_completion_length beyond 400, which still cuts more than 5 %"),
        ([], "raise max_completion_length."),
    ],
)
def test_where_most_completions_are_cut_the_length_is_named_that_would_do(lengths, words):
    assert words in look_at([CUT] * 5 + [DONE] * 3, [1.0, 0.0] * 4, lengths)["cut off"].fix


@pytest.mark.parametrize(
    ("completions", "totals", "words", "hopeless"),
    [
        ([CUT] * 4 + [DONE] * 4, [1.0, 0.0] * 4, "50% of completions are cut at 100 tokens: raise max_completion", False),
        ([CUT] * 5 + [DONE] * 3, [1.0, 0.0] * 4, "62% of completions are cut at 100 tokens: raise max_completion", True),
        ([CUT] * 8, [1.0, 0.0] * 4, "100% of completions are cut at 100 tokens", True),
        ([DONE] * 8, [1.0] * 4 + [0.0] * 4, "100% of groups earn the same throughout", True),
        ([DONE] * 8, [None] * 8, "100% of the completions can't be scored", True),
        ([DONE] * 8, [None] * 4 + [1.0, 0.0] * 2, "50% of the completions can't be scored", False),
        ([Completion("2", "stop", 1)] * 8, [1.0, 0.0] * 4, "0% of completions keep the format", False),
    ],
)  # fmt: skip
def test_the_look_before_step_1_warns_with_the_fix_and_stops_where_nothing_can_be_learnt(
    completions, totals, words, hopeless, capsys
):
    found = list(look_at(completions, totals).values())
    assert any(f.fix and words in f.fix and f.hopeless == hopeless for f in found), [f.fix for f in found]
    judge("p", found, "warn", "8 prompts")
    assert words in capsys.readouterr().out
    if hopeless:
        with pytest.raises(StageError, match=r"nothing could be learnt.*phases\.p\.preflight to warn"):
            judge("p", found, "stop", "8 prompts")
    else:
        judge("p", found, "stop", "8 prompts")


def test_equal_rewards_are_no_reason_to_stop_where_answers_are_grounded():
    found = look_at([DONE] * 8, [0.0] * 8, answer_grounding_weight=0.5)
    assert not any(f.hopeless for f in found.values())


def test_what_is_judged_goes_into_the_journal_under_its_name():
    assert judge("p", [Finding("  a", "1"), Finding("b", "2")], "stop", "x") == {"a": "1", "b": "2"}
    assert percentile([5, 1, 3], 0.5) == 3
    assert percentile([5, 1, 3], 0.95) == 5


def test_the_look_before_sft_counts_what_the_grader_takes_for_right(tmp_path):
    from smolmath.training.sft.preflight import look
    from tests.test_training import SFT, context

    class Tokenizer:
        def apply_chat_template(self, messages):
            return {"input_ids": list(range(sum(len(m["content"]) for m in messages)))}

    problems = [{"question": "1 + 1", "reference_answer": "2", "reasoning": "1+1=2"}] * 3
    problems += [{"question": "1 + 1", "reference_answer": "2</answer> 3", "reasoning": "1+1=2"}]
    problems += [{"question": "1 + 1", "reference_answer": "2", "reasoning": None}]
    found, seen = look(
        context(tmp_path, SFT, model=None, tokenizer=Tokenizer(), problems=problems, max_completion_tokens=10)
    )
    by_name = {f.what: f for f in found}
    assert seen == "4 examples"
    assert by_name["problems with a worked solution"].value == "4 of 5"
    assert by_name["taught answers that the grader takes for right"].fix
    assert "longer than 10 tokens" in by_name["longer than max_length"].fix


def test_the_best_step_is_the_later_of_equals_and_patience_counts_from_it():
    pytest.importorskip("torch")
    from smolmath.training.phase.validation import best_step, out_of_patience

    def history(*scores):
        return [{"step": 10 * (i + 1), "validation_accuracy": score} for i, score in enumerate(scores)]

    assert best_step(history(0.5, 0.7, 0.7, 0.6), "accuracy") == (30, 0.7)
    assert best_step([{"step": 1}], "accuracy") is None
    patient = ValidationParams(problems=4, every_steps=10, metric="accuracy", patience=2)
    assert not out_of_patience(history(0.5), patient)
    assert not out_of_patience(history(0.5, 0.4), patient)
    assert out_of_patience(history(0.5, 0.4, 0.4), patient)
    assert not out_of_patience(history(0.5, 0.4, 0.5), patient)
    assert not out_of_patience(history(0.5, 0.4, 0.4), patient.model_copy(update={"patience": None}))


def test_samples_are_kept_step_by_step_and_joined_up_to_the_last(tmp_path):
    import pyarrow.parquet as pq

    shown = []
    show = lambda kind, step, rows: shown.append((kind, step, len(rows)))  # noqa: E731
    samples = Samples(tmp_path / "state", ["correctness"], DEFAULT_TAGS, show)
    problem = {"question": "1 + 1 =", "reference_answer": "2"}
    for step in (20, 10, 30):
        made = samples.rows("train", step, [problem] * 2, [DONE, CUT], lambda *_: [Scored(2.0, {"correctness": 1.0}), Scored(None, {"correctness": None})])  # fmt: skip
        samples.keep("train", step, made)
    samples.join(tmp_path / "out.parquet", last_step=20)
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["step"] for row in table] == [10, 10, 20, 20]
    assert [row["correct"] for row in table[:2]] == [True, False]
    assert [row["reward_correctness"] for row in table[:2]] == [1.0, None]
    assert shown == [("train", 20, 2), ("train", 10, 2), ("train", 30, 2)]
    text = as_text(table[:2])
    assert "step 10, train: right, reward 2.00" in text
    assert "wrong, cut off" in text
    Samples(tmp_path / "none", [], DEFAULT_TAGS).join(tmp_path / "empty.parquet", last_step=5)
    assert pq.read_table(tmp_path / "empty.parquet").num_rows == 0


def test_running_out_of_memory_or_disk_is_told_with_its_remedy(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from smolmath.training.phase.failures import explained

    with pytest.raises(StageError, match=r"out of memory .*Lower hardware\.micro_batch"), explained("p", tmp_path):
        torch.empty(10**15)  # torch's own error on a CPU
    with pytest.raises(StageError, match="out of memory"), explained("p", tmp_path):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
    with pytest.raises(StageError, match="no space left to write"), explained("p", tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    for text in ("CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"):
        with pytest.raises(StageError, match="out of memory"), explained("p", tmp_path):
            raise RuntimeError(text)
    with pytest.raises(StageError, match="no space left to write"), explained("p", tmp_path):
        # of a user's quota, on a disk that has room
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: Disk quota exceeded")
    with pytest.raises(RuntimeError, match="failed writing file"), explained("p", tmp_path):
        raise RuntimeError("PytorchStreamWriter failed writing file data/0")  # the disk has room: another cause
    with pytest.raises(RuntimeError, match="shapes"), explained("p", tmp_path):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_an_sft_phase_has_no_reward_to_choose_by():
    validation = {"problems": 4, "every_steps": 1, "metric": "reward", "patience": None}
    with pytest.raises(ValueError, match="an SFT phase has no rewards"):
        SftPhase(**COMMON | {"validation": validation}, method="sft", examples_per_step=2, sft={"max_steps": 1})
