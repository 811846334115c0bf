"""Text that isn't ours, inside Markdown: a dataset's name, a completion, a path can't become markup."""

import re

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")


def escaped(text: object) -> str:
    """One line of Markdown that reads as `text`, in a table too."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def code(text: object) -> str:
    """`text` in a code span, in a table too."""
    words = " ".join(str(text).split()).replace("|", r"\|")
    ticks = "`" * (_longest_run(words) + 1)
    padding = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{ticks}{padding}{words}{padding}{ticks}"


def fenced(text: str, language: str = "") -> str:
    """`text` in a code block that nothing inside it can close."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
