"""What a version of the project predicted: a Git commit, branch or tag, a DVC experiment, or the workspace.

Files come from DVC's cache or remote; nothing is checked out. What they were made with is read from that version's
dvc.lock and not from its params.yaml, which may have been edited since.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from smolmath.errors import SmolmathError

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
    sampling: Mapping[str, Any]  # section `evaluate.sampling`
    dtype: str
    made_by: Mapping[str, str]  # engine and device; empty where the completions are not at hand
    verdicts_hash: str | None  # of the verdicts, by dvc.lock
    grader_hash: str | None  # of the code that judged


class Revision:
    """A version by the name that a person gave it."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def _files(self) -> Any:
        from dvc.api import DVCFileSystem
        from dvc.exceptions import NotDvcRepoError
        from dvc.repo import Repo
        from dvc.scm import SCMError
        from scmrepo.exceptions import SCMError as GitError

        try:
            # Today's remotes: those that an old commit names may be gone, or were added since.
            config = {name: Repo(Repo.find_root()).config.get(name, {}) for name in ("core", "remote")}
            files = DVCFileSystem(rev=None if self.name == WORKSPACE else self.name, config=config)
            files.repo  # noqa: B018  # opened here, where an error can be told
        except NotDvcRepoError:
            raise RevisionError(
                "this folder is no DVC repository: run it in the project, after `git init` and `dvc init`."
            ) from None
        except (SCMError, GitError) as error:
            raise RevisionError(
                f"{self.name!r} is no commit, branch, tag or experiment here ({error}). `git log --oneline` and "
                f"`dvc exp list` show what there is; {WORKSPACE!r} is what lies in this folder."
            ) from None
        return files

    @cached_property
    def lock(self) -> dict[str, Any]:
        """Stage -> its entry in dvc.lock."""
        try:
            text = self._files.read_text("dvc.lock")
        except FileNotFoundError:
            raise RevisionError(
                f"{self.name} holds no dvc.lock: nothing was run. Run `dvc repro` and commit."
            ) from None
        return dict(YAML(typ="safe", pure=True).load(text)["stages"])

    def evaluated(self) -> list[tuple[str, str]]:
        """(model, dataset) of each evaluation that dvc.lock records, in its order."""
        stages = (stage for name, stage in self.lock.items() if name.startswith("evaluate@"))
        paths = [out["path"].split("/") for stage in stages for out in stage["outs"]]
        return [(path[2], path[3].removesuffix(".parquet")) for path in paths if path[:2] == ["results", "verdicts"]]

    def predictions(self, model: str, dataset: str) -> Predictions:
        """Raises: RevisionError if they were not made, are in neither cache nor remote, or cannot be read."""
        generate, evaluate = (self.lock.get(f"{stage}@{model}-{dataset}") for stage in ("generate", "evaluate"))
        if generate is None or evaluate is None:
            there = ", ".join(f"{model} on {dataset}" for model, dataset in self.evaluated()) or "nothing"
            raise RevisionError(f"{self.name} has no evaluation of {model} on {dataset}. It has {there}.")
        params = generate["params"]["params.yaml"]
        path = f"results/verdicts/{model}/{dataset}.parquet"
        return Predictions(
            model=model,
            dataset=dataset,
            verdicts=self.table(path, VERDICT_COLUMNS).to_pylist(),
            prompt=params["prompt"],
            sampling=params["evaluate.sampling"],
            dtype=params["model.dtype"],
            made_by=self._made_by(completions_path(model, dataset)),
            verdicts_hash=_hash(evaluate["outs"], path),
            grader_hash=_hash(evaluate["deps"], "src/smolmath/answers"),
        )

    def table(self, path: str, columns: tuple[str, ...]) -> pa.Table:
        """Raises: RevisionError as `predictions`."""
        content = self._bytes(path)
        try:
            return pq.read_table(content, columns=list(columns))
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
            raise RevisionError(
                f"{path} of {self.name} cannot be read ({error}). Remove it from here and from DVC's cache, then "
                "`dvc pull`, or write it again: dvc repro --force on its stage."
            ) from None

    def _made_by(self, path: str) -> dict[str, str]:
        try:
            metadata = pq.read_schema(self._bytes(path)).metadata or {}
        except (RevisionError, pa.ArrowInvalid):
            return {}
        return {key: metadata[key.encode()].decode() for key in ("engine", "device") if key.encode() in metadata}

    def _bytes(self, path: str) -> BytesIO:
        from dvc.exceptions import DvcException

        try:
            return BytesIO(self._files.read_bytes(path))
        except (FileNotFoundError, DvcException) as error:
            raise RevisionError(self._missing(path, error)) from None

    def _missing(self, path: str, error: Exception) -> str:
        if self.name == WORKSPACE:
            return f"{path} is not here: run `dvc checkout` (or `dvc pull`, where a remote has it), or `dvc repro`."
        return (
            f"{path} of {self.name} is neither in DVC's cache nor in a remote ({error}). Where somebody pushed it: "
            f"`dvc fetch --all-commits {path}`. Else make it again: git checkout {self.name}, `dvc repro`, and back."
        )


def completions_path(model: str, dataset: str) -> str:
    return f"results/completions/{model}/{dataset}.parquet"


def problems_path(dataset: str) -> str:
    return f"data/split/{dataset}/test.parquet"


def _hash(entries: list[dict[str, Any]], path: str) -> str | None:
    return next((entry.get("md5") for entry in entries if entry["path"] == path), None)
