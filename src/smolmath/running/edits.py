"""Whether code or data was edited under a stage, by contents: no two clocks are ever compared.

A file's time is the file system's, a process's start is the kernel's, and the two may be a second apart, or an hour
where a clock was set. `smolmath/__init__.py` imports this module before any other, so the code's contents are known
from before it was imported; what is hashed later must be the same.
"""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import CodeType

from smolmath.running.hashes import content_hash, input_files

CODE = ("src", "stages")  # folders of a project whose Python files its stages run
_COMPILE_NS = 2_000_000_000  # a source may be edited between its reading and the writing of its bytecode

# Of one file: path, inode, size, time of its last write, time of its last change of any kind; both in ns.
Signature = tuple[str, int, int, int, int]


def _code_files() -> dict[str, str]:
    """Path -> hash of the project's Python files; nothing where the working directory is no project."""
    if not Path("dvc.yaml").is_file():
        return {}
    found = {}
    for top in CODE:
        for folder, _, names in os.walk(top):
            for name in names:
                if name.endswith(".py") and (path := Path(folder, name)).is_file():
                    _drop_bytecode_older_than(path)
                    found[path.as_posix()] = content_hash(path)
    return found


def _drop_bytecode_older_than(source: Path) -> None:
    """Remove a module's cached bytecode unless it was written well after the last change of its source.

    Python knows a source by its size and the whole second of its time: one that replaces another of the same size
    within the second, or with its time kept, would run as the other's bytecode under its own hash.
    """
    cached = Path(importlib.util.cache_from_source(str(source)))
    with contextlib.suppress(OSError):  # there is none, or a read-only system has it
        if cached.stat().st_mtime_ns < source.stat().st_ctime_ns + _COMPILE_NS:
            cached.unlink()


_FOLDER, _IMPORTED = os.getcwd(), _code_files()


def code_among(deps: Iterable[str]) -> list[str]:
    """Those of a stage's deps that are the project's own code."""
    return [dep for dep in deps if dep.partition("/")[0] in CODE]


def edited_since_import(deps: Iterable[str]) -> list[str]:
    """Those of a stage's deps whose code is no longer what this process has imported, or will."""
    if os.getcwd() != _FOLDER:  # the tests of a process that moves about
        return []
    return [dep for dep in code_among(deps) if any(map(_edited, _python_files(dep))) or _lost(dep)]


def _python_files(dep: str) -> list[str]:
    return [path.as_posix() for path in input_files(Path(dep)) if path.suffix == ".py"]


def _lost(dep: str) -> bool:
    inside = [path for path in _IMPORTED if path == dep or path.startswith(f"{dep}/")]
    return not all(map(os.path.isfile, inside))


def _edited(path: str) -> bool:
    if _IMPORTED.get(path) != content_hash(Path(path)):
        return True
    script = _running_script()  # itself read before it could import anything
    return script is not None and Path(script.co_filename).resolve() == Path(path).resolve() and _differs(script, path)


def _running_script() -> CodeType | None:
    """The code that runs as `__main__`."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__") == "__main__" and frame.f_code.co_name == "<module>":
            return frame.f_code
    return None


def _differs(script: CodeType, path: str) -> bool:
    try:
        return compile(Path(path).read_bytes(), path, "exec", dont_inherit=True) != script
    except (SyntaxError, ValueError):  # edited into something that is no Python
        return True


def signatures(deps: Iterable[str]) -> dict[str, list[Signature]]:
    """Dep -> its files' signatures: where they stay the same, a file's contents need not be read again."""
    return {dep: [_signature(path) for path in input_files(Path(dep))] for dep in deps}


def _signature(path: Path) -> Signature:
    found = path.stat()
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def touched(before: list[Signature], now: list[Signature]) -> bool:
    """Whether the files may have other contents now than when the first signatures were taken.

    The kernel sets the time of the last change itself, so no tool can put it back. On file systems that keep whole
    seconds two writes within one look alike: there the answer is always yes.
    """
    return before != now or any(changed % 1_000_000_000 == 0 for *_, changed in now)
