r"""Our verdicts beside math-verify's own loop, over the very same completions: those that the pipeline has made.

    python benchmarks/disagreements.py base math500     # after `dvc repro` of a recipe that evaluates base on math500

math-verify reads the greedy completions as its own MATH-500 task does (math_verify/tasks.py): formulas, then plain
numbers, the last that an anchor or nothing stands before. Two things are otherwise than there: the reference stands
between dollars, without which \frac{1}{2} is no formula to it; and the prompt is ours, which asks for tags.
Printed are both accuracies with their paired difference, and every problem on which the verdicts differ.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from math_verify.metric import math_metric
from math_verify.parser import ExprExtractionConfig, LatexExtractionConfig

from smolmath.evaluation.paired import compare_verdicts
from smolmath.evaluation.verdicts import VERDICTS
from smolmath.records import COMPLETIONS, PROBLEMS, read_table
from smolmath.studies.wording import p_text, signed

Row = dict[str, Any]


def main(options: argparse.Namespace) -> int:
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # of each completion without an answer it says so
    ours, theirs, rows = compared(options.model, options.dataset)
    (found,) = compare_verdicts(theirs, ours)
    print(f"{options.model} on {options.dataset}, {found.n} problems, one greedy completion each\n")
    print("| right | |\n|---|---|")
    print(f"| smolmath, any way of answering | {sum(row['correct'] for row in ours)} |")
    print(f"| smolmath, in the asked format | {sum(row['strict'] for row in ours)} |")
    print(f"| math-verify | {sum(row['correct'] for row in theirs)} |")
    value, low, high = (signed(100 * x) for x in (found.difference.value, found.difference.low, found.difference.high))
    print(f"\nsmolmath − math-verify: {value} points, 95 % {low} to {high}, {p_text(found.p)}")
    if not rows:
        print("\nNo verdict differs.")
        return 0
    print(f"\nVerdicts that differ: {len(rows)}\n")
    print("| problem | reference | we read | | math-verify reads | | |\n" + "|---" * 7 + "|")
    for row in rows:
        print("| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in row) + " |")
    return 0


def compared(model: str, dataset: str) -> tuple[list[Row], list[Row], list[tuple[Any, ...]]]:
    """(our greedy verdicts, math-verify's on the same completions, a row for each that differs)."""
    test = Path("data/split", dataset, "test.parquet")
    completions = Path("results/completions", model, f"{dataset}.parquet")
    verdicts = Path("results/verdicts", model, f"{dataset}.parquet")
    references = {problem["id"]: problem["reference_answer"] for problem in read_table(test, PROBLEMS)}
    written = {row["problem_id"]: row for row in read_table(completions, COMPLETIONS) if row["sample"] == 0}
    judge = math_metric(
        gold_extraction_target=(LatexExtractionConfig(boxed_match_priority=0),),
        pred_extraction_target=(LatexExtractionConfig(), ExprExtractionConfig()),
    )
    ours = [row for row in read_table(verdicts, VERDICTS) if row["sample"] == 0]
    theirs, differing = [], []
    for row in ours:
        problem, completion = row["problem_id"], written[row["problem_id"]]
        score, read = judge([f"${references[problem]}$"], [completion["completion"]])
        theirs.append({"problem_id": problem, "sample": 0, "correct": score == 1.0})
        if theirs[-1]["correct"] != row["correct"]:
            said = ["right" if right else "wrong" for right in (row["correct"], theirs[-1]["correct"])]
            they_read = read[1][0] if read and read[1] else None
            cut = "cut off" if completion["finish_reason"] == "length" else ""
            differing.append((problem, references[problem], row["predicted_answer"], said[0], they_read, said[1], cut))
    return ours, theirs, differing


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="base or a phase")
    parser.add_argument("dataset", help="one that it was evaluated on")
    sys.exit(main(parser.parse_args()))
