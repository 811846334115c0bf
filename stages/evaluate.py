"""Stage evaluate: grade a model's completions. Generates nothing. Run alone: dvc repro evaluate@MODEL-DATASET."""

import json

from smolmath.evaluation.judging import EVALUATED_REWARDS, grade_completions
from smolmath.evaluation.metrics import evaluation_metrics
from smolmath.evaluation.verdicts import verdicts_schema
from smolmath.params.prompt import PromptParams
from smolmath.records import COMPLETIONS, read_table, write_table
from smolmath.running.params import HardwareParams, TrackingParams
from smolmath.running.runs import main_workspace, stage_run
from smolmath.running.script import Place, Word, run_script
from smolmath.running.tracking import tracked
from smolmath.running.tracking_config import evaluation_config
from smolmath.running.workers import available_cores
from smolmath.traits import problems_schema


def main(model: Word, dataset: Word, completions: Place, split: Place, verdicts: Place, metrics: Place) -> None:
    with (
        stage_run(f"evaluate@{model}-{dataset}") as run,
        tracked(
            run.section("tracking", TrackingParams),
            run_id=run.fingerprint,
            name=f"{model} on {dataset}",
            job_type="evaluate",
            phases=list(run.params["phases"]),
            config=evaluation_config(run.params, model=model, dataset=dataset, fingerprint=run.fingerprint),
            folder=main_workspace(),
        ) as tracker,
    ):
        path = split / "test.parquet"
        problems = read_table(path, problems_schema(path))
        rows = grade_completions(
            read_table(completions, COMPLETIONS),
            problems,
            run.section("prompt", PromptParams).tags,
            workers=run.section("hardware", HardwareParams).workers or available_cores(),
        )
        write_table(run.out(verdicts), rows, verdicts_schema(EVALUATED_REWARDS))
        values = evaluation_metrics(rows, {problem["id"]: problem for problem in problems})
        run.out(metrics).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        low, high = values["accuracy_low"], values["accuracy_high"]
        print(f"{model} on {dataset}: accuracy {values['accuracy']:.3f} ({low:.3f} to {high:.3f}), n = {values['n']}")
        if tracker:
            tracker.summary({name: value for name, value in values.items() if not isinstance(value, list)})


if __name__ == "__main__":
    run_script(main)
