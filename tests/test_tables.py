import csv
import gzip
import json
import re
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smolmath.data.tables import MAX_LINE, TableError, column_names, count_rows, read_rows

ROWS = [{"question": "1+1", "answer": "2", "extra": None}, {"question": "über\n2", "answer": "3", "extra": "x"}]


@pytest.fixture(params=["rows.parquet", "rows.jsonl", "rows.json", "rows.jsonl.gz", "rows.csv", "rows.csv.gz"])
def file(request, tmp_path):
    path = tmp_path / request.param
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
        return path
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8", newline="") as text:
        if ".csv" in path.name:
            writer = csv.DictWriter(text, ["question", "answer", "extra"])
            writer.writeheader()
            writer.writerows(ROWS)
        else:
            text.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    return path


def test_every_format_gives_the_same_rows(file):
    assert column_names(file) == ["question", "answer", "extra"]
    assert count_rows(file) == 2
    rows = [row for _, row, _ in read_rows(file, ["question", "answer"])]
    assert rows == [{"question": "1+1", "answer": "2"}, {"question": "über\n2", "answer": "3"}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"question": "1+1", "answ', "not JSON"),
        (b'{"question": "\xff\xfe"}', "invalid UTF-8"),
        (b"[1, 2]", "a list, not an object"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_line_that_cannot_be_read_is_given_back_with_its_reason(tmp_path, line, reason):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"question": "a"}\n' + line + b'\n{"question": "b"}\n')
    rows = list(read_rows(path, ["question"]))
    assert [number for number, _, _ in rows] == [0, 1, 2]
    assert rows[1][1] is None
    assert reason in rows[1][2]
    assert rows[2][1] == {"question": "b"}


def test_a_ragged_csv_line_is_given_back_with_its_reason(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("question,answer\n1+1,2\n1+2,3,4\n1+3,4\n")
    assert [(row, problem) for _, row, problem in read_rows(path, None)] == [
        ({"question": "1+1", "answer": "2"}, ""),
        (None, "3 cells under 2 columns"),
        ({"question": "1+3", "answer": "4"}, ""),
    ]


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_text("this is no parquet")
    with pytest.raises(TableError, match=r"rows\.parquet: not a readable parquet file"):
        column_names(path)


def test_an_unknown_ending_says_what_is_read(tmp_path):
    with pytest.raises(TableError, match=r"takes \.parquet, \.jsonl and \.csv"):
        column_names(tmp_path / "rows.xlsx")


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl", "rows.csv.gz", "rows.csv"])
def test_an_endless_line_is_refused_before_it_fills_the_memory(tmp_path, name):
    """Half a gigabyte of one line, which gzip keeps in half a megabyte: no more than a line's limit is read."""
    path = tmp_path / name
    with gzip.open(path, "wb", 1) if name.endswith(".gz") else path.open("wb") as file:
        file.write(b'{"question": "' if "jsonl" in name else b"question\n")
        for _ in range(8):
            file.write(b" " * (1 << 26))
    tracemalloc.start()
    with pytest.raises(TableError, match=rf"{re.escape(name)}: a line of more than 67,108,864 characters"):
        list(read_rows(path, None))
    assert tracemalloc.get_traced_memory()[1] < 5 * MAX_LINE
    tracemalloc.stop()


def test_an_endless_cell_of_many_lines_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    with path.open("w") as file:
        file.write('question,answer\n1,"')
        for _ in range(70):
            file.write("x" * (1 << 20) + "\n")
    with pytest.raises(TableError, match=r"rows\.csv:2: a quoted cell begins in this row and is not closed in it"):
        list(read_rows(path, None))


def test_a_gz_that_is_no_gzip_is_named(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_text('{"question": "a"}')
    with pytest.raises(TableError, match=r"rows\.jsonl\.gz: not a readable gzip file"):
        column_names(path)


def test_a_number_of_too_many_digits_is_a_row_that_cannot_be_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "a", "answer": ' + "9" * 5_000 + "}\n")
    ((_, row, problem),) = read_rows(path, None)
    assert row is None
    assert "not readable" in problem


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b'question,"answer\na,b\n', r"rows\.csv:1: the header is not csv"),
        ("rows.csv", b"question,answer,answer\na,b,c\n", r"several columns are called answer"),
        ("rows.csv", b"", r"the file is empty"),
    ],
)
def test_a_csv_header_that_cannot_be_used_is_an_error(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message):
        column_names(tmp_path / name)


def test_blank_lines_before_a_csv_header_are_passed_over(tmp_path):
    (tmp_path / "rows.csv").write_bytes(b"\n\nquestion,answer\na,b\n")
    assert column_names(tmp_path / "rows.csv") == ["question", "answer"]


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(TableError, match="there is no such file"):
        count_rows(tmp_path / "rows.jsonl")


def test_an_empty_file_is_an_error(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n")
    with pytest.raises(TableError, match="the file is empty"):
        column_names(path)
