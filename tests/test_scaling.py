"""benchmarks/scaling.py: the cost of a row is a line through what was measured, and a small run of it works."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import scaling

    return scaling


def test_every_part_of_the_work_is_a_line_through_the_medians(scaling):
    runs = {
        100: [{"examine": 3.0, "write": 1.0}, {"examine": 99.0, "write": 1.0}, {"examine": 3.0, "write": 1.0}],
        300: [{"examine": 5.0, "write": 1.0}],
    }
    lines = scaling.fitted(runs)
    assert lines["examine"] == pytest.approx((0.01, 2.0))  # (5 - 3) s for 200 rows; 3 s - 100 × 0.01 s
    assert lines["write"] == pytest.approx((0.0, 1.0), abs=1e-9)


def test_a_size_between_two_files_takes_the_first_rows_of_the_second(scaling, tmp_path, monkeypatch):
    monkeypatch.setattr("data.PART_ROWS", 100)
    data = scaling.small_rows(tmp_path / "data", 250)
    folder = scaling.first_rows(data, 130, tmp_path / "first")
    held = {path.name: scaling.pq.read_table(path)["problem"].to_pylist() for path in sorted(folder.iterdir())}
    assert [len(rows) for rows in held.values()] == [100, 30]
    assert held["part-001.parquet"][0].startswith("Problem 100:")
    with pytest.raises(SystemExit, match="holds 250 rows, 300 were asked for"):
        scaling.first_rows(data, 300, tmp_path / "more")


@pytest.mark.slow
def test_a_small_run_gives_its_table_and_a_prediction_that_it_checks():
    command = [sys.executable, "benchmarks/scaling.py", "process", "--rows", "300,600", "--verify", "900"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "process (local), medians of 1"
    assert [line.split()[0] for line in lines[2:4]] == ["300", "600"]
    assert {line.split()[0] for line in lines if line} >= {"examine", "merge", "write", "plan", "rest"}
    assert lines[-3].startswith("predicted for 900 rows with 2 workers: ")
    assert lines[-2].startswith("measured: ")
    assert lines[-1].startswith("with 1 worker: ")
