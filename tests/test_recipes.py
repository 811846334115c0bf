"""Putting a recipe in place: what changes, what is left over, what is removed."""

import re
import shutil

import pytest
from typer.testing import CliRunner

from smolmath.cli import app
from smolmath.params.core import ParamsError, read_params
from smolmath.running import recipes
from tests.conftest import ROOT

LOCK = """schema: '2.0'
stages:
  base:
    cmd: x
    outs:
    - path: models/base
      hash: md5
      md5: a
  train@sums:
    cmd: x
    outs:
    - path: models/sums
      hash: md5
      md5: b
    - path: metrics/train/sums.csv
      hash: md5
      md5: c
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    shutil.copyfile(ROOT / "recipes" / "demo.yaml", tmp_path / "params.yaml")
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "models" / "sums").mkdir(parents=True)
    (tmp_path / "models" / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_using_a_recipe_says_what_changes_and_what_is_left_over_and_removes_nothing(workspace):
    done = CliRunner().invoke(app, ["recipe", "use", "gsm8k"])
    assert done.exit_code == 0
    assert "model.source: shipped → hub" in done.output
    assert "(smolmath prune removes it): 1 stages of dvc.lock, 0 entries of the journal, models/sums" in done.output
    assert read_params() == read_params(ROOT / "recipes" / "gsm8k.yaml")
    assert (workspace / "models" / "sums").is_dir()


def test_pruning_removes_the_leftovers_and_their_entries_alone(workspace):
    done = CliRunner().invoke(app, ["recipe", "use", "gsm8k", "--prune"])
    assert "Removed: 1 stages" in done.output
    assert not (workspace / "models" / "sums").exists()
    assert (workspace / "models" / "base").is_dir()
    lock = (workspace / "dvc.lock").read_text()
    assert "train@sums" not in lock
    assert lock.startswith("schema: '2.0'\nstages:\n  base:\n    cmd: x\n    outs:\n    - path: models/base\n")


def test_prune_removes_what_todays_params_no_longer_name_and_what_else_lies_there_stays(workspace):
    stays = [
        "data/processed/sums/a",
        "metrics/eval/base/sums.json",
        "models/mine/a",
        "models/README.md",
        "metrics/x.csv",
    ]
    goes = ["data/processed/old/a", "metrics/eval/old/sums.json", "metrics/train/old.csv", "journal/train@old/1.json"]
    for name in (*stays, *goes, "journal/train@sums/of-no-run.json"):
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_text("x")
    lock = (workspace / "dvc.lock").read_text()
    (workspace / "dvc.lock").write_text(lock + lock[lock.index("  train@sums") :].replace("sums", "old"))
    said = CliRunner().invoke(app, ["prune", "--dry"]).output
    outs = "data/processed/old, metrics/eval/old/sums.json, metrics/train/old.csv"
    assert said == f"Would remove: 1 stages of dvc.lock, 2 entries of the journal, {outs}\n"
    assert (workspace / "models" / "sums").is_dir()
    assert CliRunner().invoke(app, ["prune"]).output == said.replace("Would remove", "Removed")
    assert (workspace / "dvc.lock").read_text() == lock
    assert [name for name in (*stays, *goes) if (workspace / name).exists()] == stays
    assert not (workspace / "metrics" / "eval" / "old").exists()
    assert CliRunner().invoke(app, ["prune"]).output == "Nothing is left over.\n"


def test_a_misspelt_recipe_names_the_nearest_and_changes_nothing(workspace):
    before = (workspace / "params.yaml").read_text()
    with pytest.raises(ParamsError, match=r"no recipe 'gsm8'\. Did you mean 'gsm8k'\?"):
        recipes.use_recipe("gsm8")
    assert (workspace / "params.yaml").read_text() == before


def test_every_recipe_says_what_it_is():
    assert [name for name, purpose in recipes.recipes().items() if len(purpose) < 20] == []


def test_whatever_a_recipe_takes_from_the_hub_is_pinned_to_a_commit():
    recipes_params = {path.stem: read_params(path) for path in (ROOT / "recipes").glob("*.yaml")}
    floating = [
        (recipe, entry["id"])
        for recipe, params in recipes_params.items()
        for entry in [*params["datasets"].values(), params["model"]]
        if entry["source"] == "hub" and not re.fullmatch("[0-9a-f]{40}", entry["revision"] or "")
    ]
    assert floating == []


SUITE = {"math500", "gsm-plus", "svamp", "asdiv", "aime24", "aime25", "amc23", "olympiad", "minerva"}


@pytest.mark.parametrize(("recipe", "alone"), [("benchmarks", "gsm8k"), ("openr1-benchmarks", "openr1")])
def test_a_recipe_over_the_suite_trains_as_the_one_without_it_and_asks_the_same(recipe, alone):
    """They are whole files: what an edit of one forgets in the other shows here."""
    over, plain, first = (read_params(ROOT / "recipes" / f"{name}.yaml") for name in (recipe, alone, "benchmarks"))
    suite = {key: entry for key, entry in over["datasets"].items() if key in SUITE}
    assert suite == {key: entry for key, entry in first["datasets"].items() if entry.get("use") == "test"}
    assert over.pop("datasets") == plain.pop("datasets") | suite
    asked, trained_on = over.pop("evaluate"), plain.pop("evaluate")
    assert (asked["models"], asked["sampling"]) == (trained_on["models"], first["evaluate"]["sampling"])
    assert {*asked["datasets"]} == {*trained_on["datasets"]} | SUITE
    assert {k: v for k, v in asked["per_dataset"].items() if k in SUITE} == first["evaluate"]["per_dataset"]
    assert over["process"].pop("near_duplicates") == 0.8  # rewordings of a benchmark's problems too are held out
    del plain["process"]["near_duplicates"]
    assert over == plain


def test_every_phase_of_a_recipe_is_a_registered_model_and_has_a_description():
    registered = read_params(ROOT / "dvc.yaml")["artifacts"]
    phases = {name for path in (ROOT / "recipes").glob("*.yaml") for name in read_params(path)["phases"]}
    assert set(registered) == {"base", *phases}
    for name, entry in registered.items():
        assert entry["path"] == f"models/{name}"
        assert entry["type"] == "model"
        assert len(entry["desc"]) > 20
        assert "smolmath" in entry["labels"]
