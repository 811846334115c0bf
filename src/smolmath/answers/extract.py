"""The predicted answer of a completion: what it commits to last, and how that was found.

The order of STRATEGIES is the order of trust. A complete answer block yields only to a later block, a withdrawal, or
an explicit "final answer is X"; among the other commitments the last by position counts; without any, a finished
completion is read by its closing sentence. All scans are linear in the completion: no pattern here has two unbounded
repeats that can match the same text.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from smolmath.answers.compare import read_value_kind
from smolmath.tags import DEFAULT_TAGS, Tags

STRATEGIES = (
    "answer_block",  # <answer>…</answer>
    "open_answer_block",  # <answer>… to the end, in a finished completion
    "boxed",  # \boxed{…}
    "hashes",  # #### …
    "the_answer_is",  # the answer is …, Answer: …
    "assignments",  # closing sentence: x = 4
    "formula",  # closing sentence: $…$, or nothing but a formula
    "last_number",  # closing sentence: its last number
    "withdrawn",  # a commitment was taken back and nothing put in its place
)

_BOX = re.compile(r"\\f?boxed\s*\{")
_HASHES = re.compile(r"^[ \t]*####[ \t]*([^\n]*)", re.MULTILINE)
_ANSWER_IS = re.compile(
    r"\banswers?\b(?:[^\n.?!:=]{0,60}?(?:\bis\b|\bare\b|\bequals\b|[:=])|\*\*:?)[\s*:=]*(?:\bthat\s)?", re.IGNORECASE
)
_FINAL_ANSWER = re.compile(r"\bfinal answer\b[^\n.?!:=]{0,60}?(?:\bis\b|[:=])[\s*:=]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\n|[.!?](?=[\s*]|$)")
_WITHDRAWAL = re.compile(
    r"\b(?:that|this|it|which|(?:my|the|this|that)(?: \w+)? (?:answer|result|value)(?: above)?)(?:'s| is| was)"
    r" (?:wrong|incorrect|false|not right|not correct|a mistake|an error|mistaken)\b"
    r"|\bscratch that\b|\bstrike that\b"
    r"|\b(?:disregard|ignore|forget) (?:that|this|it|my (?:previous|earlier|first|last) answer)\b"
    r"|\bI(?: have| just|'ve)? (?:made|make) (?:a|an|some) (?:\w+ )?(?:mistake|error)\b"
    r"|\bI was (?:wrong|mistaken)\b"
    r"|\bI (?:take (?:that|it) back|retract|withdraw)\b|\bcorrection\s*:"
    r"|\b(?:no|wait|oops|sorry),? (?:wait|actually|no|sorry)\b"
    r"|\bactually,? (?:it|that|the (?:correct )?answer)(?:'s| is| should be)"
    r"|\b(?:it|that|the answer) should (?:be|have been)\b",
    re.IGNORECASE,
)
_PAUSE = re.compile(r"^[\s,;:!]*(?:\.(?!\d))?[\s,;:!]*")
_NEGATED = re.compile(r"\W*(?:not|never|unknown|unclear|wrong|incorrect)\b", re.IGNORECASE)
_JOINT = re.compile(
    r"[\s$*]*(?:\\[()\[\]])?[\s$*]*(,?\s*\b(?:and|or)\b|[,;]|\\text\{\s*(?:and|or)\s*\})[\s$*]*(?:\\[()\[\]])?"
    r"\s*(?:[a-zA-Z][\w{}]{0,8}\s*=\s*)?[\s$*]*",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?<![\w\\^_:.])(?:[-−–]\s?)?[$€£]?\s?[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?"
    r"(?:\s?(?:%|percent\b|cm\b|km\b|mm\b|kg\b|ml\b|million\b|thousand\b|billion\b|hundred\b))?(?![\w:^]|\.\d|,\d{3}\b)"
)
_FORMULA = re.compile(r"\$\$?([^$\n]{1,300})\$\$?|\\\(([^\n]{1,300}?)\\\)|\\\[([^\n]{1,300}?)\\\]")
_ASSIGNMENTS = re.compile(r"(?<![\w\\])[a-zA-Z](?:_\w)?\s*=(?!=)")
_LOCAL_GUARD = re.compile(
    r"(?:\bnot|n't|\bthan|\bleast|\bmost|\bexcept|\bbetween|\bnever|\bstep|\boption|[<>≤≥≠])\W+(?:\w+\W+){0,2}$", re.I
)
_GLOBAL_GUARD = re.compile(
    r"\b(?:do not|don't|can't|cannot|not) (?:know|be|say|tell|sure|determine|enough|possible)|\bunsure\b"
    r"|\bunknown\b|\bmaybe\b"
    r"|\bperhaps\b|\bimpossible\b|\bguess\b|\beither\b",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"\W*(?:i hope|hope this|let me know|thank|feel free|if you have|you're welcome)", re.IGNORECASE
)
_HAS_VALUE = re.compile(r"\d|\\[a-zA-Z]{2,}|(?<![\w'])[A-J](?![\w'])|[πθ∞√]")
MAX_TRIES = 20  # last mentions of "answer" that are looked at for a value
MAX_SENTENCE = 1000  # characters; a 30,000-digit answer belongs into a block or a box
CLOSING_WINDOW = 2000  # characters at the end of a completion in which its closing sentence is looked for


@dataclass(frozen=True, slots=True)
class Extraction:
    """The predicted answer as written, None if there is none, and the strategy that found it."""

    text: str | None
    strategy: str | None


def extract_answer(completion: str, *, finished: bool = True, tags: Tags = DEFAULT_TAGS) -> Extraction:
    """The answer that a completion commits to.

    Args:
        completion: what the model wrote, without the prompt.
        finished: False if it was cut off; then nothing is read from an open block or a closing sentence.
        tags: tag names of the response format.

    >>> extract_answer("9 * 2 = 18, so the answer is $18.")
    Extraction(text='$18', strategy='the_answer_is')
    """
    block, end, open_block = _last_block(completion, tags.answer)
    if open_block is not None and finished:
        return _from_block(open_block, "open_answer_block")
    if block is not None:
        tail = completion[end:]
        return (_after_block(tail, finished) if not tail.isspace() and tail else None) or _from_block(
            block, "answer_block"
        )
    scope = completion[_reasoning_end(completion, tags.reasoning) :]
    return _without_block(scope, finished)


def follows_format(completion: str, *, tags: Tags = DEFAULT_TAGS) -> bool:
    """Whether a completion is `<reasoning>\\n…\\n</reasoning>\\n<answer>\\n…\\n</answer>`, with each tag once."""
    text = completion.strip()
    opening, middle = f"<{tags.reasoning}>\n", f"\n</{tags.reasoning}>\n<{tags.answer}>\n"
    closing = f"\n</{tags.answer}>"
    if not (text.startswith(opening) and text.endswith(closing)):
        return False
    at = text.find(middle)
    once = all(text.count(tag) == 1 for tag in (opening[:-1], closing[1:], f"</{tags.reasoning}>", f"<{tags.answer}>"))
    return once and len(opening) <= at and at + len(middle) <= len(text) - len(closing)


@lru_cache(maxsize=16)
def _tag_pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"<(/?) ?{re.escape(name)} ?>", re.IGNORECASE)


def _last_block(text: str, name: str) -> tuple[str | None, int, str | None]:
    """Content and end of the last complete block, and what stands behind an opening tag after it that never closes."""
    opened: int | None = None
    block: tuple[int, int, int] | None = None
    for tag in _tag_pattern(name).finditer(text):
        if not tag[1]:
            opened = tag.end()
        elif opened is not None:
            block, opened = (opened, tag.start(), tag.end()), None
    rest = None if opened is None else text[opened:]
    return (None, 0, rest) if block is None else (text[block[0] : block[1]], block[2], rest)


def _reasoning_end(text: str, name: str) -> int:
    return max((tag.end() for tag in _tag_pattern(name).finditer(text) if tag[1]), default=0)


def _after_block(tail: str, finished: bool) -> Extraction | None:
    """What replaces the block: an explicit final answer or the correction after a withdrawal; None if nothing does."""
    for found in reversed(list(_FINAL_ANSWER.finditer(tail))[-MAX_TRIES:]):
        value = _sentence(tail, found.end())
        if _HAS_VALUE.search(value) and not _NEGATED.match(value):
            return Extraction(_value(value), "the_answer_is")
    if withdrawal := _last(_WITHDRAWAL.finditer(tail)):
        return _corrected(tail[withdrawal.end() :], finished)
    return None


def _corrected(rest: str, finished: bool) -> Extraction:
    found = _without_block(_PAUSE.sub("", rest, count=1), finished)
    return found if found.text is not None else Extraction(None, "withdrawn")


def _from_block(content: str, strategy: str) -> Extraction:
    text = content.strip()
    if withdrawal := _last(_WITHDRAWAL.finditer(text)):
        return Extraction(_corrected(text[withdrawal.end() :], finished=True).text, strategy)
    if boxes := _boxes(text):
        bare = _unboxed(text, boxes)
        group = _joint(boxes, text)
        # What stands around the boxes may be words or the way to the value, but no second value.
        around = _unboxed(text, boxes, keep=False)
        text = group[2] if not _NUMBER.search(around) and not re.search(r"\bor\b", around) else bare
    elif found := _last(_ANSWER_IS.finditer(text)):
        text = text[found.end() :].strip()
    elif found := _last(_HASHES.finditer(text)):
        text = found[1].strip()
    return Extraction(_value(text) or None, strategy)


def _without_block(scope: str, finished: bool) -> Extraction:
    """The last box, #### line or "the answer is"; else the closing sentence."""
    found: list[tuple[int, int, str, str]] = []  # start, end, text, strategy
    if boxes := _boxes(scope):
        start, end, text = _joint(boxes, scope)
        found.append((start, end, text, "boxed"))
    if "####" in scope and (line := _last(_HASHES.finditer(scope))) and (finished or line.end() < len(scope)):
        found.append((line.start(1), line.end(), line[1].strip(), "hashes"))
    if finished:
        for match in reversed(list(_ANSWER_IS.finditer(scope))[-MAX_TRIES:]):
            value = _sentence(scope, match.end())
            if _HAS_VALUE.search(value) and not _NEGATED.match(value):
                found.append((match.end(), match.end() + len(value), value, "the_answer_is"))
                break
    if not found:
        return _closing_sentence(scope) if finished else Extraction(None, None)
    _, end, text, strategy = max(found)
    if withdrawal := _last(_WITHDRAWAL.finditer(scope, end)):
        return _corrected(scope[withdrawal.end() :], finished)
    if strategy != "boxed":
        inner = _boxes(text)
        text = _joint(inner, text)[2] if inner else _value(text)
    return Extraction(text.strip() or None, strategy)


def _closing_sentence(scope: str) -> Extraction:
    lines = [line.strip() for line in scope[-CLOSING_WINDOW:].split("\n") if line.strip(" \t\r*_-#>`")]
    while lines and _COURTESY.match(lines[-1]):
        lines.pop()
    if not lines or re.search(r"</?\w+>", lines[-1]):
        return Extraction(None, None)
    line = lines[-1]
    ends = [found.end() for found in _SENTENCE_END.finditer(line) if line[found.end() :].strip(" *_.")]
    sentence = line[ends[-1] if ends else 0 :].strip(" \t\r*_").rstrip(".! ")
    if read_value_kind(sentence) != "prose":
        strategy = "assignments" if _ASSIGNMENTS.match(sentence.lstrip("$ ")) else "formula"
        return Extraction(sentence, strategy) if _HAS_VALUE.search(sentence) else Extraction(None, None)
    if _GLOBAL_GUARD.search(sentence):
        return Extraction(None, None)
    formulas = _formulas(sentence)
    numbers = [
        (number.start(), number.end(), number[0].strip())
        for number in _NUMBER.finditer(sentence)
        if not any(start < number.end() and number.start() < end for start, end, _ in formulas)
    ]
    if not formulas and not numbers:
        return Extraction(None, None)
    pieces = sorted(formulas + numbers)
    start, _, text = _joint(pieces, sentence)
    if _LOCAL_GUARD.search(sentence[max(0, start - 40) : start]):
        return Extraction(None, None)
    if pieces[-1] in numbers:
        return Extraction(text, "last_number")
    return Extraction(text, "assignments" if _ASSIGNMENTS.match(text) else "formula")


def _formulas(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of the formulas that state a value; dollar signs of money enclose words or half a sum."""
    found = [(f.start(), f.end(), (f[1] or f[2] or f[3]).strip()) for f in _FORMULA.finditer(text)]
    return [
        (start, end, content)
        for start, end, content in found
        if _HAS_VALUE.search(content) and content[-1] not in "=+-*/,(" and read_value_kind(content) != "prose"
    ]


def _value(text: str) -> str:
    """The value within a phrase: the one formula or the one number among words, else the phrase itself."""
    text = text.strip().strip("*_` ").rstrip(". ")
    if read_value_kind(text) != "prose":
        return text
    formulas = [content for _, _, content in _formulas(text)]
    numbers = list(_NUMBER.finditer(text))
    if (
        len(formulas) == 1
        and len(numbers) <= len(_NUMBER.findall(formulas[0]))
        and not _LOCAL_GUARD.search(text[: text.find(formulas[0])].rstrip("$\\( ") + " ")
    ):
        return formulas[0]
    if len(numbers) != 1 or _GLOBAL_GUARD.search(text) or re.search(r"\bor\b|[<>]|\bn[o']t\b", text):
        return text
    # A digit elsewhere ("7:30", "a_4") means that the one number is not all there is.
    digits_elsewhere = re.search(r"\d", text[: numbers[0].start()] + text[numbers[0].end() :])
    if digits_elsewhere or _LOCAL_GUARD.search(text[max(0, numbers[0].start() - 40) : numbers[0].start()]):
        return text
    return numbers[0][0].strip()


def _sentence(text: str, start: int) -> str:
    sentence = text[start : start + MAX_SENTENCE]
    end = _SENTENCE_END.search(sentence)
    return sentence[: end.start() if end else None].strip()


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of each complete outermost `\\boxed{…}`, in order."""
    boxes: list[tuple[int, int, str]] = []
    position = 0
    while found := _BOX.search(text, position):
        depth, at = 1, found.end()
        while at < len(text) and depth:
            if text[at] == "\\":
                at += 1  # an escaped brace opens nothing
            else:
                depth += (text[at] == "{") - (text[at] == "}")
            at += 1
        if depth:
            break
        boxes.append((found.start(), at, text[found.end() : at - 1].strip()))
        position = at
    return boxes


def _joint(pieces: list[tuple[int, int, str]], text: str) -> tuple[int, int, str]:
    """The last piece, joined with those before it that only a comma, "and" or "or" keeps apart."""
    start, end, joined = pieces[-1]
    for piece_start, piece_end, content in reversed(pieces[:-1]):
        between = text[piece_end:start]
        connector = _JOINT.fullmatch(between) if len(between) < 60 else None
        if not connector:
            break
        word = re.sub(r"\\text\{\s*|\s*\}", "", connector[1]).strip(", ") or ","
        joined = f"{content}{' ' if word.isalpha() else ''}{word} {joined}"
        start = piece_start
    return start, end, joined


def _unboxed(text: str, boxes: list[tuple[int, int, str]], *, keep: bool = True) -> str:
    pieces, position = [], 0
    for start, end, content in boxes:
        pieces += [text[position:start], content if keep else " "]
        position = end
    return "".join([*pieces, text[position:]])


def _last(matches: Iterable[re.Match[str]]) -> re.Match[str] | None:
    last = None
    for last in matches:  # noqa: B007 - the last one is what is wanted
        pass
    return last
