"""The `smolmath` command on machines that are set up for something else."""

import os
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def smolmath(*arguments, **environment):
    """The command as its installed script begins."""
    module, function = SCRIPTS["smolmath"].split(":")
    script = f"import sys; sys.path.pop(0); from {module} import {function}; sys.exit({function}())"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
def test_modules_of_another_project_on_pythonpath_are_not_taken_for_ours_or_for_libraries(tmp_path, first):
    for name in ("typing_extensions", "datasets", "params", "yaml", "rich", "json", "typing"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('of another project')\n")
    (tmp_path / "smolmath").mkdir()
    (tmp_path / "smolmath" / "__init__.py").write_text("")
    paths = [str(tmp_path), "src", os.path.dirname(os.__file__)]
    if not first:
        paths[:2] = paths[1::-1]
    done = smolmath("check", PYTHONPATH=os.pathsep.join(paths))
    assert (done.stdout, done.stderr) == ("params.yaml is sound.\n", "")


def test_a_terminal_that_lacks_a_character_ends_no_command():
    done = smolmath("recipe", "diff", "gsm8k", PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert " ? " in done.stdout  # the arrow between old and new
