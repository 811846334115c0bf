"""A phase on two machines: two processes that share nothing but a folder, as machines do. Real DVC, real gloo."""

import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from tests.conftest import ROOT, clone, wait_until
from tests.test_processes import parts, to_be_killed, to_compare
from tests.test_survival import end_of, results, start, start_and_train, visible

pytestmark = pytest.mark.slow

CONFIG = "configs/two-machines.yaml"


def two_machines(params):
    to_compare(params)
    to_be_killed(params)
    params["hardware"] |= {"accelerate": CONFIG, "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def prepared(prepared_project, tmp_path_factory):
    project = clone(prepared_project, tmp_path_factory.mktemp("prepared") / "project")
    project.params(two_machines)
    cpu = project.read("configs/accelerate/cpu.yaml")
    project.write(CONFIG, cpu.replace("num_machines: 1", "num_machines: 2\nmain_process_ip: 127.0.0.1"))
    project.repro("split@sums")
    return project


@pytest.fixture
def project(prepared, tmp_path):
    return clone(prepared, tmp_path / "project")


@pytest.fixture
def joined(project):
    """Start `smolmath join` as machine 1; ended with the test."""
    started = []

    def start_joining(*arguments):
        with (project.folder / "join.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "smolmath.cli", "join", *(arguments or ("--machine", "1"))],
                cwd=project.folder,
                env=project.environment | {"PYTHONPATH": "src", "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start_joining
    for process in started:
        process.kill()
        process.wait()


def training_on_both(project, join):
    """(dvc, its stage, the stage's process 0, the other machine's process 1), once it has trained four steps."""
    dvc, stage = start_and_train(project, 4)
    return dvc, stage, parts(stage)[0], parts(psutil.Process(join.pid))[1]


def test_two_machines_train_as_two_processes_on_one(project, joined, tmp_path):
    waiting = start(project)  # before anybody has joined
    wait_until(
        lambda: "waiting for machine 1: run `smolmath join --machine NUMBER` there" in project.read("log"), waiting
    )
    join = joined("--machine", "1", "--session", "a")
    assert waiting.wait(300) == 0, project.read("log")
    wait_until(lambda: "train@sums: done" in project.read("join.log"), join)
    one = clone(project, tmp_path / "one")
    shutil.rmtree(one.folder / "models" / "sums")
    one.params(lambda params: params["hardware"].update(accelerate="configs/accelerate/cpu.yaml", threads=2))
    one.dvc("repro", "--force", "--single-item", "train@sums")
    assert results(project) == results(one)
    over = project.run(sys.executable, "-m", "smolmath.cli", "join", "--over", "--session", "a", PYTHONPATH="src")
    assert over.returncode == 0
    assert join.wait(30) == 0
    assert not list((project.folder / ".work" / "launches").glob("*.launch"))


def test_a_machine_that_is_gone_ends_the_training_which_goes_on_later(project, joined):
    join = joined()
    dvc, _, first, second = training_on_both(project, join)
    second.kill()
    join.kill()
    dvc.wait(180)
    log = project.read("log")
    assert "error: train@sums: machine 1 of 2 is gone: it has not been heard of for 30 s" in log
    assert "goes on from the last whole checkpoint" in log
    assert not first.is_running()
    assert visible(project) == ["base"]


def test_machine_0_says_what_ended_another_ones_process(project, joined):
    join = joined()
    dvc, _, first, second = training_on_both(project, join)
    second.kill()
    dvc.wait(60)
    assert "error: train@sums: on machine 1 process 1 was ended by SIGKILL" in project.read("log")
    assert not first.is_running()
    assert join.poll() is None  # it waits for the next


def test_the_processes_elsewhere_end_when_machine_0_is_gone(project, joined):
    join = joined()
    dvc, stage, first, second = training_on_both(project, join)
    for process in (dvc, stage, first):
        process.kill()
    dvc.wait()
    end_of(second)
    assert join.poll() is None


def test_a_stop_reaches_the_other_machine(project, joined):
    join = joined()
    dvc, stage, _, second = training_on_both(project, join)
    stage.send_signal(signal.SIGTERM)
    dvc.wait(120)
    assert "stopped by SIGTERM after step" in project.read("log")
    end_of(second)


STANDINS = {
    # The same machine three times, at once; what fails ends all.
    "srun": '#!/bin/bash\nshift\nfor i in $(seq 0 $((NODES - 1))); do SLURM_NODEID=$i "$@" & pids+=($!); done\n'
    'status=0; for pid in "${pids[@]}"; do wait $pid || status=1; done; exit $status\n',
    "scontrol": "#!/bin/bash\nfor i in $(seq $NODES); do echo 127.0.0.1; done\n",
}


def test_the_slurm_script_runs_the_pipeline(project, tmp_path):
    """Slurm's own commands are played by stand-ins; without a GPU no machine can serve vLLM."""
    shutil.copytree(ROOT / "tools", project.folder / "tools")
    (project.folder / ".venv").symlink_to(sys.prefix)
    for name, text in STANDINS.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    def one_evaluation(params):
        params["hardware"]["accelerate"] = None
        params["evaluate"] |= {"models": ["legs"], "datasets": ["legs"]}

    project.params(one_evaluation)
    slurm = {
        "PATH": f"{tmp_path / 'bin'}:{project.environment['PATH']}",
        "PYTHONPATH": str(project.folder / "src"),
        "NODES": "2",
        "KIND": "cpu",
        "VLLM_NODES": "0",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_SUBMIT_DIR": str(project.folder),
    }
    done = project.run("bash", "configs/cluster/slurm.sh", **slurm)
    assert "train@sums: takes part as machine 1 of 2" in done.stdout
    assert visible(project) == ["base", "legs", "sums"]
    assert (project.folder / "metrics" / "summary.json").is_file()
    none_left = project.run("bash", "configs/cluster/slurm.sh", check=False, **slurm | {"VLLM_NODES": "2"})
    assert none_left.returncode
    assert "2 machines and 2 for vLLM leave none to train on" in none_left.stderr
