"""`make setup` on machines that lack something, and after runs that did not end; what it installs with is a stand-in."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROGRAM = '#!/bin/sh\necho "$(basename $0) $@" >> "$(dirname $0)/../../said"\n'
PYTHON = """#!/bin/sh
[ "$1" = -V ] && echo Python 3.10.13
[ "$1" = -c ] && exit $(cat too_old)
[ "$2" = venv ] && mkdir -p $3/bin && cp program $3/bin/python && cp program $3/bin/dvc && cp program $3/bin/uv
exit 0
"""


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """Runs `make setup` in an unpacked ZIP, by a Python and programs that only note what they are asked."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-uv.lock"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("VLLM", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # those of a `make test` that this may run in
        monkeypatch.delenv(name, raising=False)
    write("python", PYTHON)
    write("program", PROGRAM)
    write("too_old", "0")

    def run(python="./python"):
        command = ["make", "setup", "VENV=env", f"PYTHON={python}"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def write(name, text):
    Path(name).write_text(text)
    Path(name).chmod(0o755)


def said():
    """What the programs were asked since it was last looked."""
    lines = Path("said").read_text().splitlines() if Path("said").exists() else []
    Path("said").unlink(missing_ok=True)
    return [line for line in lines if line.startswith(("uv pip sync", "dvc"))]


def test_a_python_that_is_missing_or_too_old_is_told_with_the_oldest_that_will_do(setup):
    done = setup(python="python4")
    assert done.returncode
    assert done.stdout == (
        "smolmath needs Python 3.11 or newer; python4 is not to be found. Try: make PYTHON=python3.12 setup\n"
    )
    assert "not found" not in done.stderr
    write("too_old", "1")
    assert "3.11 or newer; ./python is Python 3.10.13. Try: make PYTHON=python3.12 setup\n" in setup().stdout


def test_what_an_installation_that_did_not_end_has_left_is_not_trusted(setup):
    write("program", PROGRAM + 'case "$2" in sync) exit 1; esac\n')
    done = setup()
    assert done.returncode
    assert "The environment is not complete. Mend what is said above, and run the same command again." in done.stdout
    assert "a C compiler" in done.stdout
    (first,) = said()
    assert "--reinstall" not in first
    write("env/bin/uv", PROGRAM)
    assert setup().returncode == 0
    assert "--reinstall" in said()[0]
    Path("requirements.lock").touch()  # from here on only what differs is installed
    assert setup().returncode == 0
    assert "--reinstall" not in said()[0]


def test_dvc_is_told_where_there_is_no_git(setup):
    assert setup().returncode == 0
    assert "dvc config core.no_scm true" in said()
    subprocess.run(["git", "init", "-q"], check=True)
    assert setup().returncode == 0
    assert said() == []
