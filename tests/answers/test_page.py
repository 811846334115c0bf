from tests.answers.cases import CASES
from tests.answers.page import PAGE, RULES, page


def test_the_page_on_grading_is_what_the_table_says():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.answers.page"


def test_every_rule_of_the_table_is_on_the_page():
    assert {rule for rule, *_ in CASES} == set(RULES)
