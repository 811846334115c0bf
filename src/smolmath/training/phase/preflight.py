"""A look before step 1: a few prompts, what the model makes of them, and whether anything could be learnt.

Three hours of a reward that is silently zero begin with a limit that cuts every completion, or a format that no
completion keeps. The methods measure (grpo/preflight.py, sft/preflight.py); here it is shown and judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from smolmath.errors import StageError


@dataclass(frozen=True)
class Finding:
    """One line of the table. `fix` stands for a warning; `hopeless` for one that leaves nothing to learn."""

    what: str
    value: str
    fix: str | None = None
    hopeless: bool = False


def judge(phase: str, findings: Sequence[Finding], action: Literal["stop", "warn"], seen: str) -> dict[str, Any]:
    """Print the table and the warnings; the findings for the journal.

    Args: seen: what was looked at, for the title.
    Raises: StageError if nothing could be learnt, unless `action` is warn.
    """
    table = Table(title=f"{phase}: {seen}", title_justify="left", box=None, header_style="dim")
    table.add_column("before step 1")
    table.add_column("", justify="right")
    for finding in findings:
        table.add_row(finding.what, finding.value, style="yellow" if finding.fix else "")
    console = Console()
    console.print(table)
    for finding in findings:
        if finding.fix:
            console.print(f"{'nothing to learn' if finding.hopeless else 'warning'}: {finding.fix}", soft_wrap=True)
    hopeless = [finding.fix for finding in findings if finding.hopeless]
    if hopeless and action == "stop":
        raise StageError(
            f"{phase}: nothing could be learnt: {' '.join(str(fix) for fix in hopeless)} To train all the same, set "
            f"phases.{phase}.preflight to warn."
        )
    return {finding.what.strip(): finding.value for finding in findings}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
