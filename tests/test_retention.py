"""Pairs of evaluations and the retention matrix, by hand; what cannot be paired is refused."""

import pytest

from smolmath.evaluation.paired import UnpairedError, compare_verdicts
from smolmath.evaluation.retention import RetentionError, read_retention, retention, write_retention


def verdicts(greedy, sampled=None):
    """One greedy verdict a problem, by its place in the word: 1 is right; and k sampled ones."""
    rows = [{"problem_id": f"p{i}", "sample": 0, "correct": flag == "1"} for i, flag in enumerate(greedy)]
    for i, word in enumerate(sampled or []):
        rows += [{"problem_id": f"p{i}", "sample": j, "correct": flag == "1"} for j, flag in enumerate(word, start=1)]
    return rows


def test_a_difference_is_of_pairs():
    accuracy, sampled = compare_verdicts(
        verdicts("1100", ["11", "10", "00", "00"]), verdicts("1011", ["11", "11", "10", "11"])
    )
    assert (accuracy.measure, accuracy.n, accuracy.before, accuracy.after) == ("accuracy", 4, 0.5, 0.75)
    assert (accuracy.gained, accuracy.lost) == (2, 1)
    assert accuracy.difference.value == 0.25
    assert accuracy.p == 1.0  # 1 of 3 coins, either way: 2 · (1 + 3) / 8
    assert (sampled.measure, sampled.k, sampled.before, sampled.after) == ("mean_at_k", 2, 0.375, 0.875)
    assert sampled.difference.value == 0.5  # of 0, 1/2, 1/2, 1
    assert (sampled.gained, sampled.lost) == (3, 0)
    assert sampled.difference.low <= 0.5 <= sampled.difference.high


def test_other_problems_are_refused():
    with pytest.raises(UnpairedError, match=r"the problems differ: 3 and 2, of which 2 are the same.*--common"):
        compare_verdicts(verdicts("110"), verdicts("10"))


def test_a_table_that_lost_sampled_rows_is_refused():
    with pytest.raises(UnpairedError, match="a table is not whole"):
        compare_verdicts(verdicts("10", ["1", "0"]), verdicts("10", ["1"]))


def test_models_without_a_common_problem_are_refused():
    other = [{**row, "problem_id": f"other-{row['problem_id']}"} for row in verdicts("11")]
    with pytest.raises(UnpairedError, match="no problem was answered by both"):
        compare_verdicts(verdicts("10"), other)
    with pytest.raises(UnpairedError, match="no problem was answered by both"):
        compare_verdicts([], [])


def test_problems_that_were_sampled_unequally_often_are_refused():
    with pytest.raises(UnpairedError, match="sampled 1 and 2 times"):
        compare_verdicts(verdicts("1", ["1"]), verdicts("1", ["11"]))


TABLES = {
    ("base", "sums"): verdicts("0011"),
    ("sums", "sums"): verdicts("1111"),
    ("legs", "sums"): verdicts("1101"),
}


def test_each_phase_is_held_against_the_model_that_it_was_trained_from(tmp_path):
    inits = {"sums": "base", "legs": "sums"}
    rows = retention(["base", "sums", "legs"], ["sums"], inits, lambda model, dataset: TABLES[model, dataset])
    write_retention(tmp_path / "retention.csv", rows)
    found = read_retention(tmp_path / "retention.csv")
    told = [(row.model, row.value, row.against, row.difference, row.gained, row.lost) for row in found.values()]
    assert told == [
        ("base", 0.5, None, None, None, None),
        ("sums", 1.0, "base", 0.5, 2, 0),
        ("legs", 0.75, "sums", -0.25, 0, 1),
    ]
    assert found["sums", "sums", "accuracy"].p == 0.5  # 2 of 2 coins, either way: 2 · 1/4
    assert found["sums", "sums", "accuracy"].p_corrected == 1.0  # one of two changes


def test_a_phase_whose_init_is_not_evaluated_stands_alone():
    (row,) = retention(["legs"], ["sums"], {"legs": "sums"}, lambda model, dataset: TABLES[model, dataset])
    assert (row.against, row.p) == (None, None)


def test_a_broken_matrix_is_named(tmp_path):
    path = tmp_path / "retention.csv"
    path.write_bytes(b"model,dataset\n\xff\xfe,sums\n")
    with pytest.raises(RetentionError, match="no retention matrix"):
        read_retention(path)
    path.write_text("model,dataset\nbase,sums\n")
    with pytest.raises(
        RetentionError, match=r"retention\.csv: no retention matrix .* Remove it and run: dvc repro summarize"
    ):
        read_retention(path)
    assert read_retention(tmp_path / "nothing.csv") == {}
