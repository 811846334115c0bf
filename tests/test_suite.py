"""tools/suite.py: small sets in the benchmarks' schemas, through the stages' own functions."""

import json
import subprocess
import sys
from collections import Counter

import pyarrow.parquet as pq
import pytest

from smolmath.params.core import read_params
from smolmath.running.check import check_params
from tests.conftest import ROOT, Project
from tests.test_foreign_files import PARAMS, Recipe

COUNT = 10


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    real = folder / "gsm8k"
    real.mkdir()
    for side, first in (("train", 0), ("test", 100)):
        rows = [
            {"question": f"Ann has {n} nuts and 1 more?", "answer": f"{n}+1\n#### {n + 1}"}
            for n in range(first, first + 30)
        ]
        (real / f"{side}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, ROOT / "tools" / "suite.py", "--gsm8k", real, "--model", ROOT / "bases" / "calc"]
    command += ["--problems", str(COUNT), "--engine", "transformers"]
    environment = {**Project.clean_environment(), "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


def test_its_params_are_sound_and_ask_gsm8k_in_several_ways(suite, monkeypatch):
    monkeypatch.chdir(suite)
    params = read_params()
    assert check_params(params) == []
    suite_of = read_params(ROOT / "recipes" / "benchmarks.yaml")["datasets"]
    assert {*suite_of} < {*params["datasets"]}
    assert params["evaluate"]["per_dataset"]["gsm8k-4-shots"] == {"shots": 4}


def test_every_made_set_is_read_whole_and_what_was_planted_is_found(suite, tmp_path, monkeypatch):
    monkeypatch.chdir(suite)
    recipe = Recipe(tmp_path, PARAMS)
    entries = {name: entry for name, entry in read_params()["datasets"].items() if not name.startswith("gsm8k-")}
    for name, entry in entries.items():
        recipe.add(
            name, suite / entry["path"], **{key: entry[key] for key in ("sides", "columns", "use") if key in entry}
        )
    for name in entries:
        _, kept, rejected = recipe.process(name)
        if name != "gsm8k":
            assert len(kept) >= COUNT - 1, (name, rejected)
    _, lost = recipe.split("gsm8k")
    for name in ("math500", "gsm-plus"):
        recipe.split(name)
    to = [detail.rpartition(" of ")[2] for reason, detail in lost.values() if reason == "held_out_elsewhere"]
    assert Counter(to) == {"gsm-plus": 5, "math500": 5, "aime25": 5}
    math = pq.read_table(recipe.folder / "split" / "math500" / "test.parquet")
    assert set(math["level"].to_pylist()) == {"1", "2", "3", "4", "5"}
    plus = pq.read_table(recipe.folder / "split" / "gsm-plus" / "test.parquet")
    assert len(set(plus["variant_of"].to_pylist())) < plus.num_rows
