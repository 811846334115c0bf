"""`smolmath check`: params.yaml before any work."""

from smolmath.commands import fail
from smolmath.params.core import ParamsError, read_params


def check() -> None:
    """Say everything that is wrong with params.yaml, also what DVC itself cannot parse, and what is seldom meant."""
    from smolmath.running.check import check_file, warnings

    try:
        mistakes = check_file()
        params = read_params()
    except ParamsError as error:
        mistakes = str(error).splitlines()
    if mistakes:
        fail("params.yaml:\n  " + "\n  ".join(mistakes))
    for warning in warnings(params):
        print(f"warning: {warning}")
    print("params.yaml is sound.")
