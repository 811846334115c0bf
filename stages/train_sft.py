"""Stage train, method sft: supervised fine-tuning on worked solutions, with loss on the completion alone.

Run alone: dvc repro train@PHASE. A killed run goes on from its last checkpoint when it is started again.
"""

import argparse
from pathlib import Path

import smolmath.kernels  # noqa: F401  # before torch
from smolmath.running.launch.stage import stage_in_processes


def main(phase: str, init: str, split: str, out: str, curve: str, samples: str) -> None:
    with stage_in_processes(f"train@{phase}") as run:
        if run is None:  # hardware.accelerate: this script ran in several processes, and they are done
            return
        # Only now: what these import asks CUDA which GPUs there are.
        from smolmath.training.phase.loop import train_phase
        from smolmath.training.sft.trainer import METHOD

        train_phase(
            run,
            phase,
            METHOD,
            init=Path(init),
            split=Path(split),
            model_out=run.out(out),
            curve_out=run.out(curve),
            samples_out=run.out(samples),
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phase", required=True)
    parser.add_argument("--init", required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--curve", required=True)
    parser.add_argument("--samples", required=True)
    main(**vars(parser.parse_args()))
