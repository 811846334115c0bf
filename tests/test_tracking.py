"""W&B tracking with the real wandb, offline: what lies on disk is read back record by record."""

import contextlib
import http.server
import importlib.util
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from smolmath.params.core import read_params
from smolmath.records import COMPLETIONS, PROBLEMS, write_table
from smolmath.running.tracking import Tracker
from smolmath.running.tracking_config import evaluation_config, run_config
from smolmath.training.phase.curves import COLUMNS
from tests.conftest import ROOT, new_project

KEY = "0123456789abcdef" * 3  # the form of a key, and nobody's

# A stage's training loop reduced to what it tells the tracker. Arguments: mode, run id, and what happens.
TRAINING = f"""
import os, signal, sys, time
from pathlib import Path
from smolmath.params.core import load_section, read_params
from smolmath.running.params import TrackingParams
from smolmath.errors import StageError
from smolmath.running.tracking import tracked

mode, run_id, what = sys.argv[1:]
settings = {{"wandb": mode, "project": "maths", "group": None, "tags": ["a", "b"]}}
params = load_section(read_params(Path({str(ROOT / "recipes" / "demo.yaml")!r})), "tracking", TrackingParams)
params = params.model_copy(update=settings)
try:
    with tracked(
        params,
        run_id=run_id,
        name="sums",
        job_type="train",
        phases=["sums", "legs"],
        config={{"grpo": {{"learning_rate": 0.5}}}},
        folder=Path("main"),
    ) as tracker:
        if what == "nothing":
            assert tracker is None and "wandb" not in sys.modules
            raise SystemExit
        if what == "early error":
            raise StageError("stopped")
        start = 1
        if what == "resume":
            tracker.resume([{{"step": step, "loss": 1 / step, "kl": None}} for step in range(1, 6)])
            start = 6
        for step in range(start, 11):
            tracker.log(step, {{"loss": 1 / step, "kl": None}})
            if step == 7 and what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if step == 7 and what == "service gone":
                import psutil
                children = psutil.Process().children(recursive=True)
                [child.kill() for child in children]
                psutil.wait_procs(children, timeout=10)
            if step == 7 and what == "error":
                raise StageError("stopped")
            if step == 7 and what == "interrupt":
                raise KeyboardInterrupt
        tracker.table("completions", 10, [{{"prompt": "2 + 2", "reward": 1.0}}, {{"prompt": None, "reward": 0}}])
        tracker.summary({{"accuracy": 0.75, "seconds_train": 12.5}})
except StageError as error:
    print("StageError:", error)
    raise SystemExit(3)
print("trained")
"""


def environment(folder: Path, **extra: str) -> dict[str, str]:
    """Without this machine's W&B settings and logins; what wandb caches lies under `folder` too."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "DVC_", "NETRC"))}
    return clean | {"HOME": str(folder), "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(ROOT / "src"), **extra}


def train(folder: Path, mode: str, what: str, run_id: str = "f00d", **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", TRAINING, mode, run_id, what],
        cwd=folder, env=environment(folder, **extra), capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def folders(folder: Path) -> list[Path]:
    return sorted(folder.glob("main/wandb/offline-run-*"))


def records(folder: Path) -> list:
    """Every record of the run's .wandb file: a header of 7 bytes, then LevelDB's log format in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("run-*.wandb")
    data, position, parts, found = file.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, length, part = struct.unpack("<IHB", data[position : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if part in (1, 4):
            found.append(Record.FromString(parts))
            parts = b""
    return found


def history(found: list) -> list[dict]:
    return [
        {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in found
        if record.WhichOneof("record_type") == "history"
    ]


def summary(found: list) -> dict:
    items = [item for record in found for item in record.summary.update]
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def config(found: list) -> dict:
    (run,) = (record.run for record in found if record.WhichOneof("record_type") == "run")
    return {item.key: json.loads(item.value_json) for item in run.config.update}


def exit_code(found: list) -> int:
    (code,) = (record.exit.exit_code for record in found if record.WhichOneof("record_type") == "exit")
    return code


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """Trained to step 7, killed, resumed from the checkpoint of step 5, ended well; with its output."""
    folder = tmp_path_factory.mktemp("resumed")
    killed = train(folder, "offline", "kill", WANDB_API_KEY=KEY)
    assert killed.returncode == -9, killed.stderr
    before = folders(folder)
    done = train(folder, "offline", "resume", WANDB_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    return folder, before, done


def test_a_run_that_was_killed_and_resumed_offline_is_one_folder_with_every_step_once(resumed):
    folder, before, done = resumed
    (run,) = folders(folder)
    assert before != [run]
    rows = history(records(run))
    assert [row["_step"] for row in rows] == list(range(1, 11))
    assert [row["loss"] for row in rows] == [1 / step for step in range(1, 11)]
    assert not any("kl" in row for row in rows)
    assert f"W&B: {before[0].name} removed: {run.name} holds the run from its first step on." in done.stderr


def test_the_run_carries_id_name_group_tags_job_type_and_config(resumed):
    folder, _, _ = resumed
    found = records(folders(folder)[0])
    (run,) = (record.run for record in found if record.WhichOneof("record_type") == "run")
    assert (run.run_id, run.project, run.display_name, run.job_type) == ("f00d", "maths", "sums", "train")
    assert run.run_group == "sums-legs"
    assert list(run.tags) == ["a", "b"]
    assert config(found)["grpo"] == {"learning_rate": 0.5}
    assert exit_code(found) == 0


def test_a_table_and_the_summary_can_be_read_back(resumed):
    folder, _, _ = resumed
    (run,) = folders(folder)
    (table,) = run.rglob("completions_10_*.table.json")
    assert json.loads(table.read_text()) == {"columns": ["prompt", "reward"], "data": [["2 + 2", 1.0], [None, 0]]}
    found = records(run)
    assert history(found)[-1]["completions.path"] == table.relative_to(run / "files").as_posix()
    assert summary(found)["accuracy"] == 0.75
    assert summary(found)["seconds_train"] == 12.5


def test_no_file_holds_a_key_and_no_uploaded_one_the_host_or_a_path(resumed):
    folder, _, done = resumed
    assert KEY not in done.stdout + done.stderr
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    (run,) = folders(folder)
    # A table's record says where `wandb sync` finds its file on this machine; the address itself is not sent.
    sent = [r.SerializeToString() for r in records(run) if r.WhichOneof("record_type") != "artifact"]
    sent += [path.read_bytes() for path in (run / "files").rglob("*") if path.is_file()]
    for private in (str(folder), str(ROOT), socket.gethostname()):
        # As a word: a host of two letters is found within any name or digest.
        word = re.compile(rb"(?<!\w)" + re.escape(private.encode()) + rb"(?!\w)")
        assert not [content for content in sent if word.search(content)], private


@pytest.mark.parametrize(("what", "code"), [("error", 3), ("interrupt", 1)])
def test_an_error_in_the_body_ends_the_run_as_failed_with_the_rows_it_has(tmp_path, what, code):
    done = train(tmp_path, "offline", what)
    assert done.returncode in (code, -2), done.stderr  # -2: Python ends itself by SIGINT
    (run,) = folders(tmp_path)
    assert exit_code(records(run)) == 1
    assert [row["_step"] for row in history(records(run))] == list(range(1, 8))


def test_a_process_that_fails_before_it_takes_the_history_over_removes_no_earlier_folder(tmp_path):
    train(tmp_path, "offline", "error")
    before = folders(tmp_path)
    assert train(tmp_path, "offline", "early error").returncode == 3
    assert set(before) < set(folders(tmp_path))


def test_a_folder_that_a_full_disk_cut_off_replaces_no_other(resumed, tmp_path):
    from smolmath.running.tracking import _is_whole

    (file,) = folders(resumed[0])[0].glob("*.wandb")
    assert _is_whole(file)
    whole = file.read_bytes()
    for length in (7, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.wandb").write_bytes(whole[:length])
        assert not _is_whole(tmp_path / "cut.wandb"), length


def test_wandb_failing_in_mid_run_costs_one_line_and_no_training(tmp_path):
    done = train(tmp_path, "offline", "service gone")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("trained")
    failed = [line for line in done.stderr.splitlines() if "this stage goes on without it" in line]
    assert len(failed) == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_online_without_a_login_says_what_to_do_and_asks_nothing_even_on_a_terminal(tmp_path):
    main, terminal = pty.openpty()  # on which wandb would ask for a key and wait
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING, "online", "f00d", "train"],
        cwd=tmp_path, env=environment(tmp_path, TERM="xterm"), stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    deadline = threading.Timer(60, process.kill)
    deadline.start()
    printed = b""
    with contextlib.suppress(OSError):  # how a terminal ends that nobody writes to any more
        while chunk := os.read(main, 65536):
            printed += chunk
            if b"Enter your choice" in printed:
                process.kill()
    code = process.wait()
    deadline.cancel()
    os.close(main)
    assert code == 3, printed.decode()
    assert b"StageError: tracking.wandb is online, and W&B refuses" in printed
    assert b"Run `wandb login` or set WANDB_API_KEY; or set tracking.wandb: offline in params.yaml" in printed


class Refusing(http.server.BaseHTTPRequestHandler):
    """A W&B server that knows nobody."""

    def do_POST(self):
        body = b'{"errors": [{"message": "user is not logged in"}]}'
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_key_that_the_server_refuses_stops_at_the_start_and_is_not_shown(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        done = train(tmp_path, "online", "train", WANDB_API_KEY=KEY, WANDB_BASE_URL=url)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 3, done.stderr
    assert "error 401" in done.stdout
    assert "Run `wandb login`" in done.stdout
    assert KEY not in done.stdout + done.stderr


def test_with_tracking_disabled_wandb_is_not_imported(tmp_path):
    done = train(tmp_path, "disabled", "nothing")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "main").exists()


class OnlineRun:
    """What a Tracker uses of a W&B run that the server knows up to step `last`."""

    offline = False

    def __init__(self, last: int) -> None:
        self.starting_step = last + 1
        self.settings = type("Settings", (), {"sync_dir": "wandb/run-x"})
        self.rows: list[int] = []

    def log(self, row, step):
        self.rows.append(step)


@pytest.mark.parametrize(
    ("last", "checkpoint", "expected"),
    [
        (7, 5, [8, 9, 10]),  # killed after step 7, trained again from 6: the server has 6 and 7
        (3, 5, [4, 5, 6, 7, 8, 9, 10]),  # the kill came before 4 and 5 were sent: the history has them
        (-1, 0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),  # a new run
    ],
)
def test_online_the_server_gets_each_step_once_and_no_gap(last, checkpoint, expected):
    run = OnlineRun(last)
    tracker = Tracker(run)
    tracker.resume([{"step": step, "loss": 1.0} for step in range(1, checkpoint + 1)])
    for step in range(checkpoint + 1, 11):
        tracker.log(step, {"loss": 1.0})
    assert run.rows == expected


@pytest.fixture
def params():
    return read_params(ROOT / "recipes" / "demo.yaml")


def test_a_trainings_config_names_what_it_was_trained_on_and_from(params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params["difficulty"] = {"rated": {"dataset": "sums", "model": "base"}}
    params["phases"]["sums"]["dataset"] = "rated"
    (tmp_path / "data" / "raw" / "sums").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "sums" / "manifest.json").write_text('{"revision": "abc123"}')
    made = run_config(params, phase="sums", fingerprint="f00d")
    assert made["phase"] == "sums"
    assert made["grpo"] == params["phases"]["sums"]["grpo"]
    assert (made["dataset"], made["difficulty_entry"]["model"]) == ("rated", "base")
    assert made["dataset_entry"] == params["datasets"]["sums"]
    assert made["dataset_revision"] == "abc123"
    assert made["base_model"] == params["model"]
    assert (made["seed"], made["fingerprint"], made["git_commit"]) == (1, "f00d", None)  # tmp_path is no repository


def test_a_config_holds_the_commit_and_no_absolute_path(params):
    params["model"] = {"source": "files", "path": "/secret/place/model", "dtype": "float32"}
    params["datasets"]["sums"] = {"source": "files", "path": "~/secret/rows", "sides": {"test": "a/*.jsonl"}}
    made = evaluation_config(params, model="base", dataset="sums", fingerprint="f00d")
    assert "secret" not in json.dumps(made)
    assert made["base_model"]["path"] == "model"
    assert made["dataset_entry"] == {"source": "files", "path": "rows", "sides": {"test": "a/*.jsonl"}}
    assert (made["model"], made["dataset"], made["sampling"]) == ("base", "sums", params["evaluate"]["sampling"])
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert made["git_commit"] == (head.strip() or None)


def test_an_evaluation_joins_the_group_and_carries_its_metrics(tmp_path):
    project = new_project(tmp_path / "project", git=False, served=False)
    project.params(lambda params: params["tracking"].update(wandb="offline"))
    problems = [
        {name: None for name in PROBLEMS.names}
        | {
            "id": f"p{n}",
            "dataset": "sums",
            "question": "1 + 1",
            "reference_answer": "2",
            "source": "made",
            "raw_file": "rows.jsonl",
            "raw_row": n,
        }
        for n in range(2)
    ]
    answers = [
        {
            "problem_id": f"p{n}",
            "sample": 0,
            "prompt": "1 + 1",
            "completion": f"<answer>{n + 1}</answer>",
            "finish_reason": "stop",
            "tokens": 3,
        }
        for n in range(2)
    ]
    (project.folder / "data/split/sums").mkdir(parents=True)
    (project.folder / "results/completions/base").mkdir(parents=True)
    write_table(project.folder / "data/split/sums/test.parquet", problems, PROBLEMS)
    write_table(project.folder / "results/completions/base/sums.parquet", answers, COMPLETIONS)
    project.run(
        sys.executable, "stages/evaluate.py", "--model", "base", "--dataset", "sums",
        "--completions", "results/completions/base/sums.parquet", "--split", "data/split/sums",
        "--verdicts", "results/verdicts/base/sums.parquet", "--metrics", "metrics/eval/base/sums.json",
        **environment(tmp_path, PYTHONPATH="src"),
    )  # fmt: skip
    metrics = json.loads(project.read("metrics/eval/base/sums.json"))
    assert metrics["accuracy"] == 0.5  # p0 answers 1, p1 answers 2
    (run,) = project.folder.glob("wandb/offline-run-*")
    found = records(run)
    numbers = {name: value for name, value in metrics.items() if not isinstance(value, list)}  # W&B has no list there
    assert {name: value for name, value in summary(found).items() if name in metrics} == numbers
    assert "accuracy_low" in numbers
    (record,) = (record.run for record in found if record.WhichOneof("record_type") == "run")
    assert (record.display_name, record.job_type, record.run_group) == ("base on sums", "evaluate", "sums-legs")
    (journal,) = (project.folder / "journal" / "evaluate@base-sums").iterdir()
    assert record.run_id == journal.stem
    assert config(found)["sampling"]["temperature"] == 1.0


def dashboard_tool():
    spec = importlib.util.spec_from_file_location("wandb_dashboard", ROOT / "tools" / "wandb_dashboard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COST = {"tokens_per_s", "seconds_generate", "seconds_grade", "seconds_train", "memory_mb"}  # in no curve: they vary


def test_every_panel_of_the_dashboard_shows_a_value_that_is_logged(params):
    tool = dashboard_tool()
    shown = {metric for metrics in tool.TRAINING.values() for metric in metrics}
    assert shown - set(COLUMNS.values()) == COST
    assert tool.reward_parts(params)[:2] == ["reward_correctness", "reward_integer"]


def test_the_dashboard_is_built_without_a_network(tmp_path):
    if importlib.util.find_spec("wandb_workspaces") is None:
        pytest.skip("wandb-workspaces is not installed (extra dashboard)")
    (tmp_path / "params.yaml").write_bytes((ROOT / "recipes" / "demo.yaml").read_bytes())
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "wandb_dashboard.py"), "--entity", "team", "--dry-run"],
        cwd=tmp_path, env=environment(tmp_path) | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    section = json.loads(done.stdout)["spec"]["section"]
    metrics = {
        s["name"]: [panel["config"]["metrics"][0] for panel in s["panels"]]
        for s in section["panelBankConfig"]["sections"]
    }
    assert list(metrics) == ["reward", "health", "validation", "cost", "evaluation"]
    assert metrics["reward"][:3] == ["reward", "reward_std", "reward_correctness"]
    assert set(metrics["cost"]) == COST
    assert "accuracy" in metrics["evaluation"][0]
    (chosen,) = section["runSets"][0]["filters"]["filters"]
    assert (chosen["key"]["name"], chosen["op"], chosen["value"]) == ("group", "=", "sums-legs")
