r"""Respellings of a reference that must stay right, and near misses that must be wrong.

Each takes a reference and gives the other text, or None where it does not apply. They are mechanical: nobody looked at
the pairs that they make.
"""

import re

KNOWN = [
    "`(C) .75` for `.75`: the dot is taken for the label's.",
    "`$y_1=…$` and `$y_2=…$` below one another: indices only number the values, so that another index is not seen.",
    "`12000 M` for `12000 m`: the case of a unit's letter.",
    "numbers of more than 300 digits in round brackets.",
]
_NUMBER = re.compile(r"-?\d+")
_PAIR = re.compile(r"\((-?[\d./]+) ?, ?(-?[\d./]+)\)")
_LIST = re.compile(r"-?\d{1,2}(?:, ?-?\d{1,2})+")
_SIMPLE = re.compile(r"-?[\d./]*\d|-?\\d?frac\{-?\d+\}\{\d+\}|-?\d*\\sqrt\{\d+\}|-?\d*\\pi")


def bare(text):
    return not re.search(r"\$|\\text|&|\\mathrm", text)


def around(before, after="", *, only=bare):
    return lambda text: before + text + after if only(text) else None


def number(before="", after=""):
    return around(before, after, only=_NUMBER.fullmatch)


def simple(before="", after=""):
    return around(before, after, only=_SIMPLE.fullmatch)


def replaced(pattern, replacement, *, only=bare):
    return lambda text: re.sub(pattern, replacement, text) if only(text) and re.search(pattern, text) else None


def pair(form):
    return lambda text: form.format(*found.groups()) if (found := _PAIR.fullmatch(text)) else None


def letter(after):
    return lambda text: text.strip("()") + after if re.fullmatch(r"[A-E]|\([A-E]\)", text) else None


def grouped(separator):
    return lambda text: f"{text[:-3]}{separator}{text[-3:]}" if re.fullmatch(r"\d{4,6}", text) else None


def without_spaces(text):
    if not bare(text) or r"\ " in text:
        return None
    return re.sub(r"(?<=[+\-=*/(,{}]) | (?=[+\-=*/),{}])", "", text)


def terms_swapped(text):
    terms = text.split("+")
    plain = re.fullmatch(r"[\w\\{}^]+(\+[\w\\{}^]+)+", text) and "_" not in text and "infty" not in text
    return "+".join(terms[::-1]) if plain and all(t.count("{") == t.count("}") for t in terms) else None


def items_swapped(text):
    return ", ".join(item.strip() for item in reversed(text.split(","))) if _LIST.fullmatch(text) else None


def half_line(text):
    return f"x>{found[1]}" if (found := re.fullmatch(r"\(([^(),]{1,12}), ?\+?\\infty\)", text)) else None


RIGHT = {
    "itself": lambda text: text,
    "dollars": around("$", "$"),
    "two dollars": around("$$", "$$"),
    "inline": around(r"\(", r"\)"),
    "display": around("\\[\n", "\n\\]", only=lambda text: "$" not in text),
    "braces": around("{", "}", only=lambda text: bare(text) and not re.fullmatch("[^\\\\]*,[^\\\\]*", text)),
    "another box": around(r"\boxed{", "}"),
    "mathbf": around(r"\mathbf{", "}"),
    "boldsymbol": around(r"\boldsymbol{", "}"),
    "color": around(r"\color{red}{", "}"),
    "textcolor": around(r"\textcolor{blue}{", "}"),
    "underline": around(r"\underline{", "}"),
    "bf": around(r"{\bf ", "}"),
    "rm": simple(r"{\rm ", "}"),
    "mathrm": simple(r"\mathrm{", "}"),
    "displaystyle": around(r"\displaystyle "),
    "thin spaces": around(r"\,", r"\,"),
    "lines": around("\n", "\n"),
    "full stop": around("", "."),
    "statement": around(r"\text{The answer is }"),
    "label": around(r"\text{Answer: }"),
    "dfrac": replaced(r"\\frac", r"\\dfrac"),
    "bare fraction": replaced(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2"),
    "slash": lambda text: (
        re.sub(r"\\frac\{(\w+)\}\{(\w+)\}", r"\1/\2", text) if re.fullmatch(r"-?\\frac\{\w+\}\{\w+\}", text) else None
    ),
    "no spaces": without_spaces,
    "spaces": replaced(r"([+=])", r" \1 "),
    "left and right": lambda text: (
        text.replace("(", r"\left(").replace(")", r"\right)")
        if bare(text)
        and "(" in text
        and not re.search(r"[\[\]]|\\left|mod", text)
        and text.count("(") == text.count(")")
        else None
    ),
    "minus sign": replaced("-", "−", only=lambda text: r"\begin" not in text),
    "times": replaced(r"\\cdot", r"\\times"),
    "cdot": replaced(r"(\d)(\\sqrt|\\pi)", r"\1\\cdot \2"),
    "power in braces": replaced(r"\^(\d)(?!\d)", r"^{\1}"),
    "unicode": replaced(r"\\sqrt\{(\d+)\}", r"√\1"),
    "plain root": replaced(r"(?<![a-z])\\sqrt\{(\d+)\}", r"sqrt(\1)"),
    "argument in brackets": replaced(r"\\(sin|cos|tan|ln|log) ?([a-z0-9])$", r"\\\1(\2)"),
    "slanted": replaced(r"\\(l|g)eq?(?![a-z])", r"\\\1eqslant"),
    "bars": replaced(r"\|", r"\\vert ", only=lambda text: bare(text) and not re.search(r"\\\{|array|mid", text)),
    "degree sign": replaced(r"\^\{?\\circ\}?", "°"),
    "percent": replaced(r"\\%", "%"),
    "terms swapped": terms_swapped,
    "items swapped": items_swapped,
    "and": lambda text: text.replace(",", r" \text{ and } ") if re.fullmatch(r"-?\d\d?, ?-?\d\d?", text) else None,
    "set": lambda text: rf"\{{{text}\}}" if _LIST.fullmatch(text) else None,
    "half-line": half_line,
    "membership": lambda text: (
        rf"x \in {text}" if re.fullmatch(r"[(\[][^()\[\]]*\\infty[^()\[\]]*[)\]]", text) else None
    ),
    "point": lambda text: f"P{text}" if _PAIR.fullmatch(text) else None,
    "named pair": pair("(x,y)=({},{})"),
    "two names": pair("x={}, y={}"),
    "cases": pair(r"\begin{{cases}} x={} \\ y={} \end{{cases}}"),
    "array": pair(r"\left\{{\begin{{array}}{{l}} x={} \\ y={} \end{{array}}\right."),
    "x =": simple("x = "),
    "|z| =": simple("|z| = "),
    "maximum": simple(r"f_{\max} = "),
    "a^2+b^2 =": simple("a^2+b^2="),
    "area": simple(r"S_{\triangle ABC} = "),
    "segment": simple("AB = "),
    "value": simple("f(3) = "),
    "probability": simple("P(X=2) = "),
    "angle": simple(r"\angle ABC = "),
    "chain": lambda text: f"x = 2+3-5+{text} = {text}" if re.fullmatch(r"\d+", text) else None,
    "in brackets": lambda text: f"({text})" if re.fullmatch(r"\d{1,50}", text) else None,
    "decimal": number("", ".0"),
    "text": number(r"\text{", "}"),
    "unit": number("", r"\text{ cm}"),
    "units in brackets": number("", r"\text{ (units)}"),
    "textnormal": number("", r"\textnormal{ miles}"),
    "mathrm unit": number("", r"\mathrm{~cm}"),
    "labelled": number("A. "),
    "tilde": grouped("~"),
    "comma": grouped(","),
    "latex comma": grouped(r",\!"),
    "braced comma": grouped("{,}"),
    "thin space": grouped(r"\,"),
    "letter with value": letter(" (12)"),
    "letter and value": letter(". 12"),
    "letter in text": letter(r"\text{.}"),
}


def digit_changed(text, draw):
    digits = list(re.finditer(r"\d", text))
    if not digits or re.fullmatch(r"\(?[A-J]\)?[. ].*|C_.*", text):  # a letter is the answer; binomials are symmetric
        return None
    chosen = draw.choice(digits)
    return f"{text[: chosen.start()]}{(int(chosen[0]) + draw.randint(1, 8)) % 10}{text[chosen.end() :]}"


def sign_changed(text, draw):
    blocked = re.search(r"pm|[,;=<>]|\\in|\\le|\\ge|begin|text|0$|cup", text) or not re.search("[1-9]", text)
    return None if blocked or not re.match(r"[\d\\]", text) else f"-{text}"


def case_changed(text, draw):
    letters = list(re.finditer(r"(?<![\\a-zA-Z])[a-zA-Z](?![a-zA-Z])", text))
    if not letters or len(text) < 4 or re.search(r"text|begin|mathrm|operatorname|\\in|p\.m", text):
        return None
    chosen = draw.choice(letters)
    other = chosen[0].swapcase()
    return None if other in text or chosen[0] in "eikn" else text[: chosen.start()] + other + text[chosen.end() :]


def one_more(text, draw):
    blocked = r"[,;<>=]|text|begin|\\in|\\le|\\ge|cup|mathrm|\.$|%|\$|or|and|circ|mathbb|^\(?[A-J]"
    return None if re.search(blocked, text) or not re.search(r"\d", text) else f"{text} + 1"


def letter_before(text, draw):
    blocked = re.search(r"k|text|[,;]|pm|begin|[<>]|\\in|\\le|\\ge|cup|=|^0", text)
    return None if blocked or not re.match(r"[\d\\]", text) else f"k{text}"


def order_changed(text, draw):
    found = _PAIR.fullmatch(text)
    return f"({found[2]},{found[1]})" if found and found[1] != found[2] else None


def one_item_less(text, draw):
    return text.rpartition(",")[0] if _LIST.fullmatch(text) and len(set(re.findall(r"-?\d+", text))) > 1 else None


WRONG = {
    "another digit": digit_changed,
    "another sign": sign_changed,
    "another case": case_changed,
    "one more": one_more,
    "a letter before it": letter_before,
    "another order": order_changed,
    "one item less": one_item_less,
}
