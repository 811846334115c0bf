"""smolagents, run for real: a trained model as a tool of both kinds of agent, and as an agent's own model."""

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from smolmath.cli import app
from smolmath.errors import StageError
from smolmath.params.core import read_params
from smolmath.using.solving.reasoner import Solution
from tests.conftest import ROOT

smolagents = pytest.importorskip("smolagents")  # the environment of `make test-vllm` has none

from smolagents.local_python_executor import InterpreterError  # noqa: E402

import smolmath.using.agents.models as agent_models  # noqa: E402  # needs it
from smolmath.using.agents import AgentError, CodeExecutor, MathReasonerTool, load_agent_model  # noqa: E402
from smolmath.using.agents.run import make_agent, run_agent  # noqa: E402

BASE = "bases/calc"
SUM = "State the final answer to the following arithmetic problem: 8 + 5 - 3 ="
OTHER = "State the final answer to the following arithmetic problem: 7 - 2 + 6 ="


@pytest.fixture(autouse=True)
def in_the_demo_without_network(monkeypatch, demo_folder):
    """Neither smolagents nor what it uses may call anyone."""
    connect = socket.socket.connect

    def only_here(self, address):
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost"), f"asked {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)
    monkeypatch.chdir(demo_folder)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(scope="module")
def loaded(demo_folder):
    """The base model, loaded once."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(demo_folder)
        tool = MathReasonerTool(BASE)
        tool.setup()
    torch.set_num_threads(1)  # two wait for one another where other tests run too
    return tool


@pytest.fixture
def tool(loaded):
    loaded.solutions.clear()
    return loaded


class Scripted(smolagents.Model):
    """Says what it is given to say: a text, tool calls as (name, arguments), or raises."""

    def __init__(self, *script):
        super().__init__(model_id="scripted")
        self.script, self.heard = list(script), []

    def generate(self, messages, **options):
        self.heard.append(messages)
        said = self.script.pop(0)
        if isinstance(said, BaseException):
            raise said
        if isinstance(said, str):
            return smolagents.ChatMessage(role="assistant", content=said)
        calls = [
            {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for i, (name, arguments) in enumerate(said)
        ]
        return smolagents.ChatMessage(role="assistant", content=None, tool_calls=calls)


def done(kind, tool, *script, max_steps=5):
    brain = Scripted(*script)
    return run_agent(make_agent(kind, [tool], brain, max_steps=max_steps), "A task.", tool), brain


@pytest.fixture
def params():
    params = read_params()
    params["hardware"]["threads"] = 1
    return params


def answer(tool, question):
    return tool.reasoner.solve(question).answer


def test_the_tool_is_one_by_smolagents_own_rules():
    from smolagents.tool_validation import validate_tool_attributes

    validate_tool_attributes(MathReasonerTool)
    told = smolagents.models.get_tool_json_schema(MathReasonerTool())["function"]
    assert told["name"] == "math_reasoner"
    assert told["parameters"]["required"] == ["question"]


def test_what_is_saved_of_the_tool_is_its_code_without_arguments(tmp_path):
    MathReasonerTool("legs", samples=4).save(tmp_path, make_gradio_app=False)
    again = smolagents.Tool.from_code((tmp_path / "tool.py").read_text())
    assert type(again).__name__ == "MathReasonerTool"
    assert (again.model, again.samples, again.is_initialized) == (None, 1, False)
    assert MathReasonerTool().to_dict()["requirements"] == ["smolagents", "smolmath"]


def test_a_saved_tool_works(tmp_path, loaded):
    MathReasonerTool().save(tmp_path, make_gradio_app=False)
    again = smolagents.Tool.from_code((tmp_path / "tool.py").read_text())
    again.reasoner = loaded.reasoner
    assert again(question=SUM) == answer(loaded, SUM)


def test_an_example_is_told_to_the_agent():
    assert MathReasonerTool(example="How many legs has a cow?").description.endswith(
        "like this: How many legs has a cow?"
    )
    assert "like this" not in MathReasonerTool().description


def test_a_tool_calling_agent_gets_the_models_answer(tool):
    outcome, brain = done("tool", tool, [("math_reasoner", {"question": SUM})], [("final_answer", {"answer": "so"})])
    expected = answer(tool, SUM)
    assert outcome.finished
    assert outcome.answer == "so"
    assert outcome.steps[0].calls == [("math_reasoner", {"question": SUM})]
    assert outcome.steps[0].observation == expected
    assert [(s.question, s.answer) for s in outcome.solutions] == [(SUM, expected)]
    assert expected in str(brain.heard[1][-1].content)  # the observation reached the agent's model


def test_several_calls_at_once_are_answered_each(tool):
    both = [("math_reasoner", {"question": SUM}), ("math_reasoner", {"question": OTHER})]
    outcome, _ = done("tool", tool, both, [("final_answer", {"answer": ""})])
    assert outcome.steps[0].observation.splitlines() == [answer(tool, SUM), answer(tool, OTHER)]
    assert {s.question for s in outcome.steps[0].solutions} == {SUM, OTHER}


def test_a_code_agent_computes_with_the_models_answers(tool):
    code = f"<code>\na = math_reasoner(question={SUM!r})\nb = math_reasoner({OTHER!r})\nfinal_answer(int(a) + int(b))\n</code>"
    outcome, _ = done("code", tool, code)
    assert outcome.answer == int(answer(tool, SUM)) + int(answer(tool, OTHER))
    assert len(outcome.solutions) == 2


def test_a_code_agents_code_cannot_import_what_it_likes(tool):
    outcome, _ = done("code", tool, "<code>\nimport os\n</code>", "<code>\nfinal_answer(1)\n</code>")
    assert "Import of os is not allowed" in outcome.steps[0].error
    assert outcome.answer == 1


FRAME = "g = (i for i in [1])\n"
ATTACKS = [
    '(math_reasoner.reasoner.model.folder / "../../etc/hostname").read_text()',
    'math_reasoner.reasoner.engine.model.save_pretrained("written")',
    'math_reasoner.save("written", make_gradio_app=False)',
    'math_reasoner.from_code(\'open("written", "w")\')',
    "math_reasoner.solutions.clear()",
    "math_reasoner.forward",
    "math_reasoner.__closure__[0].cell_contents",
    "getattr(math_reasoner, '__clo' + 'sure__')",
    "getattr(math_reasoner, '_' + '_globals__')",
    "list(map(getattr, [math_reasoner], ['__globals__']))",
    "math_reasoner.__getattribute__('__closure__')",
    "math_reasoner.__class__.__mro__",
    "type(math_reasoner).mro()",
    "final_answer.__globals__",
    "'{0.__closure__}'.format(math_reasoner)",
    "'{0.__globals__[__builtins__]}'.format(math_reasoner)",
    "('{0.__clo' + 'sure__}').format(math_reasoner)",
    "'{0.__closure__}'.format_map({'0': math_reasoner})",
    "getattr('{0.__closure__}', 'format')(math_reasoner)",
    "list(map(str.format, ['{0.__closure__}'], [math_reasoner]))",
    "f'{math_reasoner.__closure__}'",
    FRAME + "g.gi_frame.f_locals['authorized_imports'].append('os')\nimport os",
    FRAME + "getattr(g, 'gi_' + 'frame').f_back",
    FRAME + "g.gi_code.co_consts",
    "try:\n    math_reasoner(question=5)\nexcept Exception as e:\n    final_answer(e.obj)",
    "try:\n    1 / 0\nexcept Exception as e:\n    final_answer(e.__traceback__.tb_frame)",
    "class Q(str):\n    def strip(self):\n        return open\nmath_reasoner(question=Q('1'))",
    "math_reasoner(question={'question': '1'})",
    "from random import _os\n_os.listdir('/')",
    "import random\nrandom._os.listdir('/')",
    "import queue\nqueue.threading._os",
    "import os",
    "open('/etc/hostname').read()",
    "setattr(math_reasoner, '__call__', print)",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_from_a_code_agents_code_nothing_of_ours_is_reached(tool, attack, tmp_path, monkeypatch):
    """Attributes, closures, dunders, frames, formats: each fails, reaches no file and leaves nothing for the next step."""
    monkeypatch.chdir(tmp_path)
    executor = CodeExecutor()
    executor.send_tools({"math_reasoner": tool, "final_answer": smolagents.FinalAnswerTool()})
    executor('before = 1 + 1\nassert "{:.1f} {}".format(before, "a") == "2.0 a"')
    before = set(executor.authorized_imports)
    with pytest.raises(InterpreterError, match=r"Forbidden|has no attribute|not allowed|must be text"):
        executor(attack)
    assert set(executor.authorized_imports) == before
    assert list(tmp_path.iterdir()) == []
    assert tool.solutions == []
    assert executor(f"math_reasoner({SUM!r})").output == answer(tool, SUM)


def test_a_question_that_cannot_be_asked_is_told_to_the_agent(tool):
    long = "1 + " * 2000 + "1"
    outcome, _ = done(
        "tool", tool, [("math_reasoner", {"question": " "})], [("math_reasoner", {"question": long})],
        [("final_answer", {"answer": "none"})],
    )  # fmt: skip
    assert "the question is empty" in outcome.steps[0].error
    assert outcome.steps[0].calls == [("math_reasoner", {"question": " "})]
    assert "the question is too long" in outcome.steps[1].error
    assert outcome.solutions == []


class Told:
    """Stands for a Reasoner: keeps what it is asked."""

    def __init__(self, found):
        self.found, self.asked = found, []

    def solve(self, question, **options):
        self.asked.append(options)
        return Solution(question, "so, 4?", "so", self.found, [], 1, True, 3)


def test_several_samples_are_drawn_and_one_is_greedy():
    reasoner = Told("4")
    for samples in (1, 8):
        tool = MathReasonerTool(samples=samples)
        tool.reasoner = reasoner
        assert tool(question="2 + 2 = ?") == "4"
    assert reasoner.asked == [{"samples": 1, "temperature": 0.0}, {"samples": 8, "temperature": 1.0}]


def test_a_completion_without_an_answer_is_handed_on_as_that():
    tool = MathReasonerTool()
    tool.reasoner = Told(None)
    assert tool(question="2 + 2 = ?") == "No answer was found. The model wrote: so, 4?"


def test_an_agent_that_never_finishes_ends_after_its_steps(tool):
    outcome, _ = done("tool", tool, "I don't know.", "Still not.", "Perhaps 7.", max_steps=2)
    assert not outcome.finished
    assert len(outcome.steps) == 2
    assert "JSON blob" in outcome.steps[0].error
    assert outcome.steps[0].written == "I don't know."
    assert outcome.answer == "Perhaps 7."


def test_a_model_that_fails_is_named(tool):
    steps, agent = [], make_agent("tool", [tool], Scripted("Well.", OSError("connection reset")), max_steps=3)
    with pytest.raises(AgentError, match=r"the agent's model failed, scripted: connection reset"):
        run_agent(agent, "A task.", tool, steps.append)
    assert [step.written for step in steps] == ["Well."]


def test_a_model_of_this_project_speaks_as_it_does_in_evaluation(tool, params):
    brain = load_agent_model(BASE, max_completion_tokens=96, params=params)
    system = params["prompt"]["system"]
    messages = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in (("system", system), ("user", SUM))
    ]
    message = brain.generate(messages)
    assert isinstance(brain, smolagents.TransformersModel)
    assert message.content == tool.reasoner.solve(SUM).completion
    assert message.token_usage.output_tokens > 0


def test_a_model_whose_context_is_too_small_is_refused_as_an_agents_own():
    done = CliRunner().invoke(app, ["agent", "3 + 4 - 2 = ?", "--model", BASE])
    assert done.exit_code == 1
    assert "bases/calc reads 512 tokens" in done.stderr
    assert "--agent-model" in done.stderr


# A server on loopback


class Server(BaseHTTPRequestHandler):
    """An OpenAI-compatible API that gives what its `server` is told to give, and keeps what it is asked."""

    def do_GET(self):
        self.give(*self.server.listing)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body | {"authorization": self.headers["Authorization"]})
        if body["model"] not in self.server.serves:
            self.give(404, {"error": {"message": f"The model {body['model']} does not exist."}})
            return
        message = self.server.says.pop(0) if self.server.says else {"role": "assistant", "content": "2"}
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self.give(
            200,
            {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage},
        )

    def give(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode() if isinstance(body, str) else json.dumps(body).encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.address = f"http://127.0.0.1:{running.server_port}"
        running.serves, running.says, running.asked = ["models/x"], [], []
        running.listing = 200, {"object": "list", "data": [{"id": "models/x", "object": "model"}]}
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def tool_call(name, **arguments):
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }


def close(brain):
    brain.client.close()  # the warning of an open socket would fail the test


def test_a_server_drives_an_agent(server, tool, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    server.says = [tool_call("math_reasoner", question=SUM), tool_call("final_answer", answer="10")]
    brain = load_agent_model(server.address, max_completion_tokens=77)
    assert isinstance(brain, smolagents.OpenAIModel)
    assert brain.model_id == "models/x"
    outcome = run_agent(make_agent("tool", [tool], brain, max_steps=3), "8 + 5 - 3 = ?", tool)
    close(brain)
    assert (outcome.finished, outcome.answer) == (True, "10")
    assert (outcome.input_tokens, outcome.output_tokens) == (10, 4)  # two requests of 5 and 2
    first, second = server.asked
    assert {tool["function"]["name"] for tool in first["tools"]} == {"math_reasoner", "final_answer"}
    assert (first["max_tokens"], first["model"], first["authorization"]) == (77, "models/x", "Bearer a key")
    assert all(isinstance(message["content"], str) for message in second["messages"])
    assert answer(tool, SUM) in second["messages"][-1]["content"]


def test_of_several_models_one_must_be_named(server):
    server.serves = ["a", "b"]
    server.listing = 200, {"data": [{"id": "a"}, {"id": "b"}]}
    with pytest.raises(
        AgentError, match=rf"{server.address}/v1 has a, b: name the one to use with its id \(--model-id\)"
    ):
        load_agent_model(server.address)
    brain = load_agent_model(f"{server.address}/v1/", model_id="b")
    assert brain.model_id == "b"
    assert server.asked == []  # the list was enough
    close(brain)


def test_a_model_that_the_server_does_not_have_is_refused(server):
    with pytest.raises(AgentError, match=r"does not serve models/y \(404: .*does not exist.*It has models/x\."):
        load_agent_model(server.address, model_id="models/y")


@pytest.mark.parametrize("listing", [(500, "no cache"), (200, {"data": []}), (200, {"data": [{"id": "other"}]})])
def test_a_server_may_answer_for_a_model_that_it_does_not_list(server, listing):
    server.listing = listing
    brain = load_agent_model(server.address, model_id="models/x")
    assert brain.model_id == "models/x"
    close(brain)


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ((401, {"error": "who are you?"}), r"wants a key \(401: .*who are you.*OPENAI_API_KEY"),
        ((404, "nothing here"), r"no OpenAI-compatible API: it has no /models"),
        ((200, "<html>"), r"no OpenAI-compatible API: what it gives at /models is no list"),
        ((200, ["x"]), r"no OpenAI-compatible API"),
        ((500, "broken"), r"doesn't say which models it has: name the one to use"),
    ],
)
def test_what_is_no_server_to_use_is_said(server, listing, message):
    server.listing = listing
    with pytest.raises(AgentError, match=message):
        load_agent_model(server.address)


def test_no_server_at_the_address_is_said_with_what_to_start():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(
        AgentError, match=rf"no server answers at http://127.0.0.1:{port}/v1 .*Start one, e.g. vllm serve"
    ):
        load_agent_model(f"http://127.0.0.1:{port}/v1")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("localhost:8000/v1", r"an address begins with http:// or https://. Try: http://localhost:8000/v1"),
        ("http://[", r"http://\[ is no address \(Invalid IPv6 URL\)"),
        ("http://", r"no server answers at http:"),
        ("http://localhost:99999", r"no server answers at http://localhost:99999/v1"),
        ("http://ann:secret@localhost:8000", r"holds a user name"),
    ],
)
def test_an_address_that_is_none_is_refused(asked, message):
    with pytest.raises(AgentError, match=message) as refused:
        load_agent_model(asked)
    assert "secret" not in str(refused.value)


def test_a_model_id_needs_a_server():
    with pytest.raises(AgentError, match=r"bases/calc is no server's address"):
        load_agent_model(BASE, model_id="x")


def test_vllm_where_it_is_not_installed_is_said(monkeypatch, params):
    monkeypatch.setattr(agent_models.importlib.util, "find_spec", lambda name: None)
    params["hardware"]["engine"] = "vllm"
    with pytest.raises(StageError, match="make setup VLLM=1"):
        load_agent_model(BASE, params=params)


def test_two_models_of_vllm_share_the_gpu(params):
    assert agent_models.for_two(params) == params
    params["hardware"] |= {"engine": "vllm", "gpu_memory": 0.8}
    assert agent_models.for_two(params)["hardware"] == params["hardware"] | {"gpu_memory": 0.4}


# The command


@pytest.fixture
def run(loaded, monkeypatch):
    """`smolmath agent`, its own model a script."""

    def invoke(*arguments, script):
        loaded.solutions.clear()
        monkeypatch.setattr("smolmath.using.agents.MathReasonerTool", lambda *given: loaded)
        monkeypatch.setattr("smolmath.using.solving.reasoner.Reasoner.load", lambda *given: loaded.reasoner)
        monkeypatch.setattr("smolmath.using.agents.load_agent_model", lambda *given, **named: Scripted(*script))
        return CliRunner().invoke(app, ["agent", *arguments])

    return invoke


USES_IT = [("math_reasoner", {"question": SUM})], [("final_answer", {"answer": "10"})]


def test_the_command_shows_steps_and_the_answer(run, loaded):
    done = run("A task.", script=USES_IT)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "agent: scripted; tool: math_reasoner (bases/calc)"
    assert lines[2] == f"  math_reasoner(question='{SUM}')"
    assert lines[3].endswith(f"→ {answer(loaded, SUM)}")
    assert lines[-1] == "answer: 10"
    assert done.stderr == ""


def test_json_holds_everything(run, loaded):
    done = run("A task.", "--json", script=USES_IT)
    told = json.loads(done.stdout)
    assert (told["answer"], told["finished"], told["kind"], told["task"]) == ("10", True, "tool", "A task.")
    assert told["steps"][0]["calls"] == [{"tool": "math_reasoner", "arguments": {"question": SUM}}]
    assert told["steps"][0]["solutions"][0]["reasoning"] == loaded.solutions[0].reasoning


def test_the_code_that_was_run_is_shown(run):
    done = run(
        "A task.", "--kind", "code", script=["<code>\nprint(2 + 2)\n</code>", "<code>\nfinal_answer([1])\n</code>"]
    )
    assert done.exit_code == 0
    assert "  | print(2 + 2)" in done.stdout
    assert "  > 4" in done.stdout
    assert "answer: [1]" in done.stdout


def test_an_agent_that_does_not_ask_the_reasoner_is_told_of(run):
    done = run("A task.", script=[[("final_answer", {"answer": "9"})]])
    assert done.exit_code == 0
    assert "scripted never called math_reasoner: what it says is its own." in done.stderr


def test_no_final_answer_is_a_failure(run):
    done = run("A task.", "--max-steps", "1", script=["Er.", "Perhaps."])
    assert done.exit_code == 1
    assert "  it wrote: Er." in done.stdout
    assert "answer:" not in done.stdout
    assert "asked for an answer in the end, it wrote: Perhaps." in done.stdout
    assert "no final answer within 1 steps" in done.stderr


def test_a_model_cannot_steer_the_terminal(run):
    done = run("A task.", script=[[("final_answer", {"answer": "\x1b[2J9"})]])
    assert "answer: �[2J9" in done.stdout
    assert "\x1b" not in done.stdout


def test_ctrl_c_ends_it_with_a_line(run):
    done = run("A task.", script=[KeyboardInterrupt()])
    assert done.exit_code == 130
    assert done.stderr == "\ninterrupted.\n"


def test_an_empty_task_is_refused_at_once(monkeypatch):
    done = CliRunner().invoke(app, ["agent", " "])
    assert (done.exit_code, done.stderr) == (1, "error: the task is empty.\n")


def test_an_unknown_model_is_named_with_those_there_are():
    done = CliRunner().invoke(app, ["agent", "A task.", "--agent-model", "legz"])
    assert done.exit_code == 1
    assert "Did you mean 'legs'?" in done.stderr


def test_without_smolagents_it_says_what_to_install():
    code = "import sys; sys.modules['smolagents'] = None; from smolmath.cli import app; app(['agent', 'A task.'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith('agents need smolagents. Run: pip install "smolmath[agents]" (or make setup).')


def test_the_command_line_starts_without_smolagents_and_torch():
    code = "import sys, smolmath.cli; print({'smolagents', 'torch', 'transformers', 'openai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# The example


def test_the_example_counts_the_stock_with_the_models_answers(tool):
    spec = importlib.util.spec_from_file_location("agent_example", ROOT / "examples" / "agent.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    counted = example.count_stock(tool, example.ScriptedModel(example.SCRIPT))
    assert tool.solutions[0].question == SUM
    assert counted == sum(int(s.answer) for s in tool.solutions)
    assert len(tool.solutions) == 3


# Models that take longer


@pytest.mark.slow
def test_transformers_own_server_answers_as_the_model_does(params):
    from transformers.cli.serve import Serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = Serve(force_model=BASE, host="127.0.0.1", port=port, non_blocking=True, device="cpu")
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            threading.Event().wait(0.1)
        brain = load_agent_model(f"http://127.0.0.1:{port}/v1", model_id=BASE, max_completion_tokens=96)
        messages = [{"role": "user", "content": [{"type": "text", "text": SUM}]}]
        said = brain.generate(messages).content
        with pytest.raises(AgentError, match="does not serve models/other"):
            load_agent_model(f"http://127.0.0.1:{port}/v1", model_id="models/other")
        close(brain)
    finally:
        serve.kill_server()
    assert said == load_agent_model(BASE, max_completion_tokens=96, params=params).generate(messages).content


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tool", "code"])
def test_smollm2_runs_as_an_agent_and_stops(tool, params, kind):
    folder = os.environ.get("SMOLMATH_SMOLLM2")
    if not folder:
        pytest.skip("SMOLMATH_SMOLLM2 names no folder with SmolLM2-135M-Instruct")
    brain = load_agent_model(folder, max_completion_tokens=64, params=params)
    outcome = run_agent(make_agent(kind, [tool], brain, max_steps=2), "What is 8 + 5 - 3?", tool)
    assert 1 <= len(outcome.steps) <= 2
    assert all(step.written for step in outcome.steps)
    assert outcome.answer is not None  # its own final answer, or what it says when the steps are used up
    assert outcome.input_tokens > 1000  # it was given smolagents' instructions


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")  # vLLM's and its dependencies' own, which are not ours to mend
def test_vllm_speaks_as_transformers_does(params):
    pytest.importorskip("vllm")
    messages = [{"role": "user", "content": [{"type": "text", "text": SUM}]}]
    expected = load_agent_model(BASE, params=params).generate(messages).content
    params["hardware"] |= {"engine": "vllm", "gpu_memory": 0.3}
    brain = load_agent_model(BASE, params=params)
    assert isinstance(brain, smolagents.VLLMModel)
    assert brain.generate(messages).content == expected
