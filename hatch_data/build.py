"""A build over many scans: plan it, forecast it, run it, tell what came of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from hatch_data.engines import local
from hatch_data.errors import FrameError, HatchError
from hatch_data.folder import BuildFolder
from hatch_data.questions import family
from hatch_data.recipe import DataRecipe
from hatch_data.scans import find
from hatch_data.shards import read_manifest

#: Scans and frames read for a forecast.
_SAMPLED_SCANS, _SAMPLED_FRAMES = 3, 5


def plan(
    scenes: tuple[str, ...] | list[str],
    out: Path,
    recipe: DataRecipe,
    layout: str | None = None,
    limit: int | None = None,
) -> BuildFolder:
    """Find the scans and the folder. Raises `HatchError` for whatever makes the build impossible."""
    for name in recipe.questions:
        family(name)
    return BuildFolder(out, find(list(scenes), layout), recipe, limit)


def run(folder: BuildFolder, workers: int | None = None) -> dict[str, Any]:
    """Build what is not done yet and commit; the manifest. Progress goes to stderr."""
    if folder.finished:
        return read_manifest(folder.out)
    folder.begin()
    reports = folder.done()
    jobs = [job for job in folder.jobs() if job.ref.scene not in reports]
    workers = workers or len(os.sched_getaffinity(0))
    with tqdm(total=len(folder.refs), initial=len(reports), unit="scan", desc="build", mininterval=1.0) as bar:
        rows = sum(sum(report.rows.values()) for report in reports.values())
        for report in local.run(jobs, workers):
            reports[report.scene] = report
            rows += sum(report.rows.values())
            bar.update()
            bar.set_postfix_str(f"{rows} rows")
            if report.failure:
                bar.write(f"failed: {report.scene}: {report.failure}", file=sys.stderr)
    return folder.commit(list(reports.values()))


def forecast(folder: BuildFolder) -> dict[str, Any]:
    """What a build would read and write, from a sample of its scans."""
    chosen = folder.refs[:: max(1, len(folder.refs) // _SAMPLED_SCANS)][:_SAMPLED_SCANS]
    frames, image_bytes, problems = [], [], []
    for ref in chosen:
        try:
            scene = ref.load()
            sample = scene.frames[:: max(1, len(scene.frames) // _SAMPLED_FRAMES)][:_SAMPLED_FRAMES]
            image_bytes += [len(frame.read_color()) for frame in sample]
        except FrameError as error:
            problems.append(f"{ref.scene}: {error}")
        except HatchError as error:
            problems.append(str(error))
            continue
        frames.append(len(scene.frames) / folder.recipe.frames.every)
    mean_frames = sum(frames) / max(len(frames), 1)
    rows_per_scan = mean_frames * folder.recipe.pairs.per_frame
    if folder.recipe.rows_per_scene:
        rows_per_scan = min(rows_per_scan, folder.recipe.rows_per_scene)
    rows = rows_per_scan * len(folder.refs)
    if folder.limit:
        rows = min(rows, folder.limit)
    row_bytes = 2 * sum(image_bytes) / max(len(image_bytes), 1) + 60_000
    return {
        "scans": len(folder.refs),
        "layouts": sorted({ref.layout for ref in folder.refs}),
        "split_by": folder.split_rule,
        "frames": round(mean_frames * len(folder.refs)),
        "rows_at_most": round(rows),
        "gigabytes_at_most": round(rows * row_bytes / 1e9, 3),
        "sampled_scans": len(chosen),
        "problems": problems,
        "finished_already": folder.finished,
        "out": str(folder.out),
    }


def forecast_text(folder: BuildFolder) -> str:
    """The forecast in lines."""
    told = forecast(folder)
    state = " (already built)" if told["finished_already"] else ""
    lines = [
        f"would build into {told['out']}{state}",
        f"  scans   {told['scans']} ({', '.join(told['layouts'])}), split by {told['split_by']}",
        f"  frames  about {told['frames']}, from {told['sampled_scans']} scans looked at",
        f"  rows    at most {told['rows_at_most']}, {told['gigabytes_at_most']} GB",
        *(f"  problem {problem}" for problem in told["problems"]),
    ]
    return "\n".join(lines)


def summary(manifest: dict[str, Any], out: Path) -> str:
    """What came of a build, as a table for an 80-column terminal."""
    console = Console(width=80, highlight=False, force_terminal=False)
    table = Table(box=None, pad_edge=False, header_style="")
    for name in ("scan", "layout", "up", "frames", "groups", "rows", "dropped frames"):
        table.add_column(name, justify="right" if name in ("groups", "rows") else "left", overflow="fold")
    scenes = list(manifest["scenes"].values())
    for scene in scenes[:20]:
        dropped = ", ".join(f"{n} {reason}" for reason, n in scene["dropped_frames"].items())
        table.add_row(
            scene["scene"],
            scene["layout"],
            scene["up_source"],
            f"{scene['used_frames']}/{scene['frames']}",
            str(scene["groups"]),
            str(sum(scene["rows"].values())),
            "failed" if scene["failure"] else dropped or "-",
        )
    totals = manifest["totals"]
    with console.capture() as capture:
        console.print(table)
    lines = [capture.get().rstrip()]
    if len(scenes) > 20:
        lines.append(f"... and {len(scenes) - 20} more, see {out / 'build.json'}")
    lines += [f"failed: {scene['scene']}: {scene['failure']}" for scene in scenes if scene["failure"]]
    lines.append("")
    for title, counts in (
        ("rows by split", totals["rows"]),
        ("rows by task", totals["tasks"]),
        ("questions not asked", totals["rejected_questions"]),
    ):
        lines.append(f"{title}: " + (", ".join(f"{name} {n}" for name, n in counts.items()) or "none"))
    by = manifest["split"]["by"]
    lines.append("split by " + ("time: validation shows the same places, seen later" if by == "time" else "space"))
    lines.append(f"{sum(totals['rows'].values())} rows in {out}")
    return "\n".join(lines)
