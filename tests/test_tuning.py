"""`smolmath tune` without running a trial: what a search may say, what is read of a trial, what is told in the end."""

import contextlib
import subprocess

import optuna
import psutil
import pytest
from ruamel.yaml import YAML

from smolmath.evaluation.uncertainty import share
from smolmath.params.core import ParamsError, read_params
from smolmath.studies.tuning import proposals, queue, study
from smolmath.studies.tuning.proposals import TuneError
from smolmath.studies.tuning.queue import Standing
from smolmath.studies.tuning.search import as_overrides, overridden, read_search, rounded
from smolmath.studies.tuning.show import verdict
from smolmath.studies.tuning.study import Trial, open_tuning
from smolmath.studies.tuning.trials import Outcome, validation_curve
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
    assert [rounded(v) for v in (0.00021337, 7, 12345.6)] == [0.000213, 7, 12300.0]


def test_the_validations_are_read_from_a_curve():
    curve = "step,validation_accuracy,reward\n1,,0.5\n2,0.5,0.5\n3,0.75,1\n4,,1\n5,0.75,1\n6,0.5,1\n"
    assert validation_curve(curve, "accuracy") == {2: 0.5, 3: 0.75, 5: 0.75, 6: 0.5}


def outcome(right, n=60, step=8):
    flags = [i < right for i in range(n)]
    return Outcome(step, share(flags), {f"q{i}": float(flag) for i, flag in enumerate(flags)}, {step: right / n})


@pytest.fixture
def tuning(params, at_root, tmp_path, monkeypatch):
    """A study of the demo in a folder of its own, whose trials a stand-in of DVC's queue runs: `ends` says how."""
    monkeypatch.setattr(study, "main_workspace", lambda: tmp_path)
    monkeypatch.setattr(study, "ready_commit", lambda: "c" * 40)
    monkeypatch.setattr(study.time, "sleep", lambda seconds: None)
    queued, ends, stopped = {}, {}, []

    def add(name, overrides, targets):
        queued[name] = (overrides, targets)

    def add_again(name, overrides, targets):
        queued.pop(name, None)
        ends.pop(name, None)
        add(name, overrides, targets)

    def standings():
        return {name: ends.get(name, Standing("Success")) for name in queued}

    def stop(name):
        stopped.append(name)
        return True

    for function in (add, add_again, standings, stop):
        monkeypatch.setattr(queue, function.__name__, function)
    monkeypatch.setattr(queue, "start", lambda jobs: None)

    def reached(name, phase, metric):
        return outcome(50 if 1e-4 < float(queued[name][0][-1].split("=")[1]) < 1e-3 else 10)

    monkeypatch.setattr(study, "outcome", reached)
    with contextlib.ExitStack() as opened:

        def begin(**change):
            opened.close()  # as a process that has ended
            said = []
            search = read_search(written(tmp_path, SEARCH | change), params)
            made = opened.enter_context(open_tuning("search", search, params, said.append))
            made.said, made.queued, made.ends, made.stopped = said, queued, ends, stopped
            return made

        yield begin


def states(made):
    return [trial.state.name for trial in made.study.trials]


def test_the_first_trial_has_the_values_of_params_yaml_and_the_best_is_told(tuning, params):
    params["phases"]["sums"]["grpo"]["learning_rate"] = 0.00012345  # with all its digits
    made = tuning(trials=12)
    made.run()
    assert made.queued["search-0"] == (["-S", f"{RATE}=0.00012345"], [])
    assert len(made.trials()) == len(made.queued) == 12
    best = made.trials()[0]
    assert 1e-4 < best.values[RATE] < 1e-3
    told = verdict(made.trials(), made)
    assert told[0].startswith(f"best: {best.experiment}, 0.833 ± 0.049 (0.720 to 0.907) on 60 problems: learning_rate")
    assert any(f"dvc exp apply {best.experiment}" in line for line in told)


def test_what_is_fixed_for_the_trials_is_not_applied_with_the_best(tuning):
    made = tuning(trials=1, fixed={"phases.sums.grpo.max_steps": 7}, train_only=True)
    made.run()
    assert made.queued["search-0"] == (["-S", "phases.sums.grpo.max_steps=7", "-S", f"{RATE}=0.0002"], ["train@sums"])
    told = verdict(made.trials(), made)
    assert f"dvc exp run -S {RATE}=0.0002 && smolmath compare HEAD" in [line.strip() for line in told]


@pytest.mark.parametrize("left", ["before it was named", "before it was queued", "running", "ended", "failed", "dead"])
def test_a_killed_search_takes_up_what_was_running_and_loses_no_trial(tuning, monkeypatch, left):
    made = tuning(trials=3)

    def killed(*arguments):
        raise KeyboardInterrupt

    if left == "before it was named":
        made.study.ask(proposals.distributions(made.search))
    elif left == "before it was queued":
        monkeypatch.setattr(queue, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            made._begin()
        monkeypatch.setattr(
            queue, "add", lambda name, overrides, targets: made.queued.update({name: (overrides, targets)})
        )
    else:
        made._begin()
        standing = {
            "running": Standing("Running"),
            "failed": Standing("Failed"),
            "dead": Standing("Running", alive=False),
        }
        made.ends.update({"search-0": standing[left]} if left in standing else {})
    again = tuning(trials=3)
    again._take_up()
    assert again.queued["search-0"] == (["-S", f"{RATE}=0.0002"], [])
    if left != "before it was named":
        assert again.said == ["search-0: taken up again"]
    again.ends.clear()
    again.run()
    assert states(again) == ["COMPLETE"] * 3
    assert sorted(again.queued) == ["search-0", "search-1", "search-2"]
    assert again.study.trials[0].user_attrs["values"] == {RATE: 2e-4}
    more = tuning(trials=3)
    more.run()
    assert more.said == []
    assert len(more.study.trials) == 3


def test_a_trial_whose_process_is_gone_is_queued_again_but_not_at_once(tuning, monkeypatch):
    made = tuning(trials=1)
    made._begin()
    made.ends["search-0"] = Standing("Running", alive=False)
    (trial,) = made.study.trials
    for _ in range(study.DEAD - 1):  # its worker may be collecting it
        made._look_at(trial, made.ends["search-0"])
    assert "search-0" in made.ends
    made._look_at(trial, made.ends["search-0"])
    assert "search-0" not in made.ends
    assert made.said[-1] == "search-0: its process is gone; queued again"


def test_a_trial_that_one_look_at_the_queue_missed_has_not_failed(tuning):
    made = tuning(trials=1)
    made._begin()
    (trial,) = made.study.trials
    for _ in range(study.MISSED - 1):
        made._look_at(trial, None)
    made._look_at(trial, Standing("Running"))
    made._look_at(trial, None)
    assert states(made) == ["RUNNING"]
    for _ in range(study.MISSED - 1):
        made._look_at(trial, None)
    assert states(made) == ["FAIL"]


def test_equal_values_are_one_experiment_unless_it_failed(tuning, monkeypatch):
    monkeypatch.setattr(study, "outcome", lambda name, phase, metric: outcome(30))
    made = tuning(space={"phases.sums.prompts_per_step": {"choices": [4, 8]}}, trials=5)
    made._begin()
    made._fail(made.study.trials[0], "out of memory")
    made.run()
    assert states(made) == ["FAIL"] + ["COMPLETE"] * 5
    assert sorted(t.user_attrs["values"]["phases.sums.prompts_per_step"] for t in made.study.trials[1:])[0] == 4
    assert len(made.queued) == 3  # one of them twice, since its first try failed


def test_several_failures_in_a_row_end_the_search_and_the_same_command_tries_again(tuning):
    made = tuning(trials=3)
    made.ends.update({f"search-{i}": Standing("Failed") for i in range(9)})
    with pytest.raises(
        TuneError, match=r"the last 3 trials failed, so it is not the values\. See `dvc queue logs search-2`"
    ):
        made.run()
    made.ends.clear()  # mended
    again = tuning(trials=3)
    again.run()
    assert states(again) == ["FAIL"] * 3 + ["COMPLETE"] * 3


def test_a_trial_below_the_median_is_ended_early(tuning, monkeypatch):
    made = tuning(trials=4, prune={"undisturbed_trials": 1, "after_step": 0})
    curves = {"search-0": {8: 0.5}, "search-1": {8: 0.9}, "search-2": {8: 0.1}, "search-3": {8: 0.95}}

    def validations(phase, metric, params, values):
        (name,) = [t.user_attrs["experiment"] for t in made.study.trials if t.user_attrs.get("values") == values]
        made.ends[name] = Standing("Success")  # at the next look
        return curves[name]

    monkeypatch.setattr(study, "validations", validations)
    monkeypatch.setattr(study, "outcome", lambda name, phase, metric: outcome(30))
    made.ends.update(dict.fromkeys(curves, Standing("Running")))
    made.run()
    assert states(made) == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE"]
    assert made.stopped == ["search-2"]
    assert "search-2: ended early, 0.100 at step 8 is below the median" in made.said
    assert made.trials()[-1].state == "pruned"
    assert made.trials()[-1].reached == 0.1


def test_a_search_on_edited_code_begins_no_trial(tuning, monkeypatch):
    made = tuning()
    monkeypatch.setattr(study, "ready_commit", lambda: "d" * 40)
    with pytest.raises(TuneError, match=r"the search began on commit c{12}, and another is checked out now"):
        made.run()


def test_a_study_has_one_process_and_a_name_that_git_takes(tuning, params):
    tuning()
    with (
        pytest.raises(TuneError, match="another process is at work on the study 'search'"),
        open_tuning("search", None, params, print),
    ):
        pass
    with pytest.raises(TuneError, match="a study can't be called 'a/b'"), open_tuning("a/b", None, params, print):
        pass


def test_a_search_that_has_ended_leaves_its_database_closed(tuning, params, tmp_path):
    def is_open():
        return any(file.path == str(tmp_path / ".work/tune/search.db") for file in psutil.Process().open_files())

    with open_tuning("search", read_search(written(tmp_path, SEARCH), params), params, print):
        assert is_open()
    assert not is_open()


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
    assert told[1].strip() == "+1.7 ± 1.7 points, p = 1.00 (corrected for 3 pairs): not clearly better than search-2"
    assert told[2].strip().startswith("+50.0 ±")
    assert told[2].endswith("p < 0.0001 (corrected for 3 pairs): clearly better than search-0")
    assert verdict(trials[3:], made) == ["no trial has a result: nothing to apply."]


def test_the_best_of_many_alike_is_not_clearly_better(tuning):
    """Of 45 pairs of one setting's trainings, the two farthest apart differ by more than chance gives any two."""
    made = tuning()
    trials = [Trial(i, f"search-{i}", {RATE: 1e-3}, "complete", outcome(right)) for i, right in enumerate([36, 42])]
    assert verdict(trials[::-1], made)[1].endswith("p = 0.031: clearly better than search-0")  # 2 / 2⁶
    trials += [Trial(i, f"search-{i}", {RATE: 1e-3}, "complete", outcome(39)) for i in range(2, 10)]
    told = verdict([trials[1], *trials[2:], trials[0]], made)
    assert told[2].endswith("p = 1.00 (corrected for 45 pairs): not clearly better than search-0")


def test_the_search_ends_with_how_to_tell_the_setting_from_the_seed(tuning):
    made = tuning(trials=1)
    made.run()
    told = verdict(made.trials(), made)
    commands = [line.strip() for line in told[-4:]]
    assert commands[:2] == [
        "dvc exp run --queue --name before -S seed=1,2,3",
        f"dvc exp run --queue --name after -S seed=1,2,3 -S {RATE}=0.0002",
    ]
    assert commands[3].startswith("smolmath compare before-1,before-2,before-3 after-1,after-2,after-3")


def test_experiments_need_a_commit_clean_code_and_a_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")

    def git(*arguments):
        subprocess.run(["git", *arguments], check=True, capture_output=True)

    with pytest.raises(TuneError, match=r"none can be made here: fatal: not a git repository.*: git init, git add"):
        proposals.ready_commit()
    git("init", "-q")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    git("add", "-A")
    git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "first")
    with pytest.raises(TuneError, match=r"Git does not know you: git config user\.name"):
        proposals.ready_commit()
    git("config", "user.name", "x")
    git("config", "user.email", "x@example.invalid")
    assert len(proposals.ready_commit()) == 40
    (tmp_path / "params.yaml").write_text("seed: 2\n")
    with pytest.raises(TuneError, match=r"params\.yaml differ from the commit"):
        proposals.ready_commit()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TuneError, match="none can be made here: git is not installed"):
        proposals.ready_commit()
    (tmp_path / "señas").mkdir()
    monkeypatch.chdir(tmp_path / "señas")
    with pytest.raises(TuneError, match=r"where a path has more than ASCII letters: move .*señas"):
        proposals.ready_commit()


def test_a_refused_experiment_has_dvcs_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(queue.QueueError, match=r"dvc queue status: you are not inside of a DVC repository"):
        queue.dvc("queue", "status")


def test_where_dvc_was_told_that_there_is_no_git_its_words_say_how_to_take_it_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    with pytest.raises(queue.QueueError, match=r"`dvc config core\.no_scm false`"):
        queue.standings()


def test_optuna_is_asked_through_its_public_interface():
    """What the loop relies on beyond ask and tell: a live trial made of a stored one."""
    made = optuna.create_study(direction="maximize")
    trial = made.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    live = optuna.Trial(made, trial._trial_id)
    live.report(0.5, 1)
    assert made.trials[0].intermediate_values == {1: 0.5}
