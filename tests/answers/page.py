"""docs/grading.md, written from the rules below and the labelled table: python -m tests.answers.page"""

from collections import Counter
from pathlib import Path

from tests.answers.cases import CASES
from tests.answers.respellings import KNOWN
from tests.answers.test_labelled import MISSED, ROWS

from smolmath.answers.extract import STRATEGIES

CHANGES = """
## What has changed

Verdicts of earlier versions, and what metrics from before would be by the rules above. Grade again what is compared:
`smolmath grade FILE --label correct` counts in a table how many verdicts differ.

- Rules 12 and 13 (unfinished arithmetic, copied formulas, sprays) made right verdicts wrong. Models that write worked
  text lose nothing; a policy that was rewarded for such answers does.
- Rules 14 to 19 made wrong verdicts right: OpenAI's GSM8K solutions, which end in `A: 18`, outer braces, `\\mathbf`,
  systems, points, commas before three digits, quantities such as `|z| = 5`, towers of powers, `an + b`.
- The judge reads an answer as it is written. It used to lower the case of letters, take letters for units, keep only
  the last equation, and solve equations: `\\frac{N!}{n!}` was `\\frac{n!}{N!}`.
- Of the demo's 7,680 completions 13 changed, all from wrong to right: `<answer> 9 <answer> </answer>`, where the second tag
  was meant to close the first.
- A solution that is worked within the answer block and ends in a box is read by its box, as one that ends in `####` was. Of
  150 answers of Qwen2.5-Coder-0.5B to GSM8K, read before and after all of these rules, that one verdict changed.
- The data filter follows: references with a command between digits, a tower or two-letter products are kept now.
"""
CONTESTED = [row["contested"] for row in ROWS if "contested" in row]
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
        "The option's value alone is not seen as the letter: the grader doesn't see the problem. Where the problem's text "
        "is given (`question=`) and lists options, the letter and the text of one option are the same answer.",
    ),
    "10-hostile": (
        "Every pair of strings gets a verdict, quickly",
        "Nothing is evaluated as code. Where the process that compares formulas dies, hangs or runs out of CPU time, the "
        "pair is asked once more; if there is still no verdict it counts as not equal, is counted and logged, and is not "
        "remembered.",
    ),
    "11-to-the-grader": ("Text that speaks to the grader changes nothing", "Nor does the name of a reference."),
    "12-unfinished": (
        "Unfinished arithmetic is no answer",
        "To a plain number the answer is a literal: an integer, decimal, fraction, percentage, mixed or scientific number, "
        "one power or one root, with its unit. Where the problem's text is given (`question=`), a formula that is copied "
        "from it is wrong unless it is written like the reference, and “5 dozen” is 5 where dozens are asked for.",
    ),
    "13-sprays": (
        "A spray is a spray, labelled or not",
        "Different values in boxes or blocks side by side are several answers: with a label, a number, a hedge or nothing "
        "between them. A correction is none, and neither are the boxes of the steps of one solution.",
    ),
    "14-letters": (
        "Letters mean what they are",
        "Case counts; a letter behind an expression is a unit only where it is one; short words of letters are products; "
        "names of points keep their order.",
    ),
    "15-equations": (
        "Equations are equal as equations",
        "One is a constant multiple of the other, or their members are equal; nothing is solved. Where one side is a "
        "value, a name, a quantity or a chain states its last member, unless another contradicts it.",
    ),
    "16-names": (
        "Names that only number the values are no names",
        "Systems, points and lists of pairs fit one another.",
    ),
    "17-commas": (
        "A comma before three digits is read both ways",
        "Where a bracket, a space or a list makes it doubtful; one fitting reading is enough.",
    ),
    "18-last-lines": ("The last line “A: 18” is a statement", "“Ans: 18” and “**Answer** 18” too."),
    "19-spellings": ("Spacing, wrapping and style are no difference", "Nor are other names of one function."),
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


def summary(reasons: list[str]) -> str:
    """How often each reason stands there."""
    return "; ".join(f"{count} by {reason}" for reason, count in Counter(reasons).most_common())


def page() -> str:
    """The whole page."""
    parts = [
        "# What the grader decides",
        "",
        "`smolmath.answers.grade(completion, reference, question=…)` says what a careful examiner would say who sees only these. "
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
        "",
        "Of the respellings and near misses of real references in tests/answers/test_respelt.py these classes are judged "
        "wrongly:",
        "",
        *(f"- {text}" for text in KNOWN),
        "",
        "## Labels that were contested",
        "",
        f"{len(CONTESTED)} completions of the table were labelled right until rules 12 and 13 were written: "
        f"{summary(CONTESTED)}. Their rows say so in the column `contested`.",
        "",
        *CHANGES.strip().split("\n"),
    ]
    return "\n".join(parts) + "\n"


def code(text: str) -> str:
    """A table cell: the text as code on one line, its line ends shown as ⏎."""
    shown = text.replace("\n", " ⏎ ").replace("|", "\\|")
    fence = "``" if "`" in shown else "`"
    return f"{fence}{shown}{fence}" if shown.strip() else "(empty)"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
