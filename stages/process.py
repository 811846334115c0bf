"""Stage process: raw rows into problems, each kept, rejected with its reason, or counted as not selected.

Run alone: dvc repro process@KEY.
"""

import argparse
from pathlib import Path

from smolmath.params.datasets import load_dataset_params
from smolmath.params.process import ProcessParams
from smolmath.processing import process_dataset
from smolmath.records import PROBLEMS, read_table, shards
from smolmath.runs import stage_run


def main(dataset: str, raw: str, out: str) -> None:
    with stage_run(f"process@{dataset}") as run:
        folder = run.out(out)
        folder.mkdir(parents=True)
        manifest = process_dataset(
            dataset,
            Path(raw),
            folder,
            load_dataset_params(run.params, dataset),
            run.section("process", ProcessParams),
        )
        print(f"{dataset}: {manifest['rows']} {manifest['rejected_by_reason'] or ''}".rstrip())
        for problem in read_table(shards(folder)[0], PROBLEMS)[:3]:
            print(f"  {problem['id']}  {problem['question'][:90]!r} → {problem['reference_answer']!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--raw", required=True)
    parser.add_argument("--out", required=True)
    main(**vars(parser.parse_args()))
