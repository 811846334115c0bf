"""Where the `smolmath` command begins, outside of the package: PYTHONPATH may hold another one of its name."""

import os
import site
import sys


def main() -> None:
    """Run the command line, with as much of PYTHONPATH as stages see: a checkout's src, no other project's modules.

    What lies on it comes before what is installed: a `datasets.py` of somebody's own would be taken for the library.
    """
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    ours = [entry for entry in entries if os.path.isfile(os.path.join(entry, "smolmath", "cli.py"))]
    installed = {*site.getsitepackages(), os.path.dirname(os.__file__)}
    foreign = {os.path.abspath(entry) for entry in entries if entry not in ours} - installed
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) not in foreign]
    os.environ["PYTHONPATH"] = os.pathsep.join(ours)  # for the processes that it starts

    from smolmath.cli import app
    from smolmath.running.progress import print_whatever_it_is

    print_whatever_it_is()
    app()
