"""Terminal sessions in docs, made by running them: the output below each command of a ```console block is rewritten.

    python tools/sessions.py docs/using.md             run the commands, rewrite the page
    python tools/sessions.py --check docs/using.md     say which blocks differ and how; exit code 1 if one does

A line that begins with `$ ` is a command; one that ends in a backslash goes on in the next line. Each runs in a bash
of its own in the repository's root, with .venv/bin first on PATH, this checkout's src, 100 columns and no colour. A
block after a line `<!-- not run: why -->` is left alone.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPENING, CLOSING = "```console", "```"
SKIPPED = re.compile(r"<!-- not run: .+ -->")
LIMIT_S = 1200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE.md")
    parser.add_argument("--check", action="store_true", help="rewrite nothing")
    arguments = parser.parse_args()
    differing = 0
    for page in arguments.pages:
        before = page.read_text(encoding="utf-8")
        try:
            after = rewritten(before, page)
        except ValueError as error:
            sys.exit(f"error: {error}")
        if before == after:
            continue
        differing += 1
        if arguments.check:
            sys.stdout.writelines(
                difflib.unified_diff(*(text.splitlines(True) for text in (before, after)), str(page), "as run")
            )
        else:
            part = page.with_name(f".{page.name}.part")
            part.write_text(after, encoding="utf-8")
            part.replace(page)
            print(f"rewrote {page}")
    return 1 if arguments.check and differing else 0


def rewritten(text: str, page: Path) -> str:
    """The page with the output of its commands. Raises: ValueError, naming page and line, if a block is not one."""
    lines, made, last = text.split("\n"), [], ""
    number = 0
    while number < len(lines):
        line = lines[number]
        made.append(line)
        number += 1
        if line.strip() == OPENING:
            try:
                end = lines.index(CLOSING, number)
            except ValueError:
                raise ValueError(f"{page}:{number}: the block is not closed by a line {CLOSING}.") from None
            block = lines[number:end]
            made += block if SKIPPED.fullmatch(last) else session(block, f"{page}:{number + 1}")
            number = end
        last = line.strip() or last
    return "\n".join(made)


def session(block: list[str], place: str) -> list[str]:
    """A block's commands, each with what it prints. Raises: ValueError if the block doesn't begin with a command."""
    made: list[str] = []
    rest = list(block)
    if not rest or not rest[0].startswith("$ "):
        raise ValueError(f"{place}: a {OPENING} block begins with a command, `$ …`.")
    while rest:
        line = rest.pop(0)
        if not line.startswith("$ "):
            continue  # what an earlier run printed
        command = [line]
        while command[-1].endswith("\\") and rest:
            command.append(rest.pop(0))
        made += [*command, *printed("\n".join(command)[2:], place)]
    return made


def printed(command: str, place: str) -> list[str]:
    """The lines that a command prints, errors among them. Raises: ValueError if one would end its own output."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC_") and k != "FORCE_COLOR"} | {
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    print(f"$ {command}", file=sys.stderr, flush=True)
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", timeout=LIMIT_S, check=False,
    )  # fmt: skip
    if done.returncode:
        print(f"{place}: ended with {done.returncode}", file=sys.stderr)  # a page may show an error, but on purpose
    lines = [line.rstrip() for line in done.stdout.rstrip().splitlines()]
    if bad := [line for line in lines if line.startswith(("$ ", CLOSING))]:
        raise ValueError(f"{place}: `{command}` prints a line that would end its output on the page: {bad[0]}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
