"""Stages of test projects, forked off a process that has imported torch, transformers and TRL already.

Importing them costs 10 s of CPU, and the slow tests start some 180 trainings and generators, and other stages by the
hundred. The server imports, computes nothing, and forks for each stage; the stage's own code, smolmath's too, is
imported anew from the test's project.

A project's PATH begins with a folder whose `python` (SHIM) hands stages to the server, with their arguments,
environment, working directory, output and exit status, and runs everything else by the real Python. Tests that kill a
stage, or look at whose child it is, do without: see `Project.real_processes`. What ends the shim kills its stage.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from pathlib import Path

SHIM = """#!{python} -SE
import json, os, socket, sys
if sys.argv[1:2] and sys.argv[1].startswith("stages/"):
    with socket.socket(socket.AF_UNIX) as server:
        server.connect({address!r})
        asked = {{"python": {shim!r}, "arguments": sys.argv[1:]}}
        asked |= {{"environment": dict(os.environ), "folder": os.getcwd()}}
        socket.send_fds(server, [b"x"], [0, 1, 2])
        server.sendall(json.dumps(asked).encode() + b"\\n")
        status = server.makefile().readline()
    sys.exit(int(status or 1))
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def write_shim(folder: Path, address: str) -> None:
    """A folder for the head of PATH."""
    folder.mkdir()
    shim = folder / "python"
    shim.write_text(SHIM.format(python=sys.executable, shim=str(shim), address=address))
    shim.chmod(0o755)


def serve(address: str, runs_tests: int) -> None:
    """Fork a process for each stage that is asked for; returns, in that process, when its stage has ended.

    Args: runs_tests: the process without which nobody asks any more.
    """
    preload()
    gc.freeze()  # what is there already: no child looks through it again, and copies it by that
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.new")
        listening.listen(64)
        os.rename(f"{address}.new", address)  # whoever sees it can connect
        listening.settimeout(5)
        while True:
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                os.kill(runs_tests, 0)  # an error ends this process as well
                continue
            connection.setblocking(True)
            if os.fork() == 0:
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    stage = os.fork()
    if stage == 0:
        run(connection)
        return
    waited = select.poll()
    waited.register(ended := os.pidfd_open(stage), select.POLLIN)
    waited.register(connection, select.POLLRDHUP)
    if ended not in dict(waited.poll()):  # who asked was killed
        os.kill(stage, signal.SIGKILL)
    _, status = os.waitpid(stage, 0)
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def preload() -> None:
    kernels = Path(__file__).parent.parent / "src" / "smolmath" / "kernels.py"
    runpy.run_path(str(kernels))  # its environment variables must be there before torch
    import datasets  # noqa: F401
    import peft  # noqa: F401
    import reasoning_gym  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM  # noqa: F401
    from trl import GRPOTrainer, SFTTrainer  # noqa: F401

    assert not [name for name in sys.modules if name.partition(".")[0] == "smolmath"]


def run(connection: socket.socket) -> None:
    """Become `python STAGE ARGUMENTS` as the shim was started."""
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    asked = json.loads(connection.makefile().readline())
    connection.close()
    for descriptor, standard in zip(descriptors, (0, 1, 2), strict=True):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    # The server's own are made for what it writes to, a file that one can go back in, say.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # these three stay open as long as the process lives
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.executable = asked["python"]  # the processes of one training are forked too
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    script, *_ = sys.argv = asked["arguments"]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    sys.path[:0] = [os.path.abspath("stages"), *map(os.path.abspath, paths)]
    status = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        if ended.code is not None and not isinstance(ended.code, int):
            raise
        status = ended.code or 0
    # As Python ends, but for the 1.5 s in which it would take down, and so copy, all that the server has imported.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, which no stage has on its path
    with contextlib.suppress(ProcessLookupError):
        serve(sys.argv[1], int(sys.argv[2]))
