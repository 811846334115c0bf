"""Which kernels a CPU computes by, and in which type."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from smolmath.errors import StageError
from smolmath.kernels import BF16_UNITS, arithmetic
from smolmath.training.phase.arguments import shared_arguments
from smolmath.training.phase.models import load_for_training, lora_config
from tests.conftest import ROOT
from tests.test_training import GRPO, HARDWARE

needs_units = pytest.mark.skipif(
    not any(torch.cpu.get_capabilities().get(unit) for unit in BF16_UNITS), reason="this processor has no bf16 units"
)
STEP = """
import smolmath.kernels, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("bases/calc", dtype=torch.{dtype})
ids = torch.randint(0, 200, (16, 90))
model(input_ids=ids, labels=ids).loss.backward()
torch.optim.AdamW(model.parameters()).step()
model.eval().generate(input_ids=ids, max_new_tokens=4, do_sample=True)
"""


def by_onednn(dtype):
    """What oneDNN computes in a step and a generation, as its log has it."""
    environment = {**os.environ, "ONEDNN_VERBOSE": "1", "PYTHONPATH": "src"}
    done = subprocess.run(
        [sys.executable, "-c", STEP.format(dtype=dtype)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if line.startswith("onednn_verbose,v1,primitive,exec")]


@pytest.mark.slow
def test_float32_is_computed_by_the_kernels_that_every_machine_has():
    assert by_onednn("float32") == []


@pytest.mark.slow
@needs_units
def test_bfloat16_is_computed_by_the_processors_own_kernels():
    products = [line for line in by_onednn("bfloat16") if ",matmul," in line]
    assert products
    assert [line for line in products if "bf16" not in line.split(",")[6]] == []  # brg_matmul:avx512_core_bf16


@pytest.mark.parametrize(
    ("dtype", "device", "units", "computed"),
    [
        ("float32", "cpu", ["avx512_bf16"], "float32"),
        ("bfloat16", "cpu", ["avx512_bf16"], "bfloat16"),
        ("bfloat16", "cpu", ["amx_bf16"], "bfloat16"),
        ("bfloat16", "cpu", ["bf16"], "bfloat16"),  # ARM
        ("bfloat16", "cpu", ["avx512_f"], "float32"),
        ("float16", "cpu", ["avx512_bf16"], "float32"),
        ("float16", "cuda", [], "float16"),
    ],
)
def test_a_cpu_computes_in_16_bits_where_it_has_units_for_it(processor_with, capsys, dtype, device, units, computed):
    processor_with(*units)
    assert [arithmetic(dtype, device) for _ in range(2)] == [computed] * 2
    said = capsys.readouterr().out
    assert said.count("it computes in float32") == (dtype != computed)  # once, however often it is asked


@pytest.mark.parametrize(("dtype", "units", "bf16"), [("bfloat16", ["bf16"], True), ("float16", ["bf16"], False)])
def test_training_on_a_cpu_asks_for_no_type_that_the_processor_lacks(tmp_path, processor_with, dtype, units, bf16):
    processor_with(*units)
    arguments = shared_arguments(GRPO, seed=1, dtype=dtype, hardware=HARDWARE, state=tmp_path)
    assert (arguments["bf16"], arguments["fp16"]) == (bf16, False)


@pytest.mark.parametrize("optim", ["adamw_8bit", "paged_adamw_8bit", "adamw_bnb_8bit", "lion_8bit"])
def test_an_optimiser_of_bitsandbytes_is_refused_by_its_name_where_that_is_missing(tmp_path, monkeypatch, optim):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else real(name))
    phase = GRPO.model_copy(update={"grpo": GRPO.grpo | {"optim": optim}})
    with pytest.raises(StageError, match=rf"grpo.optim: {optim} is bitsandbytes', which is not installed.*uv pip"):
        shared_arguments(phase, seed=1, dtype="float32", hardware=HARDWARE, state=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lora", "vllm", "frozen"),
    [(True, "off", "bfloat16"), (True, "colocate", "float32"), (False, "off", "float32")],
)
def test_frozen_weights_beside_a_lora_are_held_as_they_are_computed(processor_with, lora, vllm, frozen):
    from peft import get_peft_model

    from smolmath.params.phases import LoraParams

    processor_with("avx512_bf16")
    hardware = HARDWARE.model_copy(update={"vllm": vllm})
    model, _ = load_for_training(ROOT / "bases" / "calc", hardware, dtype="bfloat16", frozen=lora)
    if lora:
        asked = LoraParams(r=4, alpha=8, dropout=0.0, target_modules=["q_proj", "down_proj"])
        model = get_peft_model(model, lora_config(asked, model, "sums"))
    types = {weight.requires_grad: str(weight.dtype) for weight in model.parameters()}
    assert types == ({False: f"torch.{frozen}", True: "torch.float32"} if lora else {True: f"torch.{frozen}"})
