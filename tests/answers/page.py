"""docs/grading.md, written from the rules below and the labelled table: python -m tests.answers.page"""

from pathlib import Path

from tests.answers.cases import CASES
from tests.answers.test_labelled import MISSED

from smolmath.answers.extract import STRATEGIES

PAGE = Path(__file__).parent.parent.parent / "docs" / "grading.md"
SHOWN = 5  # examples of each verdict per rule
RULES = {
    "1-commitment": (
        "The last commitment counts",
        "A complete answer block yields only to a later block, a withdrawal, or an explicit “final answer is X” after "
        "it. Without a block: the last box, `####` line or “the answer is …”, then named values, a closing formula, the "
        "last number of the closing sentence.",
    ),
    "2-several": (
        "Several different values for one answer are wrong",
        "Whichever comes last. Values joined by commas or “and” are one joint answer, right against exactly that set. "
        "The same value twice is fine.",
    ),
    "3-withdrawn": ("Withdrawn is withdrawn", "A later correction in the same form is what counts."),
    "4-rescue": (
        "Nothing is rescued from the reasoning",
        "A block without a value is wrong even if the reference stands in the reasoning. A finished completion whose "
        "closing sentence states the value is right, though not strictly; one that was cut off is wrong.",
    ),
    "5-values": (
        "Values, not spellings",
        "Fractions, decimals, percentages, roots, Unicode digits, thousands separators, currency and units around one "
        "number, `x = 4` for 4.",
    ),
    "6-tolerance": (
        "Tolerance is tight",
        "A decimal equals an exact value at a relative 1e-13; a decimal reference takes what rounds to it at its places. "
        "Integers are exact at any length.",
    ),
    "7-order": (
        "Lists and sets have no order; tuples, intervals, matrices and named values do",
        "A part or a superset of the wanted values is wrong.",
    ),
    "8-not-numbers": ("Not every text with a number in it is that number", "NaN equals nothing."),
    "9-choice": (
        "Multiple choice wants the letter",
        "The option's value alone is not seen as the letter: the grader doesn't see the problem.",
    ),
    "10-hostile": (
        "Every pair of strings gets a verdict, quickly",
        "Nothing is evaluated as code, and text that speaks to the grader changes nothing.",
    ),
}


FOUND = {
    "answer_block": "the last complete `<answer>…</answer>` or `<final_answer>…</final_answer>`",
    "open_answer_block": "`<answer>…` that is never closed, in a finished completion",
    "boxed": "the last `\\boxed{…}` or `\\fbox{…}`, with those joined to it",
    "hashes": "the last line `#### …` that is no heading",
    "the_answer_is": "“the (final) answer is …”, “Answer: …”",
    "assignments": "the closing sentence sets names to values: `v_R = 4, v_B = 10`",
    "formula": "the closing sentence's formula",
    "closing_number": "the number that the closing sentence states: behind its last equals sign, after its verb, not in a "
    "subordinate clause; several numbers are several values",
    "withdrawn": "the answer was taken back, and nothing put in its place",
}


def page() -> str:
    """The whole page."""
    parts = [
        "# What the grader decides",
        "",
        "`smolmath.answers.grade(completion, reference)` says what a careful examiner would say who sees only the two. "
        "Written by `python -m tests.answers.page` from the table that the tests run; a test fails when it is stale.",
    ]
    parts += [
        "",
        "## How an answer is found",
        "",
        "In the order of trust; `Grade.strategy` names the one that was used. Cut-off completions (`finished=False`) have "
        "only what was complete: a block, a box, a `####` line, a whole sentence “the answer is …”.",
        "",
        *(f"{number}. `{name}`: {FOUND[name]}." for number, name in enumerate(STRATEGIES, start=1)),
    ]
    for number, (rule, (title, text)) in enumerate(RULES.items(), start=1):
        rows = [row for row in CASES if row[0] == rule and len(row[1]) <= 120]
        parts += ["", f"## {number}. {title}", "", text, "", "| completion | reference | verdict |", "|---|---|---|"]
        for verdict in (True, False):
            chosen = [row for row in rows if row[3] is verdict][:SHOWN]
            parts += [f"| {code(c)} | {code(r)} | {'right' if verdict else 'wrong'} |" for _, c, r, _ in chosen]
    parts += [
        "",
        "## What it is known to miss",
        "",
        "Of about 2,200 labelled completions in tests/answers/labelled.jsonl, none that is wrong is graded right; these "
        "right ones are graded wrong:",
        "",
        *(f"- {code(text)}: {why}." for text, why in MISSED.items()),
    ]
    return "\n".join(parts) + "\n"


def code(text: str) -> str:
    """A table cell: the text as code on one line, its line ends shown as ⏎."""
    shown = text.replace("\n", " ⏎ ").replace("|", "\\|")
    fence = "``" if "`" in shown else "`"
    return f"{fence}{shown}{fence}" if shown.strip() else "(empty)"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
