"""`smolmath grade`: verdicts in order whatever the number of workers, a true summary, and clear words on bad files."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from smolmath.answers import Tags
from smolmath.cli import app
from smolmath.commands.grading import CHUNK, grade_file

ROWS = [
    {"completion": "<answer>18</answer>", "reference_answer": "18", "label": True, "id": "a"},
    {"completion": "<answer>17</answer>", "reference_answer": 18, "label": False, "id": "b"},
    {"completion": r"\boxed{\sqrt{20}}", "reference_answer": r"2\sqrt5", "label": "false", "id": "c"},
    {"completion": "Who knows?", "reference_answer": "proof", "label": 0, "id": "d"},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["grade", *map(str, arguments)])


def graded(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_keep_their_order_and_columns_and_get_a_verdict(tmp_path):
    done = run(write(tmp_path / "rows.jsonl", ROWS), "--workers", 1)
    assert done.exit_code == 0, done.output
    rows = graded(tmp_path / "rows.jsonl.graded.jsonl")
    assert [row["id"] for row in rows] == ["a", "b", "c", "d"]
    assert [row["graded_correct"] for row in rows] == [True, False, True, False]
    assert [row["strategy"] for row in rows] == ["answer_block", "answer_block", "boxed", None]
    assert [row["predicted_answer"] for row in rows] == ["18", "17", r"\sqrt{20}", None]
    assert [row["verifiable"] for row in rows] == [True, True, True, False]
    assert rows[0].items() >= ROWS[0].items()


def test_the_summary_has_the_shares_the_strategies_and_the_confusion_table(tmp_path):
    output = run(write(tmp_path / "rows.jsonl", ROWS), "--workers", 1).output
    table = [line.split() for line in output.splitlines()]
    assert ["completions", "4"] in table
    assert ["correct", "2", "50.0%"] in table
    assert ["reference", "not", "gradable", "1", "25.0%"] in table
    assert ["answer_block", "2"] in table
    assert ["labelled", "right", "1", "0"] in table
    assert ["labelled", "wrong", "1", "2"] in table
    assert "agreement 75.00%" in output  # 3 of 4


def test_any_number_of_workers_gives_the_same_file(tmp_path):
    rows = [{"completion": f"<answer>{n}</answer>", "answer": str(n % 7)} for n in range(2 * CHUNK + 3)]
    path = write(tmp_path / "rows.jsonl", rows)
    columns = dict.fromkeys(("completion", "reference", "label", "finished"))
    for workers in (1, 3):
        summary = grade_file(path, tmp_path / f"{workers}.jsonl", columns=columns, workers=workers, tags=Tags())
        assert (summary.rows, summary.correct) == (2 * CHUNK + 3, 7)
    assert (tmp_path / "1.jsonl").read_text() == (tmp_path / "3.jsonl").read_text()


def test_parquet_named_columns_and_other_tags(tmp_path):
    table = pa.table({"said": ["<final>7</final>", "It is 7"], "wanted": [7, 7], "done": [True, False]})
    pq.write_table(table, tmp_path / "rows.parquet")
    done = run(tmp_path / "rows.parquet", "--completion", "said", "--reference", "wanted", "--finished", "done",
               "--answer-tag", "final", "--out", tmp_path / "out" / "v.jsonl", "--workers", 1)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert [row["graded_correct"] for row in graded(tmp_path / "out" / "v.jsonl")] == [
        True,
        False,
    ]  # the second was cut


def test_a_row_may_say_that_it_was_cut_off_where_the_first_says_nothing(tmp_path):
    rows = [{"completion": "It is 7", "answer": "7"}, {"completion": "It is 7", "answer": "7", "finished": False}]
    assert run(write(tmp_path / "rows.jsonl", rows), "--workers", 1).exit_code == 0
    assert [row["graded_correct"] for row in graded(tmp_path / "rows.jsonl.graded.jsonl")] == [True, False]


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        ([{"text_": "a", "answer": "1"}], [], r"has no column for the completion (completion, response, "),
        ([{"completion": "a"}], [], "has no column for the reference (reference_answer, reference, answer"),
        (ROWS, ["--label", "right"], "has no column 'right'. It has: completion, reference_answer, label, id."),
    ],
)
def test_a_missing_column_is_named_and_nothing_is_written(tmp_path, rows, arguments, message):
    done = run(write(tmp_path / "rows.jsonl", rows), *arguments)
    assert done.exit_code == 1
    assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_rows_that_cannot_be_graded_are_named_and_counted(tmp_path):
    rows = [ROWS[0], {"completion": None, "reference_answer": "1", "label": True}, {**ROWS[1], "label": "perhaps"}]
    path = write(tmp_path / "rows.jsonl", rows)
    path.write_text(path.read_text() + "{broken\n")
    done = run(path, "--workers", 1)
    assert done.exit_code == 0
    assert "not graded: row 2: completion is missing" in done.output
    assert "not graded: row 3: label is 'perhaps', neither true nor false" in done.output
    assert "not graded: row 4: not JSON" in done.output
    assert len(graded(tmp_path / "rows.jsonl.graded.jsonl")) == 1


@pytest.mark.parametrize("out", ["c.jsonl", "./c.jsonl", "link.jsonl", "hard.jsonl", "c"])
def test_the_file_that_is_graded_is_not_replaced(tmp_path, monkeypatch, out):
    """By whatever name, nor by what is written on the way to another."""
    monkeypatch.chdir(tmp_path)
    path = Path("c.partial" if out == "c" else "c.jsonl")
    text = json.dumps({"completion": "4", "reference_answer": "4"}) + "\n"
    source = Path("c.jsonl")
    source.write_text(text)
    Path("link.jsonl").symlink_to("c.jsonl")
    os.link("c.jsonl", "hard.jsonl")
    if out == "c":
        os.link("c.jsonl", path)
    done = CliRunner().invoke(app, ["grade", "c.jsonl", "--out", out, "--workers", "1"])
    assert done.exit_code == 1
    assert f"error: {Path(out)} would replace the file that is graded. Name another with --out." in done.output
    assert source.read_text() == text


def test_a_file_that_is_not_there_is_an_error_of_one_line(tmp_path):
    done = run(tmp_path / "none.jsonl")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
