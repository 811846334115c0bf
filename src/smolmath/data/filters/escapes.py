r"""LaTeX commands that JSON, or a string of a program, has read as an escape.

`"$1 \times 4$"` holds a tab before "imes", `\frac` a form feed before "rac", `\neq` a line's end before "eq".
"""

import re

# Control character -> (the letter that it was, how the commands go on that are told from words).
_ESCAPES = {
    "\x07": ("a", r"lpha|ngle|pprox|rc(?:sin|cos|tan)|st|leph|malg"),
    "\x08": ("b", r"oxed|eta|egin|inom|ar(?![a-z])|ig|ullet|ot(?![a-z])|mod|oldsymbol|ecause|f(?![a-z])"),
    "\x0b": ("v", r"ec(?![a-z])|ert|arepsilon|arphi|artheta|ee(?![a-z])|dots"),
    "\x0c": ("f", r"rac|orall|loor|lat(?![a-z])|box|rown"),
    "\t": (
        "t",
        r"imes|heta|ext(?=[{ ]|bf|it|rm|sf|tt)|frac|ilde|au(?![a-z])|herefore|riangle|binom|ag\{|o(?=\s*\\infty)"
        r"|an(?=\s*[({^\\0-9]|h[({^\\ ])",
    ),
    "\n": ("n", r"(?:eq|otin|abla)(?![a-z])"),
    "\r": ("r", r"(?:ight|angle|ho|vert|oot|floor|ceil|brace)(?![a-z])|ightarrow|m\{"),
}
_SAFE = re.compile("|".join(f"{control}(?={tails})" for control, (_, tails) in _ESCAPES.items()))
# In a formula of a text that has such a fault, also those that might be words.
_FORMULA = re.compile(r"\$[^$]+\$")
_ALSO = re.compile(r"(?<=[^\n])\n(?=(?:e|u|i|ot|mid|parallel)(?![a-zA-Z]))|\t(?=(?:o|op|an|anh)(?![a-z]))")


def without_escapes(text: str) -> str:
    """The text with its LaTeX commands whole."""
    if text.isprintable():
        return text
    mended = _SAFE.sub(_command, text)
    if mended == text:
        return text
    return _FORMULA.sub(lambda formula: _ALSO.sub(_command, formula[0]), mended)


def _command(control: re.Match[str]) -> str:
    return "\\" + _ESCAPES[control[0]][0]
