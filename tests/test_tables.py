import csv
import gzip
import io
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmath.data.tables import TableError, column_names, count_rows, json_rows, opening, read_rows

ROWS = [{"question": "1+1", "answer": "2", "extra": None}, {"question": "über\n2", "answer": "3", "extra": "x"}]


LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def delimited(delimiter):
    text = io.StringIO()
    writer = csv.DictWriter(text, ["question", "answer", "extra"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def arrow(make):
    sink = io.BytesIO()
    table = pa.Table.from_pylist(ROWS)
    with make(sink, table.schema) as writer:
        for row in range(len(ROWS)):
            writer.write_table(table.slice(row, 1))
    return sink.getvalue()


def parquet():
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    return sink.getvalue()


FORMATS = {
    "rows.parquet": parquet,
    "rows.jsonl": lambda: LINES.encode(),
    "rows.ndjson": lambda: LINES.encode(),
    "rows.json": lambda: LINES.encode(),
    "array.json": lambda: json.dumps(ROWS).encode(),
    "array of lines.json": lambda: ("[\n" + ",\n".join(LINES.splitlines()) + "\n]\n").encode(),
    "indented.json": lambda: b"\xef\xbb\xbf" + json.dumps(ROWS, indent=2).encode(),
    "objects.json": lambda: "\n".join(json.dumps(row, indent=4) for row in ROWS).encode(),
    "array.jsonl": lambda: json.dumps(ROWS).encode(),
    "rows.jsonl.gz": lambda: gzip.compress(LINES.encode()),
    "array.json.xz": lambda: lzma.compress(json.dumps(ROWS).encode()),
    "rows.jsonl.zst": lambda: pa.compress(LINES.encode(), codec="zstd", asbytes=True),
    "two frames.jsonl.zst": lambda: b"".join(
        pa.compress(line.encode(), codec="zstd", asbytes=True) for line in LINES.splitlines(keepends=True)
    ),
    "rows.csv": lambda: delimited(","),
    "rows.tsv": lambda: delimited("\t"),
    "rows.csv.gz": lambda: gzip.compress(delimited(",")),
    "stream.arrow": lambda: arrow(pa.ipc.new_stream),
    "file.arrow": lambda: arrow(pa.ipc.new_file),
}


@pytest.fixture(params=FORMATS)
def file(request, tmp_path):
    path = tmp_path / request.param
    path.write_bytes(FORMATS[request.param]())
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
    with pytest.raises(TableError, match=r"takes \.parquet and \.arrow; \.jsonl, .* with \.gz"):
        column_names(tmp_path / "rows.xlsx")


def test_a_gz_that_is_no_gzip_is_named(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_text('{"question": "a"}')
    with pytest.raises(TableError, match=r"rows\.jsonl\.gz: not a readable gz file"):
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


@pytest.mark.parametrize("name", [name for name in FORMATS if "parquet" not in name and "ndjson" not in name])
def test_a_file_that_is_cut_off_loses_no_row_in_silence(tmp_path, name):
    path = tmp_path / name
    whole = FORMATS[name]()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    read, said = [], ""
    try:
        read = [row for _, row, _ in read_rows(path, None)]
    except TableError as error:
        said = str(error)
    assert name in said or (len(read) == 2 and read[1] is None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"a": 1}, {"a": 2}', "the file ends within its array, at row 2"),
        (b'[{"a": 1}\n{"a": 2}]', "no comma before the element at row 1"),
        (b'[{"a": 1}, {"a": }]', r"no JSON \(Expecting value\) at row 1"),
        (b'[{"a": 1}] {"a": 2}', "something stands behind the end of the array at row 1"),
        (b'{\n "a": 1,\n "b": ', "no JSON"),
        (b'{\n "data": [{"a": 1}],\n "version": {}\n}', "one object of data .list., version .object., no rows"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n", "a Git LFS pointer"),
        (b"[]", "the file is empty"),
    ],
)
def test_what_is_no_json_table_is_one_clear_error(tmp_path, content, message):
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    with pytest.raises(TableError, match=message):
        print(column_names(path), list(read_rows(path, None)))


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "rows.csv.gz"])
def test_a_pointer_of_git_lfs_is_told_in_any_format(tmp_path, name):
    (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n")
    with pytest.raises(TableError, match=r"a Git LFS pointer, not the data\. Run `git lfs pull`"):
        column_names(tmp_path / name)


def test_an_array_of_lists_has_their_numbers_as_columns(tmp_path):
    path = tmp_path / "orz.json"
    path.write_text(json.dumps([[{"value": "1+1"}, {"truth": "2"}], [{"value": "1+2"}, {"truth": "3"}]]))
    assert [row for _, row, _ in read_rows(path, ["0", "1"])] == [
        {"0": {"value": "1+1"}, "1": {"truth": "2"}},
        {"0": {"value": "1+2"}, "1": {"truth": "3"}},
    ]


def test_bytes_that_are_no_utf8_are_one_row_of_an_array(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"a": "\xff"},\n{"a": "\\ud800"}]')
    assert [(row, why) for _, row, why in read_rows(path, None)] == [(None, "invalid UTF-8"), ({"a": "\ud800"}, "")]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_line_that_never_ends_is_a_row_that_cannot_be_read_and_is_not_held(tmp_path, monkeypatch, zipped):
    monkeypatch.setattr(opening, "MAX_LINE", 1000)
    path = tmp_path / ("rows.jsonl.gz" if zipped else "rows.jsonl")
    with (gzip.open if zipped else open)(path, "wb") as file:
        file.write(b'{"a": 1}\n{"a": "' + b"x" * 100_000 + b'"}\n{"a": 3}\n')
    assert [row for _, row, _ in read_rows(path, None)] == [{"a": 1}, None, {"a": 3}]
    assert count_rows(path) == 3


@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=30), min_size=1), max_size=20), st.data())
def test_an_array_is_read_alike_whatever_the_chunks_and_the_spacing(tmp_path_factory, rows, data):
    path = tmp_path_factory.mktemp("array") / "rows.json"
    path.write_text(
        json.dumps(rows, indent=data.draw(st.sampled_from([None, 1])), ensure_ascii=data.draw(st.booleans()))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_CHUNK", data.draw(st.integers(1, 50)))
        assert [row for _, row, _ in read_rows(path, None)] == rows
