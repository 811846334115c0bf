"""Stage split: a dataset's problems into train, validation and test. Run alone: dvc repro split@KEY."""

from smolmath.data.split import HowNear, shown, split_dataset
from smolmath.params.core import lookup
from smolmath.params.process import ContaminationParams
from smolmath.params.split import SplitParams
from smolmath.running.runs import stage_run
from smolmath.running.script import Place, Word, run_script


def main(dataset: Word, processed: Place, out: Place) -> None:
    with stage_run(f"split@{dataset}") as run:
        folder = run.out(out)
        folder.mkdir(parents=True)
        # Every dataset of the recipe is looked at: what is tested in one must not be trained on in another.
        manifest = split_dataset(
            dataset,
            processed,
            folder,
            list(run.params["datasets"]),
            run.section("split", SplitParams),
            HowNear(
                run.section("process.contamination", ContaminationParams),
                lookup(run.params, "process.near_duplicates"),
            ),
        )
        print(shown(manifest))


if __name__ == "__main__":
    run_script(main)
