"""`smolmath work` on states that killed trainings left, without running one."""

import shutil

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from smolmath.cli import app
from smolmath.params.core import read_params
from smolmath.running.work import WorkError, clean, states
from smolmath.tags import DEFAULT_TAGS
from smolmath.training.phase.samples import Samples, Scored
from tests.conftest import ROOT
from tests.test_watching import CUT, DONE


@pytest.fixture
def left(tmp_path, monkeypatch):
    """Two states of a training on other inputs, one with completions that it sampled."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for fingerprint in ("aaaa", "bbbb"):
        checkpoint = tmp_path / ".work" / "train@gone" / fingerprint / "checkpoints" / "checkpoint-20"
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_bytes(bytes(2_000_000))
    samples = Samples(tmp_path / ".work" / "train@gone" / "aaaa" / "samples", ["correctness"], DEFAULT_TAGS)
    problem = {"question": "1 + 1 =", "reference_answer": "2"}
    scores = [Scored(2.0, {"correctness": 1.0}), Scored(0.0, {"correctness": 0.0})]
    samples.keep("train", 20, samples.rows("train", 20, [problem] * 2, [DONE, CUT], lambda *_: scores))
    assert pq.read_metadata(next(samples.folder.iterdir())).num_rows == 2
    return tmp_path / ".work" / "train@gone"


def work(*arguments):
    return CliRunner().invoke(app, ["work", *arguments], env={"COLUMNS": "200"})


def test_states_are_listed_with_their_step_and_size_and_the_last_completions(left):
    said = work("--show", "1").output
    assert said.count("train@gone") >= 2
    assert "aaaa" in said
    assert "20" in said
    assert "2.0" in said
    assert "of other inputs" in said
    assert "step 20, train: right, reward 2.00" in said
    assert "cut off" not in said  # the second one


def test_the_named_state_alone_is_removed(left):
    assert "removed" in work("--clean", "bbbb").output
    assert [path.name for path in left.iterdir() if path.is_dir()] == ["aaaa"]
    wrong = work("--clean", "cccc")
    assert wrong.exit_code == 1
    assert "no state has the fingerprint cccc" in wrong.output
    assert work("aaaa").exit_code == 1  # without --clean nothing goes
    assert (left / "aaaa").is_dir()


def test_a_state_in_use_is_refused_by_name_and_passed_over_otherwise(left):
    from filelock import FileLock

    found = states(read_params())
    with FileLock(left / "aaaa.lock"):
        with pytest.raises(WorkError, match="train@gone aaaa is in use"):
            clean(found, fingerprints=["aaaa"])
        assert [state.fingerprint for state in clean(found, fingerprints=[])] == ["bbbb"]
    assert (left / "aaaa").is_dir()
