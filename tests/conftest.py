"""Shared by the tests: the repository's root, real data where it lies beside the checkout, scratch copies to run."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
REAL_DATA = Path(os.environ.get("SMOLMATH_REAL_DATA", ROOT.parent / "shared" / "data"))

# Files whose slow tests take minutes: begun first, so that none of them is left for one process at the end.
LONGEST = ("survival", "processes", "pipeline", "experiments", "machines", "sweeps", "reruns", "synthesis")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


@pytest.fixture
def real_data() -> Path:
    """Folder with gsm8k/{train,test}.jsonl and openr1/sample.jsonl."""
    if not REAL_DATA.is_dir():
        pytest.skip(
            f"real datasets are not at {REAL_DATA}; set SMOLMATH_REAL_DATA to a folder that has gsm8k/ and openr1/"
        )
    return REAL_DATA


class Project:
    """A scratch copy of the project in a folder of its own, run by real DVC."""

    def __init__(self, folder: Path, *, git: bool) -> None:
        folder.mkdir()
        self.folder = folder
        for name in (
            "dvc.yaml",
            "stages",
            "src",
            "bases",
            "recipes",
            "configs",
            "params.yaml",
            ".dvcignore",
            ".gitignore",
        ):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, folder / name)
        self.environment = self.clean_environment()
        if git:
            self.run("git", "init", "-q", "-b", "main")
            self.run("git", "config", "user.name", "tester")
            self.run("git", "config", "user.email", "tester@example.invalid")
        self.dvc("init", "-q", *([] if git else ["--no-scm"]))
        shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots", dirs_exist_ok=True)
        with (folder / ".dvc" / "config").open("a") as config:  # how the cache links, as the project has it
            config.write("[cache]" + (ROOT / ".dvc" / "config").read_text().partition("[cache]")[2])

    @staticmethod
    def clean_environment() -> dict[str, str]:
        # DVC_ROOT of a surrounding `dvc repro` would send this copy's state elsewhere.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "WANDB_"))}
        return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}

    def run(self, *command: str, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment | extra, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return done

    def dvc(self, *arguments: str, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "dvc", *arguments, check=check, **extra)

    def repro(self, *arguments: str, check: bool = True, **extra: str) -> list[str]:
        """`dvc repro`; the addresses of the stages that ran."""
        done = self.dvc("repro", *arguments, check=check, **extra)
        return [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]

    def params(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Edit params.yaml in place."""
        yaml = YAML()
        path = self.folder / "params.yaml"
        loaded = yaml.load(path.read_text())
        change(loaded)
        with path.open("w") as file:
            yaml.dump(loaded, file)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def at(folder: Path, like: Project) -> Project:
    """The copy that lies in a folder already."""
    copied = object.__new__(Project)
    copied.folder, copied.environment = folder, like.environment
    return copied


def clone(project: Project, folder: Path) -> Project:
    """A copy of a copy, with all that it has made."""
    shutil.copytree(project.folder, folder, symlinks=True)
    return at(folder, project)


def make_tiny(params: dict[str, Any]) -> None:
    """The demo, cut to seconds: few problems, two steps a phase."""
    for dataset in params["datasets"].values():
        dataset["rows"] = 120
    params["phases"]["sums"]["grpo"] |= {"max_steps": 2, "num_generations": 4, "max_completion_length": 16}
    params["phases"]["sums"] |= {
        "prompts_per_step": 2,
        "checkpoint_steps": 1,
        "preflight": "warn",  # sixteen tokens cut every completion
        "validation": {"problems": 4, "every_steps": 1, "metric": "accuracy", "patience": None},
        "sample_steps": 1,
    }
    params["phases"]["legs"]["sft"] |= {"max_steps": 2}
    params["phases"]["legs"] |= {"examples_per_step": 4, "checkpoint_steps": 1, "validation": None}
    params["hardware"]["threads"] = 1  # two tests may run at the same time
    params["evaluate"]["sampling"] |= {"problems": 4, "samples": 1, "max_completion_tokens": 16, "batch_size": 2}


def wait_until(condition, process, seconds=600):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A tiny copy with Git, nothing run yet."""
    made = Project(tmp_path / "project", git=True)
    made.params(make_tiny)
    return made
