"""Stage summarize: the recipe's results in one small metrics file, and what each phase gained and lost.

Run alone: dvc repro summarize.
"""

import json

from smolmath.evaluation.metrics import AVERAGE, averaged
from smolmath.evaluation.retention import retention, write_retention
from smolmath.evaluation.verdicts import VERDICTS
from smolmath.params.evaluate import EvaluateParams
from smolmath.records import read_table
from smolmath.running.runs import stage_run
from smolmath.running.script import Place, run_script

SHOWN = ("n", "accuracy", "accuracy_se", "mean_at_k")  # few columns: `dvc exp show` has a row's width for all of them


def main(metrics: Place, verdicts: Place, summary: Place, retained: Place) -> None:
    with stage_run("summarize") as run:
        # Only what the recipe names: leftovers of another recipe never count.
        evaluate = run.section("evaluate", EvaluateParams)
        found = {
            model: {
                dataset: json.loads((metrics / model / f"{dataset}.json").read_text()) for dataset in evaluate.datasets
            }
            for model in evaluate.models
        }
        shown = {
            model: {
                dataset: {name: value for name, value in values.items() if name in SHOWN}
                for dataset, values in of_datasets.items()
            }
            for model, of_datasets in found.items()
        }
        for model, of_datasets in found.items():
            if average := averaged(of_datasets):
                shown[model][AVERAGE] = average
        run.out(summary).write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
        cells = retention(
            evaluate.models,
            evaluate.datasets,
            {name: phase["init"] for name, phase in run.params["phases"].items()},
            lambda model, dataset: read_table(verdicts / model / f"{dataset}.parquet", VERDICTS),
        )
        write_retention(run.out(retained), cells)


if __name__ == "__main__":
    run_script(main)
