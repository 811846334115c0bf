"""Stage train: a phase by its method, GRPO or SFT. smolmath/training/grpo/trainer.py lists departures from the paper.

Run alone: dvc repro train@PHASE. A killed run goes on from its last checkpoint when it is started again.
"""

import importlib

import smolmath.kernels  # noqa: F401  # before torch
from smolmath.running.launch.stage import stage_in_processes
from smolmath.running.script import Place, Word, run_script


def main(method: Word, phase: Word, init: Place, split: Place, out: Place, curve: Place, samples: Place) -> None:
    with stage_in_processes(f"train@{phase}") as run:
        if run is None:  # hardware.accelerate: this script ran in several processes, and they are done
            return
        # Only now: what these import asks CUDA which GPUs there are. By name: an SFT phase does not depend on GRPO.
        from smolmath.training.phase.loop import train_phase

        train_phase(
            run,
            phase,
            importlib.import_module(f"smolmath.training.{method}.trainer").METHOD,
            init=init,
            split=split,
            model_out=run.out(out),
            curve_out=run.out(curve),
            samples_out=run.out(samples),
        )


if __name__ == "__main__":
    run_script(main)
