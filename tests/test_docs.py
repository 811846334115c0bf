"""The pages under docs/ say what the code does: their links, computed parts, quoted messages, diffs and the notebook."""

import ast
import json
import re
import shutil
import subprocess
import sys
from functools import cache

import pytest

from tests.conftest import ROOT, Project, new_project
from tests.pages import DOCS, PARTS, filled, recipes

PAGES = sorted(DOCS.glob("*.md"))
GROUP = (  # of the question 4 + 3 - 2 =
    "<reasoning>\n4+3=7\n7-2=5\n</reasoning>\n<answer>\n5\n</answer>",
    "The answer is 5.",
    "The answer is 7.",
    "The answer is 9.",
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_local_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", without_code(page.read_text()))
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_every_page_is_in_the_index():
    index = (DOCS / "README.md").read_text()
    assert [page.name for page in PAGES if page.name != "README.md" and f"]({page.name})" not in index] == []


@pytest.mark.parametrize("page", PARTS)
def test_the_computed_parts_are_what_the_code_computes(page):
    assert (DOCS / page).read_text() == filled(page), "run: python -m tests.pages"


def test_every_key_that_a_recipe_sets_for_a_phase_is_explained():
    page = (DOCS / "hyperparameters.md").read_text()
    explained = page.split("## Optimiser")[1]  # the tables above it are computed: they name every key anyway
    keys = set()
    for _, params in recipes():
        for phase in params["phases"].values():
            keys |= {*phase[phase["method"]], *phase} - {"method", "dataset", "init", "grpo", "sft"}
    assert sorted(key for key in keys if not re.search(rf"`{key}[`.]", explained)) == []


def test_the_defaults_of_trl_on_the_page_are_those_of_the_installed_one():
    found = dict(re.findall(r"\| `(\w+)` \| `?([\w.]+)`? (?=\|)", part(DOCS / "grpo.md", "| field |")))
    assert {"loss_type", "beta", "scale_rewards", "epsilon"} <= set(found)
    defaults = trl_defaults("grpo")
    assert {name: str(defaults[name]) for name in found} == found


@cache
def trl_defaults(method):
    """Field -> default, read from TRL's source: importing it takes seconds."""
    import importlib.util

    origin = importlib.util.find_spec("trl").origin
    source = (ROOT / origin).parent / "trainer" / f"{method}_config.py"
    found = {}
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
            default = next((word.value for word in node.value.keywords if word.arg == "default"), None)
            if isinstance(default, ast.Constant):
                found[node.target.id] = default.value
    return found


@pytest.mark.slow
def test_the_group_on_the_page_is_what_the_trainer_makes_of_it(tmp_path):
    from tests.test_training import GRPO, SUMS, grpo_trainer

    rewards = {"correctness": 2.0, "soft_format": 0.4}
    phase = GRPO.model_copy(
        update={"prompts_per_step": 1, "rewards": rewards, "grpo": {"num_generations": 4, "max_steps": 1}}
    )
    question = SUMS[0]["question"].replace("1 + 2 - 3", "4 + 3 - 2")
    trainer, _ = grpo_trainer(tmp_path, phase, problems=[SUMS[0] | {"question": question, "reference_answer": "5"}])
    ids = [[*trainer.processing_class(text)["input_ids"], trainer.processing_class.eos_token_id] for text in GROUP]
    trainer._generate_single_turn = lambda *_: (ids, None)
    trainer.model.train()
    scored = trainer._generate_and_score_completions([trainer.train_dataset[0]] * 4)
    parts, advantages = trainer.scored.rewards, scored["advantages"]
    totals = parts @ trainer.reward_weights
    rows = [["completion", "tokens", "correctness", "soft_format", "$R$", "$R$ − mean", "$A$"], ["---"] * 7]
    for i, text in enumerate(GROUP):
        values = (totals[i], totals[i] - totals.mean(), advantages[i])
        shown = [f"{value:.2f}".replace("-", "−") for value in values]
        rows.append([f"`{text}`".replace("\n", " ⏎ "), str(len(ids[i])), *(f"{p:g}" for p in parts[i]), *shown])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    page = (DOCS / "grpo.md").read_text()
    assert "\n".join(lines) in page, "\n".join(lines)
    # What the page says of the step: the mean, the spread, T, and the loss with a ratio of 1.
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer._compute_loss(trainer.model, scored).item()
    tokens = sum(map(len, ids))
    by_hand = -sum(float(a) * len(one) for a, one in zip(advantages, ids, strict=True)) / tokens
    assert loss == pytest.approx(by_hand, abs=1e-5)
    said = f"The mean is {totals.mean():.2f}, the standard deviation {totals.std():.2f}; T = {tokens}, and the loss {loss:.2f}"
    assert said.replace("-", "−") in page, said


def test_every_quoted_message_is_one_that_the_code_prints():
    quoted = re.findall(r"^> (.+)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(quoted) >= 20
    known = [text for path in sorted((ROOT / "src").rglob("*.py")) for text in texts(ast.parse(path.read_text()))]
    missing = [line for line in quoted if not any(quotes(line, text) for text in known)]
    assert missing == []


def test_the_message_test_can_tell():
    (text,) = texts(ast.parse('f"{path}: {n} rows " "are too few: add {some}."'))
    assert text == "…: … rows are too few: add {some}."
    assert quotes("…: … rows are too few: …", text)
    assert quotes("rows are too few", text)
    assert not quotes("…: … rows are too many", text)
    assert not quotes("add … rows", text)


def texts(tree):
    """Every string of a module, with … where a value is put in."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def quotes(line, text):
    """Whether the pieces between the line's … stand in the text, in this order."""
    position = 0
    for piece in line.split("…"):
        found = text.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return True


@pytest.fixture
def applied(tmp_path):
    """A copy of what the examples of extending.md touch, with all of their diffs applied."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name in ("src", "stages", "bases"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "recipes" / "demo.yaml", tmp_path / "params.yaml")
    for diff in diffs():
        done = subprocess.run(
            ["git", "apply", "-"], cwd=tmp_path, input=diff, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{done.stderr}\n{diff}"
    return tmp_path


def diffs():
    return re.findall(r"```diff\n(.*?)```", (DOCS / "extending.md").read_text(), re.DOTALL)


EXAMPLES = """
from smolmath.data.layouts import choose_layout
from smolmath.data.examine import _PICTURE, REASONS
from smolmath.running.graph import load_stages
from smolmath.rewards.grpo.rewards import REWARDS
from smolmath.evaluation.metrics import evaluation_metrics
from smolmath.params.core import read_params

row = {
    "problem": "Half of 48?", "answer_value": "A", "answer_analysis": ["48/2 = 24."], "qtype": "single_choice",
    "answer_option_list": [[{"aoVal": "A", "content": "24 "}], [{"aoVal": "B", "content": "22"}]],
}
layout = choose_layout(list(row), name=None, columns=None, where="x.jsonl")
found = layout.read(row)
assert (layout.name, found.question) == ("scq", "Half of 48?\\n(A) 24\\n(B) 22"), found
assert REWARDS["ends_with_answer"]([None] * 2, ["<answer>18</answer>\\n", "<answer>18</answer> Bye"]) == [1.0, 0.0]
row = {"problem_id": "a", "sample": 0, "correct": True, "strict": True, "formatted": True, "finished": True, "tokens": 3}
rows = [row | {"predicted_answer": "18"}, row | {"problem_id": "b", "predicted_answer": None}]
assert evaluation_metrics(rows, {})["answered"] == 0.5
assert "needs_picture" in REASONS
assert _PICTURE.search("See the diagram below.") and not _PICTURE.search("She figures below 3.")
stage = load_stages(read_params())["measure@divisors"]
assert stage.outs == ("metrics/questions/divisors.json",)
"""


def test_the_examples_of_extending_apply_and_work(applied):
    assert len(diffs()) == 6
    environment = {**Project.clean_environment(), "PYTHONPATH": "src"}
    for command in (["-m", "smolmath.cli", "check"], ["-c", EXAMPLES]):
        done = subprocess.run(
            [sys.executable, *command], cwd=applied, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_dataset_and_the_stage_of_extending_run(applied):
    environment = {**Project.clean_environment(), "PYTHONPATH": "src"}
    for command in (["init", "-q", "--no-scm"], ["repro", "-q", "measure@divisors"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=applied, env=environment, check=True)
    measured = json.loads((applied / "metrics" / "questions" / "divisors.json").read_text())
    assert measured["n"] > 250


def without_code(text):
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(text):
    """GitHub's names of a page's headings."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def part(page, start):
    """From a line that begins so to the next empty line."""
    text = page.read_text()
    assert text.count(f"\n{start}") == 1, (page.name, start)
    return text.partition(f"\n{start}")[2].partition("\n\n")[0]


NOTEBOOK = ROOT / "notebooks" / "demo.ipynb"


def test_the_notebook_is_committed_without_outputs():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 5
    assert [cell["source"] for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Jupyter's own parts
def test_the_notebook_runs_in_a_checkout_whose_demo_is_trained(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    project = trained_copy(tmp_path / "project")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = project.folder / "notebooks"
    folder.mkdir()
    environment = project.environment | {"HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute(env=environment)
    printed = ["".join(o.get("text", "") for o in cell.get("outputs", [])) for cell in notebook.cells]
    text = "\n".join(printed)
    assert "make setup" not in text
    assert "Running stage" not in text
    accuracy = json.loads((ROOT / "metrics" / "eval" / "sums" / "sums.json").read_text())["accuracy"]
    assert re.search(rf"sums  on sums  greedy +{100 * accuracy:.1f} ±", text)
    assert "sums is better by" in text
    assert re.search(r"--- sums\n<reasoning>\n8\+3=11\n11-4=7\n</reasoning>\n<answer>\n7\n</answer>", text)
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


def trained_copy(folder):
    """A copy of the project with the demo's results, for which DVC has nothing to do."""
    wanted = ["models/legs/model.safetensors", "results/verdicts/legs/legs.parquet", "data/split/sums/train.parquet"]
    if missing := [name for name in wanted if not (ROOT / name).exists()]:
        pytest.skip(f"the demo's results are not here ({', '.join(missing)}): run make demo first")
    if (ROOT / "params.yaml").read_text() != (ROOT / "recipes" / "demo.yaml").read_text():
        pytest.skip("params.yaml is another recipe than the demo")
    project = new_project(folder, served=False)
    for name in ("data", "models", "results", "metrics", "journal"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    shutil.copyfile(ROOT / "dvc.lock", folder / "dvc.lock")
    (folder / ".venv").symlink_to(sys.prefix)
    project.dvc("commit", "-q", "-f")  # into a cache of its own, whatever has been edited since the demo ran
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "trained")
    assert project.repro("--dry") == []
    return project


def test_every_picture_is_small_and_has_words_for_who_cannot_see_it():
    shown = {}
    for page in PAGES:
        for words, path in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", page.read_text()):
            assert words, (page.name, path)
            shown[(page.parent / path).resolve()] = page
    pictures = {path for path in (DOCS / "images").iterdir() if path.name != "reward.png"}  # the README's
    assert pictures == {path for path in shown if path.parent == DOCS / "images"}
    assert [path.name for path in pictures if path.stat().st_size > 60_000] == []


@pytest.mark.slow
def test_the_bad_runs_of_the_page_can_be_made_again(tmp_path):
    command = [sys.executable, ROOT / "tools" / "bad_runs.py", "short", "--steps", "2"]
    command += ["--curves", tmp_path / "runs", "--images", tmp_path / "images"]
    subprocess.run(command, check=True, env=Project.clean_environment())
    assert len((tmp_path / "runs" / "short.csv").read_text().splitlines()) == 3
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        path.name for path in (DOCS / "images").glob("run-short-*.svg")
    }
