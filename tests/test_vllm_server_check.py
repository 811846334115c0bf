"""What is said of a vLLM server that can't generate for a phase; the server is a stand-in on loopback.

tests/test_vllm.py asks a real one (make test-vllm).
"""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from smolmath.errors import StageError
from smolmath.training.grpo.server import refuse_server
from tests.conftest import ROOT

INFO = "/server_info?config_format=json"
CONFIG = {
    "weight_transfer_config": {"backend": "nccl"},
    "model_config": {"logprobs_mode": "processed_logprobs", "dtype": "torch.float32"},
}
READY = {"vllm_config": CONFIG}


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "models" / "base"
    shutil.copytree(ROOT / "bases" / "calc", folder)
    return folder


@pytest.fixture
def serve():
    """Start a server whose pages are given; its address."""
    running = []

    def start(pages):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                found = pages.get(self.path)
                status = found if isinstance(found, int) else 200 if found is not None else 404
                self.send_response(status)
                self.end_headers()
                if status == 200:
                    self.wfile.write(found.encode() if isinstance(found, str) else json.dumps(found).encode())

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def serving(folder, info=READY):
    return {"/v1/models": {"data": [{"id": "any", "root": str(folder)}]}, INFO: info}


def served_as(**model_config):
    return {INFO: {"vllm_config": CONFIG | {"model_config": model_config}}}


def test_a_server_of_the_same_shape_will_do(serve, model, tmp_path):
    refuse_server(serve(serving(model)), model, "float32")
    later = shutil.copytree(model, tmp_path / "models" / "sums")  # a later phase: other weights, the same shapes
    refuse_server(serve(serving(model)), later, "float32")


def test_no_server():
    with pytest.raises(
        StageError, match=r"no vLLM server answers at http://127.0.0.1:9 \(.*refused.*Start it, and wait"
    ):
        refuse_server("http://127.0.0.1:9", ROOT / "bases" / "calc", "float32")


def test_another_model(serve, model, tmp_path):
    other = shutil.copytree(model, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 7}))
    with pytest.raises(StageError, match=r"another model than .*base: its num_hidden_layers is 7, not \d"):
        refuse_server(serve(serving(other)), model, "float32")


def test_another_tokenizer(serve, model, tmp_path):
    other = shutil.copytree(model, tmp_path / "other")
    (other / "tokenizer.json").write_text("{}")
    with pytest.raises(StageError, match="has another tokenizer than"):
        refuse_server(serve(serving(other)), model, "float32")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"/v1/models": {"data": [{"id": "Qwen/Qwen2.5-7B"}]}}, "serves Qwen/Qwen2.5-7B, which is no folder here"),
        ({"/v1/models": "<html>"}, "no vLLM server answers"),
        ({"/v1/models": {"hello": 1}}, "is no vLLM server. Start one"),
        ({"/v1/models": None}, "is no vLLM server. Start one"),
        ({"/v1/models": 503}, "answers 503"),
        ({INFO: None}, "takes no weights. Start it so: VLLM_SERVER_DEV_MODE=1 vllm serve"),
        ({INFO: {"vllm_config": {"weight_transfer_config": None}}}, "has no engine to take weights by"),
        (
            served_as(logprobs_mode="raw_logprobs", dtype="torch.float32"),
            "reports raw_logprobs, not the probabilities that it samples by",
        ),
        (
            served_as(logprobs_mode="processed_logprobs", dtype="torch.bfloat16"),
            "computes in bfloat16, and the training in float32 (model.dtype)",
        ),
    ],
)
def test_what_is_wrong_with_a_server_is_said(serve, model, change, said):
    with pytest.raises(StageError) as told:
        refuse_server(serve(serving(model) | change), model, "float32")
    assert said in str(told.value)
    start = f"vllm serve {model} --dtype float32 --logprobs-mode processed_logprobs --weight-transfer-config "
    assert start + '\'{"backend": "nccl"}\'' in str(told.value) or "503" in said
