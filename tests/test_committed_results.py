"""The committed metrics against those that a fresh `make demo` wrote into this checkout.

Equal to the last digit on the kind of CPU that made the committed ones; elsewhere within their intervals.
"""

import json
import math
import subprocess

import pytest

import smolmath.kernels  # noqa: F401 - before torch: the instruction set is read there
from smolmath.params.core import read_params
from smolmath.running.graph import load_stages
from smolmath.running.hashes import fingerprint
from smolmath.running.journal import machine
from smolmath.running.runs import inputs
from tests.conftest import ROOT, committed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fresh():
    """Names of the metrics files, once the demo has run here."""
    if not (ROOT / "results" / "verdicts" / "legs" / "legs.parquet").is_file():
        pytest.skip("the demo has not run in this checkout: make demo")
    committed("dvc.lock")
    if subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "src", "stages", "params.yaml"], cwd=ROOT).returncode:
        pytest.skip("code or params differ from the commit, so the results may too")
    if committed("params.yaml") != committed("recipes/demo.yaml"):
        pytest.skip("the last commit holds the results of another recipe than the demo")
    return [
        "metrics/summary.json",
        *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "metrics" / "eval").rglob("*.json"))),
    ]


@pytest.fixture(scope="module")
def same_cpu():
    import torch

    params = read_params(ROOT / "params.yaml")
    torch.set_num_threads(params["hardware"]["threads"])  # as the stages do
    monkey = pytest.MonkeyPatch()
    monkey.chdir(ROOT)
    stage = load_stages(params)["generate@base-sums"]
    entry = f"journal/{stage.name}/{fingerprint(stage.name, *inputs(stage, params))}.json"
    monkey.undo()
    made_on, here = json.loads(committed(entry))["machine"], machine()
    return all(here[key] == made_on[key] for key in ("system", "cpu", "instruction_set", "torch_threads"))


def test_a_fresh_run_gives_the_committed_metrics(fresh, same_cpu):
    for name in fresh:
        ours, theirs = json.loads((ROOT / name).read_text()), json.loads(committed(name))
        if same_cpu:
            assert ours == theirs, name
        elif name != "metrics/summary.json":
            assert ours["n"] == theirs["n"]
            for value in ("accuracy", "mean_at_k"):
                error = math.hypot(ours[f"{value}_se"], theirs[f"{value}_se"])
                # Four errors, and five points for a training that went another way from a rounding on.
                assert abs(ours[value] - theirs[value]) <= 4 * error + 0.05, (name, value)


def test_a_fresh_run_gives_the_committed_dvc_lock_and_curves(fresh, same_cpu):
    if not same_cpu:
        pytest.skip("another kind of CPU than the committed results were made on: weights differ in their last bits")
    for name in ("dvc.lock", "metrics/train/sums.csv", "metrics/train/legs.csv"):
        assert (ROOT / name).read_text() == committed(name), name


def test_the_committed_grpo_phase_learnt():
    before, after = (json.loads(committed(f"metrics/eval/{model}/sums.json")) for model in ("base", "sums"))
    assert after["n"] >= 256
    assert after["mean_at_k"] - before["mean_at_k"] >= 0.20
