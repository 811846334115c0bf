"""What a layout makes of one raw row, before anything is checked."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """Values as found: `process` rejects what is empty, of a wrong type or unverifiable, with its reason."""

    question: Any
    reference_answer: Any
    reasoning: Any = None
    source: Any = None
