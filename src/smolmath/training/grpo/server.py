"""`hardware.vllm: server`: a look at the server before the training begins.

TRL waits four minutes for a server that is not up, and sends its weights to whatever model is served: one of another
shape would break in the middle of the first step, on the server's side.
"""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from smolmath.errors import StageError

TIMEOUT_S = 10.0
START = (
    "VLLM_SERVER_DEV_MODE=1 vllm serve {model} --dtype {dtype} --logprobs-mode processed_logprobs "
    '--weight-transfer-config \'{{"backend": "nccl"}}\''
)
# What of a model's config its weights' shapes depend on.
SHAPE = (
    "architectures",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "tie_word_embeddings",
)


def refuse_server(url: str, init: Path, dtype: str) -> None:
    """Ask the server whether it can generate for a phase that starts from `init` and computes in `dtype`.

    Its weights may be any (the training sends its own before the first completion); their shapes and type and the
    tokenizer must be the phase's.

    Raises: StageError if it can't be reached, serves another model, can't take weights, or reports other
        probabilities than it samples by.
    """
    start = START.format(model=init, dtype=dtype)
    served = _served(url, start)
    _refuse_other_model(url, served, init, start)
    info = _get(f"{url}/server_info?config_format=json", url, start)
    if info is None:
        raise StageError(f"hardware.vllm_server: the server at {url} takes no weights. Start it so: {start}")
    config = info.get("vllm_config", {})
    if not config.get("weight_transfer_config"):
        raise StageError(
            f"hardware.vllm_server: the server at {url} has no engine to take weights by. Start it so: {start}"
        )
    served_as = config.get("model_config", {})
    # Raw ones are those before temperature and top_p: the correction for what vLLM computes otherwise would be wrong.
    if (mode := served_as.get("logprobs_mode")) != "processed_logprobs":
        raise StageError(
            f"hardware.vllm_server: the server at {url} reports {mode}, not the probabilities that it samples by. "
            f"Start it so: {start}"
        )
    if (theirs := str(served_as.get("dtype")).removeprefix("torch.")) != dtype:
        raise StageError(
            f"hardware.vllm_server: the server at {url} computes in {theirs}, and the training in {dtype} "
            f"(model.dtype). Start it so: {start}"
        )


def _served(url: str, start: str) -> str:
    models = _get(f"{url}/v1/models", url, start)
    try:
        first = models["data"][0]
        return str(first.get("root") or first["id"])
    except (TypeError, KeyError, IndexError):
        raise StageError(
            f"hardware.vllm_server: what answers at {url} is no vLLM server. Start one: {start}"
        ) from None


def _refuse_other_model(url: str, served: str, init: Path, start: str) -> None:
    theirs, ours = Path(served), init
    if not (theirs / "config.json").is_file():
        raise StageError(
            f"hardware.vllm_server: the server at {url} serves {served}, which is no folder here, and the phase "
            f"starts from {init}. Start it in this project's folder: {start}"
        )
    configs = [json.loads((folder / "config.json").read_text(encoding="utf-8")) for folder in (theirs, ours)]
    for key in SHAPE:
        if configs[0].get(key) != configs[1].get(key):
            raise StageError(
                f"hardware.vllm_server: the server at {url} serves {served}, another model than {init}: its {key} is "
                f"{configs[0].get(key)}, not {configs[1].get(key)}. Start it with the phase's model: {start}"
            )
    if (theirs / "tokenizer.json").read_bytes() != (ours / "tokenizer.json").read_bytes():
        raise StageError(
            f"hardware.vllm_server: {served}, which the server at {url} serves, has another tokenizer than {init}. "
            f"Start it with the phase's model: {start}"
        )


def _get(address: str, url: str, start: str) -> Any:
    """The JSON at an address; None where the server has no such page."""
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            return None
        raise StageError(f"hardware.vllm_server: the server at {url} answers {error.code} {error.reason}.") from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise StageError(
            f"hardware.vllm_server: no vLLM server answers at {url} ({reason}). Start it, and wait until it is up: "
            f"{start}"
        ) from None
