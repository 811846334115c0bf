"""Our evaluation beside EleutherAI's lm-evaluation-harness: same model, same problems, same rendered prompts, greedy.

    make bench-harness                                                  # the shipped base, on its own problems
    make bench-harness HARNESS="--model FOLDER --problems test.jsonl"   # a real model on GSM8K

Both sides generate with transformers in float32, without network. The harness reads answers as its gsm8k task does:
`strict-match` (what follows ####) and `flexible-extract` (the last number). Printed are how many completions are the
same, and every problem on which flexible-extract's verdict is not ours, with what each side has read and why. The
harness has an environment of its own (requirements-harness.lock).
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

from benchmarks.evaluation import ROOT, options_of, read_problems

import smolmath.kernels  # noqa: F401  # before torch
from smolmath.answers import Grade, grade
from smolmath.engines import Completion, Sampling, load_engine
from smolmath.params.core import load_section, read_params
from smolmath.params.prompt import PromptParams
from smolmath.prompts import chat_prompt
from smolmath.running.params import HardwareParams

NUMBER = r"(-?[$0-9.,]{2,})|(-?[0-9]+)"  # lm_eval/tasks/gsm8k/gsm8k-cot-zeroshot.yaml
IGNORED = [",", r"\$", r"(?s).*#### ", r"\.$"]  # likewise


def main(options: argparse.Namespace) -> int:
    problems = read_problems(options.problems, options.problem_count)
    params = read_params(ROOT / "params.yaml")
    prompt = load_section(params, "prompt", PromptParams)
    chats = [chat_prompt(problem["question"], prompt) for problem in problems]
    hardware = load_section(params, "hardware", HardwareParams).model_copy(update={"engine": "transformers"})
    engine = load_engine(options.model, dtype="float32", hardware=hardware)
    rendered = [engine.render(chat) for chat in chats]
    greedy = Sampling(0.0, 1.0, 1, options.tokens, seed=0)
    ours: list[Completion] = []
    for start in range(0, len(chats), options.batch):
        ours += [one for (one,) in engine.generate(chats[start : start + options.batch], greedy)]
    theirs = harness(options, problems, rendered, engine.device)
    verdicts = [
        grade(one.text, problem["reference"], finished=one.finish_reason == "stop", tags=prompt.tags)
        for one, problem in zip(ours, problems, strict=True)
    ]
    same = [one.text.strip() == other["text"].strip() for one, other in zip(ours, theirs, strict=True)]
    print(f"\n{len(problems)} problems, at most {options.tokens} tokens: {sum(same)} completions are the same\n")
    print("| right | |\n|---|---|")
    print(f"| smolmath, any way of answering | {sum(verdict.correct for verdict in verdicts)} |")
    print(f"| smolmath, in the asked format | {sum(verdict.strict for verdict in verdicts)} |")
    for name in ("strict-match", "flexible-extract"):
        print(f"| harness, {name} | {sum(other[name]['right'] for other in theirs)} |")
    report(problems, verdicts, ours, theirs)
    return 0


def report(
    problems: list[dict[str, str]], verdicts: list[Grade], ours: list[Completion], theirs: list[dict[str, Any]]
) -> None:
    """Every difference from flexible-extract, by its cause."""
    causes: Counter[str] = Counter()
    rows = []
    for problem, verdict, one, other in zip(problems, verdicts, ours, theirs, strict=True):
        read = other["flexible-extract"]
        if verdict.correct == read["right"]:
            continue
        causes[cause(verdict, one, read)] += 1
        row = (problem["reference"], verdict.extracted, "right" if verdict.correct else "wrong", read["answer"],
               "right" if read["right"] else "wrong", cause(verdict, one, read))  # fmt: skip
        rows.append("| " + " | ".join(str(cell).replace("\n", " ") for cell in row) + " |")
    if not rows:
        print("\nNo verdict of ours differs from flexible-extract's.")
        return
    print("\n| reference | we read | | the harness reads | | because |\n|---|---|---|---|---|---|")
    print("\n".join(rows))
    print("\n" + "; ".join(f"{count} × {name}" for name, count in causes.most_common()))


def cause(verdict: Grade, one: Completion, read: dict[str, Any]) -> str:
    """Why a verdict differs from flexible-extract's."""
    if read["right"] and one.finish_reason == "length":
        return "cut off before it answered: a number in passing is no answer to us"
    if read["right"]:
        return f"the last number is right, the answer given ({verdict.strategy or 'none'}) is not"
    return f"the answer given ({verdict.strategy}) is right, a later number is not, or it is no plain number"


def harness(
    options: argparse.Namespace, problems: list[dict[str, str]], rendered: list[str], device: str
) -> list[dict[str, Any]]:
    """Per problem: its completion, and per filter what was read and whether it is right."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory(prefix="smolmath-harness-") as scratch:
        rows = [
            {"prompt": text, "answer": problem["reference"]} for text, problem in zip(rendered, problems, strict=True)
        ]
        data = Path(scratch, "problems.jsonl")
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        task = task_config(data, options.tokens)
        model = HFLM(pretrained=str(options.model), dtype="float32", batch_size=options.batch, device=device)
        manager = TaskManager(include_defaults=False)
        found = simple_evaluate(model, tasks=[task], task_manager=manager, log_samples=True, bootstrap_iters=0)
    samples: list[dict[str, Any]] = [{} for _ in problems]
    for sample in found["samples"]["smolmath"]:
        noted = samples[sample["doc_id"]]
        noted["text"] = sample["resps"][0][0]
        noted[sample["filter"]] = {"answer": sample["filtered_resps"][0], "right": sample["exact_match"] == 1.0}
    return samples


def task_config(data: Path, tokens: int) -> dict[str, Any]:
    """The harness's gsm8k task, with prompts that are rendered already and without network."""
    filters = {
        "strict-match": {"regex_pattern": r"#### (\-?[0-9\.\,]+)"},
        "flexible-extract": {"regex_pattern": NUMBER, "group_select": -1},
    }
    return {
        "task": "smolmath",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(data.parent)},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answer}}",
        "target_delimiter": "",
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": tokens},
        "filter_list": [
            {"name": name, "filter": [{"function": "regex", **found}, {"function": "take_first"}]}
            for name, found in filters.items()
        ],
        "metric_list": [
            {
                "metric": "exact_match",
                "aggregation": "mean",
                "higher_is_better": True,
                "ignore_case": True,
                "ignore_punctuation": False,
                "regexes_to_ignore": IGNORED,
            }
        ],
    }


if __name__ == "__main__":
    sys.exit(main(options_of(__doc__, batch=16).parse_args()))
