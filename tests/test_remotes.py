"""Results that travel: a folder and an S3 server as DVC remotes, a clone that runs nothing, and what goes wrong."""

import os
import subprocess
import sys
import urllib.request

import pytest

from tests.conftest import Project
from tests.test_provenance import made  # noqa: F401  # the fixture: two stages that have run

BUCKET = "results"
pytestmark = pytest.mark.slow


@pytest.fixture
def project(made, tmp_path):  # noqa: F811
    """A copy of the small project that has run, with its cache."""
    subprocess.run(["cp", "-a", str(made.folder), str(tmp_path / "project")], check=True)
    return Project(tmp_path / "project", served=False)


@pytest.fixture
def s3(project):
    """An S3 server on loopback that knows one bucket, and a remote that points there."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT"))
    project.dvc("remote", "add", "--default", "store", f"s3://{BUCKET}/dvc")
    project.dvc("remote", "modify", "store", "endpointurl", address)
    project.run("git", "commit", "-qam", "a remote")
    keys(project, "key", "store-password")
    yield address
    know_users(address, requests_before=b"inf")
    server.stop()


def know_users(address, requests_before=b"0"):
    """From the next request on, the server knows its users: there are none."""
    told = urllib.request.Request(
        f"{address}/moto-api/reset-auth", data=requests_before, headers={"Content-Type": "text/plain"}
    )
    urllib.request.urlopen(told)


def keys(project, key, secret):
    """In .dvc/config.local, which Git ignores."""
    project.dvc("remote", "modify", "--local", "store", "access_key_id", key)
    project.dvc("remote", "modify", "--local", "store", "secret_access_key", secret)
    assert secret not in project.run("git", "grep", secret, check=False).stdout


def clone(project, folder):
    subprocess.run(["git", "clone", "-q", str(project.folder), str(folder)], check=True)
    return Project(folder, served=False)


def hashes(project):
    return {p.name: p.read_bytes() for p in sorted((project.folder / "models" / "one").iterdir())}


def test_a_folder_as_a_remote_carries_results_to_a_clone_that_runs_nothing(project, tmp_path):
    project.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    project.run("git", "commit", "-qam", "a remote")
    project.dvc("push")
    laptop = clone(project, tmp_path / "laptop")
    assert laptop.repro("--pull", "--allow-missing") == []
    assert laptop.repro("--pull") == []
    laptop.dvc("pull")
    assert hashes(laptop) == hashes(project)
    assert "results are what dvc.lock records" in laptop.run("smolmath", "verify", PYTHONPATH="src").stdout


def test_an_s3_store_carries_results_to_a_clone(project, s3, tmp_path):
    project.dvc("push")
    laptop = clone(project, tmp_path / "laptop")
    keys(laptop, "key", "store-password")
    laptop.dvc("pull", "models/one")
    assert hashes(laptop) == hashes(project)
    assert laptop.repro("--pull") == []


def test_a_store_that_refuses_the_key_is_told_and_nothing_is_lost(project, s3):
    know_users(s3)
    keys(project, "wrong", "wrong-secret")
    done = project.dvc("push", check=False)
    assert done.returncode != 0
    told = done.stderr + done.stdout
    assert "Forbidden: An error occurred (403)" in told, told
    assert "wrong-secret" not in told
    assert "Traceback" not in told
    still_here(project)


def test_a_store_that_is_full_is_told_and_nothing_is_lost(project, tmp_path):
    (tmp_path / "store").mkdir()
    project.write("models/one/big.bin", "x")  # replaces nothing: a file more than the disk holds
    (project.folder / "models" / "one" / "big.bin").write_bytes(os.urandom(600_000))
    project.dvc("commit", "--force", "train@one")
    project.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    inside = f"mount -t tmpfs -o size=200k none {tmp_path / 'store'} && {sys.executable} -m dvc push"
    done = project.run("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()[:200]}")
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    still_here(project)


def still_here(project):
    """The results lie in the workspace and in the cache: nothing is run again, and a lost workspace comes back."""
    assert project.repro() == []
    before = hashes(project)
    subprocess.run(["rm", "-r", str(project.folder / "models")], check=True)
    project.dvc("checkout")
    assert hashes(project) == before


def test_a_lock_that_another_dvc_holds_is_told(project):
    from dvc.repo import Repo

    with Repo(str(project.folder)) as repo, repo.lock:
        done = project.dvc("repro", check=False)
    assert done.returncode != 0
    assert "Unable to acquire lock" in done.stderr
    assert "Traceback" not in done.stderr
    assert project.repro() == []


def test_a_registered_model_is_found_by_its_name(project, tmp_path):
    text = project.read("dvc.yaml")
    project.write(
        "dvc.yaml",
        text + "artifacts:\n  one:\n    path: models/one\n    type: model\n  later:\n    path: models/later\n",
    )
    project.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    project.run("git", "commit", "-qam", "registered")
    project.dvc("push")
    project.run("gto", "register", "one", "--version", "v1.0.0")
    project.run("gto", "assign", "one", "--version", "v1.0.0", "--stage", "prod")
    for i, which in enumerate((["--rev", "v1.0.0"], ["--stage", "prod"])):
        project.dvc("artifacts", "get", str(project.folder), "one", *which, "-o", str(tmp_path / f"got{i}"))
        assert (tmp_path / f"got{i}" / "second.txt").read_text() == "0.0001"
    assert project.repro() == []  # an entry of a model that this recipe has not is no harm
