"""Stage fetch: bring a dataset's raw rows here, byte for byte. Run alone: dvc repro fetch@KEY."""

import importlib

from smolmath.data.tables import TableError, count_rows
from smolmath.params.datasets import load_dataset_params
from smolmath.records import file_facts, write_manifest
from smolmath.running.runs import stage_run
from smolmath.running.script import Place, Word, run_script


def main(dataset: Word, out: Place) -> None:
    with stage_run(f"fetch@{dataset}") as run:
        params = load_dataset_params(run.params, dataset)
        folder = run.out(out)
        folder.mkdir(parents=True)
        # By name: what one source needs (datasets, reasoning_gym) another's stage should not import.
        source = importlib.import_module(f"smolmath.data.sources.{params.source}")
        manifest = source.fetch(params, folder, run.state)
        for file in manifest["files"]:
            file |= {"rows": count_rows(folder / file["path"]), **file_facts(folder / file["path"])}
        if empty := [file["path"] for file in manifest["files"] if not file["rows"]]:
            raise TableError(f"datasets.{dataset}: no row is in {', '.join(empty)}. Fetch it again, or leave it out.")
        write_manifest(folder, {"source": params.source, **manifest})


if __name__ == "__main__":
    run_script(main)
