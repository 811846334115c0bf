"""`smolmath compare` on a small repository with real Git and DVC: versions of two models' results, none of them run."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from smolmath.cli import app
from smolmath.errors import SmolmathError
from smolmath.evaluation.paired import Paired, UnpairedError
from smolmath.evaluation.uncertainty import Estimate, holm
from smolmath.evaluation.verdicts import verdicts_schema
from smolmath.records import COMPLETIONS, PROBLEMS, write_table
from smolmath.running.lockfile import LockError
from smolmath.studies.comparing.compare import Comparison, Flip, Flips, Side, common_problems, compare, in_words
from smolmath.studies.comparing.ranking import _averages, rank
from smolmath.studies.comparing.show import as_markdown, flip_texts, power_table
from smolmath.studies.report.against import against_parent
from smolmath.studies.revisions import RevisionError
from smolmath.studies.wording import p_text
from tests.conftest import ROOT, Project

DVC_YAML = {
    "stages": {
        "generate": {
            "matrix": {"model": "${evaluate.models}", "dataset": "${evaluate.datasets}"},
            "cmd": "true",
            "params": ["evaluate.sampling", "model.dtype", "prompt", "seed"],
            "deps": ["models/${item.model}", "data/split/${item.dataset}", "data/sampling/${item.dataset}.json"],
            "outs": ["results/completions/${item.model}/${item.dataset}.parquet"],
        },
        "evaluate": {
            "matrix": {"model": "${evaluate.models}", "dataset": "${evaluate.datasets}"},
            "cmd": "true",
            "deps": ["results/completions/${item.model}/${item.dataset}.parquet", "src/smolmath/answers"],
            "outs": ["results/verdicts/${item.model}/${item.dataset}.parquet"],
        },
        "check": {"cmd": "true", "outs": ["data/sampling"]},
        "split": {"foreach": "${datasets}", "do": {"cmd": "true", "outs": ["data/split/${key}"]}},
    }
}
PARAMS = {
    "seed": 1,
    "datasets": {"sums": 1, "legs": 1},
    "prompt": {"system": "Think.", "reasoning_tag": "reasoning", "answer_tag": "answer"},
    "model": {"dtype": "float32"},
    "evaluate": {
        "models": ["base", "sums"],
        "datasets": ["sums", "legs"],
        "sampling": {
            "problems": 40,
            "samples": 2,
            "temperature": 1.0,
            "top_p": 1.0,
            "max_completion_tokens": 9,
            "batch_size": 4,
        },
    },
}
N = 40


class Repository(Project):
    """Results are written by hand and committed by DVC, which runs nothing."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = Project.clean_environment()
        self.run("git", "init", "-q", "-b", "main")
        self.run("git", "config", "user.name", "tester")
        self.run("git", "config", "user.email", "tester@example.invalid")
        self.dvc("init", "-q")
        self.write(".gitignore", "/data/\n/models/\n/results/\n")
        self.write("src/smolmath/answers/grader.py", "version = 1\n")
        self.dump("dvc.yaml", DVC_YAML)
        self.dump("params.yaml", PARAMS)

    def dump(self, name, values):
        with (self.folder / name).open("w") as file:
            YAML().dump(values, file)

    def results(self, *, right, problems=N, engine="transformers", weights="x"):
        """`right`: (model, dataset) -> how many of the first problems are right; every sampled one likewise."""
        evaluate = YAML(typ="safe").load(self.folder / "params.yaml")["evaluate"]
        for model in ("base", "sums"):
            self.write(f"models/{model}", "as it came" if model == "base" else weights)
        for dataset in PARAMS["datasets"]:
            own = evaluate.get("per_dataset", {}).get(dataset, {})
            self.write(f"data/sampling/{dataset}.json", json.dumps(own, sort_keys=True) + "\n")
            rows = [
                {"id": f"{dataset}{i:02d}", "dataset": dataset, "question": f"What is {i} + 0?", "reference_answer": str(i),
                 "raw_file": "f", "raw_row": i}
                for i in range(problems)
            ]  # fmt: skip
            write_table(self.folder / f"data/split/{dataset}/test.parquet", rows, PROBLEMS)
        for (model, dataset), count in right.items():
            completions, verdicts = [], []
            for i in range(problems):
                for sample in range(3):
                    key = {"problem_id": f"{dataset}{i:02d}", "sample": sample}
                    correct = i < count
                    completions.append(
                        {
                            **key,
                            "prompt": "p",
                            "completion": f"{model} says {i if correct else 'no'}",
                            "finish_reason": "stop",
                            "tokens": 3,
                        }
                    )
                    verdicts.append(
                        {**key, "predicted_answer": str(i) if correct else None, "correct": correct, "strict": correct,
                         "formatted": True, "finished": True, "tokens": 3, "answer_group": 0 if correct else None}
                    )  # fmt: skip
            made_by = {**COMPLETIONS.metadata, "engine": engine, "device": "cpu"}
            write_table(
                self.folder / f"results/completions/{model}/{dataset}.parquet",
                completions,
                COMPLETIONS.with_metadata(made_by),
            )
            write_table(self.folder / f"results/verdicts/{model}/{dataset}.parquet", verdicts, verdicts_schema([]))

    def commit(self, message):
        self.dvc("commit", "-f", "-q")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)


def counts(base_sums, sums_sums, base_legs=20, sums_legs=20):
    return {
        ("base", "sums"): base_sums,
        ("sums", "sums"): sums_sums,
        ("base", "legs"): base_legs,
        ("sums", "legs"): sums_legs,
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Tag v1; branch `better`, on which sums has gained 12 problems on sums; an experiment that lost 3 on legs."""
    repository = Repository(tmp_path_factory.mktemp("compare"))
    repository.results(right=counts(10, 20))
    repository.commit("first")
    repository.run("git", "tag", "v1")
    repository.results(right=counts(10, 20, sums_legs=17))
    repository.dvc("commit", "-f", "-q")
    repository.dvc("exp", "save", "-n", "worse-legs", "-q")
    repository.run("git", "checkout", "-q", "-b", "better")
    repository.results(right=counts(10, 32))
    repository.commit("better")
    return repository


@pytest.fixture
def repository(made, tmp_path, monkeypatch):
    copy = copy_of(made, tmp_path / "copy")
    monkeypatch.chdir(copy.folder)
    return copy


def copy_of(repository, folder):
    copy = object.__new__(Repository)
    copy.folder, copy.environment = folder, repository.environment
    shutil.copytree(repository.folder, copy.folder, symlinks=True)
    return copy


def sides(*names):
    return [Side.parse(name) for name in names]


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *arguments], terminal_width=160)


def test_a_tag_and_the_workspace_are_compared_problem_by_problem(repository):
    found = compare(*sides("v1", "workspace"))
    assert found.same == [("base", "sums"), ("base", "legs"), ("sums", "legs")]
    accuracy, sampled = found.differences
    assert (accuracy.model_b, accuracy.dataset, accuracy.paired.n) == ("sums", "sums", N)
    assert (accuracy.paired.gained, accuracy.paired.lost, accuracy.paired.difference.value) == (12, 0, 0.3)
    assert accuracy.paired.p == 2 / 2**12  # twelve coins, all the same side, either side
    assert accuracy.p_corrected == max(2 * min(accuracy.paired.p, sampled.paired.p), accuracy.paired.p)
    # Standard error of 12 ones and 28 zeros: sqrt(0.3 · 0.7 / 39) = 0.0734
    assert accuracy.verdict.startswith("workspace is better by 30.0 ± 7.3 points on 40 problems, p = ")
    assert sampled.verdict.startswith("workspace is better by 30.0 ± 7.3 points on 40 problems × 2 samples, p")
    assert found.warnings == []


@pytest.mark.parametrize(("a", "b"), [("v1", "better"), ("v1", "HEAD"), ("main", "better"), ("HEAD~1", "workspace")])
def test_commits_branches_and_tags_are_read_without_a_checkout(repository, a, b):
    shutil.rmtree(repository.folder / "results") if b != "workspace" else None
    assert [d.paired.difference.value for d in compare(*sides(a, b)).differences] == [0.3, 0.3]


def test_an_experiment_is_compared_by_its_name(repository):
    accuracy, _ = compare(*sides("v1", "worse-legs")).differences
    assert (accuracy.model_b, accuracy.dataset) == ("sums", "legs")
    assert (accuracy.paired.gained, accuracy.paired.lost) == (0, 3)
    assert accuracy.verdict.startswith(
        "no clear difference: −7.5 ± 4.2 points for worse-legs on 40 problems, p = 0.40 (corrected for 2 tests"
    )


def test_two_models_of_one_version_are_compared(repository):
    accuracy, *_ = compare(*sides(":base", ":sums"), datasets=["sums"]).differences
    assert (accuracy.model_a, accuracy.model_b, accuracy.paired.difference.value) == ("base", "sums", 0.55)
    assert accuracy.verdict.startswith("sums is better by 55.0 ±")
    accuracy, *_ = compare(*sides("v1:sums", "better:sums")).differences
    assert accuracy.verdict.startswith("better is better by 30.0")


@pytest.mark.parametrize("told", [False, True])
def test_a_zip_download_has_one_version_whose_models_are_compared(repository, told):
    shutil.rmtree(".git")
    if told:  # as `make setup` tells DVC
        repository.write(".dvc/config", repository.read(".dvc/config") + "[core]\n    no_scm = true\n")
    accuracy, *_ = compare(*sides(":base", ":sums"), datasets=["sums"]).differences
    assert (accuracy.model_b, accuracy.paired.n) == ("sums", N)
    assert against_parent() is None
    done = run("v1")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: 'v1' would be a commit, and DVC knows no Git repository here")
    assert "dvc config core.no_scm false" in done.stderr


def test_no_database_is_left_open_by_a_comparison(repository):
    before, read = databases(), sides("v1", "better")
    assert compare(*read).differences
    assert databases() <= before


def databases():
    return {file.path for file in psutil.Process().open_files() if file.path.endswith(".db")}


def test_models_and_datasets_can_be_picked(repository):
    assert compare(*sides("v1", "better"), models=["base"]).differences == []
    assert compare(*sides("v1", "better"), datasets=["legs"]).same == [("base", "legs"), ("sums", "legs")]
    with pytest.raises(
        RevisionError, match="--model and --dataset leave nothing of what both have evaluated: base on"
    ):
        compare(*sides("v1", "better"), datasets=["lges"])


def test_what_lies_in_no_cache_is_said_with_what_to_do_and_a_remote_serves(repository, tmp_path):
    repository.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    for revision in ("v1", "better"):  # `push --all-commits` leaves out those that don't name the remote yet
        repository.run("git", "checkout", "-q", revision)
        repository.dvc("checkout", "-q")
        repository.dvc("push", "-q")
    shutil.rmtree(repository.folder / ".dvc" / "cache")
    assert len(compare(*sides("v1", "better")).differences) == 2
    shutil.rmtree(tmp_path / "store")
    shutil.rmtree(repository.folder / ".dvc" / "cache", ignore_errors=True)
    with pytest.raises(
        RevisionError, match=r"of v1 is neither in DVC's cache nor to be had from a remote .*dvc fetch --all-commits"
    ):
        compare(*sides("v1", "better"))


def test_what_was_removed_from_the_workspace_is_said_with_what_to_do(repository):
    (repository.folder / "results/verdicts/sums/sums.parquet").unlink()
    assert len(compare(*sides("v1", "workspace")).differences) == 2  # DVC's cache has it
    shutil.rmtree(repository.folder / ".dvc" / "cache")
    with pytest.raises(RevisionError, match=r"results/verdicts/sums/sums\.parquet is not here: run `dvc checkout`"):
        compare(*sides(":base", ":sums"), datasets=["sums"])


def test_a_corrupt_table_is_named(repository):
    path = repository.folder / "results/verdicts/sums/sums.parquet"
    path.unlink()  # a link into the cache, perhaps
    path.write_bytes(b"PAR1 not parquet")
    with pytest.raises(RevisionError, match=r"results/verdicts/sums/sums\.parquet is not what dvc\.lock records"):
        compare(*sides("v1", "workspace"))
    repository.dvc("commit", "-f", "-q")
    with pytest.raises(RevisionError, match=r"results/verdicts/sums/sums\.parquet of workspace is no table"):
        compare(*sides("v1", "workspace"))


@pytest.mark.parametrize("side", ["v1", "workspace"])
def test_what_is_damaged_in_the_cache_is_named_and_the_advice_brings_it_back(repository, tmp_path, side):
    """As after an edit through a link, which changes both."""
    repository.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    repository.run("git", "checkout", "-q", "v1")
    repository.dvc("checkout", "-q")
    repository.dvc("push", "-q")
    path = repository.folder / "results/verdicts/sums/sums.parquet"
    whole = path.read_bytes()
    md5 = hashlib.md5(whole).hexdigest()
    cached = repository.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    for file in (path, cached):
        file.chmod(0o600)
        file.write_bytes(b"cut off")
    with pytest.raises(RevisionError, match="is damaged in DVC's cache") as told:
        compare(*sides("better", side))
    (advised,) = re.findall(r"rm (\S+)\. ", str(told.value))
    (repository.folder / advised).unlink()
    repository.dvc("pull", "--force", "-q")
    assert path.read_bytes() == whole
    assert compare(*sides("better", side)).differences


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\nstages:\n=======\n", "", "schema: '2.0'\n"])
def test_a_broken_lock_is_named(repository, text):
    repository.write("dvc.lock", text)
    with pytest.raises(LockError, match=r"dvc\.lock of workspace cannot be read: settle its merge"):
        compare(*sides("v1", "workspace"))


def test_a_lock_of_another_version_is_refused(repository):
    lock = YAML(typ="safe", pure=True).load(repository.read("dvc.lock"))
    del lock["stages"]["generate@base-sums"]["params"]
    repository.dump("dvc.lock", lock)
    with pytest.raises(RevisionError, match=r"does not say with which evaluate\.sampling, model\.dtype, prompt base"):
        compare(*sides("v1", "workspace"))


def test_a_remote_that_refuses_is_a_message(repository):
    repository.dvc("remote", "add", "-d", "store", "http://127.0.0.1:9/store")  # nobody listens there
    shutil.rmtree(repository.folder / ".dvc" / "cache")
    with pytest.raises(RevisionError, match=r"of v1 is neither in DVC's cache nor to be had from a remote"):
        compare(*sides("v1", "better"))


def test_a_commits_subject_does_nothing_to_the_report(repository):
    change(repository, lambda params: None, "innocent\u2028--output=PWNED")
    change(repository, lambda params: None, "after", right=counts(10, 31))
    found = against_parent()
    assert found.subject.startswith("innocent")
    assert [d.paired.difference.value for d in found.comparison.differences] == pytest.approx([1 / N] * 2)
    assert not list(repository.folder.glob("PWNED*"))


def test_the_last_commit_with_other_results_is_found_and_needs_the_cache_only(repository):
    found = against_parent()
    assert found.subject == "first"  # HEAD has the same results as the workspace
    assert [row.dataset for row in found.comparison.rows] == ["suite average", "sums", "sums"]
    shutil.rmtree(repository.folder / ".dvc" / "cache")
    assert "not in DVC's cache" in against_parent().problem


def test_an_unknown_version_is_said_with_where_to_look(repository):
    with pytest.raises(RevisionError, match=r"'no-such' is no commit, branch, tag or experiment here .*dvc exp list"):
        compare(*sides("no-such", "workspace"))


def test_versions_without_a_common_model_are_refused(repository):
    change(repository, lambda params: params["evaluate"].update(models=["base"]), "base alone")
    with pytest.raises(
        RevisionError, match=r"nothing to compare: v1:sums has sums on sums.*; HEAD has base.*Evaluate"
    ):
        compare(*sides("v1:sums", "HEAD"))


def test_a_model_that_nobody_knows_is_said_with_those_that_are(repository):
    with pytest.raises(RevisionError, match=r"v1:smus: no model 'smus' is known there. Did you mean 'sums'\? It has"):
        compare(*sides("v1:smus", "workspace"))


def test_what_params_no_longer_name_counts_no_more_though_dvc_lock_has_it(repository):
    change(repository, lambda params: params["evaluate"].update(datasets=["sums"]), "legs are gone")
    assert "evaluate@base-legs" in repository.read("dvc.lock")
    for names in (("v1", "HEAD"), ("v1", "workspace"), (":base", ":sums")):
        found = compare(*sides(*names))
        assert {d.dataset for d in found.differences} == {"sums"}
        assert [d.p_corrected for d in found.differences] == holm([d.paired.p for d in found.differences])
        assert not [pair for pair in found.same if pair[1] == "legs"]
    assert {d.dataset for d in against_parent().comparison.differences} == {"sums"}


def test_what_another_model_has_answered_is_left_out_with_the_command_that_brings_it(repository):
    lock = YAML(typ="safe", pure=True).load(repository.read("dvc.lock"))
    lock["stages"]["generate@sums-sums"]["outs"][0]["md5"] = "0" * 32  # as after `dvc repro generate@sums-sums`
    repository.dump("dvc.lock", lock)
    told = (
        "workspace: sums on sums left out, evaluated with another results/completions/sums/sums.parquet than "
        "generate@sums-sums has written since. `dvc repro` evaluates again."
    )
    found = compare(*sides("v1", "workspace"))
    assert found.same == [("base", "sums"), ("base", "legs"), ("sums", "legs")]
    assert (found.differences, found.warnings) == ([], [told])
    assert compare(*sides("v1", "workspace"), models=["base"]).warnings == []
    with pytest.raises(
        RevisionError, match="leave nothing of what both have evaluated: sums on legs.\n" + re.escape(told)
    ):
        compare(*sides(":base", ":sums"), datasets=["sums"])
    repository.run("git", "commit", "-qam", "the chain is broken")
    with pytest.raises(RevisionError, match=r"HEAD: sums on sums left out.*`git checkout HEAD` .*, then `dvc repro`"):
        compare(*sides("v1", "HEAD"), models=["sums"], datasets=["sums"])


def change(repository, change_params, message, **results):
    """A version with other params and results."""
    params = json.loads(json.dumps(PARAMS))
    change_params(params)
    repository.dump("params.yaml", params)
    repository.results(**{"right": counts(10, 30)} | results)
    repository.commit(message)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p: p["prompt"].update(system="Hurry."), r"base on sums: the prompts differ \(prompt.system: 'Think.' and 'Hurry.'\)"),
        (lambda p: p["evaluate"]["sampling"].update(temperature=0.7), r"the sampling differs .*temperature: 1.0 and 0.7"),
        (lambda p: p["evaluate"]["sampling"].update(max_completion_tokens=5), r"max_completion_tokens: 9 and 5"),
        (lambda p: p["evaluate"].update(per_dataset={"sums": {"shots": 4}}), r"on sums: the sampling differs .*shots: 0 and 4"),
    ],
)  # fmt: skip
def test_other_prompts_and_other_sampling_are_refused(repository, edit, message):
    change(repository, edit, "other terms")
    with pytest.raises(UnpairedError, match=message):
        compare(*sides("v1", "HEAD"))


def test_params_that_were_edited_after_the_run_do_not_count(repository):
    params = json.loads(json.dumps(PARAMS))
    params["prompt"]["system"] = "Edited, and not run."
    repository.dump("params.yaml", params)
    assert len(compare(*sides("v1", "workspace")).differences) == 2


def test_other_problems_are_refused_unless_the_common_ones_are_asked_for(repository):
    change(repository, lambda params: None, "fewer problems", problems=30)
    with pytest.raises(UnpairedError, match=r"base on sums: the problems differ: 40 and 30, of which 30 are the same"):
        compare(*sides("v1", "HEAD"))
    one, two = sides("v1", "HEAD")
    found = compare(one, two, problems=common_problems(one, [two], [], []))
    assert {difference.paired.n for difference in found.differences} == {30}
    done = run("v1", "HEAD", "better")
    assert "of which 30 are the same" in done.stderr
    assert "--common" in done.stderr
    ranked = run("v1", "HEAD", "better", "--common").output
    assert "sums on sums, greedy, 30 problems" in ranked  # better answered 40, and is compared on those of HEAD


def test_models_are_ranked_against_one_of_them_by_dataset(repository):
    said = run(":base", ":sums", "v1:sums").output
    block = said[said.index("on sums, greedy, 40 problems") :].splitlines()
    assert [line.split()[:2] for line in block[2:5]] == [
        ["workspace:sums", "80.0"],
        ["v1:sums", "50.0"],
        ["workspace:base", "25.0"],
    ]
    assert said.count("greedy, 40 problems") == 1  # on legs all verdicts are the same


def test_the_suites_average_says_which_datasets_carry_it_and_is_what_versions_are_ranked_by_first(repository):
    found = compare(*sides("v1", "better"))
    (over_all,) = found.averages  # the base is the same in both
    assert (over_all.dataset, over_all.paired.n, over_all.paired.gained, over_all.paired.lost) == (
        "suite average",
        80,
        12,
        0,
    )
    # 30 points on sums and 0 on legs; errors 7.34 and 0, so 7.34 / 2
    assert over_all.paired.difference.value == pytest.approx(0.15)
    assert over_all.verdict.startswith("better is better by 15.0 ± 3.7 points on 80 problems, p = ")
    assert over_all.verdict.endswith("; most of it by sums (+30.0)")
    assert over_all.p_corrected == over_all.paired.p  # corrected by itself: it is one question
    assert len(found.differences) == 2
    assert compare(*sides("v1", "better"), datasets=["sums"]).averages == []
    assert compare(*sides("v1", "v1")).averages == []
    said = run("v1", "worse-legs", "better").output
    first = said[
        said.index("\nsums on suite average, greedy, 80 problems") : said.index("\nsums on legs, greedy")
    ].splitlines()
    assert [line.split()[:2] for line in first[3:6]] == [["better", "65.0"], ["v1", "50.0"], ["worse-legs", "46.2"]]
    assert first[6].startswith("  better: better is better by 15.0 ± 3.7 points")
    assert len(first) == 7  # of worse-legs, which is not clearly worse, nothing is said
    told = json.loads(run("v1", "better", "--json").output)
    assert told["averages"][0]["parts"] == {"sums": 0.3, "legs": 0.0}


def test_versions_that_were_evaluated_on_other_datasets_are_not_ranked_by_an_average(repository):
    two, three = sides("v1", "better")
    (over_two,) = compare(two, three).averages
    other = replace(over_two, parts={**over_two.parts, "more": over_two.paired})
    comparison = Comparison("v1", "b", [], [], [over_two])
    assert _averages(two, [three, three], [comparison, replace(comparison, averages=[other])]) == [[], []]
    ranked = _averages(two, [three, three], [comparison, comparison])
    assert [found.p_corrected for (found,) in ranked] == holm([over_two.paired.p] * 2)


def test_the_average_of_trainings_counts_their_seeds(seeds):
    (found,) = compare(*sides("a1,a2,a3", "c1,c2,c3"), models=["sums"]).averages
    assert found.paired.trainings == (3, 3)
    # legs: 20 of 40 by all; sums: 20 and 29.33 of 40. Means over both lie half as far apart as on sums alone.
    assert found.paired.difference.value == pytest.approx(0.7 / 3 / 2)
    (alone, _) = compare(*sides("a1,a2,a3", "c1,c2,c3"), models=["sums"], datasets=["sums"]).differences
    assert found.paired.spread == pytest.approx(alone.paired.spread / 2)
    assert found.paired.difference.se == pytest.approx(alone.paired.difference.se / 2, rel=1e-3)
    assert found.verdict.endswith("these trainings differ, and it may be their seeds")


def trained(repository, name, right, **change):
    """A tag: the setting with a seed of its own, and so other weights, and so many sums right."""
    params = {**PARAMS, "seed": sum(map(ord, name))} | change
    repository.dump("params.yaml", params)
    repository.results(right=counts(10, right), weights=name)
    repository.commit(name)
    repository.run("git", "tag", name)


@pytest.fixture(scope="module")
def made_with_seeds(made, tmp_path_factory):
    """Three trainings of a setting at about 20 of 40, three of another at about 33, three that lie far apart."""
    repository = copy_of(made, tmp_path_factory.mktemp("seeds") / "copy")
    for name, right in {
        "a1": 20,
        "a2": 21,
        "a3": 19,
        "b1": 33,
        "b2": 32,
        "b3": 34,
        "c1": 12,
        "c2": 40,
        "c3": 36,
    }.items():
        trained(repository, name, right)
    return repository


@pytest.fixture
def seeds(made_with_seeds, tmp_path, monkeypatch):
    copy = copy_of(made_with_seeds, tmp_path / "copy")
    monkeypatch.chdir(copy.folder)
    return copy


def test_trainings_of_two_settings_are_compared_with_their_seeds_as_chance(seeds):
    found = compare(*sides("a1,a2,a3", "b1,b2,b3"), datasets=["sums"])
    assert {difference.model_b for difference in found.differences} == {"sums"}  # no seed has changed the base
    found = compare(*sides("a1,a2,a3:sums", "b1,b2,b3"), datasets=["sums"])
    accuracy, sampled = found.differences
    assert (accuracy.paired.n, accuracy.paired.trainings, sampled.paired.k) == (40, (3, 3), 2)
    assert (round(accuracy.paired.before, 3), round(accuracy.paired.after, 3)) == (0.5, 0.825)
    assert accuracy.verdict.startswith("B is better by 32.5 ± ")
    assert "on 40 problems, of 3 and 3 trainings, p < " in accuracy.verdict
    assert accuracy.verdict.endswith("Trainings of one setting lie ± 2.5 points around their mean: it is the setting")
    assert found.warnings == []

    accuracy, _ = compare(*sides("a1,a2,a3", "c1,c2,c3"), models=["sums"], datasets=["sums"]).differences
    assert accuracy.paired.p_of_these < 0.001
    assert accuracy.verdict.startswith("no clear difference: +23.3 ± ")
    assert accuracy.verdict.endswith("these trainings differ, and it may be their seeds")

    said = run("a1,a2,a3", "b1,b2,b3", "c1,c2,c3", "--model", "sums", "--dataset", "sums").output
    assert [line.split()[0] for line in said.splitlines() if line.startswith(("a1", "b1", "c1"))][:3] == [
        "b1,b2,b3",
        "c1,c2,c3",
        "a1,a2,a3",
    ]
    told = json.loads(run("a1,a2,a3", "b1,b2,b3", "--model", "sums", "--json").output)
    assert told["differences"][0]["trainings"] == [3, 3]


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("a1", "b1,b2,b3", "1 and 3 trainings: one alone does not show what another seed would change"),
        ("a1,a2,a1", "b1,b2", r"a1 and a1 hold the same sums, one training under two names.*another seed"),
        ("a1,a2:sums,a3:base", "b1,b2", "are of one model, and here are base, sums"),
        ("a1,,a2", "b1,b2", "names nothing beside a comma"),
        ("a1,nowhere", "b1,b2", "'nowhere' is no commit"),
    ],
)
def test_trainings_that_say_nothing_of_a_setting_are_refused(seeds, a, b, message):
    with pytest.raises(SmolmathError, match=message):
        compare(*sides(a, b), models=["sums"], datasets=["sums"])


def test_a_model_that_no_seed_has_changed_is_refused_where_it_is_all_that_is_asked_for(seeds):
    with pytest.raises(UnpairedError, match="a1 and a2 hold the same base, one training under two names"):
        compare(*sides("a1:base,a2", "b1,b2"))


def test_trainings_that_differ_in_more_than_the_seed_are_warned_of(seeds):
    trained(seeds, "other", 20, model={"dtype": "bfloat16"})
    warnings = compare(*sides("a1,a2,other", "b1,b2"), models=["sums"], datasets=["sums"]).warnings
    assert "a1 and other differ in model.dtype beside the seed: they are no trainings of one setting." in warnings
    done = run("a1,a2", "b1,b2", "--flips", "3")
    assert (done.exit_code, "--flips: of two models alone, and here are several" in done.stderr) == (1, True)


def test_another_engine_or_grader_is_warned_of(repository):
    repository.write("src/smolmath/answers/grader.py", "version = 2\n")
    change(repository, lambda params: None, "vllm", engine="vllm")
    warnings = compare(*sides("v1", "HEAD")).warnings
    assert len(warnings) == 2
    assert "different versions of the grader" in warnings[0]
    assert "made by transformers on cpu and by vllm on cpu" in warnings[1]


def test_the_command_prints_table_verdicts_and_flipped_problems(repository):
    done = run("v1", "--flips", "1")
    assert done.exit_code == 0
    for text in (
        "A: v1   B: workspace",
        "sums on sums: workspace is better by 30.0 ± 7.3 points on 40 problems, p = ",
        "base on legs: every verdict is the same.",
        "sums on sums: 0 right in v1 only, 12 right in workspace only",
        "sums20: right in workspace only",
        "What is 20 + 0?",
        "reference answer: 20",
        "v1 answers nothing:",
        "sums says no",
        "workspace answers 20:",
    ):
        assert text in done.stdout, text


def test_the_command_writes_json(repository):
    told = json.loads(run("v1", "better", "--json").stdout)
    assert (told["a"], told["b"]) == ("v1", "better")
    assert {(d["dataset"], d["measure"], d["difference"]) for d in told["differences"]} == {
        ("sums", "accuracy", 0.3), ("sums", "mean_at_k", 0.3),
    }  # fmt: skip
    assert len(told["flips"]) == 12
    assert (
        json.loads(run("v1", "better", "--json", "--flips", "2").stdout)["flips"][0]["question"] == "What is 20 + 0?"
    )


def test_errors_reach_the_terminal_without_a_traceback(repository):
    done = run("no-such")
    assert done.exit_code == 1
    assert "error: 'no-such' is no commit" in done.stderr
    assert "name what to compare" in run().stderr


def test_how_many_problems_it_takes_is_told_with_and_without_two_models(repository):
    assert "3,923" in run("--power", "2.0").stdout  # at 20 % disagreement, as statistics.problems_needed has it
    assert "sums on sums: on 30.0 % of 40 problems" in run("v1", "--power", "2.0").stdout
    assert "cannot be" in str([*power_table(20.0, [("x", 0.1)]).columns[1].cells])


def test_outside_a_repository_it_says_where_to_run_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(RevisionError, match="no DVC repository"):
        compare(*sides("workspace", "workspace"))


def test_in_a_subfolder_nothing_is_compared(repository, monkeypatch):
    monkeypatch.chdir(repository.folder / "src")
    with pytest.raises(RevisionError, match="src is not the project's root"):
        compare(*sides("v1", "better"))


def paired(value, se, p):
    return Paired(
        "accuracy", 1, 1319, 0.5, 0.5 + value, Estimate(value, se, value - 2 * se, value + 2 * se), p, 60, 20
    )


def test_verdicts_in_words():
    assert (
        in_words(paired(0.031, 0.012, 0.009), 0.009, 1, "A", "B")
        == "B is better by 3.1 ± 1.2 points on 1,319 problems, p = 0.009"
    )
    assert in_words(paired(-0.031, 0.012, 0.009), 0.009, 1, "A", "B").startswith("A is better by 3.1 ± 1.2 points")
    assert in_words(paired(0.004, 0.012, 0.7), 0.9, 2, "A", "B") == (
        "no clear difference: +0.4 ± 1.2 points for B on 1,319 problems, p = 0.90 (corrected for 2 tests); 95 % interval −2.0 to +2.8"
    )
    told = {0.00004: "p < 0.0001", 0.0003: "p = 0.0003", 0.0489: "p = 0.049", 0.0512: "p = 0.051", 0.21: "p = 0.21"}
    assert {p: p_text(p) for p in told} == told


def test_what_a_model_wrote_gives_no_orders_to_the_terminal():
    flip = Flip("p1", True, None, "2", "q", "2", "\x1b[2Jgone\x9b0m", "2\ta\n")
    shown = "".join(
        str(getattr(part, "renderable", part)) for part in flip_texts(Flips("m", "m", "d", [flip]), [flip], "A", "B")
    )
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "2\ta\n" in shown


def test_several_versions_are_ranked_against_one_with_one_correction(repository):
    ranking = rank(*sides("v1"), sides("worse-legs", "better", "v1:base"))
    assert [found.b for found in ranking.comparisons] == ["worse-legs", "better", "v1:base"]
    tests = [d for found in ranking.comparisons for d in found.differences]
    assert len(tests) == 4  # greedy and sampled, of sums on legs and of sums on sums
    assert [d.p_corrected for d in tests] == holm([d.paired.p for d in tests])
    assert "(corrected for 4 tests)" in tests[0].verdict
    said = run("v1", "worse-legs", "better").output
    block = said[said.index("sums on sums, greedy, 40 problems") :].splitlines()
    assert block[2].split()[:5] == ["better", "80.0", "+30.0", "±", "7.3"]
    assert block[3].split() == ["v1", "50.0"]  # below what is better, above what is worse
    assert "worse-legs: base on sums: every verdict is that of v1." in said
    told = json.loads(run("v1", "worse-legs", "better", "--json").output)
    assert [one["b"] for one in told["ranked"]] == ["worse-legs", "better"]


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [("github.yml", "BASE", "HEAD"), ("gitlab.yml", "CI_MERGE_REQUEST_DIFF_BASE_SHA", "CI_COMMIT_SHA")],
)
def test_what_ci_comments_is_made_of_verdicts_that_the_remote_has(repository, tmp_path, file, before, after):
    repository.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    for revision in ("v1", "better"):
        repository.run("git", "checkout", "-q", revision)
        repository.dvc("checkout", "-q")
        repository.dvc("push", "-q")
    for folder in (".dvc/cache", "results"):
        shutil.rmtree(repository.folder / folder)
    text = (ROOT / "configs" / "ci" / file).read_text()
    assert YAML(typ="safe").load(text)
    (command,) = re.findall(r"^ +- (?:run: )?\.venv/bin/(smolmath compare .*)$", text, re.M)
    commits = {
        name: repository.run("git", "rev-parse", tag).stdout.strip()
        for name, tag in ((before, "v1"), (after, "better"))
    }
    repository.run("bash", "-ec", command, PYTHONPATH=str(ROOT / "src"), **commits)
    assert "| sums on sums | greedy | 50.0 | 80.0 | +30.0 ± 7.3 |" in repository.read("comparison.md")


def test_a_comparison_is_a_markdown_table_that_no_name_can_break(repository):
    told = run("v1", "better", "--markdown").output.splitlines()
    assert told[0] == "**better** against **v1**"
    assert told[2] == "| | by | A | B | B − A | 95 % | better / worse | p | |"
    assert told[4].startswith("| sums on suite average | greedy | 50.0 | 65.0 | +15.0 ± 3.7 |")
    assert told[5].startswith("| sums on sums | greedy | 50.0 | 80.0 | +30.0 ± 7.3 |")
    assert told[4].endswith("| 🟢 better |")
    assert told[-1] == "Every verdict is the same: base on sums, base on legs, sums on legs."
    hostile = Comparison("a|b", "<img src=x>\n# x", [], [("m*", "d`")])
    assert as_markdown(hostile).splitlines() == [
        r"**\<img src=x\> \# x** against **a\|b**",
        "",
        r"Every verdict is the same: m\* on d\`.",
    ]


READS = """
import sys
from pathlib import Path
from smolmath.studies.revisions import read_parquet

content = Path(sys.argv[1]).read_bytes()
for _ in range(12):
    read_parquet(content, ("id", "question"))
"""


def test_a_process_that_has_read_tables_ends_well(tmp_path):
    """Arrow's threads aborted every third one, so of eight some."""
    path = tmp_path / "problems.parquet"
    pq.write_table(pa.table({"id": [str(number) for number in range(500)], "question": ["1 + 1?"] * 500}), path)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    for _ in range(2):
        running = [subprocess.Popen([sys.executable, "-c", READS, path], env=environment) for _ in range(4)]
        assert [process.wait(60) for process in running] == [0] * 4


def test_the_page_on_evaluation_shows_what_the_command_prints(seeds):
    page = (ROOT / "docs" / "evaluation.md").read_text()
    command = "$ smolmath compare a1,a2,a3 c1,c2,c3 --model sums --dataset sums\n"
    shown = page[page.index(command) + len(command) :]
    printed = run("a1,a2,a3", "c1,c2,c3", "--model", "sums", "--dataset", "sums").output
    assert shown[: shown.index("```")] == printed
