"""What makes two problems the same, and which side of the split a problem is on.

Both are functions of the question alone, so that adding rows, reordering files or another dataset that holds
the same question can never move a problem from one side to another.
"""

import hashlib
import unicodedata
from typing import Literal

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")


def normalise_question(question: str) -> str:
    """The question without the differences that don't make another problem: Unicode form, case, white space."""
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split())


def problem_id(question: str) -> str:
    """First 16 hex digits of sha256 of the normalised question: the same question has the same id everywhere."""
    return hashlib.sha256(normalise_question(question).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def side_of(problem: str, *, seed: int, validation_fraction: float, test_fraction: float) -> Side:
    """The side that a problem id falls on, for a dataset that has no sides of its own.

    Args:
        problem: problem id.
        seed: `split.seed`; another seed draws another split.
        validation_fraction: share of problems, 0 to 1.
        test_fraction: share of problems, 0 to 1.
    """
    digest = hashlib.sha256(f"{seed}:{problem}".encode()).digest()
    u = int.from_bytes(digest[:8], "big") / 2**64  # uniform in [0, 1)
    if u < test_fraction:
        return "test"
    if u < test_fraction + validation_fraction:
        return "validation"
    return "train"
