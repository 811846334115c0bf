"""Stage base: put the base model in place: configs, tokenizer, safetensors. Run alone: dvc repro base."""

import argparse

from smolmath.data.bases import copy_base
from smolmath.params.model import load_model_params
from smolmath.running.runs import stage_run


def main(out: str) -> None:
    with stage_run("base") as run:
        copy_base(load_model_params(run.params), run.out(out))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    main(**vars(parser.parse_args()))
