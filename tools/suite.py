"""The recipe `benchmarks` on a machine without a network: small sets in the benchmarks' own schemas, and params.yaml.

    python tools/suite.py --gsm8k FOLDER --model FOLDER    # in a project; then: smolmath check && dvc repro summarize

GSM8K is the real one (train.jsonl and test.jsonl of that folder), and stands there several times, asked otherwise each
time: what a choice is worth (docs/published-numbers.md) shows in the report's table by benchmark. The other sets are
made by reasoning-gym, and accuracies on them say nothing of the benchmarks whose names and columns they have. Of three
of them some problems are planted in GSM8K's train side: `split` must reject each, and say to which set it was lost.
"""

import argparse
import copy
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from smolmath.data.sources.reasoning_gym import WRONG_TEMPLATES, reasoning_gym

ROOT = Path(__file__).resolve().parent.parent
OUT = Path("data-of-mine/suite")
VARIANTS, PLANTED = 3, 5
CHOICES = {  # another way of asking GSM8K -> what is otherwise
    "gsm8k-4-shots": {"shots": 4},
    "gsm8k-no-system": {"system": ""},
    "gsm8k-short": {"max_completion_tokens": 128},
}
Rows = list[dict[str, Any]]


def main(options: argparse.Namespace) -> None:
    sets = made(options.problems)
    real = {side: read(options.gsm8k / f"{side}.jsonl") for side in ("train", "test")}
    leaks = [
        {"question": row.get("question") or row["problem"], "answer": f"#### {row['answer']}"}
        for name in ("gsm-plus", "math500", "aime25")
        for row in sets[name][:PLANTED]
    ]
    write(OUT / "gsm8k" / "train.jsonl", real["train"][: options.train] + leaks)
    write(OUT / "gsm8k" / "test.jsonl", real["test"][: options.problems])
    for name, rows in sets.items():
        write(OUT / f"{name}.jsonl", rows)
        print(f"{name}: {len(rows)} problems")
    print(f"planted in GSM8K's train side: {PLANTED} problems each of gsm-plus, math500 and aime25")
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params(options), file)


def params(options: argparse.Namespace) -> dict[str, Any]:
    """gsm8k-smollm2's, over the suite of `benchmarks`: its columns and limits, with files for the hub."""
    yaml = YAML(typ="safe")
    found, suite = (
        yaml.load((ROOT / "recipes" / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in ("gsm8k-smollm2", "benchmarks")
    )
    gsm8k = {"source": "files", "path": str(OUT / "gsm8k"), "sides": {"train": "train.jsonl", "test": "test.jsonl"}}
    found["datasets"] = {"gsm8k": gsm8k} | {name: copy.deepcopy(gsm8k) for name in CHOICES}
    for name, entry in suite["datasets"].items():
        if entry.get("use") == "test":
            columns = {"columns": entry["columns"]} if "columns" in entry else {}
            found["datasets"][name] = {"source": "files", "path": str(OUT / f"{name}.jsonl"), "use": "test", **columns}
    found["process"]["near_duplicates"] = 0.8
    found["model"] = {"source": "files", "path": str(options.model), "dtype": options.dtype}
    sampling = {"problems": options.problems, "samples": options.samples, "max_completion_tokens": options.tokens}
    found["evaluate"] |= {"models": ["base"], "datasets": [*found["datasets"]], "per_dataset": CHOICES}
    found["evaluate"]["sampling"] |= sampling
    found["hardware"] |= {"engine": options.engine}
    return dict(found)


def made(count: int) -> dict[str, Rows]:
    """Set -> its rows, as many as `count`, with the columns of the benchmark of that name."""
    stories = symbolic()
    groups = defaultdict[int, Rows](list)
    for template, row in islice(stories, 40 * count):
        groups[template].append(row)
    families = [group[: VARIANTS + 1] for group in groups.values() if len(group) > VARIANTS]
    varied = [(row, seed) for seed, *variants in families for row in variants][:count]
    told = [in_parts(row) for _, row in islice(stories, 2 * count)]
    primes, multiples, equations, decimals = (
        list(enumerate(task(name, count)))
        for name in ("count_primes", "lcm", "simple_equations", "decimal_arithmetic")
    )
    return {
        "gsm-plus": [
            {**row, "perturbation_type": "numerical variation"} | {f"seed_{key}": value for key, value in seed.items()}
            for row, seed in varied
        ],
        "svamp": [
            {"ID": f"chal-{i}", "Body": body, "Question": question, "Equation": "", "Answer": f"{answer}.0"}
            for i, (body, question, answer) in enumerate(told[:count])
        ],
        "asdiv": [
            {"body": body, "question": question, "answer": f"{answer} (things)", "formula": ""}
            for body, question, answer in told[count:]
        ],
        "math500": [
            {"problem": question, "solution": f"It is $\\boxed{{{answer}}}$.", "answer": answer, "level": level}
            | {"subject": name, "unique_id": f"test/{name}/{i}.json"}
            for i, (name, level, question, answer) in enumerate(leveled(count))
        ],
        "aime24": [{"id": i, "problem": asked, "solution": "", "answer": a} for i, (asked, a) in primes],
        "aime25": [{"id": str(i), "problem": asked, "answer": a} for i, (asked, a) in multiples],
        "amc23": [{"id": i, "question": asked, "answer": float(a)} for i, (asked, a) in equations],
        "olympiad": [{"question": asked, "final_answer": [a], "subfield": "Algebra"} for asked, a in products(count)],
        "minerva": [{"question": asked, "answer": a} for _, (asked, a) in decimals],
    }


def symbolic() -> Iterator[tuple[int, dict[str, Any]]]:
    """(template, word problem) of reasoning-gym, without templates that are wrong."""
    found = reasoning_gym.create_dataset("gsm_symbolic", seed=7, size=100_000)
    for i, template in enumerate(found.task_indices):
        if template not in WRONG_TEMPLATES:
            row = found[i]
            steps = str(row["metadata"]["answer_cot"]).split("\n####")[0]
            asked = row["question"].split("Give the result")[0].strip()
            yield template, {"question": asked, "solution": steps, "answer": str(row["answer"])}


def in_parts(row: dict[str, Any]) -> tuple[str, str, str]:
    """(what a story tells, what it asks, the answer)."""
    *body, question = re.split(r"(?<=[.!?]) +", row["question"])
    return " ".join(body) or question, question, row["answer"]


def task(name: str, count: int, seed: int = 11) -> list[tuple[str, str]]:
    rows = reasoning_gym.create_dataset(name, seed=seed, size=count)
    return [(row["question"].split(" Give only")[0].strip(), str(row["answer"])) for row in rows]


def leveled(count: int) -> list[tuple[str, int, str, str]]:
    """(subject, level, question, answer): five tasks, each a level."""
    tasks = ("leg_counting", "gcd", "lcm", "fraction_simplification", "simple_equations")
    return [
        (name, level, question, answer)
        for level, name in enumerate(tasks, start=1)
        for question, answer in task(name, -(-count // len(tasks)), seed=5000)
    ]


def products(count: int) -> list[tuple[str, str]]:
    """Two brackets multiplied out: answers that are formulas."""
    pairs = [(a, b) for a in range(2, 20) for b in range(a + 1, 20)][:count]
    return [(f"Expand $(x+{a})(x+{b})$.", f"$x^2+{a + b}x+{a * b}$") for a, b in pairs]


def read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gsm8k", type=Path, required=True, help="folder with train.jsonl and test.jsonl")
    parser.add_argument("--model", type=Path, required=True, help="model directory")
    parser.add_argument("--problems", type=int, default=60, help="of each set")
    parser.add_argument("--train", type=int, default=500, help="rows of GSM8K's train side")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256, help="limit of a completion")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="vllm")
    main(parser.parse_args())
