"""`smolmath export`: a model and its card into a folder or a zip."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from smolmath.commands import interruptible
from smolmath.commands.options import AdapterBase, AdapterOnly, License, Model


def export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder, or a zip (….zip).")],
    model: Model = None,
    adapter_only: AdapterOnly = False,
    base: AdapterBase = None,
    license: License = None,
    gguf: Annotated[bool, typer.Option("--gguf", help="A GGUF file too, by llama.cpp's converter.")] = False,
    converter: Annotated[
        Path | None, typer.Option(help="With --gguf: convert_hf_to_gguf.py, if it is not on PATH.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
) -> None:
    """Write what `smolmath push` would send, as a folder or a zip that plain transformers and vLLM load.

    smolmath export out/sums --model sums
    smolmath export legs.zip                      the last trained phase
    """
    name = out.stem if out.suffix == ".zip" else out.name
    with interruptible(f"{out} is as it was"):
        from smolmath.params.core import read_params
        from smolmath.using.publishing import export as writing
        from smolmath.using.publishing.bundle import bundle
        from smolmath.using.publishing.files import PublishError
        from smolmath.using.publishing.ollama import modelfile_of
        from smolmath.using.publishing.show import files_in_words, warn
        from smolmath.using.solving.models import find_model

        if gguf and adapter_only:
            raise PublishError("--gguf converts a whole model: leave out --adapter-only.")
        if converter and not gguf:
            raise PublishError("--converter goes with --gguf.")
        writing.check_out(out, force=force)
        program = writing.find_converter(converter) if gguf else None
        params = read_params()
        found = find_model(model, params)
        made = bundle(found, params, called=_called(out, name), adapter_only=adapter_only, base=base, licence=license)
        warn(made.warnings)
        try:
            with (
                writing.with_gguf(made.files, name, program, out.parent, modelfile_of(found, f"{name}.gguf"))
                if program
                else nullcontext(made.files)
            ) as files:
                writing.export(files, out, force=force)
                print(files_in_words(files))
        except OSError as error:  # a disk that is full, a folder that can't be written
            raise PublishError(f"{out} was not written: {error}") from None
    print(f"wrote {out}")


def _called(out: Path, name: str) -> str:
    """What the card's code loads: the folder as it was named, unless that is a path of this machine."""
    return name if out.is_absolute() or ".." in out.parts or out.suffix == ".zip" else out.as_posix()
