r"""Multiple choice: the options that a question lists, and the one that a letter names.

`$(\mathrm {A}) \ 1 \qquad (\mathrm {B}) \ 2$`, `(A) $1$\n(B) $2$`, `\textbf{(A)}\ 1\qquad\textbf{(B)}\ 2`, `A. 1 B. 2`
"""

import re
from functools import lru_cache

from smolmath.answers.boxes import find_boxes
from smolmath.answers.compare import answers_match
from smolmath.answers.kinds import read_letter
from smolmath.answers.normalise import normalise

MAX_MARKERS = 200  # a text with more is no list of options
_FONT = re.compile(r"\\(?:textbf|textrm|textit|text|mathrm|mathbf|rm|bf)\s*\{\s*(\(?\s*[A-J]\s*\)?\s*[.:]?)\s*\}")
_SPACING = re.compile(r"\\q?quad(?![a-zA-Z])|\\[,;:!> ]|~|\*\*")
_BRACKETED = re.compile(r"(?<![A-Za-z\\])\(\s*([A-J])\s*\)")
_BARE = re.compile(r"(?<![A-Za-z0-9\\(])([A-J])\s*[).:、．](?![A-Za-z]\w)")
_END = re.compile(r"\n\s*\n|\[asy\]")  # what follows the list is no part of its last option
_LETTER = re.compile(r"\([A-J]\)|[A-J][).:]?")


def named_option(answer: str, question: str) -> str | None:
    """The letter A to J that an answer names, as the grader reads it.

    A capital by itself is one; in a formula, a small letter, or a letter with more (`b`, `$B$`, `B. 13`, `Option B`)
    counts only where the question has such an option.
    """
    boxes = find_boxes(answer)
    text = normalise(boxes[-1].text if boxes else answer)
    letter = read_letter(text)
    plain = _LETTER.fullmatch(text) and "$" not in answer
    return letter if letter and letter <= "J" and (plain or letter in options(question)) else None


def is_same_option(answer: str, reference: str, question: str) -> bool:
    """Whether both name one option of the question, by its letter or by its text, which must be no other option's."""
    listed = _cached_options(question)
    letters = {_option(text, listed) for text in (answer, reference)} if listed else set()
    return len(letters) == 1 and letters != {None}


def _option(text: str, listed: dict[str, str]) -> str | None:
    """The letter of the option that a text names; None if it names none, or two."""
    letter, alone = read_letter(normalise(text)), text
    if letter in listed:
        alone = _LETTER.sub("", normalise(text), count=1).strip()  # "A) 3" must say the same twice
        if not alone:
            return letter
    same = [each for each, option in listed.items() if answers_match(alone, option)]
    return same[0] if len(same) == 1 and letter in (same[0], None) else None


@lru_cache(maxsize=1024)  # a group of completions answers one question
def _cached_options(question: str) -> dict[str, str]:
    return options(question)


def options(question: str) -> dict[str, str]:
    """Letter -> text of each option, where a question lists options A, B, … without a gap; else nothing."""
    text = _FONT.sub(r"\1", _SPACING.sub(" ", question))
    best: dict[str, str] = {}
    for style in (_BRACKETED, _BARE):
        markers = [(found[1], found.start(), found.end()) for found in style.finditer(text)]
        if len(markers) > MAX_MARKERS:
            continue
        for start, (letter, _, _) in enumerate(markers):
            if letter == "A" and len(found := _run(text, markers[start:])) > len(best):
                best = found
    return best


def _run(text: str, markers: list[tuple[str, int, int]]) -> dict[str, str]:
    """The options from a first marker A on; nothing if another list begins inside, or a letter is left out."""
    run = [markers[0]]
    for marker in markers[1:]:
        expected = chr(ord(run[-1][0]) + 1)
        if marker[0] == expected:
            run.append(marker)
        elif marker[0] > expected or (len(run) == 1 and marker[0] == "A"):
            return {}
    if len(run) < 2:
        return {}
    end = _END.search(text, run[-1][2])
    ends = [begin for _, begin, _ in run[1:]] + [end.start() if end else len(text)]
    found = {letter: _clean(text[at:stop]) for (letter, _, at), stop in zip(run, ends, strict=True)}
    *others, last = found
    if not any("\n" in found[letter] for letter in others):  # then a line behind the last one is no part of it
        found[last] = _clean(found[last].partition("\n")[0])
    return found


def _clean(option: str) -> str:
    return re.sub(r"(?<!\\)\$", "", option).strip(" \t\n;,.")
