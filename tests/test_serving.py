"""The OpenAI-compatible server: it answers as evaluation had the model answer, and refuses what would mislead."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import openai
import pytest
import uvicorn
from typer.testing import CliRunner

from smolmath.cli import app
from smolmath.params.core import load_section, read_params
from smolmath.params.evaluate import SamplingParams
from smolmath.running.params import HardwareParams
from smolmath.using.serving import web
from tests.conftest import ROOT

QUESTIONS = [
    f"State the final answer to the following arithmetic problem: {a} + {b} - {c} ="
    for a, b, c in [(1, 2, 3), (7, 8, 9), (9, 9, 1), (3, 0, 8)]
]
CALC = "bases/calc"


@pytest.fixture(autouse=True)
def in_the_demo(monkeypatch, demo_folder):
    monkeypatch.chdir(demo_folder)


@pytest.fixture(scope="module")
def reasoner():
    from smolmath.using.solving.reasoner import Reasoner

    return Reasoner.load(str(ROOT / CALC), read_params(ROOT / "recipes" / "demo.yaml"))


@pytest.fixture(scope="module")
def url(reasoner):
    """The address of a real server in this process, with a model whose own template has no system prompt."""
    from smolmath.engines.transformers import TransformersEngine
    from smolmath.using.serving.api import model_server

    hardware = load_section(read_params(ROOT / "recipes" / "demo.yaml"), "hardware", HardwareParams)
    engine = TransformersEngine.load(ROOT / CALC, dtype="float32", hardware=hardware)
    listening = web.listen("127.0.0.1", 0)
    served = model_server(replace(reasoner.model, name="calc"), engine)
    server = uvicorn.Server(uvicorn.Config(served, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"{web.address(listening)}/v1"
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        yield client


def chat(client, question, **more):
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="calc", messages=messages, **more)


def evaluated(reasoner, folder):
    """The greedy completions that the stage `generate` writes for these questions."""
    from smolmath.evaluation.generation import generate_batches, read_completions

    problems = [{"id": str(number), "question": question} for number, question in enumerate(QUESTIONS)]
    sampling = SamplingParams(
        problems=None, samples=0, temperature=1.0, top_p=1.0, max_completion_tokens=96, batch_size=4
    )
    prompt = reasoner.model.prompt
    batches = generate_batches(
        reasoner.engine, problems, prompt=prompt, sampling=sampling, seed=1, state=folder, what="asked"
    )
    return [row["completion"] for row in read_completions(batches)]


def test_served_text_is_that_of_evaluation_and_of_solve_streamed_or_not(reasoner, client, tmp_path):
    expected = evaluated(reasoner, tmp_path)
    assert len(set(expected)) > 2
    assert [reasoner.solve(question).completion for question in QUESTIONS] == expected
    whole = [chat(client, question, temperature=0) for question in QUESTIONS]
    assert [one.choices[0].message.content for one in whole] == expected
    assert {one.choices[0].finish_reason for one in whole} == {"stop"}
    for question, text in zip(QUESTIONS, expected, strict=True):
        pieces = [chunk.choices[0].delta.content or "" for chunk in chat(client, question, temperature=0, stream=True)]
        assert "".join(pieces) == text
        assert sum(map(bool, pieces)) > 2  # it came bit by bit


def test_a_temperature_samples_as_solve_does_with_that_seed(reasoner, client):
    def served(**more):
        return [chat(client, QUESTIONS[1], seed=seed, **more).choices[0].message.content for seed in range(4)]

    for temperature in (0.7, 1.0):
        solved = [reasoner.solve(QUESTIONS[1], temperature=temperature, seed=seed).completion for seed in range(4)]
        assert len(set(solved)) > 1
        assert any("<answer>" in text for text in solved)
        assert served(temperature=temperature) == solved
    assert served() == solved  # 1.0 where none is named, as OpenAI and vLLM have it


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_limit_cuts_and_is_told(client, limit):
    (choice,) = chat(client, QUESTIONS[0], temperature=0, **{limit: 3}).choices
    assert choice.finish_reason == "length"
    assert len(choice.message.content) < 20


def test_the_one_model_is_listed_and_no_other_can_be_asked_for_or_loaded(client, url):
    assert [model.id for model in client.models.list()] == ["calc"]
    with pytest.raises(openai.BadRequestError, match="pinned to 'calc'; requested 'gpt-5'"):
        client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "1 + 1 ="}])
    for path in ("load_model", "reset"):
        assert httpx.post(f"{url[:-3]}/{path}", json={"model": "org/other"}).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"messages": [{"role": "user", "content": "1 + " * 25_000}]}, 400, r"the prompt has \d+,\d+ tokens; prompt and completion together may have 512"),
        ({"messages": [{"role": "user", "content": "1 + " * 25_000}], "stream": True}, 400, r"together may have 512"),
        ({"messages": []}, 422, "a list of at least one"),
        ({"messages": [{"content": "1"}]}, 422, "a list of at least one"),
        ({}, 422, "a list of at least one"),
        ({"messages": [{"role": "user", "content": "1 + 1 ="}], "n": 4}, 422, "one completion a request"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused(url, body, status, message):
    answer = httpx.post(f"{url}/chat/completions", json=body, timeout=30)
    assert answer.status_code == status
    assert re.search(message, answer.json()["error"]["message"])


def test_a_completion_ends_with_the_context(client):
    # 3 tokens a term: some 460 of 512 are taken by the question; the server's default limit is 1,024.
    question = "1 + " * 150
    answer = chat(client, question, temperature=2.0, seed=3)
    assert answer.usage.total_tokens <= 512


def test_a_port_in_use_is_told_before_anything_is_loaded():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = smolmath("serve", "--model", CALC, "--port", str(port))
    assert done.returncode == 1
    assert done.stdout == ""
    free = int(
        re.fullmatch(
            rf"error: port {port} of 127.0.0.1 is in use by another program. Take a free one: --port (\d+)\n",
            done.stderr,
        )[1]
    )
    web.listen("127.0.0.1", free).close()


def test_a_host_of_another_machine_is_told():
    with pytest.raises(
        web.AddressError, match=r"192\.0\.2\.1 is no address of this machine .*127\.0\.0\.1 is reached"
    ):
        web.listen("192.0.2.1", 0)


@pytest.fixture
def here(monkeypatch):
    """The commands in this process, whose signals stay pytest's."""
    monkeypatch.setattr(web, "end_at_once_on_signals", lambda: None)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(("command", "package", "extra"), [("serve", "fastapi", "serve"), ("page", "gradio", "web")])
def test_a_missing_extra_is_told_with_the_command_that_installs_it(here, monkeypatch, command, package, extra):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == package else find(name, *a))
    done = here(command, "--model", CALC, "--port", "0")
    assert done.exit_code == 1
    assert f'{package}: not installed. Run: pip install "smolmath[{extra}]" (or make setup)' in done.output


@pytest.mark.parametrize("command", ["serve", "page"])
def test_an_unknown_model_is_told(here, command):
    done = here(command, "--model", "sumz")
    assert done.exit_code == 1
    assert "sumz: no model of that name. Did you mean 'sums'?" in done.output


class Replaced(Exception):
    """This process would now be another program."""


def test_with_vllm_its_server_takes_over(here, monkeypatch):
    params = read_params(ROOT / "recipes" / "demo.yaml")
    params["hardware"] |= {"engine": "vllm"}
    monkeypatch.setattr("smolmath.params.core.read_params", lambda *_: params)
    monkeypatch.setattr("smolmath.using.serving.vllm.vllm_is_here", lambda: True)
    ran = []

    def execv(path, command):
        ran.extend([path, *command])
        raise Replaced

    monkeypatch.setattr(os, "execv", execv)
    done = here("serve", "--model", CALC, "--port", "0")
    assert isinstance(done.exception, Replaced)
    port = ran[9]
    assert ran[:-1] == [
        str(Path(sys.executable).with_name("vllm")), "vllm", "serve", CALC, "--served-model-name", CALC,
        "--host", "127.0.0.1", "--port", port, "--dtype", "float32", "--generation-config", "vllm",
        "--gpu-memory-utilization", "0.9", "--tensor-parallel-size", "1", "--chat-template",
    ]  # fmt: skip
    assert params["prompt"]["system"] in ran[-1]
    assert done.output.startswith(f"vllm serve {CALC} --served-model-name {CALC} --host 127.0.0.1 --port {port}")


def smolmath(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "smolmath.cli", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
def test_the_command_serves_the_example_client_and_curl_and_ends_with_ctrl_c():
    command = [sys.executable, "-u", "-m", "smolmath.cli", "serve", "--model", CALC, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout.readline() == f"loading {CALC} from {CALC} …\n"
            serving = re.fullmatch(rf"serving {CALC} at (http://127\.0\.0\.1:\d+/v1) .*\n", server.stdout.readline())
            asked = subprocess.run(
                [sys.executable, "examples/client.py", QUESTIONS[1], "--url", serving[1]],
                capture_output=True, text=True, timeout=60, check=True,
            )  # fmt: skip
            assert asked.stdout.count("</answer>") <= 1
            assert re.search(r"\b6\b", asked.stdout)  # 7 + 8 - 9
            body = {"messages": [{"role": "user", "content": QUESTIONS[1]}], "temperature": 0}
            answer = httpx.post(f"{serving[1]}/chat/completions", json=body, timeout=60).json()
            assert answer["model"] == CALC
            assert answer["choices"][0]["message"]["content"] + "\n" == asked.stdout
        finally:
            server.send_signal(signal.SIGINT)
            rest, _ = server.communicate(timeout=30)
    assert server.returncode == 130
    assert rest.endswith("\nstopped.\n")
    assert "Traceback" not in rest
