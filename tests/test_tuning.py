"""`smolmath tune` without running a trial: what a search may say, what is read of a trial, what is told in the end."""

import subprocess

import optuna
import pytest
from ruamel.yaml import YAML

from smolmath.params.core import ParamsError, read_params
from smolmath.statistics import share
from smolmath.tuning import queue, study
from smolmath.tuning.search import as_overrides, overridden, read_search, rounded
from smolmath.tuning.show import verdict
from smolmath.tuning.study import Trial, TuneError, open_tuning
from smolmath.tuning.trials import Outcome, best_step
from tests.conftest import ROOT

RATE = "phases.sums.grpo.learning_rate"
SEARCH = {"phase": "sums", "space": {RATE: {"low": 1e-6, "high": 1e-2, "log": True}}, "trials": 4}


@pytest.fixture
def params():
    return read_params(ROOT / "recipes" / "demo.yaml")


@pytest.fixture
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)  # `check` looks at which local files there are


def written(folder, values):
    path = folder / "search.yaml"
    with path.open("w") as file:
        YAML().dump(values, file)
    return path


def test_the_shipped_search_fits_the_demo(params, at_root):
    search = read_search(ROOT / "searches" / "demo.yaml", params)
    assert search.phase == "sums"
    assert (ROOT / "searches" / "demo.yaml").read_text().startswith("#")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": "sum"}, r"phase 'sum' is not in params.yaml. Did you mean 'sums'\?"),
        ({"space": {}}, r"space: .* is not allowed"),
        ({"space": {RATE: {"low": 2.0, "high": 1.0}}}, r"low 2\.0 is not below high 1\.0"),
        ({"space": {RATE: {"low": 0.0, "high": 1.0, "log": True}}}, r"log needs bounds above 0"),
        ({"space": {"phases.sums.grpo.learning_rat": {"low": 1e-6, "high": 1e-2}}}, r"Did you mean 'learning_rate'"),
        ({"space": {"phases.sum.grpo.learning_rate": {"low": 1e-6, "high": 1e-2}}}, r"phases\.sum is missing"),
        ({"space": {"phases.sums.prompts_per_step": {"low": 0, "high": 8}}}, r"with phases\.sums\.prompts_per_step = 0: .*0 is not allowed"),
        ({"space": {"phases.sums.preflight": {"choices": ["stop", "never"]}}}, r"preflight = never"),
        ({"fixed": {RATE: 1e-3}}, r"is under space and under fixed"),
        ({"trials": 0}, r"trials: 0 is not allowed"),
        ({"trails": 4}, r"unknown key. Did you mean 'trials'\?"),
    ],
)  # fmt: skip
def test_a_search_that_cannot_work_is_refused_before_any_trial(params, at_root, tmp_path, change, message):
    with pytest.raises(ParamsError, match=message):
        read_search(written(tmp_path, SEARCH | change), params)


def test_a_phase_without_validation_cannot_be_searched(params, at_root, tmp_path):
    params["phases"]["sums"]["validation"] = None
    with pytest.raises(ParamsError, match="a setting is chosen by validation, never by the test side"):
        read_search(written(tmp_path, SEARCH), params)


def test_values_become_overrides_that_dvc_reads_as_what_they_are(params, tmp_path):
    values = {
        RATE: 1e-05,
        "phases.sums.grpo.beta": 0.04,
        "evaluate.models": ["base", "sums"],
        "phases.legs.lora": None,
        "prompt.system": "a, b",
    }
    told = as_overrides(params, values)
    assert told[1::2] == [
        f"{RATE}=1e-05",
        "+phases.sums.grpo.beta=0.04",
        'evaluate.models=["base", "sums"]',
        "phases.legs.lora=null",
        'prompt.system="a, b"',
    ]
    from dvc.utils.hydra import apply_overrides

    (tmp_path / "params.yaml").write_text((ROOT / "recipes" / "demo.yaml").read_text())
    apply_overrides(tmp_path / "params.yaml", told[1::2])
    assert read_params(tmp_path / "params.yaml") == overridden(params, values)
    assert [rounded(v) for v in (0.00021337, 7, "x", 12345.6)] == [0.000213, 7, "x", 12300.0]


def test_the_best_step_is_that_of_the_best_validation_the_later_of_equal_ones():
    curve = "step,validation_accuracy,reward\n1,,0.5\n2,0.5,0.5\n3,0.75,1\n4,,1\n5,0.75,1\n6,0.5,1\n"
    assert best_step(curve, "accuracy") == 5


def outcome(right, n=60, step=8):
    flags = [i < right for i in range(n)]
    return Outcome(step, share(flags), {f"q{i}": float(flag) for i, flag in enumerate(flags)})


@pytest.fixture
def tuning(params, at_root, tmp_path, monkeypatch):
    """A study of the demo in a folder of its own, whose trials a stand-in of DVC's queue runs: `ends` says how."""
    monkeypatch.setattr(study, "main_workspace", lambda: tmp_path)
    monkeypatch.setattr(study, "ready_commit", lambda: "c" * 40)
    monkeypatch.setattr(study.time, "sleep", lambda seconds: None)
    queued, ends = {}, {}
    monkeypatch.setattr(queue, "add", lambda name, overrides, targets: queued.update({name: (overrides, targets)}))
    monkeypatch.setattr(queue, "start", lambda jobs: None)
    monkeypatch.setattr(queue, "statuses", lambda: {name: ends.get(name, "Success") for name in queued})
    monkeypatch.setattr(queue, "stop", lambda name: ends.update({name: "Failed"}))
    monkeypatch.setattr(queue, "has_workers", lambda: False)
    right = lambda name: 10 + 40 * (1e-4 < float(queued[name][0][-1].split("=")[1]) < 1e-3)  # noqa: E731
    monkeypatch.setattr(study, "outcome", lambda name, phase, metric: outcome(right(name)))

    def opened(**change):
        said = []
        search = read_search(written(tmp_path, SEARCH | change), params)
        made = open_tuning("search", search, params, said.append)
        made.said, made.queued, made.ends = said, queued, ends
        return made

    return opened


def test_the_first_trial_has_the_values_of_params_yaml_and_the_best_is_told(tuning):
    made = tuning(trials=12)
    made.run()
    first = made.study.trials[0]
    assert first.user_attrs["values"] == {RATE: 2e-4}
    assert made.queued["search-0"] == (["-S", f"{RATE}=0.0002"], [])
    assert len(made.trials()) == len(made.queued) == 12
    best = made.trials()[0]
    assert 1e-4 < best.values[RATE] < 1e-3
    told = verdict(made.trials(), made)
    assert told[0].startswith(f"best: {best.experiment}, 0.833 ± 0.049 (0.720 to 0.907) on 60 problems: learning_rate")
    assert any(f"dvc exp apply {best.experiment}" in line for line in told)


def test_a_killed_search_takes_up_what_was_running_and_begins_no_trial_twice(tuning):
    made = tuning(trials=3)
    made.ends.update({"search-0": "Running"})
    made._begin()  # and killed
    made.queued.clear()
    again = tuning(trials=3)
    again.ends.clear()
    again.run()
    assert again.said[0] == "search-0: taken up again"
    assert [trial.state.name for trial in again.study.trials] == ["COMPLETE"] * 3
    assert sorted(again.queued) == ["search-0", "search-1", "search-2"]
    more = tuning(trials=3)
    more.run()
    assert more.said == []
    assert [t.number for t in more.study.trials] == [0, 1, 2]


def test_a_trial_that_was_running_on_a_machine_that_died_is_queued_again(tuning):
    made = tuning(trials=1)
    made._begin()
    made.ends["search-0"] = "Running"  # DVC still thinks so; no worker answers
    made.queued.clear()
    made.queued["search-0"] = ([], [])
    again = tuning(trials=1)
    again._take_up()
    assert again.ends["search-0"] == "Failed"  # stopped
    assert again.queued["search-0"] == (["-S", f"{RATE}=0.0002"], [])  # and added


def test_equal_values_are_one_experiment(tuning, monkeypatch):
    made = tuning(space={"phases.sums.prompts_per_step": {"choices": [4, 8]}}, trials=5)
    monkeypatch.setattr(study, "outcome", lambda name, phase, metric: outcome(30))
    made.run()
    assert len(made.study.trials) == 5
    assert len(made.queued) == 2


def test_several_failures_in_a_row_end_the_search(tuning):
    made = tuning(trials=9)
    made.ends.update({f"search-{i}": "Failed" for i in range(9)})
    with pytest.raises(
        TuneError, match=r"the last 3 trials failed, so it is not the values\. See `dvc queue logs search-2`"
    ):
        made.run()


def test_a_trial_below_the_median_is_ended_early(tuning, monkeypatch):
    made = tuning(trials=4, prune={"undisturbed_trials": 1, "after_step": 0})
    curves = {"search-0": {10: 0.5}, "search-1": {10: 0.9}, "search-2": {10: 0.1}, "search-3": {10: 0.95}}
    looked = []

    def validations(phase, metric, params, values):
        looked.append(values)
        (name,) = [t.user_attrs["experiment"] for t in made.study.trials if t.user_attrs.get("values") == values]
        made.ends[name] = "Success"  # at the next look
        return curves[name]

    monkeypatch.setattr(study, "validations", validations)
    made.ends.update(dict.fromkeys(curves, "Running"))
    made.run()
    states = [trial.state.name for trial in made.study.trials]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE"]
    assert "search-2: ended early, 10.0 % at step 10 is below the median" in made.said
    assert made.trials()[-1].state == "pruned"
    assert made.trials()[-1].reached == 0.1


def test_another_search_or_another_commit_is_another_study(tuning, monkeypatch):
    tuning()
    tuning(trials=9)  # more of the same
    with pytest.raises(TuneError, match=r"was begun with the search .*--name NAME"):
        tuning(space={RATE: {"low": 1e-5, "high": 1e-2, "log": True}})
    monkeypatch.setattr(study, "ready_commit", lambda: "d" * 40)
    with pytest.raises(TuneError, match=r"was begun on commit c+, and this is d+"):
        tuning()


def test_the_verdict_is_paired_and_says_when_it_is_not_clear(tuning):
    made = tuning()
    trials = [
        Trial(1, "search-1", {RATE: 1e-3}, "complete", outcome(40)),
        Trial(2, "search-2", {RATE: 2e-3}, "complete", outcome(39)),
        Trial(0, "search-0", {RATE: 1e-6}, "complete", outcome(10)),
        Trial(3, "search-3", {RATE: 1e-2}, "failed"),
    ]
    told = verdict(trials, made)
    assert told[1].strip() == "1.7 ± 1.7 points, p = 1.00: not clearly better than search-2".replace(
        "1.7 ±", "+1.7 ±", 1
    )
    assert told[2].strip().startswith("+50.0 ±")
    assert told[2].endswith("p < 0.0001: clearly better than search-0")
    assert verdict(trials[3:], made) == ["no trial has a result: nothing to apply."]


def test_experiments_need_a_commit_clean_code_and_a_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")

    def git(*arguments):
        subprocess.run(["git", *arguments], check=True, capture_output=True)

    with pytest.raises(TuneError, match="this folder is no Git repository with one"):
        study.ready_commit()
    git("init", "-q")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    git("add", "-A")
    git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "first")
    with pytest.raises(TuneError, match=r"Git does not know you: git config user\.name"):
        study.ready_commit()
    git("config", "user.name", "x")
    git("config", "user.email", "x@example.invalid")
    assert len(study.ready_commit()) == 40
    (tmp_path / "params.yaml").write_text("seed: 2\n")
    with pytest.raises(TuneError, match=r"params\.yaml differ from the commit"):
        study.ready_commit()


def test_a_refused_experiment_has_dvcs_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(queue.QueueError, match=r"dvc queue status: you are not inside of a DVC repository"):
        queue.dvc("queue", "status")


def test_optuna_is_asked_through_its_public_interface():
    """What the loop relies on beyond ask and tell: a live trial made of a stored one."""
    made = optuna.create_study(direction="maximize")
    trial = made.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    live = optuna.Trial(made, trial._trial_id)
    live.report(0.5, 1)
    assert made.trials[0].intermediate_values == {1: 0.5}
