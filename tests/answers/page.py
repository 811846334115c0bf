"""docs/grading.md, written from the rules below and the labelled table: python -m tests.answers.page"""

from pathlib import Path

from tests.answers.cases import CASES

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


def page() -> str:
    """The whole page."""
    parts = [
        "# What the grader decides",
        "",
        "`smolmath.answers.grade(completion, reference)` says what a careful examiner would say who sees only the two. "
        "Written by `python -m tests.answers.page` from the table that the tests run; a test fails when it is stale.",
    ]
    for number, (rule, (title, text)) in enumerate(RULES.items(), start=1):
        rows = [row for row in CASES if row[0] == rule and len(row[1]) <= 120]
        parts += ["", f"## {number}. {title}", "", text, "", "| completion | reference | verdict |", "|---|---|---|"]
        for verdict in (True, False):
            chosen = [row for row in rows if row[3] is verdict][:SHOWN]
            parts += [f"| {code(c)} | {code(r)} | {'right' if verdict else 'wrong'} |" for _, c, r, _ in chosen]
    return "\n".join(parts) + "\n"


def code(text: str) -> str:
    """A table cell: the text as code on one line, its line ends shown as ⏎."""
    shown = text.replace("\n", " ⏎ ").replace("|", "\\|")
    fence = "``" if "`" in shown else "`"
    return f"{fence}{shown}{fence}" if shown.strip() else "(empty)"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
