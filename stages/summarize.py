"""Stage summarize: every model and dataset of the recipe in one small metrics file. Run alone: dvc repro summarize."""

import argparse
import json
from pathlib import Path

from smolmath.params.evaluate import EvaluateParams
from smolmath.runs import stage_run

SHOWN = ("n", "accuracy", "accuracy_se", "mean_at_k")  # few columns: `dvc exp show` has a row's width for all of them


def main(metrics: str, out: str) -> None:
    with stage_run("summarize") as run:
        # Only what the recipe names: leftovers of another recipe never count.
        evaluate = run.section("evaluate", EvaluateParams)
        summary = {
            model: {
                dataset: {
                    name: value
                    for name, value in json.loads((Path(metrics) / model / f"{dataset}.json").read_text()).items()
                    if name in SHOWN
                }
                for dataset in evaluate.datasets
            }
            for model in evaluate.models
        }
        run.out(out).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", required=True)
    parser.add_argument("--out", required=True)
    main(**vars(parser.parse_args()))
