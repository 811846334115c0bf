"""`smolmath push` and `smolmath export`: the files, the card, the hub, the archive; a small pipeline's records."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from markdown_it import MarkdownIt
from ruamel.yaml import YAML
from transformers.utils.chat_template_utils import render_jinja_template
from typer.testing import CliRunner

from smolmath.cli import app
from smolmath.evaluation.verdicts import VERDICTS
from smolmath.params.core import read_params
from smolmath.prompts import with_default_system
from smolmath.records import COMPLETIONS, PROBLEMS, read_table, write_table
from smolmath.running.hashes import content_hash, fingerprint
from smolmath.running.lockfile import read_lock
from smolmath.using.publishing.card import Subject, model_card
from smolmath.using.publishing.examples import Example
from smolmath.using.publishing.files import MANIFEST, PublishError, checked_name, model_files
from smolmath.using.publishing.leaderboard import result_files
from smolmath.using.publishing.markdown import code, escaped, fenced
from smolmath.using.publishing.ollama import chat_format, modelfile
from smolmath.using.publishing.origin import origin_of
from smolmath.using.publishing.recipe import public
from smolmath.using.publishing.snippets import snippets
from smolmath.using.solving.models import find_model
from smolmath.using.solving.reasoner import Reasoner
from tests.conftest import ROOT
from tests.model_hub import BY_XET, READER, WRITER, taking_models

DEMO = read_params(ROOT / "recipes" / "demo.yaml")
LORA = {"r": 8, "alpha": 16, "dropout": 0.0, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}
QUESTION = "State the final answer to the following arithmetic problem: 3 + 4 - 2 ="
FORMAT = re.compile(r"<reasoning>\n.+\n</reasoning>\n<answer>\n(.+)\n</answer>", re.DOTALL)


@pytest.fixture(scope="module")
def lora_phase(tmp_path_factory):
    """A phase as training saves it: bases/calc, whose LoRA has learnt in a few steps to work sums out first."""
    import torch
    from peft import get_peft_model

    from smolmath.params.phases import LoraParams
    from smolmath.params.prompt import PromptParams
    from smolmath.prompts import chat_prompt, worked_completion
    from smolmath.running.params import HardwareParams
    from smolmath.training.phase.models import load_for_training, lora_config, save_model

    prompt = PromptParams(**DEMO["prompt"])
    model, tokenizer = load_for_training(ROOT / "bases" / "calc", HardwareParams(**DEMO["hardware"] | {"threads": 1}))
    rng = random.Random(1)
    torch.manual_seed(1)
    model = get_peft_model(model, lora_config(LoraParams(**LORA), model, "sums"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    opening = tokenizer.convert_tokens_to_ids("<reasoning>")
    for _ in range(6):
        chats = []
        for a, b, c in ([rng.randint(1, 9) for _ in range(3)] for _ in range(4)):
            asked = chat_prompt(QUESTION.replace("3 + 4 - 2", f"{a} + {b} - {c}"), prompt)
            chats.append(asked + worked_completion("", str(a + b - c), prompt))
        texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats]
        batch = tokenizer(texts, return_tensors="pt", padding=True)
        labels = torch.full_like(batch["input_ids"], -100)
        for row, ids in enumerate(batch["input_ids"]):  # the completion's first token, which decides it all
            labels[row, (ids == opening).nonzero()[-1]] = opening
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    out = tmp_path_factory.mktemp("lora") / "sums"
    save_model(model, tokenizer, out, dtype="float32", prompt=prompt)
    origin = {"phase": "sums", "method": "grpo", "init": "base", "step": 5, "prompt": DEMO["prompt"]}
    (out / "smolmath.json").write_text(json.dumps(origin))
    return out


class Records:
    """What a pipeline leaves in the working directory: outs, dvc.lock, journal. Written by hand, hashed as DVC does."""

    def __init__(self) -> None:
        self.stages = {}

    def stage(self, name, *, deps=(), params=None, outs=(), facts=None):
        params = {key: self.value(key) for key in params or []}
        entry = {
            "cmd": f"PYTHONPATH=src python stages/{name.split('@')[0]}.py",
            "deps": [{"path": path, "hash": "md5", "md5": content_hash(Path(path))} for path in deps],
            "params": {"params.yaml": params},
            "outs": [{"path": path, "hash": "md5", "md5": content_hash(Path(path))} for path in outs],
        }
        self.stages[name] = entry
        made = {out["path"]: out["md5"] for out in entry["outs"]}
        key = fingerprint(name, {dep["path"]: dep["md5"] for dep in entry["deps"]}, params)
        journal = {
            "stage": name, "fingerprint": key, "outs": made, "git": {"commit": "c" * 40, "changed": []},
            "seconds": 75.0, "machine": {"cpu": "A | chip", "cores": 2, "gpu": None}, "packages": {"torch": "2.13.0"},
        } | (facts or {})  # fmt: skip
        path = Path("journal", name, f"{key}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(journal))
        with Path("dvc.lock").open("w") as file:
            YAML().dump({"schema": "2.0", "stages": self.stages}, file)

    @staticmethod
    def value(dotted):
        value = read_params()
        for part in dotted.split("."):
            value = value[part]
        return value


def evaluation(accuracy, samples=4):
    names = ["accuracy", "strict_accuracy", "format_rate", "truncated", "tokens", "tokens_p95"]
    names += ["mean_at_k", "maj_at_k"] if samples else []
    spread = {"": 0.0, "_se": 0.01, "_low": -0.02, "_high": 0.015}
    found = {f"{name}{end}": accuracy + by for name in names for end, by in spread.items()}
    return found | {"n": 256, "k": samples, "reasoning_score": None}


@pytest.fixture
def workspace(tmp_path, monkeypatch, lora_phase):
    """One hub dataset, a shipped base, one LoRA phase trained by GRPO, both evaluated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    params = json.loads(json.dumps(DEMO)) | {
        "datasets": {
            "sums": {
                "source": "hub", "path": "src/hub.py", "id": "openai/gsm8k", "config": "main", "revision": "r" * 40,
                "splits": {"train": "train", "test": "test"},
            },
            "legs": DEMO["datasets"]["legs"],
        },
        "phases": {"sums": DEMO["phases"]["sums"] | {"lora": LORA}},
    }  # fmt: skip
    write_params(params)
    shutil.copyfile(ROOT / "dvc.yaml", "dvc.yaml")
    for path, text in {
        "data/checked.txt": "checked", "src/hub.py": "", "stages/train.py": "",
        "data/raw/sums/manifest.json": json.dumps({"revision": "f" * 40, "files": []}),
        "metrics/eval/sums/sums.json": json.dumps(evaluation(0.9)),
        "metrics/eval/base/sums.json": json.dumps(evaluation(0.5)),
    }.items():  # fmt: skip
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    shutil.copyfile(ROOT / "dvc.yaml", "dvc.yaml")
    shutil.copytree(ROOT / "bases" / "calc", "models/base", ignore=shutil.ignore_patterns("*.py", "*.yaml"))
    shutil.copytree(lora_phase, "models/sums")
    problem = {
        "id": "0" * 16,
        "dataset": "sums",
        "question": "1 + 1 ```\n# of | <b>apples</b>",
        "reference_answer": "2",
    }
    write_table(Path("data/split/sums/test.parquet"), [problem | {"raw_file": "a", "raw_row": 0}], PROBLEMS)
    told = "<reasoning>\n1+1=2 ``` </details>\n</reasoning>\n<answer>\n2\n</answer>"
    row = {"problem_id": "0" * 16, "sample": 0, "tokens": 9}
    verdict = row | {"correct": True, "strict": True, "formatted": True, "finished": True}
    records = Records()
    records.stage("check", deps=["params.yaml"], outs=["data/checked.txt"])
    records.stage(
        "fetch@sums", deps=["data/checked.txt", "src/hub.py"], params=["datasets.sums"], outs=["data/raw/sums"]
    )
    records.stage("split@sums", deps=["data/raw/sums"], params=["datasets", "split"], outs=["data/split/sums"])
    records.stage("base", deps=["data/checked.txt"], params=["model"], outs=["models/base"])
    records.stage(
        "train@sums", deps=["models/base", "data/split/sums", "stages/train.py"],
        params=["phases.sums", "model.dtype", "prompt", "seed"], outs=["models/sums"],
        facts={"steps": 40, "published_step": 30, "train_problems": 3038},
    )  # fmt: skip
    for model in ("base", "sums"):
        completions = f"results/completions/{model}/sums.parquet"
        verdicts = f"results/verdicts/{model}/sums.parquet"
        row_of = row | {"prompt": "", "completion": told, "finish_reason": "stop"}
        write_table(Path(completions), [row_of], COMPLETIONS)
        write_table(Path(verdicts), [verdict], VERDICTS)
        records.stage(
            f"generate@{model}-sums", deps=[f"models/{model}", "data/split/sums"],
            params=["evaluate.sampling", "model.dtype", "prompt", "seed"], outs=[completions],
        )  # fmt: skip
        records.stage(
            f"evaluate@{model}-sums", deps=[completions, "data/split/sums"], params=["prompt"],
            outs=[verdicts, f"metrics/eval/{model}/sums.json"],
        )  # fmt: skip
    return records


def write_params(params):
    with Path("params.yaml").open("w") as file:
        YAML().dump(params, file)


def smolmath(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "160"}, catch_exceptions=False)


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub

    with taking_models() as served:
        files = served.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", served.address)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        huggingface_hub.utils.disable_progress_bars()
        yield served


def card_of(folder):
    return ModelCard.load(folder / "README.md")


# --- the card


def test_the_card_tells_of_base_data_phases_results_and_how_to_make_it_again(workspace):
    done = smolmath("export", "out", "--model", "sums", "--license", "mit")
    assert done.exit_code == 0, done.output
    text = card_of(Path("out")).text
    # 0.9 with the interval of `evaluation`, beside the base's 0.5
    assert "| sums | 256 | 90.0\u00a0(88.0–91.5) | 50.0\u00a0(48.0–51.5) |" in text
    assert f"| sums (trained and evaluated on) | openai/gsm8k, main | `{'f' * 40}` | mit |" in text  # as fetched
    assert "| base | calc, the base that smolmath ships | – | mit |" in text
    assert "40 steps; the model of step 30, the best on the validation side; 8 prompts × 16 completions" in text
    assert r"rewards 2 × correctness + 0.4 × soft\_format; learning rate 0.0002; LoRA r 8, alpha 16" in text
    assert "Training took 1\u00a0min 15\u00a0s on A \\| chip, 2 cores." in text
    assert f"The code was commit {'c' * 12}; the result is recorded in no commit yet." in text
    assert "dvc repro train@sums" in text
    assert content_hash(Path("models/sums")) in text
    assert DEMO["prompt"]["system"] in text
    recipe = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    assert recipe["phases"]["sums"]["grpo"]["learning_rate"] == 2e-4
    assert recipe["evaluate"]["sampling"]["max_completion_tokens"] == 96


def test_the_metadata_is_what_the_hub_reads(workspace):
    smolmath("export", "out", "--model", "sums")
    data = card_of(Path("out")).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "transformers", "text-generation")
    assert data.datasets == ["openai/gsm8k"]
    assert data.base_model is None  # the shipped base is on no hub
    assert {"smolmath", "grpo"} <= set(data.tags)
    greedy, sampled = data.eval_results
    assert (greedy.dataset_type, greedy.dataset_config, greedy.dataset_split) == ("openai/gsm8k", "main", "test")
    assert (greedy.dataset_revision, greedy.metric_type, greedy.metric_value) == ("f" * 40, "accuracy", 0.9)
    assert "256 problems (95 % interval 0.8800 to 0.9150)" in greedy.metric_name
    assert sampled.metric_name.startswith("sampled accuracy, mean of 4")
    assert (
        card_of(Path("out")).content == Path("out/README.md").read_text()
    )  # read and written by the hub's own classes


def test_results_are_written_as_the_hubs_benchmarks_read_them(workspace, hub):
    """Of a hub dataset's own test split: id, task, revision, and in the notes harness with commit, n and interval."""
    for command in (("export", "out"), ("export", "out.zip"), ("push", "me/sums")):
        assert smolmath(*command, "--model", "sums").exit_code == 0
    (entry,) = parse_eval_result_entries(yaml.safe_load(Path("out/.eval_results/sums.yaml").read_text()))
    assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("openai/gsm8k", "main", "f" * 40)
    assert entry.value == 90.0
    assert entry.notes == (
        "greedy accuracy in %, 256 problems of test, 95 % interval 88.00 to 91.50; harness: smolmath, commit cccccccccccc"
    )
    assert sorted(path.name for path in Path("out/.eval_results").iterdir()) == ["sums.yaml"]  # legs are generated
    sent = hub.repositories["me/sums"].branches["main"][".eval_results/sums.yaml"]
    assert (
        sent
        == zipfile.ZipFile("out.zip").read(".eval_results/sums.yaml")
        == Path("out/.eval_results/sums.yaml").read_bytes()
    )
    assert smolmath("export", "out", "--model", "sums", "--force").exit_code == 0
    assert smolmath("export", "again", "--model", "out").exit_code == 0  # a folder that was exported keeps them
    assert Path("again/.eval_results/sums.yaml").read_bytes() == sent
    Path("out/.eval_results/mine.txt").write_text("somebody's")
    assert (
        "holds other things (.eval_results/mine.txt)" in smolmath("export", "out", "--model", "sums", "--force").output
    )
    Path("again/.eval_results/sums.yaml").write_text("- value: 100")
    done = smolmath("export", "third", "--model", "again")
    assert "error: again/.eval_results/sums.yaml holds no results as the hub reads them" in done.output


def test_results_on_problems_that_are_no_benchmarks_are_no_benchmark_results(workspace):
    """A hub dataset without a test split of its own is cut by hash: what is tested on is ours."""
    found = origin_of(Path("models/sums"), read_params())
    cut = [replace(one, splits={"train": "train"}) for one in found.datasets]
    assert result_files(replace(found, datasets=cut)) == {}


def test_a_base_of_the_hub_is_named_with_its_revision_and_licence(workspace):
    params = read_params()
    params["model"] = {"source": "hub", "path": "src/hub.py", "id": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "a" * 40}
    write_params(params | {"model": params["model"] | {"dtype": "float32"}})
    workspace.stage("base", params=["model"], outs=["models/base"])
    smolmath("export", "out", "--model", "sums")
    card = card_of(Path("out"))
    assert (card.data.base_model, card.data["base_model_relation"]) == ("Qwen/Qwen2.5-0.5B-Instruct", "finetune")
    assert card.data.license == "apache-2.0"
    assert f"| base | Qwen/Qwen2.5-0.5B-Instruct | `{'a' * 40}` | apache-2.0 |" in card.text


def test_what_a_model_or_a_dataset_says_cannot_become_markup(workspace):
    smolmath("export", "out", "--model", "sums")
    html = MarkdownIt("commonmark").enable("table").render(card_of(Path("out")).text)
    assert "<b>apples" not in html
    assert html.count("</details>") == html.count("<details>") == 2  # ours
    assert "1 + 1 ```\n# of | &lt;b&gt;apples&lt;/b&gt;" in html
    rendered = MarkdownIt("commonmark").enable("table")
    for text in ("a|b", "`", "``x`", "*a* _b_ [c](d) <e> # ~~f~~ $g$ &amp; !\\", "x`|`y"):
        row = rendered.render(f"| a | b |\n|---|---|\n| {escaped(text)} | {code(text)} |")
        cells = re.findall(r"<td>(.*?)</td>", row, re.DOTALL)
        assert len(cells) == 2, text
        plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert cells[0] == plain
    assert (
        rendered.render(fenced("a\n````\nb", "text")) == '<pre><code class="language-text">a\n````\nb\n</code></pre>\n'
    )


def test_no_path_of_this_machine_is_published():
    params = {
        "datasets": {"mine": {"path": "/home/me/secret/rows", "sides": {"train": "/x"}}},
        "process": {"tokenizer": "~/t.json"},
    }
    assert public(params) == {
        "datasets": {"mine": {"path": "…/rows", "sides": {"train": "/x"}}},
        "process": {"tokenizer": "…/t.json"},
    }
    assert public({"system": "/no_think", "path": "bases/calc"}) == {"system": "/no_think", "path": "bases/calc"}


def test_results_of_other_weights_are_left_out_and_said_to_be_missing(workspace):
    Path("models/sums/smolmath.json").write_text("{}")
    workspace.stage("train@sums", deps=["models/base"], params=["phases.sums"], outs=["models/sums"])
    done = smolmath("export", "out", "--model", "sums")
    assert done.exit_code == 0, done.output
    assert "warning: no evaluation of these weights is recorded" in done.output
    card = card_of(Path("out"))
    assert "No evaluation of these weights is recorded." in card.text
    assert card.data.eval_results is None


def test_a_model_that_is_not_what_dvc_lock_records_is_refused(workspace):
    path = Path("models/sums/model.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = smolmath("export", "out", "--model", "sums")
    assert done.exit_code == 1
    assert "models/sums is not the model that dvc.lock records" in done.output
    assert "dvc checkout models/sums" in done.output
    assert not Path("out").exists()
    shutil.copytree("models/sums", "mine")
    done = smolmath("export", "out", "--model", "mine")  # as the message says
    assert done.exit_code == 0
    assert "How it was made is not recorded" in card_of(Path("out")).text


def test_a_model_whose_base_was_made_again_is_refused(workspace):
    Path("models/base/generation_config.json").write_text("{}")
    workspace.stage("base", params=["model"], outs=["models/base"])
    done = smolmath("push", "me/sums", "--model", "sums", "--dry-run")
    assert done.exit_code == 1
    assert "train@sums read models/base, but it read" in done.output


def test_the_card_of_an_exported_folder_is_kept_with_what_was_edited(workspace):
    smolmath("export", "out", "--model", "sums")
    edited = Path("out/README.md").read_text() + "\nMine.\n"
    Path("out/README.md").write_text(edited)
    done = smolmath("export", "again", "--model", "out")
    assert "the card is the folder's own README.md" in done.output
    assert Path("again/README.md").read_text() == edited


def test_nothing_on_a_card_turns_the_direction_of_its_text(workspace):
    found = find_model("sums", read_params())
    example = Example("sums", "2 + \u202e3 =", "<answer>\n\u20695\n</answer>")
    card = model_card(Subject("me/x", found.prompt, True, 1, 96, None, "", example=example), None)
    assert "2 + ⟨U+202E⟩3 =" in card
    assert "⟨U+2069⟩5" in card
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", card)


def test_commands_on_a_card_are_quoted_for_a_shell(workspace):
    """Names of phases and folders may hold anything, and a card's commands are copied to a prompt."""
    params = read_params()
    found = find_model("sums", params)
    origin = origin_of(found.folder, params)
    run = origin.trail.last
    evil = replace(run, recorded=replace(run.recorded, stage="train@x; touch hacked"))
    trail = replace(origin.trail, path="models/x; touch hacked", runs=[*origin.trail.runs[:-1], evil])
    subject = Subject("out dir/$(x)", found.prompt, True, 1, 96, None, "")
    card = model_card(subject, replace(origin, trail=trail))
    for command in ("dvc repro 'train@x; touch hacked'", "smolmath verify 'models/x; touch hacked'"):
        assert f"\n{command}\n" in card
    assert "\nvllm serve 'out dir/$(x)'\n" in card
    adapter = model_card(replace(subject, adapter_base="me/x y"), None)
    assert "\nvllm serve 'me/x y' --enable-lora --lora-modules '$(x)=out dir/$(x)'\n" in adapter


def test_a_long_question_is_wrapped_in_the_cards_code_and_still_the_same():
    from smolmath.params.prompt import PromptParams

    question = 'How many "legs" have\n\n' + "1 bird, 2 ducks, " * 20
    made = snippets("me/x", prompt=PromptParams(**DEMO["prompt"]), knows_prompt=False, question=question,
        max_completion_tokens=9, adapter_base=None)  # fmt: skip
    for block in (made.transformers, made.vllm_client, made.smolagents):
        told = re.search(r"^question = \((.*?)^\)$", block, re.MULTILINE | re.DOTALL)[1]
        assert eval(f"({told})") == question
        assert max(map(len, told.splitlines())) < 100
        assert f'"content": {json.dumps(DEMO["prompt"]["system"])}' in block  # the template doesn't know it


# --- the files


def test_an_export_holds_these_files_with_the_models_bytes(workspace):
    done = smolmath("export", "some/out", "--model", "sums")
    assert done.exit_code == 0, done.output
    names = sorted(path.relative_to("some/out").as_posix() for path in Path("some/out").rglob("*") if path.is_file())
    assert names == [
        ".eval_results/sums.yaml", "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "smolmath-files.json", "smolmath.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert json.loads(Path("some/out", MANIFEST).read_text()) == {"files": names}
    for name in set(names) - {".eval_results/sums.yaml", "README.md", MANIFEST}:
        assert Path("some/out", name).read_bytes() == Path("models/sums", name).read_bytes()
        assert not Path("some/out", name).is_symlink()
    assert [path.name for path in Path("some").iterdir()] == ["out"]


def test_a_zip_has_the_same_bytes_each_time(workspace):
    for name in ("a/sums.zip", "b/sums.zip"):
        assert smolmath("export", name, "--model", "sums").exit_code == 0
        os.utime("models/sums/config.json", (0, 0))
    assert Path("a/sums.zip").read_bytes() == Path("b/sums.zip").read_bytes()
    with zipfile.ZipFile("a/sums.zip") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.read("model.safetensors") == Path("models/sums/model.safetensors").read_bytes()
    shutil.unpack_archive("a/sums.zip", "unpacked")
    assert Path("unpacked/config.json").is_file()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", "a\\b", "./a", "a//b"])
def test_a_published_name_cannot_leave_its_folder(name):
    with pytest.raises(PublishError, match="leaves the folder"):
        checked_name(name)


def test_what_lies_at_the_place_of_an_export_is_not_lost(workspace):
    Path("notes").mkdir()
    Path("notes/thesis.txt").write_text("years of work")
    for arguments, words in {
        ("notes", "--force"): "notes holds other things (thesis.txt)",
        ("params.yaml", "--force"): "is the pipeline's own",
        ("models/sums", "--force"): "is the pipeline's own",
        ("data/split/sums/x",): "is the pipeline's own",
        (".", "--force"): "is the pipeline's own",
        ("notes/thesis.txt", "--force"): "is a file",
    }.items():
        done = smolmath("export", *arguments, "--model", "sums")
        assert done.exit_code == 1, arguments
        assert words in done.output
    assert Path("notes/thesis.txt").read_text() == "years of work"
    Path("empty").mkdir()
    for out in ("empty", "out.zip"):
        assert smolmath("export", out, "--model", "sums").exit_code == 0
        assert "--force replaces" in smolmath("export", out, "--model", "sums").output
    Path("empty/config.json").write_text("of before")
    for out in ("empty", "out.zip"):
        assert smolmath("export", out, "--model", "sums", "--force").exit_code == 0
    assert Path("empty/config.json").read_text() != "of before"
    assert not list(Path().glob(".*part"))


def test_force_removes_what_an_export_has_written_and_nothing_else(workspace):
    """Not even files of names that an export may write: somebody's own weights, a LICENSE, another zip."""
    arguments = ("--model", "sums", "--adapter-only", "--base", "me/calc")
    assert smolmath("export", "out", *arguments).exit_code == 0
    assert smolmath("export", "out", "--model", "sums", "--force").exit_code == 0
    assert not Path("out/adapter_config.json").exists()  # a single one would make transformers put it on the weights
    Path("out/LICENSE").write_text("somebody's")
    done = smolmath("export", "out", "--model", "sums", "--force")
    assert "error: out holds other things (LICENSE), which no export has written" in done.output
    Path("own").mkdir()
    Path("own/model.safetensors").write_text("years of work")
    Path("own/model.gguf").write_text("years of work")
    assert (
        "holds other things (model.gguf, model.safetensors)"
        in smolmath("export", "own", "--model", "sums", "--force").output
    )
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.writestr("me.jpg", b"")
    assert "photos.zip is no earlier export" in smolmath("export", "photos.zip", "--model", "sums", "--force").output
    assert Path("own/model.safetensors").read_text() == "years of work"
    assert zipfile.ZipFile("photos.zip").namelist() == ["me.jpg"]


def test_an_export_that_breaks_off_leaves_the_earlier_one_and_no_part(workspace, monkeypatch):
    from smolmath.using.publishing import export

    assert smolmath("export", "out", "--model", "sums").exit_code == 0
    before = content_hash(Path("out"))

    def full(source, target):
        raise OSError(28, "No space left on device")

    def interrupted(source, target):
        raise KeyboardInterrupt

    for failing, status in ((full, 1), (interrupted, 130)):
        monkeypatch.setattr(export.shutil, "copyfile", failing)
        done = smolmath("export", "out", "--model", "sums", "--force")
        assert done.exit_code == status
        assert "out was not written" in done.output or "interrupted: out is as it was." in done.output
    assert content_hash(Path("out")) == before
    assert not list(Path().glob(".*part"))


def test_weights_that_are_not_whole_are_not_published(workspace):
    shutil.copytree("models/sums", "mine")
    path = Path("mine/model.safetensors")
    whole = path.read_bytes()
    for content, words in (
        (whole[:-1], "or not whole .Error while deserializing header: incomplete metadata"),
        (b"12345678{", "no safetensors file"),
    ):
        path.write_bytes(content)
        with pytest.raises(PublishError, match=words):
            model_files(Path("mine"))
    path.write_bytes(whole)
    Path("mine/model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-2.safetensors"}}))
    with pytest.raises(PublishError, match=r"model-2\.safetensors, which model\.safetensors\.index\.json names"):
        model_files(Path("mine"))


def test_only_what_loads_without_running_code_is_published(workspace):
    shutil.copytree("models/sums", "mine")
    for name in (
        "pytorch_model.bin", "modeling_evil.py", "optimizer.pt", ".env", "tokenizer.pkl", "tokenizer_code.py",
        "tokenizer.json.bak", "LICENSE.pkl", "tokenizer_config.json.py",
    ):  # fmt: skip
        Path("mine", name).write_text("x")
    assert model_files(Path("mine")).keys() == model_files(Path("models/sums")).keys()


@pytest.mark.parametrize(
    "name",
    [
        *("LICENSE", "NOTICE.md", "tokenizer.json", "README.md"),
        *("adapter", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"),
    ],
)
def test_no_link_is_followed_out_of_the_folder(workspace, hub, name):
    shutil.copytree("models/sums", "mine")
    if name == "adapter":
        Path("mine/adapter").rename("secret")
    else:
        Path("secret").write_text('{"password": "opensesame"}')
        Path("mine", name).unlink(missing_ok=True)
    Path("mine", name).symlink_to(Path("secret").resolve())
    only = ["--adapter-only", "--base", "me/calc"] if "adapter" in name else []
    for command in (("export", "out"), ("export", "out.zip"), ("push", "me/mine")):
        done = smolmath(*command, "--model", "mine", *only)
        assert done.exit_code == 1
        assert f"error: mine/{name} is a link, and links are not published" in done.output
    assert hub.repositories == {}
    assert not Path("out").exists()


def test_links_into_dvcs_cache_and_into_the_hub_clients_are_the_files_they_stand_for(workspace):
    """DVC links with `cache.type: symlink`, the hub's client always."""
    cache, blobs, snapshot = (
        Path("cache/files/md5/ab"),
        Path("models--me--x/blobs"),
        Path("models--me--x/snapshots/c0"),
    )
    for folder in (cache, blobs, snapshot):
        folder.mkdir(parents=True)
    shutil.copytree("models/sums", "mine")
    for number, path in enumerate(sorted(Path("mine").glob("*.*"))):
        stored = cache / f"{number:030x}"
        shutil.copyfile(path, blobs / f"{number:040x}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number:040x}")
        path.rename(stored)
        path.symlink_to(stored.resolve())
    for folder in (Path("mine"), snapshot):
        assert model_files(folder).keys() == model_files(Path("models/sums")).keys()


@pytest.mark.parametrize(
    ("name", "content"), [("LICENSE", b"\x80\x04\x95pickle"), ("tokenizer_config.json", b"\x80\x04")]
)
def test_a_file_that_is_not_what_its_name_says_is_not_published(workspace, name, content):
    shutil.copytree("models/sums", "mine")
    Path("mine", name).write_bytes(content)
    with pytest.raises(PublishError, match=f"mine/{name} is no (text|json) file"):
        model_files(Path("mine"))


# --- plain transformers and peft

CLEAN = """
import sys
sys.modules["smolmath"] = None  # an import of it fails
try:
    import smolmath
    raise SystemExit("smolmath can be imported")
except ImportError:
    pass
"""


def run_clean(code, *arguments):
    """In a process that knows no smolmath: not this environment's variables, not the working directory's modules."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HF_"))}
    kept["OMP_NUM_THREADS"] = "1"  # beside other tests two threads mostly wait for each other
    done = subprocess.run(
        [sys.executable, "-I", "-c", CLEAN + code, *arguments],
        capture_output=True, text=True, env=kept | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def with_question(block, question):
    """A card's code with another question than its own."""
    return re.sub(
        r'^question = "(?:[^"\\]|\\.)*"$', lambda _: f"question = {json.dumps(question)}", block, flags=re.MULTILINE
    )


def test_an_exported_folder_answers_in_the_format_by_plain_transformers_as_its_card_says(workspace):
    assert smolmath("export", "out", "--model", "sums").exit_code == 0
    plain, client, agent = python_blocks(card_of(Path("out")).text)
    assert 'base_url="http://localhost:8000/v1"' in client
    compile(client, "client", "exec")
    Path("agent.py").write_text(with_question(agent, QUESTION).rsplit("agent = ", 1)[0])  # which needs another model
    said = run_clean(
        f"""
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = AutoModelForCausalLM.from_pretrained("out"), AutoTokenizer.from_pretrained("out")
chat = [{{"role": "user", "content": sys.argv[1]}}]
ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
made = model.generate(**ids, max_new_tokens=96)[0][ids["input_ids"].shape[1]:]
print(tokenizer.decode(made, skip_special_tokens=True))
print("---")
{with_question(plain, QUESTION)}
print("---")
import runpy
runpy.run_path("agent.py")
""",
        QUESTION,
    )
    generated, piped, told = said.strip().split("\n---\n")
    assert FORMAT.fullmatch(generated)[1] == "5"
    assert piped == f"{generated}\nanswer: 5"
    assert told == generated


def python_blocks(markdown):
    """The code blocks as a Markdown reader sees them."""
    return [t.content for t in MarkdownIt("commonmark").parse(markdown) if t.type == "fence" and t.info == "python"]


@pytest.mark.slow
def test_an_adapter_alone_loads_by_plain_peft_on_the_base_it_names(workspace):
    done = smolmath("export", "out", "--model", "sums", "--adapter-only")
    assert done.exit_code == 1
    assert "is put on models/base, which is no model of the hub" in done.output
    base = Path("models/base").resolve()
    done = smolmath("export", "out", "--model", "sums", "--adapter-only", "--base", base)
    assert done.exit_code == 0, done.output
    names = {path.name for path in Path("out").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer.json"} <= names
    assert not {"model.safetensors", "config.json"} & names
    assert json.loads(Path("out/adapter_config.json").read_text())["base_model_name_or_path"] == str(base)
    card = card_of(Path("out"))
    assert card.data.library_name == "peft"
    assert card.data.base_model is None  # a folder is no id
    assert str(base) not in card.text.replace(f"vllm serve {base}", "")
    plain = python_blocks(card.text)[0]
    assert "AutoPeftModelForCausalLM" in plain
    assert "answer: 5" in run_clean(with_question(plain, QUESTION))


def test_an_adapter_on_a_hub_base_names_its_id_and_revision(workspace):
    params = read_params()
    params["model"] = {"source": "hub", "path": "src/hub.py", "id": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "a" * 40}
    write_params(params | {"model": params["model"] | {"dtype": "float32"}})
    workspace.stage("base", params=["model"], outs=["models/base"])
    assert smolmath("export", "out", "--model", "sums", "--adapter-only").exit_code == 0
    configured = json.loads(Path("out/adapter_config.json").read_text())
    assert (configured["base_model_name_or_path"], configured["revision"]) == ("Qwen/Qwen2.5-0.5B-Instruct", "a" * 40)
    assert card_of(Path("out")).data["base_model_relation"] == "adapter"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "base", "--adapter-only"], "base has no adapter: models/base/adapter is not there"),
        (["--model", "sums", "--base", "me/x"], "it goes with --adapter-only"),
        (["--model", "sums", "--license", "MIT License"], "identifiers look like apache-2.0"),
        (["--model", "smus"], "Did you mean 'sums'"),
        (["--model", "sums", "--gguf", "--adapter-only"], "--gguf converts a whole model"),
        (["--model", "sums", "--converter", "x.py"], "--converter goes with --gguf"),
        (["--model", "sums", "--gguf", "--converter", "x.py"], "x.py is not there"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(workspace, arguments, words):
    done = smolmath("export", "out", *arguments)
    assert done.exit_code == 1
    assert words in done.output
    assert not Path("out").exists()


@pytest.mark.slow
def test_the_demos_model_as_exported_writes_what_evaluation_wrote(tmp_path):
    """Plain transformers, greedy, one chat at a time, on the problems of the committed evaluation."""
    lock = workspace_lock(ROOT)
    models = [name for name in ("sums", "legs") if all(is_recorded(lock, path.format(name)) for path in EVALUATED)]
    if not models:
        pytest.skip("the models sums and legs and what they wrote are not here as dvc.lock records it: make demo")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    for model in models:
        asked = [sys.executable, "-m", "smolmath.cli", "export", str(tmp_path / model), "--model", model]
        subprocess.run(asked, cwd=ROOT, env=environment | {"PYTHONPATH": "src"}, check=True, capture_output=True)
        rows = read_table(ROOT / f"results/completions/{model}/{model}.parquet", COMPLETIONS)
        questions = {
            row["id"]: row["question"] for row in read_table(ROOT / f"data/split/{model}/test.parquet", PROBLEMS)
        }
        written = {row["problem_id"]: row["completion"] for row in rows if row["sample"] == 0}
        pairs = [[questions[name], written[name]] for name in sorted(written)[:8]]
        said = run_clean(
            """
import json
from transformers import pipeline
ask = pipeline("text-generation", model=sys.argv[1])
for question, _ in json.loads(sys.argv[2]):
    chat = [{"role": "user", "content": question}]
    print(json.dumps(ask(chat, max_new_tokens=96, do_sample=False)[0]["generated_text"][-1]["content"]))
""",
            str(tmp_path / model), json.dumps(pairs),
        )  # fmt: skip
        answers = [json.loads(line) for line in said.splitlines()]
        assert answers == [completion for _, completion in pairs]
        assert all(map(FORMAT.fullmatch, answers))


def workspace_lock(folder):
    return read_lock((folder / "dvc.lock").read_text(), "the repository")


EVALUATED = ("models/{0}", "results/completions/{0}/{0}.parquet", "data/split/{0}")


def is_recorded(lock, path):
    claimed = next((made.outs[path] for made in lock.values() if path in made.outs), None)
    return (ROOT / path).exists() and content_hash(ROOT / path) == claimed


# --- GGUF, by a stand-in for the converter

# By a shell: the first line of a script can't name a path with a space.
CONVERTER = """#!/bin/sh
"exec" "{python}" "$0" "$@"
import os, pathlib, sys
model, option, out = sys.argv[1:]
assert option == "--outfile" and sorted(os.listdir(model))[0] == "README.md" and "evil.py" not in os.listdir(model)
if os.environ.get("CONVERTER_FAILS"):
    sys.exit("Model Qwen9 is not supported")
pathlib.Path(out).write_bytes(b"GGUF" + (pathlib.Path(model) / "config.json").read_bytes())
"""


def test_a_gguf_file_comes_from_the_converter_on_the_path(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    done = smolmath("export", "out", "--model", "sums", "--gguf")
    assert done.exit_code == 1
    assert (
        "convert_hf_to_gguf.py is not on PATH. Get it: git clone https://github.com/ggml-org/llama.cpp" in done.output
    )
    script = tmp_path / "bin" / "convert_hf_to_gguf.py"
    script.parent.mkdir()
    script.write_text(CONVERTER.replace("{python}", sys.executable))
    script.chmod(0o755)
    shutil.copytree("models/sums", "mine")
    Path("mine/evil.py").write_text("raise SystemExit")
    done = smolmath("export", "out.zip", "--model", "mine", "--gguf")
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile("out.zip") as archive:
        assert archive.read("out.gguf") == b"GGUF" + Path("mine/config.json").read_bytes()
        assert archive.read("Modelfile").decode().startswith("FROM ./out.gguf\nTEMPLATE")
    monkeypatch.setenv("CONVERTER_FAILS", "1")
    done = smolmath("export", "other", "--model", "sums", "--gguf", "--converter", script)
    assert done.exit_code == 1
    assert "failed (exit code 1): Model Qwen9 is not supported" in done.output
    assert not Path("other").exists()
    assert not list(Path().glob(".gguf*"))


CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
INST = "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}<<{{ m.content }}>>{% elif m.role == 'user' %}[INST]{{ m.content }}[/INST]{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "around", "opening", "system"),
    [
        (CHATML, ("<|im_start|>user\n", "<|im_end|>\n"), "<|im_start|>assistant\n", None),
        (with_default_system(CHATML, "Be {brief}."), ("<|im_start|>user\n", "<|im_end|>\n"), "<|im_start|>assistant\n", "Be {brief}."),
        (INST, ("[INST]", "[/INST]"), "", None),
    ],
)  # fmt: skip
def test_ollama_is_told_how_the_model_is_asked(template, around, opening, system):
    tokenizer = Templated(template, "<s>" if "bos_token" in template else "")
    found = chat_format(tokenizer)
    assert (found.around["user"], found.opening, found.system) == (around, opening, system)
    chat = [{"role": role, "content": f"{role}!"} for role in ("system", "user", "assistant", "user")]
    asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True)
    assert tokenizer.first + found.written(chat) == asked
    written = modelfile("x.gguf", tokenizer, system="Trained.", ends=["<|im_end|>", '"'], context=512, tokens=96)
    begins, ends = around
    assert f'{{{{ else if eq .Role "user" }}}}{begins}{{{{ .Content }}}}{ends}{{{{ else if' in written
    assert f'SYSTEM """{system or "Trained."}"""\nPARAMETER temperature 0\n' in written
    assert written.endswith('PARAMETER num_ctx 512\nPARAMETER num_predict 96\nPARAMETER stop "<|im_end|>"\n')


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no system') }}",
        INST,  # a first token that nobody else would put there
        "{{ messages[0].content }}",  # not message by message
        "{% for m in messages %}{{ loop.index }}{{ m.role }}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ '{{' }}{{ m.content }}{% endfor %}",
        CHATML.replace("{{ m.content }}", "{{ m.content }}{{ m.content }}"),
    ],
)
def test_a_template_that_go_cannot_write_is_left_to_ollama(template):
    assert chat_format(Templated(template)) is None
    assert "TEMPLATE" not in modelfile("x.gguf", Templated(template), system="", ends=[], context=9, tokens=9)


class Templated:
    """`first`: what it puts before every text."""

    def __init__(self, template, first=""):
        self.template, self.first = template, first

    def __call__(self, text):
        return {"input_ids": [*(self.first + text)]}

    def decode(self, ids):
        return "".join(ids)

    def apply_chat_template(self, chat, *, tokenize=False, add_generation_prompt=False):
        (text,), _ = render_jinja_template(
            [chat],
            chat_template=self.template,
            add_generation_prompt=add_generation_prompt,
            bos_token="<s>",
            eos_token="</s>",
        )
        return text


@pytest.mark.slow
def test_a_real_gguf_file_answers_as_the_model_does(tmp_path, monkeypatch):
    """llama.cpp's own converter, then llama-cpp-python, greedy, eight problems; needs both and a model that they know."""
    llama_cpp = pytest.importorskip("llama_cpp")
    model, converter = os.environ.get("SMOLMATH_GGUF_MODEL"), os.environ.get("SMOLMATH_GGUF_CONVERTER")
    if not model or not converter:
        pytest.skip("SMOLMATH_GGUF_MODEL and SMOLMATH_GGUF_CONVERTER name no model and no convert_hf_to_gguf.py")
    monkeypatch.chdir(tmp_path)
    write_params(DEMO)
    done = smolmath("export", "out", "--model", model, "--gguf", "--converter", converter)
    assert done.exit_code == 0, done.output
    reasoner = Reasoner.load("out", DEMO)
    loaded = llama_cpp.Llama("out/out.gguf", n_ctx=1024, verbose=False, seed=0)
    same = 0
    for number in range(8):
        question = f"Tom has {number + 2} apples and buys {number + 4} more. How many apples has he now?"
        ours = reasoner.solve(question, max_completion_tokens=32).completion
        chat = reasoner.prompt(question)
        theirs = loaded.create_chat_completion(chat, temperature=0, max_tokens=32)["choices"][0]["message"]["content"]
        same += ours.strip() == theirs.strip()
    loaded.close()
    assert same >= 7  # bf16 weights in another order of sums: a tie between two words may fall the other way


# --- the hub


def test_a_push_sends_these_bytes_in_one_commit_and_the_token_only_as_authorization(workspace, hub):
    done = smolmath("push", "me/sums", "--model", "sums", "--private")
    assert done.exit_code == 0, done.output
    repository = hub.repositories["me/sums"]
    assert repository.private
    assert repository.commits[1:] == ["sums, by smolmath push"]
    sent = repository.branches["main"]
    for name, path in model_files(Path("models/sums")).items():
        assert sent[name] == path.read_bytes(), name
    assert 'pipeline("text-generation", model="me/sums")' in sent["README.md"].decode()
    assert sorted(sent) == sorted(
        [".gitattributes", ".eval_results/sums.yaml", "README.md", MANIFEST, *model_files(Path("models/sums"))]
    )
    for method, path, headers, body in hub.requests:
        others = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        assert WRITER not in path + repr(others) + repr(body), (method, path)
    assert WRITER not in done.output
    assert not any(WRITER.encode() in path.read_bytes() for path in Path().rglob("*") if path.is_file())
    assert f"pushed to {hub.address}/me/sums" in done.output
    assert [line for line in done.stderr.splitlines() if line.startswith("warning")] == [
        "warning: dvc.lock with this model is not committed yet, so the card can name no commit that records it"
    ]


def test_the_same_push_again_changes_nothing(workspace, hub):
    smolmath("push", "me/sums", "--model", "sums")
    done = smolmath("push", "me/sums", "--model", "sums")
    assert done.exit_code == 0
    assert "nothing has changed in" in done.output
    assert len(hub.repositories["me/sums"].commits) == 2


def test_a_whole_model_after_an_adapter_leaves_no_adapter_behind_and_other_files_alone(workspace, hub):
    assert smolmath("push", "me/sums", "--model", "sums", "--adapter-only", "--base", "me/calc").exit_code == 0
    sent = hub.repositories["me/sums"].branches["main"]
    assert json.loads(sent["adapter_config.json"])["base_model_name_or_path"] == "me/calc"
    assert yaml.safe_load(sent["README.md"].decode().split("---\n")[1])["base_model"] == "me/calc"
    sent["picture.png"] = sent["LICENSE"] = b"somebody's"
    done = smolmath("push", "me/sums", "--model", "sums")
    assert "removed adapter_config.json, which an earlier push had left" in done.output
    sent = hub.repositories["me/sums"].branches["main"]
    assert not {"adapter_config.json", "adapter_model.safetensors"} & sent.keys()
    assert sent["picture.png"] == sent["LICENSE"] == b"somebody's"


def test_an_adapter_is_not_pushed_with_a_base_that_nobody_else_has(workspace, hub):
    done = smolmath("push", "me/sums", "--model", "sums", "--adapter-only", "--base", "models/base")
    assert done.exit_code == 1
    assert "--base models/base is a folder of this machine" in done.output
    assert hub.requests == []


def test_a_branch_is_made_and_main_left_alone(workspace, hub):
    smolmath("push", "me/sums", "--model", "base")
    main = dict(hub.repositories["me/sums"].branches["main"])
    done = smolmath("push", "me/sums", "--model", "sums", "--revision", "v2")
    assert done.exit_code == 0, done.output
    assert f"{hub.address}/me/sums/tree/v2" in done.output
    assert hub.repositories["me/sums"].branches["main"] == main
    weights = hub.repositories["me/sums"].branches["v2"]["model.safetensors"]
    assert weights == Path("models/sums/model.safetensors").read_bytes()


def test_private_weights_do_not_go_into_a_public_repository(workspace, hub):
    smolmath("push", "me/sums", "--model", "base")
    before = dict(hub.repositories["me/sums"].branches["main"])
    done = smolmath("push", "me/sums", "--model", "sums", "--private")
    assert done.exit_code == 1
    assert "me/sums is there already, and public. Nothing was sent." in done.output
    assert hub.repositories["me/sums"].branches["main"] == before


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (
            READER,
            "the hub does not let you write to me/sums (403: You need the write role to do this). Nothing was published",
        ),
        ("hf_nobody", "the hub does not know who you are: log in with `hf auth login`, or set HF_TOKEN"),
    ],
)
def test_a_hub_without_permission_says_what_to_do(workspace, hub, monkeypatch, token, words):
    monkeypatch.setenv("HF_TOKEN", token)
    done = smolmath("push", "me/sums", "--model", "sums")
    assert done.exit_code == 1
    assert words in done.output
    assert token not in done.output
    assert hub.repositories == {}


def test_a_push_that_breaks_off_leaves_the_repository_as_it_was_and_can_be_repeated(workspace, hub, monkeypatch):
    smolmath("push", "me/sums", "--model", "base")
    before = dict(hub.repositories["me/sums"].branches["main"])
    hub.breaks_at = "/commit/"
    done = smolmath("push", "me/sums", "--model", "sums")
    assert done.exit_code == 1
    assert "the hub refuses (500: out of order). Nothing was published: me/sums is as it was." in done.output
    assert hub.repositories["me/sums"].branches["main"] == before
    hub.breaks_at = None
    hub.requests.clear()
    assert smolmath("push", "me/sums", "--model", "sums").exit_code == 0
    assert not [path for _, path, _, _ in hub.requests if path.startswith("/lfs/")]  # the weights are there already


def test_large_files_go_by_xet_which_is_the_clients_default(workspace, hub, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    done = smolmath("push", "me/sums", "--model", "sums")
    assert done.exit_code == 0, done.output
    assert hub.repositories["me/sums"].branches["main"]["model.safetensors"] == BY_XET
    weights = Path("models/sums/model.safetensors").read_bytes()
    to_store = [(headers, body) for _, path, headers, body in hub.requests if path.startswith("/xet/")]
    assert sum(len(body) for _, body in to_store) > 0.5 * len(weights)
    assert not any(WRITER in repr(headers) for headers, _ in to_store)
    assert not any(path.startswith("/lfs/") for _, path, _, _ in hub.requests)


def test_what_a_first_push_that_fails_has_made_is_said(workspace, hub):
    hub.breaks_at = "/commit/"
    done = smolmath("push", "me/sums", "--model", "sums", "--revision", "v2")
    assert done.exit_code == 1
    made = "the push has only made the empty repository me/sums and the branch v2."
    assert f"Nothing was published: {made}" in done.output
    assert "Nothing was published: me/sums is as it was." in smolmath("push", "me/sums", "--model", "sums").output


def test_an_adapter_that_no_listed_push_has_left_is_warned_of_and_left_alone(workspace, hub):
    assert smolmath("push", "me/sums", "--model", "base").exit_code == 0
    hub.repositories["me/sums"].branches["main"]["adapter_config.json"] = b"{}"
    done = smolmath("push", "me/sums", "--model", "sums")
    assert "warning: adapter_config.json: there, and of no push that lists its files" in done.stderr
    assert "adapter_config.json" in hub.repositories["me/sums"].branches["main"]


def test_a_card_that_the_hub_refuses_is_said_to_be(workspace, hub):
    done = smolmath("push", "me/sums", "--model", "sums", "--license", "no-such-licence")
    assert done.exit_code == 1
    assert "the hub refuses what was sent: Invalid metadata in README.md." in done.output
    assert hub.repositories["me/sums"].branches["main"].keys() == {".gitattributes"}


def test_a_hub_that_is_not_there_and_one_that_must_not_be_asked(workspace, monkeypatch):
    import huggingface_hub

    monkeypatch.setenv("HF_TOKEN", WRITER)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    done = smolmath("push", "me/sums", "--model", "sums")
    assert done.exit_code == 1
    assert "the Hugging Face hub cannot be reached (" in done.output
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    done = smolmath("push", "me/sums", "--model", "sums")
    assert done.exit_code == 1
    assert "HF_HUB_OFFLINE is set, so nothing was sent." in done.output


@pytest.mark.parametrize("repo_id", ["sums", "me/sums/x", "me/su ms", "me/sums.git", "../x", "me/--x"])
def test_a_bad_repository_name_is_refused_at_once(repo_id):
    done = smolmath("push", repo_id, "--dry-run")
    assert done.exit_code == 1
    assert done.output.startswith(f"error: {repo_id}: ")


def test_a_dry_run_shows_every_file_its_bytes_and_the_card_and_asks_nobody(workspace, hub):
    done = smolmath("push", "me/sums", "--model", "sums", "--dry-run")
    assert done.exit_code == 0
    for name, path in model_files(Path("models/sums")).items():
        assert re.search(rf"^{re.escape(name)} +{path.stat().st_size:,}$", done.output, re.MULTILINE)
    card = done.stdout.split("\n\n", 1)[1]
    assert re.search(
        rf"^README.md +{len(card.rsplit('nothing was sent', 1)[0].encode()) - 1:,}$", done.stdout, re.MULTILINE
    )
    assert card.startswith("---\n")
    assert done.stdout.endswith("nothing was sent: a push would put these files into me/sums.\n")
    assert hub.requests == []
