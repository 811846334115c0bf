"""The real vLLM server on a CPU (make test-vllm): `vllm serve models/x` answers as evaluation had the model answer."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import httpx
import pytest

from smolmath.engines import Sampling, load_engine
from smolmath.errors import StageError
from smolmath.params.core import read_params
from smolmath.prompts import chat_prompt, with_default_system
from smolmath.training.grpo.server import refuse_server
from smolmath.using.serving import vllm, web
from smolmath.using.solving.models import find_model
from tests.conftest import ROOT
from tests.test_training import HARDWARE

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),  # vLLM's and its dependencies' own, which are not ours to mend
]
QUESTIONS = [
    f"State the final answer to the following arithmetic problem: {a} + {b} - {c} ="
    for a, b, c in [(1, 2, 3), (7, 8, 9), (9, 9, 1), (3, 0, 8)]
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A directory as training leaves it: the system prompt in the chat template, end tokens in the generation config."""
    params = read_params(ROOT / "recipes" / "demo.yaml")
    folder = tmp_path_factory.mktemp("models") / "sums"
    shutil.copytree(ROOT / "bases" / "calc", folder, ignore=shutil.ignore_patterns("make.py", "settings.yaml"))
    template = folder / "chat_template.jinja"
    template.write_text(with_default_system(template.read_text(), params["prompt"]["system"]))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2], "pad_token_id": 0}))
    return find_model(str(folder), params)


@pytest.fixture(scope="module")
def url(model):
    pytest.importorskip("vllm", reason="the vLLM environment is made by `make test-vllm`")
    with web.listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    command = vllm.vllm_command(model, HARDWARE.model_copy(update={"gpu_memory": 0.1}), "127.0.0.1", port)
    assert "--chat-template" not in command  # the model brings it
    # The CPU build's `vllm` program looks for a package of another name than its own; this is what its `serve` runs.
    server_module = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model"]
    eager = ["--enforce-eager"]  # compiling costs minutes on a CPU
    weights = [
        "--logprobs-mode",
        "processed_logprobs",
        "--weight-transfer-config",
        '{"backend": "nccl"}',
    ]  # as one that a training sends its weights to
    server = subprocess.Popen(
        [*server_module, *command[2:], *eager, *weights],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_SERVER_DEV_MODE": "1"},
    )
    try:
        deadline = time.monotonic() + 300
        while True:
            assert server.poll() is None, "vllm serve has ended"
            assert time.monotonic() < deadline
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def test_a_chat_without_a_system_message_gets_the_text_of_evaluation(model, url):
    plain = load_engine(model.folder, dtype="float32", hardware=HARDWARE)
    greedy = Sampling(temperature=0.0, top_p=1.0, samples=1, max_completion_tokens=96, seed=0)
    expected = plain.generate([chat_prompt(question, model.prompt) for question in QUESTIONS], greedy)
    for question, (completion,) in zip(QUESTIONS, expected, strict=True):
        body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 96}
        answer = httpx.post(f"{url}/chat/completions", json={**body, "model": model.public_name}, timeout=60).json()
        (choice,) = answer["choices"]
        assert choice["message"]["content"] == completion.text
        assert choice["finish_reason"] == completion.finish_reason == "stop"
        assert answer["usage"]["completion_tokens"] == completion.tokens


def test_a_request_that_names_no_temperature_samples_at_one(model, url):
    body = {"model": model.public_name, "messages": [{"role": "user", "content": QUESTIONS[1]}], "n": 8, "seed": 1}
    drawn = [
        [choice["message"]["content"] for choice in httpx.post(f"{url}/chat/completions", json=one, timeout=60).json()["choices"]]
        for one in (body, {**body, "temperature": 1.0, "top_p": 1.0})
    ]  # fmt: skip
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 1


def test_a_training_knows_its_server_from_another_models(model, url, tmp_path, monkeypatch):
    monkeypatch.setattr("smolmath.training.grpo.server.TIMEOUT_S", 120)  # beside other tests a CPU answers late
    address = url.removesuffix("/v1")
    refuse_server(address, model.folder, "float32")
    other = shutil.copytree(model.folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with pytest.raises(StageError, match=r"another model than .*other: its num_hidden_layers is \d, not 2"):
        refuse_server(address, other, "float32")
    with pytest.raises(StageError, match="computes in float32, and the training in bfloat16"):
        refuse_server(address, model.folder, "bfloat16")
