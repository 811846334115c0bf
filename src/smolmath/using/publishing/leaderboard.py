"""Results as the hub's benchmarks read them: `.eval_results/DATASET.yaml`, beside the card's older `model-index`."""

from pathlib import Path

from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml, parse_eval_result_entries
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smolmath.using.publishing.files import Files, PublishError, no_link
from smolmath.using.publishing.origin import Dataset, Origin, Result
from smolmath.using.publishing.yaml import yaml_text

FOLDER = ".eval_results"


def result_files(origin: Origin) -> Files:
    """A file for each dataset of the hub whose own test split was answered: other problems are no benchmark's."""
    datasets = {one.name: one for one in origin.datasets}
    files: Files = {}
    for result in origin.results:
        dataset = datasets[result.dataset]
        if dataset.hub_id is not None and "test" in dataset.splits:
            entries = eval_result_entries_to_yaml([_entry(result, dataset, dataset.hub_id)])
            files[f"{FOLDER}/{result.dataset}.yaml"] = yaml_text(entries).encode()
    return files


def _entry(result: Result, dataset: Dataset, hub_id: str) -> EvalResultEntry:
    found = result.found
    return EvalResultEntry(
        dataset_id=hub_id,
        task_id=dataset.config or "default",
        value=round(100 * found.accuracy, 2),
        dataset_revision=dataset.revision,
        notes=(
            f"greedy accuracy in %, {found.n:,} problems of {dataset.splits['test']}, 95 % interval "
            f"{100 * found.accuracy_low:.2f} to {100 * found.accuracy_high:.2f}; harness: smolmath, {result.harness}"
        ),
    )


def kept_results(folder: Path) -> Files:
    """Those of a folder that was exported. Raises: PublishError for one that the hub can't read, or a link."""
    files: Files = {}
    for path in sorted(no_link(folder / FOLDER).glob("*.yaml")):
        try:
            parse_eval_result_entries(YAML(typ="safe").load(no_link(path).read_text(encoding="utf-8")))
        except (YAMLError, TypeError, KeyError, AttributeError, ValueError) as error:
            raise PublishError(
                f"{path} holds no results as the hub reads them ({error}). Mend or remove it."
            ) from None
        files[f"{FOLDER}/{path.name}"] = path
    return files
