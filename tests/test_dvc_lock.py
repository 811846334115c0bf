"""What docs/troubleshooting.md says of DVC's lock, done to DVC: the record that a killed dvc leaves, and its removal."""

import os
import re
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT, Project, wait_until

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
DVC_YAML = """
stages:
  slow:
    cmd: touch begun && sleep 100
    outs: [out]
  reader:
    cmd: cp out copy
    deps: [out]
    outs: [copy]
"""


def dvc(folder, *arguments):
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=Project.clean_environment(), capture_output=True, text=True)


@pytest.mark.slow
def test_a_killed_dvc_that_nobody_reaps_holds_its_outs_until_its_record_is_removed(tmp_path):
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    dvc(tmp_path, "init", "-q", "--no-scm")
    command = [sys.executable, "-m", "dvc", "repro", "-q", "slow"]
    killed = subprocess.Popen(command, cwd=tmp_path, env=Project.clean_environment(), start_new_session=True)
    wait_until(lambda: (tmp_path / "begun").exists(), killed)
    os.killpg(killed.pid, signal.SIGKILL)  # and no wait(): a zombie, as under a container's first process
    (tmp_path / "dvc.yaml").write_text(DVC_YAML.replace("sleep 100", "touch out"))
    refused = dvc(tmp_path, "repro", "slow")
    assert refused.returncode != 0
    assert f"/out' is busy, it is being blocked by:\n  (PID {killed.pid}): " in refused.stderr
    assert re.search(r"ERROR: failed to reproduce '.*': '.*' is busy, it is being blocked by:\n  \(PID \d+\): ", PAGE)
    assert "`rm .dvc/tmp/rwlock`" in PAGE
    (tmp_path / ".dvc" / "tmp" / "rwlock").unlink()
    assert dvc(tmp_path, "repro", "reader").returncode == 0
    killed.wait()
