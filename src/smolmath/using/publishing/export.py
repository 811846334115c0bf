"""Files into a folder or a zip, whole or not at all; the same files give the same zip."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smolmath.running.leftovers import remove
from smolmath.running.lockfile import workspace_lock
from smolmath.using.publishing.files import MANIFEST, Files, PublishError, checked_name, listed_in, with_manifest

CONVERTER = "convert_hf_to_gguf.py"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
CHUNK = 1 << 20


def export(files: Files, out: Path, *, force: bool) -> None:
    """Write `files` to `out`: a zip if its name ends so, else a folder.

    Args: force: replace an earlier export.
    Raises: PublishError if something else is there, or `out` is where the pipeline writes.
    """
    check_out(out, force=force)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    remove(part)
    try:
        if out.suffix == ".zip":
            _write_zip(files, part)
        else:
            _write_folder(files, part)
        _put_in_place(part, out)
    finally:
        remove(part)


def check_out(out: Path, *, force: bool) -> None:
    """Raises: PublishError if `out` can't be written, before any work."""
    here = out.resolve()
    own = {Path(path).resolve() for made in workspace_lock().values() for path in (*made.outs, *made.deps)}
    if here == Path.cwd() or own & {here, *here.parents}:
        raise PublishError(f"{out} is the pipeline's own. Name another folder or zip.")
    if out.suffix == ".zip":
        if out.is_dir():
            raise PublishError(f"{out} is a folder. Name a zip that is not there.")
        if out.exists() and not force:
            raise PublishError(f"{out} is there already. --force replaces it.")
        if out.exists() and not _is_export(out):
            raise PublishError(f"{out} is no earlier export. Name a zip that is not there.")
        return
    if out.exists() and not out.is_dir():
        raise PublishError(f"{out} is a file. Name a folder, or a zip (….zip).")
    inside = sorted(
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_symlink() or not path.is_dir()
    )
    manifest = out / MANIFEST
    ours = listed_in(manifest.read_bytes()) if manifest.is_file() else set()
    if foreign := [name for name in inside if name not in ours]:
        raise PublishError(
            f"{out} holds other things ({', '.join(foreign[:3])}), which no export has written. Name another folder."
        )
    if inside and not force:
        raise PublishError(f"{out} is not empty. --force replaces what an earlier export has left there.")


def _is_export(archive: Path) -> bool:
    try:
        with zipfile.ZipFile(archive) as opened:
            return set(opened.namelist()) == listed_in(opened.read(MANIFEST))
    except (OSError, KeyError, zipfile.BadZipFile):
        return False


def find_converter(named: Path | None) -> Path:
    """llama.cpp's converter. Raises: PublishError that says how to get it."""
    found = str(named) if named else shutil.which(CONVERTER)
    if found is None or not Path(found).is_file():
        where = f"{named} is not there" if named else f"{CONVERTER} is not on PATH"
        raise PublishError(
            f"GGUF is written by llama.cpp's converter, and {where}. Get it: git clone "
            f"https://github.com/ggml-org/llama.cpp && pip install gguf sentencepiece; then --converter "
            f"llama.cpp/{CONVERTER}"
        )
    return Path(found)


@contextmanager
def with_gguf(files: Files, name: str, converter: Path, beside: Path, modelfile: str) -> Iterator[Files]:
    """The files and `name`.gguf, made of them by the converter, with a Modelfile for Ollama; the temporary folder goes
    with the body.

    The converter sees these files and no others, so that no code of a model's folder can run.
    Raises: PublishError with its last words if it fails.
    """
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gguf-", suffix=".part", dir=beside) as folder:
        model, out = Path(folder, "model"), Path(folder, f"{name}.gguf")
        model.mkdir()
        for file, content in files.items():
            if "/" in file:  # results, which are no part of the model
                continue
            if isinstance(content, bytes):
                (model / file).write_bytes(content)
            else:
                (model / file).symlink_to(content.resolve())
        program = [str(converter)] if os.access(converter, os.X_OK) else [sys.executable, str(converter)]
        try:
            done = subprocess.run(
                [*program, str(model), "--outfile", str(out)],
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise PublishError(f"{converter} can't be run ({error}).") from None
        if done.returncode or not out.is_file():
            words = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-3:]
            raise PublishError(f"{converter} failed (exit code {done.returncode}): {' / '.join(words)}")
        yield with_manifest({**files, out.name: out, "Modelfile": modelfile.encode()})


def _write_folder(files: Files, part: Path) -> None:
    part.mkdir()
    for name, content in files.items():
        target = part / checked_name(name)
        target.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)  # a copy, never a link: DVC's cache must not be written through it


def _write_zip(files: Files, part: Path) -> None:
    """Stored, not deflated: weights don't shrink, and a deflated byte depends on the zlib at hand."""
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(checked_name(name), EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            content = files[name]
            entry.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size
            with archive.open(entry, "w") as target:
                if isinstance(content, bytes):
                    target.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, target, CHUNK)


def _put_in_place(part: Path, out: Path) -> None:
    """An earlier export stays until the new one is whole."""
    if not out.is_dir():
        os.replace(part, out)
        return
    old = out.with_name(f".{out.name}.old.part")
    remove(old)
    os.replace(out, old)
    try:
        os.replace(part, out)
    except BaseException:
        with contextlib.suppress(OSError):
            os.replace(old, out)
        raise
    remove(old)
