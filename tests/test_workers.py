"""Work shared out: results in order, a process that dies costs another try, and Ray gives the same bytes."""

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
from smolmath.running.workers import RETRIES, WorkerError, ordered_map, pool
from tests.conftest import ROOT
from tests.test_data import ALL
from tests.test_processing import digests, mixed_rows, process

ON = ["local", pytest.param("ray", marks=pytest.mark.slow)]


def squared(number):
    return number * number


def refused(number):
    raise ValueError(f"not {number}")


def where(_):
    return str(Path(smolmath.__file__).parent), os.getcwd()


@dataclass(frozen=True)
class Dying:
    """Squares, but its process is killed over one number: the first `deaths` times."""

    folder: Path
    number: int
    deaths: int

    def __call__(self, number):
        marks = len(list(self.folder.iterdir()))
        if number == self.number and marks < self.deaths:
            (self.folder / str(marks)).touch()
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


@pytest.mark.parametrize("number", [0, 3, 19])
def test_a_worker_that_is_killed_costs_another_try_and_no_result(tmp_path, number, capfd):
    assert list(ordered_map(Dying(tmp_path, number, 1), range(20), workers=2)) == [n * n for n in range(20)]
    assert "a worker process ended before its time: its work is done again" in capfd.readouterr().err


def test_work_that_kills_every_worker_is_named(tmp_path):
    results = ordered_map(Dying(tmp_path, 5, 100), range(20), workers=2)
    with pytest.raises(
        WorkerError, match=rf"ended before their time {RETRIES + 1} times at the same work \(5\).*hardware\.workers"
    ):
        list(results)


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


@pytest.mark.parametrize("on", ON)
def test_a_worker_that_is_killed_within_a_piece_changes_no_byte(tmp_path, monkeypatch, small, on):
    process(tmp_path / "whole", *small)
    monkeypatch.setattr(smolmath.data.process, "Examiner", DyingExaminer)
    monkeypatch.setenv("SMOLMATH_TEST_MARK", str(tmp_path / "killed"))
    manifest, _, _ = process(tmp_path / "killed-once", *small, workers=2, on=on, state=tmp_path / "state")
    assert (tmp_path / "killed").exists()
    assert manifest["rows"]["raw"] == 6_000
    assert digests(tmp_path / "killed-once" / "processed") == digests(tmp_path / "whole" / "processed")


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
    with pytest.raises(WorkerError, match=r"at the same work \(5\)"):
        list(ordered_map(Dying(tmp_path, 5, 100), range(8), workers=2, on="ray"))
    assert len(list(tmp_path.iterdir())) == 1 + RETRIES


def test_ray_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkerError, match=r"hardware\.data is ray, which is not installed here\. Run: make setup"):
        list(ordered_map(squared, range(3), workers=2, on="ray"))


def test_an_address_that_no_cluster_answers_at_is_said(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(WorkerError, match=r"no Ray cluster answers at RAY_ADDRESS=127\.0\.0\.1:1"):
        list(ordered_map(squared, range(3), workers=2, on="ray"))
