"""A batch of raw rows, each becoming a problem or a rejection with its reason. A worker process's share of `process`.

What needs more than the row itself (duplicates) is decided in processing/merging.py.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from smolmath.answers import is_verifiable
from smolmath.answers.choices import named_option, options
from smolmath.answers.kinds import MAX_ANSWER
from smolmath.data.filters.characters import is_mojibake, odd_characters, without_invisible
from smolmath.data.filters.duplicates import Signatures, signatures
from smolmath.data.filters.escapes import without_escapes
from smolmath.data.filters.overlap import OverlapIndex, shared
from smolmath.data.layouts import Layout
from smolmath.data.layouts.candidates import Candidate
from smolmath.data.layouts.traces import agreeing_solution, verified_trace
from smolmath.data.layouts.values import as_text
from smolmath.data.problems import id_numbers, id_of_normalised, normalise_question, problem_id
from smolmath.data.tables import Batch
from smolmath.errors import SmolmathError
from smolmath.params.process import ProcessParams
from smolmath.scripts import foreign_letters
from smolmath.traits import problems_with

# The closed list: a row is rejected for the first of these that fits.
REASONS = (
    "unreadable_row",
    "row_too_long",
    "question_too_long",
    "empty_question",
    "empty_answer",
    "question_too_short",
    "mojibake",
    "control_characters",
    "foreign_script",
    "multiple_choice",
    "unverifiable_answer",
    "too_many_tokens",
    "contaminated",
    "duplicate",
    "near_duplicate",
)
DETAIL_CHARS = 200
TRAINED_ON = (None, "train")  # sides of which rows may be trained on; a source's own test problems stay as they are
# A list or object of some program, written out: ['12'], {"value": 12}
_WRITTEN_OUT = re.compile(r"""[\[({]\s*['"]""")


class TokenizerError(SmolmathError):
    """The tokenizer that questions are counted by cannot be had."""


Rejection = tuple[int, str, str]  # raw row, reason, detail


@dataclass(frozen=True)
class Work:
    """Rows of one raw file."""

    file: str
    side: str | None  # the source's own
    batch: Batch


@dataclass(frozen=True)
class Examined:
    """What became of a batch; its rows are those of `problems`, the rejected and the not selected ones."""

    rows: int
    problems: pa.RecordBatch
    ids: npt.NDArray[np.uint64]  # (N,) of the problems
    near: Signatures | None  # where near duplicates are looked for
    rejected: list[Rejection]
    not_selected: int
    mended: int  # problems in which a LaTeX command was one that JSON had read as an escape


@dataclass
class _Row:
    """A row on its way to a problem."""

    number: int
    candidate: Candidate
    question: str
    answer: str  # a letter resolved to its option's text
    given_answer: str
    normalised: str
    mended: bool  # LaTeX commands that JSON had read as escapes
    reasoning: str | None = None


@dataclass(frozen=True)
class Examiner:
    """Examines batches of one dataset. Sent to every worker; the same batch gives the same result anywhere."""

    dataset: str
    params: ProcessParams
    layouts: Mapping[str, Layout]  # by file
    thresholds: Mapping[str | None, float] = field(default_factory=dict)  # highest draw selected, by side
    overlap: OverlapIndex | None = None

    def __call__(self, work: Work) -> Examined:
        rejected: list[Rejection] = []
        rows: list[_Row] = []
        not_selected = 0
        for number, raw, problem in work.batch.rows():
            outcome = self._read(number, raw, problem, work)
            if outcome is None:
                not_selected += 1
            elif isinstance(outcome, _Row):
                rows.append(outcome)
            else:
                rejected.append(outcome)
        if self.params.max_question_tokens is not None:
            rows = self._drop_many_tokens(rows, rejected)
        if self.overlap is not None and work.side in TRAINED_ON:
            rows = self._drop_contaminated(rows, rejected)
        for row in rows:
            row.reasoning = self._reasoning(row)
        near = None
        if self.params.near_duplicates is not None:
            near = signatures([r.normalised for r in rows], [r.answer for r in rows], self.params.near_duplicates)
        problems = self._problems(rows, work.file)
        ids = id_numbers(problems["id"].to_pylist())
        mended = sum(row.mended for row in rows)
        return Examined(work.batch.count, problems, ids, near, rejected, not_selected, mended)

    def draws(self, work: Work) -> npt.NDArray[np.float64]:
        """The draws of the batch's rows that `fraction` selects."""
        layout = self.layouts[work.file]
        rows = [raw for _, raw, _ in work.batch.rows() if raw is not None and _chars(raw) <= self.params.max_row_chars]
        questions = [self._clean(layout.read(raw).question) for raw in rows]
        found = [draw(normalise_question(q)) for q in questions if len(q.strip()) <= self.params.question_chars[1]]
        return np.array([u for u in found if u < self._fraction(work)])

    def _fraction(self, work: Work) -> float:
        """What a source tests on is not thinned: how much of it is answered is said in `evaluate`."""
        return self.params.fraction if work.side in TRAINED_ON else 1.0

    def _read(self, number: int, raw: dict[str, Any] | None, problem: str, work: Work) -> _Row | Rejection | None:
        """A row that stands the tests on itself alone, its rejection, or None if it isn't selected."""
        if raw is None:
            return number, "unreadable_row", problem
        if (length := _chars(raw)) > self.params.max_row_chars:
            return number, "row_too_long", f"{length} characters"
        candidate = self.layouts[work.file].read(raw)
        question, answer = self._clean(candidate.question), self._clean(candidate.reference_answer).strip()
        if (length := len(question.strip())) > self.params.question_chars[1]:
            return number, "question_too_long", f"{length} characters"
        normalised = normalise_question(question)
        if self._fraction(work) < 1 or self.thresholds:
            u = draw(normalised)
            if u >= self._fraction(work) or u > self.thresholds.get(work.side, 1.0):
                return None
        if not normalised:
            return number, "empty_question", _kind(candidate.question)
        if not answer:
            return number, *_no_answer(candidate)
        if rejection := self._bad_question(question):
            return number, *rejection
        resolved, rejection = self._resolved(question, answer, candidate.options)
        if rejection := rejection or _bad_answer(resolved):
            return number, *rejection
        mended = (question, answer) != (self._seen(candidate.question), self._seen(candidate.reference_answer).strip())
        return _Row(number, candidate, question.strip(), resolved, answer, normalised, mended)

    def _clean(self, value: Any) -> str:
        return without_escapes(self._seen(value))

    def _seen(self, value: Any) -> str:
        return without_invisible(as_text(value)) if self.params.control_characters == "remove" else as_text(value)

    def _bad_question(self, question: str) -> tuple[str, str] | None:
        if (length := len(question.strip())) < self.params.question_chars[0]:
            return "question_too_short", f"{length} characters"
        if self.params.mojibake == "reject" and is_mojibake(question):
            return "mojibake", question[:DETAIL_CHARS]
        if odd := odd_characters(question):
            return "control_characters", ascii(odd)
        if self.params.scripts is not None and (letters := foreign_letters(question, self.params.scripts)):
            return "foreign_script", letters[:DETAIL_CHARS]
        return None

    def _resolved(self, question: str, answer: str, listed: Mapping[str, str]) -> tuple[str, tuple[str, str] | None]:
        """The answer, of a multiple-choice problem as params want it; and why not.

        Args: listed: the options, where a column of their own holds them.
        """
        if listed and answer not in listed:
            return answer, ("multiple_choice", f"{answer} is none of the options {', '.join(listed)}")
        letter = None if self.params.multiple_choice == "keep" else named_option(answer, question)
        if letter is None:
            return answer, None
        if self.params.multiple_choice == "drop":
            return answer, ("multiple_choice", answer)
        text = (listed or options(question)).get(letter)
        return (text, None) if text else (answer, ("multiple_choice", f"no option {letter} found in the question"))

    def _drop_many_tokens(self, rows: list[_Row], rejected: list[Rejection]) -> list[_Row]:
        most = self.params.max_question_tokens or 0
        encodings = self._tokenizer.encode_batch_fast([row.question for row in rows], add_special_tokens=False)
        kept = []
        for row, encoding in zip(rows, encodings, strict=True):
            if len(encoding) <= most:
                kept.append(row)
            else:
                rejected.append((row.number, "too_many_tokens", f"{len(encoding)} tokens"))
        return kept

    def _drop_contaminated(self, rows: list[_Row], rejected: list[Rejection]) -> list[_Row]:
        assert self.overlap is not None
        kept = []
        for row, (share, place) in zip(rows, self.overlap.overlaps([r.normalised for r in rows]), strict=True):
            if share < self.params.contamination.share:
                kept.append(row)
            else:
                rejected.append((row.number, "contaminated", shared(share, self.overlap.ngram, place)))
        return kept

    def _reasoning(self, row: _Row) -> str | None:
        if row.candidate.traces is not None and self.params.trace != "solution":
            answers = {row.answer, row.given_answer}
            trace = verified_trace(row.candidate.traces, row.question, answers, self.params.trace)
            return None if trace is None else storable(trace)
        solution = without_escapes(as_text(row.candidate.reasoning))
        solved = agreeing_solution(solution, row.question, {row.answer, row.given_answer})
        return storable(solved or "").strip() or None

    def _problems(self, rows: list[_Row], file: str) -> pa.RecordBatch:
        columns = {
            "id": [id_of_normalised(row.normalised) for row in rows],
            "dataset": [self.dataset] * len(rows),
            "question": [row.question for row in rows],
            "reference_answer": [row.answer for row in rows],
            "reasoning": [row.reasoning for row in rows],
            "source": [storable(as_text(row.candidate.source)).strip() or None for row in rows],
            "raw_file": [file] * len(rows),
            "raw_row": [row.number for row in rows],
            "level": [storable(as_text(row.candidate.level)).strip() or None for row in rows],
            "variant_of": [self._seed(row.candidate.variant_of) for row in rows],
        }
        return pa.RecordBatch.from_pydict({name: columns[name] for name in self.schema.names}, schema=self.schema)

    def _seed(self, question: Any) -> str | None:
        """The id of the problem that one was made from."""
        text = self._clean(question)
        return problem_id(text) if text.strip() else None

    @cached_property
    def schema(self) -> pa.Schema:
        """Of the dataset's problems, the same for all of its files."""
        return problems_with({what for layout in self.layouts.values() for what in layout.beside})

    @cached_property
    def _tokenizer(self) -> Any:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
        if not Path(self.params.tokenizer).is_file():
            raise TokenizerError(f"process.tokenizer: {self.params.tokenizer} does not exist. Name a tokenizer.json.")
        tokenizer = Tokenizer.from_file(self.params.tokenizer)
        tokenizer.no_truncation()
        return tokenizer


def _no_answer(candidate: Candidate) -> tuple[str, str]:
    answer = candidate.reference_answer
    if isinstance(answer, list | dict) and answer:
        return "unverifiable_answer", f"a {type(answer).__name__} of {len(answer)}, not one answer: {answer!r}"
    return "empty_answer", _kind(answer) or candidate.lacking


def _bad_answer(answer: str) -> tuple[str, str] | None:
    if len(answer) > MAX_ANSWER:
        return "unverifiable_answer", f"{len(answer)} characters"
    if odd := odd_characters(answer):
        return "control_characters", f"in the answer: {odd!a}"
    if _WRITTEN_OUT.match(answer) or not is_verifiable(answer):
        return "unverifiable_answer", answer[:DETAIL_CHARS]
    return None


def draw(normalised: str) -> float:
    """A number in [0, 1) that depends on the question alone, so that a larger fraction contains the smaller one."""
    digest = hashlib.sha256(f"select:{normalised}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def storable(text: str) -> str:
    """With lone surrogates, which no encoding holds, replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _kind(value: Any) -> str:
    """What stands where text was expected; empty for text and null."""
    return "" if value is None or isinstance(value, str) else f"a {type(value).__name__}, not text"


def _chars(value: Any) -> int:
    """Characters of all text in a value."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_chars, value.values()))
    return sum(map(_chars, value)) if isinstance(value, list) else 0
