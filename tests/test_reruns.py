"""What each kind of edit runs again: the table, held against every file, against dvc.yaml, and by `dvc repro`.

A row is a class of edits with one answer. `runs` are the stages that the edit itself touches. An edited comment
changes no out, so that exactly they run; other values may change outs, and then what reads those runs too.

DVC itself decides of every row. It runs the stages' scripts only where REAL_STAGES is set (`make test-reruns`, 40
minutes): what it decides is the same without.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from smolmath.params.core import lookup, read_params
from smolmath.running.graph import load_stages
from smolmath.running.hashes import content_hash
from smolmath.running.runs import inputs
from tests.conftest import ROOT, make_tiny, new_project

# DVC runs in this process, and what it is built on warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

REAL = bool(os.environ.get("REAL_STAGES"))
LIBRARY = "src/smolmath"
STAGES = {
    "check", "base", "summarize", "fetch@sums", "fetch@legs", "process@sums", "process@legs", "split@sums", "split@legs",
    "train@sums", "train@legs",
    *(f"{stage}@{model}-{dataset}" for stage in ("generate", "evaluate") for model in ("base", "sums")
      for dataset in ("sums", "legs")),
}  # fmt: skip

# Files, or folders that end in "/", of src/smolmath -> the stages that an edit of any of them runs again.
MODULES = {
    "what no result depends on": (
        """__init__.py cli.py errors.py commands/ running/ studies/ using/ data/__init__.py data/sources/__init__.py
        data/sources/hub.py evaluation/__init__.py evaluation/difficulty.py rewards/__init__.py training/__init__.py""",
        "",
    ),
    "the grader": ("answers/", "check process@* split@* train@* evaluate@*"),
    "what scripts a text has": ("scripts.py", "process@* evaluate@*"),
    "the answer's tags": ("tags.py", "check process@* split@* train@* generate@* evaluate@*"),
    "how tables are written": ("records.py", "check fetch@* process@* split@* train@* generate@* evaluate@* summarize"),
    "what a problem's id is": ("data/problems.py", "process@* split@*"),
    "what some sets say of a problem beside": ("traits.py", "process@* split@* evaluate@*"),
    "how raw tables are read": ("data/tables/", "fetch@* process@*"),
    "the generator of problems": ("data/sources/reasoning_gym.py", "fetch@*"),
    "local files as a source": ("data/sources/files.py", "fetch@*"),
    "layouts, filters, processing": (
        """data/layouts/ data/examine.py data/filters/__init__.py data/filters/characters.py
        data/filters/escapes.py data/process/""",
        "process@*",
    ),
    "what is too like a test": ("data/filters/duplicates.py data/filters/overlap.py", "process@* split@*"),
    "the split": ("data/split.py", "split@*"),
    "the base": ("data/bases.py", "base"),
    "the kernels, engines, prompts": ("kernels.py engines/ prompts.py", "train@* generate@*"),
    "generation in batches": ("evaluation/several.py evaluation/generation.py", "generate@*"),
    "what trainings share": ("training/phase/", "train@*"),
    "GRPO alone": ("training/grpo/", "train@sums"),
    "rewards, which evaluation shows too": ("rewards/grpo/", "check train@sums evaluate@*"),
    "SFT alone": ("training/sft/ rewards/sft/", "train@legs"),
    "judging": (
        "evaluation/arithmetic.py evaluation/judging.py evaluation/repetition.py evaluation/voting.py", "evaluate@*"),
    "metrics": ("evaluation/metrics.py", "evaluate@* summarize"),
    "statistics": ("evaluation/uncertainty.py evaluation/verdicts.py", "evaluate@* summarize"),
    "statistics of several trainings, and of several datasets": ("evaluation/trainings.py evaluation/suite.py", ""),
    "what each phase keeps": ("evaluation/paired.py evaluation/retention.py", "summarize"),
    "params of no stage": ("params/__init__.py params/core.py params/difficulty.py params/trl_fields.py", "check"),
    "params of datasets": ("params/datasets.py", "check fetch@* process@*"),
    "params of processing": ("params/process.py", "check process@* split@*"),
    "params of the split": ("params/split.py", "check split@*"),
    "params of the model": ("params/model.py", "check base"),
    "params of evaluation": ("params/evaluate.py", "check generate@* summarize"),
    "params of phases": ("params/phases.py", "check train@*"),
    "params of the prompt": ("params/prompt.py", "check train@* generate@* evaluate@*"),
}  # fmt: skip
SCRIPTS = {
    "check": "check", "fetch": "fetch@*", "process": "process@*", "split": "split@*", "base": "base", "difficulty": "",
    "train": "train@*", "generate": "generate@*", "evaluate": "evaluate@*",
    "summarize": "summarize",
}  # fmt: skip
# Other files of the repository; the scratch copy gets them where it lacks them.
OTHERS = {
    "what people read, tests, tools": (
        "README.md docs/page.md tests/test_x.py benchmarks/x.py tools/x.py recipes/gsm8k.yaml searches/x.yaml pyproject.toml",
        "",
    ),
    "a file of the shipped base": ("bases/calc/make.py", "base"),
    "a file of a dataset of one's own": ("rows/train.jsonl", "fetch@mine"),
}
# Keys and their new values. `check` reads all of params.yaml: it runs too, and nothing follows from it.
PARAMS = {
    "hardware": (
        {"hardware.device": "cpu", "hardware.devices": "all", "hardware.micro_batch": 4, "hardware.threads": 1,
         "hardware.workers": 1, "hardware.gpu_memory": 0.5, "hardware.vllm_memory": 0.5, "hardware.vllm_sleep": False,
         "hardware.checkpoint_minutes": 1.0}, ""),
    "tracking": (
        {"tracking.project": "other", "tracking.group": "g", "tracking.tags": ["t"], "tracking.print_completions": 1}, ""),
    "sampling": (
        {"evaluate.sampling.samples": 2, "evaluate.sampling.temperature": 0.9, "evaluate.sampling.top_p": 0.9,
         "evaluate.sampling.problems": 5, "evaluate.sampling.batch_size": 3,
         "evaluate.sampling.max_completion_tokens": 12}, "generate@*"),
    "a GRPO phase": (
        {"phases.sums.rewards.soft_format": 0.5, "phases.sums.grpo.learning_rate": 1e-4, "phases.sums.prompts_per_step": 4,
         "phases.sums.validation.patience": 3, "phases.sums.sample_steps": 2, "phases.sums.checkpoint_steps": 2,
         "phases.sums.max_prompt_tokens": 100, "phases.sums.answer_grounding_weight": 0.1,
         "phases.sums.resample": {"rounds": 2}, "phases.sums.online_difficulty": {"skip": 0.5}}, "train@sums summarize"),
    "an SFT phase": (
        {"phases.legs.sft.learning_rate": 1e-3, "phases.legs.examples_per_step": 8, "phases.legs.preflight": "warn",
         "phases.legs.pass_rate": None, "phases.legs.max_prompt_tokens": 100}, "train@legs summarize"),
    "where a phase begins": ({"phases.legs.init": "base"}, "train@legs summarize"),
    "an adapter": (
        {"phases.legs.lora": {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": ["q_proj"]}}, "train@legs summarize"),
    "the models that are evaluated": ({"evaluate.models": ["base", "sums", "legs"]}, "generate@legs-* evaluate@legs-* summarize"),
    "the datasets that are evaluated": ({"evaluate.datasets": ["sums"], "evaluate.models": ["base", "sums"]}, "summarize"),
    "the seed": ({"seed": 2}, "train@* generate@*"),
    "the prompt": ({"prompt.system": "Think.", "prompt.reasoning_tag": "think"}, "train@* generate@* evaluate@*"),
    "the weights' type": ({"model.dtype": "bfloat16"}, "base train@* generate@*"),
    "the split's seed": ({"split.seed": 1, "split.test_fraction": 0.2}, "split@*"),
    "a filter": (
        {"process.question_chars": [1, 3000], "process.shard_rows": 60,
         "process.multiple_choice": "drop"}, "process@*"),
    "what is too like a test": ({"process.contamination.share": 0.9, "process.near_duplicates": 0.9}, "process@* split@*"),
    "a dataset's task": ({"datasets.legs.options.max_instances": 4, "datasets.legs.seed": 2}, "fetch@legs process@legs split@*"),
    "the protected dataset's task": ({"datasets.sums.seed": 2}, "fetch@sums process@* split@*"),
    "a rating of problems": (
        {"difficulty.rated": {"dataset": "sums", "model": "base", "problems": 8, "samples": 2, "temperature": 1.0,
                              "top_p": 1.0, "max_completion_tokens": 12, "batch_size": 8}}, "difficulty@rated"),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    files: tuple[str, ...]
    params: dict
    runs: str


def _files(names):
    """Every file of a list of files and folders of src/smolmath."""
    for name in names.split():
        path = ROOT / LIBRARY / name
        found = [f for f in sorted(path.rglob("*")) if f.suffix in (".py", ".j2")] if path.is_dir() else [path]
        yield from (f.relative_to(ROOT).as_posix() for f in found)


TABLE = {
    **{name: Row(tuple(_files(files)), {}, runs) for name, (files, runs) in MODULES.items()},
    **{f"stages/{script}.py": Row((f"stages/{script}.py",), {}, runs) for script, runs in SCRIPTS.items()},
    **{name: Row(tuple(files.split()), {}, runs) for name, (files, runs) in OTHERS.items()},
    **{f"params: {name}": Row((), values, runs) for name, (values, runs) in PARAMS.items()},
}


def expand(patterns, stages=STAGES):
    """`train@*` and `generate@legs-*` stand for all that begin so."""
    return {
        stage
        for pattern in patterns.split()
        for stage in {*stages, pattern}
        if stage == pattern or stage.startswith(pattern.removesuffix("*"))
        if "*" not in stage
    }


def small(params):
    make_tiny(params)
    params["evaluate"]["models"] = ["base", "sums"]


def test_the_table_has_every_module_and_script_once():
    rows = [file for row in TABLE.values() for file in row.files]
    code = [
        path.relative_to(ROOT).as_posix()
        for folder in (ROOT / LIBRARY, ROOT / "stages")
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".py", ".j2")
    ]
    assert sorted(file for file in rows if file.startswith(("src/", "stages/"))) == code


def test_the_table_has_every_section_and_every_key_class_of_a_stages_params():
    params = read_params(ROOT / "recipes" / "demo.yaml")
    keys = [key for row in TABLE.values() for key in row.params]
    assert {key.split(".")[0] for key in keys} == set(params)
    hashed = {key for stage in load_stages(params, ROOT / "dvc.yaml").values() for key in stage.params}
    untouched = {
        key for key in hashed if not any(k == key or k.startswith(f"{key}.") or key.startswith(f"{k}.") for k in keys)
    }
    assert untouched == set()


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.files and name not in OTHERS])
def test_each_file_of_a_row_is_a_dep_of_exactly_its_stages(name):
    params = read_params(ROOT / "recipes" / "demo.yaml")
    small(params)
    stages = load_stages(params, ROOT / "dvc.yaml")
    assert set(stages) == STAGES
    for file in TABLE[name].files:
        readers = {s.name for s in stages.values() if any(file == dep or file.startswith(f"{dep}/") for dep in s.deps)}
        if file.endswith(("__init__.py", ".j2")) and not readers:
            continue  # of a folder whose modules are named one by one
        assert readers == expand(TABLE[name].runs), file


def downstream(stages, names):
    """`names` and every stage that reads, directly or not, what they write."""
    reached = set(names)
    while True:
        written = [out for name in reached for out in stages[name].outs]
        more = {s.name for s in stages.values() if any(_overlap(dep, out) for dep in s.deps for out in written)}
        if more <= reached:
            return reached
        reached |= more


def _overlap(a, b):
    return a == b or a.startswith(f"{b}/") or b.startswith(f"{a}/")


def stand_in(folder, ran):
    """In place of a stage's command: every out tells of the params and data that it was made from, not of the code."""

    def run(stage, dry=False, run_env=None):
        name = stage.addressing
        ran.append(name)
        params = read_params(folder / "params.yaml")
        deps, values = inputs(load_stages(params)[name], params)
        if name.startswith("split@"):  # it reads the others only for what they hold out
            deps = {"own": content_hash(Path("data/processed", name.removeprefix("split@")))}
            values = {"split": values["split"]}
        data = {dep: md5 for dep, md5 in deps.items() if not dep.startswith(("src/", "stages/", "bases/"))}
        told = "sound" if name == "check" else json.dumps([values, data])
        for out in stage.outs:
            path = Path(out.fs_path)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix:
                path.write_text(told)
            elif path.name == "sampling":
                path.mkdir()
                for dataset in params["evaluate"]["datasets"]:
                    own = params["evaluate"].get("per_dataset", {}).get(dataset)
                    (path / f"{dataset}.json").write_text(json.dumps(own))
            else:
                path.mkdir()
                (path / "tokenizer.json").write_text(told)

    return run


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A small copy, run to the end; rows edit it one after the other and leave their edit in place.

    By DVC itself, in this process; only what it would run for a stage is replaced, unless REAL_STAGES is set.
    """
    made = new_project(tmp_path_factory.mktemp("reruns") / "project", served=False)
    made.params(small)
    rows = [json.dumps({"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"}) + "\n" for n in range(30, 40)]
    made.write("rows/train.jsonl", "".join(rows))
    if REAL:
        assert set(made.repro()) == STAGES
        yield made
        return
    from dvc.repo import Repo

    ran = []

    def repro():
        ran.clear()
        with Repo(str(made.folder)) as repo:
            repo.reproduce()
        return list(ran)

    def changed():
        """The stages that DVC finds other than dvc.lock has them."""
        with Repo(str(made.folder)) as repo:
            return list(repo.status())

    made.repro, made.changed = repro, changed
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        patch.setattr("dvc.stage.run.cmd_run", stand_in(made.folder, ran))
        assert set(made.repro()) == STAGES
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.files])
def test_an_edited_file_runs_its_stages_and_no_other(project, name):
    row = TABLE[name]
    if name == "a file of a dataset of one's own":
        add_dataset(project)
    before = {path: path.read_text() for file in row.files if (path := project.folder / file).is_file()}
    for file in row.files:
        path = project.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as opened:
            if file.endswith(".jsonl"):
                opened.write('{"question": "What is 2 + 2?", "answer": "#### 4"}\n')
            else:
                opened.write("{# edited #}\n" if file.endswith(".j2") else "\n# edited\n")
    if file.endswith(".jsonl"):  # its rows have changed, and so has what was made of them
        ran = set(project.repro())
        assert (
            {"fetch@mine", "process@mine", "split@mine"}
            <= ran
            <= {"fetch@mine", "process@mine", "split@mine", "split@sums", "split@legs"}
        )
    elif REAL:
        assert set(project.repro()) == expand(row.runs)  # and the next row would tell what should have run here
    else:
        assert set(project.changed()) == expand(row.runs)  # no out changes by a comment: no other stage runs
        for path in (project.folder / file for file in row.files):
            path.write_text(before[path]) if path in before else path.unlink()


def add_dataset(project):
    entry = {"source": "files", "path": "rows", "sides": {"train": "train.jsonl"}}
    project.params(lambda params: params["datasets"].update(mine=entry))
    ran = set(project.repro())
    # All are split again, since a train row must be in no other's test; their outs are as before.
    assert ran == {"check", "fetch@mine", "process@mine", "split@mine", "split@sums", "split@legs"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.params])
def test_another_value_runs_its_stages_and_what_reads_their_outs(project, name):
    row = TABLE[name]

    def change(params):
        for key, value in row.params.items():
            parent, _, last = key.rpartition(".")
            (lookup(params, parent) if parent else params)[last] = value

    before, text = read_params(project.folder / "params.yaml"), project.read("params.yaml")
    project.params(change)
    after = read_params(project.folder / "params.yaml")
    assert before != after
    stages = load_stages(after, project.folder / "dvc.yaml")
    direct = expand(row.runs, set(stages)) | {"check"}
    if REAL:
        ran = set(project.repro())
        assert direct <= ran <= downstream(stages, direct - {"check"}) | {"check"}
    else:
        assert set(project.changed()) == direct
        project.write("params.yaml", text)


@pytest.mark.slow
def test_what_one_dataset_has_otherwise_answers_that_one_again(project):
    """It goes through a file that `check` writes, so that no other dataset's stages depend on it."""
    own = {"samples": 1, "max_completion_tokens": 20, "system": "Count."}
    text = project.read("params.yaml")
    project.params(lambda params: params["evaluate"].update(per_dataset={"legs": own}))
    legs = {f"{stage}@{model}-legs" for stage in ("generate", "evaluate") for model in ("base", "sums")}
    assert (
        {"check", "generate@base-legs", "generate@sums-legs"} <= set(project.repro()) <= legs | {"check", "summarize"}
    )
    project.write("params.yaml", text)
    project.repro()
