"""`smolmath check`: params.yaml before any work."""

from smolmath.commands import fail
from smolmath.params.core import ParamsError, read_params


def check() -> None:
    """Say everything that is wrong with params.yaml, also what DVC itself cannot parse."""
    from smolmath.running.check import check_params

    try:
        mistakes = check_params(read_params())
    except ParamsError as error:
        mistakes = str(error).splitlines()
    if mistakes:
        fail("params.yaml:\n  " + "\n  ".join(mistakes))
    print("params.yaml is sound.")
