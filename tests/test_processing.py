"""`process` at full strength: every filter under its reason, the same bytes whoever does the work, files at fault."""

import csv
import hashlib
import json
import random
import re
import subprocess
import sys
import time
import unicodedata
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import smolmath.data.process
from smolmath.data.examine import REASONS, TokenizerError
from smolmath.data.problems import id_numbers, normalise_question, problem_id
from smolmath.data.process import process_dataset, shown
from smolmath.data.split import LeakError, refuse_leaks
from smolmath.data.tables import TableError, count_rows
from smolmath.params.core import read_params
from smolmath.params.datasets import FilesDataset
from smolmath.params.process import ContaminationParams, ProcessParams
from smolmath.records import PROBLEMS, REJECTED, TableWriter, read_table, shards, write_manifest
from tests.conftest import REAL_DATA, ROOT
from tests.test_data import ALL, MINE, SPLIT, problem, split_dataset


def process(tmp_path, files, params=ALL, *, dataset=MINE, other=None, key="mine", **how):
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
    manifest = process_dataset(key, raw, out, dataset, params, other=other, **how)
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


def test_what_another_dataset_holds_is_not_trained_on(tmp_path):
    words, others = " ".join(f"word{i}" for i in range(30)), " ".join(f"other{i}" for i in range(20))
    other = tmp_path / "raw" / "other"
    long = ALL.model_copy(update={"question_chars": [1, 400]})
    files = {"train.jsonl": ("train", [problem(others)]), "test.jsonl": ("test", [problem(words)])}
    process(tmp_path, files, long, key="other")
    params = long.model_copy(update={"contamination": ContaminationParams(dataset="other", ngram=13, share=0.8)})
    rows = [problem(words + " indeed"), problem(others), problem(words[:60] + others[:60]), problem("quite another")]
    files = {"rows.jsonl": ("train", rows), "test.jsonl": ("test", [problem(words + ".")])}
    _, kept, rejected = process(tmp_path, files, params, other=(other, MINE))
    # All of the other's question is in the first. Its train side counts too, since `split` will hold out some of it.
    # What a source itself tests on stays.
    assert rejected == {
        ("rows.jsonl", 0): ("contaminated", "100% of 13-grams shared with other, test.jsonl row 0"),
        ("rows.jsonl", 1): ("contaminated", "100% of 13-grams shared with other, train.jsonl row 0"),
    }
    assert [(row["raw_file"], row["raw_row"]) for row in kept] == [
        ("test.jsonl", 0),
        ("rows.jsonl", 2),
        ("rows.jsonl", 3),
    ]


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
    monkeypatch.setattr(smolmath.data.process, "WORTH_WORKERS", 0)
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
    with pytest.raises(TableError, match=r"rows\.csv:3: a quoted cell .* the lines to 53 would be lost"):
        process(tmp_path, {"rows.csv": (None, content)})


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (b'"five,#### 1\n', b'"with, comma",#### 7\n', "the lines to 303 would be lost"),
        (b'"five,#### 1\n', b'the size is 5",#### 7\n', "a row of 302 lines"),
    ],
)
def test_rows_that_an_open_quote_would_swallow_are_an_error(tmp_path, first, last, message):
    content = b"question,answer\n" + first + b"more,#### 3\n" * 300 + last + b"end,#### 8\n"
    with pytest.raises(TableError, match=rf"rows\.csv:2: .*{message}"):
        process(tmp_path, {"rows.csv": (None, content)})


def test_bytes_that_are_no_utf8_in_a_parquet_column_are_a_rejected_row(tmp_path):
    answers = pa.array(["#### 1", "#### 2", "#### 3"])
    broken = pa.array([b"good", b"\xff\xfe", b"fine"], pa.binary()).view(pa.string())
    (tmp_path / "x").mkdir()
    pq.write_table(pa.table({"question": broken, "answer": answers}), tmp_path / "x" / "rows.parquet")
    _, kept, rejected = process(tmp_path, {"rows.parquet": (None, (tmp_path / "x" / "rows.parquet").read_bytes())})
    assert rejected == {("rows.parquet", 1): ("unreadable_row", "invalid UTF-8")}
    assert [row["question"] for row in kept] == ["good", "fine"]


def test_numbers_in_columns_are_read_as_they_were_written(tmp_path):
    for name, column in {
        "half": pa.array([3.14], pa.float32()),
        "decimal": pa.array([Decimal("1.50")]),
        "whole": pa.array([7]),
    }.items():
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"prompt": ["q"], "result": column}), tmp_path / name / "rows.parquet")
        dataset = FilesDataset(source="files", path="x", columns={"question": "prompt", "reference_answer": "result"})
        content = (tmp_path / name / "rows.parquet").read_bytes()
        _, kept, _ = process(tmp_path / name, {"rows.parquet": (None, content)}, dataset=dataset)
        assert kept[0]["reference_answer"] == {"half": "3.14", "decimal": "1.50", "whole": "7"}[name]


def test_nan_and_infinity_are_no_text(tmp_path):
    content = b'{"question": NaN, "answer": "#### 1"}\n{"question": "a", "answer": 1e400}\n{"question": "b", "answer": "#### 1"}\n'
    _, kept, rejected = process(tmp_path, {"rows.jsonl": (None, content)})
    assert [reason for reason, _ in rejected.values()] == ["empty_question", "empty_answer"]
    assert [row["question"] for row in kept] == ["b"]


def test_a_tokenizer_that_is_not_there_is_an_error(tmp_path):
    params = ALL.model_copy(update={"max_question_tokens": 5, "tokenizer": "nowhere/tokenizer.json"})
    with pytest.raises(TokenizerError, match=r"process\.tokenizer: nowhere/tokenizer\.json does not exist"):
        process(tmp_path, {"rows.jsonl": (None, [problem("a")])}, params)


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
    # The same problem is no error in the files alone, and is one if another dataset tests on it.
    with TableWriter(out / "test.parquet", PROBLEMS) as writer:
        writer.add(pa.RecordBatch.from_pylist([], schema=PROBLEMS))
    refuse_leaks("mine", out, [np.empty(0, np.uint64)] * 3)
    tested = [np.empty(0, np.uint64), np.empty(0, np.uint64), id_numbers([stolen["id"]])]
    with pytest.raises(LeakError, match=f"problem {stolen['id']} is on side train and on side test of a dataset"):
        refuse_leaks("mine", out, tested)


@given(
    st.lists(st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text(max_size=3), max_size=2)), max_size=12),
    st.sampled_from(["reject", "remove"]),
    st.sampled_from([0.3, 1.0]),
    st.sampled_from([None, 3]),
)
def test_rows_are_conserved_whatever_filters_are_on(tmp_path_factory, questions, control, fraction, limit):
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
def test_a_normalised_question_has_one_unicode_form_and_no_loose_white_space(question):
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
        ("Compute 101₂ + 11₂.", "Compute 1012 + 112."),
        ("Evaluate log₂8.", "Evaluate log28."),
        ("Find 2ⁿ", "Find 2n"),
        ("Add 5¼", "Add 51⁄4"),
        ("Let $f(x)=2x$, $F(x)=x^3$. Find $f(2)$.", "Let $f(x)=2x$, $F(x)=x^3$. Find $F(2)$."),
        ("Is $2\u20623$", "Is $23$"),
        ("Add $1 23$", "Add $12 3$"),
        ("Add 1 23", "Add 12 3"),
        ("What is 2³?", "What is 23?"),
        ("Add 1 -2", "Add 1-2"),
        ("$a$ and $b$", "$ab$ and"),
    ],
)
def test_spaces_and_marks_that_mean_something_make_another_problem(one, other):
    assert problem_id(one) != problem_id(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$\\pi 4$", "$\\pi4$"),
        ("$x \\ge 4$", "$x\\ge4$"),
        ("$3\\cdot 4$", "$3\\cdot4$"),
        ("$1\\!2$", "$12$"),
        ("5−3", "5-3"),
        ("5·3", "5⋅3"),
        ("$\\begin{pmatrix}1&2\\\\ 3&4\\end{pmatrix}$", "$\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}$"),
        ("\\(a + b\\) AND MORE", "\\(a+b\\) and more"),
        ("It costs $5 AND TOM has $10", "It costs $5 and Tom has $10"),
    ],
)
def test_another_spelling_of_the_same_formula_makes_no_other_problem(one, other):
    assert problem_id(one) == problem_id(other)


PIECES = ["\\(", "\\[", "$", "$$", "$a b", "\\quad", "\\text{", "a ", "\u200b", "\\\\", "$a$", "\\(a\\)", "\\a", "{"]


@pytest.mark.parametrize("piece", PIECES)
def test_normalising_takes_time_in_proportion_to_the_text(piece):
    """At four times the length four times the time, give or take: quadratic would be sixteen times."""

    def seconds(count):
        started = time.process_time()
        normalise_question(piece * count)
        return time.process_time() - started

    # A busy machine can make one measurement look like anything, but not ten in a row.
    assert any(seconds(80_000) < 10 * seconds(20_000) + 0.05 for _ in range(10))


def recipe(name):
    """The `process` section of a recipe, of all rows."""
    return ProcessParams(**read_params(ROOT / "recipes" / f"{name}.yaml")["process"] | {"fraction": 1.0})


STRICT = ALL.model_copy(
    update={"question_chars": [1, 4_000], "max_row_chars": 500_000, "multiple_choice": "drop",
            "contamination": ContaminationParams(dataset="gsm8k", ngram=13, share=0.8)}
)  # fmt: skip
FATES = {
    "answer_missing": "empty_answer", "answer_empty": "empty_answer", "answer_unverifiable": "unverifiable_answer",
    "answer_letter": "multiple_choice", "problem_empty": "empty_question", "solution_null": None,
    "duplicate_exact": "duplicate", "duplicate_whitespace": "duplicate", "duplicate_case": "duplicate",
    "duplicate_latex": "duplicate", "very_long": "row_too_long", "mojibake": "mojibake",
    "control_chars": "control_characters", "contaminated": "contaminated",
}  # fmt: skip


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """20,000 rows like OpenR1's, 1,000 of them with known faults: the raw folder, the faults by row, the file starts."""
    tool, gsm8k = REAL_DATA.parent / "tools" / "openr1_like.py", REAL_DATA / "gsm8k" / "test.jsonl"
    if not tool.is_file():
        pytest.skip(f"{tool} is not there: it makes rows like OpenR1's with known faults")
    folder = tmp_path_factory.mktemp("faulty")
    made = folder / "raw" / "openr1"
    options = ["--rows", "20000", "--files", "3", "--seed", "11", "--dirty", "0.05", "--contaminate", gsm8k, "--quiet"]
    subprocess.run([sys.executable, tool, "--out", made, *options], check=True)
    files, starts = [], {}
    for path in sorted(made.glob("*.parquet")):
        starts[path.name] = sum(file["rows"] for file in files)
        files.append({"path": path.name, "side": "train", "rows": count_rows(path)})
    write_manifest(made, {"files": files})
    other = folder / "raw" / "gsm8k"
    other.mkdir()
    (other / "test.jsonl").write_bytes(gsm8k.read_bytes())
    write_manifest(other, {"files": [{"path": "test.jsonl", "side": "test", "rows": 1_319}]})
    faults = {fault["row"]: fault for fault in json.loads((made / "faults.json").read_text())["faults"]}
    assert len(faults) == 1_000
    return folder / "raw", faults, starts


def fates(faulty, out, params):
    """Row -> (reason, detail) of all that `process` rejects."""
    raw, _, starts = faulty
    out.mkdir()
    other = (raw / "gsm8k", FilesDataset(source="files", path="x"))
    manifest = process_dataset("openr1", raw / "openr1", out, MINE, params, workers=2, other=other)
    counts = manifest["rows"]
    assert counts["raw"] == 20_000 == counts["kept"] + counts["rejected"]
    rejected = read_table(out / "rejected.parquet", REJECTED)
    return {starts[r["raw_file"]] + r["raw_row"]: (r["reason"], r["detail"]) for r in rejected}


@pytest.mark.slow
def test_every_fault_among_20_000_rows_is_found_and_no_clean_row_lost(tmp_path, faulty):
    """Faults that touch what smolmath doesn't read (message roles, a count) or can do without are no reason to reject."""
    _, faults, _ = faulty
    rejected = fates(faulty, tmp_path / "out", STRICT)
    wrong = []
    for row, fault in faults.items():
        expected = FATES.get(fault["kind"])
        if fault["kind"] == "wrong_typed" and fault["detail"].startswith("answer_"):
            expected = "unverifiable_answer"
        if (found := rejected.get(row, (None, ""))[0]) != expected:
            wrong.append((fault, found))
    assert wrong == []
    lost = {row: reason for row, (reason, _) in rejected.items() if row not in faults}
    assert set(lost.values()) <= {"contaminated"}  # from GSM8K's own templates, with 80 % and more of the same n-grams
    assert len(lost) <= 0.001 * 19_000


@pytest.mark.slow
def test_what_the_recipe_drops_of_the_clean_rows_is_each_another_wording_of_a_row_that_it_names(
    tmp_path, monkeypatch, faulty
):
    raw, faults, starts = faulty
    monkeypatch.chdir(ROOT)
    params = recipe("openr1-sft").model_copy(
        update={"tokenizer": "bases/calc/tokenizer.json", "max_question_tokens": 4_000}
    )
    rejected = fates(faulty, tmp_path / "out", params)
    rows = [
        row
        for file in sorted(starts)
        for row in pq.read_table(raw / "openr1" / file, columns=["problem", "answer"]).to_pylist()
    ]
    lost = {row: found for row, found in rejected.items() if row not in faults}
    assert {reason for reason, _ in lost.values()} <= {"contaminated", "near_duplicate"}
    assert sum(reason == "contaminated" for reason, _ in lost.values()) <= 0.001 * 19_000
    for row, (reason, detail) in lost.items():
        if reason == "near_duplicate":
            file, number = detail.removeprefix("of ").split(" row ")
            assert starts[file] + int(number) not in rejected  # what it is near is kept
            one, other = rows[row], rows[starts[file] + int(number)]
            assert one["answer"] == other["answer"]
            assert re.findall(r"\d+", one["problem"]) == re.findall(r"\d+", other["problem"])
            assert jaccard(one["problem"], other["problem"]) > 0.5
    # A letter is resolved to its option's text, and keeps a trace that gives the letter.
    kept = {
        starts[r["raw_file"]] + r["raw_row"]: r
        for shard in shards(tmp_path / "out")
        for r in read_table(shard, PROBLEMS)
    }
    letters = {row: fault for row, fault in faults.items() if fault["kind"] == "answer_letter" and row in kept}
    assert len(letters) > 70
    assert all(kept[row]["reference_answer"] == fault["detail"] for row, fault in letters.items())
    assert sum(kept[row]["reasoning"] is not None for row in letters) >= 0.95 * len(letters)


def jaccard(one, other):
    trigrams = []
    for text in (one, other):
        words = re.findall(r"\w+|[^\w\s]", normalise_question(text))
        trigrams.append({tuple(words[i : i + 3]) for i in range(len(words) - 2)})
    return len(trigrams[0] & trigrams[1]) / len(trigrams[0] | trigrams[1])


def test_a_csv_cell_of_many_lines_is_no_open_quote(tmp_path):
    path = tmp_path / "x.csv"
    solution = "\n".join(f"Step {i}: add {i}, carry on" for i in range(250)) + "\n#### 3"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["question", "answer", "by"], ["long", solution, "me"], ["short", "#### 4", "me"]])
    _, kept, _ = process(tmp_path, {"rows.csv": (None, path.read_bytes())})
    assert [(row["question"], row["reference_answer"]) for row in kept] == [("long", "3"), ("short", "4")]


def test_batches_of_parquet_are_bounded_where_some_rows_are_much_heavier(tmp_path):
    from smolmath.data.tables import BATCH_BYTES, read_batches

    texts = ["x" * 10] * 5_000 + [f"{i:05d}" + "y" * 200_000 for i in range(100)]
    pq.write_table(pa.table({"question": texts}), tmp_path / "rows.parquet")
    batches = list(read_batches(tmp_path / "rows.parquet", ["question"]))
    assert max(len(batch.payload) for batch in batches) < 3 * BATCH_BYTES
    assert [row["question"] for batch in batches for _, row, _ in batch.rows()] == texts
    assert [batch.first for batch in batches] == [sum(b.count for b in batches[:i]) for i in range(len(batches))]


def test_text_in_a_binary_column_counts_towards_the_limit_of_a_row(tmp_path):
    table = pa.table({"question": [b"one", b"two"], "answer": [b"#### 1", b"z" * 20_000 + b"#### 2"]})
    pq.write_table(table, tmp_path / "rows.parquet")
    _, kept, rejected = process(tmp_path, {"rows.parquet": (None, (tmp_path / "rows.parquet").read_bytes())})
    assert [row["question"] for row in kept] == ["one"]
    assert [found[0] for found in rejected.values()] == ["row_too_long"]


def test_csv_with_line_breaks_in_cells_keeps_its_rows(tmp_path):
    path = tmp_path / "x.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["question", "answer"], ['two\nlines, and a "quote"', "#### 3"]])
    _, kept, _ = process(tmp_path, {"rows.csv": (None, path.read_bytes())})
    assert kept[0]["question"] == 'two\nlines, and a "quote"'
