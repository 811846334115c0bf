"""Base models: shipped, local or on the hub, copied file by file; nothing is loaded, so nothing can run."""

import shutil
import sys
from pathlib import Path

from smolmath.errors import StageError
from smolmath.params.model import HubModel, Model

# What a model directory in Hugging Face layout needs to be used. No pickles, no code, no optimizer.
WANTED = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "smolmath.json",
)


def copy_base(model: Model, out: Path) -> None:
    """Copy the model's files into `out`. Raises: StageError if it can't be had or is no usable model directory."""
    source = model_from_hub(model.id, model.revision) if isinstance(model, HubModel) else Path(model.path)
    if not source.is_dir():
        raise StageError(f"model.path: the model directory {source} does not exist.")
    out.mkdir(parents=True)
    for pattern in WANTED:
        for file in sorted(source.glob(pattern)):
            shutil.copyfile(file, out / file.name)
    if not (out / "config.json").is_file() or not list(out.glob("*.safetensors")):
        pickled = list(source.glob("*.bin"))
        hint = " Pickled weights (*.bin) are never loaded: convert them to safetensors." if pickled else ""
        raise StageError(f"{source} lacks config.json or *.safetensors, so it is no model directory.{hint}")


def model_from_hub(name: str, revision: str | None) -> Path:
    """The folder of the hub's cache with a model's files. Raises: StageError if they can't be had."""
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        info = huggingface_hub.HfApi().model_info(name, revision=revision)
        if revision != info.sha:
            print(f"warning: {name} can move. Pin it in params.yaml: revision: {info.sha}", file=sys.stderr)
        return Path(huggingface_hub.snapshot_download(name, revision=info.sha, allow_patterns=list(WANTED)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, httpx.HTTPError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StageError(
            f"the Hugging Face hub cannot be reached for the model {name} ({reason}). Check network and id, "
            "or use source: files with a local model directory."
        ) from None
