"""The computed parts of a page about a real run: docs/runs/NAME.md, and the run's files in docs/runs/NAME.

    python tools/run_page.py qwen-coder ../elsewhere/smolmath      # a checkout in which `dvc repro` has run

Of that checkout: params.yaml (without the places of data and model on that machine), the curve of each phase, metrics
and journal entries of what was trained and evaluated. The page's tables stand between marks; its words are by hand.
"""

import argparse
import json
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
from ruamel.yaml import YAML

from smolmath.evaluation.paired import compare_verdicts
from smolmath.studies.report.collect import read_curve

RUNS = Path(__file__).resolve().parent.parent / "docs" / "runs"
MEASURES = {  # metrics/eval -> words, and whether it is a share
    "accuracy": ("right", True),
    "strict_accuracy": ("right, in the asked format", True),
    "format_rate": ("in the asked format", True),
    "truncated": ("cut off", True),
    "tokens": ("tokens", False),
}
CURVE = (
    *("reward", "reward_correctness", "reward_soft_format", "reward_xml_count"),
    *("completion_tokens", "clipped_share", "entropy", "grad_norm"),
)
WINDOW = 5  # steps that are averaged at both ends of a curve
NOTHING = "(not made yet)"
EXAMPLES, LONGEST = 2, 900  # completions of each kind, and how many characters of one are shown


def main(name: str, project: Path) -> None:
    """Copy the run's files and fill the page. What has not been made yet is left out."""
    recipe = YAML().load((project / "params.yaml").read_text(encoding="utf-8"))
    folder = RUNS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _without_this_machine(recipe, folder / "params.yaml")
    for path in sorted([*project.glob("metrics/train/*.csv"), *project.glob("metrics/eval/*/*.json")]):
        if path.parent.name == "train" and path.stem not in recipe["phases"]:
            continue
        if path.parent.name != "train" and path.stem not in recipe["evaluate"]["datasets"]:
            continue
        target = folder / "-".join(path.relative_to(project / "metrics").with_suffix("").parts[-2:])
        shutil.copyfile(path, target.with_suffix(path.suffix))
    known = {*recipe["phases"], *recipe["evaluate"]["datasets"]}
    for entry in sorted(project.glob("journal/*/*.json")):
        stage, _, of = entry.parent.name.partition("@")
        if stage in ("train", "generate") and known & set(of.split("-")):
            shutil.copyfile(entry, folder / f"journal-{stage}-{of}.json")
    page = folder.with_suffix(".md")
    text = page.read_text(encoding="utf-8")
    for mark, part in (("results", results), ("curve", curve), ("examples", examples)):
        begin, end = f"<!-- {mark}: python tools/run_page.py -->", f"<!-- end of {mark} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{part(project, recipe)}\n\n{end}{rest.partition(end)[2]}"
    page.write_text(text, encoding="utf-8")


def _without_this_machine(params: Any, out: Path) -> None:
    """Params with the sources of the recipe instead of this machine's folders."""
    for section in [*params["datasets"].values(), params["model"]]:
        if section["source"] == "files":
            section["path"] = f"FOLDER/{Path(section['path']).name}"
    with out.open("w", encoding="utf-8") as file:
        YAML().dump(params, file)


def results(project: Path, params: Any) -> str:
    """Every evaluated model side by side, and each phase against its init and the base, problem by problem."""
    rows = ["| model | dataset | n | " + " | ".join(words for words, _ in MEASURES.values()) + " |"]
    rows.append("|---" * (3 + len(MEASURES)) + "|")
    verdicts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for model in params["evaluate"]["models"]:
        for dataset in params["evaluate"]["datasets"]:
            path = project / "metrics" / "eval" / model / f"{dataset}.json"
            if not path.is_file():
                continue
            found = json.loads(path.read_text(encoding="utf-8"))
            cells = [_cell(found, key, share) for key, (_, share) in MEASURES.items()]
            rows.append(f"| `{model}` | {dataset} | {found['n']} | {' | '.join(cells)} |")
            table = project / "results" / "verdicts" / model / f"{dataset}.parquet"
            verdicts[model, dataset] = pq.read_table(table).to_pylist()
    lines = []
    pairs = [
        (init, name) for name, phase in params["phases"].items() for init in dict.fromkeys((phase["init"], "base"))
    ]
    for init, name in pairs:
        for dataset in params["evaluate"]["datasets"]:
            pair = [verdicts.get((model, dataset)) for model in (init, name)]
            for paired in compare_verdicts(*pair) if all(pair) else ():
                low, high = (100 * bound for bound in (paired.difference.low, paired.difference.high))
                lines.append(
                    f"`{name}` against `{init}` on {dataset}, {paired.measure}: "
                    f"{100 * (paired.after - paired.before):+.1f} points (95 %: {low:+.1f} to {high:+.1f}), "
                    f"p = {paired.p:.2g}; {paired.gained} problems gained, {paired.lost} lost."
                )
    return "\n".join([*rows, "", *lines]).strip() if verdicts else NOTHING


def _cell(found: dict[str, Any], key: str, share: bool) -> str:
    value, error = found[key], found[f"{key}_se"]
    return f"{100 * value:.1f} ± {100 * error:.1f} %" if share else f"{value:.0f} ± {error:.0f}"


def curve(project: Path, params: Any) -> str:
    """Of each phase: means of its first and of its last steps."""
    rows = [
        "| phase | steps | " + " | ".join(f"`{column}`" for column in CURVE) + " |",
        "|---" * (2 + len(CURVE)) + "|",
    ]
    for name in params["phases"]:
        found = read_curve(project / "metrics" / "train" / f"{name}.csv")
        if found is None:
            continue
        cells = []
        for column in CURVE:
            values = [value for value in found.columns.get(column, []) if value is not None]
            ends = (fmean(values[:WINDOW]), fmean(values[-WINDOW:])) if values else None
            cells.append(" → ".join(f"{end:.3g}" for end in ends) if ends else "")
        rows.append(f"| `{name}` | {len(found.steps)} | {' | '.join(cells)} |")
    return "\n".join(rows) if len(rows) > 2 else NOTHING


def examples(project: Path, params: Any) -> str:
    """Completions of the first problems that all phases gained, and of those that they lost, before and after."""
    name = list(params["phases"])[-1]
    dataset = params["evaluate"]["datasets"][0]
    tables = {}
    for model in ("base", name):
        path = project / "results" / "verdicts" / model / f"{dataset}.parquet"
        if not path.is_file():
            return NOTHING
        rows = pq.read_table(path).to_pylist()
        texts = pq.read_table(project / "results" / "completions" / model / f"{dataset}.parquet").to_pylist()
        said = {row["problem_id"]: row["completion"] for row in texts if row["sample"] == 0}
        tables[model] = {
            row["problem_id"]: (row["correct"], said[row["problem_id"]]) for row in rows if row["sample"] == 0
        }
    problems = pq.read_table(project / "data" / "split" / dataset / "test.parquet").to_pylist()
    asked = {problem["id"]: problem for problem in problems}
    before, after = tables["base"], tables[name]
    parts = []
    for what, wanted in (("Gained", (False, True)), ("Lost", (True, False))):
        changed = [p for p in before if (before[p][0], after[p][0]) == wanted]
        for problem in changed[:EXAMPLES]:
            question, answer = asked[problem]["question"], asked[problem]["reference_answer"]
            parts.append(f"**{what}.** {question} (reference: {answer})\n")
            parts += [f"`{model}`:\n\n````\n{_short(said[problem][1])}\n````\n" for model, said in tables.items()]
    return "\n".join(parts).strip()


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("project", type=Path)
    options = parser.parse_args()
    main(options.name, options.project)
