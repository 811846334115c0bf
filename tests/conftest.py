"""Shared by the tests: the repository's root, real data where it lies beside the checkout, scratch copies to run."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

from smolmath.answers import judge
from tests.stage_server import write_shim

ROOT = Path(__file__).parent.parent
REAL_DATA = Path(os.environ.get("SMOLMATH_REAL_DATA", ROOT.parent / "shared" / "data"))

# Files whose slow tests take minutes: begun first, so that none of them is left for one process at the end.
LONGEST = ("blocks", "survival", "life", "pipeline", "processes", "sweeps", "experiments", "workers", "machines")


# What all processes of one test run share: projects that were run once, the server that forks stages.
SHARED, RUNS_TESTS = "SMOLMATH_TESTS_SHARED", "SMOLMATH_TESTS_PID"


def pytest_configure(config: pytest.Config) -> None:
    # A suite that was started in the background (`&`, nohup) ignores Ctrl-C, and so would all that its tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if SHARED not in os.environ:  # not a worker of xdist
        os.environ[SHARED] = tempfile.mkdtemp(prefix="smolmath-tests-")
        os.environ[RUNS_TESTS] = str(os.getpid())
        config.add_cleanup(remove_shared)


def remove_shared() -> None:
    folder = Path(os.environ.pop(SHARED))
    server = folder / "server.pid"
    if server.is_file():
        os.kill(int(server.read_text()), signal.SIGKILL)
    shutil.rmtree(folder)


STARTED: list[subprocess.Popen[bytes]] = []  # kept to the end of this process: another may need it longer


def stage_server() -> Path:
    """The folder whose `python` hands trainings and generators to the server, which is started by the first to ask."""
    shared = Path(os.environ[SHARED])
    address = shared / "server"
    with FileLock(shared / "server.lock"):
        if not (shared / "bin").is_dir():
            command = [sys.executable, str(ROOT / "tests" / "stage_server.py"), str(address), os.environ[RUNS_TESTS]]
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, start_new_session=True, env=Project.clean_environment()
            )  # libraries read theirs as they are imported
            STARTED.append(server)
            (shared / "server.pid").write_text(str(server.pid))
            while not address.exists():
                assert server.poll() is None, "the server of stages has ended"
                time.sleep(0.1)
            write_shim(shared / "bin", str(address))
    return shared / "bin"


def committed(name: str) -> str:
    """A file as Git's HEAD has it: the working tree may hold another machine's results, or somebody's edits."""
    try:
        shown = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no git here")
    if shown.returncode:
        pytest.skip(f"Git has no committed {name}: {shown.stderr.strip()}")
    return shown.stdout


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it is cloned, the demo's params and nothing run, to be read and not written to."""
    folder = tmp_path_factory.mktemp("demo")
    for name in (*COPIED, "examples"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copyfile(ROOT / "recipes" / "demo.yaml", folder / "params.yaml")
    return folder


@contextmanager
def ending(seconds: int = 120) -> Iterator[None]:
    """Fails what hangs. No measure of speed: many times what the slowest machine needs."""

    def hang(number: int, frame: object) -> None:
        raise AssertionError(f"it does not end: {seconds} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class PatientJudge:
    """In place of `subprocess` in judge.py: its process does not look at the clock on the wall.

    Its limit by CPU time is the same on every machine; that by the clock, for a child that sleeps, would give other
    verdicts on a busy one.
    """

    PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL

    @staticmethod
    def Popen(command: list[str], **rest: Any) -> subprocess.Popen[bytes]:  # as subprocess calls it
        assert command[-2:] == ["-m", "smolmath.answers.judge_worker"]
        patient = "import smolmath.answers.judge_worker as worker; worker.WALL_LIMIT_S = 100; worker.main()"
        return subprocess.Popen([*command[:-2], "-c", patient], **rest)


judge.subprocess = PatientJudge
judge.REPLY_LIMIT_S = 110


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


COPIED = ("dvc.yaml", "stages", "src", "bases", "recipes", "configs", ".dvcignore", ".gitignore")


class Project:
    """A scratch copy of the project in a folder of its own, run by real DVC; `new_project` makes one.

    Stages are forked off a process that has imported TRL already (tests/stage_server.py), unless
    `served` is False or they are started with `real_processes` as their environment.
    """

    def __init__(self, folder: Path, *, served: bool = True) -> None:
        self.folder = folder
        self.real_processes = self.environment = self.clean_environment()
        if served:
            self.environment = self.real_processes | {"PATH": f"{stage_server()}:{self.real_processes['PATH']}"}

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


def new_project(folder: Path, *, git: bool = True, served: bool = True) -> Project:
    """The demo's project, nothing run yet."""
    folder.mkdir()
    project = Project(folder, served=served)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / name)
    shutil.copyfile(ROOT / "recipes" / "demo.yaml", folder / "params.yaml")
    if git:
        project.run("git", "init", "-q", "-b", "main")
        project.run("git", "config", "user.name", "tester")
        project.run("git", "config", "user.email", "tester@example.invalid")
    project.dvc("init", "-q", *([] if git else ["--no-scm"]))
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots", dirs_exist_ok=True)
    with (folder / ".dvc" / "config").open("a") as config:  # how the cache links, as the project has it
        config.write("[cache]" + (ROOT / ".dvc" / "config").read_text().partition("[cache]")[2])
    return project


def clone(project: Project, folder: Path) -> Project:
    """A copy of a project, with all that it has made."""
    shutil.copytree(project.folder, folder, symlinks=True)
    return Project(folder)


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
    params["evaluate"]["sampling"] |= {"problems": 12, "samples": 1, "max_completion_tokens": 32, "batch_size": 12}


def wait_until(condition, process, seconds=600):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def once(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name that all processes of the test run share, made by the first that asks for it."""
    folder = Path(os.environ[SHARED], name)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            make(folder.with_suffix(".new"))
            folder.with_suffix(".new").rename(folder)
    return folder


@pytest.fixture(scope="session")
def prepared_project() -> Project:
    """A tiny project in which all that trainings need has been made, the base and the data. To be copied: `clone`."""

    def make(folder: Path) -> None:
        project = new_project(folder)
        project.params(make_tiny)
        project.repro("split@sums", "split@legs", "base")

    return Project(once("prepared", make))


@pytest.fixture(scope="session")
def finished_project() -> Project:
    """A tiny project that has run to the end and is committed; `ran` has the stages. To be copied: `clone`."""

    def make(folder: Path) -> None:
        project = new_project(folder)
        project.params(make_tiny)
        project.write("ran", "\n".join(project.repro()))
        project.run("git", "add", "-A")
        project.run("git", "commit", "-qm", "finished")

    return Project(once("finished", make))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A tiny copy with Git, nothing run yet."""
    made = new_project(tmp_path / "project")
    made.params(make_tiny)
    return made


@pytest.fixture
def processor_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes this processor one that has the named units, as torch calls them, and no others."""
    import torch

    from smolmath.kernels import arithmetic

    def has(*units: str) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(units, True))

    arithmetic.cache_clear()
    yield has
    arithmetic.cache_clear()
