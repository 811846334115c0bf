"""The one grader: reads the answer from a completion and compares it with a problem's reference answer.

Processing, rewards, evaluation and the command line all use it. It is total: any two strings give a Grade, in bounded
time, without raising. The policy is in docs/grading.md; reading is in extract.py, matching in compare.py.
"""

from dataclasses import dataclass

from smolmath.answers.compare import answers_match
from smolmath.answers.extract import Extraction, extract_answer, follows_format
from smolmath.answers.kinds import is_verifiable
from smolmath.tags import DEFAULT_TAGS, Tags

__all__ = ["DEFAULT_TAGS", "Extraction", "Grade", "Tags", "answers_match", "extract_answer", "grade", "is_verifiable"]


@dataclass(frozen=True, slots=True)
class Grade:
    """The verdict on one completion."""

    correct: bool  # the predicted answer equals the reference answer
    strict: bool  # correct, and the whole completion has the asked format
    extracted: str | None  # predicted answer, None if there is none
    strategy: str | None  # how it was found, see extract.STRATEGIES
    verifiable: bool  # whether the reference can be compared at all


def grade(completion: str, reference: str, *, finished: bool = True, tags: Tags = DEFAULT_TAGS) -> Grade:
    """The verdict on one completion.

    Args:
        completion: what the model wrote, without the prompt.
        reference: the problem's reference answer.
        finished: False if the completion was cut off at its length limit; then only a complete answer block, box or
            #### line counts.
        tags: tag names of the response format.

    >>> grade("<answer>\\n$1,250$\\n</answer>", "1250").correct
    True
    """
    extraction = extract_answer(completion, finished=finished, tags=tags)
    correct = extraction.text is not None and answers_match(extraction.text, reference)
    return Grade(
        correct=correct,
        strict=correct and finished and follows_format(completion, tags=tags),
        extracted=extraction.text,
        strategy=extraction.strategy,
        verifiable=is_verifiable(reference),
    )
