"""A build over many scans: plan it, run it, tell what came of it."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from hatch_data import imported
from hatch_data.engines import Outcome, local
from hatch_data.errors import ShardError
from hatch_data.folder import FAILURES, BuildFolder
from hatch_data.pipeline import SceneJob
from hatch_data.progress import Progress, Style
from hatch_data.questions import family
from hatch_data.recipe import DataRecipe
from hatch_data.scans import find
from hatch_data.terminal import table

Engine = Literal["local", "ray"]
#: Counts of a kind that a summary shows.
_SHOWN = 12


def plan(
    scenes: tuple[str, ...] | list[str],
    out: str | Path,
    recipe: DataRecipe,
    layout: str | None = None,
    limit: int | None = None,
) -> BuildFolder:
    """Find the scans and the folder. Raises `HatchError` for whatever makes the build impossible."""
    for name in recipe.questions:
        family(name)
    if recipe.questions_from == "spar":
        refs = imported.sample(list(scenes), limit, recipe.seed)
    else:
        refs = find(list(scenes), layout)
    return BuildFolder(out, refs, recipe, limit)


def run(
    folder: BuildFolder,
    workers: int | None = None,
    *,
    engine: Engine = "local",
    address: str | None = None,
    retry_failed: bool = False,
    style: Style | None = None,
) -> dict[str, Any]:
    """Build what is not done yet and commit; the manifest. Progress goes to stderr.

    Scans that failed before are built again only with `retry_failed`; in a finished build, the shards that stand are
    kept and those of the scans that now succeed are put among them, as if nothing had failed.
    `workers`: processes, by default one for each core; 0 builds in this one.
    """
    if folder.finished and not folder.under_way:
        manifest = folder.manifest()
        if not (retry_failed and any(scene["failure"] for scene in manifest["scenes"].values())):
            return manifest
    with folder.opened():
        reports = folder.reports()
        again = {name for name, report in reports.items() if report.failure and retry_failed}
        jobs = [job for job in folder.jobs() if job.ref.scene not in reports or job.ref.scene in again]
        kept = [report for name, report in reports.items() if name not in again]
        failed = sum(report.failure is not None for report in kept)
        rows = sum(sum(report.rows.values()) for report in kept)
        with Progress(len(folder.refs), len(kept) - failed, failed, rows, style) as progress:
            for outcome in _outcomes(jobs, workers, engine, address, progress):
                if outcome.stop:
                    raise ShardError(outcome.stop)
                if outcome.report.failure:
                    folder.note_failure(outcome)
                reports[outcome.report.scene] = outcome.report
                progress.add(outcome)
        return folder.commit(reports)


def _outcomes(
    jobs: list[SceneJob], workers: int | None, engine: Engine, address: str | None, progress: Progress
) -> Iterator[Outcome]:
    if not jobs:
        return iter(())
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    if engine == "ray":
        from hatch_data.engines import ray

        return ray.run(jobs, workers, address)
    return local.run(jobs, workers, progress.come_to)


def summary(manifest: dict[str, Any], out: str | Path) -> str:
    """What came of a build, as a table for an 80-column terminal."""
    shown = []
    scenes = list(manifest["scenes"].values())
    for scene in scenes[:20]:
        dropped = ", ".join(f"{n} {reason}" for reason, n in scene["dropped_frames"].items())
        told = "failed" if scene["failure"] else dropped or "-" if scene["needed"] else "not needed"
        frames = f"{scene['used_frames']}/{scene['frames']}"
        rows = sum(scene["rows"].values())
        shown.append((scene["scene"], scene["layout"], scene["up_source"], frames, scene["groups"], rows, told))
    totals = manifest["totals"]
    head = ("scan", "layout", "up", "frames", "groups", "rows", "dropped frames")
    lines = [table(head, shown, left=("layout", "up", "frames", "dropped frames"))]
    if len(scenes) > 20:
        lines.append(f"... and {len(scenes) - 20} more, see {out}/build.json")
    failures = [f"failed: {scene['scene']}: {scene['failure']}" for scene in scenes if scene["failure"]]
    if failures:
        again = (
            f"{len(failures)} of {len(scenes)} scans failed, see {out}/{FAILURES}; try them again with --retry-failed"
        )
        lines += [*failures, again]
    lines.append("")
    for title, counts in (
        ("rows by split", totals["rows"]),
        ("rows by task", totals["tasks"]),
        ("questions not asked", _by_reason(totals["rejected_questions"])),
    ):
        lines += _counted(title, counts, f"{out}/build.json")
    by = manifest["split"]["by"]
    lines.append("split by " + ("time: validation shows the same places, seen later" if by == "time" else "space"))
    lines.append(f"{sum(totals['rows'].values())} rows in {out}")
    return "\n".join(lines)


def _by_reason(rejected: dict[str, int]) -> dict[str, int]:
    """Counts of `family: reason` by reason, with the one family that gave it or how many did."""
    families: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for name, count in rejected.items():
        family_name, _, reason = name.partition(": ")
        families.setdefault(reason, []).append(family_name)
        counts[reason] += count
    told = {reason: names[0] if len(names) == 1 else f"{len(names)} families" for reason, names in families.items()}
    return {f"{reason} ({told[reason]})": count for reason, count in counts.items()}


def _counted(title: str, counts: dict[str, int], where: str) -> list[str]:
    """The greatest counts in lines of 80 columns, and how many more there are."""
    shown = dict(Counter(counts).most_common(_SHOWN))
    more = f", and {len(counts) - len(shown)} more in {where}" if len(counts) > len(shown) else ""
    told = ", ".join(f"{name} {n}" for name, n in shown.items()) + more if shown else "none"
    return textwrap.wrap(f"{title}: {told}", 80, subsequent_indent="  ", break_on_hyphens=False)
