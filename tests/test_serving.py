"""The OpenAI-compatible server: it answers as evaluation had the model answer, and refuses what would mislead."""

import asyncio
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import httpx
import openai
import psutil
import pytest
import uvicorn
from typer.testing import CliRunner

from smolmath.cli import app
from smolmath.params.core import load_section, read_params
from smolmath.params.evaluate import SamplingParams
from smolmath.running.params import HardwareParams
from smolmath.using.serving import web
from smolmath.using.serving.vllm import vllm_command
from smolmath.using.solving.models import find_model
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
    assert client.models.retrieve("calc").owned_by == "smolmath"
    for ask in (client.models.retrieve, lambda name: client.completions.create(model=name, prompt="1")):
        with pytest.raises(openai.NotFoundError, match=r"'org/gpt-5' is not here\. The one that is served is 'calc'"):
            ask("org/gpt-5")
    for path in ("load_model", "reset", "docs", "redoc", "openapi.json"):  # the pages load scripts from a CDN
        answer = httpx.post(f"{url[:-3]}/{path}", json={"model": "org/other"})
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")


ASKED = [{"role": "user", "content": QUESTIONS[1]}]
LONG = "1 + " * 1_500  # more than 512 tokens, fewer characters than 512 tokens can hold
NESTED = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"chat_template_kwargs": {"chat_template": NESTED}}, 400, "chat_template_kwargs: this server can't do that. Leave it out"),
        ({"chat_template": NESTED}, 400, "chat_template: this server"),
        ({"generation_config": '{"num_beams": 300}'}, 400, "generation_config: this server"),
        ({"messages": [{"role": "user", "content": LONG}]}, 400, r"the prompt has \d,\d+ tokens; prompt and completion together may have 512"),
        ({"messages": [{"role": "user", "content": LONG}], "stream": True}, 400, r"together may have 512"),
        ({"messages": [{"role": "user", "content": "1" * 900_000}]}, 400, r"the prompt has 900,\d+ characters; .* may have 512 tokens"),
        ({"messages": [{"role": "user", "content": "1" * 10_000_000}]}, 413, r"more than 1,048,576 bytes"),
        ({"messages": []}, 400, "messages: List should have at least 1 item"),
        ({"messages": [{"content": "1"}]}, 400, "messages.0.role: Field required"),
        ({"messages": [{"role": "king", "content": "1"}]}, 400, "messages.0.role: Input should be 'system'"),
        ({"messages": None}, 400, "messages: Field required"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, 400, "text alone is read here, and a part is of type 'image_url'"),
        ({"n": 4}, 400, "n: this server can't do that"),
        ({"logprobs": True, "top_logprobs": 2}, 400, "logprobs: this server"),
        ({"logit_bias": {"5": 100}}, 400, "logit_bias: this server"),
        ({"presence_penalty": 0.5}, 400, "presence_penalty: this server"),
        ({"frequency_penalty": -2.0}, 400, "frequency_penalty: this server"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format: this server"),
        ({"stop": []}, 400, "stop: .*at least 1 item"),
        ({"stop": [""]}, 400, "stop.0: String should have at least 1 character"),
        ({"stop": {"a": 1}}, 400, "stop: Input should be a valid list"),
        ({"max_tokens": -1}, 400, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": 0}, 400, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": "9"}, 400, "max_tokens: Input should be a valid integer"),
        ({"max_completion_tokens": 1.5}, 400, "max_completion_tokens: Input should be a valid integer"),
        ({"temperature": -1}, 400, "temperature: Input should be greater than or equal to 0"),
        ({"temperature": True}, 400, "temperature: Input should be a valid number"),
        ({"top_p": 0}, 400, "top_p: Input should be greater than 0"),
        ({"seed": 1 << 70}, 400, "seed: Input should be less than"),
        ({"stream": "yes"}, 400, "stream: Input should be a valid boolean"),
        ({"model": ["calc"]}, 400, "model: Input should be a valid string"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused(url, fields, status, message):
    answer = httpx.post(f"{url}/chat/completions", json={"messages": ASKED, **fields}, timeout=30)
    assert answer.status_code == status
    assert re.search(message, answer.json()["error"]["message"])
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is no JSON"),
        (b"[]", "the body: "),
        (b"{", "the body is no JSON"),
        (b"\xff\xfe", "the body is no JSON"),
        (b"[" * 100_000, "the body is no JSON"),
        (b'{"seed": ' + b"9" * 10_000 + b"}", "the body is no JSON"),
        (b'{"messages": [{"role": "user", "content": "1"}], "temperature": NaN}', "the body is no JSON .*NaN is no number"),
        (b'{"messages": [{"role": "user", "content": "1"}], "temperature": 1e999}', "temperature: Input should be "),
        (rb'{"messages": [{"role": "user", "content": "\ud800"}]}', "the body holds half of a surrogate pair"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_request_is_refused(url, body, message):
    answer = httpx.post(f"{url}/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert re.search(message, answer.json()["error"]["message"])


def test_a_page_of_another_site_cannot_ask(url):
    """A browser sends plain text and forms to any site unasked; JSON only where that site agrees, which this doesn't."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = httpx.post(f"{url}/chat/completions", content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 415
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "neutral",
    [
        {"n": 1, "stop": None, "logit_bias": {}, "presence_penalty": 0, "frequency_penalty": 0.0, "logprobs": False},
        {"response_format": {"type": "text"}, "user": "me", "metadata": {"a": "b"}, "parallel_tool_calls": True},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": QUESTIONS[1][:20]}, {"type": "text", "text": QUESTIONS[1][20:]}]}]},
        {"temperature": 1e-320},  # as good as greedy, where a division would overflow
    ],
)  # fmt: skip
def test_fields_that_ask_for_nothing_change_nothing(url, neutral):
    def content(**fields):
        body = {"messages": ASKED, "temperature": 0, **fields}
        return httpx.post(f"{url}/chat/completions", json=body).json()["choices"][0]["message"]["content"]

    assert content(**neutral) == content()


def test_a_stop_string_ends_the_completion_and_is_not_in_it(client):
    whole = chat(client, QUESTIONS[1], temperature=0).choices[0].message.content
    before, stop, _ = whole.partition("er is")  # of two tokens
    (choice,) = chat(client, QUESTIONS[1], temperature=0, stop=["\n\nnever", stop]).choices
    assert (choice.message.content, choice.finish_reason) == (before, "stop")
    streamed = chat(client, QUESTIONS[1], temperature=0, stop=stop, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == before
    unmet = chat(client, QUESTIONS[1], temperature=0, stop=[whole[-2:] + "?"])  # held back to the end, then given
    assert unmet.choices[0].message.content == whole


def test_text_is_completed_as_it_stands(client, reasoner):
    prompt = reasoner.engine.render(reasoner.prompt(QUESTIONS[1]))
    done = client.completions.create(model="calc", prompt=prompt, temperature=0, max_tokens=96)
    assert done.choices[0].text == reasoner.solve(QUESTIONS[1]).completion
    assert (done.object, done.choices[0].finish_reason) == ("text_completion", "stop")
    streamed = client.completions.create(model="calc", prompt=prompt, temperature=0, max_tokens=96, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == done.choices[0].text
    nothing = client.completions.create(model="calc", prompt=prompt, max_tokens=0)
    assert (nothing.choices[0].text, nothing.choices[0].finish_reason, nothing.usage.completion_tokens) == (
        "",
        "length",
        0,
    )
    drawn = [client.completions.create(model="calc", prompt=prompt, seed=seed).usage for seed in range(4)]
    assert max(usage.completion_tokens for usage in drawn) == 16  # OpenAI's, where none is named
    for field in ({"n": 2}, {"logprobs": 0}, {"echo": True}, {"suffix": "x"}, {"best_of": 3}):
        with pytest.raises(openai.BadRequestError, match=f"{next(iter(field))}: this server can't do that"):
            client.completions.create(model="calc", prompt="1", **field)


def test_responses_are_those_of_chat_whole_and_in_events(client):
    expected = chat(client, QUESTIONS[1], temperature=0).choices[0].message.content
    whole = client.responses.create(model="calc", input=QUESTIONS[1], temperature=0)
    assert (whole.output_text, whole.status, whole.usage.total_tokens) == (expected, "completed", 57)
    asked = [{"role": "user", "content": [{"type": "input_text", "text": QUESTIONS[1]}]}]
    events = list(client.responses.create(model="calc", input=asked, temperature=0, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == expected
    kinds = [event.type.removeprefix("response.") for event in events if not event.type.endswith(".delta")]
    assert kinds == [
        "created", "in_progress", "output_item.added", "content_part.added",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert events[-1].response.output_text == expected
    cut = client.responses.create(model="calc", input=QUESTIONS[1], temperature=0, max_output_tokens=3)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    for field in ({"previous_response_id": "resp_1"}, {"tools": [{"type": "web_search"}]}, {"background": True}):
        with pytest.raises(openai.BadRequestError, match=f"{next(iter(field))}: this server can't do that"):
            client.responses.create(model="calc", input="1", **field)


def test_a_stream_ends_with_done_and_tells_usage_when_asked(url, client):
    body = {"messages": ASKED, "temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
    lines = [line for line in httpx.post(f"{url}/chat/completions", json=body).text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert json.loads(lines[-2].removeprefix("data: "))["usage"]["total_tokens"] == 57
    with client.chat.completions.stream(
        model="calc", messages=ASKED, temperature=0
    ) as stream:  # the client's own reader
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].finish_reason == "stop"


TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}]  # fmt: skip


def test_a_tool_call_is_told_from_the_text_that_a_model_writes_for_it(url, client, monkeypatch):
    """Qwen2's form of a call, in a completion that is put in the place of the model's own."""
    from smolmath.engines import Completion
    from smolmath.using.serving.writing import Writer

    text = 'I add.\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    monkeypatch.setattr(Writer, "_complete", lambda *_: Completion(text, "stop", 9))
    (choice,) = chat(client, "add", tools=TOOLS, tool_choice="required").choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "I add.")
    assert [(call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [
        ("add", '{"a": 1}')
    ]
    with client.chat.completions.stream(model="calc", messages=ASKED, tools=TOOLS) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.tool_calls[0].function.name == "add"
    assert chat(client, "add", tools=TOOLS, tool_choice="none").choices[0].message.content == text


def test_requests_at_once_have_generators_of_their_own(reasoner, url):
    """Eight at once, four seeds twice: as solve draws them one after the other."""
    seeds = [0, 1, 2, 3, 0, 1, 2, 3]
    body = {"messages": ASKED, "temperature": 1.0}
    with ThreadPoolExecutor(len(seeds)) as pool:
        answers = pool.map(
            lambda seed: httpx.post(f"{url}/chat/completions", json=body | {"seed": seed}, timeout=60), seeds
        )
        texts = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert texts == [reasoner.solve(QUESTIONS[1], temperature=1.0, seed=seed).completion for seed in seeds]


def test_requests_that_nobody_waits_for_are_dropped(url, client, reasoner, monkeypatch):
    """Half of fifty clients go away, streaming or not, first in the queue or not; the model writes for the others alone."""
    from smolmath.using.serving.writing import Writer

    begun, go, written = threading.Event(), threading.Event(), []
    complete = Writer._complete

    def slow(self, prompt, sampling, stop, put):
        begun.set()
        go.wait(60)
        done = complete(self, prompt, sampling, stop, put)
        written.append(sampling.seed)
        return done

    monkeypatch.setattr(Writer, "_complete", slow)
    answers = asyncio.run(_half_leave(url, begun, go))
    assert sorted(written) == list(range(25, 50))
    for seed in (25, 37, 49):  # each as if it had been asked alone
        alone = reasoner.solve(QUESTIONS[1], temperature=1.0, seed=seed).completion
        assert answers[seed].json()["choices"][0]["message"]["content"] == alone


async def _half_leave(url, begun, go):
    body = {"messages": ASKED, "temperature": 1.0}
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=60)) as client:

        async def ask(seed):
            return await client.post(f"{url}/chat/completions", json=body | {"seed": seed, "stream": seed % 2 == 0})

        leaving = [asyncio.create_task(ask(seed)) for seed in range(25)]
        await asyncio.to_thread(begun.wait, 60)
        staying = [asyncio.create_task(ask(seed)) for seed in range(25, 50)]
        await asyncio.sleep(0.5)  # all are there
        for task in leaving:
            task.cancel()
        await asyncio.wait(leaving)
        assert (await client.get(f"{url[:-3]}/health")).status_code == 200  # what was closed has been seen by now
        go.set()
        answers = await asyncio.gather(*staying)
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers[1::2])  # those that are streamed
    return dict(zip(range(25, 50), answers, strict=True))


def test_whatever_is_being_read_health_is_answered(url, monkeypatch):
    """And so is what comes after: a body is parsed, rendered and counted in a thread of its own."""
    from smolmath.using.serving.writing import Writer

    begun, go, read = threading.Event(), threading.Event(), Writer._read

    def slow(*arguments):
        begun.set()
        assert go.wait(60)
        return read(*arguments)

    monkeypatch.setattr(Writer, "_read", slow)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            httpx.post, f"{url}/chat/completions", json={"messages": ASKED, "max_tokens": 1}, timeout=60
        )
        assert begun.wait(60)
        assert httpx.get(f"{url[:-3]}/health", timeout=30).json() == {"status": "ok"}
        go.set()
        assert asked.result().status_code == 200


def test_too_many_at_once_are_told_to_come_again(url, monkeypatch):
    monkeypatch.setattr("smolmath.using.serving.writing.MOST_HERE", 0)
    answer = httpx.post(f"{url}/chat/completions", json={"messages": ASKED})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit")


def test_a_model_that_fails_is_told_in_the_same_form(url, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr("smolmath.engines.transformers.TransformersEngine.generate", fails)
    answer = httpx.post(f"{url}/chat/completions", json={"messages": ASKED})
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "the model failed: CUDA out of memory."
    stream = httpx.post(f"{url}/chat/completions", json={"messages": ASKED, "stream": True})
    assert json.loads(stream.text.split("data: ")[-1])["error"]["type"] == "server_error"


def test_a_completion_ends_with_the_context(client):
    # 3 tokens a term: some 460 of 512 are taken by the question; the server's default limit is 1,024.
    question = "1 + " * 150
    answer = chat(client, question, temperature=2.0, seed=3)
    assert answer.usage.total_tokens <= 512


@pytest.mark.parametrize(
    ("asked", "served"), [(str(ROOT / CALC), "calc"), (CALC, CALC), (f"../{ROOT.name}/{CALC}", "calc")]
)
def test_no_path_of_this_machine_is_the_name_of_a_served_model(monkeypatch, asked, served):
    monkeypatch.chdir(ROOT)
    found = find_model(asked, read_params(ROOT / "recipes" / "demo.yaml"))
    assert found.public_name == served
    command = vllm_command(found, HardwareParams(**read_params(ROOT / "recipes" / "demo.yaml")["hardware"]), "::1", 1)
    assert command[command.index("--served-model-name") + 1] == served


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


STRANGE = [
    None, True, -1, 0, 1, 3, 0.5, 1e308, -1e-320, 1 << 80, "", "x", "\u202e\x00", "é" * 400, [], [[]], {}, {"a": [1]},
    [None], "{% for a in range(9) %}{% endfor %}", [{"type": "text", "text": "1"}], [{"role": "user", "content": "2"}],
]  # fmt: skip
FIELDS = [
    "messages", "prompt", "input", "model", "temperature", "top_p", "seed", "stop", "max_tokens", "stream", "n", "tools",
    "max_completion_tokens", "stream_options", "logit_bias", "logprobs", "chat_template_kwargs", "generation_config",
    "chat_template", "tool_choice", "instructions", "max_output_tokens", "documents", "continue_final_message",
]  # fmt: skip


def stranger(random):
    """A body that somebody may send: mostly a good one with a few fields gone strange, else bytes, else a large one."""
    asked = random.choice(QUESTIONS)
    body = {
        "chat/completions": {"messages": [{"role": "user", "content": asked}], "max_tokens": random.choice([1, 8])},
        "completions": {"prompt": asked, "max_tokens": random.choice([0, 4])},
        "responses": {"input": asked, "max_output_tokens": 4},
    }
    path = random.choice([*body])
    body = body[path] | {"stream": random.random() < 0.3}
    kind = random.random()
    if kind < 0.1:
        return path, random.randbytes(random.choice([0, 1, 100, 5_000]))
    if kind < 0.2:
        large = random.choice([1_000, 50_000, 900_000, 3_000_000])
        return path, json.dumps(
            body | {random.choice([*body]): random.choice(["1 + ", "[", "é", "\x00"]) * large}
        ).encode()
    for _ in range(random.choice([0, 1, 1, 2, 3])):
        body[random.choice(FIELDS)] = random.choice(STRANGE)
    whole = json.dumps(body, allow_nan=True).encode()
    return path, whole[: random.randrange(len(whole))] if random.random() < 0.05 else whole


@pytest.mark.slow
def test_two_thousand_requests_of_strangers_do_no_harm():
    """No 5xx, no traceback, /health at once throughout, no growth from the first thousand to the second."""
    command = [sys.executable, "-u", "-m", "smolmath.cli", "serve", "--model", CALC, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            server.stdout.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+/v1", server.stdout.readline())[0]
            log = []
            reader = threading.Thread(target=lambda: log.extend(server.stdout))
            reader.start()
            statuses, worst, sizes = asyncio.run(_strangers(url, psutil.Process(server.pid)))
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
            reader.join()
    # No timed assertion: on two cores with other work the slowest /health took 0.24 s.
    print(statuses, f"slowest /health {worst:.3f} s", [f"{size >> 20} MB" for size in sizes])
    assert max(status for status in statuses if isinstance(status, int)) < 500
    assert statuses[200] > 300
    assert statuses[400] > 300
    assert statuses["left"] > 100
    assert "Traceback" not in "".join(log)
    assert sizes[1] - sizes[0] < 64 << 20


async def _strangers(url, server):
    statuses, slowest, sizes, done = Counter(), [0.0], [], asyncio.Event()

    async def one(client, random):
        path, body = stranger(random)
        limit = 0.02 if random.random() < 0.15 else 300
        try:
            async with asyncio.timeout(limit):
                headers = {"Content-Type": "application/json"}
                answer = await client.post(f"{url}/{path}", content=body, headers=headers, timeout=300)
                statuses[answer.status_code] += 1
        except TimeoutError:
            statuses["left"] += 1
        except httpx.TransportError:  # refused while its large body was still being sent
            statuses["refused amid its body"] += 1

    async def watch(client):
        while not done.is_set():
            before = time.perf_counter()
            assert (await client.get(f"{url[:-3]}/health", timeout=300)).status_code == 200
            slowest[0] = max(slowest[0], time.perf_counter() - before)
            await asyncio.sleep(0.05)

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=64)) as client, httpx.AsyncClient() as watcher:
        watching = asyncio.create_task(watch(watcher))
        for thousand in range(2):
            for hundred in range(10):
                seeds = range(1000 * thousand + 100 * hundred, 1000 * thousand + 100 * hundred + 100)
                await asyncio.gather(*(one(client, Random(seed)) for seed in seeds))
            sizes.append(server.memory_info().rss)
        done.set()
        await watching
    return statuses, slowest[0], sizes


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
