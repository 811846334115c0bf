"""tools/sessions.py: what it makes of a page, and what it says of one that no longer holds."""

import re
import subprocess
import sys

from tests.conftest import ROOT

PAGE = """# A page

```console
$ echo one; echo two >&2
stale
$ printf '%s\\n' \\
    "$COLUMNS" "$NO_COLOR" | tr '\\n' ' '
$ true
left over
```

    $ echo not a block

```
$ echo nor this
```

<!-- not run: needs a GPU -->

```console
$ exit 3
kept
```

```console
$ ls LICENSE nowhere 2> /dev/null
```
"""
MADE = (
    PAGE.replace("stale\n", "one\ntwo\n")
    .replace("' '\n", "' '\n100 1\n")
    .replace("left over\n", "")
    .replace("null\n", "null\nLICENSE\n")
)


def sessions(*arguments):
    return subprocess.run(
        [sys.executable, "tools/sessions.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_output_of_a_pages_commands_is_rewritten_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    done = sessions(page)
    assert (done.returncode, done.stdout) == (0, f"rewrote {page}\n")
    assert page.read_text() == MADE
    assert f"{page}:26: ended with 2" in done.stderr  # one of the two files is not there
    assert sessions("--check", page).returncode == 0


def test_check_shows_what_differs_and_leaves_the_page_alone(tmp_path):
    page, good = tmp_path / "page.md", tmp_path / "good.md"
    page.write_text(PAGE)
    good.write_text(MADE)
    done = sessions("--check", good, page)
    assert done.returncode == 1
    assert "-stale\n+one\n+two\n" in done.stdout
    assert "good.md" not in done.stdout
    assert page.read_text() == PAGE


def test_a_block_that_is_no_session_is_named_by_page_and_line(tmp_path):
    page = tmp_path / "page.md"
    for text, message in (
        ("a\n```console\n$ true\n", "page.md:2: the block is not closed"),
        ("a\n```console\ntrue\n```\n", "page.md:3: a ```console block begins with a command"),
        ("```console\n$ echo '```'\n```\n", "page.md:2: `echo '```'` prints a line that would end its output"),
    ):
        page.write_text(text)
        done = sessions(page)
        assert done.returncode == 1
        assert message in done.stderr
        assert page.read_text() == text


def test_every_smolmath_command_of_a_docs_session_exists():
    from smolmath.cli import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    for page in sorted((ROOT / "docs").glob("*.md")):
        blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        used = re.findall(r"^(?:\$ |    )(?:.*[|;&] )?smolmath ([a-z]+)", "".join(blocks), re.MULTILINE)
        assert set(used) <= known, page.name
        if page.name == "using.md":
            assert {"solve", "chat"} <= set(used)
