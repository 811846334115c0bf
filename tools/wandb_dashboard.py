"""Build the W&B dashboard of a curriculum: a saved view of its runs, trainings and evaluations side by side.

    pip install wandb-workspaces                                # or the extra: pip install -e .[dashboard]
    python tools/wandb_dashboard.py --entity TEAM               # project, group and rewards from params.yaml
    python tools/wandb_dashboard.py --entity TEAM --dry-run     # the view as JSON, without a network

Each call saves a new view and prints its address; a view is no result and nothing depends on it.
"""

import argparse
import json
from typing import Any

from smolmath.params.core import load_section, read_params
from smolmath.running.params import TrackingParams

# Section -> metrics, as smolmath.training.phase.curves and the training loop call them; each is a panel of its own.
TRAINING = {
    "reward": ["reward", "reward_std"],  # and its parts, from params.yaml
    "health": ["zero_spread_groups", "clipped_share", "entropy", "kl", "completion_tokens", "grad_norm"],
    "validation": ["validation_accuracy"],
    "cost": ["tokens_per_s", "seconds_generate", "seconds_grade", "seconds_train", "memory_mb"],
}
EVALUATION = ["accuracy", "mean_at_k"]  # summaries of the runs that the stage evaluate makes


def main(entity: str, project: str | None, group: str | None, name: str | None, dry_run: bool) -> None:
    params = read_params()
    tracking = load_section(params, "tracking", TrackingParams)
    group = group or tracking.group or "-".join(params["phases"])
    view = dashboard(
        entity=entity,
        project=project or tracking.project,
        group=group,
        name=name or f"curriculum {group}",
        parts=reward_parts(params),
    )
    if dry_run:
        print(json.dumps(view._to_model().model_dump(by_alias=True, exclude_none=True), indent=1, ensure_ascii=False))
    else:
        print(view.save().url)


def reward_parts(params: dict[str, Any]) -> list[str]:
    """The columns of the rewards that the recipe's phases name, each once and in their order."""
    names = [name.split(":")[-1] for phase in params["phases"].values() for name in phase.get("rewards", {})]
    return [f"reward_{name}" for name in dict.fromkeys(names)]


def dashboard(*, entity: str, project: str, group: str, name: str, parts: list[str]) -> Any:
    """The view, a `wandb_workspaces.workspaces.Workspace`, of the runs of `group`; nothing is sent."""
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ModuleNotFoundError:
        raise SystemExit("wandb-workspaces is not installed. Run: pip install wandb-workspaces") from None

    sections = []
    for title, metrics in TRAINING.items():
        panels = [wr.LinePlot(title=metric, x="Step", y=[metric]) for metric in metrics]
        if title == "reward":
            panels += [wr.LinePlot(title=metric, x="Step", y=[metric]) for metric in parts]
        sections.append(ws.Section(name=title, panels=panels, is_open=True))
    bars = [wr.BarPlot(title=f"{metric} by model and dataset", metrics=[metric]) for metric in EVALUATION]
    sections.append(ws.Section(name="evaluation", panels=bars, is_open=True))
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="Step", max_runs=50),  # ten is W&B's default; a curriculum has more
        runset_settings=ws.RunsetSettings(filters=[ws.Metric("Group") == group]),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entity", required=True, help="user or team that the project belongs to")
    parser.add_argument("--project", help="default: tracking.project")
    parser.add_argument("--group", help="default: tracking.group, or the recipe's phases joined")
    parser.add_argument("--name", help="of the view; default: the group")
    parser.add_argument("--dry-run", action="store_true", help="print the view as JSON and send nothing")
    main(**vars(parser.parse_args()))
