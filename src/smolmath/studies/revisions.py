"""What a version of the project predicted: a Git commit, branch or tag, a DVC experiment, or the workspace.

Files come from DVC's cache or remote, by the hashes of that version's dvc.lock; nothing is checked out. What they were
made with is read from dvc.lock too, and not from params.yaml, which may have been edited since.
"""

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smolmath.errors import SmolmathError
from smolmath.params.core import ParamsError, flat
from smolmath.running.graph import stages_of
from smolmath.running.lockfile import Recorded, named, outdated, read_lock, upstream
from smolmath.running.repository import dvc_repo, knows_git

WORKSPACE = "workspace"
VERDICT_COLUMNS = ("problem_id", "sample", "correct", "predicted_answer", "tokens")  # those of every schema version
COMPLETION_COLUMNS = ("problem_id", "sample", "completion")
PROBLEM_COLUMNS = ("id", "question", "reference_answer")


class RevisionError(SmolmathError):
    """A version that is not there, or lacks predictions; the message says what to do."""


@dataclass(frozen=True)
class Predictions:
    """One model's answers to one dataset's test problems."""

    model: str
    dataset: str
    verdicts: list[dict[str, Any]]
    prompt: Mapping[str, Any]  # section `prompt`
    sampling: Mapping[str, Any]  # section `evaluate.sampling`, with what the dataset has otherwise
    dtype: str
    grader_hash: str | None  # of the code that judged
    problems_hash: str | None  # of the dataset's split
    made_by: Mapping[str, str]  # engine and device; empty where the completions are not at hand
    prompts: Mapping[str, str]  # problem id -> prompt as the model read it; likewise


@dataclass(frozen=True)
class Trained:
    """What a model is, and what made it but for the seed."""

    weights: str  # hash
    params: Mapping[str, str]  # dotted key -> value


class Revision:
    """A version by the name that a person gave it.

    Args: remote: whether to ask DVC's remote for what the cache lacks.
    """

    def __init__(self, name: str, *, remote: bool = True) -> None:
        self.name, self._remote = name, remote
        self._predictions = dict[tuple[str, str], Predictions]()  # read once, however often a ranking asks for them

    @cached_property
    def lock(self) -> dict[str, Recorded]:
        """Stage -> its entry in dvc.lock, of the stages that its params.yaml names."""
        return named_lock(self._lock(), self.text("params.yaml"), self.text("dvc.yaml"), self.name)

    def _lock(self) -> str:
        try:
            return self._read("dvc.lock").decode()
        except FileNotFoundError:
            raise RevisionError(
                f"{self.name} holds no dvc.lock: nothing was run. Run `dvc repro` and commit."
            ) from None

    def evaluated(self) -> list[tuple[str, str]]:
        """(model, dataset) of each evaluation that dvc.lock records of today's weights, in its order."""
        return [pair for pair in evaluations(self.lock) if pair not in self.outdated]

    @cached_property
    def outdated(self) -> dict[tuple[str, str], str]:
        """(model, dataset) of each evaluation of weights or problems that were made again since -> what those are."""
        return outdated_evaluations(self.lock)

    def left_out(self, pairs: Collection[tuple[str, str]]) -> list[str]:
        """Of the (model, dataset) that are asked for, those outdated, in words with the command that brings them."""
        asked = {pair: why for pair, why in self.outdated.items() if pair in pairs}
        return [
            f"{self.name}: {', '.join(f'{model} on {dataset}' for model, dataset in group)} left out, evaluated with "
            f"{why}. {self._there()}`dvc repro` evaluates again."
            for why in dict.fromkeys(asked.values())
            for group in [[pair for pair, reason in asked.items() if reason == why]]
        ]

    def _there(self) -> str:
        """How to get to this version, where one isn't there already."""
        return "" if self.name == WORKSPACE else f"`git checkout {self.name}` (or `dvc exp apply {self.name}`), then "

    def predictions(self, model: str, dataset: str) -> Predictions:
        """Raises: RevisionError if they were not made, are in neither cache nor remote, or cannot be read."""
        if (model, dataset) not in self._predictions:
            self._predictions[model, dataset] = self._read_predictions(model, dataset)
        return self._predictions[model, dataset]

    def _read_predictions(self, model: str, dataset: str) -> Predictions:
        generate, evaluate = (self.lock.get(f"{stage}@{model}-{dataset}") for stage in ("generate", "evaluate"))
        if generate is None or evaluate is None:
            there = ", ".join(f"{model} on {dataset}" for model, dataset in self.evaluated()) or "nothing"
            raise RevisionError(f"{self.name} has no evaluation of {model} on {dataset}. It has {there}.")
        if told := self.left_out([(model, dataset)]):
            raise RevisionError(told[0])
        params = generate.params
        if lacking := {"prompt", "evaluate.sampling", "model.dtype"} - params.keys():
            raise RevisionError(
                f"dvc.lock of {self.name} does not say with which {', '.join(sorted(lacking))} {model} answered "
                f"{dataset}: it was written by another version of smolmath. Run `dvc repro` there."
            )
        made_by, prompts = self._generation(completions_path(model, dataset))
        return Predictions(
            model=model,
            dataset=dataset,
            verdicts=self.table(f"results/verdicts/{model}/{dataset}.parquet", VERDICT_COLUMNS).to_pylist(),
            prompt=params["prompt"],
            sampling={"shots": 0, "system": None}
            | params["evaluate.sampling"]
            | self._own_sampling(generate, dataset),
            dtype=params["model.dtype"],
            grader_hash=evaluate.deps.get("src/smolmath/answers"),
            problems_hash=evaluate.deps.get(f"data/split/{dataset}"),
            made_by=made_by,
            prompts=prompts,
        )

    def _own_sampling(self, generate: Recorded, dataset: str) -> dict[str, Any]:
        """What the dataset has otherwise than `evaluate.sampling`; an older dvc.lock knows of nothing."""
        path = sampling_path(dataset)
        if generate.deps.get(path) in (None, _md5(b"{}\n")):
            return {}
        return dict(json.loads(self._local(path) or self._fetched(path)))

    def trained(self, model: str, dataset: str) -> Trained:
        """Of an evaluation, the weights that answered."""
        generate = self.lock[f"generate@{model}-{dataset}"]
        params: dict[str, str] = {}
        for made in upstream(self.lock, generate):
            params |= {name: text for key, value in made.params.items() for name, text in flat(value, key).items()}
        params.pop("seed", None)
        return Trained(generate.deps[f"models/{model}"], params)

    def text(self, path: str) -> str:
        """A file that Git tracks. Raises: RevisionError if this version has none."""
        try:
            return self._read(path).decode()
        except FileNotFoundError:
            raise RevisionError(f"{self.name} holds no {path}.") from None

    def table(self, path: str, columns: tuple[str, ...]) -> pa.Table:
        """Raises: RevisionError as `predictions`."""
        content = self._local(path) or self._fetched(path)
        try:
            return read_parquet(content, columns)
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
            raise RevisionError(
                f"{path} of {self.name} is no table that smolmath reads ({error}). Make it again: {self._there()}"
                "`dvc repro --force` on its stage."
            ) from None

    @cached_property
    def _repo(self) -> Any:
        from dvc.exceptions import NotDvcRepoError

        try:
            # Only its settings and paths are used, for which none of its databases must be open.
            with dvc_repo() as repo:
                pass
        except NotDvcRepoError:
            raise RevisionError(
                "this folder is no DVC repository: run it in the project, after `git init` and `dvc init`."
            ) from None
        if Path(repo.root_dir) != Path.cwd():
            raise RevisionError(f"{Path.cwd()} is not the project's root.")
        if self.name != WORKSPACE and not knows_git(repo):
            raise RevisionError(
                f"{self.name!r} would be a commit, and DVC knows no Git repository here: a ZIP download is none, and "
                "has models to compare but one version (smolmath compare :MODEL :MODEL). Clone it with Git; or commit "
                "(git init, git add ., git commit) and tell DVC: dvc config core.no_scm false."
            )
        return repo

    @cached_property
    def _files(self) -> Any:
        from dvc.api import DVCFileSystem
        from dvc.scm import SCMError
        from scmrepo.exceptions import SCMError as GitError

        # Today's remotes: those that an old commit names may be gone, or were added since.
        config = {name: self._repo.config.get(name, {}) for name in ("core", "remote")}
        try:
            files = DVCFileSystem(rev=None if self.name == WORKSPACE else self.name, config=config)
            files.repo  # noqa: B018  # opened here, where an error can be reported
        except (SCMError, GitError) as error:
            raise RevisionError(
                f"{self.name!r} is no commit, branch, tag or experiment here ({error}). `git log --oneline` and "
                f"`dvc exp list` show what there is; {WORKSPACE!r} is what lies in this folder, :MODEL one of its "
                "models."
            ) from None
        return files

    def _read(self, path: str) -> bytes:
        """A file of this version; the databases that DVC opens for it are closed again."""
        files = self._files
        with files.repo:
            return bytes(files.read_bytes(path))

    def _generation(self, path: str) -> tuple[dict[str, str], dict[str, str]]:
        """Engine and device, and the prompts of a completions file, where it lies on this machine."""
        content = self._local(path)
        try:
            found = read_parquet(content, ("problem_id", "sample", "prompt")) if content else None
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError):
            found = None
        if found is None:
            return {}, {}
        metadata = found.schema.metadata or {}
        made_by = {key: metadata[key.encode()].decode() for key in ("engine", "device") if key.encode() in metadata}
        return made_by, {row["problem_id"]: row["prompt"] for row in found.to_pylist() if row["sample"] == 0}

    def _local(self, path: str) -> bytes | None:
        """A file that dvc.lock records, from the workspace or from DVC's cache; None if it is in neither.

        Raises: RevisionError if the workspace, or the cache, holds another file than dvc.lock records.
        """
        recorded = (files for stage in self.lock.values() for files in (stage.outs, stage.deps))
        md5 = next((files[path] for files in recorded if path in files), None)
        here = Path(path).read_bytes() if self.name == WORKSPACE and Path(path).is_file() else None
        if here is not None and (md5 is None or _md5(here) == md5):
            return here
        cached = Path(self._repo.cache.local.oid_to_path(md5)) if md5 else None
        content = cached.read_bytes() if cached and cached.is_file() else None
        if cached and content is not None and _md5(content) != md5:
            raise RevisionError(
                f"{path} of {self.name} is damaged in DVC's cache: cut off, or edited through a link. Remove it: "
                f"rm {os.path.relpath(cached)}. Then `dvc pull --force`, where a remote has it. Else make it again: "
                f"{self._there()}`dvc repro`."
            )
        if here is not None:
            raise RevisionError(
                f"{path} is not what dvc.lock records, so it cannot be said what it was made with. Put the "
                "recorded one back: dvc checkout. Or bring both up to date: dvc repro."
            )
        return content

    def _fetched(self, path: str) -> bytes:
        """A file by DVC, which knows folders and remotes."""
        if not self._remote:
            raise RevisionError(self._missing(path, "not in DVC's cache"))
        try:
            return self._read(path)
        except Exception as error:  # whatever the remote's client raises: no key, no network, no such file
            raise RevisionError(self._missing(path, f"{type(error).__name__}: {error}")) from None

    def _missing(self, path: str, why: str) -> str:
        if self.name == WORKSPACE:
            return f"{path} is not here: run `dvc checkout` (or `dvc pull`, where a remote has it), or `dvc repro`."
        return (
            f"{path} of {self.name} is neither in DVC's cache nor to be had from a remote ({why}). Where somebody "
            f"pushed it: `dvc fetch --all-commits {path}`. Else make it again: git checkout {self.name}, `dvc repro`, "
            "and back."
        )


def named_lock(lock: str, params: str, dvc_yaml: str, name: str) -> dict[str, Recorded]:
    """What `name`'s dvc.lock records of the stages that its params.yaml and dvc.yaml name, by the files' texts.

    Raises: LockError, RevisionError if one cannot be read.
    """
    recorded = read_lock(lock, name)
    try:
        return named(recorded, stages_of(dvc_yaml, YAML(typ="safe", pure=True).load(params)))
    except (YAMLError, ParamsError, KeyError, TypeError) as error:
        raise RevisionError(
            f"params.yaml and dvc.yaml of {name} cannot be read together ({' '.join(str(error).split())}), so nobody "
            "can say which results of its dvc.lock still count. `smolmath check` there says what is wrong."
        ) from None


def evaluations(lock: Mapping[str, Recorded]) -> list[tuple[str, str]]:
    """(model, dataset) of each evaluation that a dvc.lock records, in its order."""
    paths = [path.split("/") for path in verdict_hashes(lock)]
    return [(path[2], path[3].removesuffix(".parquet")) for path in paths]


def outdated_evaluations(lock: Mapping[str, Recorded]) -> dict[tuple[str, str], str]:
    """(model, dataset) of each evaluation whose chain is broken -> in words, what was made again since."""
    links = {
        (model, dataset): outdated(lock, lock[f"evaluate@{model}-{dataset}"]) for model, dataset in evaluations(lock)
    }
    return {pair: f"another {link[0]} than {link[1].stage} has written since" for pair, link in links.items() if link}


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def verdict_hashes(stages: Mapping[str, Recorded]) -> dict[str, str]:
    """Path -> md5 of all verdicts that a dvc.lock records."""
    return {
        path: md5
        for name, stage in stages.items()
        if name.startswith("evaluate@")
        for path, md5 in stage.outs.items()
        if path.startswith("results/verdicts/") and path.count("/") == 3
    }


def sampling_path(dataset: str) -> str:
    return f"data/sampling/{dataset}.json"


def completions_path(model: str, dataset: str) -> str:
    return f"results/completions/{model}/{dataset}.parquet"


def problems_path(dataset: str) -> str:
    return f"data/split/{dataset}/test.parquet"


def read_parquet(content: bytes, columns: Sequence[str]) -> pa.Table:
    """Columns of a parquet file that lies in memory. Raises: pyarrow's ArrowInvalid, ArrowKeyError or OSError."""
    # By threads, a table that is not read from a path ends every third process with "terminate called without an
    # active exception" when all its work is done (https://github.com/apache/arrow/issues/34314).
    return pq.read_table(pa.BufferReader(content), columns=list(columns), use_threads=False)
