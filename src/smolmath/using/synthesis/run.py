"""A synthesis from its problems to a folder, resumable: killed at any point, the same command goes on where it was.

What is drawn depends on the model's weights, the problems, the prompt, the sampling and the seed. Their fingerprint
names the state under .work/synthesize, and stands in the result's manifest. The grader and `keep` are not part of it:
where the folder holds the same completions already, it is made anew from them, and nothing is generated.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from smolmath.evaluation.generation import generate_batches
from smolmath.params.core import load_section, read_params
from smolmath.params.evaluate import SamplingParams
from smolmath.prompts import chat_prompt
from smolmath.records import RecordsError, read_manifest, write_manifest
from smolmath.running.devices import claimed_gpus
from smolmath.running.hashes import content_hash, fingerprint
from smolmath.running.leftovers import remove
from smolmath.running.params import HardwareParams
from smolmath.running.runs import held, main_workspace
from smolmath.running.work import SYNTHESIS
from smolmath.using.solving.models import FoundModel, find_model
from smolmath.using.solving.reasoner import check_drawing
from smolmath.using.synthesis.problems import Asked, SynthesisError, counts_in_words, problems_of
from smolmath.using.synthesis.results import NAME, Drawn, completion_rows, write_result


@dataclass(frozen=True)
class Wanted:
    """What a person asks for."""

    target: str  # dataset or file
    model: str | None
    out: Path
    samples: int
    temperature: float
    limit: int | None
    keep: int
    side: str
    seed: int
    max_completion_tokens: int | None  # None: evaluation's limit
    columns: Mapping[str, str | None]  # of a file: question, reference_answer


@dataclass(frozen=True)
class Summary:
    """Yield and cost."""

    out: str
    problems: int  # that were asked
    completions: int
    kept: int
    rejected: dict[str, int]  # completions by reason
    solved: int  # problems with a solution
    not_asked: dict[str, int]  # rows of the dataset or file by reason
    tokens: int  # of all completions
    tokens_per_kept: float
    generated_tokens: int  # of them by this run; the others by an earlier one
    seconds: float  # of this run's generation
    tokens_per_second: float | None  # None: nothing was generated
    dataset: dict[str, Any]  # the entry under `datasets` that reads it
    notes: list[str]


def synthesize(wanted: Wanted) -> Summary:
    """Draw, select and write; the folder appears when it is whole.

    Raises: SynthesisError, ModelError, StageError and others for what a person can mend; without a single kept
    completion too, and then nothing is written.
    """
    check_drawing(samples=wanted.samples, temperature=wanted.temperature, seed=wanted.seed)
    params = read_params()
    model = find_model(wanted.model, params)
    asked = problems_of(wanted.target, params, side=wanted.side, limit=wanted.limit, columns=wanted.columns)
    sampling = SamplingParams(
        problems=None,
        samples=wanted.samples,
        temperature=wanted.temperature,
        top_p=1.0,
        max_completion_tokens=wanted.max_completion_tokens or model.max_completion_tokens,
        batch_size=int(params["evaluate"]["sampling"]["batch_size"]),
    )
    weights = content_hash(model.folder)
    name = _fingerprint(model, weights, asked, sampling, wanted.seed)
    _refuse_foreign(wanted.out, name)
    state = main_workspace() / ".work" / SYNTHESIS / name
    state.mkdir(parents=True, exist_ok=True)
    with held(state, "the same synthesis"):
        if _take_over(wanted.out, name, state):
            drawn = _drawn_before(state / NAME)
        else:
            drawn = _draw(model, asked, sampling, params, seed=wanted.seed, state=state)
        part = wanted.out.with_name(f".{wanted.out.name}.{name}.part")
        remove(part)
        part.mkdir(parents=True)
        try:
            manifest = write_result(
                part, drawn, asked, model, keep=wanted.keep, shard_rows=params["process"]["shard_rows"]
            )
            if not manifest["rows"]["kept"]:
                raise SynthesisError(_nothing(manifest["rejected_by_reason"], sampling, state))
            drawing = {"weights": weights, "seed": wanted.seed, "fingerprint": name}
            manifest["synthesis"] |= {**drawing, **sampling.model_dump(exclude={"problems"})}
            write_manifest(part, manifest)
            _refuse_foreign(wanted.out, name)  # it may have come meanwhile
            remove(wanted.out)
            os.replace(part, wanted.out)
        finally:
            remove(part)
        shutil.rmtree(state)
    return _summary(wanted, asked, manifest, drawn, params)


def _fingerprint(model: FoundModel, weights: str, asked: Asked, sampling: SamplingParams, seed: int) -> str:
    questions = json.dumps([[p["id"], p["question"]] for p in asked.problems], ensure_ascii=False)
    return fingerprint(
        SYNTHESIS,
        {"model": weights, "problems": hashlib.sha256(questions.encode()).hexdigest()},
        {"prompt": model.prompt.model_dump(), "sampling": sampling.model_dump(), "dtype": model.dtype, "seed": seed},
    )


def _refuse_foreign(out: Path, name: str) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        found = read_manifest(out)["synthesis"] if out.is_dir() else None
    except (RecordsError, KeyError, ValueError):
        found = None
    if found is None:
        raise SynthesisError(f"--out {out}: there is something that no synthesis wrote. Name another folder.")
    if found["fingerprint"] != name:
        raise SynthesisError(
            f"--out {out} holds another synthesis: {found['samples']} samples by {found['model']} at temperature "
            f"{found['temperature']}, seed {found['seed']}, {found['max_completion_tokens']} tokens at most. "
            "Other weights, problems, prompt or sampling need another folder: name one, or remove this one."
        )


def _take_over(out: Path, name: str, state: Path) -> bool:
    """Whether all completions are there from before; copied out of the result, which is replaced."""
    if not (state / NAME).is_file() and (out / NAME).is_file():
        part = state / f".{NAME}.part"
        shutil.copyfile(out / NAME, part)
        os.replace(part, state / NAME)
    return (state / NAME).is_file()


def _drawn_before(path: Path) -> Drawn:
    metadata = pq.read_schema(path).metadata
    made_by = {key: metadata[key.encode()].decode() for key in ("engine", "device")}
    return Drawn([path], made_by, 0.0, 0)


def _draw(
    model: FoundModel, asked: Asked, sampling: SamplingParams, params: Mapping[str, Any], *, seed: int, state: Path
) -> Drawn:
    import smolmath.kernels  # noqa: F401  # before torch, which the engine imports
    from smolmath.evaluation.several import engine_gpus, load_engines

    hardware = load_section(params, "hardware", HardwareParams)
    with claimed_gpus(hardware, engine_gpus(hardware)):
        template = model.prompt.chat_template_kwargs
        engine = load_engines(model.folder, dtype=model.dtype, hardware=hardware, template=template)
        room = model.context - sampling.max_completion_tokens
        fitting = [
            problem
            for problem in asked.problems
            if engine.count_tokens(engine.render(chat_prompt(problem["question"], model.prompt))) <= room
        ]
        if not fitting:
            raise SynthesisError(
                f"{model.name} reads {room + sampling.max_completion_tokens:,} tokens, and no prompt leaves "
                f"{sampling.max_completion_tokens:,} of them for a completion. Lower --max-tokens."
            )
        folder = state / hardware.engine
        earlier = {*folder.glob("batch-*.parquet")}
        began = time.monotonic()
        batches = generate_batches(
            engine,
            fitting,
            prompt=model.prompt,
            sampling=sampling,
            seed=seed,
            state=folder,
            what=f"synthesize {asked.name} by {model.name}",
            greedy=False,
        )
        seconds = time.monotonic() - began
    tokens = sum(row["tokens"] for row in completion_rows([path for path in batches if path not in earlier]))
    return Drawn(batches, {"engine": hardware.engine, "device": engine.device}, seconds, tokens)


def _nothing(rejected: Mapping[str, int], sampling: SamplingParams, state: Path) -> str:
    most = max(rejected, key=lambda reason: rejected[reason])
    mend = {
        "cut_off": f"Raise --max-tokens, which is {sampling.max_completion_tokens}",
        "broken_format": "The model mixes reasoning and answer: train it on the format first, or name another",
        "no_reasoning": "The model answers at once: train it on worked solutions first, or name another",
    }.get(most, f"Draw more than {sampling.samples} samples, or name a better model")
    return (
        f"no completion was kept ({counts_in_words(rejected)}), so nothing was written. {mend}. The completions are "
        f"kept in {state}; smolmath work --clean {state.name} removes them."
    )


def _summary(
    wanted: Wanted, asked: Asked, manifest: Mapping[str, Any], drawn: Drawn, params: Mapping[str, Any]
) -> Summary:
    facts, rows = manifest["synthesis"], manifest["rows"]
    contamination = params["process"]["contamination"]
    notes = []
    if asked.unchecked:
        notes.append(
            f"not checked against what {', '.join(asked.unchecked)} holds out, since data/split does not have it: "
            "run dvc repro split first, and the problems that are tested on are left out."
        )
    if asked.side == "validation":
        notes.append("problems of the validation side: what is trained on them cannot be validated by them.")
    if wanted.keep > 1:
        notes.append("process keeps one row of each question, the first; chat.jsonl has all solutions.")
    if contamination["ngram"] and contamination["dataset"] == asked.name:
        notes.append(
            f"process.contamination looks for copies of {asked.name} in every other dataset, and these are copies: "
            "set process.contamination.ngram to null to use them."
        )
    return Summary(
        out=str(wanted.out),
        problems=facts["problems"],
        completions=rows["raw"],
        kept=rows["kept"],
        rejected=manifest["rejected_by_reason"],
        solved=facts["problems_solved"],
        not_asked=facts["rows_not_asked"],
        tokens=facts["tokens"],
        tokens_per_kept=round(facts["tokens"] / rows["kept"], 1),
        generated_tokens=drawn.tokens,
        seconds=round(drawn.seconds, 1),
        tokens_per_second=round(drawn.tokens / drawn.seconds, 1) if drawn.tokens else None,
        dataset=dataset_entry(asked, wanted.out),
        notes=notes,
    )


def dataset_entry(asked: Asked, out: Path) -> dict[str, Any]:
    """The entry under `datasets` that makes the folder a dataset of this project."""
    path = str(out.resolve()) if ".." in out.parts else out.as_posix()
    columns = {name: name for name in ("question", "reference_answer", "reasoning", "source")}
    key = re.sub(r"[^a-z0-9_-]+|^[^a-z]+", "-", asked.name.lower()).strip("-_") or "rows"
    sides = {asked.side or "train": "shard-*.parquet"}
    return {f"{key}-solved": {"source": "files", "path": path, "sides": sides, "columns": columns}}


def as_json(summary: Summary) -> str:
    return json.dumps(asdict(summary), indent=1, ensure_ascii=False)
