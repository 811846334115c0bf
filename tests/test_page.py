"""The page to try a model on, in a real browser without a network: ask, see it reason, stop it, compare two."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest

from smolmath.records import PROBLEMS, write_table
from tests.conftest import ROOT

pytest.importorskip("gradio", reason="the page's extra is not in the vLLM environment")
from tests.standin_page import HOSTILE  # it imports gradio

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
SUM = "State the final answer to the following arithmetic problem: 3 + 4 - 2 ="


EXAMPLES = [
    {"id": f"p{i}", "dataset": "sums", "question": question, "reference_answer": answer, "raw_file": "f", "raw_row": i}
    for i, (question, answer) in enumerate([("seven?", "7"), ("eight?", "8"), ("latex", r"\frac{6}{8}")])
]


@contextmanager
def serving(folder, *command):
    """The address that a command serves the page at; it is stopped by Ctrl-C, and its last words and code are kept."""
    how = {"cwd": folder, "env": os.environ | {"PYTHONPATH": str(ROOT)}}  # tests.standin_page lies there
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how) as server:
        try:
            for line in server.stdout:
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    server.address = found[0]
                    break
            yield server
        finally:
            server.send_signal(signal.SIGINT)
            server.last_words, _ = server.communicate(timeout=30)


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    log = folder / "log"
    write_table(folder / "data/split/sums/validation.parquet", EXAMPLES, PROBLEMS)
    with serving(folder, sys.executable, "-m", "tests.standin_page", str(log)) as server:
        server.log = log
        yield server


@contextmanager
def opened(chromium, address, **how):
    """A tab on the page, and all that it complained of; a request that leaves this machine is a complaint."""
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
    tab = context.new_page()
    tab.complaints = []
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("dialog", lambda dialog: (tab.complaints.append(f"a script ran: {dialog.message}"), dialog.dismiss()))
    local = (address, "data:", "blob:")
    tab.on("request", lambda request: request.url.startswith(local) or tab.complaints.append(request.url))
    tab.goto(address)
    tab.wait_for_selector("#question textarea")
    yield tab
    assert tab.complaints == []
    context.close()


@pytest.fixture
def tab(chromium, standin):
    with opened(chromium, standin.address) as tab:
        yield tab


def ask(tab, question):
    tab.fill("#question textarea", question)
    tab.click("#ask")


def wait_for(tab, state, count=2):
    tab.wait_for_function(f"document.querySelectorAll('.solution.{state}').length == {count}")


def test_the_reasoning_comes_bit_by_bit_then_the_answer_one_model_after_the_other(tab):
    ask(tab, "anything")
    tab.wait_for_selector(".solution.waiting >> text=waits for its turn")
    seen = set()
    while tab.locator(".solution.done").count() < 1:
        seen.add(tab.locator(".solution").first.inner_text())
    assert len(seen) > 5
    assert not any("<" in text for text in seen)  # no tag is shown, not even half of one
    wait_for(tab, "done")
    assert tab.locator(".solution h2").all_inner_texts() == ["trained", "base"]
    assert tab.locator(".reasoning").all_inner_texts() == ["\n".join(f"step {i}" for i in range(30))] * 2
    assert tab.locator(".answer").all_inner_texts() == ["Answer 7"] * 2


def test_a_completion_is_text_whatever_it_holds(tab):
    ask(tab, "hostile")
    wait_for(tab, "done")
    assert tab.locator(".reasoning").first.inner_text() == HOSTILE
    assert tab.locator(".answer").first.inner_text() == "Answer <b>42</b>"
    assert tab.locator(".solution script, .solution img, .solution b").count() == 0


def test_stop_ends_the_completion_and_keeps_what_was_written(tab, standin):
    ask(tab, "endless")
    tab.wait_for_selector("text=line 3")
    tab.click("#stop")
    wait_for(tab, "stopped")
    assert "line 3" in tab.locator(".reasoning").first.inner_text()
    assert tab.locator(".note").all_inner_texts() == ["stopped.", "stopped before anything was written."]
    assert tab.locator("#stop").is_disabled()
    assert standin.log.read_text().endswith("ends endless\n")
    ask(tab, "hostile")
    wait_for(tab, "done")


def test_there_is_nothing_to_stop_before_a_question_and_after_its_answer(tab):
    assert tab.locator("#stop").is_disabled()
    ask(tab, "anything")
    tab.wait_for_selector("#stop:enabled")
    wait_for(tab, "done")
    tab.wait_for_selector("#stop:disabled")


def test_the_newest_question_wins_and_stands_above_its_answers(tab, standin):
    """Asked while another is answered: that one is stopped, and nothing of it is left under the new one."""
    ask(tab, "endless")
    tab.wait_for_selector("text=line 3")
    assert tab.inner_text("#asked") == "endless"
    ask(tab, "seven?")
    wait_for(tab, "done")
    assert tab.inner_text("#asked") == "seven?"
    assert tab.locator(".reasoning").all_inner_texts() == ["\n".join(f"step {i}" for i in range(30))] * 2
    assert standin.log.read_text().endswith("ends endless\nbegins seven?\nends seven?\nbegins seven?\nends seven?\n")
    above, answer = tab.locator("#asked").bounding_box(), tab.locator(".solution").first.bounding_box()
    assert above["y"] + above["height"] <= answer["y"]
    time.sleep(1)  # had the first one gone on, it would have written by now
    assert "line" not in tab.inner_text("#columns")


def test_answers_to_examples_are_graded(tab):
    for example, verdict in (("seven?", "✓ right reference 7"), ("eight?", "✗ wrong reference 8")):
        tab.click(f"#examples button:has-text('{example}')")
        tab.wait_for_function("wanted => document.querySelector('#question textarea').value == wanted", arg=example)
        tab.click("#ask")
        tab.wait_for_selector(f"#asked >> text={example}")
        wait_for(tab, "done")
        assert tab.locator(".graded").all_inner_texts() == [verdict] * 2
    ask(tab, "something else")
    tab.wait_for_selector("#asked >> text=something else")
    wait_for(tab, "done")
    assert tab.locator(".graded").count() == 0


def test_formulas_are_set_when_they_are_whole(tab):
    ask(tab, "latex")
    wait_for(tab, "done")
    tab.wait_for_function("document.querySelectorAll('.reasoning math msup').length == 2")
    assert tab.locator(".answer mfrac").count() == 2
    assert tab.locator(".graded mfrac").count() == 2
    assert tab.locator(".graded .right").count() == 2  # 6/8 is 3/4


def test_who_leaves_stops_the_model(chromium, standin):
    with opened(chromium, standin.address) as tab:
        ask(tab, "endless")
        tab.wait_for_selector("text=line 3")
    deadline = time.monotonic() + 30
    while not standin.log.read_text().endswith("ends endless\n"):
        assert time.monotonic() < deadline, "still writing, for nobody"
        time.sleep(0.1)


def test_several_completions_vote(tab):
    tab.click("#sampling button")
    tab.wait_for_selector("#sampling input[type=number] >> nth=2")  # it unfolds
    completions, temperature, _ = tab.locator("#sampling input[type=number]").all()
    completions.fill("5")
    completions.press("Tab")
    tab.wait_for_function("document.querySelectorAll('#sampling input[type=number]')[1].value == '1'")  # it is set
    temperature.fill("0")
    temperature.press("Tab")
    ask(tab, "anything")
    wait_for(tab, "refused")
    assert "set a temperature, e.g. 1.0" in tab.inner_text("#columns")
    temperature.fill("1")
    temperature.press("Tab")
    ask(tab, "anything")
    wait_for(tab, "done")
    assert "answers of 5 completions: 7 (3), 8 (2)" in tab.inner_text("#columns")


@pytest.mark.parametrize(
    ("question", "message"), [("  ", "the question is empty"), ("1 + " * 25_000, "the question is too long")]
)
def test_a_question_that_cannot_be_asked_is_told_in_its_place(tab, question, message):
    ask(tab, question)
    wait_for(tab, "refused")
    assert tab.locator(".refused p").first.inner_text().startswith(message)
    ask(tab, "hostile")  # and the page goes on
    wait_for(tab, "done")


JOIN = "/gradio_api/queue/join"


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("POST", "/gradio_api/upload", {}, b"x" * 1000, 404),  # of any size, from any site
        ("POST", "/gradio_api/run/ask", {}, b"{}", 404),
        ("GET", "/gradio_api/file=/etc/hostname", {}, b"", 404),
        ("GET", "/gradio_api/proxy=https://example.org/", {}, b"", 404),
        ("GET", "/docs", {}, b"", 404),  # FastAPI's, whose scripts lie on a CDN
        ("GET", "/redoc", {}, b"", 404),
        ("GET", "/openapi.json", {}, b"", 404),
        ("GET", "/monitoring", {}, b"", 404),
        ("POST", JOIN, {"Origin": "https://evil.example"}, b"{}", 403),
        ("POST", JOIN, {"Origin": "null"}, b"{}", 403),
        ("POST", JOIN, {}, b" " * (1 << 20) + b"{}", 413),
        ("POST", JOIN, {}, iter([b"{}"]), 413),  # in chunks, whose sum nobody says
        ("GET", "/", {}, b"", 200),
    ],
)
def test_the_page_is_all_that_is_served(standin, method, path, headers, body, status):
    answer = httpx.request(method, standin.address + path, headers=headers, content=body)
    assert answer.status_code == status
    if status != 200:
        assert len(answer.content) < 100


def test_it_fits_a_phone_and_follows_light_and_dark(chromium, standin):
    size = {"width": 390, "height": 844}
    with opened(chromium, standin.address, viewport=size, color_scheme="dark") as tab:
        ask(tab, "hostile")
        wait_for(tab, "done")
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        assert tab.locator(".answer").first.bounding_box()["y"] < 844 / 2
        boxes = [one.bounding_box() for one in tab.locator(".solution").all()]
        assert boxes[1]["y"] > boxes[0]["y"] + boxes[0]["height"]  # one below the other
        dark = tab.evaluate("getComputedStyle(document.querySelector('.answer')).backgroundColor")
    with opened(chromium, standin.address, color_scheme="light") as tab:
        ask(tab, "hostile")
        wait_for(tab, "done")
        left, right = [one.bounding_box() for one in tab.locator(".solution").all()]
        assert left["y"] == right["y"]
        assert left["height"] == right["height"]
        assert dark != tab.evaluate("getComputedStyle(document.querySelector('.answer')).backgroundColor")


def test_the_command_shows_two_real_models_and_ends_with_ctrl_c(chromium, demo_folder, tmp_path):
    shutil.copytree(ROOT / "bases" / "calc", tmp_path / "other", ignore=shutil.ignore_patterns("make.py"))
    command = ("page", "--model", "bases/calc", "--against", str(tmp_path / "other"), "--port", "0")
    with (
        serving(demo_folder, sys.executable, "-u", "-m", "smolmath.cli", *command) as server,
        opened(chromium, server.address) as tab,
    ):
        ask(tab, SUM)
        wait_for(tab, "done")
        assert tab.locator(".solution h2").all_inner_texts() == ["bases/calc", str(tmp_path / "other")]
        assert tab.locator(".answer").all_inner_texts() == ["Answer 5"] * 2
    assert server.returncode == 130
    assert server.last_words.endswith("\nstopped.\n")
    assert "Traceback" not in server.last_words
