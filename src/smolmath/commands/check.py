"""`smolmath check`: params.yaml before any work."""

from smolmath.commands import fail
from smolmath.params.core import ParamsError


def check() -> None:
    """Say everything that is wrong with params.yaml, also what DVC itself cannot parse."""
    from smolmath.running.check import check_file

    try:
        mistakes = check_file()
    except ParamsError as error:
        mistakes = str(error).splitlines()
    if mistakes:
        fail("params.yaml:\n  " + "\n  ".join(mistakes))
    print("params.yaml is sound.")
