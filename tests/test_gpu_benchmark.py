"""benchmarks/gpu.py: its arithmetic against counted and published numbers, its made-up run, a smoke run of the whole."""

import json
import subprocess
import sys
from statistics import fmean

import pytest
from benchmarks.gpu_parts.costs import (
    QWEN2_5_0_5B,
    Machine,
    Shape,
    forward_flops,
    generate_bound_s,
    generate_flops,
    train_flops,
    training_memory,
)
from benchmarks.gpu_parts.table import COLUMNS, Figures, figures, markdown, reason
from benchmarks.gpu_parts.world import COMPLETION_TOKENS, PROMPT_TOKENS, Lengths, params_of_the_run

from smolmath.params.core import read_params
from tests.conftest import ROOT, Project

# A layer: q and o 4·4 each, k and v 4·2 each, gate, up and down 4·8 each = 144 weights; the output layer 4·10 = 40.
TINY = Shape(hidden=4, intermediate=8, layers=2, heads=2, kv_heads=1, vocabulary=10)


def test_the_shape_has_the_published_number_of_parameters():
    assert QWEN2_5_0_5B.parameters == 494_032_768  # of Qwen/Qwen2.5-0.5B's model.safetensors


def test_flops_are_those_that_are_counted_by_hand():
    # One prompt of 3 tokens, 2 tokens of completion. Fed: 4 tokens, that see 1 + 2 + 3 + 4 = 10; logits for 2.
    assert generate_flops(TINY, [(3, 2)]) == 2 * (2 * 144 * 4 + 40 * 2) + 4 * 2 * 4 * 10
    # Trained: 5 tokens, that see 15; logits for 2; three times the forward.
    assert train_flops(TINY, [(3, 2)]) == 3 * (2 * (2 * 144 * 5 + 40 * 2) + 4 * 2 * 4 * 15)
    # With logits for every token and no attention it is 6 N.
    assert 3 * forward_flops(TINY, tokens=7, contexts=0, logits=7) == 6 * TINY.matrices * 7


@pytest.mark.slow
def test_a_forward_pass_does_the_flops_that_torch_counts():
    import torch
    from benchmarks.gpu_parts.world import model_config
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM

    config = model_config(TINY, eos=0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    assert sum(weight.numel() for weight in model.parameters()) == TINY.parameters
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.zeros(1, 6, dtype=torch.long))
    # Besides, the angles of the rotary embedding: one product of a position and a frequency for each pair of a head's
    # two dimensions. Eager attention looks at all 6 positions of each of 6 tokens.
    rotary = 2 * 6 * 1
    assert counter.get_total_flops() - rotary == forward_flops(TINY, tokens=6, contexts=36, logits=6)


def test_a_batch_is_bound_by_the_bytes_or_by_the_flops_of_each_step():
    slow_memory, slow_matrices = Machine(1.0, 1e30), Machine(1e30, 1.0)
    weights, kept = TINY.matrices * 2, 2 * 2 * 2 * 2  # bytes: of all weights; keys and values of 2 layers, 2 wide
    # Completions of 3 and 2 tokens to prompts of 5 and 6: the prompts and two steps, the second for one of them.
    by_memory = 3 * weights + kept * ((5 + 1) + (6 + 1)) + kept * (5 + 2)
    assert generate_bound_s(TINY, [(5, 3), (6, 2)], slow_memory, weight_bytes=2) == pytest.approx(by_memory)
    by_flops = generate_flops(TINY, [(5, 3), (6, 2)])
    assert generate_bound_s(TINY, [(5, 3), (6, 2)], slow_matrices, weight_bytes=2) == pytest.approx(by_flops)


def test_memory_counts_weights_and_what_a_pass_keeps():
    # 18 bytes a parameter; 10 tokens, 2 layers, 100 bytes each
    assert training_memory(TINY, tokens=10, kept=100, layer=100, checkpointing=False) == 18 * TINY.parameters + 2000
    # 7 bytes each, and one layer that is computed again
    assert training_memory(TINY, tokens=10, kept=7, layer=100, checkpointing=True) == 18 * TINY.parameters + 140 + 1000


@pytest.mark.slow
def test_a_layer_keeps_of_a_token_what_is_kept_by_hand():
    from benchmarks.gpu_parts.memory import kept_per_token

    # With checkpointing a layer's input alone, in fp32.
    assert kept_per_token(QWEN2_5_0_5B, checkpointing=True) == 4 * 896
    # In bytes: two norms, each fp32 input and output; what q, k, v, gate and up are given, cast for each; q, k and v
    # (repeated for every head); what attention gives, which is what o is given; gate, its SiLU, up and their product.
    by_hand = 2 * 2 * 4 * 896 + 5 * 2 * 896 + 3 * 2 * 896 + 2 * 896 + 4 * 2 * 4864
    assert kept_per_token(QWEN2_5_0_5B, checkpointing=False) == pytest.approx(by_hand, rel=0.05)


def test_lengths_follow_their_distribution_whatever_the_batches():
    drawn = Lengths(COMPLETION_TOKENS, limit=200).take(4000)
    assert (min(drawn), max(drawn)) == (41, 200)
    assert sorted(drawn)[2000] == pytest.approx(101, abs=3)  # the median, of 21 quantiles the eleventh
    assert fmean(length == 200 for length in drawn) == pytest.approx(0.05, abs=0.015)  # beyond the 95 % of 193
    assert fmean(Lengths(PROMPT_TOKENS, limit=256).take(4000)) == pytest.approx(103, abs=3)  # the real mean is 103.3
    parts = Lengths(COMPLETION_TOKENS, limit=200)
    assert [*parts.take(64), *parts.take(16), *parts.take(3920)] == drawn


def a_run(seconds, generate, train, memory=2e9):
    """Steps of one sequence (3, 2) each."""
    return {
        "seconds": seconds,
        "spent": [{"generate": generate, "grade": 0.5, "train": train} for _ in seconds],
        "generated": [[[3, 2]] for _ in seconds],
        "memory": memory,
    }


def test_figures_are_medians_of_blocks_behind_the_warm_up():
    machine = Machine(bytes_per_s=1e30, flops_per_s=1000.0)
    runs = [a_run([99.0, 4.0, 5.0], 1.0, 2.0), a_run([99.0, 6.0, 40.0], 1.0, 2.0, memory=4e9)]
    found = figures(runs, skipped=1, period=1, shape=TINY, machine=machine, weight_bytes=2)
    assert found.completions_per_s == pytest.approx((1 / 5 + 1 / 6) / 2)  # of steps of 4, 5, 6 and 40 s
    assert found.generated_per_s == pytest.approx(2 * (1 / 5 + 1 / 6) / 2)
    assert found.trained_per_s == pytest.approx(5 * (1 / 5 + 1 / 6) / 2)
    assert (found.generate_s, found.grade_s, found.train_s) == (1.0, 0.5, 2.0)
    assert found.rest_s == pytest.approx((5 + 6) / 2 - 3.5)
    assert found.memory_bytes == 3e9
    assert found.train_share == pytest.approx(train_flops(TINY, [(3, 2)]) / 1000 / 2.0)
    assert found.generate_share == pytest.approx(generate_flops(TINY, [(3, 2)]) / 1000 / 1.0)
    # A generation for two steps: blocks of two, seconds of one.
    runs = [a_run([99.0, 99.0, 4.0, 6.0], 1.0, 2.0)]
    runs[0]["generated"] = [[], [], [[3, 2], [3, 2]], []]
    paired = figures(runs, skipped=2, period=2, shape=TINY, machine=machine, weight_bytes=2)
    assert paired.completions_per_s == pytest.approx(2 / 10)
    assert (paired.generate_s, paired.rest_s) == (1.0, pytest.approx(5 - 3.5))


def test_a_side_that_could_not_run_is_a_row_that_says_why():
    one = Figures(10.0, 1000.0, 2000.0, 1.0, 0.1, 2.0, 0.25, 3e9, 0.25, 0.5, 0.125)
    half = Figures(5.0, 500.0, 1000.0, 2.0, 0.1, 4.0, 0.5, 3e9, 0.125, 0.25, 0.0625)
    lines = markdown({"peer": half, "ours": one, "flash": "not installed"}).splitlines()
    assert lines[2].startswith("| peer | 5.0 | 1.00 |")
    assert lines[3] == (
        "| ours | 10.0 | 2.00 | 1,000 | 2,000 | 1.000 | 0.100 | 2.000 | 0.250 | 3.0 | 25.0% | 50.0% | 12.5% |"
    )
    assert lines[4] == "| flash | not installed |" + "  |" * (len(COLUMNS) - 2)
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 1}
    assert markdown({"ours": one}).splitlines()[2].startswith("| ours | 10.0 |  |")


@pytest.mark.parametrize(
    ("written", "cell"),
    [
        ("x\ngsm8k: out of memory (CUDA out of memory. Tried to allocate 2 GiB). Lower …", "out of memory"),
        ("ValueError: Free memory on device (3.1/79 GiB) on startup is less than …", "out of memory"),
        ("error: hardware.vllm: vllm is not installed. Run `make setup VLLM=1`, …", "not installed"),
        ("ImportError: … not available. Please install it with `pip install liger-kernel`", "not installed"),
        ("Traceback\nValueError: something else\n", "failed: ValueError: something else"),
        ("", "failed"),
    ],
)
def test_the_reason_is_read_from_what_the_process_wrote(written, cell):
    assert reason(written) == cell


@pytest.fixture
def benchmark(monkeypatch):
    """benchmarks/gpu.py as a module, which as a script finds its neighbours beside it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu

    return gpu


def test_every_variant_differs_from_the_recipe_and_can_be_given_to_its_stage(benchmark):
    from smolmath.running.check import check_params

    params = params_of_the_run(small=False, steps=8)
    for name, changes in benchmark.VARIANTS.items():
        changed = benchmark.with_changes(params, changes)
        assert (changed != params) == (name != "ours"), name
        assert check_params(changed) == [], name
    assert benchmark.warm_up(benchmark.with_changes(params, benchmark.VARIANTS["generate-4"]), small=True) == (4, 4)
    assert benchmark.warm_up(params, small=False) == (4, 1)


def test_the_grpo_phases_of_the_recipes_fit_40_gb_with_vllm_beside_them():
    for recipe in ("gsm8k", "gsm8k-classic", "gsm8k-lora", "openr1", "openr1-2pct", "openr1-sft"):
        params = read_params(ROOT / "recipes" / f"{recipe}.yaml")
        hardware = params["hardware"]
        for name, phase in params["phases"].items():
            if phase["method"] != "grpo":
                continue
            length = phase["max_prompt_tokens"] + phase["grpo"]["max_completion_length"]
            checkpointing = phase["grpo"].get("gradient_checkpointing", True)
            memory = training_memory(
                QWEN2_5_0_5B, tokens=hardware["micro_batch"] * length, kept=3584 if checkpointing else 69_952,
                layer=69_952, checkpointing=checkpointing,
            )  # fmt: skip
            assert memory + hardware["vllm_memory"] * 40e9 < 39e9, (recipe, name)


@pytest.mark.slow
def test_the_page_has_the_computed_memory(benchmark):
    from benchmarks.gpu_parts.memory import memory_table

    said, _, *table = memory_table(QWEN2_5_0_5B, benchmark.PASSES, benchmark.MICRO_BATCHES).splitlines()
    page = (ROOT / "docs" / "gpu-speed.md").read_text()
    assert "\n".join(table) in page
    assert " ".join(said.split()[:15]).rstrip(".") in " ".join(page.split())


def test_the_page_has_a_row_for_every_side_and_the_columns_of_the_table(benchmark):
    page = (ROOT / "docs" / "gpu-speed.md").read_text()
    table = page.split("| side | ")[1].split("\n\n")[0].splitlines()
    assert f"| side | {table[0]}" == f"| {' | '.join(COLUMNS)} |"
    assert [row.split(" | ")[0].removeprefix("| ").rstrip(" |") for row in table[2:]] == list(benchmark.SIDES)
    reasons = page.split("## What the recipes set")[1].split("## Memory")[0]
    assert [name for name in benchmark.VARIANTS if name != "ours" and f"`{name}`" not in reasons] == []


@pytest.mark.slow
def test_a_smoke_run_on_a_cpu_gives_every_side_its_row(tmp_path):
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--small", "--json", str(tmp_path / "out.json")],
        cwd=ROOT,
        env=Project.clean_environment() | {"OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows == ["side", "---", "peer", "ours", "flash", "generate-2"]
    kept = json.loads((tmp_path / "out.json").read_text())
    assert kept["sides"]["flash"] == "not installed" or kept["sides"]["flash"].startswith("failed: ")
    (peer,), (ours,), (paired,) = (kept["runs"][name] for name in ("peer", "ours", "generate-2"))
    assert len(ours["seconds"]) == len(peer["seconds"]) == 1 + 2  # a step of warm-up, two measured
    # Both sides generated completions of the same lengths, and each of more than one; with two steps a generation
    # every second step has none.
    lengths = [[[c for _, c in step] for step in run["generated"]] for run in (peer, ours, paired)]
    assert lengths[0] == lengths[1]
    assert [len(step) for step in lengths[1]] == [8, 8, 8]
    assert len(set(lengths[1][0])) > 2
    assert [len(step) for step in lengths[2]] == [16, 0, 16, 0]
    assert all(57 <= p <= 256 for step in ours["generated"] for p, _ in step)
    for run in (peer, ours):
        for seconds, spent in zip(run["seconds"], run["spent"], strict=True):
            assert 0 < sum(spent.values()) < seconds
            assert min(spent.values()) > 0
