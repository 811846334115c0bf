"""The report in a real browser, as its reader has it: nothing fails, completions stay text, filters are quick."""

import json
import shutil
import time

import pytest

from smolmath.evaluation.verdicts import verdicts_schema
from smolmath.records import COMPLETIONS, PROBLEMS, write_table
from smolmath.studies.report.page import write_report
from tests.test_report import HOSTILE, workspace  # noqa: F401  # a fixture

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
PER_SIDE = 2_000  # problems; 2 models × (1 greedy + 4 sampled) completions each: 20,000


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """A page without network, and what it complained of."""
    context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    context.close()


def opened(tab, path):
    tab.goto(path.resolve().as_uri())
    tab.wait_for_selector(".problem")
    return tab


def choose(tab, **values):
    for name, value in values.items():
        tab.select_option(f"select[name={name}]", value)


def found(tab):
    return tab.inner_text("#found")


def test_the_page_opens_without_a_complaint_and_needs_no_network(workspace, tab):  # noqa: F811
    opened(tab, write_report())
    assert tab.complaints == []
    assert found(tab) == "3 of 3 problems"


def test_completions_stay_text(workspace, tab):  # noqa: F811
    tab.on("dialog", lambda dialog: tab.complaints.append("a script ran: " + dialog.message))
    opened(tab, write_report())
    assert "<script>alert(1)</script>" in tab.inner_text("#problems")
    assert tab.locator("#problems script").count() == 0
    assert tab.complaints == []
    assert (
        tab.locator("#problems .answer").first.inner_text().strip()
        == HOSTILE.split("<answer>")[1].split("</answer>")[0].strip()
    )


def test_filters_and_search_find_what_they_say(workspace, tab):  # noqa: F811
    opened(tab, write_report())
    choose(tab, left="base", right="sums", show="right")
    assert found(tab) == "1 of 3 problems"
    choose(tab, show="wrong")
    assert found(tab) == "2 of 3 problems"
    choose(tab, show="changed")
    assert found(tab) == "0 of 3 problems"
    choose(tab, show="all", sample="1")
    assert tab.inner_text("#problems").count("a sampled one") == 6
    tab.fill("input[name=query]", "QUESTION 3")
    assert found(tab) == "1 of 3 problems"
    assert tab.locator("mark").first.inner_text() == "question 3"
    choose(tab, right="")
    assert tab.locator(".sides > div").count() == 1


def test_on_a_phone_the_page_is_no_wider_than_the_screen(workspace, chromium):  # noqa: F811
    context = chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    tab = opened(context.new_page(), write_report())
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    context.close()


def many_completions(folder):
    """20,000 completions of two models; the second is right on every fourth problem more."""
    problems, text = [], "<reasoning>\n" + "12 + 30 = 42\n" * 30 + "</reasoning>\n<answer>\n{}\n</answer>"
    for i in range(PER_SIDE):
        problems.append({"id": f"p{i:05d}", "dataset": "sums", "question": f"question number {i}", "reference_answer": "42",
                         "raw_file": "f", "raw_row": i})  # fmt: skip
    write_table(folder / "data/split/sums/test.parquet", problems, PROBLEMS)
    for model, right in (("base", lambda i: i % 4 == 0), ("sums", lambda i: i % 2 == 0)):
        completions, verdicts = [], []
        for problem in problems:
            for sample in range(5):
                correct = right(problem["raw_row"])
                key = {"problem_id": problem["id"], "sample": sample, "tokens": 300}
                answer = "42" if correct else str(problem["raw_row"])
                completions.append({**key, "prompt": "p", "completion": text.format(answer), "finish_reason": "stop"})
                verdicts.append({**key, "predicted_answer": answer, "strategy": "answer_block", "correct": correct, "strict": correct,
                                 "formatted": True, "finished": True, "answer_group": 0, "reward_correctness": 1.0})  # fmt: skip
        write_table(folder / f"results/completions/{model}/sums.parquet", completions, COMPLETIONS)
        write_table(folder / f"results/verdicts/{model}/sums.parquet", verdicts, verdicts_schema(["correctness"]))


def test_twenty_thousand_completions_are_filtered_and_searched_while_one_types(workspace, tab, record_property):  # noqa: F811
    many_completions(workspace)
    opened(tab, write_report())
    assert found(tab) == "2,000 of 2,000 problems"
    started = time.perf_counter()
    choose(tab, left="base", right="sums", show="gained")
    assert found(tab) == "500 of 2,000 problems"
    filtered = time.perf_counter()
    tab.fill("input[name=query]", "number 1998")
    assert found(tab) == "1 of 2,000 problems"
    searched = time.perf_counter()
    record_property("seconds", json.dumps({"filter": filtered - started, "search": searched - filtered}))
    print(f"filters {filtered - started:.3f} s, search {searched - filtered:.3f} s")
    # No timed assertion: what takes the time is that each problem is looked at, once per key.
    assert tab.evaluate("document.querySelectorAll('.problem').length") == 1
    tab.fill("input[name=query]", "")
    assert tab.locator(".problem").count() == 10
    tab.click("#next")
    assert tab.inner_text("#page") == "page 2 of 50"
    assert tab.complaints == []
