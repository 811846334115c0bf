"""Parts of docs/*.md that are computed: written between their marks by `python -m tests.pages`, held by test_docs.py."""

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from smolmath.params.core import read_params
from smolmath.rewards.grpo.rewards import DEFAULT_WEIGHTS, REWARDS
from tests.answers.page import code

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

REFERENCE = "18"
WORKED = "16 - 3 - 4 = 9\n9 * 2 = 18"
RIGHT = f"<reasoning>\n{WORKED}\n</reasoning>\n<answer>\n18\n</answer>"
# what it is -> (completion, whether it ended by itself)
COMPLETIONS = {
    "right, in the format": (RIGHT, True),
    "wrong, in the format": (RIGHT.replace("\n18\n</answer>", "\n17\n</answer>"), True),
    "right, without line breaks": (RIGHT.replace("\n", " "), True),
    "right, half of the work": ("<reasoning>\n9 * 2 = 18\n</reasoning>\n<answer>\n36/2\n</answer>", True),
    "right, ten characters behind it": (RIGHT + "\nHope it is", True),
    "right, no tags": ("She makes 18 dollars.", True),
    "two answers": ("<answer>17</answer> <answer>18</answer>", True),
    "no answer": ("I cannot say.", True),
    "cut off": ("<reasoning>\n16 - 3 - 4 = 9\n9 * 2 = 18", False),
}
BY_TEXT = [name for name in REWARDS if name not in ("cosine_length", "repetition_penalty", "overlong")]
LENGTHS = (20, 100, 160, 180, 200)  # tokens
OPTIONS: dict[str, dict[str, Any]] = {
    "cosine_length": {"max_tokens": 200, "correct": [1.0, 0.5], "wrong": [-1.0, -0.5]},
    "repetition_penalty": {"ngram_size": 2, "max_penalty": -1.0},
    "overlong": {"max_tokens": 200, "soft_tokens": 40},
}
REPEATING = ([1, 2, 3, 4, 5, 6], [1, 2, 1, 2, 3, 4], [1, 2, 1, 2, 1, 2], [1, 1, 1, 1, 1, 1])  # token ids


def rewards_by_text() -> str:
    """Every reward that reads the text, for the same completions."""
    rows = [["completion", *(f"`{name}`" for name in BY_TEXT), "classic sum"]]
    for what, (text, finished) in COMPLETIONS.items():
        values = {name: earned(name, text, finished=[finished]) for name in BY_TEXT}
        total = sum(weight * (values[name] or 0) for name, weight in DEFAULT_WEIGHTS.items())
        rows.append([f"{what}: {code(text)}", *(shown(values[name]) for name in BY_TEXT), f"**{shown(total)}**"])
    return table(rows)


def rewards_by_length() -> str:
    """The rewards that count tokens: length, then repetition."""
    right, wrong = RIGHT, COMPLETIONS["wrong, in the format"][0]
    rows = [["tokens", *map(str, LENGTHS)]]
    for name, text, what in (
        ("cosine_length", right, "cosine_length, right"),
        ("cosine_length", wrong, "cosine_length, wrong"),
        ("overlong", right, "overlong"),
    ):
        values = [earned(name, text, completion_ids=[[*range(n)]], **OPTIONS[name]) for n in LENGTHS]
        rows.append([what, *map(shown, values)])
    repeated = [["token ids", *(" ".join(map(str, ids)) for ids in REPEATING)]]
    values = [
        earned("repetition_penalty", "", completion_ids=[ids], **OPTIONS["repetition_penalty"]) for ids in REPEATING
    ]
    repeated.append(["repetition_penalty", *map(shown, values)])
    return f"{table(rows)}\n\n{table(repeated)}"


def earned(name: str, text: str, **columns: Any) -> float | None:
    columns = {"reference_answer": [REFERENCE], "reasoning": [WORKED], **columns}
    (value,) = REWARDS[name]([None], [text], **columns)
    return value


def run_numbers() -> str:
    """Of each run on the page: first 5 steps → last 5 steps, means; of the validation the first and the last."""
    columns = {
        "reward": ("reward", "{:.2f}"),
        "tokens": ("completion_tokens", "{:.0f}"),
        "cut off": ("clipped_share", "{:.0%}"),
        "no spread": ("zero_spread_groups", "{:.0%}"),
        "entropy": ("entropy", "{:.3f}"),
        "gradient": ("grad_norm", "{:.2g}"),
        "validation": ("validation_accuracy", "{:.0%}"),
    }
    rows = [["run", "steps", *columns]]
    for name, path in run_curves().items():
        with path.open(encoding="utf-8") as file:
            steps = list(csv.DictReader(file))
        cells = []
        for column, form in columns.values():
            values = [float(step[column]) for step in steps if step.get(column)]
            ends = (
                (values[0], values[-1]) if column == "validation_accuracy" else (fmean(values[:5]), fmean(values[-5:]))
            )
            cells.append(" → ".join(form.format(value).replace("%", " %") for value in ends))
        rows.append([f"`{name}`", str(len(steps)), *cells])
    return table(rows)


def run_curves() -> dict[str, Path]:
    """`good` first."""
    return {
        path.stem: path for path in sorted((DOCS / "runs").glob("*.csv"), key=lambda p: (p.stem != "good", p.stem))
    }


def recipe_values(method: str) -> str:
    """Key × recipe, of every key that a phase of this method sets anywhere."""
    phases = [
        (recipe, name, phase)
        for recipe, params in recipes()
        for name, phase in params["phases"].items()
        if phase["method"] == method
    ]
    columns: dict[tuple[tuple[str, str], ...], list[str]] = {}  # the values, and the phases that have them all
    for recipe, name, phase in phases:
        flat = {key: value for key, value in phase.items() if key in SHOWN[method]} | phase[method]
        if phase["lora"]:
            flat |= {f"lora.{key}": value for key, value in phase["lora"].items()}
        if phase["validation"]:
            flat |= {f"validation.{key}": value for key, value in phase["validation"].items()}
        cells = tuple((key, cell(value)) for key, value in flat.items())
        columns.setdefault(cells, []).append(f"`{recipe}` {name}" if many(recipe, method) else f"`{recipe}`")
    keys = list(dict.fromkeys(key for cells in columns for key, _ in cells))
    rows = [[f"`{key}`", *(dict(cells).get(key, "") for cells in columns)] for key in keys]
    return table([["key", *map(", ".join, columns.values())], *rows])


SHOWN = {
    "grpo": ("prompts_per_step", "max_prompt_tokens", "preflight", "checkpoint_steps", "sample_steps"),
    "sft": ("examples_per_step", "max_prompt_tokens", "preflight", "checkpoint_steps"),
}


def many(recipe: str, method: str) -> bool:
    params = dict(recipes())[recipe]
    return sum(phase["method"] == method for phase in params["phases"].values()) > 1


def recipes() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        yield path.stem, read_params(path)


def cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "–"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def shown(value: float | None) -> str:
    return "None" if value is None else f"{round(value, 3):g}".replace("-", "−")


def table(rows: list[list[str]]) -> str:
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "rewards.md": {"by text": rewards_by_text, "by length": rewards_by_length},
    "reading-a-run.md": {"runs": run_numbers},
    "hyperparameters.md": {"grpo": lambda: recipe_values("grpo"), "sft": lambda: recipe_values("sft")},
}


def filled(page: str) -> str:
    """The page with its computed parts written anew."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, compute in PARTS[page].items():
        marks = f"<!-- {name}: python -m tests.pages -->", f"<!-- end of {name} -->"
        assert all(text.count(mark) == 1 for mark in marks), (page, marks)
        between = re.compile(f"(?<={re.escape(marks[0])}\n).*?(?={re.escape(marks[1])})", re.DOTALL)
        part = f"\n{compute()}\n\n"
        text = between.sub(lambda _, part=part: part, text)
    return text


if __name__ == "__main__":
    for page in PARTS:
        (DOCS / page).write_text(filled(page), encoding="utf-8")
