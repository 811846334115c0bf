r"""LaTeX rewritten by its braces: styles taken off, arguments put into braces. Each function scans the text once.

`\mathbf{\frac12}` is `\frac{1}{2}` and `\frac\pi4` is `\frac{\pi}{4}`: regular expressions can't see where a brace
closes, so a table of the pairs is made first.
"""

import re

_STYLE = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|pmb|mathit|mathsf|mathtt|mathnormal|emph|underline|boxed|fbox|ensuremath|mathop|mathord"
    r"|displaystyle|textstyle|smash|(text(?:rm|bf|it|sf|tt|normal)?|mathrm|mbox|hbox)|(color|textcolor))\s*(?=\{)"
)
_SWITCH = re.compile(
    r"\\(?:color\s*\{[a-zA-Z]{1,20}\}|(?:rm|bf|it|sf|tt|boldmath|displaystyle|textstyle)(?![a-zA-Z{]))"
)
_TAKES_ARGUMENTS = re.compile(r"\\(?:[dtc]?frac|[dt]?binom|(sqrt)(?:\s*\[[^\[\]{}]{1,20}\])?)(?![a-zA-Z])\s*")
_TOKEN = re.compile(r"\s*(\\[a-zA-Z]+|[^\s{}\\])")
_INFIX = re.compile(r"\\(?:over|choose|atop)(?![a-zA-Z])")  # their braces say what they divide
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+\Z")
_ENDS_IN_COMMAND = re.compile(r"\\[a-zA-Z]+\Z")

Edit = tuple[int, int, str]  # where a piece starts and ends, and what replaces it


def closing_of(text: str, opening: str = "{", closing: str = "}") -> dict[int, int]:
    """Where each bracket that closes does so; escaped braces are no braces."""
    pairs: dict[int, int] = {}
    open_at: list[int] = []
    position = 0
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == opening:
            open_at.append(position)
        elif character == closing and open_at:
            pairs[open_at.pop()] = position
        position += 1
    return pairs


def without_styles(text: str) -> str:
    r"""The text without commands that only change how it looks: `{\bf 4}`, `\mathbf{\frac{1}{2}}`, `\boxed{5}`.

    `\text{…}` of plain words is left, because a unit is told by it.
    """
    text = _SWITCH.sub(lambda switch: "" if switch[0].startswith(r"\color") else " ", text) if "\\" in text else text
    if not _STYLE.search(text):
        return text
    pairs = closing_of(text)
    edits: list[Edit] = []
    for style in _STYLE.finditer(text):
        start, brace = style.start(), style.end()
        if style[2]:  # its first argument is the colour
            name_ends = pairs.get(brace, -1) + 1
            brace = name_ends if name_ends and text[name_ends : name_ends + 1] == "{" else -1
        end = pairs.get(brace)
        if end is None or (style[1] and not re.search(r"[{$\\]", text[brace + 1 : end])):
            continue
        before, after = text[start - 1 : start], text[end + 1 : end + 2]
        edits.append((start, brace + 1, " " if before.isalpha() else ""))
        apart = after.isalpha() and _ENDS_IN_COMMAND.search(text, max(0, end - 20), end)
        edits.append((end, end + 1, " " if apart else ""))
    return _edited(text, edits)


def with_arguments(text: str) -> str:
    r"""The text with the arguments of `\frac`, `\binom` and `\sqrt` in braces: `\frac12`, `\sqrt\pi`, `\sqrt(x+1)`."""
    found = _TAKES_ARGUMENTS.search(text)
    if not found:
        return text
    braces, rounds = closing_of(text), closing_of(text, "(", ")") if r"\sqrt" in text else {}
    edits: list[Edit] = []
    for command in _TAKES_ARGUMENTS.finditer(text):
        at = command.end()
        for _ in range(1 if command[1] else 2):
            while text[at : at + 1].isspace():
                at += 1
            if text[at : at + 1] == "{":
                at = braces.get(at, len(text)) + 1
            elif command[1] and at in rounds:
                edits += [(at, at + 1, "{"), (rounds[at], rounds[at] + 1, "}")]
            elif token := _TOKEN.match(text, at):
                if token[1] in (r"\frac", r"\sqrt", r"\left", "(", ")") or not (token[1][-1].isalnum()):
                    break
                edits += [(token.start(1), token.start(1), "{"), (token.end(), token.end(), "}")]
                at = token.end()
            else:
                break
    return _edited(text, edits)


def _edited(text: str, edits: list[Edit]) -> str:
    """The text with each piece replaced, from left to right; a piece within one that is gone is gone too."""
    pieces, position = [], 0
    for start, end, instead in sorted(edits, key=lambda edit: edit[0]):
        if start >= position:
            pieces += [text[position:start], instead]
            position = end
    return "".join([*pieces, text[position:]])


def without_outer_braces(text: str) -> str:
    r"""The text without braces around the whole of it: `{14\pi}`, `{(1,2)}`; `{1,2}` is a set."""
    if not (text.startswith("{") and text.endswith("}")):
        return text
    pairs, around = closing_of(text), 0
    while pairs.get(around) == len(text) - 1 - around and len(text) > 2 * around + 2:
        around += 1
    inner = text[around : len(text) - around].strip()
    if around and (_INFIX.search(inner) or ("\\" not in inner and _has_parts(inner))):
        around -= 1
    return text[around : len(text) - around].strip()


def _has_parts(text: str) -> bool:
    depth = 0
    for character in _GROUPED.sub("0", text):
        depth += (character in "([{") - (character in ")]}")
        if depth <= 0 and character in ",;":
            return True
    return False
