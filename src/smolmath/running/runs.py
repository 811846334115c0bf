"""The life of a stage: fingerprint, lock, state that survives a kill, outs published whole, a journal entry.

    with stage_run("copy") as run:
        number = run.params["number"]
        run.out("result.txt").write_text(str(number))

DVC deletes a stage's outs before it runs it and hashes deps and params when it *ends* (docs/design.md). Therefore
state that must survive a kill lies under .work/<stage>/<fingerprint>, outs are written under a temporary name and
renamed when whole, and inputs are hashed at the start and again before anything is published.
"""

import contextlib
import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import psutil
from filelock import FileLock, Timeout
from pydantic import BaseModel

import smolmath
from smolmath.errors import SmolmathError, StageError
from smolmath.params.core import load_section, lookup_or_none, read_params
from smolmath.running.devices import claimed_gpus
from smolmath.running.edits import Signature, code_among, edited_since_import, signatures, touched
from smolmath.running.energy import EnergyMeter
from smolmath.running.graph import Stage, load_stages
from smolmath.running.hashes import content_hash, fingerprint
from smolmath.running.journal import git_state, write_journal
from smolmath.running.leftovers import remove, remove_strays
from smolmath.running.params import HardwareParams
from smolmath.running.progress import print_whatever_it_is

M = TypeVar("M", bound=BaseModel)


class StageRun:
    """One run of one stage, from `stage_run`."""

    def __init__(self, stage: Stage, params: dict[str, Any]) -> None:
        self.stage = stage
        self.params = params
        self._signatures = signatures(stage.deps)  # before the contents: an edit between the two is noticed
        self.deps, self.values = inputs(stage, params)  # hash of each dep, value of each param
        if edited := edited_since_import(stage.deps):
            raise StageError(
                f"{stage.name}: edited while this process started, which may have read the old text: "
                f"{', '.join(edited)}. Nothing has been done yet: run `dvc repro {stage.name}` again."
            )
        self.fingerprint = fingerprint(stage.name, self.deps, self.values)
        self.state = main_workspace() / ".work" / stage.name / self.fingerprint  # survives a kill; gone on success
        self.git = git_state()
        self.facts: dict[str, Any] = {}  # goes into the journal: seconds by activity, effective settings
        self._unpublished: list[tuple[Path, Path]] = []
        self._dvc = _up_to_dvc()

    def section(self, dotted: str, model: type[M]) -> M:
        return load_section(self.params, dotted, model)

    def out(self, path: str | Path) -> Path:
        """Where to write the out at `path`: a temporary sibling, renamed to `path` when the stage has ended well."""
        final, part = Path(path), self.part(path)
        if final.as_posix() not in self.stage.outs:
            raise AssertionError(f"{path} is no out of {self.stage.name} in dvc.yaml: {self.stage.outs}")
        # Most stages ask for their outs after their last import and before they work: better now than hours later.
        self._refuse_edits(code_among(self.stage.deps))
        final.parent.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers(final)
        remove(part)
        self._unpublished.append((part, final))
        return part

    def part(self, path: str | Path) -> Path:
        """The temporary sibling of the out at `path`, as every process of this run names it."""
        final = Path(path)
        return final.with_name(f".{final.name}.{self.fingerprint}.part")

    def _remove_leftovers(self, final: Path) -> None:
        """What a killed run on other inputs had begun to write; of one that still runs it stays."""
        for left in final.parent.glob(f".{final.name}.{'[0-9a-f]' * 16}.part"):
            writer = self.state.with_name(left.suffixes[-2][1:])
            with contextlib.suppress(Timeout), FileLock(lock_of(writer), timeout=0):
                remove(left)

    def publish(self) -> None:
        """Rename every out into place, if the inputs are still those that it was made from."""
        self._refuse_edits(self.stage.deps)
        for part, final in self._unpublished:
            _open_to_readers(part)
            remove(final)
            os.replace(part, final)
        self._unpublished.clear()

    def discard(self) -> None:
        """Remove what was written but not published."""
        for part, _ in self._unpublished:
            remove(part)
        self._unpublished.clear()

    def orphaned(self) -> bool:
        """Whether the `dvc` that started this process is gone: killing it leaves its stage running."""
        return not all(alive(process) for process in self._dvc)

    def _refuse_edits(self, deps: Iterable[str]) -> None:
        """Raises: StageError if a param, or one of these deps, is no longer what this run was started with."""
        params_now = read_params()
        changed = [
            f"params.yaml: {key}" for key, value in self.values.items() if lookup_or_none(params_now, key) != value
        ]
        changed += [dep for dep, now in signatures(deps).items() if self._has_changed(dep, now)]
        if changed:
            raise StageError(
                f"{self.stage.name}: {', '.join(changed)} changed while it ran, so the result belongs to neither "
                f"version and was not published. Its state is kept in {self.state}: put the old version back and run "
                "`dvc repro` to finish it, or run `dvc repro` to start with the new one."
            )

    def _has_changed(self, dep: str, now: list[Signature]) -> bool:
        # Signatures first: a dataset of 10 GB is not read twice when nothing touched it.
        if not touched(self._signatures[dep], now):
            return False
        return not Path(dep).exists() or content_hash(Path(dep)) != self.deps[dep]


@contextmanager
def stage_run(name: str, *, gpus: Callable[[HardwareParams], int | None] | None = None) -> Iterator[StageRun]:
    """Run the body as stage `name` (DVC's address, `train@sums`); see the module's docstring.

    Args: gpus: how many GPUs that no other stage holds it takes, where there are some (None: all). What asks CUDA for
    its devices (trl, vllm) must be imported in the body.

    On an error that a person can mend the message is printed and the process exits with 1.
    """
    started = time.monotonic()
    print_whatever_it_is()
    with ending_well(name):
        refuse_foreign_checkout()
        params = read_params()
        stage = find_stage(name, params)
        refuse_holes(params, stage)
        remove_strays(params, stage)
        run = StageRun(stage, params)
        run.state.mkdir(parents=True, exist_ok=True)
        waiting = time.monotonic()
        with held(run.state), _claimed(run, gpus) if gpus else nullcontext():
            started += time.monotonic() - waiting  # for a GPU: no time of this stage
            with EnergyMeter() as energy:
                try:
                    yield run
                    run.publish()
                finally:
                    run.discard()
                if watt_hours := energy.watt_hours():
                    run.facts["energy_wh"] = round(watt_hours, 3)
            write_journal(
                main=main_workspace(),
                stage=name,
                fingerprint=run.fingerprint,
                outs={out: content_hash(Path(out)) for out in run.stage.outs},
                git=run.git,
                seconds=time.monotonic() - started,
                facts=run.facts,
            )
            # Nobody has recorded what an orphan published, so the next `dvc repro` deletes it and asks again: then it
            # is published from this state, without doing the work twice.
            if not run.orphaned():
                shutil.rmtree(run.state, ignore_errors=True)


def _open_to_readers(path: Path) -> None:
    """Give files that only their owner may read (safetensors writes such) the mode of any new file."""
    umask = os.umask(0)
    os.umask(umask)
    for file in [path, *path.rglob("*")]:
        if file.is_file() and not file.stat().st_mode & 0o077:
            file.chmod(0o666 & ~umask)


def _claimed(
    run: StageRun, gpus: Callable[[HardwareParams], int | None]
) -> contextlib.AbstractContextManager[list[str]]:
    hardware = run.section("hardware", HardwareParams)
    return claimed_gpus(hardware, gpus(hardware))


@contextmanager
def ending_well(name: str) -> Iterator[None]:
    """Errors of stage `name` that a person can mend, printed without a traceback; the process exits with 1."""
    try:
        yield
    except SmolmathError as error:
        _exit(str(error), error.status)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _exit(
            f"{name}: no space left on a disk ({error}), and nothing was published. Make room (`dvc gc --workspace "
            "--all-commits` drops results that no commit names) and run `dvc repro` again."
        )


def _up_to_dvc() -> list[psutil.Process]:
    """This process's ancestors up to the `dvc` that started it; none where a person did.

    Not those above: a shell that logged out under `nohup dvc repro &` says nothing of the dvc.
    """
    chain = []
    for ancestor in psutil.Process().parents():
        chain.append(ancestor)
        try:
            if any(Path(word).name == "dvc" for word in ancestor.cmdline()):
                return chain
        except psutil.Error:  # somebody else's process
            break
    return []


def alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie, which waits for its parent to notice its end, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main_workspace() -> Path:
    """Where state lives: the main workspace, since DVC's temporary ones are thrown away."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def refuse_foreign_checkout() -> None:
    """An editable install would run the main checkout's code inside `dvc exp run --temp`; a stage refuses that."""
    imported = Path(smolmath.__file__).resolve().parent
    expected = Path("src/smolmath").resolve()
    if imported != expected:
        raise StageError(
            f"smolmath was imported from {imported}, but this stage belongs to {expected}. "
            "Run it from the repository's root as dvc.yaml does: PYTHONPATH=src python stages/..."
        )


def inputs(stage: Stage, params: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """(hash of each dep, value of each param), as DVC will write them into dvc.lock.

    Raises: StageError naming a dep that does not exist.
    """
    hashes = {}
    for dep in stage.deps:
        try:
            hashes[dep] = content_hash(Path(dep))
        except FileNotFoundError:
            raise StageError(
                f"{stage.name}: {dep} does not exist. Run `dvc repro {stage.name}`, which makes it first."
            ) from None
    return hashes, {key: lookup_or_none(params, key) for key in stage.params}


def find_stage(name: str, params: dict[str, Any]) -> Stage:
    """Raises: StageError if dvc.yaml has no such stage under these params."""
    stages = load_stages(params)
    if name not in stages:
        raise StageError(f"{name} is no stage of dvc.yaml under this params.yaml. There are: {', '.join(stages)}.")
    return stages[name]


def refuse_holes(params: Mapping[str, Any], stage: Stage) -> None:
    """Raises: StageError if a folder that the stage reads lacks an out, as `dvc repro --allow-missing` leaves it."""
    outs = {out: made.name.split("@")[0] for made in load_stages(params).values() for out in made.outs}
    lacking = {
        out: maker
        for out, maker in outs.items()
        if any(out.startswith(f"{dep}/") for dep in stage.deps) and not Path(out).exists()
    }
    if lacking:
        makers = " ".join(sorted({*lacking.values()}))
        raise StageError(
            f"{stage.name}: {next(iter(lacking))} is not here, and it reads the whole folder. Where a remote has "
            f"them: `dvc pull {makers}`. Else make them: `dvc repro` without --allow-missing."
        )


@contextmanager
def held(state: Path, what: str = "the same stage on the same inputs") -> Iterator[None]:
    """The state directory's lock: killing `dvc` leaves its stage running, and two equal experiments would share it.

    Args: what: what another process that holds it is doing, for the message.
    Raises: StageError that names the holder's pid.
    """
    holder = state.with_suffix(".pid")
    try:
        with FileLock(lock_of(state), timeout=0):
            holder.write_text(str(os.getpid()))
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
    except Timeout:
        pid = holder.read_text() if holder.is_file() else "unknown"
        raise StageError(f"{state} is in use by process {pid}: {what}. Wait for it, or end it: kill {pid}") from None


def lock_of(state: Path) -> Path:
    """The lock file of a state directory; whoever holds it uses the directory."""
    return state.with_suffix(".lock")


def _exit(message: str, status: int = 1) -> NoReturn:
    print(f"error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(status)
