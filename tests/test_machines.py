"""A phase on two machines under Slurm: two processes that share nothing but a folder, as machines do. Real DVC, torchrun."""

import json
import shutil
import sys

import pytest

from tests.conftest import ROOT, clone
from tests.test_processes import to_be_killed, to_compare
from tests.test_survival import visible


@pytest.fixture
def project(prepared_project, tmp_path):
    def short(params):
        to_compare(params)
        to_be_killed(params)
        params["hardware"] |= {"accelerate": None, "device": "cpu", "threads": 1}
        params["evaluate"] |= {"models": ["legs"], "datasets": ["legs"]}

    project = clone(prepared_project, tmp_path / "project")
    project.params(short)
    return project


STANDINS = {
    # The same machine three times, at once; what fails ends all.
    "srun": '#!/bin/bash\nshift\nfor i in $(seq 0 $((NODES - 1))); do SLURM_NODEID=$i "$@" & pids+=($!); done\n'
    'status=0; for pid in "${pids[@]}"; do wait $pid || status=1; done; exit $status\n',
    "scontrol": "#!/bin/bash\nfor i in $(seq $NODES); do echo 127.0.0.1; done\n",
}


@pytest.mark.slow
def test_the_slurm_script_runs_the_pipeline(project, tmp_path):
    """Slurm's own commands are played by stand-ins; without a GPU no machine can serve vLLM."""
    shutil.copytree(ROOT / "tools", project.folder / "tools")
    (project.folder / ".venv").symlink_to(sys.prefix)
    for name, text in STANDINS.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    slurm = {
        "PATH": f"{tmp_path / 'bin'}:{project.environment['PATH']}",
        "NODES": "2",
        "KIND": "cpu",
        "VLLM_NODES": "0",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_SUBMIT_DIR": str(project.folder),
    }
    done = project.run("bash", "configs/cluster/slurm.sh", **slurm)
    assert "train@sums: takes part as process" in done.stdout
    (journal,) = (project.folder / "journal" / "train@sums").iterdir()
    assert json.loads(journal.read_text())["processes"] == 2
    assert visible(project) == ["base", "legs", "sums"]
    assert (project.folder / "metrics" / "summary.json").is_file()
    none_left = project.run("bash", "configs/cluster/slurm.sh", check=False, **slurm | {"VLLM_NODES": "2"})
    assert none_left.returncode
    assert "2 machines and 2 for vLLM leave none to train on" in none_left.stderr
