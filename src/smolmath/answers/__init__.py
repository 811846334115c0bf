"""The one grader: reads the answer from a completion and compares it with a problem's reference answer.

Processing, rewards, evaluation and the command line all use it. It is total: any two strings give a Grade, in bounded
time, without raising. The policy is in docs/grading.md; reading is in extract.py, matching in compare.py.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from smolmath.answers.choices import is_same_option
from smolmath.answers.compare import answers_match, expect_questions
from smolmath.answers.copied import is_copied
from smolmath.answers.extract import Extraction, extract_answer, follows_format
from smolmath.answers.kinds import is_verifiable
from smolmath.answers.normalise import normalise
from smolmath.answers.numbers import parse_number
from smolmath.tags import DEFAULT_TAGS, Tags

__all__ = [
    "DEFAULT_TAGS", "Extraction", "Grade", "Tags", "answers_match", "expect", "extract_answer", "grade",
    "is_verifiable",
]  # fmt: skip

_DOZEN = re.compile(r"(?:\\text\{)?\s?\bdozens?\b\}?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Grade:
    """The verdict on one completion."""

    correct: bool  # the predicted answer equals the reference answer
    strict: bool  # correct, and the whole completion has the asked format
    extracted: str | None  # predicted answer, None if there is none
    strategy: str | None  # how it was found, see extract.STRATEGIES
    verifiable: bool  # whether the reference can be compared at all


def grade(
    completion: str, reference: str, *, question: str | None = None, finished: bool = True, tags: Tags = DEFAULT_TAGS
) -> Grade:
    """The verdict on one completion.

    Args:
        completion: what the model wrote, without the prompt.
        reference: the problem's reference answer.
        question: the problem's text, where it is known: a formula that is copied from it is no answer, where it asks
            for dozens, 5 dozen is 5, and of its options the letter and the text are one answer.
        finished: False if the completion was cut off at its length limit; then only a complete answer block, box or
            #### line counts.
        tags: tag names of the response format.

    >>> grade("<answer>\\n$1,250$\\n</answer>", "1250").correct
    True
    """
    extraction = extract_answer(completion, finished=finished, tags=tags)
    correct = extraction.text is not None and _is_right(extraction.text, reference, question)
    return Grade(
        correct=correct,
        strict=correct and finished and follows_format(completion, tags=tags),
        extracted=extraction.text,
        strategy=extraction.strategy,
        verifiable=is_verifiable(reference),
    )


def expect(references: Iterable[str]) -> None:
    """Start the process that compares formulas, if one of these references may need it, so that none waits for it."""
    if not all(parse_number(normalise(reference)) for reference in references):
        expect_questions()


def _is_right(answer: str, reference: str, question: str | None) -> bool:
    if question is None:
        return answers_match(answer, reference)
    if _DOZEN.search(question):
        answer = _DOZEN.sub("", answer)
    if answers_match(answer, reference) and (answer.isdecimal() or not is_copied(answer, reference, question)):
        return True
    return is_same_option(answer, reference, question)
