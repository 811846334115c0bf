"""`smolmath solve` and `smolmath chat` as typed: what is printed and written, bad input, Ctrl-C, a terminal."""

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from smolmath.cli import app
from smolmath.commands.solve import solve
from smolmath.params.core import read_params
from tests.conftest import ROOT

SUM = "State the final answer to the following arithmetic problem: 9 + 8 - 5 ="


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project whose base is made, and no phase."""
    folder = tmp_path_factory.mktemp("project")
    params = read_params(ROOT / "recipes" / "demo.yaml")
    params["hardware"]["threads"] = 1
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    (folder / "models").mkdir()
    (folder / "models" / "base").symlink_to(ROOT / "bases" / "calc")
    endless = folder / "endless"  # the same model, which nothing stops but the limit
    shutil.copytree(ROOT / "bases" / "calc", endless)
    (endless / "generation_config.json").write_text(json.dumps({"eos_token_id": 40, "pad_token_id": 0}))
    return folder


@pytest.fixture
def smolmath(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments, stdin=None, code=0):
        done = CliRunner().invoke(app, arguments, input=stdin)
        assert done.exit_code == code, done.output
        return done

    return run


def test_a_question_is_answered_with_its_reasoning_first_and_the_same_from_stdin(smolmath):
    printed = smolmath("solve", SUM).stdout
    assert printed.splitlines()[-1] == "answer: 12"
    assert "reasoning" not in printed
    assert smolmath("solve", stdin=f"{SUM}\n").stdout == printed
    assert smolmath("solve", "-", stdin=SUM).stdout == printed
    assert smolmath("solve", "--model", "models/base", SUM).stdout == printed
    assert smolmath("solve", "--model", str(ROOT / "bases" / "calc"), SUM).stdout == printed


def test_several_samples_are_drawn_as_evaluation_draws_them_and_vote(smolmath):
    printed = smolmath("solve", SUM, "--samples", "6", "--json").stdout
    row = json.loads(printed)
    assert row["sampling"] == {
        "temperature": 1.0, "top_p": 1.0, "samples": 6, "max_completion_tokens": 96, "seed": 0,
    }  # fmt: skip
    table = smolmath("solve", SUM, "--samples", "6").stdout
    assert f"answer: {row['answer']}\n" in table
    for answer, count in row["votes"]:
        assert re.search(rf"^{re.escape(answer)} +×{count}  {'█' * (4 * count)} *$", table, re.MULTILINE), table
    assert json.loads(smolmath("solve", SUM, "--samples", "6", "--json", "--seed", "1").stdout)["completion"]


def test_a_file_of_questions_is_answered_saved_and_what_cannot_be_asked_is_named(smolmath, tmp_path):
    rows = [{"id": "a", "question": SUM}, {"id": 2, "question": "1 + " * 25_000}, {"question": "7 - 9 ="}]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = smolmath(
        "solve", "--file", str(tmp_path / "q.jsonl"), "--save", str(tmp_path / "s.jsonl"), "--json", code=1
    )
    first, refused, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert (first["id"], first["answer"], first["model"], first["finished"]) == ("a", "12", "base", True)
    assert (refused["id"], last["id"]) == (2, None)
    assert "too long" in refused["error"]
    assert re.search(r"error: \S+q\.jsonl:2: the question is too long: .* tokens, and base reads 512\.", done.stderr)
    assert done.stderr.endswith("error: 1 of 3 questions could not be asked.\n")
    saved = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert all(row.pop("time").endswith("+00:00") for row in saved)
    assert saved == [first, last]
    printed = smolmath("solve", "--file", str(tmp_path / "q.jsonl"), code=1).stdout
    assert printed.startswith(f"{SUM}\n")
    assert "\nanswer: 12\n\n" in printed


def test_half_a_surrogate_pair_in_one_of_many_questions_is_told_and_the_others_are_answered(smolmath, tmp_path):
    questions, saved = tmp_path / "q.jsonl", tmp_path / "s.jsonl"
    questions.write_text('{"question": "\\ud800?"}\n' + json.dumps({"id": "\ud800", "question": SUM}))
    for more in ([], ["--json"]):
        done = smolmath("solve", "--file", str(questions), "--model", "base", "--save", str(saved), *more, code=1)
        assert f"error: {questions}:1: the question is not valid UTF-8." in done.stderr
        assert "error: 1 of 2 questions could not be asked." in done.stderr
    assert [json.loads(line)["answer"] for line in saved.read_text().splitlines()] == ["12", "12"]
    refused, answered = map(json.loads, done.stdout.splitlines())
    assert refused["question"] == "\ud800?"
    assert (answered["id"], answered["answer"]) == ("\ud800", "12")


def test_solutions_are_not_saved_among_the_questions(smolmath, tmp_path):
    questions = tmp_path / "q.jsonl"
    questions.write_text(json.dumps({"question": SUM}))
    done = smolmath("solve", "--file", str(questions), "--model", "base", "--save", str(questions), code=1)
    assert (
        done.stderr
        == f"error: {questions} holds the questions: solutions would stand among them. Name another with --save.\n"
    )
    assert questions.read_text() == json.dumps({"question": SUM})


def test_a_text_file_has_a_question_on_each_line(smolmath, tmp_path):
    (tmp_path / "q.txt").write_text(f"{SUM}\n\n7 - 9 =\n")
    done = smolmath("solve", "--file", str(tmp_path / "q.txt"), "--json", "--max-tokens", "3")
    assert [json.loads(line)["question"] for line in done.stdout.splitlines()] == [SUM, "7 - 9 ="]


def test_a_cut_off_completion_says_so_and_that_it_has_no_answer(smolmath):
    printed = smolmath("solve", SUM, "--max-tokens", "3").stdout
    assert printed.splitlines()[-2:] == [
        "no answer found in the completion",
        "the completion was cut off after 3 tokens: raise --max-tokens.",
    ]


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["", ], None, "the question is empty."),
        ([], " \n", "the question is empty."),
        ([SUM, "--file", "q.txt"], None, "name a question or --file, not both."),
        (["--file", "nowhere.txt"], None, "nowhere.txt: not readable (No such file or directory)."),
        ([SUM, "--model", "sum"], None, "sum: no model of that name. Did you mean 'sums'? There are: base, sums, legs; or name"),
        ([SUM, "--model", "legs"], None, "legs: models/legs holds no weights. Run: dvc repro train@legs (or dvc pull models/legs)."),
        ([SUM, "--samples", "2", "--temperature", "0"], None, "several samples of a greedy completion are all the same"),
        ([], "1 + " * 25_000, "the question is too long: with the system prompt it has"),
        ([SUM, "--temperature", "inf"], None, "a temperature of inf: it can be 0, which is greedy, or 0.01 to 100."),
        ([SUM, "--samples", "1000000"], None, "1,000,000 samples: 1 to 1,024 are drawn of a question."),
        ([SUM, "--seed", str(2**64)], None, "a seed of 18446744073709551616: it can be 0 to 2**63 - 1."),
        (["-"], b"\xff", "the question is not valid UTF-8."),
        ([SUM, "--save", "."], None, ".: cannot be written (Is a directory). Name another file."),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_that_says_what_to_do(smolmath, arguments, stdin, message):
    done = smolmath("solve", *arguments, stdin=stdin, code=1)
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_wrong_name_is_told_without_loading_torch(folder):
    script = (
        "import sys; from smolmath.cli import app\ntry: app()\nfinally: assert 'torch' not in sys.modules, 'loaded'"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "solve", SUM, "--model", "sum"],
        cwd=folder, capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert done.returncode == 1
    assert "There are: base, sums, legs" in done.stderr
    assert "loaded" not in done.stderr


# --- chat


def test_a_conversation_goes_on_is_saved_and_survives_mistakes(smolmath, tmp_path):
    saved = tmp_path / "talk.jsonl"
    lines = [
        SUM, "/save", f"/save {saved}", "/model nowhere", "/model models/base", "/model", "1 + " * 300, "/what", "",
        "7 - 9 =", f"/save {saved}", "/new", f"/save {saved}", "/help", "/quit", "never read",
    ]  # fmt: skip
    printed = smolmath("chat", stdin="\n".join(lines)).stdout
    for expected in (
        "base listens. /help lists the commands, /quit leaves.",
        "\nanswer: ",
        "error: name a file: /save FILE.",
        f"saved 1 turn to {saved}",
        "error: nowhere: no model of that name.",
        "base goes on with the conversation.",
        "base listens. There are: base, sums, legs.",
        "error: the question is too long",
        "error: there is no command /what; /help lists them.",
        f"saved 2 turns to {saved}",
        "a new conversation.",
        "error: nothing has been said yet.",
        "/model NAME ",
    ):
        assert expected in printed
    assert "never read" not in printed
    assert f"> {SUM}\n" in printed
    first, second = [json.loads(line)["messages"] for line in saved.read_text().splitlines()]
    assert [message["role"] for message in second] == ["system", "user", "assistant", "user", "assistant"]
    assert second[:3] == first
    assert second[3]["content"] == "7 - 9 ="


def test_a_chat_ends_with_its_input(smolmath):
    assert smolmath("chat", stdin="").exit_code == 0


def test_a_chat_says_when_the_oldest_turns_no_longer_fit(smolmath):
    printed = smolmath("chat", "--max-tokens", "150", stdin="\n".join([SUM] * 9)).stdout
    assert "(the context is full: the oldest turn is left out from now on)" in printed
    assert printed.count("answer: ") + printed.count("no answer found") == 9


def test_a_chat_with_a_model_that_is_not_there_does_not_begin(smolmath):
    assert "There are: base, sums, legs" in smolmath("chat", "--model", "sum", code=1).stderr


# --- real processes


def environment():
    return {k: v for k, v in os.environ.items() if not k.startswith("DVC_")} | {
        "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "100", "HF_HUB_OFFLINE": "1", "TERM": "xterm",
    }  # fmt: skip


@pytest.mark.slow
def test_ctrl_c_while_it_generates_ends_with_130_and_a_whole_file(folder, tmp_path):
    (tmp_path / "q.txt").write_text(f"{SUM}\n" * 5000)
    saved = tmp_path / "s.jsonl"
    command = [sys.executable, "-m", "smolmath.cli", "solve", "--file", str(tmp_path / "q.txt"), "--save", str(saved)]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: saved.is_file() and saved.read_bytes().count(b"\n") >= 3, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "\ninterrupted.\n")
    rows = [json.loads(line) for line in saved.read_text().splitlines()]
    assert len(rows) >= 3
    assert {row["answer"] for row in rows} == {"12"}
    assert saved.read_text().endswith("\n")


@pytest.mark.slow
@pytest.mark.parametrize("command", [["solve", SUM], ["chat"]])
def test_ctrl_c_while_the_model_is_loaded_ends_with_130_and_no_traceback(folder, command):
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "smolmath.cli", *command],
        cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr:  # a module of torch has been imported, torch not yet
        if "torch." in line:
            break
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    said = [line for line in errors.splitlines() if line and not line.startswith("import time:")]
    assert (process.returncode, said) == (130, ["interrupted."])
    assert out == ""


def wait_for(happened, process, limit_s=180.0):
    end = time.monotonic() + limit_s
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "took too long"
        time.sleep(0.05)


class Terminal:
    """`smolmath …` at a terminal of its own."""

    def __init__(self, *arguments, cwd):
        self.read, self.at = "", 0
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.chdir(cwd)
            os.execve(sys.executable, [sys.executable, "-m", "smolmath.cli", *arguments], environment())

    def until(self, text, limit_s=180.0):
        """Wait for `text` after what was waited for last; what came before it."""
        end = time.monotonic() + limit_s
        while text not in self.read[self.at :]:
            assert time.monotonic() < end, self.read[self.at :]
            assert self._more(), f"ended without {text!r}: {self.read[self.at :]}"
        found = self.read.index(text, self.at)
        before, self.at = self.read[self.at : found], found + len(text)
        return before

    def _more(self):
        if select.select([self.fd], [], [], 1.0)[0]:
            try:
                self.read += os.read(self.fd, 65536).decode()
            except OSError:  # EIO: the other side has ended
                return False
        return True

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def ended(self, limit_s=120.0, keys=""):
        """The exit code, once it has ended; `keys` are typed, and again after three seconds without an answer.

        Python's readline can miss a Ctrl-C that comes while it sets the prompt up: a person would press again. Not so
        once a new line has answered it: the process is leaving, and a signal that meets its last steps kills it.
        """
        end, silent = time.monotonic() + limit_s, 0
        self.type(keys)
        typed = len(self.read)
        while self._more():
            assert time.monotonic() < end, self.read[self.at :]
            silent = 0 if "\n" in self.read[typed:] else silent + 1
            if silent == 3:
                self.type(keys)
                silent = 0
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self):
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal(folder):
    opened = []

    def begin(*arguments):
        opened.append(Terminal(*arguments, cwd=folder))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


@pytest.mark.slow
def test_in_a_chat_at_a_terminal_ctrl_c_stops_a_completion_and_at_the_prompt_leaves(terminal):
    chat = terminal("chat", "--max-tokens", "400")
    chat.until("base listens.")
    chat.until("> ")
    chat.type(f"{SUM}\n")
    chat.until("answer: ")
    assert "12" in chat.until("> ")
    chat.type("/model endless\n")
    chat.until("endless goes on")
    chat.until("> ")
    chat.type("/new\n")
    chat.until("> ")
    chat.type(f"{SUM}\n")
    chat.until("\x1b[36m")
    chat.until("answer")
    chat.type("\x03")
    chat.until("stopped; the conversation is as it was before.")
    chat.until("> ")
    chat.type("/model base\n")
    chat.until("base goes on")
    chat.until("> ")
    chat.type("\x1b[A\x1b[A")  # twice up: the question, again
    chat.until("9 + 8 - 5 =")
    chat.type("\n")
    chat.until("answer: ")
    chat.until("> ")
    assert chat.ended(keys="\x03") == 0
    assert "Traceback" not in chat.read


@pytest.mark.slow
def test_at_a_terminal_reasoning_is_in_colour_and_comes_while_the_completion_is_written(terminal):
    solve = terminal("solve", SUM, "--model", "endless", "--max-tokens", "400")
    solve.until("\x1b[36m")
    began = time.monotonic()
    solve.until("cut off after 400 tokens")
    assert time.monotonic() - began > 0.3
    assert solve.ended() == 0


def test_the_examples_of_help_are_sessions_of_the_docs_whose_answers_are_shown():
    examples = [line.strip() for line in solve.__doc__.splitlines() if line.strip().startswith('smolmath solve "')]
    shown = (ROOT / "docs" / "using.md").read_text().splitlines()
    assert len(examples) == 2
    assert {f"$ {example}" for example in examples} <= {*shown}
