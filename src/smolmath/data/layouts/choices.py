"""Multiple choice whose options stand in a column of their own: they are written under the question.

{"question": "What is 1 plus 2?", "options": ["A)1", "B)3", "C)4"], "correct": "B"}
{"question": "What is 1 plus 2?", "choices": ["1", "3", "4"], "answer": 1}
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from smolmath.answers.choices import options
from smolmath.answers.kinds import read_letter
from smolmath.answers.normalise import normalise
from smolmath.data.layouts.candidates import Candidate
from smolmath.data.layouts.values import as_text

# `A)21`, `(b) 4`, `C. 5`, `[D] 6`
_LABEL = re.compile(r"\s*[(\[]?\s*([A-Ja-j])\s*[)\].:]\s*")
_IN_TEXT = re.compile(r"(?:^|[\s,;]+)[(\[]?\s*([A-Ja-j])\s*[)\].]\s*")  # MathQA: `a ) 38 , b ) 27.675 , c ) 30`


def with_choices(candidate: Candidate, given: Any) -> Candidate:
    """The problem with its options under the question, and the letter of the right one as its reference answer.

    A whole number counts the options from 0; an option's text names it. What names none is left as it is, and so is
    a row without options.
    """
    listed = _options(given)
    if len(listed) < 2 or not isinstance(candidate.question, str):
        return candidate
    answer = candidate.reference_answer
    letter = _letter(answer, listed)
    if letter is None and isinstance(answer, str) and not read_letter(normalise(answer)):
        return candidate  # a value that is none of the options: not asked as multiple choice
    question = candidate.question
    if options(question).keys() != listed.keys():
        question += "\n" + "\n".join(f"({letter}) {text}" for letter, text in listed.items())
    return replace(candidate, question=question, reference_answer=letter or answer, options=listed)


def _letter(answer: Any, listed: Mapping[str, str]) -> str | None:
    if isinstance(answer, int) and not isinstance(answer, bool):
        return ascii_uppercase[answer] if 0 <= answer < len(listed) else None
    text = as_text(answer).strip()
    same = [letter for letter, option in listed.items() if normalise(option) == normalise(text)]
    if len(same) == 1:
        return same[0]
    letter = read_letter(normalise(text)) or (text.upper() if text in "abcdefghij" else None)
    return letter if letter in listed else None


def _options(given: Any) -> dict[str, str]:
    """Letter -> text, of a list, of an object by letter, of labels and texts, or of any of these written out."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            given = _written(given)
    if isinstance(given, Mapping):
        if isinstance(given.get("text"), list):
            given = given["text"]
        else:
            named = {str(label).strip().upper(): as_text(text).strip() for label, text in given.items()}
            return named if list(named) == list(ascii_uppercase[: len(named)]) else {}
    if not isinstance(given, list):
        return {}
    texts = [as_text(option).strip() for option in given]
    labels = [_LABEL.match(text) for text in texts]
    if all(label and label[1].upper() == ascii_uppercase[at] for at, label in enumerate(labels)):
        texts = [text[label.end() :].strip() for text, label in zip(texts, labels, strict=True) if label]
    return dict(zip(ascii_uppercase, texts, strict=False)) if all(texts) and len(texts) <= 10 else {}


def _written(text: str) -> list[str]:
    """`a ) 38 , b ) 27.675 , c ) 30`, or `['a ) 38', 'b ) 27.675']` as Python writes a list."""
    text = re.sub(r"^\[\s*['\"]|['\"]\s*\]$", "", text.strip()).replace("', '", " , ")
    found = list(_IN_TEXT.finditer(text))
    if [marker[1].upper() for marker in found] != list(ascii_uppercase[: len(found)]):
        return []
    ends = [marker.start() for marker in found[1:]] + [len(text)]
    return [text[marker.end() : end].strip(" ,;") for marker, end in zip(found, ends, strict=True)]
