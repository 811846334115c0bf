"""Real references in other spellings, which must stay right, and in near misses, which must be wrong."""

import json
import random
from pathlib import Path

from tests.answers.respellings import RIGHT, WRONG
from tests.conftest import REAL_DATA

from smolmath.answers import grade, is_verifiable

HERE = Path(__file__).parent


def references():
    """Those that were written for this, those of the tables, and real ones where they lie beside the project."""
    found = (HERE / "references.txt").read_text(encoding="utf-8").splitlines()
    for name in ("labelled.jsonl", "strangers.jsonl"):
        found += [json.loads(line)["reference"] for line in (HERE / name).read_text(encoding="utf-8").splitlines()]
    for file, key in (("gsm8k/test.jsonl", "answer"), ("openr1/sample.jsonl", "answer")):
        if (path := REAL_DATA / file).is_file():
            rows = [json.loads(line)[key] for line in path.read_text(encoding="utf-8").splitlines()]
            found += random.Random(0).sample([str(row).rpartition("#### ")[2] for row in rows], min(150, len(rows)))
    return [reference for reference in dict.fromkeys(found) if is_verifiable(reference)]


def boxed(text, reference):
    return grade(rf"\boxed{{{text}}}", reference).correct


def sampled():
    known = references()
    assert len(known) > 700
    return random.Random(1).sample(known, 400)


def test_every_verifiable_reference_is_right_against_itself_in_a_box():
    assert [reference for reference in references() if not boxed(reference, reference)] == []


def respellings(known):
    return [(text, r) for r in known for respelt in RIGHT.values() if (text := respelt(r)) is not None]


def near_misses(known):
    draw = random.Random(2)
    return [(text, r) for r in known for near in WRONG.values() if (text := near(r, draw)) not in (None, r)]


def test_respellings_stay_right():
    pairs = respellings(sampled())
    missed = [pair for pair in pairs if not boxed(*pair)]
    assert len(pairs) > 5_000
    assert len(missed) <= 0.01 * len(pairs), missed
    assert len({reference for _, reference in missed}) <= 0.1 * 400, missed


def test_near_misses_are_wrong():
    pairs = near_misses(references())
    paid = [pair for pair in pairs if boxed(*pair)]
    assert len(pairs) > 1_500
    assert len(paid) <= 0.003 * len(pairs), paid


def test_cases_that_strangers_found_are_graded_as_a_careful_examiner_would():
    rows = [json.loads(line) for line in (HERE / "strangers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) > 200
    wrong = [row for row in rows if grade(row["completion"], row["reference"]).correct is not row["expected"]]
    assert wrong == []


if __name__ == "__main__":  # python -m tests.answers.test_respelt
    everything = references()
    for name, pairs, wanted in (
        ("respellings", respellings(everything), True),
        ("near misses", near_misses(everything), False),
    ):
        wrongly = [pair for pair in pairs if boxed(*pair) is not wanted]
        print(
            f"{len(pairs):,} {name} of {len(everything):,} references, {len(wrongly)} graded wrongly",
            *wrongly,
            sep="\n  ",
        )
