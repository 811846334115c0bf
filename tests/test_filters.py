"""What keeps a row from becoming a problem: characters, choices, overlap, duplicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmath.answers.choices import named_option, options
from smolmath.data.filters.characters import is_mojibake, odd_characters, without_invisible
from smolmath.data.filters.duplicates import FirstSeen, NearDuplicates, Signatures, signatures
from smolmath.data.filters.overlap import OverlapIndex
from smolmath.data.problems import normalise_question
from smolmath.scripts import foreign_letters, mixes_scripts


@pytest.mark.parametrize(
    "character",
    [
        "\x00",
        "\x07",
        "\x0b",
        "\x1b",
        "\x7f",
        "\x9d",
        "\u200b",
        "\ufeff",
        "\u202e",
        "\u2028",
        chr(0xD800),
        "\ue000",
        "\ufffd",
    ],
)
def test_characters_that_are_not_seen_are_found(character):
    assert odd_characters(f"What is{character} 2?") == character


@pytest.mark.parametrize(
    "text", ["A 👩‍🏫 has 3 👨‍👩‍👧", "What is 2?\n\tIn all.\r\n", "Größe ≤ 3 · π², “naïve” – 数 😀"]
)
def test_text_that_can_be_read_has_no_odd_characters(text):
    assert odd_characters(text) == ""


def test_what_cannot_be_seen_is_taken_out_and_a_control_code_is_not():
    assert without_invisible("a\u200bb\u2028c\x07, 2\u20623") == "ab\nc\x07, 2·3"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("â€œtwoâ€\x9d plus 2", True),
        ("the cafÃ© has 3 tables", True),
        ("“two” plus 2 – the café has 3 tables, 50 °C, ½ € and ±2 · π", False),
        ("Größe ≤ 3 × 10⁵", False),
        ("$\\angle ABC = 90°$, △ABC ≅ △DEF", False),
        ("area 5 Å² or π×² or 5²×³ or 3º×4º, ¬¬p, †‡§", False),
    ],
)
def test_text_read_in_the_wrong_encoding_is_told_from_text_with_many_symbols(text, expected):
    assert is_mojibake(text) is expected


def test_letters_of_other_scripts_are_named():
    assert foreign_letters("Größe von π ist ℝ, µ, 数 и x", ["LATIN", "GREEK"]) == "и数"
    assert foreign_letters("Größe von π", ["LATIN", "GREEK"]) == ""


@pytest.mark.parametrize(
    ("answer", "question", "mixes"),
    [
        ("So x = 3.", "What is x?", False),
        ("所以 x = 3.", "What is x?", True),
        ("所以 x = 3.", "求 x", False),  # asked in that script
        ("Итак, x = 3", "求 x", True),
        ("∠α = 3°, so Größe × ℝ² ≤ 𝑥₂ → µ", "What is x?", False),  # what mathematics writes
        ("", "What is x?", False),
    ],
)
def test_an_answer_mixes_scripts_where_neither_its_question_nor_mathematics_has_them(answer, question, mixes):
    assert mixes_scripts(answer, question) is mixes


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (
            "What is $x - y$?\n$(\\mathrm {A}) \\ 1 \\qquad (\\mathrm {B}) \\ 2 \\qquad (\\mathrm {C})\\ 5$",
            {"A": "1", "B": "2", "C": "5"},
        ),
        (
            "Which? $\\textbf{(A)}\\ 3.5\\qquad\\textbf{(B)}\\ \\frac{1}{2}\\qquad\\textbf{(C) } 5$",
            {"A": "3.5", "B": "\\frac{1}{2}", "C": "5"},
        ),
        ("Which?\n(A) $12$\n(B) $-3$\n(C) $4$\n(D) $5$", {"A": "12", "B": "-3", "C": "4", "D": "5"}),
        ("Which? A. 12 B. 13 C. 14.5 D. 15", {"A": "12", "B": "13", "C": "14.5", "D": "15"}),
        ("Which? A) 12; B) 13", {"A": "12", "B": "13"}),
        ("Points (A) and B lie on a line. Which is it? (A) 1 (B) 2", {"A": "1", "B": "2"}),
        ("Choose: (A)1(B)2(C)3(D)4", {"A": "1", "B": "2", "C": "3", "D": "4"}),
        ("(A) P(A) = 1 (B) 2", {"A": "P(A) = 1", "B": "2"}),
        ("(A) 4 (B) 6\n\nWhich of the options (A) or (B) 7?", {"A": "4", "B": "6"}),
        ("Costs: A) \\$5 B) \\$6", {"A": "\\$5", "B": "\\$6"}),
        ("**A.** 5\n**B.** 6", {"A": "5", "B": "6"}),
        ("A. 3\nB. 4\nC. 5\n\nGive the letter only.", {"A": "3", "B": "4", "C": "5"}),
        ("(A) 1 (B) 2 (C) 3 (D) Only (A) and (B)", {"A": "1", "B": "2", "C": "3", "D": "Only (A) and (B)"}),
        ('(A) 1 (B) 2\n[asy] label("(A)", (0,0)); [/asy]', {"A": "1", "B": "2"}),
        ("(A) 0.5 (B) 0.6 (C) 0.7 (E) 0.8", {}),  # D is missing: which is C's text?
        ("Let A be 3. What is A + 1?", {}),
        ("In triangle ABC, find (A).", {}),
    ],
)
def test_options_are_read_in_the_spellings_of_the_datasets(question, expected):
    assert options(question) == expected


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("D", "D"),
        ("(B)", "B"),
        ("\\text{C}", "C"),
        ("$A$", "A"),
        ("12", None),
        ("2A", None),
        ("A + 1", None),
        ("K", None),
        ("b", "B"),
        ("(b)", "B"),
        ("\\boxed{B}", "B"),
        ("Option B", "B"),
        ("B. 2", "B"),
        ("C. 2", None),  # no such option
    ],
)
def test_an_answer_that_is_an_options_letter(answer, letter):
    assert named_option(answer, "Which? (A) 1 (B) 2") == letter


@pytest.mark.parametrize(("answer", "letter"), [("$i$", None), ("e", None), ("$A$", None), ("B 5", None), ("A", "A")])
def test_a_name_is_no_option_where_the_question_has_none(answer, letter):
    assert named_option(answer, "What is the square root of -1?") == letter


WORDS = [f"w{i}" for i in range(40)]


def test_a_copy_overlaps_wholly_and_a_text_with_other_names_in_part():
    original = " ".join(WORDS)
    index = OverlapIndex(8, [("test row 0", "nothing in common"), ("test row 1", original)])
    other_name = " ".join([*WORDS[:20], "another", *WORDS[21:]])
    (copy, place), (part, _), (none, nowhere) = index.overlaps([original, other_name, "quite another question"])
    assert (copy, place) == (1.0, "test row 1")
    # 40 words have 33 8-grams, of which 8 hold the 21st word.
    assert part == pytest.approx(25 / 33)
    assert (none, nowhere) == (0.0, "")


def test_a_question_shorter_than_an_n_gram_overlaps_only_with_itself():
    index = OverlapIndex(13, [("here", "what is 2 2")])
    assert index.overlaps(["what is 2 2", "what is 2", "so what is 2 2"]) == [(1.0, "here"), (0.0, ""), (0.0, "")]


def test_n_grams_do_not_run_from_one_question_into_the_next():
    index = OverlapIndex(4, [("here", "a b c d")])
    assert [share for share, _ in index.overlaps(["x a b", "c d y z", "a b c d e"])] == [0.0, 0.0, 1.0]


def test_signs_count_and_a_question_without_words_overlaps_with_none():
    index = OverlapIndex(8, [("here", "solve x + 3 = 5"), ("there", "?")])
    assert [share for share, _ in index.overlaps(["solve x + 3 = 5", "solve x - 3 = 5", "😀"])] == [1.0, 0.0, 0.0]


def test_nothing_overlaps_with_an_empty_index():
    assert OverlapIndex(8, []).overlaps(["a b c"]) == [(0.0, "")]
    assert OverlapIndex(8, [("here", "a")]).overlaps([]) == []


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=12))
def test_first_seen_is_what_a_dict_says(batches):
    seen, told, place = {}, FirstSeen(), 0
    for batch in batches:
        expected = []
        for offset, key in enumerate(batch):
            expected.append(seen.get(key, -1))
            seen.setdefault(key, place + offset)
        rows = np.arange(place, place + len(batch), dtype=np.uint32)
        assert told.add(np.array(batch, np.uint64), rows).tolist() == expected
        place += len(batch)
    assert len(told) == len(seen)


def near(*problems):
    """For each (question, answer) the place of the earlier one that it is near, None if there is none."""
    signed = signatures([normalise_question(q) for q, _ in problems], [a for _, a in problems], 0.8)
    found = NearDuplicates(len(problems), 0.8).add(signed, np.arange(len(problems), dtype=np.uint32), droppable=True)
    return [None if place < 0 else int(place) for place in found]


LONG = "{} operates the cash register exactly 3 times as fast as her less-experienced colleague. Daily, she processes {} customers. What is the total weekly production for the two of them if they work all days?"


def test_another_name_makes_a_near_duplicate_and_another_number_another_problem():
    assert near(
        (LONG.format("Mia", 35), "980"), (LONG.format("Emma", 35), "980"), (LONG.format("Mia", 45), "1260")
    ) == [None, 0, None]


def test_another_number_makes_another_problem_even_with_the_same_answer():
    assert near((LONG.format("Mia", 35), "1"), (LONG.format("Mia", 36), "1")) == [None, None]


def test_another_answer_makes_another_problem():
    assert near((LONG.format("Mia", 35), "980"), (LONG.format("Emma", 35), "140")) == [None, None]


def test_a_spelling_of_the_answer_makes_no_other_problem():
    assert near((LONG.format("Mia", 35), "$980$"), (LONG.format("Emma", 35), "980")) == [None, 0]


def test_questions_of_few_words_are_no_near_duplicates_of_others():
    assert near(("Find $3 + 4$.", "7"), ("Is $3 + 4$ prime?", "7"), ("2", "2"), ("two", "2")) == [None] * 4


@pytest.mark.parametrize("batch", [1, 3, 24])
def test_a_chain_of_small_steps_does_not_end_far_from_what_is_kept(batch):
    """Each text is near the one before; a dropped one is near a kept one, however the rows are cut into batches."""
    words = [f"w{i}" for i in range(90)]
    texts = []
    for step in range(24):
        words[4 * step % 90] = f"new{step}"
        texts.append(" ".join(words))
    index, nearest = NearDuplicates(len(texts), 0.8), []
    for start in range(0, len(texts), batch):
        part = texts[start : start + batch]
        places = np.arange(start, start + len(part), dtype=np.uint32)
        nearest += index.add(signatures(part, ["1"] * len(part), 0.8), places, droppable=True).tolist()
    kept = {place for place, of in enumerate(nearest) if of < 0}
    assert len(kept) > 2
    assert {of for of in nearest if of >= 0} <= kept
    again = NearDuplicates(len(texts), 0.8).add(
        signatures(texts, ["1"] * len(texts), 0.8), np.arange(len(texts), dtype=np.uint32), droppable=True
    )
    assert again.tolist() == nearest


def test_the_index_takes_no_more_than_64_bytes_a_row():
    rows = 20_000
    index, keys = NearDuplicates(rows, 0.8), np.random.default_rng(0).integers(0, 2**63, (rows, 4)).astype(np.uint64)
    minima = np.zeros((rows, 16), np.uint8)
    for start in range(0, rows, 1_000):
        part = slice(start, start + 1_000)
        index.add(
            Signatures(keys[part], minima[part], minima[part, 0]),
            np.arange(start, start + 1_000, dtype=np.uint32),
            droppable=True,
        )
    held = index._minima.nbytes + sum(a.nbytes for band in index._bands for run in band._runs for a in run)
    assert held <= 64 * rows


def test_the_threshold_is_where_questions_meet_as_often_as_not():
    """A question of 92 words has 90 trigrams; each changed word changes three: s = (90 - 3k) / (90 + 3k)."""
    rng = np.random.default_rng(0)

    def word():
        return "".join(rng.choice(list("abcdefghijklmnop"), 6))

    def share(changed):
        texts = []
        for _ in range(200):
            words = [word() for _ in range(92)]
            others = [word() if place % 9 == 4 and place < 9 * changed else w for place, w in enumerate(words)]
            texts += [" ".join(words), " ".join(others)]
        signed = signatures(texts, ["same"] * len(texts), 0.8)
        found = NearDuplicates(len(texts), 0.8).add(signed, np.arange(len(texts), dtype=np.uint32), droppable=True)
        assert all(place in (-1, index - 1) for index, place in enumerate(found))
        return (found >= 0).mean() * 2

    assert share(10) < 0.03  # s = 0.5
    assert 0.35 < share(3) < 0.75  # s = 0.82
    assert share(1) > 0.85  # s = 0.94
    assert share(0) == 1.0
