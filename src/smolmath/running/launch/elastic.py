"""Processes by torch's elastic launcher, which `torchrun` is too: started, watched, and ended together.

The first that ends badly ends all: torch sends the others SIGTERM, and SIGKILL to who is still there after a while. A
SIGTERM or Ctrl-C for this process goes on to them, so that a training can save at the end of its step.
"""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smolmath.errors import SmolmathError, StageError
from smolmath.running.devices import variable
from smolmath.running.launch.config import LaunchError, LostProcessError

SHUTDOWN_S = 120  # for the step that is being trained to end, and to be saved
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_processes(
    what: Callable[..., Any] | list[str],
    *arguments: Any,
    name: str,
    count: int,
    logs: Path,
    threads: int,
    machines: int = 1,
    address: str | None = None,
    wait_minutes: float = 10,
) -> list[Any]:
    """Run `what(*arguments)`, or a command line, in `count` processes of this machine, and wait for their end.

    Each has torch's RANK, WORLD_SIZE and LOCAL_RANK in its environment. Local process 0 writes to this terminal, the
    others to files.

    Args:
        what: a function must pickle, with its arguments.
        name: of the work, for messages.
        logs: folder for what the processes write and for their errors.
        threads: of each process on the CPU.
        machines: that take part; the others run torchrun with this `name` as --rdzv-id.
        address: HOST:PORT of this one, where several meet.
        wait_minutes: for the other machines.

    Returns: what each call returned, by rank; of a command line nothing.
    Raises: StageError that says which process ended how; LaunchError if the machines don't meet.
    """
    # Not at the top: a stage in one process needs none of it.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError, RendezvousTimeoutError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for quiet in ("torch.distributed.elastic", "torch.distributed.launcher", "torch.multiprocessing"):
        logging.getLogger(quiet).setLevel(logging.CRITICAL)  # it is said in our words
    logs.mkdir(parents=True, exist_ok=True)
    config = LaunchConfig(
        min_nodes=machines,
        max_nodes=machines,
        nproc_per_node=count,
        run_id=name,
        rdzv_backend="c10d",
        rdzv_endpoint=address or "127.0.0.1:0",
        rdzv_configs={"is_host": True, "join_timeout": round(60 * wait_minutes)},
        max_restarts=0,
        local_addr=None if address else "127.0.0.1",
        shutdown_timeout=SHUTDOWN_S,
        signals_to_handle=",".join(number.name for number in SIGNALS),
        logs_specs=DefaultLogsSpecs(str(logs), redirects={local: Std.ALL for local in range(1, count)}),
    )
    entry, given = (what[0], what[1:]) if isinstance(what, list) else (what, arguments)
    with variable("OMP_NUM_THREADS", str(threads)), _handlers():  # torch reads it as it is imported
        try:
            results: dict[int, Any] = elastic_launch(config, entry)(*given)
        except ChildFailedError as error:
            for failure in error.failures.values():
                with contextlib.suppress(ProcessLookupError):  # what it had started itself
                    os.killpg(failure.pid, signal.SIGKILL)
            raise StageError(_ended(name, count * machines, error.failures)) from None
        except SignalException as stopped:
            raise StageError(
                f"{name}: stopped by {signal.Signals(stopped.sigval).name}, and so were its processes. `dvc repro` "
                "goes on from what they have saved."
            ) from None
        except RendezvousTimeoutError:
            raise LaunchError(
                f"{name}: after {wait_minutes:g} minutes (hardware.wait_minutes) not all of {machines} machines had "
                f"met at {address}. Start torchrun on the others as docs/cluster.md says, or set num_machines to 1."
            ) from None
        except RendezvousError as error:
            if machines == 1:
                raise LaunchError(f"{name}: its processes could not be started: {error}") from None
            raise LaunchError(
                f"{name}: {address} can't be listened at ({error.__cause__ or error}). Another program "
                "may hold the port: name another main_process_port in the file that hardware.accelerate names."
            ) from None
    return [results[rank] for rank in sorted(results)]


def _ended(name: str, processes: int, failures: dict[int, Any]) -> str:
    # In the order in which they were noticed; who has only lost another, or was ended for it, is no cause.
    followed = LostProcessError.status, -signal.SIGTERM
    rank = next((rank for rank, failure in failures.items() if failure.exitcode not in followed), next(iter(failures)))
    failure = failures[rank]
    which = f"{name}: process {rank} of {processes}"
    if failure.exitcode < 0:
        return (
            f"{which} was ended by {failure.signal_name()}, and the others were ended with it. When memory is short "
            "the system ends the largest process: lower hardware.micro_batch or hardware.engines then. `dvc repro` "
            "goes on from what is saved."
        )
    ended = f"{which} ended with an error, and the others were ended with it"
    if not isinstance(failure.message, dict):  # it ended without an exception
        return f"{ended}. It wrote into {failure.error_file}"
    said = failure.message["message"]
    if not said.startswith("StageError: "):
        print(failure.message["extraInfo"]["py_callstack"], file=sys.stderr)
    return f"{ended}: {said.removeprefix('StageError: ')}"


@contextmanager
def part_of_processes() -> Iterator[None]:
    """In one of the processes of a command line: hand the error that ends it to the process that started it."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    try:
        yield
    except Exception as error:
        said = StageError(str(error)) if isinstance(error, SmolmathError) else error
        get_error_handler().record_exception(said)
        raise


@contextmanager
def _handlers() -> Iterator[None]:
    """torch leaves its handlers in place."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
