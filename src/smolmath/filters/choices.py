r"""Multiple choice: the text of the option that a letter names.

`$(\mathrm {A}) \ 1 \qquad (\mathrm {B}) \ 2$`, `(A) $1$\n(B) $2$`, `\textbf{(A)}\ 1\qquad\textbf{(B)}\ 2`, `A. 1 B. 2`
"""

import re

from smolmath.answers.kinds import read_letter
from smolmath.answers.normalise import normalise

_FONT = re.compile(r"\\(?:textbf|textrm|textit|text|mathrm|mathbf|rm|bf)\s*\{\s*(\(?\s*[A-J]\s*\)?\s*[.:]?)\s*\}")
_MARKER = re.compile(r"(?<![A-Za-z0-9\\])(?:\(\s*([A-J])\s*\)|([A-J])\s*[).:、．])(?![A-Za-z]\w)")
_SPACING = re.compile(r"\\q?quad(?![a-zA-Z])|\\[,;:!> ]|~")


def named_option(answer: str) -> str | None:
    """The letter A to J that an answer consists of, None if it is more than an option's letter."""
    letter = read_letter(normalise(answer))
    return letter if letter and len(answer.strip(" \t\n$().:{}\\")) <= len("mathrm{A") else None


def options(question: str) -> dict[str, str]:
    """Letter -> text of each option, where a question ends in options A, B, … in order; else nothing."""
    text = _FONT.sub(r"\1", _SPACING.sub(" ", question))
    markers = [(found[1] or found[2], found.start(), found.end()) for found in _MARKER.finditer(text)]
    # The last run that begins with A and counts on: an (A) in the question's body is no option.
    starts = [i for i, (letter, _, _) in enumerate(markers) if letter == "A"]
    for start in reversed(starts):
        run = [markers[start]]
        for marker in markers[start + 1 :]:
            if ord(marker[0]) == ord(run[-1][0]) + 1:
                run.append(marker)
        if len(run) > 1:
            ends = [begin for _, begin, _ in run[1:]] + [len(text)]
            return {
                letter: text[end:stop].replace("$", "").strip(" \t\n;,.")
                for (letter, _, end), stop in zip(run, ends, strict=True)
            }
    return {}
