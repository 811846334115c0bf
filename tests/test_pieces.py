"""Raw files in pieces: every row once under its own number, duplicates as one pass would find them, work done once."""

import csv
import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import smolmath.data.process.merging
import smolmath.data.process.pieces
from smolmath.data.examine import Examined, Examiner
from smolmath.data.filters.duplicates import signatures
from smolmath.data.process.merging import Decision, Partitions
from smolmath.data.process.pieces import MAX_PASSED_OVER, cut
from smolmath.data.process.spills import Outcome, Spills, key_type
from smolmath.data.tables import count_rows, read_rows
from smolmath.records import PROBLEMS
from tests.test_data import ALL
from tests.test_processing import digests, mixed_rows, process

TEXTS = st.lists(st.sampled_from(["", "a", "two words", "x" * 200, 'a "quote"', "two\nlines", "ü"]), max_size=40)


def written(path, texts, row_group_size):
    """A file of one column, with the blank lines that a jsonl file may have."""
    if path.suffix == ".parquet":
        table = pa.table({"text": pa.array(texts, pa.string())})
        pq.write_table(table, path, row_group_size=row_group_size)
    else:
        lines = io.StringIO(newline="")
        if ".csv" in path.name:
            csv.writer(lines).writerows([["text", "n"], *([text, number] for number, text in enumerate(texts))])
        else:
            lines.writelines(json.dumps({"text": text}) + "\n" * (1 + number % 3) for number, text in enumerate(texts))
        content = lines.getvalue().encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl", "x.jsonl.gz", "x.csv", "x.csv.gz"])
@settings(deadline=None, max_examples=30)
@given(texts=TEXTS, rows=st.integers(1, 12), size=st.sampled_from([50, 400, 10**6]), group=st.integers(1, 50))
def test_pieces_hold_every_row_once_in_order(tmp_path_factory, name, texts, rows, size, group):
    folder = tmp_path_factory.mktemp("x")
    written(folder / name, texts, group)
    files = [{"path": name, "side": None, "rows": count_rows(folder / name)}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smolmath.data.process.pieces, "PIECE_ROWS", rows)
        patch.setattr(smolmath.data.process.pieces, "PIECE_BYTES", size)
        pieces = cut(folder, files, {name: ("text",)})
    read = []
    for piece in pieces:
        begins = len(read)
        read += [(begins + number, row) for batch in piece.batches(folder) for number, row, _ in batch.rows()]
    assert read == [(number, row) for number, row, _ in read_rows(folder / name, ("text",))]
    assert [piece.number for piece in pieces] == list(range(len(pieces)))


def test_small_row_groups_share_a_piece_and_a_large_one_makes_several(tmp_path, monkeypatch):
    monkeypatch.setattr(smolmath.data.process.pieces, "PIECE_ROWS", 100)
    columns = {"x.parquet": ("text",)}

    def spans(groups):
        with pq.ParquetWriter(tmp_path / "x.parquet", pa.schema([("text", pa.string())])) as writer:
            for rows in groups:
                writer.write_table(pa.table({"text": ["t"] * rows}))
        files = [{"path": "x.parquet", "side": None, "rows": sum(groups)}]
        return [piece.span for piece in cut(tmp_path, files, columns)]

    assert spans([40, 40, 40, 40]) == [(0, 80), (80, None)]
    assert spans([40, 250, 40]) == [(0, 40), (40, 123), (123, 206), (206, 290), (290, None)]
    assert len(spans([5_000])) == MAX_PASSED_OVER  # not 50: each reads the group from its beginning


def test_a_csv_file_of_many_rows_makes_a_bounded_number_of_pieces_and_a_jsonl_file_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(smolmath.data.process.pieces, "PIECE_ROWS", 10)
    for name, pieces in (("x.csv", MAX_PASSED_OVER), ("x.jsonl", 50)):
        written(tmp_path / name, ["a"] * 500, 1)
        assert len(cut(tmp_path, [{"path": name, "side": None, "rows": 500}], {name: ("text",)})) == pieces


# Numbers, and a wording of them: rows with the same numbers are near, those that are the same are equal.
ROW = st.tuples(st.integers(0, 9), st.sampled_from(["Mia", "Eve", "Ada"]))


@settings(deadline=None)
@given(st.lists(ROW, min_size=1, max_size=60), st.sampled_from([1, 7, 1000]), st.booleans())
def test_partitions_find_what_one_pass_over_all_rows_finds(rows, piece_rows, near):
    keys, half = keys_of(rows, near=near), len(rows) // 2
    decision = Decision([("test", half), ("train", len(rows))], 0.8 if near else None)
    for partition_rows in (10**6, 5):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(smolmath.data.process.merging, "PARTITION_ROWS", partition_rows)
            partitions = Partitions(len(rows))
        for start in range(0, len(rows), piece_rows):
            part = keys[start : start + piece_rows].copy()
            part["row"] -= np.uint32(start)
            partitions.add(Outcome(len(part), 0, 0, part))
        found = np.concatenate([decision(part) for part in partitions])
        assert np.sort(found, order="row").tolist() == slowly(rows, half, near=near)


def keys_of(rows, *, near):
    keys = np.zeros(len(rows), key_type(near=near))
    keys["id"] = [10 * number + len(name) + ord(name[0]) * 10_000 for number, name in rows]
    keys["row"] = np.arange(len(rows))
    keys["group"] = [number if near else 1_000 * ord(name[0]) + number for number, name in rows]
    if near:
        keys["bands"] = np.array([[number] * 4 for number, _ in rows])
    return keys


def slowly(rows, half, *, near):
    """(row, of, whether nearly), by the definition: the same on its side, or nearly the same as one that stays."""
    found, kept = [], []
    for place, row in enumerate(rows):
        side = range(half) if place < half else range(half, place)
        same = next((other for other in side if other < place and rows[other] == row), None)
        alike = next((other for other in kept if rows[other][0] == row[0]), None) if near and place >= half else None
        if same is not None:
            found.append((place, same, False))
        elif alike is not None:
            found.append((place, alike, True))
        else:
            kept.append(place)
    return found


def test_what_is_held_of_a_row_until_the_merge_takes_no_more_than_64_bytes():
    rows, partitions = 20_000, Partitions(20_000)
    for _ in range(10):
        partitions.add(Outcome(2_000, 0, 0, np.zeros(2_000, key_type(near=True))))
    assert partitions.nbytes <= 64 * rows
    assert key_type(near=False).itemsize == 16


class Stopped(Exception):
    """The end of a run that is killed."""


def test_a_run_that_was_stopped_goes_on_from_its_finished_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(smolmath.data.process.pieces, "PIECE_ROWS", 100)
    files = {"a.jsonl": (None, mixed_rows(550)), "b.jsonl": (None, mixed_rows(300, seed=1))}
    params = ALL.model_copy(update={"near_duplicates": 0.8})
    process(tmp_path / "undisturbed", files, params)
    examine, examined = Examiner.__call__, []

    def stopping(self, work):
        if len(examined) == 4:
            raise Stopped
        examined.append(work.batch.count)
        return examine(self, work)

    monkeypatch.setattr(Examiner, "__call__", stopping)
    with pytest.raises(Stopped):
        process(tmp_path / "stopped", files, params, state=tmp_path / "state")
    assert sorted(path.name for path in (tmp_path / "state").rglob("*.keys.npz")) == [
        f"00000{piece}.keys.npz" for piece in range(4)
    ]
    examined.clear()
    monkeypatch.setattr(
        Examiner, "__call__", lambda self, work: examined.append(work.batch.count) or examine(self, work)
    )
    process(tmp_path / "again", files, params, state=tmp_path / "state")
    assert len(examined) == 9 - 4  # 6 pieces and 3
    assert digests(tmp_path / "again" / "processed") == digests(tmp_path / "undisturbed" / "processed")


def test_nothing_of_a_piece_is_there_before_all_of_it(tmp_path):
    def broken():
        yield Examined(
            1, pa.RecordBatch.from_pylist([], PROBLEMS), np.empty(0, np.uint64), None, [(0, "duplicate", "")], 0, 0
        )
        raise Stopped

    spills = Spills(tmp_path, PROBLEMS)
    with pytest.raises(Stopped):
        spills.write(0, broken(), file="x.jsonl", near=False)
    assert spills.outcome(0) is None
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.tuples(st.sampled_from(["a", "b 1", "1 b"]), st.sampled_from(["2", "3,5", "x"])), min_size=2))
def test_questions_that_may_be_near_have_the_same_numbers_and_so_the_same_partition(parts):
    signed = signatures([f"{one} then {other} of them" for one, other in parts], ["1"] * len(parts), 0.8)
    for one in range(len(parts)):
        for other in range(one):
            if (signed.keys[one] == signed.keys[other]).any():
                assert signed.numbers[one] == signed.numbers[other]
