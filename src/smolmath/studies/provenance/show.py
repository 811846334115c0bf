"""A trail and what `smolmath verify` found, on the terminal and as JSON."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from smolmath.params.core import flat
from smolmath.studies.provenance.trail import Run, Trail, facts_of
from smolmath.studies.provenance.verify import Finding

# Shown elsewhere, or too long for a terminal.
ELSEWHERE = {
    "effective", "preflight", "stage", "fingerprint", "git", "seconds", "peak_memory_mb", "machine", "packages",
}  # fmt: skip


def as_json(found: Trail) -> dict[str, Any]:
    """Plain values for json.dump; the model card is made of them."""
    return {
        "path": found.path,
        "md5": found.md5,
        "recorded_in": found.recorded_in,
        "seconds": round(found.seconds, 1),
        "data": found.sources,
        "stages": [
            {
                "stage": run.recorded.stage,
                "cmd": run.recorded.cmd,
                "fingerprint": run.recorded.fingerprint,
                "deps": run.recorded.deps,
                "params": run.recorded.params,
                "outs": run.recorded.outs,
                "journal": run.journal,
            }
            for run in found.runs
        ],
    }


def trail_parts(found: Trail) -> list[Any]:
    """What to print."""
    last = found.last
    head = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    head.add_column(style="dim", no_wrap=True)
    head.add_column(overflow="fold")
    head.add_row("made by", last.recorded.stage)
    head.add_row("md5", found.md5)
    head.add_row("code", commit_in_words(last))
    head.add_row("recorded in", found.recorded_in or "no commit yet: commit dvc.lock, journal and metrics")
    for name, value in _outcome(last.journal):
        head.add_row(name, value)
    parts: list[Any] = [Text(found.path, style="bold"), head, ""]
    parts += _section("params", flat(last.recorded.params))
    parts += _section("data", _sources(found))
    parts += ["", _stages(found), ""]
    for section in ("machine", "packages"):
        values = facts_of(found.runs, section)
        parts += _section(section, {name: ", ".join(words) for name, words in values.items()})
    return parts


def commit_in_words(run: Run) -> str:
    """The commit that a run started from, and whether its code and params were those of the commit."""
    if run.journal is None:
        return "unknown: the journal has no entry of this run"
    git = run.journal.get("git")
    if not git:
        return "unknown: it ran outside Git"
    changed = git["changed"]
    return f"commit {git['commit'][:12]}" + (f", with changes to {', '.join(changed)}" if changed else "")


def findings_parts(findings: Iterable[Finding]) -> list[Any]:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    table.add_column("what", overflow="fold")
    for finding in findings:
        style = {"ok": "green", "wrong": "bold red", "missing": "yellow", "note": "dim"}[finding.status]
        words = finding.what + (f": {finding.detail}" if finding.detail else "")
        table.add_row(Text(finding.status, style=style), finding.stage, words)
    return [table]


def _stages(found: Trail) -> Table:
    table = Table("stage", "seconds", "memory", "fingerprint", "commit", box=None, padding=(0, 2, 0, 0))
    table.columns[1].justify = table.columns[2].justify = "right"
    for run in found.runs:
        entry = run.journal or {}
        commit = (entry.get("git") or {}).get("commit", "–")[:12]
        changed = "*" if (entry.get("git") or {}).get("changed") else ""
        seconds = f"{entry['seconds']:.1f}" if "seconds" in entry else "–"
        memory = f"{entry['peak_memory_mb']:,} MB" if "peak_memory_mb" in entry else "–"
        table.add_row(run.recorded.stage, seconds, memory, run.recorded.fingerprint, commit + changed)
    return table


def _outcome(entry: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What the stage noted beside the usual: steps, seconds by activity, the engine."""
    words = []
    for name, value in (entry or {}).items():
        if name in ELSEWHERE:
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        elif isinstance(value, list):
            value = "; ".join(map(str, value))
        if value not in ("", None):
            words.append((name.replace("_", " "), str(value)))
    return words


def _sources(found: Trail) -> dict[str, str]:
    words = {}
    for dataset, manifest in found.sources.items():
        if not manifest:
            words[dataset] = "its raw rows are not here: dvc pull, where a remote has them"
            continue
        what = {k: v for k, v in manifest.items() if k != "files" and v is not None}
        files = manifest.get("files") or []
        rows = sum(file.get("rows") or 0 for file in files)
        words[dataset] = ", ".join(f"{k} {v}" for k, v in what.items()) + f"; {rows:,} rows"
        for file in files:
            words[f"{dataset}/{file['path']}"] = f"sha256 {file['sha256']}"
    return words


def _section(name: str, values: dict[str, str]) -> list[Any]:
    if not values:
        return []
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in values.items():
        table.add_row(key, value)
    return [Text(name, style="dim"), table]
