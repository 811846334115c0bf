"""Completions: greedy and sampled, batch by batch, the same after a kill as without one."""

import pytest

from smolmath.engines import Completion, load_engine
from smolmath.errors import StageError
from smolmath.evaluation.generation import generate_batches, read_completions, worked_examples
from smolmath.params.evaluate import SamplingParams
from smolmath.params.prompt import PromptParams
from smolmath.prompts import chat_prompt
from smolmath.records import PROBLEMS as PROBLEM_SCHEMA
from smolmath.records import write_table
from tests.conftest import ROOT
from tests.test_training import HARDWARE

PROMPT = PromptParams(system="", reasoning_tag="reasoning", answer_tag="answer")
SAMPLING = SamplingParams(problems=None, samples=2, temperature=1.0, top_p=1.0, max_completion_tokens=8, batch_size=3)
PROBLEMS = [{"id": f"{i:016x}", "question": "q" * (1 + i * 7 % 5)} for i in range(10)]


class CountingEngine:
    """Completes with its prompt, temperature and seed, so that a completion tells how it was asked for."""

    def __init__(self, stop_after=None):
        self.calls, self.stop_after = 0, stop_after

    def render(self, prompt):
        return prompt[-1]["content"]

    def count_tokens(self, text):
        return len(text)

    def generate(self, prompts, sampling):
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        return [
            [Completion(f"{self.render(p)}/{sampling.temperature}/{sampling.seed}/{i}", "stop", 1) for i in range(sampling.samples)]
            for p in prompts
        ]  # fmt: skip


def generate(engine, state):
    batches = generate_batches(engine, PROBLEMS, prompt=PROMPT, sampling=SAMPLING, seed=5, state=state, what="test")
    return read_completions(batches)


def test_each_problem_has_one_greedy_and_k_sampled_completions_in_order(tmp_path):
    rows = generate(CountingEngine(), tmp_path)
    assert [(row["problem_id"], row["sample"]) for row in rows] == [(p["id"], s) for p in PROBLEMS for s in range(3)]
    assert all("/0.0/" in row["completion"] for row in rows if row["sample"] == 0)
    assert all("/1.0/" in row["completion"] for row in rows if row["sample"] > 0)


def test_batches_hold_prompts_of_like_length_and_have_seeds_of_their_own(tmp_path):
    rows = generate(CountingEngine(), tmp_path)
    seeds = {row["problem_id"]: int(row["completion"].split("/")[2]) for row in rows if row["sample"] == 1}
    by_length = sorted(PROBLEMS, key=lambda p: (len(p["question"]), p["id"]))
    assert [seeds[p["id"]] for p in by_length] == [5, 5, 5, 6, 6, 6, 7, 7, 7, 8]


def test_worked_examples_stand_before_each_question_in_the_asked_format(tmp_path):
    rows = [
        {"id": f"{9 - n:016x}", "dataset": "d", "question": f"What is {n}+1?", "reference_answer": str(n + 1),
         "reasoning": f"{n}+1={n + 1}" if n != 3 else None, "source": None, "raw_file": "f", "raw_row": n}
        for n in range(6)
    ]  # fmt: skip
    write_table(tmp_path / "train.parquet", rows, PROBLEM_SCHEMA)
    examples = worked_examples(tmp_path, 2, PROMPT)
    solved = "<reasoning>\n{}\n</reasoning>\n<answer>\n{}\n</answer>"
    assert chat_prompt("And 8+1?", PROMPT, examples) == [
        {"role": "user", "content": "What is 5+1?"},
        {"role": "assistant", "content": solved.format("5+1=6", 6)},
        {"role": "user", "content": "What is 4+1?"},
        {"role": "assistant", "content": solved.format("4+1=5", 5)},
        {"role": "user", "content": "And 8+1?"},
    ]
    with pytest.raises(StageError, match=r"has 5 problems with a worked solution, and `shots` asks for 6"):
        worked_examples(tmp_path, 6, PROMPT)
    assert worked_examples(tmp_path / "nowhere", 0, PROMPT) == []


@pytest.mark.parametrize("stop_after", [0, 1, 2, 5])
def test_a_generation_that_was_killed_goes_on_and_ends_the_same(tmp_path, stop_after):
    undisturbed = generate(CountingEngine(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        generate(CountingEngine(stop_after), tmp_path / "killed")
    second = CountingEngine()
    assert generate(second, tmp_path / "killed") == undisturbed
    # Four batches, two calls each; what was finished is not generated again.
    assert second.calls == 8 - 2 * (stop_after // 2)


@pytest.mark.parametrize(("units", "computed"), [([], "float32"), (["avx512_bf16"], "bfloat16")])
def test_on_a_cpu_a_model_of_half_precision_computes_in_it_where_the_processor_can(processor_with, units, computed):
    processor_with(*units)
    engine = load_engine(ROOT / "bases" / "calc", dtype="bfloat16", hardware=HARDWARE)
    assert {str(weight.dtype) for weight in engine.model.parameters()} == {f"torch.{computed}"}
    # One token at a time, fused attention in bf16 is ten times slower on a CPU; float32 stays as it was.
    assert engine.model.config._attn_implementation == ("eager" if computed == "bfloat16" else "sdpa")
