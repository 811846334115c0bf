"""Stage split: a dataset's problems into train, validation and test. Run alone: dvc repro split@KEY."""

import argparse
from pathlib import Path

from smolmath.data.split import split_dataset
from smolmath.params.split import SplitParams
from smolmath.running.runs import stage_run


def main(dataset: str, processed: str, out: str) -> None:
    with stage_run(f"split@{dataset}") as run:
        folder = run.out(out)
        folder.mkdir(parents=True)
        # Every dataset of the recipe is looked at: what is tested in one must not be trained on in another.
        manifest = split_dataset(
            dataset, Path(processed), folder, list(run.params["datasets"]), run.section("split", SplitParams)
        )
        print(f"{dataset}: {manifest['rows']} {manifest['rejected_by_reason'] or ''}".rstrip())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--processed", required=True)
    parser.add_argument("--out", required=True)
    main(**vars(parser.parse_args()))
