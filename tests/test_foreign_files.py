"""Files as people have them, from fetch to split, with the least that a user would write: every class of fault found so far."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smolmath.answers import grade
from smolmath.data.layouts import LayoutError
from smolmath.data.problems import problem_id
from smolmath.data.process import EmptyDatasetError, process_dataset
from smolmath.data.sources import files
from smolmath.data.split import HowNear, shown, split_dataset
from smolmath.data.tables import count_rows
from smolmath.params.datasets import FilesDataset
from smolmath.params.process import ContaminationParams
from smolmath.records import PROBLEMS, REJECTED, read_table, shards, write_manifest
from tests.test_data import ALL, SPLIT

PARAMS = ALL.model_copy(update={"question_chars": [1, 4000], "max_row_chars": 100_000})
STEPS = "She has {}+2 of them."


class Recipe:
    """Datasets of files through the stages' own functions."""

    def __init__(self, folder, params=PARAMS):
        self.folder, self.params = folder, params
        self.datasets = {}

    def add(self, key, path, **how):
        self.datasets[key] = FilesDataset(source="files", path=str(path), **how)
        raw = self.folder / "raw" / key
        raw.mkdir(parents=True)
        manifest = files.fetch(self.datasets[key], raw, self.folder)
        for file in manifest["files"]:
            file["rows"] = count_rows(raw / file["path"])
        write_manifest(raw, manifest)
        return self

    def process(self, key, **params):
        """(manifest, kept problems, reason and detail by row)"""
        out = self.folder / "processed" / key
        state = self.folder / "state" / key
        for made in (out, state):
            made.mkdir(parents=True)
        params = self.params.model_copy(update=params)
        against = params.contamination.dataset
        other = (self.folder / "raw" / against, self.datasets[against]) if against in self.datasets else None
        manifest = process_dataset(
            key,
            self.folder / "raw" / key,
            out,
            self.datasets[key],
            params,
            other=None if against == key else other,
            state=state,
        )
        rejected = {(r["raw_file"], r["raw_row"]): (r["reason"], r["detail"]) for r in _rejected(out)}
        return manifest, [row for shard in shards(out) for row in read_table(shard, PROBLEMS)], rejected

    def split(self, key):
        out = self.folder / "split" / key
        out.mkdir(parents=True)
        how_near = HowNear(self.params.contamination, self.params.near_duplicates)
        split_dataset(key, self.folder / "processed", out, list(self.datasets), SPLIT, how_near)
        sides = {side: read_table(out / f"{side}.parquet", PROBLEMS) for side in ("train", "validation", "test")}
        return sides, {(r["raw_file"], r["raw_row"]): (r["reason"], r["detail"]) for r in _rejected(out)}


def _rejected(folder):
    return read_table(folder / "rejected.parquet", REJECTED)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def nuts(number):
    return f"Ann has {number} nuts and finds 2. How many has she?"


def processed(tmp_path, rows, name="rows.jsonl", *, params=None, **how):
    return Recipe(tmp_path).add("mine", write(tmp_path / "in" / name, rows), **how).process("mine", **params or {})


def read(problem):
    return problem["question"], problem["reference_answer"], problem["reasoning"]


LONG = (
    "A shop sells {} red pens in the morning and twice as many blue pens in the afternoon of the same day, while a "
    "helper takes {} pens home. How many pens were sold on that day in all?"
)
SUFFIX = ' Let\'s think step by step and output the final answer after "####".'


@pytest.mark.parametrize("ngram", [8, 13])
def test_a_benchmarks_questions_among_other_words_are_held_out_of_every_train_side(tmp_path, ngram):
    contamination = ContaminationParams(dataset="bench", ngram=ngram, share=0.8)
    recipe = Recipe(tmp_path, PARAMS.model_copy(update={"contamination": contamination, "near_duplicates": None}))
    before, behind = (" ".join(f"{where}{i}" for i in range(60)) for where in ("before", "behind"))
    tests = {
        "bench": [LONG.format(n, n + 3) for n in range(30)],
        "second": [
            f"In a class of {n} pupils {n} read, {n + 1} write and one does both. Who does?" for n in range(30)
        ],
        "third": [f"Find the sum of {n} and {n + 7} then." for n in range(30)],  # shorter than an n-gram
    }
    leaks = [question + SUFFIX for each in tests.values() for question in each]
    leaks += [f"{before} {question} {behind}" for each in tests.values() for question in each]
    leaks += [
        question.replace("pens", "pens’").replace(" ", "  ").replace("30", "$30$")
        for each in tests.values()
        for question in each
    ]
    others = [
        f"A train of {n} wagons carries {n * 7} tons over {n + 2} bridges. What is a wagon's load?" for n in range(500)
    ]
    for key, questions in tests.items():
        write(tmp_path / key / "test.jsonl", [{"question": q, "answer": "1"} for q in questions])
        recipe.add(key, tmp_path / key)
    recipe.add("rl", write(tmp_path / "rl" / "train.jsonl", [{"problem": q, "answer": "1"} for q in leaks + others]))
    for key in recipe.datasets:
        recipe.process(key)
    sides, rejected = recipe.split("rl")
    kept = {side: {row["question"] for row in rows} for side, rows in sides.items()}
    assert kept["train"] <= set(others) <= set.union(*kept.values())  # its own test side may hold what others test
    assert {reason for reason, _ in rejected.values()} <= {"contaminated", "held_out_elsewhere"}
    assert recipe.split("second")[0]["train"] == []


def test_a_test_only_set_is_all_tested_on_and_the_split_says_what_each_benchmark_costs(tmp_path):
    """A leak planted in each of three: word for word, among other words, and worded otherwise."""
    how = {"contamination": ContaminationParams(dataset="first", ngram=13, share=0.8), "near_duplicates": 0.5}
    recipe = Recipe(tmp_path, PARAMS.model_copy(update=how))
    first = [f"At shop {n} a hat costs {n + 5} coins and a coat costs {n + 90}. What do both cost?" for n in range(20)]
    second = [LONG.format(n, n + 3) for n in range(20)]
    third = [
        f"Every morning Maria feeds {n} hens with {n + 2} cups of corn and {n + 4} cups of oats before school. "
        "How many cups does she use on a morning?" for n in range(20)
    ]  # fmt: skip
    for key, questions in (("first", first), ("second", second), ("third", third)):
        write(tmp_path / key / "train.jsonl", [{"question": q, "answer": "7"} for q in questions])
        recipe.add(key, tmp_path / key, use="test")
    others = [
        f"A train of {n} wagons carries {n * 7} tons over {n + 2} bridges. What is a wagon's load?" for n in range(50)
    ]
    planted = [first[3], second[4] + SUFFIX, *(q.replace("school", "work") for q in third[3:5])]
    rows = [{"question": q, "answer": "7"} for q in others + planted]
    for side, some in (("train", rows[2:]), ("validation", rows[:1]), ("test", rows[1:2])):
        write(tmp_path / "mine" / f"{side}.jsonl", some)
    recipe.add("mine", tmp_path / "mine")
    for key in recipe.datasets:
        recipe.process(key)
    for key in ("first", "second", "third"):
        sides, _ = recipe.split(key)
        assert [len(sides[side]) for side in ("train", "validation", "test")] == [0, 0, 20]
    # `process` finds what `contamination.dataset` holds, the split what the others do.
    assert json.loads((tmp_path / "processed" / "mine" / "manifest.json").read_text())["rejected_by_reason"] == {
        "contaminated": 1
    }
    sides, rejected = recipe.split("mine")
    manifest = json.loads((tmp_path / "split" / "mine" / "manifest.json").read_text())
    assert manifest["train_rows_lost_to"] == {"second": 1, "third": 2}
    assert {reason for reason, _ in rejected.values()} == {"contaminated", "near_duplicate"}
    assert {row["question"] for row in sides["train"]} <= set(others)
    assert "train rows lost to what third holds out: 2" in shown(manifest)


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        (
            {"data_source": "x", "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1+2?"}],
             "reward_model": {"style": "rule", "ground_truth": "3"}},
            {"question": "prompt", "reference_answer": "reward_model.ground_truth"},
            ("What is 1+2?", "3", None),
        ),
        (
            {"prompt": [{"role": "user", "content": "What is 1+2?"}], "reward_model": {"ground_truth": '["3"]'}},
            {"question": "prompt[0].content", "reference_answer": "reward_model.ground_truth"},
            ("What is 1+2?", "3", None),
        ),
        (
            {"messages": [{"role": "user", "content": "What is 1+2?"}, {"role": "assistant", "content": "1+2=3\n#### 3"}]},
            {"question": "messages", "reference_answer": "messages"},
            ("What is 1+2?", "3", "1+2=3"),
        ),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"},
                               {"from": "human", "value": "What is 1+2?"}, {"from": "gpt", "value": "Add.\n\\boxed{3}"}]},
            {"question": "conversations", "reference_answer": "conversations"},
            ("What is 1+2?", "3", "Add.\n3"),
        ),
        (
            {"prompt": [{"from": "user", "value": "What is 1+2?"}], "final_answer": "3"},
            {"question": "prompt", "reference_answer": "final_answer"},
            ("What is 1+2?", "3", None),
        ),
        (
            [{"from": "human", "value": "What is 1+2?"}, {"from": "assistant", "ground_truth": {"value": "3"}}],
            {"question": "0.value", "reference_answer": "1.ground_truth.value"},
            ("What is 1+2?", "3", None),
        ),
        (
            {"Body": "Ann has 1 nut and finds 2.", "Question": "How many has she?", "Answer": 3.0},
            {"question": ["Body", "Question"], "reference_answer": "Answer"},
            ("Ann has 1 nut and finds 2. How many has she?", "3.0", None),
        ),
        (
            {"a.b": "What is 1+2?", "extra": '{"gold": {"value": 3}}'},
            {"question": "a.b", "reference_answer": "extra.gold.value"},
            ("What is 1+2?", "3", None),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.parquet"])
def test_nested_and_joined_columns_can_be_named(tmp_path, name, row, columns, expected):
    if isinstance(row, list) and name.endswith("parquet"):
        row = {str(number): item for number, item in enumerate(row)}
    other = json.loads(json.dumps(row).replace("1+2", "1+1+1"))
    _, kept, _ = processed(tmp_path, [row, other], name, columns=columns)
    assert read(kept[0]) == expected


ENDINGS = [
    "#### {}",
    "The answer is {}.",
    "So the answer is: ${}$",
    "<answer>{}</answer>",
    "\\boxed{{{}}}",
    "#### {0}\nThe answer is: {0}",
]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("question", "solution", "how"),
    [
        ("question", "answer", {}),
        ("instruction", "output", {}),
        ("query", "response", {"columns": {"question": "query", "reference_answer": "response"}}),
        ("query", "response", {"columns": {"question": "query", "answer": "response"}, "layout": "gsm8k"}),
        ("query", "response", {"columns": {"question": "query", "reference_answer": "response"}, "layout": "gsm8k"}),
        ("query", "response", {"columns": {"question": "query", "reasoning": "response"}, "layout": "instruction"}),
    ],
)
def test_a_solution_that_ends_in_its_answer_is_read_in_every_layout(tmp_path, ending, question, solution, how):
    rows = [{question: nuts(n), solution: f"{STEPS.format(n)}\n{ending.format(n + 2)}"} for n in range(10)]
    _, kept, _ = processed(tmp_path, rows, **how)
    assert [row["reference_answer"].strip(" $") for row in kept] == [str(n + 2) for n in range(10)]
    assert all(row["reasoning"].startswith(STEPS.format(n)) for n, row in enumerate(kept))
    assert not any(mark in row["reasoning"] for row in kept for mark in ("####", "boxed", "answer"))


OPTIONS = "\n(A) {}\n(B) {}\n(C) 1"


@pytest.mark.parametrize(
    ("row", "how", "letter"),
    [
        ({"question": "What is 3 plus 2?", "options": ["A)3", "B)5", "C)1"], "rationale": "add", "correct": "B"},
         {"columns": {"question": "question", "reference_answer": "correct", "choices": "options"}}, "B"),
        ({"question": "What is 3 plus 2?", "options": ["A)3", "B)5", "C)1"], "correct": "B"},
         {"columns": {"question": "question", "reference_answer": "correct"}}, "B"),
        ({"question": "What is 3 plus 2?", "choices": ["3", "5", "1"], "answer": 1}, {}, "B"),
        ({"question": "What is 3 plus 2?", "choices": ["3", "5", "1"], "answer": "5"}, {}, "B"),
        ({"question": "What is 3 plus 2?", "choices": {"text": ["3", "5", "1"], "label": ["A", "B", "C"]}, "answer": "B"}, {}, "B"),
        ({"Problem": "What is 3 plus 2?", "options": "a ) 3 , b ) 5 , c ) 1", "correct": "b"},
         {"columns": {"question": "Problem", "reference_answer": "correct"}}, "B"),
        ({"Problem": "What is 3 plus 2?", "options": "['a ) 3', 'b ) 5', 'c ) 1']", "correct": "b"},
         {"columns": {"question": "Problem", "reference_answer": "correct"}}, "B"),
        ({"problem": "What is 3 plus 2?", "options": {"A": "3", "B": "5", "C": "1"}, "answer": "B"}, {}, "B"),
    ],
)  # fmt: skip
def test_options_of_another_column_stand_under_the_question(tmp_path, row, how, letter):
    for choice, answer in (("keep", letter), ("resolve", "5")):
        (tmp_path / choice).mkdir()
        _, kept, _ = processed(tmp_path / choice, [row], params={"multiple_choice": choice}, **how)
        assert read(kept[0])[:2] == ("What is 3 plus 2?" + OPTIONS.format(3, 5), answer)
        for reply in ("B", "5", "(B) 5"):
            assert grade(f"\\boxed{{{reply}}}", answer, question=kept[0]["question"]).correct
        assert not grade("\\boxed{A}", answer, question=kept[0]["question"]).correct


def test_an_answer_that_names_no_option_is_rejected(tmp_path):
    rows = [{"question": f"What is {n}?", "choices": ["3", "5"], "answer": n} for n in range(3)]
    _, kept, rejected = processed(tmp_path, rows)
    assert [row["reference_answer"] for row in kept] == ["A", "B"]
    assert rejected == {("rows.jsonl", 2): ("multiple_choice", "2 is none of the options A, B")}


def test_a_question_that_asks_for_a_letter_and_is_resolved_is_right_with_either(tmp_path):
    rows = [{"problem": f"Which is {n}+2?\nA. {n + 2}\nB. {n + 3}\nC. {n + 5}\nAnswer as A, B or C.", "answer": "ABC"[n % 3]}
            for n in range(9)]  # fmt: skip
    _, kept, _ = processed(tmp_path, rows, params={"multiple_choice": "resolve"})
    assert [row["reference_answer"] for row in kept] == [str(n + (2, 3, 5)[n % 3]) for n in range(9)]
    for n, row in enumerate(kept):
        right = [reply for reply in "ABC" if grade(reply, row["reference_answer"], question=row["question"]).correct]
        assert right == ["ABC"[n % 3]]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"question": "What is 1+2?", "solution": "Add 2 to 1.", "answer": "3"}, ("What is 1+2?", "3", "Add 2 to 1.")),
        ({"body": "There is 1 cup and 2 plates.", "question": "How many things are there?", "answer": "3 (things)"},
         ("There is 1 cup and 2 plates. How many things are there?", "3", None)),
        ({"question": "Solve.", "answer": "$\\frac{-1+2 i \\sqrt{6}}{2}, \\frac{-1-2 i \\sqrt{6}}{2}$"},
         ("Solve.", "$\\frac{-1+2 i \\sqrt{6}}{2}, \\frac{-1-2 i \\sqrt{6}}{2}$", None)),
        ({"question": "What is 0+2?", "answer": ["2"], "solution": ["Add."]}, ("What is 0+2?", "2", "Add.")),
        ({"question": "What is 0+2?", "answer": '["2"]'}, ("What is 0+2?", "2", None)),
        ({"problem": "Compute $1 \times 4$ if $\theta \neq 0$ and \frac{1}{2}.", "answer": "\frac{4}{1}"},
         ("Compute $1 \\times 4$ if $\\theta \\neq 0$ and \\frac{1}{2}.", "\\frac{4}{1}", None)),
    ],
)  # fmt: skip
def test_what_stands_beside_the_answer_is_read(tmp_path, row, expected):
    _, kept, _ = processed(tmp_path, [row])
    assert [read(problem) for problem in kept] == [expected]


def test_a_line_that_begins_with_a_word_and_a_tab_before_one_are_no_latex(tmp_path):
    rows = [{"problem": question, "answer": "4"} for question in ("Say\tan answer\nor not", "Note:\n$a=1$\next $b$?")]
    manifest, kept, _ = processed(tmp_path, rows)
    assert [row["question"] for row in kept] == [row["problem"] for row in rows]
    assert manifest["mended_latex"] == 0


def test_mended_latex_is_counted(tmp_path):
    rows = [{"problem": f"Compute ${n} \times 4$.", "answer": "4"} for n in range(3)] + [
        {"problem": "a", "answer": "1"}
    ]
    assert processed(tmp_path, rows)[0]["mended_latex"] == 3


def test_lists_of_several_answers_are_rejected_as_such_and_the_error_shows_one(tmp_path):
    rows = [{"question": "Which?", "answer": ["2", "3"]}]
    with pytest.raises(
        EmptyDatasetError, match=r"1 unverifiable_answer.*\['2', '3'\].* All are in .*rejected\.parquet"
    ):
        processed(tmp_path, rows)
    assert read_table(tmp_path / "state" / "mine" / "rejected.parquet", REJECTED)[0]["reason"] == "unverifiable_answer"


THOUGHT = "<think>\nadd\n</think>\n\n\\boxed{{{}}}"


@pytest.mark.parametrize(
    ("reasoning", "kept_as"),
    [
        (THOUGHT.format(3), "add"),
        (THOUGHT.format(4), None),  # another answer than the reference
        ("<think>\nadd", None),
        ("Add 2.\nThe answer is 3.", "Add 2."),
        ("Add 2.\nThe answer is 4.", None),
        ("Add 2 to 1: it is $\\boxed{3}$ then.", "Add 2 to 1: it is $3$ then."),
        ("Add 2 to 1.", "Add 2 to 1."),
        ([{"role": "user", "content": "?"}, {"role": "assistant", "content": "Add 2.\n#### 3"}], "Add 2."),
    ],
)
def test_a_mapped_solution_loses_its_marks_and_must_agree_with_the_reference(tmp_path, reasoning, kept_as):
    columns = {"question": "q", "reference_answer": "a", "reasoning": "r"}
    _, kept, _ = processed(tmp_path, [{"q": "What is 1+2?", "a": "3", "r": reasoning}], columns=columns)
    assert [read(problem) for problem in kept] == [("What is 1+2?", "3", kept_as)]


@pytest.mark.parametrize("name", ["test.jsonl", "benchTest.json", "testset.jsonl"])
def test_a_lone_test_file_is_trained_on_by_nobody(tmp_path, name):
    rows = [{"question": nuts(n), "answer": str(n + 2)} for n in range(50)]
    recipe = Recipe(tmp_path).add("mine", write(tmp_path / "in" / name, rows))
    recipe.process("mine")
    assert {side: len(found) for side, found in recipe.split("mine")[0].items()} == {
        "train": 0,
        "validation": 0,
        "test": 50,
    }


def test_an_apostrophe_of_another_shape_makes_no_other_problem(tmp_path):
    rows = [f'Tim\'s sister has {n} "shells" – $900$ – and gives him one?' for n in range(20)]
    others = [row.replace("'", "’").replace('"', "“", 1).replace('"', "”").replace("$900$", "900") for row in rows]
    write(tmp_path / "in" / "test.jsonl", [{"question": row, "answer": "4"} for row in rows])
    write(tmp_path / "in" / "train.jsonl", [{"question": row, "answer": "4"} for row in others])
    recipe = Recipe(tmp_path).add("mine", tmp_path / "in")
    recipe.process("mine")
    assert {side: len(found) for side, found in recipe.split("mine")[0].items()} == {
        "train": 0,
        "validation": 0,
        "test": 20,
    }


def traits(recipe, key, names):
    """What stands in those columns of the test side, by question; the columns themselves must be there."""
    table = pq.read_table(recipe.folder / "split" / key / "test.parquet")
    assert table.column_names == [*PROBLEMS.names, *names]
    return {row["question"]: [row[name] for name in names] for row in table.to_pylist()}


def test_how_hard_a_set_calls_a_problem_and_what_it_was_made_from_come_through_to_the_split(tmp_path):
    hard = [
        {"problem": nuts(n), "solution": f"\\boxed{{{n + 2}}}", "level": n % 5 + 1, "type": "Algebra"}
        for n in range(9)
    ]
    made = [{"question": nuts(n), "answer": str(n + 2), "seed_question": f" {nuts(n // 2)}"} for n in range(20, 28)]
    made[3]["seed_question"] = None
    named = [{"q": nuts(n), "a": str(n + 2), "about": {"rated": "Level 3"}} for n in range(40, 49)]
    recipe = Recipe(tmp_path)
    recipe.add("hard", write(tmp_path / "in" / "a.jsonl", hard), use="test")
    recipe.add("made", write(tmp_path / "in" / "b.parquet", made), use="test")
    columns = {"question": "q", "reference_answer": "a", "level": "about.rated"}
    recipe.add("named", write(tmp_path / "in" / "c.jsonl", named), use="test", columns=columns)
    plain = [{"question": nuts(n), "answer": str(n + 2)} for n in range(60, 69)]
    recipe.add("plain", write(tmp_path / "in" / "d.jsonl", plain), use="test")
    for key in recipe.datasets:
        recipe.process(key)
    for key in recipe.datasets:
        recipe.split(key)
    assert traits(recipe, "hard", ["level"]) == {nuts(n): [str(n % 5 + 1)] for n in range(9)}
    seeds = {nuts(n): [None if n == 23 else problem_id(nuts(n // 2))] for n in range(20, 28)}
    assert traits(recipe, "made", ["variant_of"]) == seeds
    assert set(map(tuple, traits(recipe, "named", ["level"]).values())) == {("Level 3",)}
    traits(recipe, "plain", [])  # no column more than before


def test_a_column_that_is_named_for_the_level_and_is_not_there_is_refused(tmp_path):
    columns = {"question": "q", "reference_answer": "a", "level": "grade"}
    with pytest.raises(LayoutError, match=r"layout columns needs grade; found the columns a, q\."):
        processed(tmp_path, [{"q": nuts(1), "a": "3"}], columns=columns)


def test_a_benchmark_of_which_nothing_is_left_is_named_with_why(tmp_path):
    rows = [{"question": nuts(n), "answer": "a proof that no such number is there"} for n in range(3)]
    with pytest.raises(EmptyDatasetError, match=r"datasets\.mine: none of 3 rows is left \(3 .*Change `process`"):
        processed(tmp_path, rows, "test.jsonl", use="test")
