"""The report in a real browser, as its reader has it: nothing fails, completions stay text, filters are quick."""

import json
import shutil
import time

import pytest

from smolmath.evaluation.verdicts import verdicts_schema
from smolmath.records import COMPLETIONS, PROBLEMS, read_table, write_table
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


def test_a_link_leads_to_what_was_shown(workspace, tab):  # noqa: F811
    """Dataset, models, completion, filter, search and page in the address, also when it is typed or gone back to."""
    path = write_report()
    opened(tab, path)
    choose(tab, left="sums", right="", show="wrong", sample="1")
    tab.fill("input[name=query]", "question 2")
    tab.locator("input[name=query]").press("Enter")
    assert found(tab) == "1 of 3 problems"
    shown, link = tab.inner_text("#problems"), tab.get_attribute("#link", "href")
    assert link == "#completions?dataset=sums&left=sums&right=&sample=1&show=wrong&query=question+2&page=1"
    assert tab.evaluate("location.hash") == link
    tab.goto("about:blank")
    tab.goto(path.resolve().as_uri() + link)
    tab.wait_for_selector(".problem")
    assert (found(tab), tab.inner_text("#problems")) == ("1 of 3 problems", shown)
    tab.wait_for_function(
        "document.getElementById('completions').getBoundingClientRect().top < 500"
    )  # it scrolls there
    tab.evaluate("location.hash = '#completions?dataset=gone&left=nobody&show=%3Cb%3E&page=9e9'")
    tab.wait_for_function("document.getElementById('found').textContent.startsWith('1 of')")  # the rest stays as it is
    tab.evaluate("location.hash = '#completions?show=all&query='")
    tab.wait_for_function("document.getElementById('found').textContent == '3 of 3 problems'")
    assert tab.complaints == []


FORMULAS = r"""Let \(x^2\) and \[\frac{1}{2}\] be $y$, $$z_1$$. It costs $5 and $7, or $3-$4.
\(\href{javascript:alert(1)}{click}\) $\nosuchcommand{$ \(\unknown x\)"""


def test_latex_is_set_and_what_is_none_stays_text(workspace, tab):  # noqa: F811
    answer = r"\frac{3}{4}"
    row = {"problem_id": "p1", "sample": 0, "tokens": 9}
    problem = {
        "id": "p1",
        "dataset": "sums",
        "question": FORMULAS,
        "reference_answer": answer,
        "raw_file": "f",
        "raw_row": 1,
    }
    verdict = {"strategy": "answer_block", "strict": True, "formatted": True, "finished": True, "answer_group": 0}
    write_table(workspace / "data/split/sums/test.parquet", [problem], PROBLEMS)
    for model in ("base", "sums"):
        completion = f"<reasoning>\n{FORMULAS}\n</reasoning>\n<answer>\n{answer}\n</answer>"
        completed = {**row, "prompt": "p", "completion": completion, "finish_reason": "stop"}
        judged = {**row, **verdict, "predicted_answer": answer, "correct": True, "reward_correctness": 1.0}
        write_table(workspace / f"results/completions/{model}/sums.parquet", [completed], COMPLETIONS)
        write_table(workspace / f"results/verdicts/{model}/sums.parquet", [judged], verdicts_schema(["correctness"]))
    opened(tab, write_report())
    question = tab.locator(".question")
    assert question.locator("math").count() == 4
    assert [math.text_content() for math in question.locator("math msup, math mfrac, math msub").all()] == [
        "x2",
        "12",
        "z1",
    ]
    assert "It costs $5 and $7, or $3-$4." in question.inner_text()
    assert r"\(\href{javascript:alert(1)}{click}\) $\nosuchcommand{$ \(\unknown x\)" in question.inner_text()
    assert tab.locator("#problems [href]").count() == 0
    assert tab.locator("pre .answer").first.text_content().startswith("\n")  # its lines are kept
    for place in (".sides p bdi", "pre .answer", ".problem b bdi"):  # an answer is a formula without marks of one
        assert tab.locator(f"{place} mfrac").count() > 0, place
    tab.fill("input[name=query]", "costs $5")  # a hit is marked in the text as it was written
    assert tab.locator(".question mark").inner_text() == "costs $5"
    assert question.locator("math").count() == 0
    assert tab.complaints == []


def test_a_completion_cannot_turn_what_stands_beside_it(workspace, tab):  # noqa: F811
    """A right-to-left override would show 8 (2) as (2) 8, or 123 as 321; Hebrew keeps its own direction and no more."""
    path = write_report()
    packed = path.read_text(encoding="utf-8")
    table = workspace / "results/completions/base/sums.parquet"
    rows = read_table(table, COMPLETIONS)
    for one in rows:
        one["completion"] = "<reasoning>\n\u2069\u202e123 \u05d0\u05d1\n</reasoning>\n<answer>\n5\n</answer>"
    write_table(table, rows, COMPLETIONS)
    path = write_report()
    assert path.read_text(encoding="utf-8") != packed
    opened(tab, path)
    assert "⟨U+2069⟩⟨U+202E⟩123" in tab.locator("pre .reasoning").first.inner_text()
    assert tab.locator("pre bdi.reasoning").count() > 0
    controls = "[\u202a-\u202e\u2066-\u2069]"
    assert not tab.evaluate(f"/{controls}/.test(document.body.textContent)")
    assert tab.complaints == []


def test_no_table_loses_a_column_on_a_desk(workspace, chromium):  # noqa: F811
    for width in (1280, 1920):
        context = chromium.new_context(viewport={"width": width, "height": 900})
        tab = opened(context.new_page(), write_report())
        over = "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth).length"
        assert tab.evaluate(over) == 0
        context.close()


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
