"""Stage generate: a model's completions for a dataset's test problems. Run alone: dvc repro generate@MODEL-DATASET."""

import json

from smolmath.evaluation.generation import generate_batches, problems_to_answer, read_completions, worked_examples
from smolmath.evaluation.several import engine_gpus, load_engines
from smolmath.kernels import arithmetic  # before torch, which the engine imports
from smolmath.params.evaluate import EvaluationSampling, sampling_with
from smolmath.params.prompt import PromptParams
from smolmath.records import COMPLETIONS, write_table
from smolmath.running.params import HardwareParams
from smolmath.running.runs import stage_run
from smolmath.running.script import Place, Word, run_script


def main(model: Word, dataset: Word, weights: Place, split: Place, sampling: Place, out: Place) -> None:
    with stage_run(f"generate@{model}-{dataset}", gpus=engine_gpus) as run:
        drawn = sampling_with(run.section("evaluate.sampling", EvaluationSampling), json.loads(sampling.read_text()))
        prompt = run.section("prompt", PromptParams)
        if drawn.system is not None:
            prompt = prompt.model_copy(update={"system": drawn.system})
        hardware = run.section("hardware", HardwareParams)
        dtype = run.params["model"]["dtype"]
        engine = load_engines(weights, dtype=dtype, hardware=hardware, template=prompt.chat_template_kwargs)
        batches = generate_batches(
            engine,
            problems_to_answer(split, "test", drawn.problems),
            prompt=prompt,
            sampling=drawn,
            examples=worked_examples(split, drawn.shots, prompt),
            seed=run.params["seed"],
            state=run.state / hardware.engine,
            what=f"generate {model} on {dataset}",
        )
        rows = read_completions(batches)
        made_by = {"engine": hardware.engine, "device": engine.device}
        write_table(run.out(out), rows, COMPLETIONS.with_metadata({**COMPLETIONS.metadata, **made_by}))
        computed = {"arithmetic": arithmetic(dtype, engine.device), "engines": hardware.engines}
        run.facts |= {**made_by, **computed, "completions": len(rows)}


if __name__ == "__main__":
    run_script(main)
