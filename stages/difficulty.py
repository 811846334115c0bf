"""Stage difficulty: how often a model solves each train problem of a dataset. Run alone: dvc repro difficulty@NAME.

The out is the dataset's split, byte for byte, and pass_rates.parquet beside it.
"""

import shutil

from smolmath.evaluation.difficulty import histogram, pass_rates
from smolmath.evaluation.generation import generate_batches, problems_to_answer
from smolmath.evaluation.several import engine_gpus, load_engines
from smolmath.kernels import arithmetic  # before torch, which the engine imports
from smolmath.params.difficulty import DifficultyParams
from smolmath.params.prompt import PromptParams
from smolmath.records import PASS_RATES, write_table
from smolmath.running.params import HardwareParams
from smolmath.running.runs import stage_run
from smolmath.running.script import Place, Word, run_script
from smolmath.running.workers import available_cores


def main(name: Word, weights: Place, split: Place, out: Place) -> None:
    with stage_run(f"difficulty@{name}", gpus=engine_gpus) as run:
        sampling = run.section(f"difficulty.{name}", DifficultyParams)
        hardware = run.section("hardware", HardwareParams)
        prompt = run.section("prompt", PromptParams)
        problems = problems_to_answer(split, "train", sampling.problems)
        dtype = run.params["model"]["dtype"]
        engine = load_engines(weights, dtype=dtype, hardware=hardware, template=prompt.chat_template_kwargs)
        batches = generate_batches(
            engine,
            problems,
            prompt=prompt,
            sampling=sampling,
            seed=run.params["seed"],
            state=run.state / hardware.engine,
            what=f"difficulty of {sampling.dataset} for {sampling.model}",
            greedy=False,
        )
        rates = pass_rates(batches, problems, prompt.tags, workers=hardware.workers or available_cores())
        folder = run.out(out)
        shutil.copytree(split, folder)
        write_table(folder / "pass_rates.parquet", rates, PASS_RATES)
        made_by = {"engine": hardware.engine, "device": engine.device, "engines": hardware.engines}
        run.facts |= {**made_by, "arithmetic": arithmetic(dtype, engine.device), "rated": len(rates)}
        print(histogram(rates))


if __name__ == "__main__":
    run_script(main)
