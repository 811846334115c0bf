"""A model found by name becomes what is published: its files with their card, and what a person should know first."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolmath.prompts import with_default_system
from smolmath.using.publishing.card import Subject, model_card
from smolmath.using.publishing.examples import example_of
from smolmath.using.publishing.files import (
    CARD,
    Files,
    PublishError,
    adapter_files,
    check_has_adapter,
    checked_name,
    model_files,
    no_link,
    parameters,
    with_manifest,
)
from smolmath.using.publishing.leaderboard import kept_results, result_files
from smolmath.using.publishing.origin import Origin, origin_of, sampling_of
from smolmath.using.solving.models import FoundModel

LICENCE = re.compile(r"^[a-z0-9][a-z0-9.-]*$")


@dataclass(frozen=True)
class Bundle:
    files: Files  # the card among them
    warnings: list[str]

    @property
    def card(self) -> str:
        card = self.files[CARD]
        return card.decode() if isinstance(card, bytes) else card.read_text(encoding="utf-8")


def bundle(
    model: FoundModel,
    params: Mapping[str, Any],
    *,
    called: str,
    adapter_only: bool = False,
    base: str | None = None,
    licence: str | None = None,
) -> Bundle:
    """What `model` is published as.

    Args:
        called: the hub's id, or the folder that it will lie in.
        base: of an adapter: where the model that it is put on is found, if that is no hub model of the recipe.
        licence: the hub's identifier of the model's own; the base's, where that is known, if not named.
    Raises: PublishError, and what reading the trail raises.
    """
    if licence is not None and not LICENCE.match(licence):
        raise PublishError(f"--license {licence}: the hub's identifiers look like apache-2.0, mit or other.")
    if base is not None and not adapter_only:
        raise PublishError("--base says what an adapter is put on: it goes with --adapter-only.")
    origin = origin_of(model.folder, params)
    if adapter_only:
        check_has_adapter(model.folder, model.name)
        base, revision = (base, None) if base else _base_of_adapter(model, origin)
        files = adapter_files(model.folder, model.name, base=base, revision=revision)
    else:
        files = model_files(model.folder)
    own = model.folder / CARD
    if origin is None and own.is_file():  # of a folder that was exported, and perhaps edited
        files[CARD] = no_link(own)
        files |= kept_results(model.folder)
        warnings = [f"the card is the folder's own {CARD}"]
    else:
        subject = _subject(model, origin, files, called=called, adapter_base=base, licence=licence)
        files[CARD] = model_card(subject, origin).encode()
        files |= result_files(origin) if origin else {}
        warnings = _warnings(subject, origin)
    files = with_manifest(files)
    return Bundle({checked_name(name): files[name] for name in sorted(files)}, warnings)


def _subject(
    model: FoundModel,
    origin: Origin | None,
    files: Files,
    *,
    called: str,
    adapter_base: str | None,
    licence: str | None,
) -> Subject:
    template = model.folder / "chat_template.jinja"
    text = template.read_text(encoding="utf-8") if template.is_file() else ""
    sampling = sampling_of(origin) or {}
    on_hub = model.name.count("/") == 1 and not Path(model.name).exists()
    return Subject(
        called=called,
        prompt=model.prompt,
        knows_prompt=with_default_system(text, model.prompt.system) == text,
        parameters=parameters(files),
        max_completion_tokens=int(sampling.get("max_completion_tokens", model.max_completion_tokens)),
        licence=licence or (origin.base.licence if origin else None),
        in_words_as="It is the hub's, unchanged." if on_hub else "How it was made is not recorded.",
        hub_id=model.name if on_hub else None,
        adapter_base=adapter_base,
        example=example_of(origin) if origin else None,
    )


def _base_of_adapter(model: FoundModel, origin: Origin | None) -> tuple[str, str | None]:
    """(hub id, revision) of what the adapter was trained on. Raises: PublishError if that is on no hub."""
    if origin and origin.phases and origin.phases[-1].init == "base" and origin.base.hub_id:
        return origin.base.hub_id, origin.base.revision
    init = f"models/{origin.phases[-1].init}" if origin and origin.phases else "a model that is not recorded"
    raise PublishError(
        f"the adapter of {model.name} is put on {init}, which is no model of the hub as far as the records say. "
        "Say where it is found: --base USER/NAME (smolmath push publishes it) or --base FOLDER."
    )


def _warnings(subject: Subject, origin: Origin | None) -> list[str]:
    found = []
    if origin is None:
        found.append("no stage of dvc.lock made this model, so the card can say little of it")
    elif origin.trail.recorded_in is None:
        found.append("dvc.lock with this model is not committed yet, so the card can name no commit that records it")
    if origin:
        found += origin.doubts
    if subject.licence is None:
        found.append("the card names no licence, since the base's is not known here: --license names one")
    return found
