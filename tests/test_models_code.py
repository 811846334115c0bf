"""No code that a model's directory holds is ever run, whoever loads it and whatever is typed."""

import ast
import json
import shutil
import subprocess
import sys

import pytest

from smolmath.engines.transformers import load_model, load_tokenizer
from smolmath.errors import StageError
from smolmath.params.core import read_params
from smolmath.running.params import HardwareParams
from tests.conftest import ROOT

CODE = """
from pathlib import Path
Path({mark!r}).write_text("this ran")
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

class Config(Qwen2Config):
    model_type = "strange"

class Model(Qwen2ForCausalLM):
    config_class = Config

class Tokenizer(PreTrainedTokenizerFast):
    pass
"""
MAPS = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model", "AutoTokenizer": [None, "mine.Tokenizer"]}


@pytest.fixture
def with_code(tmp_path):
    """A model directory whose own code writes a file once it runs, and that file."""
    folder, mark = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(ROOT / "bases" / "calc", folder)
    (folder / "mine.py").write_text(CODE.format(mark=str(mark)))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": MAPS, "model_type": "strange"}))
    return folder, mark


@pytest.mark.parametrize("load", ["weights", "smolagents"])
def test_neither_weights_nor_tokenizer_run_it(with_code, load):
    folder, mark = with_code
    load_tokenizer(folder)  # transformers' own kind, whatever the directory names
    with pytest.raises(StageError, match=r"code of a model is never run\. Use a model that transformers itself knows"):
        {"weights": load_model, "smolagents": _smolagents}[load](folder)
    assert not mark.exists()


def _smolagents(folder):
    pytest.importorskip("smolagents")
    from smolmath.using.agents.models import _by_transformers
    from smolmath.using.solving.models import find_model

    params = read_params(ROOT / "recipes" / "demo.yaml")
    _by_transformers(find_model(str(folder), params), HardwareParams(**params["hardware"]), 8)


@pytest.mark.parametrize("command", [("solve", "1 + 1 ="), ("chat",), ("serve", "--port", "0")])
def test_a_command_ends_in_one_line_whatever_is_typed(with_code, command, demo_folder):
    folder, mark = with_code
    done = subprocess.run(
        [sys.executable, "-m", "smolmath.cli", *command, "--model", str(folder)],
        input="y\n" * 9, cwd=demo_folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "code of a model is never run" in done.stderr
    assert "[y/N]" not in done.stdout + done.stderr
    assert not mark.exists()


def test_every_load_says_so():
    """Of what could run code: classes named Auto…, vLLM's LLM, pipelines."""
    loads = 0
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            called = ast.unparse(call.func)
            if called in ("LLM", "pipeline") or (called.startswith("Auto") and called.endswith(".from_pretrained")):
                loads += 1
                said = [ast.unparse(word.value) for word in call.keywords if word.arg == "trust_remote_code"]
                assert said == ["False"], f"{path}:{call.lineno}"
    assert loads > 5
