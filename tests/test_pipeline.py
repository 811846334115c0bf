"""The whole pipeline by real DVC on tiny copies of the project: what runs, what runs again, what is refused."""

import hashlib
import json
import subprocess
import sys
import time

import psutil
import pytest

from smolmath.params.core import read_params
from smolmath.records import PASS_RATES, PROBLEMS, read_table
from smolmath.running.graph import load_stages
from tests.conftest import clone, make_tiny, new_project
from tests.test_reruns import downstream

pytestmark = pytest.mark.slow

ALL = {
    "check", "base", "summarize", "fetch@sums", "fetch@legs", "process@sums", "process@legs", "split@sums", "split@legs",
    "train@sums", "train@legs",
    *(f"{stage}@{model}-{dataset}" for stage in ("generate", "evaluate") for model in ("base", "sums", "legs")
      for dataset in ("sums", "legs")),
}  # fmt: skip


@pytest.fixture
def copy(finished_project, tmp_path):
    """The finished project in a place of its own."""
    return clone(finished_project, tmp_path / "project")


def test_the_first_run_runs_every_stage_once_and_the_second_none(copy):
    assert sorted(copy.read("ran").split()) == sorted(ALL)
    assert copy.repro() == []


def test_every_result_is_there(finished_project):
    project = finished_project
    summary = json.loads(project.read("metrics/summary.json"))
    assert list(summary) == ["base", "sums", "legs"]
    assert list(summary["base"]["sums"]) == ["n", "accuracy", "accuracy_se", "mean_at_k"]
    for model in summary:
        files = {path.name for path in (project.folder / "models" / model).iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= files
        assert not [name for name in files if name.endswith((".bin", ".pt", ".pth", ".md"))]
    header = project.read("metrics/train/sums.csv").splitlines()[0].split(",")
    assert {
        "step",
        "reward",
        "reward_correctness",
        "completion_tokens",
        "clipped_share",
        "entropy",
        "learning_rate",
        "validation_accuracy",
        "objective",
    } <= {*header}
    assert len(list((project.folder / "journal").rglob("*.json"))) == len(ALL)
    assert not list((project.folder / ".work").rglob("checkpoint*"))


def test_weights_lie_on_the_disk_once_and_nobody_writes_through_their_link(finished_project):
    for model in ("sums", "legs"):
        weights = finished_project.folder / "models" / model / "model.safetensors"
        md5 = hashlib.md5(weights.read_bytes()).hexdigest()
        assert weights.samefile(finished_project.folder / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:])
        assert weights.stat().st_mode & 0o777 == 0o444


def test_two_clean_runs_give_the_same_metrics_and_the_same_dvc_lock(finished_project, tmp_path):
    first, second = finished_project, new_project(tmp_path / "again", git=False)
    second.params(make_tiny)
    second.repro()
    names = [path.relative_to(first.folder) for path in sorted((first.folder / "metrics").rglob("*.*"))]
    assert len(names) == 1 + 1 + 2 + 6  # summary, retention, curves, evaluations
    for name in ["dvc.lock", *map(str, names)]:
        assert second.read(name) == first.read(name), name
    # Once more by processes of their own: those that are forked compute the same.
    own = ["train@sums", "train@legs", "generate@legs-legs"]
    assert second.repro("--force", "--single-item", *own, **second.real_processes) == own
    assert second.read("dvc.lock") == first.read("dvc.lock")


def test_dvcs_own_commands_read_well_on_two_commits(copy):
    copy.params(lambda p: p["phases"]["legs"]["sft"].update(learning_rate=1.0e-2))
    assert "train@legs" in copy.repro()
    copy.run("git", "add", "-A")
    copy.run("git", "commit", "-qm", "a higher learning rate")

    shown = json.loads(copy.dvc("metrics", "show", "--json").stdout)[""]["data"]
    assert list(shown) == ["metrics/summary.json"]  # the one metrics file
    told = json.loads(copy.dvc("metrics", "diff", "HEAD~1", "HEAD", "--json").stdout)
    diff = told.get("diff", {}).get("metrics/summary.json", {})
    assert {name.split(".")[0] for name in diff} <= {"legs"}  # no other model has moved
    table = copy.dvc("exp", "show", "--md", "--only-changed", "-n", "2").stdout
    assert "phases.legs.sft.learning_rate" in table

    plots = json.loads(copy.dvc("plots", "diff", "HEAD~1", "HEAD", "--json").stdout)
    assert "errors" not in plots
    names = set(plots["data"])
    assert {
        "metrics/train/sums.csv",
        "metrics/train/legs.csv",
        "metrics/eval/legs/sums.json",
        "metrics/retention.csv",
    } <= names
    (curve,) = plots["data"]["metrics/eval/legs/sums.json"]
    assert set(curve["revisions"]) == {"HEAD~1", "HEAD"}
    copy.dvc("plots", "diff", "HEAD~1", "HEAD", "-o", "shown")
    page = copy.read("shown/index.html")
    assert "What each model keeps" in page
    assert "legs on sums, pass@k" in page


def test_without_samples_dvc_still_shows_the_plots_that_there_are(copy):
    copy.params(lambda p: p["evaluate"]["sampling"].update(samples=0))
    copy.repro()
    assert "errors" not in json.loads(copy.dvc("plots", "show", "--json").stdout)


def test_two_commits_are_compared_by_what_they_predicted(copy):
    copy.params(lambda p: p["phases"]["legs"]["sft"].update(learning_rate=1.0e-2))
    copy.repro()
    told = json.loads(copy.run("smolmath", "compare", "HEAD", "--json", PYTHONPATH="src").stdout)
    assert {(same["model"], same["dataset"]) for same in told["same"]} >= {
        (m, d) for m in ("base", "sums") for d in ("sums", "legs")
    }
    others = {same["model"] for same in told["same"]} | {found["model_b"] for found in told["differences"]}
    assert others == {"base", "sums", "legs"}
    assert {found["model_b"] for found in told["differences"]} <= {"legs"}


def test_a_phase_that_validates_learns_what_it_would_learn_without(copy):
    # One step: the best of them is the last.
    copy.params(
        lambda params: params["phases"]["sums"]["grpo"].update(max_steps=1, learning_rate=1.0e-3, warmup_steps=0)
    )
    copy.repro("train@sums")
    weights = (copy.folder / "models" / "sums" / "model.safetensors").read_bytes()
    copy.params(lambda params: params["phases"]["sums"].update(validation=None))
    assert "train@sums" in copy.repro("train@sums")
    assert (copy.folder / "models" / "sums" / "model.safetensors").read_bytes() == weights


def test_an_edit_of_hardware_and_tracking_runs_the_check_alone(copy):
    copy.params(lambda params: params["hardware"].update(micro_batch=2, device="cpu"))
    copy.params(lambda params: params["tracking"].update(tags=["x"]))
    assert copy.repro() == ["check"]


def test_a_learning_rate_reruns_its_phase_and_what_follows_alone(copy):
    stages = load_stages(read_params(copy.folder / "params.yaml"), copy.folder / "dvc.yaml")
    copy.params(lambda params: params["phases"]["legs"]["sft"].update(learning_rate=1.0e-3))
    expected = downstream(stages, {"train@legs"}) | {"check"}
    ran = set(copy.repro())
    # Where two steps at another rate change no completion, what reads the completions needn't run.
    assert {"check", "train@legs", "generate@legs-sums", "generate@legs-legs"} <= ran <= expected
    assert expected == {"check", "summarize", *(s for s in ALL if "@legs-" in s), "train@legs"}


def test_a_bad_param_stops_the_run_before_any_work(project):
    project.params(lambda params: params["evaluate"]["sampling"].update(temprature=1.0))
    done = project.dvc("repro", check=False)
    assert done.returncode != 0
    assert "evaluate.sampling.temprature: unknown key. Did you mean 'temperature'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((project.folder / "data").glob("*"))


@pytest.mark.parametrize(
    "network", [{"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_a_hub_that_cannot_be_reached_names_the_id_and_the_alternative(project, network):
    hub = {"source": "hub", "path": "src/smolmath/data/sources/hub.py", "id": "openai/gsm8k", "config": "main",
           "revision": None, "splits": {"train": "train"}}  # fmt: skip
    project.params(lambda params: params["datasets"].update(gsm8k=hub))
    done = project.dvc("repro", "fetch@gsm8k", check=False, **network)
    assert done.returncode != 0
    assert "the Hugging Face hub cannot be reached for the dataset openai/gsm8k" in done.stderr
    assert "use source: files" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.parquet", "no parquet at all", "train.parquet: not a readable parquet file"),
        (
            "train.jsonl",
            "no json at all\n",
            "train.jsonl:1: not JSON: Expecting value at column 1. Each line must hold one JSON object",
        ),
        (
            "train.jsonl",
            '{"prompt": "a", "result": 1}\n',
            "found the columns prompt, result, which fit no known layout",
        ),
        (
            "train.jsonl",
            '{"question": "a", "answer": "no marker"}\n',
            "none of 1 rows is left (1 ",
        ),
        ("train.xlsx", "x", "not a data file that smolmath reads"),
    ],
)
def test_a_bad_data_file_is_one_clear_error(project, tmp_path, name, content, message):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text(content)
    entry = {"source": "files", "path": str(tmp_path / "mine"), "sides": {"train": "train.*"}}
    project.params(lambda params: params["datasets"].update(mine=entry))
    done = project.dvc("repro", "process@mine", check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_temporary_workspace_runs_its_own_code(copy):
    # The experiment's copy of a module is edited by `-S` on nothing: it is the committed code that runs there, while
    # the main checkout's has moved on and would print another word.
    path = "stages/summarize.py"
    text = copy.read(path)
    marker = text.replace("with stage_run", "import smolmath; print('runs', smolmath.__file__)\n    with stage_run", 1)
    copy.write(path, marker)
    copy.run("git", "commit", "-qam", "say where the code lies")
    done = copy.dvc("exp", "run", "--temp", "-S", "evaluate.datasets=[sums]")
    said = [line for line in done.stdout.splitlines() if line.startswith("runs ")]
    assert len(said) == 1
    assert ".dvc/tmp/exps" in said[0]


def test_wandb_offline_writes_a_run_with_the_phases_config(project):
    project.params(lambda params: params["tracking"].update(wandb="offline", project="test", tags=["t"]))
    # wandb's own process does not outlive a fork: a training of its own.
    project.repro("train@sums", WANDB_SILENT="true", PATH=project.real_processes["PATH"])
    (run,) = (project.folder / "wandb").glob("offline-run-*")
    (journal,) = (project.folder / "journal" / "train@sums").iterdir()
    assert run.name.endswith(
        f"-{journal.stem}"
    )  # the run's id is the fingerprint, so that a resumed one goes on in it
    written = b"".join(path.read_bytes() for path in run.glob("*.wandb"))
    for word in (b"soft_format", b"reward_correctness", b"sums-legs"):
        assert word in written


def test_dvc_shows_metrics_and_a_curve_per_phase_without_complaint(copy):
    project = copy
    assert "sums.sums.mean_at_k" in project.dvc("metrics", "show").stdout
    shown = project.dvc("plots", "show", "--json")
    assert "failed" not in shown.stderr.lower()
    plots = json.loads(shown.stdout)
    for phase in ("sums", "legs"):
        (curve,) = (
            plots["data"][f"metrics/train/{phase}.csv"] if "data" in plots else plots[f"metrics/train/{phase}.csv"]
        )
        assert "objective" in json.dumps(curve)


def big_dataset(project, rows=40_000):
    """A dataset of the project's own that takes seconds to process, as `datasets.big`."""
    folder = project.folder / "rows"
    folder.mkdir()
    for part in range(4):
        lines = (
            json.dumps({"problem": f"{i}: what is ${i} + {part}$? " + "word " * 60, "answer": str(i + part)}) + "\n"
            for i in range(rows // 4)
        )
        (folder / f"part-{part}.jsonl").write_text("".join(lines))

    def change(params):
        params["datasets"]["big"] = {"source": "files", "path": "rows"}
        params["process"] |= {"near_duplicates": 0.8, "shard_rows": 3_000}
        params["hardware"]["workers"] = 2

    project.params(change)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_a_killed_process_leaves_no_worker_behind_and_gives_the_same_bytes_again(project):
    big_dataset(project)
    project.repro("fetch@big", "fetch@sums", "base")
    killed = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--single-item", "process@big"],
        cwd=project.folder,
        env=project.real_processes,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    processed = project.folder / "data" / "processed"
    deadline = time.monotonic() + 120
    while len(list(project.folder.glob(".work/process@big/*/pieces/*.npz"))) < 4:
        assert killed.poll() is None, "the stage ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = psutil.Process(killed.pid).children(recursive=True)
    stage = next(p for p in family if p.cmdline()[1:2] == ["stages/process.py"])
    workers = stage.children(recursive=True)
    assert len(workers) >= 2
    stage.kill()
    killed.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
    assert not (processed / "big").exists()
    project.repro("--single-item", "process@big")
    again = digests(processed / "big")
    assert len(again) == 14 + 2  # 40,000 rows in shards of 3,000; rejected.parquet and manifest.json
    assert [p.name for p in processed.iterdir() if p.name.endswith(".part")] == []
    project.params(lambda params: params["hardware"].update(workers=1))
    project.repro("--force", "--single-item", "process@big")
    assert digests(processed / "big") == again


def test_a_full_disk_is_said_and_nothing_is_published(project):
    big_dataset(project, rows=20_000)
    project.repro("fetch@big", "fetch@sums", "base")
    processed = project.folder / "data" / "processed"
    processed.mkdir(exist_ok=True)
    mount = f"mount -t tmpfs -o size=200k none {processed}"
    # In a mount namespace of its own: nothing is left mounted, whatever happens.
    inside = f"{mount} && PYTHONPATH=src python stages/process.py --dataset big --raw data/raw/big --out data/processed/big; echo left: $(ls -A {processed})"
    unshare = ("unshare", "--user", "--map-root-user", "--mount")
    done = project.run(*unshare, "sh", "-c", inside, check=False, **project.real_processes)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()[:200]}")
    assert "error: process@big: no space left on a disk" in done.stderr
    assert "Make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == "left:"


def test_rated_problems_are_a_dataset_that_a_phase_can_choose_from(copy):
    def change(params):
        params["difficulty"]["rated"] = {
            "dataset": "sums", "model": "base", "problems": 24, "samples": 4, "temperature": 1.0, "top_p": 1.0,
            "max_completion_tokens": 48, "batch_size": 12,
        }  # fmt: skip
        params["phases"]["sums"].update(dataset="rated", pass_rate=[0.25, 0.75])

    copy.params(change)
    ran = copy.repro("train@sums")
    assert ran == ["check", "difficulty@rated", "train@sums"]
    rated, plain = copy.folder / "data" / "split" / "rated", copy.folder / "data" / "split" / "sums"
    for name, digest in digests(plain).items():
        assert digests(rated)[name] == digest  # no row has changed its side
    rates = read_table(rated / "pass_rates.parquet", PASS_RATES)
    train = [row["id"] for row in read_table(plain / "train.parquet", PROBLEMS)]
    assert [row["problem_id"] for row in rates] == sorted(train)[:24]
    assert {row["samples"] for row in rates} == {4}
    within = [row for row in rates if 1 <= row["correct"] <= 3]
    assert 0 < len(within) < 24
    (journal,) = (
        entry
        for entry in map(json.loads, (p.read_text() for p in (copy.folder / "journal" / "train@sums").iterdir()))
        if entry["train_problems"] < 90
    )
    assert journal["train_problems"] == len(within)
    # Another range trains again and rates nothing again.
    copy.params(lambda params: params["phases"]["sums"].update(pass_rate=[0.0, 1.0]))
    assert copy.repro("train@sums") == ["check", "train@sums"]
    copy.params(lambda params: params["phases"]["sums"].update(pass_rate=[0.9, 0.95]))
    done = copy.dvc("repro", "train@sums", check=False)
    assert "phases.sums.pass_rate: none of 24 rated problems lies within [0.9, 0.95]" in done.stderr
