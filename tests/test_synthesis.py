"""`smolmath synthesize`: what is kept and why, whole files whatever happens, and a folder that a next phase can use."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from typer.testing import CliRunner

import smolmath.evaluation.several
from smolmath.cli import app
from smolmath.data.problems import problem_id
from smolmath.data.process import EmptyDatasetError, process_dataset
from smolmath.data.sources import files
from smolmath.data.split import split_dataset
from smolmath.data.tables import count_rows
from smolmath.engines import Completion
from smolmath.params.core import read_params
from smolmath.params.datasets import load_dataset_params
from smolmath.params.process import ProcessParams
from smolmath.params.split import SplitParams
from smolmath.records import COMPLETIONS, PROBLEMS, REJECTED, SIDES, file_facts, read_manifest, read_table, write_table
from smolmath.records import write_manifest as write_raw_manifest
from smolmath.running.work import states
from smolmath.tags import Tags
from smolmath.using.synthesis import selection
from smolmath.using.synthesis.selection import reasoning_of, select
from tests.conftest import ROOT

MODEL = str(ROOT / "bases" / "calc")
SYSTEM = "Work it out in <reasoning> tags, then give the result in <answer> tags."
PROBLEM = {"question": "What is 2 + 2?", "reference_answer": "4"}


def worked(reasoning, answer):
    return f"<reasoning>\n{reasoning}\n</reasoning>\n<answer>\n{answer}\n</answer>"


def completions(*texts):
    """Rows of one problem; a text that ends in … was cut off."""
    return [
        {"problem_id": "p", "sample": n, "completion": text.rstrip("…"), "finish_reason": "length" if text.endswith("…") else "stop", "tokens": 7}
        for n, text in enumerate(texts, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason", "reasoning"),
    [
        (worked("2+2=4", "4"), "", "2+2=4"),
        (worked("2+2=4", "4") + "…", "cut_off", None),  # right, but how to end was not said
        ("Who knows?", "no_answer", None),
        (worked("2+2=5", "5"), "wrong_answer", None),
        (worked("2+2=5", "4"), "", "2+2=5"),  # a wrong step is not seen: the grader compares answers
        (r"Two and two make \boxed{4}.", "", "Two and two make 4."),
        ("2+2=4 <answer>4</answer>", "", "2+2=4"),
        ("<reasoning>\n2+2=4\n<answer>4</answer>", "broken_format", None),
        ("<reasoning>\n\n</reasoning>\n<answer>\n4\n</answer>", "no_reasoning", None),
        ("The answer is 4.", "no_reasoning", None),
        (worked("So the final answer is 4.", "4"), "no_reasoning", None),
        ("<think>\n2+2=4\n</think>\nIt is 4.", "", "2+2=4"),
    ],
)
def test_a_completion_is_kept_or_rejected_for_the_first_reason_that_fits(text, reason, reasoning):
    (outcome,) = select(completions(text), PROBLEM, tags=Tags(), keep=1)
    assert (outcome.reason, outcome.reasoning) == (reason, reasoning)
    assert reason in ("", *selection.REASONS)


def test_equal_reasonings_count_once_and_the_first_drawn_are_kept():
    long, short, other = worked("2+1=3\n3+1=4", "4"), worked("2+2=4", "4"), worked("1+3=4", "4")
    texts = [long, worked("2+1=3\n\n  3+1=4 ", "4.0"), worked("2+2=5", "5"), short, other, long]
    one = select(completions(*texts), PROBLEM, tags=Tags(), keep=1)
    assert [outcome.reason for outcome in one] == ["", "duplicate", "wrong_answer", "beyond_keep", "beyond_keep", "duplicate"]  # fmt: skip
    assert one[1].detail == "of sample 1"
    two = select(completions(*texts), PROBLEM, tags=Tags(), keep=2)
    assert [outcome.reasoning for outcome in two if outcome.reasoning] == ["2+1=3\n3+1=4", "2+2=4"]


def test_other_tag_names_are_read_by_the_models_own_prompt():
    tags = Tags(reasoning="work", answer="final")
    assert reasoning_of("<work>\n2+2=4\n</work>\n<final>\n4\n</final>", tags) == "2+2=4"
    assert reasoning_of("<work>\n2+2=4\n<final>\n4\n</final>", tags) is None


class ScriptedEngine:
    """Answers sums: sample 0 right, 1 the same with other spaces, 2 wrong, 3 right in another way, 4 cut off."""

    device = "cpu"

    def __init__(self, stop_after=None, never_right=False):
        self.calls, self.stop_after, self.never_right = 0, stop_after, never_right

    def render(self, prompt):
        return " | ".join(message["content"] for message in prompt)

    def count_tokens(self, text):
        return len(text.split())

    def generate(self, prompts, sampling):
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        return [[self._sample(prompt[-1]["content"], i) for i in range(sampling.samples)] for prompt in prompts]

    def _sample(self, question, i):
        terms = [int(word) for word in question.split() if word.isdigit()]
        total = sum(terms) + self.never_right
        texts = [worked(f"{question} {total}", total), worked(f" {question}  {total}", total), worked("?", total + 1),
                 worked(f"{total} = {question}", total), worked(f"{question} {total}", total)]  # fmt: skip
        return Completion(texts[i], "length" if i == 4 else "stop", 10 + i)


def sums(count, first=1):
    return [(f"{n} + {n * 7 % 11} =", str(n + n * 7 % 11)) for n in range(first, first + count)]


def problems(pairs, dataset="sums"):
    return [
        {"id": problem_id(question), "dataset": dataset, "question": question, "reference_answer": answer, "reasoning": None, "source": "chain_sum", "raw_file": "sums.jsonl", "raw_row": n}
        for n, (question, answer) in enumerate(pairs)
    ]  # fmt: skip


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A project with the demo's params, its sums split by hand, and no other dataset made."""
    for name in ("dvc.yaml", "recipes/demo.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name.replace("recipes/demo", "params"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for side, pairs in (("train", sums(150)), ("validation", sums(20, 200)), ("test", sums(20, 300))):
        write_table(tmp_path / f"data/split/sums/{side}.parquet", problems(pairs), PROBLEMS)
    return tmp_path


@pytest.fixture
def engine(monkeypatch):
    """Whatever model is loaded is this engine, which a test may replace."""
    made = {"engine": ScriptedEngine(), "loaded": 0}

    def load(*_, **__):
        made["loaded"] += 1
        return made["engine"]

    monkeypatch.setattr(smolmath.evaluation.several, "load_engines", load)
    return made


def run(*arguments, out="solved", model=MODEL):
    command = ["synthesize", *arguments, "--out", out, "--model", model]
    return CliRunner().invoke(app, list(map(str, command)), env={"COLUMNS": "200"})


def succeed(*arguments, **options):
    done = run(*arguments, "--json", **options)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*arguments, **options):
    done = run(*arguments, **options)
    assert done.exit_code == 1, done.output
    (said,) = [line for line in done.stderr.splitlines() if not line.startswith("synthesize ")]  # progress
    assert said.startswith("error: ")
    return said


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_completion_is_kept_or_rejected_and_problems_keep_their_ids(world, engine):
    said = succeed("sums", "--samples", 5)
    solved, rejected = read_table(world / "solved/shard-00000.parquet", PROBLEMS), read_table(world / "solved/rejected.parquet", REJECTED)  # fmt: skip
    drawn = read_table(world / "solved/completions.parquet", COMPLETIONS)
    assert len(drawn) == said["completions"] == 150 * 5
    assert sorted(row["raw_row"] for row in [*solved, *rejected]) == list(range(150 * 5))
    assert said["kept"] == said["solved"] == len(solved) == 150
    assert said["rejected"] == {"cut_off": 150, "wrong_answer": 150, "duplicate": 150, "beyond_keep": 150}
    assert said["tokens"] == 150 * (10 + 11 + 12 + 13 + 14)
    asked = {row["id"]: row for row in problems(sums(150))}
    for row in solved:
        assert {name: row[name] for name in ("id", "question", "reference_answer", "source", "dataset")} == {
            name: asked[row["id"]][name] for name in ("id", "question", "reference_answer", "source", "dataset")
        }
        assert (drawn[row["raw_row"]]["problem_id"], drawn[row["raw_row"]]["sample"]) == (row["id"], 1)
    manifest = read_manifest(world / "solved")
    assert manifest["rows"] == {"raw": 750, "kept": 150, "rejected": 600, "not_selected": 0}
    for file in manifest["files"]:
        assert file_facts(world / "solved" / file["file"]).items() <= file.items()


def test_chats_have_system_user_and_assistant_in_the_asked_format(world, engine):
    succeed("sums", "--limit", 3)
    solved = read_table(world / "solved/shard-00000.parquet", PROBLEMS)
    chats = [json.loads(line) for line in (world / "solved/chat.jsonl").read_text().splitlines()]
    assert [chat["messages"] for chat in chats] == [
        [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": worked(row["reasoning"], row["reference_answer"])},
        ]
        for row in solved
    ]
    assert len(chats) == 3


def processed(world, said, key="sums-solved", **process):
    """The folder taken through what fetch, process and split do, as the printed params entry says."""
    params = read_params()
    params["datasets"] |= said["dataset"]
    params["process"]["contamination"]["ngram"] = process.get("ngram")
    raw, out = world / "data/raw" / key, world / "data/processed" / key
    for folder in (raw, out, world / "data/split" / key):
        folder.mkdir(parents=True)
    found = files.fetch(load_dataset_params(params, key), raw, world)
    for file in found["files"]:
        file["rows"] = count_rows(raw / file["path"])
    write_raw_manifest(raw, found)
    other = (world / "data/raw/sums", load_dataset_params(params, "sums"))
    manifest = process_dataset(key, raw, out, load_dataset_params(params, key), ProcessParams(**params["process"]), other=other)  # fmt: skip
    split_dataset(key, world / "data/processed", world / "data/split" / key, [key], SplitParams(**params["split"]))
    return manifest, {side: read_table(world / "data/split" / key / f"{side}.parquet", PROBLEMS) for side in SIDES}


def test_the_folder_is_a_dataset_of_a_next_phase(world, engine):
    said = succeed("sums")
    assert list(said["dataset"]) == ["sums-solved"]
    manifest, sides = processed(world, said)
    solved = read_table(world / "solved/shard-00000.parquet", PROBLEMS)
    assert manifest["rows"] == {"raw": 150, "kept": 150, "rejected": 0, "not_selected": 0}
    assert manifest["with_reasoning"] == 150
    rows = {row["id"]: row for side in sides.values() for row in side}
    assert {i: (row["question"], row["reference_answer"], row["reasoning"]) for i, row in rows.items()} == {
        row["id"]: (row["question"], row["reference_answer"], row["reasoning"]) for row in solved
    }


def test_of_several_solutions_process_keeps_the_first_and_chats_have_all(world, engine):
    said = succeed("sums", "--keep", 2)
    assert said["kept"] == 300
    assert "process keeps one row of each question" in " ".join(said["notes"])
    manifest, sides = processed(world, said)
    assert manifest["rejected_by_reason"] == {"duplicate": 150}
    assert {row["reasoning"] == f"{row['question']} {row['reference_answer']}" for row in sides["train"]} == {True}
    assert len((world / "solved/chat.jsonl").read_text().splitlines()) == 300


def test_a_search_for_copies_of_the_dataset_itself_is_warned_of(world, engine):
    said = succeed("sums")
    assert "set process.contamination.ngram to null" in " ".join(said["notes"])
    (world / "data/raw/sums").mkdir(parents=True)
    (world / "data/raw/sums/sums.jsonl").write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in sums(150)))  # fmt: skip
    write_raw_manifest(world / "data/raw/sums", {"files": [{"path": "sums.jsonl", "side": None, "rows": 150}]})
    with pytest.raises(EmptyDatasetError, match="contaminated"):
        processed(world, said, ngram=13)


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_an_interrupted_synthesis_goes_on_and_ends_the_same(world, engine, stop_after):
    succeed("sums", out="undisturbed")  # 150 problems: batches of 64, 64 and 22
    engine["engine"] = ScriptedEngine(stop_after)
    interrupted = run("sums", out="killed")
    assert interrupted.exit_code == 130
    assert "the same command goes on where it was" in interrupted.stderr
    assert {path.name for path in world.iterdir()} == {"data", ".work", "dvc.yaml", "params.yaml", "undisturbed"}
    engine["engine"] = ScriptedEngine()
    said = succeed("sums", out="killed")
    assert engine["engine"].calls == 3 - stop_after
    assert said["generated_tokens"] == 46 * (150 - 64 * stop_after)  # 10 + 11 + 12 + 13 for each problem
    assert said["tokens"] == 46 * 150
    assert files_of(world / "killed") == files_of(world / "undisturbed")
    assert states(read_params()) == []  # nothing is kept once it is whole


def test_another_grader_or_keep_makes_the_folder_anew_and_generates_nothing(world, engine, monkeypatch):
    succeed("sums")
    before = files_of(world / "solved")
    assert succeed("sums", "--keep", 2)["kept"] == 300
    assert succeed("sums")["kept"] == 150
    assert files_of(world / "solved") == before
    strict = selection.grade
    monkeypatch.setattr(selection, "grade", lambda *a, **k: strict(*a, **k) if "1" in a[1] else strict("", "1"))
    assert 0 < succeed("sums")["kept"] < 150
    assert engine["loaded"] == engine["engine"].calls - 2 == 1


def test_other_weights_problems_or_sampling_are_refused_the_same_folder(world, engine):
    succeed("sums", "--limit", 4)
    before = files_of(world / "solved")
    for other in (["--seed", 1], ["--samples", 3], ["--temperature", 0.7], ["--max-tokens", 50], ["--limit", 5]):
        said = refused("sums", *(["--limit", 4] if "--limit" not in other else []), *other)
        assert (
            "solved holds another synthesis: 4 samples by calc at temperature 1.0, seed 0, 96 tokens at most" in said
        )
    (world / "mine").mkdir()
    (world / "mine/notes.txt").write_text("mine")
    assert "mine: there is something that no synthesis wrote" in refused("sums", out="mine")
    assert (world / "mine/notes.txt").read_text() == "mine"
    assert files_of(world / "solved") == before


def test_a_second_process_stops_and_names_the_holder(world, engine):
    engine["engine"] = ScriptedEngine(1)
    run("sums")
    (state,) = states(read_params())
    assert (state.stage, state.current) == ("synthesize", None)
    with FileLock(state.path.with_suffix(".lock")):
        state.path.with_suffix(".pid").write_text("4711")
        assert "in use by process 4711: the same synthesis. Wait for it" in refused("sums")


def test_smolmath_work_lists_a_killed_synthesis_and_removes_it_only_by_name(world, engine):
    engine["engine"] = ScriptedEngine(1)
    run("sums")
    (state,) = states(read_params())

    def work(*arguments):
        return " ".join(CliRunner().invoke(app, ["work", *arguments]).output.split())

    assert state.status == "the same synthesis goes on from it"
    assert f"synthesize {state.fingerprint}" in work()
    work("--clean")
    assert state.path.is_dir()
    assert "removed" in work("--clean", state.fingerprint)
    assert not state.path.exists()


def test_with_nothing_kept_nothing_is_written_and_the_completions_stay(world, engine):
    engine["engine"] = ScriptedEngine(never_right=True)
    said = refused("sums")
    assert "no completion was kept (600 wrong_answer), so nothing was written. Draw more than 4 samples" in said
    assert not (world / "solved").exists()
    (state,) = states(read_params())
    assert f"smolmath work --clean {state.fingerprint}" in said
    engine["engine"] = ScriptedEngine(stop_after=0)
    refused("sums")  # the same end, and not a single completion is drawn again
    assert engine["engine"].calls == 0


def test_problems_of_the_test_side_are_never_asked(world, engine):
    said = refused("sums", "--side", "test")
    assert "models are judged by the problems of the test side" in said
    assert "Did you mean 'train'? Name one of: train, validation." in refused("sums", "--side", "trian")
    validated = succeed("sums", "--side", "validation")
    assert validated["problems"] == 20
    assert validated["dataset"]["sums-solved"]["sides"] == {"validation": "shard-*.parquet"}
    assert "cannot be validated by them" in " ".join(validated["notes"])
    # Nor as a file: they are known by id, in whatever file they stand.
    assert "no row of it can be asked (20 rows: 20 held_out_elsewhere)" in refused("data/split/sums/test.parquet", out="2")  # fmt: skip
    assert engine["loaded"] == 1


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def test_rows_of_a_file_that_cannot_be_asked_are_rejected_with_their_reason(world, engine):
    rows = [{"question": q, "answer": a} for q, a in [*sums(3, 400), *sums(1, 300), *sums(1, 400)]]
    rows += [{"question": "", "answer": "1"}, {"question": "Prove it.", "answer": "proof"}]
    said = succeed(write_jsonl(world / "mine.jsonl", rows))
    assert (said["problems"], said["kept"]) == (3, 3)
    assert said["not_asked"] == {"held_out_elsewhere": 1, "duplicate": 1, "empty_question": 1, "empty_answer": 1}
    rejected = [row for row in read_table(world / "solved/rejected.parquet", REJECTED) if row["raw_file"] == "mine.jsonl"]  # fmt: skip
    assert {row["raw_row"]: row["reason"] for row in rejected} == {3: "held_out_elsewhere", 4: "duplicate", 5: "empty_question", 6: "empty_answer"}  # fmt: skip
    assert "not checked against what legs holds out" in " ".join(said["notes"])
    assert {row["id"] for row in read_table(world / "solved/shard-00000.parquet", PROBLEMS)} == {problem_id(q) for q, _ in sums(3, 400)}  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_files_columns_can_be_named(world, engine, kind):
    table = {"n": [1, 2], "text": [q for q, _ in sums(2, 400)], "final": [a for _, a in sums(2, 400)]}
    if kind == "parquet":
        pq.write_table(pa.table(table), world / "rows.parquet")
    else:
        (world / "rows.csv").write_text("n,text,final\n" + "".join(f"{n},{q},{a}\n" for n, q, a in zip(*table.values(), strict=True)))  # fmt: skip
    said = refused(f"rows.{kind}")
    assert "has the columns n, text, final" in said
    assert "--question COLUMN --reference COLUMN" in said
    assert "has no column result. It has: n, text, final." in refused(f"rows.{kind}", "--question", "text", "--reference", "result")  # fmt: skip
    assert succeed(f"rows.{kind}", "--question", "text", "--reference", "final")["kept"] == 2


def test_what_cannot_be_asked_or_answered_is_said_in_a_line(world, engine):
    assert "legs: data/split/legs/train.parquet is not there. Run: dvc repro split@legs" in refused("legs")
    assert "sumz: no dataset or file. Did you mean 'sums'? The datasets are: sums, legs." in refused("sumz")
    assert "data is a folder: name a file in it, or a dataset: sums, legs." in refused("data")
    (world / "empty.jsonl").touch()
    assert "empty.jsonl: the file is empty" in refused("empty.jsonl")
    assert "a file, which has no sides" in refused("empty.jsonl", "--side", "validation")
    assert "base: models/base holds no weights. Run: dvc repro base" in refused("sums", model="base")
    assert "reads 512 tokens, and no prompt leaves 510 of them" in refused("sums", "--max-tokens", 510)
    assert not (world / "solved").exists()


def test_prompts_that_leave_no_room_are_left_out_and_said(world, engine):
    rows = [{"question": q, "answer": a} for q, a in sums(1, 400)]
    rows.append({"question": "word " * 500 + "401 + 1 =", "answer": "402"})
    said = succeed(write_jsonl(world / "mine.jsonl", rows))
    assert (said["problems"], said["not_asked"]) == (1, {"prompt_too_long": 1})
    assert succeed("mine.jsonl")["not_asked"] == {"prompt_too_long": 1}  # also where no prompt is counted any more


def test_yield_and_cost_are_printed_with_the_params_to_write(world, engine):
    said = run("sums", "--samples", 2).output
    lines = [line.split() for line in said.splitlines()]
    assert ["problems", "asked", "150"] in lines
    assert ["with", "a", "solution", "150", "100.0%"] in lines
    assert ["kept", "150", "50.0%"] in lines
    assert ["rejected:", "duplicate", "150", "50.0%"] in lines
    assert ["tokens", "3,150", "21.0", "for", "each", "kept"] in lines  # (10 + 11) tokens for each
    assert '  sums-solved: {source: files, path: solved, sides: {train: "shard-*.parquet"}, columns: {question: question, ' in said  # fmt: skip


def copied_project(folder):
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / ("recipes/demo.yaml" if name == "params.yaml" else name), folder / name)
    shutil.copytree(ROOT / "bases", folder / "bases")
    draw = random.Random(8)
    rows = {}
    while len(rows) < 1000:
        terms = [draw.choice("+-") + " " + str(draw.randrange(10)) for _ in range(draw.randrange(2, 6))]
        text = " ".join([str(draw.randrange(10)), *terms])
        rows[f"State the final answer to the following arithmetic problem: {text} ="] = str(eval(text))
    write_jsonl(folder / "sums.jsonl", [{"question": q, "answer": a} for q, a in rows.items()])
    return folder


def started(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "smolmath.cli", "synthesize", "sums.jsonl", "--model", "bases/calc", "--out", "solved", "--json", *arguments],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "DVC_ROOT"} | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def test_the_shipped_model_solves_problems_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(copied_project(tmp_path))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    said = succeed("sums.jsonl", "--limit", 12, "--samples", 2, "--max-tokens", 64, model="bases/calc")
    assert (said["problems"], said["completions"]) == (12, 24)
    assert said["kept"] + sum(said["rejected"].values()) == 24
    assert 0 < said["kept"] <= 12
    for line in (tmp_path / "solved/chat.jsonl").read_text().splitlines():
        question, answer = (message["content"] for message in json.loads(line)["messages"][1:])
        assert answer.startswith("<reasoning>\n")
        assert answer.endswith(f"<answer>\n{eval(question.split(':')[1].strip(' ='))}\n</answer>")


def batches(folder):
    return len(list((folder / ".work").glob("synthesize/*/transformers/batch-*.parquet")))


@pytest.mark.slow
def test_a_thousand_problems_killed_again_and_again_lose_and_double_nothing(tmp_path):
    arguments = ["--samples", "2", "--max-tokens", "28"]
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
        copied_project(tmp_path / name)
    out, err = started(tmp_path / "undisturbed", *arguments).communicate(timeout=600)
    undisturbed = json.loads(out)
    assert undisturbed["completions"] == 2000, err
    folder, kills = tmp_path / "killed", 0
    for wanted in (1, 9):  # of 16 batches
        process = started(folder, *arguments)
        while process.poll() is None and batches(folder) < wanted:
            time.sleep(0.05)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills == 2
    out, err = started(folder, *arguments).communicate(timeout=600)
    resumed = json.loads(out)
    drawn = read_table(folder / "solved/completions.parquet", COMPLETIONS)
    asked = {problem_id(json.loads(line)["question"]) for line in (folder / "sums.jsonl").read_text().splitlines()}
    assert sorted((row["problem_id"], row["sample"]) for row in drawn) == sorted((i, s) for i in asked for s in (1, 2))
    assert len(asked) == 1000
    assert files_of(folder / "solved") == files_of(tmp_path / "undisturbed" / "solved")
    assert resumed["generated_tokens"] < undisturbed["generated_tokens"]
    same = ("completions", "kept", "rejected", "solved", "tokens")
    assert {name: resumed[name] for name in same} == {name: undisturbed[name] for name in same}
    assert [path.name for path in folder.glob(".*.part")] == []
