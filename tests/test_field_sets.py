"""The common sets of docs/data.md: files of each one's schema, read by the entry that the page gives."""

import json
import re

import pytest
import yaml

from smolmath.params.datasets import load_dataset_params
from tests.pages import ROOT
from tests.test_foreign_files import Recipe, nuts, read, write

PAGE = (ROOT / "docs" / "data.md").read_text()
ROWS = 60
USER, STEPS = "Ann has {} nuts and finds 2.", "She has {}+2 of them, which makes {}."


def blocks():
    """Set -> its entry on the page."""
    table = PAGE.split("<!-- sets -->")[1].split("<!-- /sets -->")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if "`{source" in line]
    return {name: yaml.safe_load(entry.strip().strip("`")) for name, _, entry in rows}


BLOCKS = blocks()


def chat(*turns, who="role", what="content"):
    return [{who: name, what: text} for name, text in turns]


def steps(n):
    return STEPS.format(n, n + 2)


def boxed(n):
    return f"{steps(n)} So it is $\\boxed{{{n + 2}}}$."


def rewarded(n, **more):
    return {"data_source": "x", "prompt": chat(("user", nuts(n))), "ability": "math", **more}


# Set -> (file of a side -> suffix tells its format, row n, whether there is a worked solution).
GSM8K = lambda n: {"question": nuts(n), "answer": f"{STEPS.format(n, f'<<{n}+2={n + 2}>>{n + 2}')}\n#### {n + 2}"}  # noqa: E731
TRAIN, TEST, BOTH = (
    {"train": "train-0.parquet"},
    {"test": "test-0.parquet"},
    {"train": "train-0.parquet", "test": "test-0.parquet"},
)
SETS = {
    "GSM8K, and `config: socratic`": (BOTH, GSM8K, True),
    "GSM-Hard": (TEST, lambda n: {"input": nuts(n), "code": "def solution(): …", "target": float(n + 2)}, False),
    "GSM-Plus": (
        TEST,
        lambda n: {"question": nuts(n), "solution": steps(n), "answer": str(n + 2), "perturbation_type": "numerical variation",
                   "seed_question": "How many?", "seed_solution": "One.", "seed_answer": "1"},
        True,
    ),
    "GSM-Symbolic": (
        TEST, lambda n: GSM8K(n) | {"id": n, "instance": 0, "original_question": "?", "original_answer": "#### 1", "canary": "x"}, True),
    "MATH": (BOTH, lambda n: {"problem": nuts(n), "level": "Level 2", "type": "Algebra", "solution": boxed(n)}, True),
    "MATH-500": (
        {"test": "test.jsonl"},
        lambda n: {"problem": nuts(n), "solution": boxed(n), "answer": str(n + 2), "subject": "Algebra", "level": 2, "unique_id": "a"},
        True,
    ),
    "SVAMP": (
        BOTH,
        lambda n: {"ID": f"chal-{n}", "Body": USER.format(n), "Question": "How many has she?", "Equation": f"( {n}.0 + 2.0 )",
                   "Answer": f"{n + 2}.0", "Type": "Addition"},
        False,
    ),
    "ASDiv": (
        TEST,
        lambda n: {"body": USER.format(n), "question": "How many has she?", "solution_type": "Addition",
                   "answer": f"{n + 2} (nuts)", "formula": f"{n}+2={n + 2}"},
        False,
    ),
    "MAWPS": (
        TRAIN,
        lambda n: {"Question": "Ann has N_00 nuts and finds N_01. How many has she?", "Numbers": f"{n}.0 2.0",
                   "Equation": "+ N_00 N_01", "Answer": float(n + 2)},
        False,
    ),
    "MAWPS, as first published": (
        {"train": "train.json"},
        lambda n: {"iIndex": n, "sQuestion": nuts(n), "lEquations": [f"X={n}+2"], "lSolutions": [float(n + 2)]}, False),
    "AQuA": (
        {"train": "train.json.gz", "validation": "dev.tok.jsonl", "test": "test.jsonl"},
        lambda n: {"question": nuts(n), "options": ["A)1", f"B){n + 2}", "C)9999", "D)none", "E)0"], "rationale": boxed(n), "correct": "B"},
        True,
    ),
    "DeepScaleR": ({"train": "train.json"}, lambda n: {"problem": nuts(n), "answer": str(n + 2), "solution": boxed(n)}, True),
    "DAPO-17k": (
        TRAIN,
        lambda n: rewarded(n, reward_model={"ground_truth": str(n + 2), "style": "rule"}, prompt=nuts(n), solution=str(n + 2)), False),
    "ORZ": (
        {"train": "train.json"},
        lambda n: [{"from": "human", "value": nuts(n)}, {"from": "assistant", "ground_truth": {"value": str(n + 2)}}], False),
    "Skywork-OR1": (
        TRAIN,
        lambda n: rewarded(n, reward_model={"ground_truth": json.dumps([str(n + 2)]), "style": "rule"},
                           extra_info={"index": n, "model_difficulty": {"DeepSeek-R1-Distill-Qwen-7B": 3}}),
        False,
    ),
    "Big-Math": (
        TRAIN,
        lambda n: {"problem": nuts(n), "answer": str(n + 2), "source": "math", "domain": ["Algebra"], "llama8b_solve_rate": 0.5},
        False,
    ),
    "NuminaMath 1.5": (
        TRAIN,
        lambda n: {"problem": nuts(n), "solution": boxed(n), "answer": str(n + 2), "problem_type": "Algebra",
                   "question_type": "math-word-problem", "problem_is_valid": "Yes", "solution_is_valid": "Yes", "source": "amc",
                   "synthetic": False},
        True,
    ),
    "MetaMathQA": (
        {"train": "train.json"},
        lambda n: {"type": "GSM_Rephrased", "query": nuts(n), "original_question": "How many?",
                   "response": f"{steps(n)}\n#### {n + 2}\nThe answer is: {n + 2}"},
        True,
    ),
    "OpenMathInstruct-2": (
        TRAIN,
        lambda n: {"problem": nuts(n), "generated_solution": boxed(n), "expected_answer": str(n + 2), "problem_source": "augmented_gsm8k"},
        True,
    ),
    "LIMO": ({"train": "train.jsonl"}, lambda n: {"question": nuts(n), "solution": boxed(n), "answer": str(n + 2)}, True),
    "s1K": (
        TRAIN,
        lambda n: {"solution": boxed(n), "question": nuts(n), "cot_type": "math", "source_type": "math", "metadata": "{}", "cot": None,
                   "thinking_trajectories": ["…"], "attempt": str(n + 2)},
        True,
    ),
    "verl's GSM8K": (
        BOTH,
        lambda n: rewarded(
            n, prompt=chat(("user", nuts(n) + ' Let\'s think step by step and output the final answer after "####".')),
            reward_model={"ground_truth": str(n + 2), "style": "rule"},
            extra_info={"answer": GSM8K(n)["answer"], "index": n, "question": nuts(n), "split": "train"}),
        True,
    ),
    "OpenR1": (
        TRAIN,
        lambda n: {"problem": nuts(n), "solution": boxed(n), "answer": str(n + 2), "problem_type": "Algebra", "source": "olympiads",
                   "generations": [f"<think>\n{steps(n)}\n</think>\n\n\\boxed{{{n + 2}}}"], "is_reasoning_complete": [True],
                   "correctness_math_verify": [True], "correctness_llama": None},
        True,
    ),
}  # fmt: skip


def test_every_set_of_the_page_is_tried():
    assert [*BLOCKS] == [*SETS]


@pytest.mark.parametrize("name", SETS)
def test_an_entry_of_the_page_is_what_params_take(name):
    entry = {"path": "src/smolmath/data/sources/hub.py"} | BLOCKS[name]
    assert load_dataset_params({"datasets": {"x": entry}}, "x").source == entry["source"]


@pytest.mark.parametrize("name", SETS)
def test_files_of_a_sets_schema_are_read_by_the_entry_of_the_page(tmp_path, name):
    files, row, worked = SETS[name]
    how = {key: value for key, value in BLOCKS[name].items() if key in ("layout", "columns")}
    for number, file in enumerate(files.values()):
        write(tmp_path / "in" / file, [row(n) for n in range(number * ROWS, (number + 1) * ROWS)])
    recipe = Recipe(tmp_path).add("mine", tmp_path / "in", **how)
    manifest, kept, rejected = recipe.process("mine")
    assert {file: side for file, side in manifest["sides"].items() if side} == {
        file: side for side, file in files.items()
    }
    assert len(kept) >= 0.97 * ROWS * len(files), rejected
    by_choice = "choices" in BLOCKS[name].get("columns", {})
    for problem in kept:
        question, reference, reasoning = read(problem)
        n = int(re.search(r"\d+", question)[0])
        options = f"\n(A) 1\n(B) {n + 2}\n(C) 9999\n(D) none\n(E) 0" if by_choice else ""
        assert question == nuts(n) + options
        assert reference == "B" if by_choice else float(reference) == n + 2
        assert (reasoning or "").startswith(STEPS.format(n, n + 2)[:-1]) == worked, reasoning
        assert "boxed" not in (reasoning or "")
    sides, _ = recipe.split("mine")
    assert {side for side, rows in sides.items() if len(rows) == ROWS} >= {side for side in files if side != "train"}
