"""Stage check: refuse a bad params.yaml before any work. Run alone: dvc repro check."""

import json

from smolmath.errors import StageError
from smolmath.params.evaluate import EvaluateParams
from smolmath.running.check import check_file, warnings
from smolmath.running.devices import allowed_gpus
from smolmath.running.launch.config import checked_config
from smolmath.running.params import HardwareParams
from smolmath.running.runs import stage_run
from smolmath.running.script import Place, run_script


def main(out: Place, sampling: Place) -> None:
    with stage_run("check") as run:
        if mistakes := check_file():
            raise StageError("params.yaml:\n  " + "\n  ".join(mistakes))
        for warning in warnings(run.params):
            print(f"warning: {warning}")
        hardware = run.section("hardware", HardwareParams)
        if hardware.accelerate is not None:  # before hours of work, whose end would be refused
            allowed_gpus(hardware, checked_config(hardware).per_machine)
        # A constant: what follows depends on the file's own keys, not on this stage having run again.
        run.out(out).write_text("params.yaml was checked before anything that depends on this file ran.\n")
        # A file a dataset: `generate` depends on its own, so that an edit of one of them reruns that one alone.
        evaluate = run.section("evaluate", EvaluateParams)
        folder = run.out(sampling)
        folder.mkdir()
        for dataset in evaluate.datasets:
            own = evaluate.per_dataset.get(dataset, {})
            (folder / f"{dataset}.json").write_text(json.dumps(own, sort_keys=True) + "\n")


if __name__ == "__main__":
    run_script(main)
