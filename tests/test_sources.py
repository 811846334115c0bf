"""Where rows come from: generators and a hub on loopback, by the hub's own client."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smolmath.commands.proposal import propose
from smolmath.errors import StageError
from smolmath.params.core import read_params
from smolmath.params.datasets import ReasoningGymDataset
from smolmath.running.graph import load_stages
from tests.conftest import ROOT
from tests.fake_hub import COMMIT, Hub, serving

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")  # one of reasoning-gym's own dependencies


def generated(tmp_path, name="out", **fields):
    from smolmath.data.sources import reasoning_gym

    (tmp_path / name).mkdir()
    params = ReasoningGymDataset(source="reasoning_gym", seed=1, **fields)
    manifest = reasoning_gym.fetch(params, tmp_path / name, tmp_path)
    lines = (tmp_path / name / manifest["files"][0]["path"]).read_text().splitlines()
    return [json.loads(line) for line in lines]


MIX = {"datasets": [{"name": "chain_sum", "weight": 3, "config": {"max_terms": 3}}, {"name": "leg_counting"}]}


def test_a_mix_of_tasks_has_about_the_asked_shares_and_more_rows_move_none(tmp_path):
    rows = generated(tmp_path, task="composite", rows=400, options=MIX)
    sums = sum(row["metadata"]["source_dataset"] == "chain_sum" for row in rows)
    assert sums == pytest.approx(300, abs=44)  # five standard deviations of a binomial (400, 0.75)
    assert generated(tmp_path, "more", task="composite", rows=500, options=MIX)[:400] == rows


def test_templates_whose_answers_are_wrong_are_passed_over(tmp_path):
    from smolmath.data.sources.reasoning_gym import WRONG_TEMPLATES, reasoning_gym

    rows = generated(tmp_path, task="gsm_symbolic", rows=300, options={})
    dataset = reasoning_gym.create_dataset("gsm_symbolic", seed=1, size=600)
    templates = [dataset.task_indices[row["metadata"]["source_index"]] for row in rows]
    assert len(rows) == 300
    assert not WRONG_TEMPLATES & set(templates)
    assert WRONG_TEMPLATES & set(dataset.task_indices)
    mixed = generated(tmp_path, "mixed", task="composite", rows=100, options={"datasets": [{"name": "gsm_symbolic"}]})
    assert len(mixed) == 100


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("chain_summ", {}, "has no task 'chain_summ'. Did you mean 'chain_sum'?"),
        ("chain_sum", {"terms": 3}, "Its options: allow_negation, max_digits, max_terms, min_digits, min_terms"),
        ("simple_geometry", {}, "has wrong reference answers"),
        ("composite", {}, "takes options: {datasets: [{name: chain_sum"),
        ("composite", {"datasets": [{"name": "chain_summ"}]}, "Did you mean 'chain_sum'?"),
        ("composite", {"datasets": [{"name": "simple_geometry"}]}, "has wrong reference answers"),
        (
            "composite",
            {"datasets": [{"name": "chain_sum", "wieght": 1}]},
            "wieght is unknown. Allowed: config, name, weight",
        ),
    ],
)
def test_a_task_that_cannot_be_had_is_one_clear_error(tmp_path, task, options, message):
    with pytest.raises(StageError) as raised:
        generated(tmp_path, task=task, rows=3, options=options)
    assert message in str(raised.value)


CARD = b"""---
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: main/test-*
---
"""
FETCH = """
import json, sys
from pathlib import Path
from smolmath.params.datasets import HubDataset
from smolmath.errors import StageError
from smolmath.data.sources.hub import fetch
out, state, fields = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
try:
    print(json.dumps(fetch(HubDataset(source="hub", **fields), out, state)))
except StageError as error:
    sys.exit(str(error))
"""


def parquet(count):
    rows = {
        "question": [f"What is {i} + {i}?" for i in range(count)],
        "answer": [f"#### {2 * i}" for i in range(count)],
    }
    written = io.BytesIO()
    pq.write_table(pa.table(rows), written, compression="none")
    return written.getvalue()


@pytest.fixture
def hub():
    files = {
        "README.md": CARD,
        "main/train-00000.parquet": parquet(90_000),
        "main/train-00001.parquet": parquet(3),
        "main/test-00000.parquet": parquet(2),
    }
    with serving(Hub(files)) as served:
        yield served


def environment(hub, tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    return kept | {
        "PYTHONPATH": str(ROOT / "src"),
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def fetching(hub, tmp_path, **fields):
    out, state = tmp_path / "out", tmp_path / "state"
    out.mkdir(exist_ok=True)
    state.mkdir(exist_ok=True)
    asked = {
        "id": hub.repo,
        "config": "main",
        "revision": "main",
        "splits": {"train": "train", "test": "test"},
    } | fields
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, str(out), str(state), json.dumps(asked)],
        env=environment(hub, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_hub_dataset_comes_at_a_commit_and_a_floating_revision_is_warned_of(hub, tmp_path):
    said, warned = fetching(hub, tmp_path).communicate(timeout=120)
    manifest = json.loads(said)
    assert (manifest["revision"], manifest["config"]) == (COMMIT, "main")
    assert manifest["files"] == [
        {"path": "main/test-00000.parquet", "side": "test"},
        {"path": "main/train-00000.parquet", "side": "train"},
        {"path": "main/train-00001.parquet", "side": "train"},
    ]
    for name in ("main/test-00000.parquet", "main/train-00000.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == hub.files[name]
    assert f"revision 'main' can move. Pin it: revision: {COMMIT}" in warned


def test_files_that_a_killed_fetch_had_are_not_downloaded_again(hub, tmp_path):
    """The hub's client begins a file anew that was cut off (huggingface_hub #4228); whole ones stay."""
    hub.stall_after = 1_000_000
    killed = fetching(hub, tmp_path, revision=COMMIT)
    deadline = time.monotonic() + 60
    while not any("GET" in request and "train-00000" in request for request in hub.requests):
        assert killed.poll() is None, killed.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    hub.stall_after = None
    hub.requests.clear()
    manifest, warned = fetching(hub, tmp_path, revision=COMMIT).communicate(timeout=120)
    assert "Pin it" not in warned
    for file in json.loads(manifest)["files"]:
        assert (tmp_path / "out" / file["path"]).read_bytes() == hub.files[file["path"]]
    asked = [request for request in hub.requests if request.startswith("GET") and request.endswith(".parquet")]
    assert [request.rpartition("/")[2] for request in asked] == ["train-00000.parquet", "train-00001.parquet"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"splits": {"train": "trian"}}, "has no split 'trian'. It has: "),
        ({"config": "other"}, "tester/sums, config 'other': BuilderConfig 'other' not found. Available: ['main']"),
        ({"revision": "nowhere"}, "tester/sums has no revision 'nowhere'. Name a branch, a tag or a commit."),
        ({"id": "tester/nothing"}, "tester/nothing is no dataset on the hub, or a private one"),
    ],
)
def test_what_a_hub_does_not_have_is_one_clear_error(hub, tmp_path, fields, message):
    _, said = fetching(hub, tmp_path, **fields).communicate(timeout=120)
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("answers", "fields", "message"),
    [
        ({"refuses": "GatedRepo"}, {}, "tester/sums is gated: whoever wants it must have agreed to its terms."),
        ({"refuses": ""}, {}, "the Hugging Face hub refuses the dataset tester/sums (Client error '401 Unauthorized'"),
        (
            {"gives": "f" * 40},
            {"revision": COMMIT},
            f"tester/sums is pinned to {COMMIT}, and the hub gives {'f' * 40} for it: its history was changed.",
        ),
        ({}, {"revision": "e" * 40}, f"tester/sums has no revision '{'e' * 40}'."),
    ],
)
def test_a_benchmark_that_is_gated_or_no_longer_what_was_pinned_is_refused(hub, tmp_path, answers, fields, message):
    for name, value in answers.items():
        setattr(hub, name, value)
    process = fetching(hub, tmp_path, splits={"test": "test"}, use="test", **fields)
    _, said = process.communicate(timeout=120)
    assert message in said
    assert "Traceback" not in said
    assert process.returncode == 1
    assert list((tmp_path / "out").iterdir()) == []


def inspected(*arguments, **extra):
    command = [sys.executable, "-m", "smolmath.cli", "inspect", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "100"} | extra,
    )


def test_inspect_shows_columns_rows_layout_and_lengths_of_a_local_dataset(tmp_path):
    rows = [{"question": f"What is {i}?", "answer": "proof" if i % 4 == 0 else f"#### {i}"} for i in range(100)]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "not json\n")
    (tmp_path / "LICENSE").write_text("free")
    said = inspected(tmp_path).stdout
    assert "b.jsonl: 1 file, 101 rows" in said
    assert "question  99.0%   text" in said
    assert "What is 2?" in said
    assert "What is 3?" not in said
    assert "1 cannot be read" in said
    assert "layout: gsm8k" in said
    assert "75.0% have a reference answer that can be verified" in said
    assert "█" in said


def test_inspect_says_which_layouts_there_are_where_none_fits(tmp_path):
    (tmp_path / "b.jsonl").write_text('{"text": "a", "number": "1"}\n')
    said = inspected(tmp_path / "b.jsonl").stdout
    assert "layout: none." in said
    assert "columns: {question: problem_text, reference_answer: final}" in " ".join(said.split())
    missing = inspected(tmp_path / "nowhere" / "x")
    assert missing.returncode == 1
    assert "there is no such file or folder, and it is no hub id" in missing.stderr


def test_inspect_proposes_the_columns_of_a_file_that_no_layout_fits_and_shows_what_they_read(tmp_path):
    row = {
        "data_source": "mine", "prompt": [{"role": "user", "content": "What is 1+2?"}],
        "reward_model": {"style": "rule", "ground_truth": "3"}, "extra_info": {"answer": "It is 3.", "index": 0},
    }  # fmt: skip
    (tmp_path / "rows.json").write_text(json.dumps([row] * 3))
    said = inspected(tmp_path / "rows.json", COLUMNS="160").stdout
    block = "{question: prompt, reference_answer: reward_model.ground_truth, source: data_source}"
    assert f"columns: {block}\n" in said
    assert "Name yours" not in said
    said = inspected(tmp_path / "rows.json", "--columns", block).stdout
    assert "question          What is 1+2?" in said
    assert "reference_answer  3" in said
    assert "100.0% have a reference answer that can be verified" in said
    assert "to paste" not in said


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            "{question: nothing, reference_answer: text}",
            "layout columns needs nothing; found the columns number, text.",
        ),
        ("{question: text}", "--columns or --layout: columns must say which column holds the reference_answer."),
        ("{quest: text}", "columns.quest: unknown. Did you mean 'question'?"),
        ("{question: [", "--columns: no YAML: "),
        ("text", "--columns or --layout: "),
    ],
)
def test_inspect_says_what_is_wrong_with_columns(tmp_path, columns, message):
    (tmp_path / "b.jsonl").write_text('{"text": "a", "number": "1"}\n')
    done = inspected(tmp_path / "b.jsonl", "--columns", columns)
    assert done.returncode == 1
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("row", "block"),
    [
        ({"Body": "Ann has 3 nuts.", "Question": "How many are 2 more?", "Answer": 5.0, "ID": "a"},
         {"question": ["Body", "Question"], "reference_answer": "Answer"}),
        ({"query": "What is 1+2?", "response": "It is 3.\n#### 3"}, {"question": "query", "reference_answer": "response"}),
        ({"problem": "What is 1+2?", "generated_solution": "It is $1+2=3$.", "expected_answer": "3", "problem_source": "x"},
         {"question": "problem", "reference_answer": "expected_answer", "reasoning": "generated_solution"}),
        ({"0": {"from": "human", "value": "What is 1+2?"}, "conversations": [{"from": "human", "value": "What is 1+2?"},
                                                                            {"from": "gpt", "value": "\\boxed{3}"}]},
         {"question": "conversations", "reference_answer": "conversations"}),
        ({"text": "Some words.", "label": "nothing"}, None),
    ],
)  # fmt: skip
def test_columns_are_proposed_by_names_and_values(row, block):
    assert propose([row]) == block


def test_inspect_reads_the_head_of_a_hub_dataset(hub, tmp_path):
    done = inspected(hub.repo, "--rows", "50", **environment(hub, tmp_path))
    assert "tester/sums: 3 files" in done.stdout, done.stderr
    assert "of the first 50 rows: 100.0% have a reference answer" in done.stdout


def test_inspect_shows_text_that_no_encoding_holds_and_counts_decimals_and_bytes(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"question": "a \\ud83d b", "answer": "#### 1", "\\ud83d": 1}\n')
    done = inspected(tmp_path / "a.jsonl")
    assert done.returncode == 0, done.stderr
    assert "a ? b" in done.stdout
    table = pa.table({"problem": [b"What is 1.50?"], "answer": pa.array([Decimal("1.50")], pa.decimal128(5, 2))})
    pq.write_table(table, tmp_path / "b.parquet")
    said = inspected(tmp_path / "b.parquet").stdout
    assert "100.0% have a reference answer that can be verified" in said
    assert "█" in said


def test_a_fetch_gives_the_same_rows_in_any_process(tmp_path):
    """Some tasks of reasoning-gym iterate over sets, whose order Python draws anew for each process."""
    command = load_stages(read_params(ROOT / "recipes" / "demo.yaml"), ROOT / "dvc.yaml")["fetch@sums"].cmd
    assigned = dict(word.split("=") for word in command.split("python ")[0].split())  # as dvc.yaml starts it
    code = """
from pathlib import Path
from smolmath.params.datasets import ReasoningGymDataset
from smolmath.data.sources.reasoning_gym import fetch
fetch(ReasoningGymDataset(source="reasoning_gym", task="polynomial_multiplication", rows=8, seed=1), Path(), Path())
"""
    rows = set()
    for seed in ("1", "2"):  # of the shell that started DVC
        folder = tmp_path / seed
        folder.mkdir()
        environment = os.environ | {"PYTHONHASHSEED": seed} | assigned | {"PYTHONPATH": str(ROOT / "src")}
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True, capture_output=True)
        rows.add((folder / "rows.jsonl").read_text())
    assert len(rows) == 1
