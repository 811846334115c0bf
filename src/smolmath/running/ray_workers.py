"""Workers of a Ray cluster: the one of RAY_ADDRESS, else one of this machine that ends with the work.

A task that is lost with its process or its machine is done again by Ray. Every machine must see the checkout at the
same path: tasks begin in this process's directory, import this checkout's smolmath, and read and write its files.
"""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import smolmath
from smolmath.running.workers import AHEAD, WorkerError, available_cores, in_order

T = TypeVar("T")
R = TypeVar("R")
# Read when Ray is imported: no word about a future default, and no usage statistics.
QUIET = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}
_held: dict[str, Any] = {}  # in a worker: the function that it calls


@contextmanager
def ray_pool(workers: int | None) -> Iterator["RayPool"]:
    """Workers on Ray.

    Args: workers: tasks at a time; None: one for each CPU of the cluster.
    Raises: WorkerError if Ray is not installed, or nothing answers at its address.
    """
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    try:
        import ray
    except ImportError:
        raise WorkerError("hardware.data is ray, which is not installed here. Run: make setup") from None
    address = os.environ.get("RAY_ADDRESS")
    scratch = None if address else tempfile.mkdtemp(prefix="ray-")
    try:
        if address:
            _connect(ray, address)
        else:
            cores = workers or available_cores()
            ray.init("local", num_cpus=cores, include_dashboard=False, _temp_dir=scratch, **_quietly())
        yield RayPool(ray, workers or int(ray.cluster_resources()["CPU"]))
    finally:
        ray.shutdown()
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)


def _connect(ray: Any, address: str) -> None:
    try:
        host, _, port = address.rpartition("/")[2].rpartition(":")
        if port.isdigit():  # else `auto`, which Ray looks up; it asks for minutes where nobody answers
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, **_quietly())
    except (ConnectionError, TimeoutError, socket.gaierror) as error:
        raise WorkerError(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({error}). Start it, or unset it."
        ) from None


def _quietly() -> dict[str, Any]:
    """Options of every connection; workers find modules where this process does."""
    paths = [str(Path(smolmath.__file__).parent.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    found = os.pathsep.join(str(Path(path).resolve()) for path in paths if path)
    return {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": {"PYTHONPATH": found}},
    }


class RayPool:
    """Args: ray: the module, connected. workers: tasks at a time."""

    def __init__(self, ray: Any, workers: int) -> None:
        self._ray, self._workers = ray, workers

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        held = [self._ray.put(function)]  # in a list Ray leaves it as it is, and the worker reads it once
        task, folder, errors = self._ray.remote(_call), os.getcwd(), self._ray.exceptions
        died = (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError)
        try:
            yield from in_order(
                lambda item: task.remote(held, item, folder).future(), items, ahead=AHEAD * self._workers, died=died
            )
        except errors.RayTaskError as error:
            raise error.cause from None


def _call(held: list[Any], item: Any, folder: str) -> Any:
    import ray

    try:
        os.chdir(folder)
    except OSError:
        raise WorkerError(
            f"a worker on {os.uname().nodename} does not see {folder}: the machines of a Ray cluster must share the "
            "checkout's folder, at the same path. Or set hardware.data to local."
        ) from None
    if (name := held[0].hex()) not in _held:
        _held.clear()
        _held[name] = ray.get(held[0])
    return _held[name](item)
