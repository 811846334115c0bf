"""What a layout makes of one raw row, before anything is checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Trace:
    """One generation of a reasoning model, and what the dataset says of it."""

    text: str
    complete: bool  # not cut off
    verified: bool | None  # whether its answer was found right; None: nobody looked


@dataclass(frozen=True)
class Candidate:
    """Values as found: `process` rejects what is empty, of a wrong type or unverifiable, with its reason."""

    question: Any
    reference_answer: Any
    reasoning: Any = None
    source: Any = None
    traces: tuple[Trace, ...] | None = None  # None: a layout without generations, or none were asked for
    lacking: str = ""  # why there is no reference answer, where the layout has to look for it
    options: Mapping[str, str] = field(default_factory=dict)  # letter -> text, where a column of their own holds them
    level: Any = None  # how hard the set calls it
    variant_of: Any = None  # the question that it was made from
