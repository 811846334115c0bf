"""Stage train, method grpo: learn from the phase's rewards. smolmath/grpo/trainer.py lists departures from the paper.

Run alone: dvc repro train@PHASE. A killed run goes on from its last checkpoint when it is started again.
"""

import argparse
from pathlib import Path

from smolmath.grpo.trainer import make_grpo_trainer, max_completion_tokens
from smolmath.runs import stage_run
from smolmath.training.loop import train_phase


def main(phase: str, init: str, split: str, out: str, curve: str) -> None:
    with stage_run(f"train@{phase}") as run:
        train_phase(
            run,
            phase,
            make_grpo_trainer,
            init=Path(init),
            split=Path(split),
            model_out=run.out(out),
            curve_out=run.out(curve),
            max_completion_tokens=max_completion_tokens,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phase", required=True)
    parser.add_argument("--init", required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--curve", required=True)
    main(**vars(parser.parse_args()))
