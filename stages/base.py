"""Stage base: put the base model in place: configs, tokenizer, safetensors. Run alone: dvc repro base."""

from smolmath.data.bases import copy_base
from smolmath.params.model import load_model_params
from smolmath.running.runs import stage_run
from smolmath.running.script import Place, run_script


def main(out: Place) -> None:
    with stage_run("base") as run:
        copy_base(load_model_params(run.params), run.out(out))


if __name__ == "__main__":
    run_script(main)
