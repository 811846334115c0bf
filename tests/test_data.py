"""From raw files to split problems: nothing lost, nothing leaked, every rejection with its reason."""

import hashlib
import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmath.data.layouts import LayoutError, choose_layout
from smolmath.data.layouts.worked import LEGS, chain_sum, leg_counting
from smolmath.data.process import EmptyDatasetError, process_dataset
from smolmath.data.sources import files
from smolmath.data.split import split_dataset
from smolmath.data.tables import count_rows
from smolmath.errors import StageError
from smolmath.params.datasets import FilesDataset
from smolmath.params.process import ContaminationParams, ProcessParams
from smolmath.params.split import SplitParams
from smolmath.records import PROBLEMS, REJECTED, read_table, shards, write_manifest

ALL = ProcessParams(
    shard_rows=100,
    fraction=1.0,
    limit=None,
    trace="shortest",
    max_row_chars=10_000,
    question_chars=[1, 200],
    max_question_tokens=None,
    tokenizer="bases/calc/tokenizer.json",
    control_characters="reject",
    mojibake="reject",
    scripts=None,
    multiple_choice="keep",
    near_duplicates=None,
    contamination=ContaminationParams(dataset="mine", ngram=None, share=0.5),
)
SPLIT = SplitParams(seed=0, validation_fraction=0.1, test_fraction=0.1)
MINE = FilesDataset(source="files", path="unused")


def raw(folder, rows, name="rows.jsonl", side=None, more=()):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n")
    write_manifest(folder, {"files": [*more, {"path": name, "side": side, "rows": len(rows)}]})
    return folder


def processed(tmp_path, rows, *, key="mine", params=ALL, dataset=MINE, **more):
    out = tmp_path / "processed" / key
    out.mkdir(parents=True)
    manifest = process_dataset(key, raw(tmp_path / "raw" / key, rows, **more), out, dataset, params)
    return manifest, [row for shard in shards(out) for row in read_table(shard, PROBLEMS)]


def problem(question, answer="1"):
    return {"question": question, "answer": f"because\n#### {answer}"}


def test_every_row_is_kept_or_rejected_with_its_reason(tmp_path):
    rows = [
        problem("good"),
        "not json at all",
        problem("  "),
        {"question": "no marker", "answer": "they are 42 in all"},
        problem("GOOD  "),
        problem("long" * 100),
        problem("prose", "It follows that the claim holds for every integer by induction"),
        problem("fine", "1,234"),
        {"question": None, "answer": None},
    ]
    manifest, kept = processed(tmp_path, rows)
    assert manifest["rows"] == {"raw": 9, "kept": 2, "rejected": 7, "not_selected": 0}
    rejected = read_table(tmp_path / "processed" / "mine" / "rejected.parquet", REJECTED)
    assert [(row["raw_row"], row["reason"]) for row in rejected] == [
        (1, "unreadable_row"),
        (2, "empty_question"),
        (3, "empty_answer"),
        (4, "duplicate"),
        (5, "question_too_long"),
        (6, "unverifiable_answer"),
        (8, "empty_question"),
    ]
    assert [(row["question"], row["reference_answer"], row["raw_row"]) for row in kept] == [
        ("good", "1", 0),
        ("fine", "1,234", 7),
    ]


@settings(deadline=None)  # it writes files, whose time is the disk's
@given(st.lists(st.one_of(st.text(max_size=20), st.integers()), max_size=30))
def test_rows_are_conserved_whatever_they_hold(tmp_path_factory, questions):
    rows = [problem("one that is kept"), *({"question": q, "answer": "#### 1"} for q in questions)]
    manifest, _ = processed(tmp_path_factory.mktemp("x"), rows)
    counts = manifest["rows"]
    assert counts["raw"] == len(rows) == counts["kept"] + counts["rejected"] + counts["not_selected"]


def test_a_larger_fraction_contains_the_smaller_one(tmp_path):
    rows = [problem(f"question {i}") for i in range(500)]
    ids = {}
    for fraction in (0.1, 0.5):
        params = ALL.model_copy(update={"fraction": fraction})
        manifest, kept = processed(tmp_path, rows, key=f"f{int(fraction * 10)}", params=params)
        ids[fraction] = {row["id"] for row in kept}
        assert manifest["rows"]["not_selected"] == 500 - len(kept)
    assert ids[0.1] < ids[0.5]
    assert len(ids[0.1]) == pytest.approx(50, abs=35)  # five standard deviations of a binomial (500, 0.1)


def test_a_limit_keeps_that_many_by_hash_and_a_larger_one_contains_it(tmp_path):
    rows = [problem(f"question {i}") for i in range(50)]
    kept = {
        limit: {
            row["id"]
            for row in processed(tmp_path, rows, key=f"l{limit}", params=ALL.model_copy(update={"limit": limit}))[1]
        }
        for limit in (5, 20)
    }
    assert [len(kept[5]), len(kept[20])] == [5, 20]
    assert kept[5] < kept[20]


def test_shards_hold_at_most_the_asked_rows_in_order(tmp_path):
    _, kept = processed(
        tmp_path, [problem(f"question {i}") for i in range(7)], params=ALL.model_copy(update={"shard_rows": 3})
    )
    out = tmp_path / "processed" / "mine"
    assert [pq.read_metadata(path).num_rows for path in shards(out)] == [3, 3, 1]
    assert [row["raw_row"] for row in kept] == list(range(7))


def test_a_dataset_that_is_empty_after_filtering_is_an_error_with_the_reasons(tmp_path):
    with pytest.raises(
        EmptyDatasetError, match=r"none of 2 rows is left \(2 empty_answer\)\. The first, rows\.jsonl row 0"
    ):
        processed(tmp_path, [{"question": "a", "answer": "has no marker"}, {"question": "b", "answer": ""}])


def test_columns_that_fit_no_layout_are_listed(tmp_path):
    with pytest.raises(LayoutError, match=r"rows\.jsonl: found the columns prompt, result, which fit no known layout"):
        processed(tmp_path, [{"prompt": "a", "result": "1"}])


def test_columns_can_be_named(tmp_path):
    dataset = MINE.model_copy(update={"columns": {"question": "prompt", "reference_answer": "result"}})
    _, kept = processed(tmp_path, [{"prompt": "a", "result": 7}], dataset=dataset)
    assert [(row["question"], row["reference_answer"]) for row in kept] == [("a", "7")]


def test_a_named_column_that_is_missing_is_said():
    with pytest.raises(LayoutError, match="needs result; found the columns prompt"):
        choose_layout(["prompt"], name=None, columns={"question": "prompt", "reference_answer": "result"}, where="f")


def test_calculator_marks_are_removed_from_gsm8k_reasoning(tmp_path):
    _, (row,) = processed(tmp_path, [{"question": "q", "answer": "48/2 = <<48/2=24>>24 clips\n#### 24"}])
    assert row["reasoning"] == "48/2 = 24 clips"


def test_sides_of_a_source_are_kept_and_validation_is_cut_from_train(tmp_path):
    train = [problem(f"train {i}") for i in range(300)]
    test = [problem(f"test {i}") for i in range(20)]
    folder = tmp_path / "raw" / "mine"
    raw(folder, train, name="train.jsonl", side="train")
    entry = {"path": "train.jsonl", "side": "train", "rows": 300}
    processed(tmp_path, test, name="test.jsonl", side="test", more=[entry])
    manifest, sides = split(tmp_path, "mine", ["mine"])
    assert {row["question"] for row in sides["test"]} == {row["question"] for row in test}
    assert manifest["rows"]["validation"] == pytest.approx(30, abs=26)
    assert sum(manifest["rows"].values()) == 320


def test_a_source_that_names_its_train_side_alone_gets_a_test_side_by_hash(tmp_path):
    processed(tmp_path, [problem(f"question {i}") for i in range(500)], side="train")
    manifest, _ = split(tmp_path, "mine", ["mine"])
    assert manifest["rows"]["test"] == pytest.approx(50, abs=34)  # five standard deviations of a binomial (500, 0.1)
    assert manifest["rows"]["validation"] == pytest.approx(50, abs=34)


def split(tmp_path, key, datasets):
    out = tmp_path / "split" / key
    out.mkdir(parents=True)
    manifest = split_dataset(key, tmp_path / "processed", out, datasets, SPLIT)
    return manifest, {s: read_table(out / f"{s}.parquet", PROBLEMS) for s in ("train", "validation", "test")}


def test_what_is_tested_in_one_dataset_is_trained_on_in_none(tmp_path):
    shared = [problem(f"shared {i}") for i in range(30)]
    processed(tmp_path, shared, key="tested", name="test.jsonl", side="test")
    processed(tmp_path, [*shared, *(problem(f"own {i}") for i in range(30))], key="trained", side="train")
    manifest, sides = split(tmp_path, "trained", ["tested", "trained"])
    # What falls on this dataset's own test side, cut by hash, is tested in both and trained on in neither.
    tested = sum(row["question"].startswith("shared") for row in sides["test"])
    assert manifest["rejected_by_reason"] == {"held_out_elsewhere": 30 - tested}
    assert not {row["id"] for row in sides["train"] + sides["validation"]} & {
        row["id"] for row in split(tmp_path, "tested", ["tested", "trained"])[1]["test"]
    }


def test_a_dataset_without_sides_tests_on_no_row_that_another_validates_on(tmp_path):
    """One has a test side of its own, the other none: both are cut alike, so no validation row is lost to the other."""
    shared = [problem(f"shared {i}") for i in range(400)]
    folder = tmp_path / "raw" / "sided"
    raw(folder, shared, name="train.jsonl", side="train")
    entry = {"path": "train.jsonl", "side": "train", "rows": 400}
    processed(tmp_path, [problem("own test")], key="sided", name="test.jsonl", side="test", more=[entry])
    processed(tmp_path, shared, key="plain")
    datasets = ["plain", "sided"]
    sides = {key: split(tmp_path, key, datasets)[1] for key in datasets}
    held = {side: {row["id"] for row in sides["plain"][side]} for side in ("validation", "test")}
    assert len(held["validation"]) > 10
    assert {row["id"] for row in sides["sided"]["validation"]} == held["validation"]
    # What the plain one tests on would be trained on in the other, and is not.
    assert not held["test"] & {row["id"] for row in sides["sided"]["train"]}


@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["a", "b"])), max_size=40),
    st.sampled_from([None, "train"]),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 3),
)
@settings(deadline=None)
def test_whatever_the_datasets_share_no_problem_is_trained_on_and_held_out(
    tmp_path_factory, problems, own_side, test_fraction, seed
):
    folder = tmp_path_factory.mktemp("x")
    params = SplitParams(seed=seed, validation_fraction=0.3, test_fraction=test_fraction)
    rows_in = {}
    for key, side in (("a", None), ("b", own_side)):
        rows = [problem(f"question {number}") for number, where in problems if where == key] or [problem("only one")]
        entry = {"path": "rows.jsonl", "side": side, "rows": len(rows)}
        raw(folder / "raw" / key, rows, side=side)
        more = [] if side is None else [entry]
        name, rows, side = (
            ("rows.jsonl", rows, None) if side is None else ("test.jsonl", [problem(f"question {seed}")], "test")
        )
        manifest, _ = processed(folder, rows, key=key, name=name, side=side, more=more)
        rows_in[key] = manifest["rows"]["kept"]
    trained, held_out = set(), set()
    for key in ("a", "b"):
        out = folder / "split" / key
        out.mkdir(parents=True)
        manifest = split_dataset(key, folder / "processed", out, ["a", "b"], params)
        assert rows_in[key] == sum(manifest["rows"].values()) + sum(manifest["rejected_by_reason"].values())
        ids = {
            s: {row["id"] for row in read_table(out / f"{s}.parquet", PROBLEMS)}
            for s in ("train", "validation", "test")
        }
        assert not ids["train"] & ids["validation"]
        assert not ids["validation"] & ids["test"]
        trained |= ids["train"]
        held_out |= ids["validation"] | ids["test"]
    assert not trained & held_out


def test_a_manifest_names_each_file_with_its_bytes_and_hash(tmp_path):
    manifest, _ = processed(tmp_path, [problem(f"question {i}") for i in range(150)])
    folder = tmp_path / "processed" / "mine"
    entries = {entry["file"]: entry for entry in manifest["files"]}
    assert set(entries) == {"shard-00000.parquet", "shard-00001.parquet", "rejected.parquet"}
    for name, entry in entries.items():
        content = (folder / name).read_bytes()
        assert entry["bytes"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert [entries[f"shard-0000{i}.parquet"]["rows"] for i in (0, 1)] == [100, 50]


def test_a_fraction_thins_no_test_side_of_a_source(tmp_path):
    folder = tmp_path / "raw" / "mine"
    raw(folder, [problem(f"train {i}") for i in range(200)], name="train.jsonl", side="train")
    entry = {"path": "train.jsonl", "side": "train", "rows": 200}
    tested = [problem(f"test {i}") for i in range(50)]
    params = ALL.model_copy(update={"fraction": 0.2})
    _, kept = processed(tmp_path, tested, name="test.jsonl", side="test", more=[entry], params=params)
    assert sum(row["raw_file"] == "test.jsonl" for row in kept) == 50
    assert 10 < sum(row["raw_file"] == "train.jsonl" for row in kept) < 90


def test_more_rows_move_no_old_row_to_another_side(tmp_path):
    rows = [problem(f"question {i}") for i in range(220)]
    side_of = {}
    for key, part in (("old", rows[:200]), ("new", rows[::-1])):
        processed(tmp_path, part, key=key)
        side_of[key] = {row["id"]: side for side, found in split(tmp_path, key, [key])[1].items() for row in found}
    assert side_of["old"].items() <= side_of["new"].items()


def test_files_copies_what_a_side_names_and_says_what_is_there_instead(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "train-1.jsonl").write_text('{"question": "a", "answer": "#### 1"}\n')
    (tmp_path / "out").mkdir()
    source = FilesDataset(source="files", path=str(tmp_path / "in"), sides={"train": "train-*.jsonl"})
    assert files.fetch(source, tmp_path / "out", tmp_path) == {"files": [{"path": "train-1.jsonl", "side": "train"}]}
    with pytest.raises(StageError, match=r"no file matches 'test\*' \(side test\)\. There is: train-1\.jsonl"):
        files.fetch(source.model_copy(update={"sides": {"test": "test*"}}), tmp_path / "out", tmp_path)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("gsm8k_train.jsonl", "train"),
        ("Test.csv", "test"),
        ("train-00000-of-00001.parquet", "train"),
        ("gsm8kTest.jsonl", "test"),
        ("GSM8KTest.json", "test"),
        ("testset.json", "test"),
        ("TESTSET.tsv", "test"),
        ("test2.jsonl.gz", "test"),
        ("training_set.jsonl", "train"),
        ("val.jsonl", "validation"),
        ("dev_easy.ndjson", "validation"),
        ("test/algebra/1.json", "test"),
        ("train/contest/val.json", "validation"),
        ("contest.jsonl", None),
        ("latest.jsonl", None),
        ("valuable.jsonl", None),
        ("MATH-500.jsonl", None),
    ],
)
def test_a_file_is_on_the_side_that_its_name_or_its_folders_says(tmp_path, name, side):
    (tmp_path / "in" / name).parent.mkdir(parents=True)
    (tmp_path / "in" / name).write_text('{"question": "a", "answer": "#### 1"}\n')
    fetched = files.fetch(FilesDataset(source="files", path=str(tmp_path / "in")), tmp_path / "out", tmp_path)
    assert fetched == {"files": [{"path": name, "side": side}]}
    if "/" not in name:
        alone = FilesDataset(source="files", path=str(tmp_path / "in" / name))
        assert files.fetch(alone, tmp_path / "out", tmp_path) == fetched


def test_a_folder_that_is_called_test_is_the_test_side(tmp_path, capsys):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "a.jsonl").write_text('{"question": "a", "answer": "#### 1"}\n')
    (tmp_path / "test" / "dataset_info.json").write_text("{}")
    fetched = files.fetch(FilesDataset(source="files", path=str(tmp_path / "test")), tmp_path / "out", tmp_path)
    assert fetched == {"files": [{"path": "a.jsonl", "side": "test"}]}
    assert "files by side: test 1" in capsys.readouterr().out


def test_a_single_file_can_be_put_on_a_side_and_what_is_cut_by_hash_is_said(tmp_path, capsys):
    (tmp_path / "math500.jsonl").write_text('{"question": "a", "answer": "#### 1"}\n')
    source = FilesDataset(source="files", path=str(tmp_path / "math500.jsonl"))
    assert files.fetch(source, tmp_path / "out", tmp_path)["files"][0]["side"] is None
    assert "no side 1 (math500.jsonl): cut by hash" in capsys.readouterr().out
    named = source.model_copy(update={"sides": {"test": "math500.jsonl"}})
    assert files.fetch(named, tmp_path / "out", tmp_path)["files"][0]["side"] == "test"
    with pytest.raises(StageError, match=r"no file matches 'other\.jsonl' \(side test\)\. There is: math500\.jsonl"):
        files.fetch(source.model_copy(update={"sides": {"test": "other.jsonl"}}), tmp_path / "out", tmp_path)


def test_a_name_that_says_two_sides_is_an_error(tmp_path):
    (tmp_path / "train_test.jsonl").write_text('{"question": "a", "answer": "#### 1"}\n')
    with pytest.raises(StageError, match=r"its name says test and train\. Say which it is by `sides`"):
        files.fetch(FilesDataset(source="files", path=str(tmp_path)), tmp_path / "out", tmp_path)


def test_a_folder_without_sides_gives_its_data_files_and_says_what_is_left_out(tmp_path, capsys):
    (tmp_path / "in" / "more").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("b.jsonl.gz", "a.csv", "LICENSE", "faults.json"):
        (tmp_path / "in" / name).write_text("x")
    fetched = files.fetch(FilesDataset(source="files", path=str(tmp_path / "in")), tmp_path / "out", tmp_path)
    assert [file["path"] for file in fetched["files"]] == ["a.csv", "b.jsonl.gz", "faults.json"]
    assert "left out as no data files: LICENSE, more" in capsys.readouterr().out


@pytest.mark.parametrize("pattern", ["../x.jsonl", "/etc/*.csv", "", ".", "./"])
def test_a_pattern_that_leaves_the_folder_or_names_itself_is_refused(tmp_path, pattern):
    source = FilesDataset(source="files", path=str(tmp_path), sides={"train": pattern})
    with pytest.raises(StageError, match="is no pattern of files inside that folder"):
        files.fetch(source, tmp_path / "out", tmp_path)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*.csv", ["a.csv", "more/b.csv"]),
        ("more/**/*.csv", ["more/b.csv"]),
        ("**", None),
        ("more/**", None),
        ("a**", None),
        ("**.csv", None),
        ("***/*.csv", None),
    ],
)
def test_two_stars_stand_for_whole_folders_and_are_refused_elsewhere_by_every_python(tmp_path, pattern, found):
    root, out = tmp_path / "in", tmp_path / "out"
    (root / "more").mkdir(parents=True)
    for name in ("a.csv", "more/b.csv"):
        (root / name).write_text("x")
    source = FilesDataset(source="files", path=str(root), sides={"train": pattern})
    if found:
        assert [file["path"] for file in files.fetch(source, out, tmp_path)["files"]] == found
    else:
        with pytest.raises(StageError, match=r"is no pattern: \*\* stands for whole folders, as in '\*\*/\*\.jsonl'"):
            files.fetch(source, out, tmp_path)


def test_worked_solutions_by_hand():
    assert chain_sum({"expression": "4 - 1 - 7"}) == "4-1=3\n3-7=-4"
    assert leg_counting({"animals": {"ant": 2, "cat": 3}}) == "2 ant: 2*6=12\n3 cat: 3*4=12\n12+12=24"


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # one of reasoning-gym's own dependencies compares with `is`
def test_our_table_of_legs_is_reasoning_gyms():
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    assert LEGS == ANIMALS


def test_all_of_gsm8k_comes_through_with_its_reference_answer(tmp_path, real_data):
    source = FilesDataset(
        source="files", path=str(real_data / "gsm8k"), sides={"train": "train.jsonl", "test": "test.jsonl"}
    )
    folder, out = tmp_path / "raw", tmp_path / "processed" / "gsm8k"
    folder.mkdir()
    out.mkdir(parents=True)
    fetched = files.fetch(source, folder, tmp_path)["files"]
    write_manifest(folder, {"files": [{**f, "rows": count_rows(folder / f["path"])} for f in fetched]})
    params = ALL.model_copy(
        update={"control_characters": "remove", "shard_rows": 50_000, "question_chars": [1, 4_000]}
    )
    manifest = process_dataset("gsm8k", folder, out, source, params)
    assert manifest["rows"] == {"raw": 8_792, "kept": 8_792, "rejected": 0, "not_selected": 0}
    answers = [row["reference_answer"] for row in read_table(shards(out)[0], PROBLEMS)]
    assert sum(answer.replace(",", "").lstrip("-").isdigit() for answer in answers) == 8_792
    given = [
        json.loads(line)["answer"].rpartition("####")[2].strip()
        for name in ("test", "train")
        for line in (real_data / "gsm8k" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert answers == given
    counts, _ = split(tmp_path, "gsm8k", ["gsm8k"])
    assert counts["rows"]["test"] == 1_319
