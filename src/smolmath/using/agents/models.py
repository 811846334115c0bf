"""The trained model as an agent's own: on this machine, by transformers or vLLM, or on a server."""

import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import smolagents
from smolagents import MessageRole

from smolmath.engines import require_vllm
from smolmath.params.core import load_section, read_params
from smolmath.running.params import HardwareParams
from smolmath.using.agents.errors import AgentError
from smolmath.using.solving.models import FoundModel, find_model

ANSWER_S = 10  # how long a server may take to say which models it has


def load_agent_model(
    asked: str | None = None,
    *,
    model_id: str | None = None,
    max_completion_tokens: int = 1024,
    params: Mapping[str, Any] | None = None,
) -> smolagents.Model:
    """A model for a smolagents agent, ready to generate.

    Args:
        asked: a phase, `base`, a directory, an id on the hub, or the address of an OpenAI-compatible server such as
            http://localhost:8000/v1; None is the last phase that has been trained. `hardware.engine` says whether a
            model on this machine runs by transformers or by vLLM. A server is shown OPENAI_API_KEY, where it is set.
        model_id: of a server that has several, the one to use.
        max_completion_tokens: of one step. smolagents gives vLLM no such limit; there it is 2048.
        params: params.yaml, read if not given; a server needs none.
    Raises: AgentError if the server or vLLM can't be used; ModelError, StageError as `find_model`.
    """
    if asked is not None and is_address(asked):
        return _served(asked, model_id, max_completion_tokens)
    if model_id is not None:
        raise AgentError(f"a model id names one of a server's models, and {asked or 'none'} is no server's address.")
    params = read_params() if params is None else params
    model = find_model(asked, params)
    hardware = load_section(params, "hardware", HardwareParams)
    if hardware.engine == "vllm":
        return _by_vllm(model, hardware)
    return _by_transformers(model, hardware, max_completion_tokens)


def is_address(asked: str) -> bool:
    """Raises: AgentError for an address that lacks http://, which is no name of a model either."""
    if re.match(r"[\w.-]+:\d+(/|$)", asked):
        raise AgentError(f"{asked}: an address begins with http:// or https://. Try: http://{asked}")
    return asked.startswith(("http://", "https://"))


def for_two(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """params.yaml for two models side by side: of vLLM, each takes half of what one would take of the GPU."""
    hardware = load_section(params, "hardware", HardwareParams)
    if hardware.engine != "vllm":
        return params
    return {**params, "hardware": {**params["hardware"], "gpu_memory": hardware.gpu_memory / 2}}


def describe(model: smolagents.Model) -> str:
    """Which model that is, and where, for people."""
    where = getattr(model, "client_kwargs", {}).get("base_url")
    return f"{model.model_id} at {where}" if where else str(model.model_id)


class _PlainRoles:
    """Roles as text: a chat template that prints smolagents' own writes `MessageRole.USER` where `user` must stand."""

    def _prepare_completion_kwargs(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        prepared: dict[str, Any] = super()._prepare_completion_kwargs(*arguments, **named)  # type: ignore[misc]
        messages = [message | {"role": MessageRole(message["role"]).value} for message in prepared["messages"]]
        return prepared | {"messages": messages}


class _Transformers(_PlainRoles, smolagents.TransformersModel):  # type: ignore[misc]
    pass


class _Vllm(_PlainRoles, smolagents.VLLMModel):  # type: ignore[misc]
    pass


def _by_transformers(model: FoundModel, hardware: HardwareParams, max_completion_tokens: int) -> smolagents.Model:
    from smolmath.engines.transformers import device_of, load_tokenizer, no_code_of
    from smolmath.kernels import arithmetic  # before torch

    if hardware.threads:
        import torch

        torch.set_num_threads(hardware.threads)
    device = device_of(hardware)
    # First: without a chat template nothing need be loaded.
    tokenizer = load_tokenizer(model.folder, model.prompt.chat_template_kwargs)
    with no_code_of(model.folder):
        loaded = _Transformers(
            model_id=str(model.folder),
            device_map=device,
            trust_remote_code=False,
            max_new_tokens=max_completion_tokens,
            model_kwargs={"dtype": arithmetic(model.dtype, device), "use_safetensors": True},
        )
    loaded.tokenizer = tokenizer  # the same end tokens as everywhere in smolmath
    return loaded


def _by_vllm(model: FoundModel, hardware: HardwareParams) -> smolagents.Model:
    require_vllm("hardware.engine", "transformers")
    from vllm.platforms import current_platform

    from smolmath.kernels import arithmetic

    if importlib.util.find_spec("vllm.transformers_utils.tokenizer") is None:
        # smolagents 1.26 imports `get_tokenizer` from a module that vLLM 0.31 no longer has.
        from vllm.tokenizers import get_tokenizer

        moved = ModuleType("vllm.transformers_utils.tokenizer")
        moved.get_tokenizer = get_tokenizer  # type: ignore[attr-defined]  # the module is made here
        sys.modules[moved.__name__] = moved
    on_cpu = current_platform.is_cpu()
    settings = {
        "dtype": arithmetic(model.dtype, "cpu" if on_cpu else "cuda"),
        "gpu_memory_utilization": hardware.gpu_memory,
        "enforce_eager": on_cpu,
        "disable_log_stats": True,
        "trust_remote_code": False,
    }
    return _Vllm(model_id=str(model.folder), model_kwargs=settings, use_tqdm=False)


def _served(address: str, model_id: str | None, max_completion_tokens: int) -> smolagents.Model:
    if importlib.util.find_spec("openai") is None:
        raise AgentError('a server needs the client openai. Run: pip install "smolmath[agents]" (or make setup).')
    base = _base_address(address)
    key = os.environ.get("OPENAI_API_KEY", "none")  # the client insists on one; servers of one's own read none
    return smolagents.OpenAIModel(
        model_id=_model_on_server(base, key, model_id),
        api_base=base,
        api_key=key,
        max_tokens=max_completion_tokens,
        flatten_messages_as_text=True,  # every chat template reads text; some can't read the list of parts
    )


def _base_address(address: str) -> str:
    """Where the API lies: `/v1` if no path is named."""
    base = address.rstrip("/")
    try:
        parts = urlsplit(base)
    except ValueError as error:
        raise AgentError(f"{address} is no address ({error}). One looks like http://localhost:8000/v1.") from None
    if parts.username is not None:  # and not repeated here: it may hold a password
        raise AgentError("the address holds a user name. Put the server's key in the environment: OPENAI_API_KEY.")
    return base if parts.path else f"{base}/v1"


def _model_on_server(base: str, key: str, model_id: str | None) -> str:
    """The model to ask for: the named one if the server has it, else its only one."""
    listed = _listed(base, key)
    if model_id is None:
        if len(listed) == 1:
            return listed[0]
        has = f"has {', '.join(listed)}" if listed else "doesn't say which models it has"
        raise AgentError(f"{base} {has}: name the one to use with its id (--model-id).")
    if model_id not in listed:
        # Some servers answer for models that they don't list (transformers' own does), so that it is asked.
        asked = {"model": model_id, "max_tokens": 1, "messages": [{"role": "user", "content": "1 + 1 = ?"}]}
        answer = _request("POST", f"{base}/chat/completions", key, base, json=asked, timeout=None)
        if answer.is_error:
            has = f" It has {', '.join(listed)}." if listed else ""
            raise AgentError(f"{base} does not serve {model_id} ({_reason(answer)}).{has}")
    return model_id


def _listed(base: str, key: str) -> list[str]:
    """Ids of GET /v1/models; none if the server has no such list."""
    answer = _request("GET", f"{base}/models", key, base, timeout=ANSWER_S)
    if answer.status_code in (401, 403):
        raise AgentError(f"{base} wants a key ({_reason(answer)}). Put it in the environment: OPENAI_API_KEY.")
    if answer.status_code == 404:
        raise AgentError(f"{base} is no OpenAI-compatible API: it has no /models. Its address mostly ends in /v1.")
    try:
        return [str(model["id"]) for model in answer.json()["data"]]
    except (ValueError, KeyError, TypeError):
        if answer.is_error:  # a fault of the list's, not of the server's: it may yet answer for a model that is named
            return []
        raise AgentError(f"{base} is no OpenAI-compatible API: what it gives at /models is no list.") from None


def _request(method: str, url: str, key: str, base: str, **options: Any) -> Any:
    import httpx

    try:
        return httpx.request(method, url, headers={"Authorization": f"Bearer {key}"}, **options)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AgentError(
            f"no server answers at {base} ({error or type(error).__name__}). Start one, e.g. vllm serve models/legs "
            "or smolmath serve, and name its address: http://localhost:8000/v1."
        ) from None


def _reason(answer: Any) -> str:
    """The status and what the server says, in a line."""
    said = " ".join(answer.text.split())
    return f"{answer.status_code}: {said[:200]}" if said else str(answer.status_code)
