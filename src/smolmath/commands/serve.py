"""`smolmath serve`: an OpenAI-compatible endpoint."""

import importlib.util
import os
import shlex
from typing import Annotated

import typer

from smolmath.commands import fail
from smolmath.commands.options import Host, Model


def serve(
    model: Model = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
) -> None:
    """Serve a model to OpenAI clients: vLLM's server where hardware.engine is vllm, else transformers'.

    smolmath serve
    smolmath serve --model base --port 8001
    """
    from smolmath.params.core import load_section, read_params
    from smolmath.running.params import HardwareParams
    from smolmath.using.serving import web
    from smolmath.using.solving.models import find_model

    web.end_at_once_on_signals()
    params = read_params()
    hardware = load_section(params, "hardware", HardwareParams)
    found = find_model(model, params)
    with web.listen(host, port) as listening:
        if hardware.engine == "vllm":
            from smolmath.using.serving import vllm

            if vllm.vllm_is_here():
                command = vllm.vllm_command(found, hardware, host, listening.getsockname()[1])
                print(shlex.join(command), flush=True)
                listening.close()
                os.execv(vllm.executable(), command)
            print("hardware.engine is vllm, which is not installed: serving with transformers.")
        needed = ("fastapi", "uvicorn", "openai")
        if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
            fail(f'{", ".join(missing)}: not installed. Run: pip install "smolmath[serve]" (or make setup)')
        print(f"loading {found.name} from {found.folder} …", flush=True)
        from smolmath.using.solving.reasoner import Reasoner  # before what imports torch: it chooses the CPU's kernels

        reasoner = Reasoner.load(found, params, engine="transformers")
        from smolmath.engines.transformers import TransformersEngine
        from smolmath.using.serving.api import model_server

        assert isinstance(reasoner.engine, TransformersEngine)
        app = model_server(found, reasoner.engine)
        print(f"serving {found.name} at {web.address(listening)}/v1 (Ctrl-C stops it)", flush=True)
        web.warn_if_open(host)
        web.run(app, listening, log_requests=True)
