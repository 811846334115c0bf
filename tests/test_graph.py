"""dvc.yaml against the code, and our reading of it against DVC's own."""

import ast
import shutil
from pathlib import Path

import pytest

from smolmath.params.core import ParamsError, read_params
from smolmath.running.graph import load_stages, stages_of

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "smolmath"
# What every stage uses and no value in an out comes from. Listing it would retrain every model for a new word in a
# progress line. The two files are what `running` itself stands on: messages, and how a section of params is read.
INFRASTRUCTURE = ("running/", "errors.py", "params/core.py")


def imported_modules(script: Path) -> set[str]:
    """Modules of smolmath that a script imports, directly or not, as paths inside the package."""
    found: set[str] = set()
    waiting = [script]
    while waiting:
        for name in _names(ast.parse(waiting.pop().read_text())):
            for path in _paths(name):
                if path not in found:
                    found.add(path)
                    # The other sources and methods are loaded by name: dvc.yaml names the one that is used.
                    waiting.append(PACKAGE / path)
    return found


def is_code(module: str) -> bool:
    """Whether a module is more than its docstring and names that it passes on: what has those is followed itself."""
    body = ast.parse((PACKAGE / module).read_text()).body
    return any(not _passes_on(node) for node in body)


def _passes_on(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.ImportFrom():
            return all(alias.asname in (None, alias.name) for alias in node.names)
    return False


def _names(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "smolmath":
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "smolmath"}
    return names


def _paths(name: str) -> list[str]:
    parts = name.split(".")[1:]
    paths = ["/".join([*parts[:depth], "__init__.py"]) for depth in range(len(parts) + 1)]
    paths.append("/".join(parts) + ".py")
    return [path for path in paths if (PACKAGE / path).is_file()]


@pytest.fixture(scope="module")
def stages():
    return load_stages(read_params(ROOT / "recipes" / "demo.yaml"), ROOT / "dvc.yaml")


@pytest.fixture(scope="module")
def every_stage():
    """With the stages that the demo has none of."""
    params = read_params(ROOT / "recipes" / "demo.yaml")
    params["difficulty"] = {"rated": {"dataset": "sums", "model": "base"}}
    return load_stages(params, ROOT / "dvc.yaml")


def test_a_stage_depends_on_exactly_the_modules_it_imports(every_stage):
    wrong = {}
    for stage in every_stage.values():
        script = next(dep for dep in stage.deps if dep.startswith("stages/"))
        assert script in stage.cmd, f"{stage.name} runs another script than its dep {script}"
        needed = imported_modules(ROOT / script)
        if stage.name.startswith("fetch@"):  # sources are imported by name: `files`, and the one that `path` names
            sources = {"data/sources/files.py", stage.deps[-1].removeprefix("src/smolmath/")}
            needed |= sources.union(*(imported_modules(PACKAGE / source) for source in sources))
        if stage.name.startswith("train@"):  # methods likewise
            method = f"training/{stage.cmd.split('--method ')[1].split()[0]}/trainer.py"
            needed |= {method, *imported_modules(PACKAGE / method)}
        if "answers/judge.py" in needed:  # it runs this module in a process of its own
            needed.add("answers/judge_worker.py")
        needed = {m for m in needed if is_code(m) and not m.startswith(INFRASTRUCTURE)}
        listed = {
            path.relative_to(PACKAGE).as_posix()
            for dep in stage.deps
            if dep.startswith("src/smolmath")
            for path in ([ROOT / dep] if (ROOT / dep).is_file() else (ROOT / dep).rglob("*.py"))
        }
        if missing := needed - listed:
            wrong[stage.name] = f"imports but does not list: {sorted(missing)}"
        elif unused := {m for m in listed - needed if is_code(m) and not m.startswith(INFRASTRUCTURE)}:
            wrong[stage.name] = f"lists but does not import: {sorted(unused)}"
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


def test_our_reading_of_dvc_yaml_is_dvcs_own(stages, demo_folder, tmp_path):
    from dvc.repo import Repo

    folder = tmp_path / "project"
    shutil.copytree(demo_folder, folder, symlinks=True)
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    with Repo(str(folder)) as repo:
        theirs = {stage.addressing.split(":")[-1]: stage for stage in repo.index.stages}
    assert set(stages) == set(theirs)
    for name, ours in stages.items():
        their_deps = {dep.def_path for dep in theirs[name].deps if not dep.is_in_repo or dep.def_path != "params.yaml"}
        assert set(ours.deps) - {"params.yaml"} == their_deps - {"params.yaml"}, name
        assert set(ours.outs) == {out.def_path for out in theirs[name].outs}, name
        assert ours.cmd == theirs[name].cmd, name


@pytest.mark.parametrize("text", ["", "stages: 5", "stages: {a: 1}", "<<<<<<< HEAD\nstages:\n=======\n", "- stages"])
def test_a_broken_dvc_yaml_is_said_with_its_mend(text):
    with pytest.raises(
        ParamsError, match=r"dvc\.yaml holds no stages: settle its merge, or .*: git checkout dvc\.yaml"
    ):
        stages_of(text, {})
