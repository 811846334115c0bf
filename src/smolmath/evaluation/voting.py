"""Which answers to a problem are one and the same, so that they vote together."""

from collections import defaultdict

from smolmath.answers import answers_match
from smolmath.answers.kinds import is_formula
from smolmath.answers.normalise import normalise
from smolmath.answers.numbers import parse_number

COMPARED = 16  # wrong formulas of one problem that a new one is held against


class AnswerGroups:
    """Numbers for the answers to each problem: equal ones share one, so that 1/2 and 0.5 vote together."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, object], int] = {}  # (problem, answer as written, or its value) -> group
        self._formulas: dict[str, list[tuple[str, int]]] = defaultdict(list)  # problem -> one spelling of each
        self._last: dict[str, int] = defaultdict(int)

    def number(self, problem: str, answer: str | None, *, correct: bool) -> int | None:
        """0 for a right answer, 1 and on for each other one, None for none."""
        if correct or answer is None:
            return 0 if correct else None
        spelling = normalise(answer)
        value = parse_number(spelling)
        key: tuple[str, object] = (problem, spelling.lower() if value is None else (value.value, value.percent))
        if key not in self._known:
            self._known[key] = self._equal_formula(problem, spelling) or self._new(problem, spelling)
        return self._known[key]

    def _equal_formula(self, problem: str, spelling: str) -> int | None:
        """Only formulas are compared one by one, and of those no more than a few: each costs a millisecond."""
        if not is_formula(spelling) or parse_number(spelling) is not None:
            return None
        known = self._formulas[problem][:COMPARED]
        return next((group for other, group in known if answers_match(spelling, other)), None)

    def _new(self, problem: str, spelling: str) -> int:
        self._last[problem] += 1
        if is_formula(spelling):
            self._formulas[problem].append((spelling, self._last[problem]))
        return self._last[problem]
