"""`process` at full strength: every filter under its reason, the same bytes whoever does the work, files at fault."""

import csv
import hashlib
import json
import random
import subprocess
import sys
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import smolmath.processing
from smolmath.examine import REASONS
from smolmath.params.datasets import FilesDataset
from smolmath.params.process import ContaminationParams
from smolmath.problems import normalise_question, problem_id
from smolmath.processing import process_dataset, shown
from smolmath.records import PROBLEMS, REJECTED, TableWriter, read_table, shards, write_manifest
from smolmath.splitting import LeakError, refuse_leaks
from smolmath.tables import TableError, count_rows
from tests.conftest import ROOT
from tests.test_data import ALL, MINE, SPLIT, problem, split_dataset


def process(tmp_path, files, params=ALL, *, dataset=MINE, workers=1, other=None, key="mine"):
    """Files (name -> side, rows or bytes) through `process`: the manifest, the kept rows, (row -> reason, detail)."""
    raw, out = tmp_path / "raw" / key, tmp_path / "processed" / key
    raw.mkdir(parents=True)
    out.mkdir(parents=True)
    entries = []
    for name, (side, content) in files.items():
        if isinstance(content, bytes):
            (raw / name).write_bytes(content)
        elif name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(content), raw / name, row_group_size=100)
        else:
            (raw / name).write_text("".join(json.dumps(row) + "\n" for row in content))
        entries.append({"path": name, "side": side, "rows": count_rows(raw / name)})
    write_manifest(raw, {"files": entries})
    manifest = process_dataset(key, raw, out, dataset, params, workers=workers, other=other)
    rejected = {
        (r["raw_file"], r["raw_row"]): (r["reason"], r["detail"])
        for r in read_table(out / "rejected.parquet", REJECTED)
    }
    return manifest, [row for shard in shards(out) for row in read_table(shard, PROBLEMS)], rejected


def fate(tmp_path, row, **params):
    """What becomes of one row beside a good one: its problem, or its reason and detail."""
    rows = {"rows.jsonl": (None, [row, problem("1+1")])}
    _, kept, rejected = process(tmp_path, rows, ALL.model_copy(update=params))
    return rejected.get(("rows.jsonl", 0)) or next(row for row in kept if row["raw_row"] == 0)


CHOICE = "Which is it?\n(A) $12$\n(B) $13$"
REJECTIONS = [
    ("row_too_long", problem("x" * 20_000), {}, "characters"),
    ("empty_question", {"question": ["a"], "answer": "#### 1"}, {}, "a list, not text"),
    ("empty_question", problem("\u200b "), {"control_characters": "remove"}, ""),
    ("empty_answer", {"question": "a", "answer": None}, {}, ""),
    ("question_too_short", problem("a?"), {"question_chars": [3, 9]}, "2 characters"),
    ("question_too_long", problem("abcdefghij"), {"question_chars": [3, 9]}, "10 characters"),
    ("mojibake", problem("the cafÃ© has â€œ3â€\x9d tables"), {}, "cafÃ©"),
    ("control_characters", problem("a\x07b"), {}, "'\\x07'"),
    ("control_characters", problem("a\u200bb"), {}, "'\\u200b'"),
    ("control_characters", problem("a\x07b"), {"control_characters": "remove"}, "'\\x07'"),
    ("control_characters", problem("a", "1\x002"), {}, "in the answer"),
    ("foreign_script", problem("сколько 2+2"), {"scripts": ["LATIN", "GREEK"]}, "клось"),
    ("multiple_choice", problem(CHOICE, "B"), {"multiple_choice": "drop"}, "B"),
    ("multiple_choice", problem(CHOICE, "D"), {"multiple_choice": "resolve"}, "no option D found"),
    ("unverifiable_answer", problem("a", "proof"), {}, "proof"),
    ("unverifiable_answer", problem("a", "['12']"), {}, "['12']"),
    ("unverifiable_answer", problem("a", "9" * 5_000), {}, "5000 characters"),
    ("too_many_tokens", problem("1 + 1 + 1 + 1"), {"max_question_tokens": 3}, "tokens"),
]


@pytest.mark.parametrize(
    ("reason", "row", "params", "detail"), REJECTIONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_row_is_rejected_under_its_reason(tmp_path, monkeypatch, reason, row, params, detail):
    monkeypatch.chdir(ROOT)
    found = fate(tmp_path, row, **params)
    assert isinstance(found, tuple), found
    assert found[0] == reason
    assert detail in found[1]
    assert reason in REASONS


@pytest.mark.parametrize(
    ("row", "params", "question", "answer"),
    [
        (problem("a\u200bb\u2028c"), {"control_characters": "remove"}, "ab\nc", "1"),
        (problem("the cafÃ©"), {"mojibake": "keep"}, "the cafÃ©", "1"),
        (problem(CHOICE, "B"), {"multiple_choice": "resolve"}, CHOICE, "13"),
        (problem(CHOICE, "B"), {"multiple_choice": "keep"}, CHOICE, "B"),
        (problem("Größe π ½ ℝ"), {"scripts": ["LATIN", "GREEK"]}, "Größe π ½ ℝ", "1"),
        (problem("1 + 1"), {"max_question_tokens": 50}, "1 + 1", "1"),
        ({"question": 12, "answer": "#### 1"}, {}, "12", "1"),
    ],
)
def test_a_row_that_params_let_through_is_kept(tmp_path, monkeypatch, row, params, question, answer):
    monkeypatch.chdir(ROOT)
    found = fate(tmp_path, row, **params)
    assert isinstance(found, dict), found
    assert (found["question"], found["reference_answer"]) == (question, answer)


def test_every_reason_can_happen():
    elsewhere = {"unreadable_row", "contaminated", "duplicate", "near_duplicate"}  # below
    assert {reason for reason, *_ in REJECTIONS} | elsewhere == set(REASONS)


NAMED = "{} operates the cash register exactly 3 times as fast as her colleague. Daily, the colleague processes 35 customers. What is the weekly production of both if they work all days?"


def test_of_two_near_duplicates_the_one_that_is_tested_on_stays_whatever_the_files_are_called(tmp_path):
    files = {
        "a.jsonl": ("train", [problem(NAMED.format("Mia"), "980"), problem(NAMED.format("Eve"), "980")]),
        "b.jsonl": ("test", [problem(NAMED.format("Emma"), "980"), problem(NAMED.format("Ada"), "980")]),
    }
    _, kept, rejected = process(
        tmp_path, files, ALL.model_copy(update={"near_duplicates": 0.8, "question_chars": [1, 400]})
    )
    # A source's own test side stays whole; what is trained on loses both, since one of them stands first.
    assert [row["raw_file"] for row in kept] == ["b.jsonl", "b.jsonl"]
    assert set(rejected) == {("a.jsonl", 0), ("a.jsonl", 1)}
    assert {reason for reason, _ in rejected.values()} == {"near_duplicate"}


def test_a_duplicate_says_of_which_row(tmp_path):
    files = {
        "a.jsonl": (None, [problem("one"), problem("two")]),
        "b.jsonl": (None, [problem("$a + b$"), problem(" TWO "), problem("$a\\, +  b$")]),
    }
    _, _, rejected = process(tmp_path, files)
    assert rejected == {
        ("b.jsonl", 1): ("duplicate", "of a.jsonl row 1"),
        ("b.jsonl", 2): ("duplicate", "of b.jsonl row 0"),
    }


def test_what_another_dataset_tests_is_not_trained_on(tmp_path):
    words = " ".join(f"word{i}" for i in range(30))
    other = tmp_path / "raw" / "other"
    process(tmp_path, {"train.jsonl": ("train", [problem("also " + words[:100])]), "test.jsonl": ("test", [problem(words)])}, key="other",
            params=ALL.model_copy(update={"question_chars": [1, 400]}))  # fmt: skip
    params = ALL.model_copy(
        update={"contamination": ContaminationParams(dataset="other", ngram=13, share=0.8), "question_chars": [1, 400]}
    )
    rows = [problem(words + " indeed"), problem(words[:100]), problem("quite another")]
    _, kept, rejected = process(tmp_path, {"rows.jsonl": ("train", rows)}, params, other=(other, MINE))
    # 31 words have 19 13-grams, of which all but the last are in the tested question. Its train side protects nothing.
    assert rejected == {
        ("rows.jsonl", 0): ("contaminated", "95% of its 13-grams, the first in other, test.jsonl row 0")
    }
    assert [row["raw_row"] for row in kept] == [1, 2]


def digests(folder):
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def mixed_rows(count, seed=0):
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        question = f"Problem {rng.randrange(count)}: what is ${rng.randrange(9)} + {rng.randrange(9)}$?"
        rows.append(
            problem(question, rng.choice(["1", "2", "proof", "\\frac{1}{2}"]))
            | ({"source": "x" * number} if number % 7 else {})
        )
    return rows


def test_workers_and_the_order_of_files_change_no_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(smolmath.processing, "WORTH_WORKERS", 0)
    rows = mixed_rows(6_000)
    files = {
        "a.jsonl": (None, rows[:2_500]), "b.parquet": (None, [{k: row.get(k) for k in ("question", "answer")} for row in rows[2_500:4_000]]),
        "c.jsonl": (None, rows[4_000:]),
    }  # fmt: skip
    params = ALL.model_copy(update={"shard_rows": 700, "near_duplicates": 0.8, "limit": 3_000})
    process(tmp_path / "one", files, params)
    process(tmp_path / "two", dict(reversed(files.items())), params, workers=2)
    assert digests(tmp_path / "one" / "processed") == digests(tmp_path / "two" / "processed")


def test_sides_do_not_hang_on_which_rows_are_around(tmp_path):
    rows = mixed_rows(500)
    sides = {}
    for name, part in (("some", rows[:400]), ("all", rows)):
        process(tmp_path / name, {"rows.jsonl": (None, part)})
        out = tmp_path / name / "split"
        out.mkdir()
        split_dataset("mine", tmp_path / name / "processed", out, ["mine"], SPLIT)
        sides[name] = {
            row["id"]: side
            for side in ("train", "validation", "test")
            for row in read_table(out / f"{side}.parquet", PROBLEMS)
        }
    assert sides["some"].items() <= sides["all"].items()


def test_a_row_of_50_mb_is_rejected(tmp_path):
    rows = [problem("good"), problem("x" * 50_000_000), problem("fine")]
    manifest, _, rejected = process(tmp_path, {"rows.jsonl": (None, rows)})
    assert manifest["rows"] == {"raw": 3, "kept": 2, "rejected": 1, "not_selected": 0}
    assert rejected["rows.jsonl", 1][0] == "row_too_long"


def test_broken_lines_are_rejected_and_the_rest_is_kept(tmp_path):
    good = json.dumps(problem("good")).encode()
    lines = b"\n".join([b'{"question": "\xff", "answer": "#### 1"}', good, b'{"question": "cut of', b"[]"])
    _, kept, rejected = process(tmp_path, {"rows.jsonl": (None, lines)})
    assert {place[1]: found for place, found in rejected.items()} == {
        0: ("unreadable_row", "invalid UTF-8"),
        2: ("unreadable_row", "not JSON: Unterminated string starting at at column 14"),
        3: ("unreadable_row", "a list, not an object"),
    }
    assert [row["raw_row"] for row in kept] == [1]


def test_a_ragged_csv_line_and_one_of_another_encoding_are_rejected(tmp_path):
    content = b'question,answer\ngood,#### 1\nfine,#### 2,more\n\xfftext,#### 3\n"quo"ted,#### 4\nlast,#### 5\n'
    _, kept, rejected = process(tmp_path, {"rows.csv": (None, content)})
    assert {place[1]: found for place, found in rejected.items()} == {
        1: ("unreadable_row", "3 cells under 2 columns"),
        2: ("unreadable_row", "invalid UTF-8"),
        3: ("unreadable_row", "not csv: ',' expected after '\"'"),
    }
    assert [row["question"] for row in kept] == ["good", "last"]


def test_a_quote_that_never_closes_is_an_error_with_its_line(tmp_path):
    content = b'question,answer\ngood,#### 1\n"never ends,#### 2\n' + b"more,#### 3\n" * 50
    with pytest.raises(TableError, match=r"rows\.csv:3: a quoted cell begins in this row and never ends"):
        process(tmp_path, {"rows.csv": (None, content)})


def parquet_bytes(tmp_path, rows):
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "whole.parquet", row_group_size=100, compression="none")
    return bytearray((tmp_path / "whole.parquet").read_bytes())


def test_a_truncated_parquet_file_is_an_error(tmp_path):
    content = parquet_bytes(tmp_path, [problem(f"question {i}") for i in range(1_000)])
    with pytest.raises(TableError, match=r"rows\.parquet: not a readable parquet file .* Fetch or copy it again"):
        process(tmp_path, {"rows.parquet": (None, bytes(content[: len(content) // 2]))})


def test_a_parquet_file_that_is_broken_in_the_middle_is_an_error(tmp_path):
    content = parquet_bytes(tmp_path, [problem(f"question {i}") for i in range(1_000)])
    content[len(content) // 2 : len(content) // 2 + 4_000] = b"\xff" * 4_000
    with pytest.raises(TableError, match=r"rows\.parquet: not a readable parquet file"):
        process(tmp_path, {"rows.parquet": (None, bytes(content))})


def test_a_column_that_the_first_rows_of_a_jsonl_lack_is_read(tmp_path):
    rows = [{"problem": "one", "answer": "1"}, {"problem": "two", "answer": "2", "solution": "1+1=2"}]
    _, kept, _ = process(tmp_path, {"rows.jsonl": (None, rows)})
    assert [row["reasoning"] for row in kept] == [None, "1+1=2"]


def test_the_terminal_shows_the_counts_and_three_finished_problems(tmp_path):
    rows = [problem(f"question {i}", str(i)) for i in range(9)] + [problem("bad", "proof")]
    manifest, _, _ = process(tmp_path, {"rows.jsonl": (None, rows)})
    text = shown(manifest, tmp_path / "processed" / "mine")
    assert text.splitlines()[:3] == [
        "mine: 10 raw, 9 kept, 1 rejected, 0 not selected",
        "  rejected as unverifiable_answer: 1",
        "  with a worked solution: 9",
    ]
    assert [text.count(f"question {i}") for i in range(4)] == [1, 1, 1, 0]


def test_the_twelve_real_openr1_problems_come_through_with_their_answers(tmp_path, real_data):
    content = (real_data / "openr1" / "sample.jsonl").read_bytes()
    params = ALL.model_copy(update={"question_chars": [1, 4_000], "max_row_chars": 500_000, "near_duplicates": 0.8})
    _, kept, rejected = process(tmp_path, {"sample.jsonl": ("train", content)}, params)
    answers = [json.loads(line)["answer"] for line in content.splitlines()]
    assert [row["reference_answer"] for row in kept] == answers
    assert not rejected


def test_a_split_with_a_problem_on_two_sides_is_refused(tmp_path):
    process(tmp_path, {"rows.jsonl": (None, mixed_rows(400))})
    out = tmp_path / "split"
    out.mkdir()
    split_dataset("mine", tmp_path / "processed", out, ["mine"], SPLIT)
    stolen = read_table(out / "test.parquet", PROBLEMS)[0]
    with TableWriter(out / "train.parquet", PROBLEMS) as writer:
        writer.add(pa.RecordBatch.from_pylist([stolen], schema=PROBLEMS))
    import numpy as np

    with pytest.raises(LeakError, match=f"problem {stolen['id']} is on sides train and test"):
        refuse_leaks("mine", out, [np.empty(0, np.uint64)] * 3)


@given(
    st.lists(st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text(max_size=3), max_size=2)), max_size=12),
    st.sampled_from(["reject", "remove"]),
    st.sampled_from([0.3, 1.0]),
    st.sampled_from([None, 3]),
)
def test_rows_are_conserved_with_every_filter_on(tmp_path_factory, questions, control, fraction, limit):
    rows = [*(problem(f"kept {i}") for i in range(20)), *({"question": q, "answer": "#### 1"} for q in questions)]
    contamination = ContaminationParams(dataset="mine", ngram=8, share=0.5)
    params = ALL.model_copy(
        update={
            "near_duplicates": 0.8,
            "control_characters": control,
            "fraction": fraction,
            "limit": limit,
            "scripts": ["LATIN"],
            "contamination": contamination,
        }
    )
    manifest, kept, rejected = process(tmp_path_factory.mktemp("x"), {"rows.jsonl": (None, rows)}, params)
    counts = manifest["rows"]
    assert counts["raw"] == len(rows) == counts["kept"] + counts["rejected"] + counts["not_selected"]
    assert (counts["kept"], counts["rejected"]) == (len(kept), len(rejected))
    assert len({row["id"] for row in kept}) == len(kept)
    if limit:
        assert len(kept) <= limit


@given(st.text(alphabet=st.characters(max_codepoint=0x24FF)))
def test_a_normalised_question_is_its_own_normal_form(question):
    once = normalise_question(question)
    assert problem_id(question) == hashlib.sha256(once.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    assert once == " ".join(once.split())
    assert unicodedata.is_normalized("NFKC", once)


@given(
    st.lists(
        st.sampled_from(["a", "b", "12", "3", "+", "-", "=", "^{2}", "\\frac{1}{2}", "\\times", "(", ")"]),
        min_size=1,
        max_size=8,
    ),
    st.data(),
)
def test_spacing_of_a_formula_makes_no_other_problem(parts, data):
    """Between two parts of which one is no letter or digit any spacing is the same."""
    spaces = st.sampled_from([" ", "  ", "\\, ", "\\;", "~", "\n", " \\quad "])
    loose = "".join(part + data.draw(spaces) for part in parts)
    assert problem_id(f"Find ${' '.join(parts)}$ now.") == problem_id(f"Find ${loose}$ now.")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Add $1 23$", "Add $12 3$"),
        ("Add 1 23", "Add 12 3"),
        ("What is 2³?", "What is 23?"),
        ("Add 1 -2", "Add 1-2"),
        ("$a$ and $b$", "$ab$ and"),
    ],
)
def test_spaces_and_marks_that_mean_something_make_another_problem(one, other):
    assert problem_id(one) != problem_id(other)


TOOL = "tools/openr1_like.py"


@pytest.mark.slow
def test_20_000_rows_with_known_faults_are_conserved_and_every_fault_is_found(tmp_path, real_data):
    """Faults that touch what smolmath doesn't read (message roles, a count) or can do without are no reason to reject."""
    tool = real_data.parent / TOOL
    if not tool.is_file():
        pytest.skip(f"{tool} is not there: it makes rows like OpenR1's with known faults")
    made = tmp_path / "made"
    gsm8k = real_data / "gsm8k" / "test.jsonl"
    subprocess.run(
        [
            sys.executable,
            tool,
            "--out",
            made,
            "--rows",
            "20000",
            "--files",
            "3",
            "--seed",
            "11",
            "--dirty",
            "0.05",
            "--contaminate",
            gsm8k,
            "--quiet",
        ],
        check=True,
    )
    other = tmp_path / "raw" / "gsm8k"
    other.mkdir(parents=True)
    (other / "test.jsonl").write_bytes(gsm8k.read_bytes())
    write_manifest(other, {"files": [{"path": "test.jsonl", "side": "test", "rows": 1_319}]})
    raw, out = tmp_path / "raw" / "openr1", tmp_path / "processed"
    raw.mkdir()
    out.mkdir()
    files, starts = [], {}
    for path in sorted(made.glob("*.parquet")):
        starts[path.name] = sum(file["rows"] for file in files)
        (raw / path.name).symlink_to(path)
        files.append({"path": path.name, "side": "train", "rows": count_rows(path)})
    write_manifest(raw, {"files": files})
    params = ALL.model_copy(
        update={"question_chars": [1, 4_000], "max_row_chars": 500_000, "multiple_choice": "drop",
                "contamination": ContaminationParams(dataset="gsm8k", ngram=13, share=0.8)}
    )  # fmt: skip
    manifest = process_dataset(
        "openr1", raw, out, MINE, params, workers=2, other=(other, FilesDataset(source="files", path="x"))
    )
    counts = manifest["rows"]
    assert counts["raw"] == 20_000 == counts["kept"] + counts["rejected"]
    rejected = {
        starts[r["raw_file"]] + r["raw_row"]: r["reason"] for r in read_table(out / "rejected.parquet", REJECTED)
    }
    expected = {
        "answer_missing": "empty_answer", "answer_empty": "empty_answer", "answer_unverifiable": "unverifiable_answer",
        "answer_letter": "multiple_choice", "problem_empty": "empty_question", "solution_null": None,
        "duplicate_exact": "duplicate", "duplicate_whitespace": "duplicate", "duplicate_case": "duplicate",
        "duplicate_latex": "duplicate", "very_long": "row_too_long", "mojibake": "mojibake",
        "control_chars": "control_characters", "contaminated": "contaminated",
    }  # fmt: skip
    faults = {fault["row"]: fault for fault in json.loads((made / "faults.json").read_text())["faults"]}
    assert len(faults) == 1_000
    wrong = []
    for row, fault in faults.items():
        reason = (
            expected.get(fault["kind"])
            if fault["kind"] != "wrong_typed"
            else ("unverifiable_answer" if fault["detail"].startswith("answer_") else None)
        )
        if rejected.get(row) != reason:
            wrong.append((fault, rejected.get(row)))
    assert wrong == []
    lost = {row: reason for row, reason in rejected.items() if row not in faults}
    assert set(lost.values()) <= {"contaminated"}  # rows from GSM8K's own templates that overlap for more than 80 %
    assert len(lost) <= 0.001 * 19_000


def test_csv_with_line_breaks_in_cells_keeps_its_rows(tmp_path):
    path = tmp_path / "x.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["question", "answer"], ['two\nlines, and a "quote"', "#### 3"]])
    _, kept, _ = process(tmp_path, {"rows.csv": (None, path.read_bytes())})
    assert kept[0]["question"] == 'two\nlines, and a "quote"'
