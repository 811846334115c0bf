"""One spelling for each answer: Unicode to ASCII and LaTeX, LaTeX variants to one form, dressing removed.

What `normalise` returns is for comparing and parsing, never for showing. White space survives between two word
characters, because "1 8" is not 18. `\\text{cm}` behind a value becomes `\\unit{cm}`, so that the number parser can
tell the unit in `5\\text{m}` from the variable in `5m`.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from smolmath.answers.latex import with_arguments, without_outer_braces, without_styles
from smolmath.answers.units import NOT_UNITS, SINGLE_LETTERS, may_be_unit

# Superscripts, roots and signs go before NFKC, which would turn "5²" into "52".
_SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "﹣": "-", "－": "-", "⁻": "-",
    "×": "*", "✕": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "÷": "/", "∕": "/", "⁄": "/",
    "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ",
    "π": r"\pi ", "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "°": r"\unit{deg}",
    "º": r"\unit{deg}", "…": "...", "∶": ":",
    "℃": r"\unit{deg}", "％": "%", "٪": "%", "٫": ".", "٬": ",", "，": ",", "；": ";", "：": ":", "（": "(", "）": ")",
    "、": ",", "。": ".", "′": "'", "’": "'", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ",
    "\u00a0": " ", "\u2007": " ", "\u2009": " ", "\u202f": " ", "\u3000": " ", "\u200b": "", "\u200c": "",
    "\u200d": "", "\u2060": "", "∴": "", "\ufeff": "", "\u00ad": "", "\u200e": "", "\u200f": "",
}  # fmt: skip
_SYMBOL_TABLE = str.maketrans(_SYMBOLS)
MARKS = "①②③④⑤⑥⑦⑧⑨⑩"  # of statements, of which an answer names some: ①③ is not 13
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUPERSCRIPT_RUN = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_ROOTS = {"√": r"\sqrt", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]"}
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUBSCRIPT_RUN = re.compile(r"[₀₁₂₃₄₅₆₇₈₉]+")
_RANGE = re.compile(r"(?<=\d)\s?[–—]\s?(?=\d)")  # 4–5 is no difference
_ROOT = re.compile(r"([√∛∜])\s*(\d+(?:\.\d+)?|[a-zA-Z](?![a-zA-Z]))?")

CACHED_LENGTH = 200
_MONEY = "\ue000"  # a private character, for the time in which dollar signs are told apart
_SUFFIXES = {"am", "pm", "st", "nd", "rd", "th"}
_CONNECTORS = {"or", "and", "if", "with", "where", "not"}
_WRAPPER = re.compile(
    r"\\(text|textrm|textbf|textit|textnormal|textsf|texttt|mathrm|mbox|hbox|rm|bf|it)\s*\{([^{}]*)\}"
)
_SPACING = re.compile(
    r"\\(?:left|right|bigl|bigr|Bigl|Bigr|big|Big|displaystyle|textstyle|limits|quad|qquad|mathstrut)(?![a-zA-Z])"
    r"|\\[,;:!> ]|~"
)
_UNIT_FRACTION = re.compile(r"\\[dt]?frac\{\\(?:text|mathrm)\{\s*(\w+)\s*\}\}\{\\(?:text|mathrm)\{\s*(\w+)\s*\}\}")
_DELIMITERS = re.compile(r"\\[()\[\]]")
_LINES = re.compile(r"\$\s*\n\s*\$")  # formulas below one another
_LATEX_SPELLINGS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\\[dtc]frac(?![a-z])"), r"\\frac"),
    (re.compile(r"\\(?:cdot|times|ast)(?![a-zA-Z])"), "*"),
    (re.compile(r"\\(?:leq|leqslant)(?![a-zA-Z])"), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant)(?![a-zA-Z])"), r"\\ge "),
    (re.compile(r"\\neq(?![a-zA-Z])|\\not\s?="), r"\\ne "),
    (re.compile(r"\\(?:pmod|bmod|mod)(?![a-zA-Z])\s*(?:\{(\w{1,20})\}|(\w{1,20}))"), r" (mod \1\2)"),
    (re.compile(r"\\div(?![a-zA-Z])"), "/"),
    (re.compile(r"\{\s*([^{}\\]{1,20})\\over\s?([^{}\\]{1,20})\}"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\(?:to|rightarrow|Rightarrow|implies)(?![a-zA-Z])"), r"\\to "),
    (re.compile(r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![a-zA-Z])|\\degree(?:s)?(?![a-zA-Z])"), r"\\unit{deg}"),
    (re.compile(r"\{\s*([^{}\\]{1,20})\\choose\s*([^{}\\]{1,20})\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"\\lbrace(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"(?:\\pm|\\mp)(?![a-zA-Z])"), r"\\pm "),
    (re.compile(r"\\(?:lvert|rvert|vert|mid)(?![a-zA-Z])"), "|"),
    (re.compile(r"\\langle(?![a-zA-Z])(.{1,300}?)\\rangle(?![a-zA-Z])"), r"(\1)"),
    (re.compile(r"\\\\\s*\[\d*\.?\d+ ?(?:pt|em|ex|mm|cm)\]"), r"\\\\"),
    (re.compile(r"\\sqrt\[([3579])\]\{-"), r"-\\sqrt[\1]{"),
    (re.compile(r"\\\{\s*\\\}|\{\s*\}$"), r"\\emptyset "),
    (re.compile(r"(?<![a-zA-Z\\])C_\{?(\d{1,4}|[nmk])\}?\s?\^\{?(\d{1,4}|[nmkr])\}?(?![\w{])"), r"\\binom{\1}{\2}"),
    (re.compile(r"\\varnothing(?![a-zA-Z])|\\phi(?![a-zA-Z])(?=\s*$)"), r"\\emptyset "),
]
_FUNCTIONS = {  # other names of functions -> LaTeX's
    "tg": r"\tan", "ctg": r"\cot", "cotg": r"\cot", "cosec": r"\csc", "sh": r"\sinh", "ch": r"\cosh", "th": r"\tanh",
    "arctg": r"\arctan", "arcctg": r"\arccot", "lg": r"\log_{10}", "asin": r"\arcsin", "acos": r"\arccos",
    "atan": r"\arctan",
} | {
    name: "\\" + name
    for name in ("sin", "cos", "tan", "cot", "sec", "csc", "ln", "log", "exp", "arcsin", "arccos", "arctan", "arccot",
                 "sinh", "cosh", "tanh", "sqrt", "max", "min", "gcd", "lcm")
}  # fmt: skip
_NAMES = "|".join(sorted(_FUNCTIONS, key=len, reverse=True))


def _unit_in_brackets(found: re.Match[str]) -> str:
    """`66 (ft)` as `66 ft`, where the word can be a unit; `3(ab)` is a product."""
    words = found[1].split()
    return rf"\unit{{{found[1]}}}" if len(found[1]) > 1 and may_be_unit(words, attached=True) else found[0]


_OPERATOR = re.compile(r"\\operatorname\*?\s*\{\s*([a-zA-Z ]{1,20}?)\s*\}")
_FUNCTION = re.compile(
    rf"\\({_NAMES})(?![a-zA-Z])|(?<![a-zA-Z\\])({_NAMES})(?=\s?[({{\\^]|\s?\d|_|\s[a-zA-Z](?![a-zA-Z]))"
)
_SPELLINGS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [  # in plain text too
    (re.compile(r"(?<![a-zA-Z])(?<!or )(?:negative|minus) (?=\d)"), "-"),
    (re.compile(r"(?<![a-zA-Z])(?:square root of|\\sqrt of) (\d+)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<=\d)\s*x\s*(?=10\s?\^)"), "*"),
    (re.compile(r"(?:\+/-|\+-|plus or minus)\s*"), r"\\pm "),
    (re.compile(r"(?<![a-zA-Z\\])([a-zA-Z]) is (?=[-+\d$\\(])"), r"\1="),
    (re.compile(r"(?<=\d)(?:\^\{?\s*)?(?:st|nd|rd|th)(?![a-zA-Z])\s*\}?"), r"\\unit{th}"),
    (re.compile(r"(?<![a-zA-Z\\])pi(?![a-zA-Z])"), r"\\pi "),
    (re.compile(r"(?<![a-zA-Z\\])(?:infinity|inf|oo)(?![a-zA-Z])"), r"\\infty "),
    (re.compile(r"\+\s*\\infty"), r"\\infty"),
    (re.compile(r"(?<=[\w)} ]) ?\*\*(?=[\w({+-])"), "^"),
    (re.compile(r"!="), r"\\ne "),
    (re.compile(r"(?<=[\d}%])\s*\(\s*(?:\\unit\{)?([a-zA-Z][a-zA-Z .]{0,30}?)\}?\s*\)\s*$"), _unit_in_brackets),
]
_BASE = re.compile(r"\(([0-9A-F]+)\)_|_\{\s*(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|sixteen)\s*\}")
_BASES = {
    name: number
    for number, name in enumerate(
        ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"], start=2
    )
}
_BOLD = re.compile(r"\*\*|__(?=\W|$)|`")
_PLAIN_ROOT = re.compile(r"(?<![a-zA-Z\\])sqrt\s?(\d+)")
_SUBSCRIPT = re.compile(r"\s?_\s?([a-zA-Z0-9])(?![a-zA-Z0-9_])")
_SUPERSCRIPT = re.compile(r"\s?\^\s?(\d+|[a-zA-Z](?![a-zA-Z])|\\[a-zA-Z]+(?!\s?[{a-zA-Z]))")
_SPACED = re.compile(r"\s?([_^])\s?(?=\{)|(\\[a-zA-Z]+)\s+(?![a-zA-Z])")
_FREE_SPACE = re.compile(r"(?<=\W)\s+|\s+(?=\W)")
_SPACE = re.compile(r"\s+")
_SEPARATOR = re.compile(r" ?(?:, |; ?) *")
_THOUSANDS_GROUPS = re.compile(r"(?<![\w.])(?<!\d,)(\d{1,3}(?:(?:\{,\}|,\s?\\!|\\[,;: ]|~)\s?\d{3})+)(?![\d])")


def ascii_form(text: str) -> str:
    """The text with Unicode digits, signs, superscripts and fractions spelt in ASCII and LaTeX."""
    if text.isascii():
        return text
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^{" + run[0].translate(_SUPERSCRIPTS) + "}", text)
    text = _SUBSCRIPT_RUN.sub(lambda run: "_{" + run[0].translate(_SUBSCRIPTS) + "}", text)
    text = _RANGE.sub(r" \\to ", text)
    text = "".join(map(_ascii_character, text.translate(_SYMBOL_TABLE)))
    return _ROOT.sub(lambda root: _ROOTS[root[1]] + (f"{{{root[2]}}}" if root[2] else ""), text)


@lru_cache(maxsize=4096)
def _ascii_character(character: str) -> str:
    if character.isascii():
        return character
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Zs":
        return " "
    form = unicodedata.normalize("NFKC", character)
    if character in MARKS:
        return character
    if "⁄" in form:  # vulgar fractions: ½ is 1⁄2
        over, _, under = form.partition("⁄")
        return rf"\frac{{{over}}}{{{under}}}"
    # Full-width and mathematical letters have a one-character ASCII form; other letters keep their own.
    return form if len(form) == 1 and form.isascii() else character


def normalise(text: str) -> str:
    """The one spelling of an answer: `$\\dfrac12$` and `\\frac{1}{2}.` both give `\\frac{1}{2}`.

    Args:
        text: an answer as extracted, or a reference answer.

    Returns:
        The normalised answer; "" if nothing is left. Never longer than a small multiple of the text.
    """
    # A group of completions gives the same few answers again and again.
    return _cached(text) if len(text) <= CACHED_LENGTH else _spelt(text)


def _spelt(text: str) -> str:
    text = ascii_form(text).strip()
    if text.isdigit() or len(text) == 1:
        return text
    return _normalise_latex(text) if any(mark in text for mark in "\\{$~") else _normalise_plain(text)


_cached = lru_cache(maxsize=16384)(_spelt)


def _normalise_plain(text: str) -> str:
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    return _finish(_with_functions(text))


def _with_functions(text: str) -> str:
    text = _PLAIN_ROOT.sub(r"\\sqrt{\1}", text)
    return with_arguments(_FUNCTION.sub(lambda f: _FUNCTIONS[f[1] or f[2]] + " ", text))


def _normalise_latex(text: str) -> str:
    text = without_outer_braces(without_styles(_LINES.sub("$;$", text)).strip())
    text = _OPERATOR.sub(lambda name: " " + _FUNCTIONS.get(name[1], name[1]) + " ", text)
    text = _THOUSANDS_GROUPS.sub(lambda group: re.sub(r"\D", "", group[1]), text)
    text = _UNIT_FRACTION.sub(r"\\text{\1/\2}", text)
    # A unit's `\text{ cm}` and a box may each sit in the other.
    for _ in range(3):
        unwrapped = _WRAPPER.sub(_unwrap, text)
        if unwrapped == text:
            break
        text = unwrapped
    # A line break of a matrix is kept whole: `\\,` must not be read as backslash and thin space.
    lines = text.replace(r"\%", "%").split(r"\\")
    text = r"\\".join(_DELIMITERS.sub("", _SPACING.sub(" ", line)) for line in lines)
    # A lone dollar sign is money; two are the borders of a formula. `\$` is always money.
    text = text.replace(r"\$", _MONEY)
    text = (text if text.count("$") == 1 else text.replace("$", "")).replace(_MONEY, "$")
    for pattern, replacement in (*_LATEX_SPELLINGS, *_SPELLINGS):
        text = pattern.sub(replacement, text)
    return without_outer_braces(_finish(_with_functions(text)))


def _unwrap(wrapper: re.Match[str]) -> str:
    content = wrapper[2].replace("~", " ").strip()
    before = wrapper.string[: wrapper.start()].rstrip(" ~\\,;")[-1:]
    if content.lower() in _CONNECTORS:
        return f" {content} "
    if any(word in NOT_UNITS and word not in _SUFFIXES for word in re.findall("[a-z]+", content.lower())):
        return f" {content} "  # 5\\text{ or more}
    quantity = (
        before.isdigit() or before in "})%" or wrapper.string[: wrapper.start()].rstrip(" ~\\,;").endswith(r"\pi")
    )
    if before and quantity and content[:1].isalpha() and (len(content) > 1 or content in SINGLE_LETTERS):
        return rf"\unit{{{content}}}"
    # Words keep their distance from what stands beside them; letters of a formula don't.
    return content if len(content) <= 1 or content.isdigit() else f" {content} "


def _finish(text: str) -> str:
    # "1, 234" are two values and "1,234" may be one: the comma with a space becomes a separator of its own.
    text = _SEPARATOR.sub(";", _SPACE.sub(" ", _BOLD.sub("", text)))
    text = _SPACED.sub(r"\1\2", _SUPERSCRIPT.sub(r"^{\1}", _SUBSCRIPT.sub(r"_{\1}", text)))
    text = _BASE.sub(lambda base: f"{base[1]}_" if base[1] else f"_{{{_BASES.get(base[2], 16)}}}", text)
    text = _FREE_SPACE.sub("", text)
    text = text.strip()
    if not text.endswith("..."):  # "7, 8, ..." goes on
        text = text.rstrip(".,;: ")
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'" else text
