"""Stage process: raw rows into problems, each kept, rejected with its reason, or counted as not selected.

Run alone: dvc repro process@KEY.
"""

import time

from smolmath.data.process import process_dataset, shown
from smolmath.params.datasets import load_dataset_params
from smolmath.params.process import ProcessParams
from smolmath.running.params import HardwareParams
from smolmath.running.runs import stage_run
from smolmath.running.script import Place, Word, run_script


def main(dataset: Word, raw: Place, out: Place) -> None:
    with stage_run(f"process@{dataset}") as run:
        folder = run.out(out)
        folder.mkdir(parents=True)
        params = run.section("process", ProcessParams)
        hardware = run.section("hardware", HardwareParams)
        against = params.contamination.dataset
        started = time.monotonic()
        manifest = process_dataset(
            dataset,
            raw,
            folder,
            load_dataset_params(run.params, dataset),
            params,
            workers=hardware.workers,
            on=hardware.data,
            state=run.state,
            other=None if against == dataset else (raw.parent / against, load_dataset_params(run.params, against)),
            seconds=run.facts.setdefault("seconds_by_activity", {}),
        )
        run.facts["rows_per_second"] = round(manifest["rows"]["raw"] / (time.monotonic() - started))
        print(shown(manifest, folder))


if __name__ == "__main__":
    run_script(main)
