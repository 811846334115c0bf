"""Weights & Biases, when params ask for it: one run per trained phase and per evaluation, one row per optimiser step.

W&B only watches: nothing that a stage writes comes from here, and a failure of W&B costs its charts, never a training.
What is resumed, lost and sent is described in docs/tracking.md. Keys are W&B's business and are never read here.
"""

import contextlib
import logging
import re
import shutil
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smolmath.errors import StageError
from smolmath.running.params import TrackingParams

INIT_TIMEOUT_S = 60.0  # for a server that doesn't answer when a run begins
FINISH_TIMEOUT_S = 300.0  # for uploads when it ends; what is left lies on disk, for `wandb sync`
FLUSH_S = 2.0  # W&B writes its file every 15 s: a process killed within them would leave an empty one


class Tracker:
    """A W&B run, from `tracked`. No method raises: W&B's first failure is printed, and what follows is skipped."""

    def __init__(self, run: Any) -> None:
        self._run = run
        # The server's last step + 1 for a run that goes on online, else 0. Offline there is no server to know it from.
        self._next = int(run.starting_step)
        self._folder = Path(run.settings.sync_dir)
        self._offline = bool(run.offline)
        self._resumed = self._failed = False

    def resume(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Take over the rows of steps that an earlier, killed process trained; call it before the first `log`.

        Rows that the server has are skipped; so online this closes the gap that a kill left, and offline, where a
        resumed process writes a new folder, that folder gets every row.
        Args: history: a mapping of values per step, with its number as `step`.
        """
        for row in sorted(history, key=lambda row: int(row["step"])):
            self.log(int(row["step"]), {name: value for name, value in row.items() if name != "step"})
        self._resumed = bool(history)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """The row of one optimiser step; None is left out, and a step that the run already has is skipped."""
        row = {name: value for name, value in values.items() if value is not None}
        self._row(step, lambda: row)

    def table(self, name: str, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table of rows, e.g. sampled completions, as `name` in the row of `step`."""

        def value() -> dict[str, Any]:
            import wandb

            columns = list(dict.fromkeys(column for row in rows for column in row))
            cells = [[row.get(column) for column in columns] for row in rows]
            return {name: wandb.Table(columns=columns, data=cells, allow_mixed_types=True)}

        self._row(step, value)

    def summary(self, values: Mapping[str, Any]) -> None:
        """Numbers of the whole run: metrics of an evaluation, seconds by activity."""
        self._attempt(lambda: self._run.summary.update({k: v for k, v in values.items() if v is not None}))

    def finish(self, exit_code: int) -> None:
        """End the run; offline, remove the folders of earlier processes whose rows this one's folder holds."""
        self._attempt(lambda: self._run.finish(exit_code=exit_code))
        if not self._failed:
            _tear_down()  # W&B's service closes the run's file only as it stops: finish() returns before that
        if self._offline and not self._failed and (exit_code == 0 or self._resumed):
            self._attempt(self._remove_superseded)

    def _row(self, step: int, value: Callable[[], dict[str, Any]]) -> None:
        if step < self._next:  # W&B would drop it too, with a warning for every row
            return
        self._next = step
        # W&B merges what is logged under one step until a higher one comes.
        self._attempt(lambda: self._run.log(value(), step=step))

    def _attempt(self, call: Callable[[], Any]) -> None:
        if self._failed:
            return
        try:
            call()
        # W&B raises its own errors, those of its mailbox and socket, and OSError; whichever, hours of training are
        # worth more than their charts. The stage's own errors don't pass here: they are raised outside these calls.
        except Exception as error:
            self._failed = True
            _say(
                f"W&B failed ({_reason(error)}) and this stage goes on without it; its outs and its journal are "
                f"written as always. What W&B had lies in {_shown(self._folder)}."
            )
            _tear_down()

    def _remove_superseded(self) -> None:
        run_id = re.escape(str(self._run.id))
        folder_of_this_id = re.compile(rf"offline-run-\d{{8}}_\d{{6}}-{run_id}(-\d+)?")  # -1: two in one second
        older = [
            path
            for path in sorted(self._folder.parent.iterdir())
            if folder_of_this_id.fullmatch(path.name) and path.name != self._folder.name
        ]
        if not older:
            return
        names = ", ".join(path.name for path in older)
        # W&B's service writes the file, and says nothing when the disk is full.
        if not _is_whole(Path(self._run.settings.sync_file)):
            _say(f"W&B: {self._folder.name} is cut off, perhaps by a full disk, so {names} is kept beside it.")
            return
        for path in older:
            shutil.rmtree(path, ignore_errors=True)
        _say(f"W&B: {names} removed: {self._folder.name} holds the run from its first step on.")


def _is_whole(file: Path) -> bool:
    """Whether W&B's file of a run goes on to its end, the record of the exit.

    Source: the log format of LevelDB, doc/log_format.md, after a header of 7 bytes.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    block, header = (
        32768,
        struct.Struct("<IHB"),
    )  # checksum, length, part of a record: 1 all, 2 first, 3 middle, 4 last
    data = file.read_bytes()
    position, parts, last = 7, b"", b""
    while position + header.size <= len(data):
        if block - position % block < header.size:  # no header fits into the rest of this block
            position += block - position % block
            continue
        _, length, part = header.unpack_from(data, position)
        position += header.size + length
        parts += data[position - length : position]
        if part in (1, 4):
            parts, last = b"", parts
    return position == len(data) and Record.FromString(last).WhichOneof("record_type") == "exit"


@contextmanager
def tracked(
    params: TrackingParams,
    *,
    run_id: str,
    name: str,
    job_type: str,
    phases: list[str],
    config: dict[str, Any],
    folder: Path,
) -> Iterator[Tracker | None]:
    """A W&B run around the body, or None; an error in the body ends it as failed.

    Args:
        run_id: the stage's fingerprint, so that a resumed stage goes on in the same run.
        name: what is shown for it. job_type: `train` or `evaluate`.
        phases: all of the recipe's; joined they are the default group. config: from `run_config` or
            `evaluation_config`.
        folder: where W&B puts its folder `wandb`.
    Raises: StageError if it should be online and nobody is logged in.
    """
    if params.wandb == "disabled":
        yield None
        return
    group = params.group or "-".join(phases)
    identity = {"id": run_id, "name": name, "job_type": job_type, "group": group, "config": config}
    tracker = _open(params, identity, folder)
    try:
        yield tracker
    except BaseException:
        if tracker:
            tracker.finish(exit_code=1)
        raise
    if tracker:
        tracker.finish(exit_code=0)


def _open(params: TrackingParams, identity: dict[str, Any], folder: Path) -> Tracker | None:
    """A started run; None, and a line, if W&B fails to start for a reason that no setting mends."""
    try:
        return _started(params, identity, folder)
    except Exception as error:  # as in Tracker._attempt
        _tear_down()  # its service still holds the run's id
        if _is_refusal(error):
            raise StageError(
                f"tracking.wandb is {params.wandb}, and W&B refuses: {_reason(error)}. Run `wandb login` or set "
                "WANDB_API_KEY; or set tracking.wandb: offline in params.yaml and upload later with `wandb sync`."
            ) from None
        if params.wandb == "offline":
            _say(f"W&B doesn't start ({_reason(error)}) and this stage goes on without it.")
            return None
        _say(f"W&B can't be reached ({_reason(error)}): this run is tracked offline.")
    return _open(params.model_copy(update={"wandb": "offline"}), identity, folder)


def _is_refusal(error: Exception) -> bool:
    """No login, an invalid key, a project that may not be written: wrong now and at any later time."""
    import wandb

    if isinstance(error, wandb.errors.AuthenticationError | wandb.errors.UsageError):
        return True
    # A key that the server doesn't know is no AuthenticationError in wandb 0.31, but a CommError with this text.
    return isinstance(error, wandb.errors.CommError) and re.search(r"\berror 40[13]\b", str(error)) is not None


def _started(params: TrackingParams, identity: dict[str, Any], folder: Path) -> Tracker:
    import wandb  # here, since it takes a second and most runs don't want it

    folder.mkdir(parents=True, exist_ok=True)
    mode = params.wandb
    # Info lines (where the run is, how it went) would come at the start and end of each stage; one of ours is enough.
    # The mode here wins over WANDB_MODE, by which login() would say that there is nothing to log in for.
    wandb.setup(wandb.Settings(mode=mode, show_info=False, show_warnings=False))
    logging.getLogger("wandb").setLevel(logging.WARNING)  # on a full disk each line for its log is a traceback
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        raise wandb.errors.UsageError("nobody is logged in on this machine")
    run = wandb.init(
        **identity,
        project=params.project,
        tags=params.tags,
        mode=mode,
        dir=str(folder),
        resume="allow" if mode == "online" else None,  # an offline run has no server to ask
        settings=wandb.Settings(
            quiet=True,
            console="off",  # a progress bar is no log, and a stage's output doesn't depend on a tracker
            disable_git=True,  # a remote's address can hold a token; the commit is in the config
            disable_code=True,
            x_disable_meta=True,  # command line, paths, user and host
            host="",
            init_timeout=INIT_TIMEOUT_S,
            finish_timeout=FINISH_TIMEOUT_S,
            finish_timeout_raises=True,
            x_transaction_log_flush_interval=FLUSH_S,
        ),
    )
    tracker = Tracker(run)
    where = _shown(Path(run.settings.sync_dir))
    _say(f"W&B: offline in {where}; to upload it: wandb sync {where}" if mode == "offline" else f"W&B: {run.url}")
    return tracker


def _tear_down() -> None:
    """Stop W&B's service and wait for it; one that is gone would end the stage with a traceback from atexit."""
    import wandb

    with contextlib.suppress(Exception):  # whatever it still has to say comes after the run's end
        wandb.teardown(exit_code=1)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
