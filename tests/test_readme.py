"""The README's numbers are the committed ones, its commands exist, its links lead somewhere."""

import json
import os
import re

import pytest

from smolmath.params.core import read_params
from tests.conftest import ROOT, committed

README = (ROOT / "README.md").read_text(encoding="utf-8")


def shown(model, dataset, name):
    metrics = json.loads(committed(f"metrics/eval/{model}/{dataset}.json"))
    return f"{100 * metrics[name]:.1f} ± {100 * metrics[f'{name}_se']:.1f}"


def test_the_demo_table_holds_the_committed_metrics():
    if committed("params.yaml") != committed("recipes/demo.yaml"):
        pytest.skip("the last commit holds the results of another recipe than the demo")
    readme = committed("README.md")
    demo = read_params(ROOT / "recipes" / "demo.yaml")["evaluate"]
    for model in demo["models"]:
        cells = [shown(model, dataset, name) for dataset in demo["datasets"] for name in ("accuracy", "mean_at_k")]
        assert re.search(rf"\| `{model}`[^|]*\| {re.escape(' | '.join(cells))} \|", readme), (model, cells)


def test_every_local_link_leads_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) >= 3
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_recipe_is_in_the_readme():
    assert [p.stem for p in (ROOT / "recipes").glob("*.yaml") if f"`{p.stem}`" not in README] == []


def test_every_module_on_the_file_map_exists():
    block = README.split("## Files")[1].split("```")[1]
    for name in re.findall(r"\b[a-z_]+\.py\b", block):
        assert list((ROOT / "src").rglob(name)), name


def test_every_smolmath_command_in_the_readme_exists():
    from typer.testing import CliRunner

    from smolmath.cli import app

    # In a code block a line begins with the command, in a sentence a backtick does; `recipe` has commands of its own.
    found = re.findall(r"(?:^|`)smolmath (recipe [a-z]+|[a-z]+)", README, re.MULTILINE)
    assert {"check", "report", "recipe list", "recipe use"} <= set(found)
    for command in found:
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0, command


def test_the_workflow_runs_what_ci_runs_and_that_exists():
    workflow = read_params(ROOT / ".github" / "workflows" / "ci.yml")
    commands = [step["run"].split()[0] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert commands == [".ci/run", "tools/compare_with.sh"]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    parts = re.findall(r"^part make ([a-z -]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    used = {target for part in parts for target in part.split()}
    assert used == {"setup", "lint", "test", "demo", "test-vllm", "bench-smoke", "test-slow"}
    assert used <= targets
    assert all(os.access(ROOT / command, os.X_OK) for command in commands)


def test_no_page_has_an_empty_place():
    for page in (ROOT / "docs").glob("*.md"):
        assert re.findall(r"^[A-Z]{4,}$", page.read_text(), re.MULTILINE) == [], page.name


def test_the_search_in_the_docs_is_the_shipped_one():
    assert (ROOT / "searches" / "demo.yaml").read_text() in (ROOT / "docs" / "experiments.md").read_text()
