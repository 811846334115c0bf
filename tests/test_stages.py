"""Stage scripts: what they import, and what they take."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

LIGHT = ["check", "fetch", "process", "split", "base", "evaluate", "summarize"]


@pytest.mark.parametrize("stage", LIGHT)
def test_a_stage_that_needs_no_torch_imports_none(stage):
    code = (
        f"import sys, runpy; runpy.run_path('stages/{stage}.py'); "
        "print(sorted({'torch', 'transformers', 'trl', 'datasets', 'sympy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": "src"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("stage", [path.stem for path in sorted((ROOT / "stages").glob("*.py"))])
def test_a_stage_says_what_it_is_and_how_to_run_it_alone(stage):
    text = (ROOT / "stages" / f"{stage}.py").read_text()
    assert text.startswith('"""Stage ')
    assert "Run alone: dvc repro" in text
