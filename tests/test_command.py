"""The `smolmath` command on machines that are set up for something else."""

import os
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def smolmath(*arguments, cwd=ROOT, **environment):
    """The command as its installed script begins."""
    module, function = SCRIPTS["smolmath"].split(":")
    script = f"import sys; sys.path.pop(0); from {module} import {function}; sys.exit({function}())"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False,
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


@pytest.mark.parametrize(
    "command",
    [
        ["check"], ["report"], ["compare", ":base", ":sums"], ["verify"], ["prune"], ["work"], ["inspect", "models/legs"],
        ["recipe", "list"], ["recipe", "use", "demo"], ["tune", "demo.yaml"], ["solve", "1 + 1"], ["export", "x.zip"],
        ["synthesize", "sums", "--out", "x"], ["grade", "x.jsonl"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_in_a_subfolder_every_command_says_where_to_run_it(command):
    done = smolmath(*command, cwd=ROOT / "docs")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert done.stderr.endswith(f"Run it in the project's root: cd {ROOT}\n")


def test_help_needs_no_project_and_an_error_outside_of_one_names_none(tmp_path):
    assert smolmath("check", "--help", cwd=ROOT / "docs").returncode == 0
    done = smolmath("check", cwd=tmp_path)
    assert "params.yaml does not exist" in done.stderr
    assert "cd " not in done.stderr


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert smolmath("--version").stdout == f"smolmath {project['version']}\n"


def test_what_the_system_refuses_is_named_with_its_path(tmp_path):
    (tmp_path / "full").write_text("a file, where a folder is to be")
    done = smolmath("report", "--out", str(tmp_path / "full"))
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path}/full/plots: Not a directory.\n")
