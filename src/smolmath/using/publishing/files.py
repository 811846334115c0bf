"""The files that a model is published as: those that plain transformers, peft and vLLM load, and no others.

By whole names and by what is in them, never by following a link: what lies in a model's folder may be anybody's.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open

from smolmath.errors import SmolmathError

CARD = "README.md"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
MANIFEST = "smolmath-files.json"  # what a push or an export has written, and may therefore remove
WEIGHTS = ("config.json", "*.safetensors", "*.safetensors.index.json")  # what an adapter is published without
PUBLISHED = (
    *WEIGHTS, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "smolmath.json",
    *(f"{name}{suffix}" for name in ("LICENSE", "LICENCE", "NOTICE") for suffix in ("", ".txt", ".md")),
)  # fmt: skip
_TEXT = {"", ".txt", ".md", ".jinja"}
_IN_DVCS_CACHE = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")

Files = dict[str, Path | bytes]  # path inside the repository -> where its bytes lie, or the bytes


class PublishError(SmolmathError):
    """A model that can't be published as asked."""


def model_files(folder: Path) -> Files:
    """The whole model: weights, configs, tokenizer, chat template, smolmath.json. An adapter is merged in them.

    Raises: PublishError if weights are missing or not whole.
    """
    files = _matching(folder, PUBLISHED)
    _check_shards(folder, files)
    _check_weights(files)
    return files


def adapter_files(folder: Path, name: str, *, base: str, revision: str | None) -> Files:
    """A LoRA phase's adapter with the tokenizer and the chat template that it was trained with.

    Args:
        base: a hub id or a directory: the model that the adapter is put on. peft loads it by itself.
        revision: of the hub id, where it is pinned.
    Raises: PublishError if the model was not trained with LoRA.
    """
    check_has_adapter(folder, name)
    own = no_link(folder / "adapter")
    configured = json.loads(no_link(own / ADAPTER[0]).read_text(encoding="utf-8"))
    configured |= {"base_model_name_or_path": base, "revision": revision}
    files = {file: path for file, path in _matching(folder, PUBLISHED).items() if not _matches(file, WEIGHTS)}
    files[ADAPTER[0]] = (json.dumps(configured, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    files[ADAPTER[1]] = no_link(own / ADAPTER[1])
    _check_weights(files)
    return files


def with_manifest(files: Files) -> Files:
    """The files, and one that lists them."""
    listed = json.dumps({"files": sorted({*files, MANIFEST})}, indent=1) + "\n"
    return {**files, MANIFEST: listed.encode()}


def listed_in(manifest: bytes) -> set[str]:
    """The names in a manifest; none if it is no manifest."""
    try:
        names = json.loads(manifest)["files"]
    except (ValueError, KeyError, TypeError):
        return set()
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def no_link(path: Path) -> Path:
    """The path, unless it is a link. Raises: PublishError then: it would publish a file of somewhere else.

    DVC and the hub's client link into stores of theirs, which is as good as a file.
    """
    target = path.resolve()
    of_hub = target.parent.name == "blobs" and target.parent.parent in path.absolute().parents
    if path.is_symlink() and not (_IN_DVCS_CACHE.search(target.as_posix()) or of_hub):
        raise PublishError(f"{path} is a link, and links are not published. Put the file itself there, or nothing.")
    return path


def check_has_adapter(folder: Path, name: str) -> None:
    if not all((folder / "adapter" / file).is_file() for file in ADAPTER):
        raise PublishError(
            f"{name} has no adapter: {folder / 'adapter'} is not there. Only a phase with `lora` in params.yaml has "
            "one; leave out --adapter-only to publish the whole model."
        )


def sizes(files: Mapping[str, Path | bytes]) -> dict[str, int]:
    """Bytes of each file, by name."""
    return {name: len(it) if isinstance(it, bytes) else it.stat().st_size for name, it in sorted(files.items())}


def parameters(files: Mapping[str, Path | bytes]) -> int:
    """Numbers in the weights; tied ones count once."""
    count = 0
    for path in _weights(files):
        with _opened(path) as weights:
            count += sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return count


def checked_name(name: str) -> str:
    """A path that stays inside the folder or archive it is written to. Raises: PublishError for any other."""
    path = PurePosixPath(name)
    if not name or "\\" in name or path.is_absolute() or ".." in path.parts or path.as_posix() != name:
        raise PublishError(f"{name!r} can't be the name of a published file: it leaves the folder.")
    return name


def _matching(folder: Path, patterns: Iterable[str]) -> Files:
    found: Files = {}
    for path in (path for pattern in patterns for path in sorted(folder.glob(pattern))):
        if no_link(path).is_file():
            _check_kind(path)
            found[path.name] = path
    return found


def _check_kind(path: Path) -> None:
    """Raises: PublishError for a file that is not of the kind that its name says."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix in _TEXT:
            path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise PublishError(f"{path} is no {path.suffix[1:] or 'text'} file ({error}). Mend or remove it.") from None


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(PurePosixPath(name).match(pattern) for pattern in patterns) and "/" not in name


def _check_shards(folder: Path, files: Files) -> None:
    """Every shard that an index names must be there."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if lacking := sorted(named - files.keys()):
            raise PublishError(f"{folder}: {', '.join(lacking)}, which {index.name} names, are not there.")


def _check_weights(files: Files) -> None:
    """Each safetensors file must be whole: one that was cut loads nowhere."""
    for path in _weights(files):
        with _opened(path):
            pass


def _weights(files: Mapping[str, Path | bytes]) -> list[Path]:
    return [path for name, path in files.items() if name.endswith(".safetensors") and isinstance(path, Path)]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "np") as weights:
            yield weights
    except SafetensorError as error:
        raise PublishError(f"{path} is no safetensors file, or not whole ({error}).") from None
