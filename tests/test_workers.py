"""Work shared out: results in order, a process that dies ends the work in one line, and Ray gives the same bytes."""

import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest

import smolmath
import smolmath.data.process
from smolmath.data.examine import Examiner
from smolmath.running.workers import WorkerError, ordered_map, pool
from tests.conftest import ROOT
from tests.test_data import ALL
from tests.test_processing import digests, mixed_rows, process


def squared(number):
    return number * number


def refused(number):
    raise ValueError(f"not {number}")


def where(_):
    return str(Path(smolmath.__file__).parent), os.getcwd()


@dataclass(frozen=True)
class Dying:
    """Squares, but its process is killed over one number each time."""

    folder: Path  # a file for each time
    number: int

    def __call__(self, number):
        if number == self.number:
            (self.folder / str(len(list(self.folder.iterdir())))).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pool_maps_one_function_after_another_in_order(workers):
    with pool(workers) as processes:
        assert list(processes.map(squared, range(20))) == [n * n for n in range(20)]
        assert list(processes.map(partial(max, 7), range(9))) == [7, 7, 7, 7, 7, 7, 7, 7, 8]
        with pytest.raises(ValueError, match="not 0"):
            list(processes.map(refused, range(3)))


def test_items_are_read_a_few_ahead():
    read = []
    results = ordered_map(squared, (read.append(n) or n for n in range(100)), workers=2)
    assert next(results) == 0
    assert len(read) <= 4
    results.close()


def test_a_worker_that_is_killed_ends_the_work_with_what_to_do(tmp_path):
    results = ordered_map(Dying(tmp_path, 5), range(20), workers=2)
    with pytest.raises(
        WorkerError, match=r"before its time, at [2-5] or at what follows\..*hardware\.workers.*dvc repro"
    ):
        list(results)
    assert len(list(tmp_path.iterdir())) == 1


@dataclass(frozen=True)
class DyingExaminer(Examiner):
    """Is killed once, in the middle of a piece."""

    def __call__(self, work):
        mark = Path(os.environ["SMOLMATH_TEST_MARK"])
        if work.batch.first and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(work)


@pytest.fixture
def small(monkeypatch):
    """Two workers are worth it, and a piece has several batches."""
    monkeypatch.setattr(smolmath.data.process, "WORTH_WORKERS", 0)
    params = ALL.model_copy(update={"shard_rows": 700, "near_duplicates": 0.8, "max_row_chars": 500_000})
    rows = [row | {"source": "y" * 2_000} for row in mixed_rows(6_000)]
    return {"a.jsonl": (None, rows[:4_000]), "t.jsonl": ("test", rows[4_000:])}, params


@pytest.mark.slow
def test_a_worker_of_ray_that_is_killed_within_a_piece_changes_no_byte(tmp_path, monkeypatch, small):
    process(tmp_path / "whole", *small)
    monkeypatch.setattr(smolmath.data.process, "Examiner", DyingExaminer)
    monkeypatch.setenv("SMOLMATH_TEST_MARK", str(tmp_path / "killed"))
    manifest, _, _ = process(tmp_path / "killed-once", *small, workers=2, on="ray", state=tmp_path / "state")
    assert (tmp_path / "killed").exists()
    assert manifest["rows"]["raw"] == 6_000
    assert digests(tmp_path / "killed-once" / "processed") == digests(tmp_path / "whole" / "processed")


def test_the_run_after_one_whose_worker_was_killed_gives_the_same_bytes(tmp_path, monkeypatch, small):
    process(tmp_path / "whole", *small)
    monkeypatch.setattr(smolmath.data.process, "Examiner", DyingExaminer)
    monkeypatch.setenv("SMOLMATH_TEST_MARK", str(tmp_path / "mark"))
    with pytest.raises(WorkerError, match=r"at [at]\.jsonl, piece \d+ or at what follows"):
        process(tmp_path / "killed", *small, workers=2, state=tmp_path / "state")
    process(tmp_path / "again", *small, workers=2, state=tmp_path / "state")
    assert digests(tmp_path / "again" / "processed") == digests(tmp_path / "whole" / "processed")


@pytest.mark.slow
def test_three_workers_and_ray_give_the_bytes_of_one(tmp_path, small, capfd):
    files, params = small
    params = params.model_copy(
        update={"limit": 2_000, "max_question_tokens": 60, "tokenizer": str(ROOT / params.tokenizer)}
    )
    process(tmp_path / "one", files, params)
    process(tmp_path / "three", files, params, workers=3)
    capfd.readouterr()
    process(tmp_path / "ray", files, params, workers=2, on="ray")
    said = capfd.readouterr()
    one = digests(tmp_path / "one" / "processed")
    assert one == digests(tmp_path / "three" / "processed")
    assert one == digests(tmp_path / "ray" / "processed")
    assert said.out == ""
    assert {line.split(":")[0] for line in said.err.splitlines()} == {"process mine"}  # Ray says nothing


@pytest.mark.slow
def test_ray_runs_this_checkout_here_and_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # where this file's functions are found
    monkeypatch.chdir(tmp_path)
    assert set(ordered_map(where, range(4), workers=2, on="ray")) == {(str(ROOT / "src" / "smolmath"), str(tmp_path))}
    with pytest.raises(ValueError, match=r"^not 0$"):
        list(ordered_map(refused, range(3), workers=2, on="ray"))
    left = [p for p in psutil.Process().children(recursive=True) if "ray" in " ".join(p.cmdline())]
    _, alive = psutil.wait_procs(left, timeout=30)
    assert alive == []


@pytest.mark.slow
def test_work_that_kills_every_worker_of_ray_is_named(tmp_path):
    with pytest.raises(WorkerError, match=r"before its time, at 5 or"):
        list(ordered_map(Dying(tmp_path, 5), range(8), workers=2, on="ray"))
    assert len(list(tmp_path.iterdir())) == 1 + 3  # Ray tries a task three times more


def test_ray_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkerError, match=r"hardware\.data is ray, which is not installed here\. Run: make setup"):
        list(ordered_map(squared, range(3), workers=2, on="ray"))


def test_an_address_that_no_cluster_answers_at_is_said(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(WorkerError, match=r"no Ray cluster answers at RAY_ADDRESS=127\.0\.0\.1:1"):
        list(ordered_map(squared, range(3), workers=2, on="ray"))
