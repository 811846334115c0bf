"""An address that is taken before the model loads, and a server on it that ends cleanly."""

import copy
import errno
import os
import signal
import socket
from contextlib import closing
from types import FrameType
from typing import Any

from smolmath.errors import SmolmathError

_GRACE_S = 3  # what is being answered at Ctrl-C has so long to end


class AddressError(SmolmathError):
    """An address that can't be served on."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens already: the port is this process's before minutes are spent on loading a model.

    Args: port: 0 is any free one. Raises: AddressError if the port is in use, or the host is not this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressError(
                f"port {port} of {host} is in use by another program. Take a free one: --port {_free_port(host, port)}"
            ) from None
        if error.errno == errno.EACCES:
            raise AddressError(f"port {port} is the administrator's. Take one above 1023: --port 8000") from None
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise AddressError(
            f"{host} is no address of this machine ({reason}). 127.0.0.1 is reached from this machine alone, "
            "0.0.0.0 from every network that it is in."
        ) from None


def address(listening: socket.socket) -> str:
    """`http://host:port` of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def warn_if_open(host: str) -> None:
    if host not in ("localhost", "127.0.0.1", "::1"):
        print("whoever reaches this address can use the model: it has no password and no encryption.", flush=True)


def run(app: Any, listening: socket.socket, *, log_requests: bool) -> None:
    """Serve an ASGI app until a signal; uvicorn then hands it on to the handler that stood before."""
    import uvicorn

    log = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    log["loggers"]["uvicorn.error"]["level"] = "ERROR"  # not: started, waiting for startup, application started
    config = uvicorn.Config(app, log_config=log, access_log=log_requests, timeout_graceful_shutdown=_GRACE_S)
    uvicorn.Server(config).run(sockets=[listening])


def end_at_once_on_signals() -> None:
    """Ctrl-C and SIGTERM end this process with one line and the codes that shells expect (130, 143).

    At once, since there is nothing to tidy up: an exception amid the import of torch or transformers would be
    swallowed, or reported as theirs. While the server runs it closes its connections first.
    """

    def end(number: int, frame: FrameType | None) -> None:
        print("\nstopped.", flush=True)
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def _free_port(host: str, port: int) -> int:
    """The next port above that is free."""
    for candidate in range(port + 1, min(port + 50, 65536)):
        try:
            with closing(socket.create_server((host, candidate))):
                return candidate
        except OSError:
            continue
    return 0
