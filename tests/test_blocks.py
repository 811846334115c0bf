"""The commands of the README and of the pages on experiments, evaluation and GPU boxes, run as they stand there.

In tiny copies of the project with a folder as DVC's remote. Names that a page leaves to the reader are filled in
(`FILLED`); what no test can run here is listed with the reason (`NOT_RUN`). A new line of a page is in neither list, so
it is run.
"""

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project, clone, once

pytestmark = pytest.mark.slow

PROGRAMS = ("make", "source", "smolmath", "dvc", "git", "gto", "nvidia-smi", "python", "tmux")
NOT_RUN = {
    "make": "what .ci/run itself is made of",
    "source .venv/bin/activate": "the tests' own environment is active",
    "nvidia-smi": "there may be no GPU",
    "tmux": "a session of its own",
    'python -c "import torch; print(torch.cuda.get_device_name())"': "there may be no GPU",
    "git clone ADDRESS": "every page begins in a clone",
    "smolmath chat": "tests/test_solve_command.py talks with it",
    "smolmath agent": "tests/test_agents.py has a model server for it",
    "smolmath serve": "tests/test_serving.py asks it",
    "smolmath page": "tests/test_page.py opens it",
}
FILLED = {
    "s3://BUCKET/smolmath": "{store}",
    "https://host/you/repository": "{hub}",
    "git clone …": "git clone {hub} laptop",
    "cd smolmath": "cd laptop",
    "QUESTION": "1 + 1 =",
    "FILE_OR_HUB_ID": "rows.jsonl",
    "NAME": "tried-1",
    # experiments that the world holds
    "exp-1 exp-2 exp-3": "before-1 before-2 after-1",
    "seed=1,2,3": "seed=1,2",
    "before-1,before-2,before-3 after-1,after-2,after-3": "before-1,before-2 after-1,after-2",
    "exp-1 exp-2": "before-1 after-1",
    "a1,a2,a3 b1,b2,b3": "before-1,before-2 after-1,after-2",
    "a1,a2,a3 c1,c2,c3": "before-1,before-2 after-1,after-2",
    # the tiny project's names, and fewer trials of them
    "--queue -S": "--queue --name tried -S",
    "1e-5,1e-4,1e-3": "1e-5,1e-4",
    "prompts_per_step=4,8": "prompts_per_step=4",
    "phases.gsm8k.grpo.max_steps=20": "phases.sums.grpo.max_steps=4",
    "phases.gsm8k": "phases.sums",
    "1e-6,5e-6,2e-5' -S seed=1,2": "1e-6' -S seed=1,2",
    "searches/demo.yaml": "searches/demo.yaml --trials 1",
}


# The end of a search, which trains two settings three times: the world has run it.
QUEUED = (
    "dvc exp run --queue --name before -S seed=1,2,3",
    "dvc exp run --queue --name after -S seed=1,2,3 -S phases.legs.sft.learning_rate=0.000239",
    "dvc queue start",
)


def blocks(page):
    """The commands of each block of a page that holds some; what a line explains after two spaces and # is left out."""
    found = []
    for body in re.findall(r"^```\w*\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M):
        lines = [re.split(r"\s{2,}#|\s# once", line)[0].strip().removeprefix("$ ") for line in body.splitlines()]
        if commands := [line for line in lines if line.split(" ")[0] in PROGRAMS and ":" not in line.split(" ")[0]]:
            found.append(commands)
    return found


def all_commands():
    pages = ("README.md", "docs/experiments.md", "docs/gpu-box.md", "docs/evaluation.md")
    return {page: [line for block in blocks(page) for line in block] for page in pages}


def test_the_pages_have_the_blocks_that_are_run():
    counts = {page: len(lines) for page, lines in all_commands().items()}
    assert counts["README.md"] > 20
    assert counts["docs/experiments.md"] > 20
    assert counts["docs/gpu-box.md"] > 12
    assert counts["docs/evaluation.md"] == 2
    assert {*QUEUED} <= {*all_commands()["docs/experiments.md"]}
    everything = "\n".join(line for lines in all_commands().values() for line in lines)
    assert [name for name in (*NOT_RUN, *FILLED) if name not in everything] == []  # no entry for what is gone


class World:
    """A project that has lived a little: a bare repository, a folder remote, two tags, trainings of two settings."""

    def __init__(self, folder: Path) -> None:
        self.box = Project(folder / "box")
        self.names = {"store": str(folder / "store"), "hub": str(folder / "hub.git")}

    def filled(self, line):
        for name, value in FILLED.items():
            line = line.replace(name, value)
        return line.format(**self.names) if "{" in line else line

    def run(self, line, project=None):
        (project or self.box).run("bash", "-ec", self.filled(line), PYTHONPATH="src", COLUMNS="200")

    def clean(self):
        """As after a commit: a page's lines are ways, not one script."""
        self.box.run("git", "reset", "-q", "--hard")
        self.box.dvc("checkout", "-q", "--force")

    def wait_for_the_queue(self):
        deadline = time.monotonic() + 1500
        while re.search(r"Queued|Running", told := self.box.dvc("queue", "status").stdout):
            assert time.monotonic() < deadline, told
            time.sleep(2)
        assert "Failed" not in told, told


@pytest.fixture
def world(finished_project, tmp_path):
    def make(folder):
        folder.mkdir()
        lived = World(folder)
        box = clone(finished_project, folder / "box")
        shutil.copytree(ROOT / "searches", box.folder / "searches")
        row = {"question": "What is 1 + 1?", "reference_answer": "2", "completion": "The answer is 2."}
        box.write("rows.jsonl", json.dumps(row) + "\n")
        box.write("completions.jsonl", json.dumps(row) + "\n")
        box.run("git", "add", "-A")
        box.run("git", "commit", "-qm", "searches")
        box.run("git", "tag", "v1")
        box.params(lambda params: params["phases"]["legs"]["sft"].update(learning_rate=2e-3))
        box.repro()
        box.run("git", "add", "-A")
        box.run("git", "commit", "-qm", "another rate")
        box.run("git", "tag", "v2")
        for line in QUEUED:
            lived.run(line)
        lived.wait_for_the_queue()

    shared = once("lived", make)
    shutil.copytree(shared, tmp_path / "world", symlinks=True)
    found = World(tmp_path / "world")
    found.box.run("git", "init", "-q", "--bare", "-b", "main", found.names["hub"])
    found.box.run("git", "remote", "add", "origin", found.names["hub"])
    found.box.run("git", "push", "-q", "-u", "origin", "main", "--tags")
    return found


def is_left_out(line):
    return any(line.startswith(name) for name in NOT_RUN)


def test_every_command_of_the_readme_works(world):
    for line in all_commands()["README.md"]:
        if not is_left_out(line):
            world.run(line)
            if line.startswith("dvc exp run"):
                world.clean()
    assert (world.box.folder / "reports" / "index.html").exists()
    assert (world.box.folder / "out.zip").exists()


def test_every_command_of_the_page_on_experiments_works(world):
    for block in blocks("docs/experiments.md"):
        if block[0].startswith("git clone"):
            self_contained(world, block)
            continue
        for line in [line for line in block if line not in QUEUED]:
            if line.startswith(("dvc exp run", "dvc exp apply", "dvc remote", "dvc exp branch")):
                world.clean()
            world.run(line)
            if line.startswith("dvc queue start"):
                world.wait_for_the_queue()
            if line.startswith("dvc remote"):
                world.box.run("git", "commit", "-qam", "remote")
                world.box.run("git", "push", "-q")
                world.box.run("git", "checkout", "v1", "--", "dvc.lock", "params.yaml")  # pushed when it was new
                world.box.dvc("checkout", "-q", "--force")
                world.box.dvc("push", "-q")
                world.clean()


def self_contained(world, block):
    """The laptop: a clone of its own, with nothing but what the remotes have."""
    first, *others = block
    steps = [step for step in world.filled(first).split(" && ") if not is_left_out(step)]
    world.box.run("bash", "-ec", f"cd .. && {' && '.join(steps)}", PYTHONPATH="src")
    laptop = Project(world.box.folder.parent / "laptop")
    assert not (laptop.folder / "models").exists()
    for line in others:
        world.run(line, laptop)


def test_every_command_of_the_page_on_gpu_boxes_works(world):
    box = world.box
    for block in blocks("docs/gpu-box.md"):
        for line in block:
            if is_left_out(line):
                continue
            if line.startswith("dvc exp run"):
                world.clean()
            if line.startswith("git add"):
                box.params(lambda params: params["phases"]["legs"]["sft"].update(learning_rate=3e-3))
                box.repro()
            world.run(line)
            if line.startswith("dvc queue start"):
                world.wait_for_the_queue()
    assert "are in sync" in box.dvc("status", "--cloud").stdout


def test_every_command_of_the_page_on_evaluation_works(world):
    for line in all_commands()["docs/evaluation.md"]:
        world.run(line)
