"""`smolmath page`: a web page to try a model on."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from smolmath.commands import fail
from smolmath.commands.options import Host, Model


def page(
    model: Model = None,
    against: Annotated[str | None, typer.Option(help="A model beside it, or none; base, where it is here.")] = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 7860,
) -> None:
    """Open a web page to try a model on: ask, see it reason, compare it with its base.

    smolmath page
    smolmath page --model sums --against legs
    """
    from smolmath.params.core import read_params
    from smolmath.using.serving import web
    from smolmath.using.solving.models import find_model, has_weights

    web.end_at_once_on_signals()
    if importlib.util.find_spec("gradio") is None:
        fail('gradio: not installed. Run: pip install "smolmath[web]" (or make setup)')
    params = read_params()
    found = find_model(model, params)
    if against is None and found.name != "base" and has_weights(Path("models/base")):
        against = "base"
    models = [found] if against in (None, "none") else [found, find_model(against, params)]
    with web.listen(host, port) as listening:
        print(f"loading {' and '.join(one.name for one in models)} …", flush=True)
        from smolmath.using.serving.page import page
        from smolmath.using.solving.reasoner import Reasoner

        # One person tries things: transformers loads two models side by side, which vLLM's share of a GPU forbids.
        app = page([Reasoner.load(one, params, engine="transformers") for one in models])
        print(f"the page is at {web.address(listening)} (Ctrl-C stops it)", flush=True)
        web.warn_if_open(host)
        web.run(app, listening, log_requests=False)
