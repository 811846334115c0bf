"""A phase in two processes (gloo, on the CPU) beside the same phase in one: real DVC, real accelerate, real TRL."""

import json
import os
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT, clone, make_tiny
from tests.test_survival import end_of, results, start_and_train, visible

pytestmark = pytest.mark.slow

CPU = "configs/accelerate/cpu.yaml"
STEPS = 20
KILLED_STEPS = 10  # of trainings that are killed and go on


def two(params):
    params["hardware"] |= {"accelerate": CPU, "device": "cpu", "threads": 2}


def to_compare(params):
    """Twenty steps whose every kind of number can differ: more than one epoch of groups, validation, grounding, KL."""
    make_tiny(params)
    phase = params["phases"]["sums"]
    phase["prompts_per_step"] = 4
    phase["grpo"] |= {"max_steps": STEPS, "max_completion_length": 32, "learning_rate": 3.0e-4, "beta": 0.02}
    phase |= {"checkpoint_steps": 4, "sample_steps": 5, "answer_grounding_weight": 0.1}
    phase["validation"] = {"problems": 7, "every_steps": 5, "metric": "reward", "patience": None}
    params["phases"]["legs"]["sft"] |= {"max_steps": STEPS}
    params["phases"]["legs"] |= {"init": "base", "validation": phase["validation"] | {"metric": "accuracy"}}
    params["datasets"]["sums"]["rows"] = 60


@pytest.fixture(scope="module")
def prepared(prepared_project, tmp_path_factory):
    project = clone(prepared_project, tmp_path_factory.mktemp("prepared") / "project")
    project.params(to_compare)
    script = project.folder / "stages" / "train.py"
    hook = "import os\n\nif os.environ.get('RECORDED'):\n    import smolmath.kernels\n    from tests.recording import install\n    install()\n"
    docstring, _, rest = script.read_text().partition('"""\n\nimport importlib')
    script.write_text(f'{docstring}"""\n\n{hook}import importlib{rest}')
    project.write("tests/__init__.py", "")
    project.write("tests/recording.py", (ROOT / "tests" / "recording.py").read_text())
    command = project.read("dvc.yaml").replace(
        "PYTHONPATH=src python stages/train", "PYTHONPATH=src:. python stages/train"
    )
    project.write("dvc.yaml", command)
    project.repro("split@sums")
    return project


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """(project trained in one process, project trained in two with the same completions)."""
    recorded = str(tmp_path_factory.mktemp("recorded"))
    alone = clone(prepared, tmp_path_factory.mktemp("alone") / "project")
    alone.repro("train@sums", "train@legs", RECORDED=recorded, RECORDING="write")
    both = clone(prepared, tmp_path_factory.mktemp("both") / "project")
    both.params(two)
    both.repro("train@sums", "train@legs", RECORDED=recorded, RECORDING="read")
    return alone, both


def curve(project, phase):
    header, *rows = [line.split(",") for line in project.read(f"metrics/train/{phase}.csv").splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.parametrize("phase", ["sums", "legs"])
def test_two_processes_have_the_weights_and_means_of_one(trained, phase):
    alone, both = trained
    weights = [load_file(project.folder / "models" / phase / "model.safetensors") for project in trained]
    start = load_file(alone.folder / "models" / "base" / "model.safetensors")
    assert weights[0].keys() == weights[1].keys()
    for name, one in weights[0].items():
        torch.testing.assert_close(
            weights[1][name], one, rtol=1e-3, atol=2e-4, msg=lambda m, name=name: f"{name}: {m}"
        )
    moved = max(float((one - start[name]).abs().max()) for name, one in weights[0].items())
    apart = max(float((weights[1][name] - one).abs().max()) for name, one in weights[0].items())
    assert moved > 50 * apart  # the tolerance says something
    one, other = curve(alone, phase), curve(both, phase)
    assert len(one) == len(other) == STEPS
    assert one[0].keys() == other[0].keys()
    for step, (mine, theirs) in enumerate(zip(one, other, strict=True), start=1):
        for name, value in mine.items():
            assert (value == "") == (theirs[name] == ""), (step, name)
            if value and step <= STEPS // 2:
                assert float(theirs[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-5), (step, name)
            # Then what sums round apart at (1e-6 at first) has grown, in the gradient's norm most of all.
            elif value and name != "grad_norm":
                assert float(theirs[name]) == pytest.approx(float(value), rel=2e-2, abs=1e-3), (step, name)


def test_one_process_writes_the_samples_of_both(trained):
    one, other = (pq.read_table(p.folder / "results/training/sums.parquet").to_pylist() for p in trained)
    assert len(one) == len(other) > 0
    train = [[row for row in rows if row["kind"] == "train"] for rows in (one, other)]
    # The same completions in the same order, with the same verdicts and rewards.
    assert train[0] == [row | {"reward": pytest.approx(row["reward"])} for row in train[1]]
    greedy = [[row["question"] for row in rows if row["kind"] == "validation"] for rows in (one, other)]
    assert greedy[0] == greedy[1]


def test_the_journal_says_how_many_there_were(trained):
    _, both = trained
    (path,) = (both.folder / "journal" / "train@sums").iterdir()
    entry = json.loads(path.read_text())
    assert (entry["processes"], entry["accelerate"]) == (2, "MULTI_CPU")
    assert entry["machine"]["torch_threads"] == 1
    assert entry["seconds_by_activity"]["generate"] > 0
    assert not (both.folder / ".work" / "train@sums").is_dir() or not list(
        (both.folder / ".work" / "train@sums").glob("*/checkpoints")
    )


def test_the_number_of_processes_reruns_nothing(trained):
    alone, _ = trained
    alone.params(two)
    assert not [name for name in alone.repro("train@sums", "train@legs") if name.startswith("train")]


# Kills


def to_be_killed(params):
    """Shorter, with a checkpoint at every second step, and groups that are redrawn by both processes."""
    params["phases"]["sums"] |= {"checkpoint_steps": 2, "resample": {"rounds": 1}}
    params["phases"]["sums"]["grpo"]["max_steps"] = KILLED_STEPS


@pytest.fixture(scope="module")
def survivors(prepared_project, tmp_path_factory):
    project = clone(prepared_project, tmp_path_factory.mktemp("survivors") / "project")
    project.params(to_compare)
    project.params(two)
    project.params(to_be_killed)
    project.repro("split@sums")
    return project


@pytest.fixture(scope="module")
def undisturbed(survivors, tmp_path_factory):
    project = clone(survivors, tmp_path_factory.mktemp("undisturbed") / "project")
    project.repro("train@sums")
    return project


@pytest.fixture
def project(survivors, tmp_path):
    return clone(survivors, tmp_path / "project")


def parts(stage):
    """The training's processes, by number."""
    found = {}
    for child in stage.children():
        if (rank := child.environ().get("RANK")) is not None:
            found[int(rank)] = child
    return found


def test_a_killed_process_ends_the_training_which_goes_on_later(project, undisturbed):
    rank = 0  # the one that writes
    dvc, stage = start_and_train(project, 4)
    processes = parts(stage)
    assert sorted(processes) == [0, 1]
    processes[rank].kill()
    dvc.wait(180)
    log = project.read("log")
    assert f"error: train@sums: process {rank} of 2 was ended by SIGKILL, and the others were ended with it." in log
    assert "`dvc repro` goes on from what is saved" in log
    assert not any(process.is_running() for process in processes.values())
    assert visible(project) == ["base"]
    project.repro("train@sums")
    assert results(project) == results(undisturbed)
    assert any(float(row["redrawn_groups"]) for row in curve(project, "sums"))


def test_the_others_end_with_the_stage_that_started_them(project):
    dvc, stage = start_and_train(project, 2)
    processes = parts(stage)
    stage.kill()
    dvc.wait()
    for process in processes.values():
        end_of(process)
    done = project.repro("train@sums", check=False)  # nobody holds the state any more
    assert "train@sums" in done
    assert visible(project) == ["base", "sums"]


def test_a_stop_is_saved_by_all_and_goes_on(project, undisturbed):
    dvc, stage = start_and_train(project, 2)
    stage.send_signal(signal.SIGTERM)
    dvc.wait(120)
    log = project.read("log")
    assert "stopped by SIGTERM after step" in log
    assert "Traceback" not in log
    project.repro("train@sums")
    assert results(project) == results(undisturbed)


def test_one_process_goes_on_from_what_two_have_saved(project):
    dvc, stage = start_and_train(project, 4)
    stage.kill()
    dvc.wait()
    project.params(lambda params: params["hardware"].update(accelerate=None, threads=1))
    done = project.dvc("repro", "train@sums")
    assert "was made by 2 processes and 1 go on from it" in done.stderr
    assert len(curve(project, "sums")) == KILLED_STEPS


def test_a_process_with_other_params_is_refused(project):
    script = project.folder / "stages" / "train.py"
    other = (
        "import os\n\nimport smolmath.params.core as core\n\nif os.environ.get('RANK') == '1':\n"
        "    read = core.read_params\n\n    def changed(*args):\n        params = read(*args)\n"
        "        params['phases']['sums']['grpo']['learning_rate'] = 0.5\n        return params\n\n"
        "    core.read_params = changed\n\nimport importlib"
    )
    script.write_text(script.read_text().replace("import importlib", other, 1))
    done = project.dvc("repro", "train@sums", check=False)
    assert done.returncode
    said = " ".join(done.stderr.split())
    assert "process 1 of 2 ended with an error" in said
    assert "train@sums: process 1 has another params.yaml: phases.sums than process 0" in said
    assert "Traceback" not in said
    assert visible(project) == ["base"]


@pytest.mark.parametrize(
    ("hardware", "said"),
    [
        ({"accelerate": "configs/accelerate/ddp.yaml"}, "(MULTI_GPU) is for GPUs, and device is cpu"),
        ({"accelerate": "configs/accelerate/fsdp2.yaml"}, "(FSDP) is for GPUs, and device is cpu"),
        ({"accelerate": "configs/accelerate/fsdp.yaml"}, "does not exist. Did you mean"),
    ],
)
def test_what_accelerate_would_not_do_is_refused(project, hardware, said):
    project.params(lambda params: params["hardware"].update(hardware))
    done = project.dvc("repro", "train@sums", check=False)
    assert done.returncode
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_step_that_cannot_be_divided_is_refused(project):
    three = project.read(CPU).replace("num_processes: 2", "num_processes: 3")
    project.write("configs/three.yaml", three)
    project.params(lambda params: params["hardware"].update(accelerate="configs/three.yaml"))
    done = project.dvc("repro", "train@sums", check=False)
    assert "16 sequences of a step can't be divided equally among 3 processes" in done.stderr


# FSDP2, whose sharding works on CPUs though accelerate's use of it doesn't

ROUND_TRIP = """
import os, sys, tempfile
from pathlib import Path
from types import SimpleNamespace
import torch, torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.device_mesh import init_device_mesh
from transformers import AutoModelForCausalLM
from accelerate.utils import DistributedType
from smolmath.training.phase.ranks import SyncedGenerationCallback
from smolmath.training.phase.weights import load_weights, save_weights

dist.init_process_group("gloo")
base, out = Path(sys.argv[1]), Path(sys.argv[2])
torch.manual_seed(0)
ids = torch.randint(5, 50, (4, 12))

def step(model, batch):
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model(input_ids=batch, labels=batch).loss.backward()
    optimiser.step()

def load():
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)

whole = load()
step(whole, ids)
divided = load()
mesh = init_device_mesh("cpu", (2,))
for layer in divided.model.layers:
    fully_shard(layer, mesh=mesh)
fully_shard(divided, mesh=mesh)
rank = dist.get_rank()
step(divided, ids[2 * rank : 2 * rank + 2])  # equally many tokens in each half: the mean is that of the whole
full = StateDictOptions(full_state_dict=True, cpu_offload=True)
accelerator = SimpleNamespace(
    distributed_type=DistributedType.FSDP,
    get_state_dict=lambda model: get_model_state_dict(model, options=full),
    unwrap_model=lambda model: model,
)
save_weights(SimpleNamespace(model=divided, model_wrapped=divided, accelerator=accelerator), out)
dist.barrier()
saved = load_weights(base, out)
for (name, one), (_, other) in zip(whole.state_dict().items(), saved.state_dict().items(), strict=True):
    torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)
again = load()
for layer in again.model.layers:
    fully_shard(layer, mesh=mesh)
fully_shard(again, mesh=mesh)
set_model_state_dict(again, saved.state_dict() if rank == 0 else {}, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))
for (name, one), (_, other) in zip(divided.named_parameters(), again.named_parameters(), strict=True):
    assert torch.equal(one.to_local(), other.to_local()), name
    assert one.to_local().numel() < one.numel()  # it is divided
# One process has all its completions after a token, the other goes on to the limit.
SyncedGenerationCallback().on_train_begin(None, None, None, model=again)
ends = list(range(again.config.vocab_size)) if rank == 0 else []
drawn = again.generate(input_ids=ids[:1], max_new_tokens=8, do_sample=False, eos_token_id=ends or None, pad_token_id=0)
print(f"rank {rank}: {drawn.shape[1] - 12} tokens", flush=True)
dist.destroy_process_group()
"""


def test_the_weights_of_a_divided_model_go_round(tmp_path):
    script = tmp_path / "round_trip.py"
    script.write_text(ROUND_TRIP)
    with_rank = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29631", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, script, ROOT / "bases" / "calc", tmp_path / "weights"],
            env=os.environ | with_rank | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=180)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    assert "rank 0: " in said[0]
    assert "rank 1: 8 tokens" in said[1]


def test_two_processes_run_out_of_patience_where_one_does(prepared, tmp_path):
    def hopeless(params):
        params["phases"]["legs"]["sft"] |= {"learning_rate": 0.3, "max_steps": 12}
        params["phases"]["legs"]["validation"] = {"problems": 8, "every_steps": 1, "metric": "accuracy", "patience": 2}

    ended = []
    for name in ("alone", "both"):
        project = clone(prepared, tmp_path / name)
        project.params(hopeless)
        if name == "both":
            project.params(two)
        project.repro("train@legs")
        ended.append((len(curve(project, "legs")), json.loads(project.read("models/legs/smolmath.json"))["step"]))
    assert ended[0] == ended[1]
    assert ended[0][0] < 12
