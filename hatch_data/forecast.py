"""What a build would read, write and take, from a stretch of a few of its scans: built for real and thrown away."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from typing import Any

from hatch_data.engines.attempt import attempt, told
from hatch_data.errors import HatchError
from hatch_data.folder import BuildFolder
from hatch_data.pipeline import SceneJob
from hatch_data.scans import ScanRef
from hatch_data.scene import Scene

#: Scans looked at, and frames in a row that are built of each.
SAMPLED_SCANS, SAMPLED_FRAMES = 3, 40


@dataclass(frozen=True, kw_only=True)
class Stretch(ScanRef):
    """The middle of a scan: `frames` frames in a row, or all if it has no more."""

    inner: ScanRef
    frames: int

    def load(self) -> Scene:
        """The scan, cut."""
        scene = self.inner.load()
        first = max(0, len(scene.frames) - self.frames) // 2
        return replace(scene, frames=scene.frames[first : first + self.frames])


def forecast(folder: BuildFolder, workers: int | None = None) -> dict[str, Any]:
    """How many scans, frames, rows and bytes, and how many hours on `workers` cores."""
    refs, recipe = folder.refs, folder.recipe
    chosen = refs[:: max(1, len(refs) // SAMPLED_SCANS)][:SAMPLED_SCANS]
    frames: list[float] = []
    problems: list[str] = []
    samples: list[_Sample] = []
    for ref in chosen:
        try:
            frames.append(len(ref.load().frames) / recipe.frames.every)
        except HatchError as error:
            problems.append(str(error))
            continue
        if not samples:
            _sample(folder, ref)  # The first is slower: code is compiled and loaded.
        sample = _sample(folder, ref)
        if sample.failure:
            problems.append(f"{ref.scene}: {sample.failure}")
        else:
            samples.append(sample)
    built = max(sum(sample.frames for sample in samples), 1)
    rows_built = max(sum(sample.rows for sample in samples), 1)
    mean_frames = sum(frames) / max(len(frames), 1)
    cap = min((n for n in (recipe.rows_per_scene, _share(folder)) if n is not None), default=None)
    rows = [mean_frames * n for n in (sum(s.rows for s in samples) / built, recipe.pairs.per_frame)]
    expected, most = (round(min(n, cap) * len(refs)) if cap is not None else round(n * len(refs)) for n in rows)
    if folder.limit is not None:
        expected, most = min(expected, folder.limit), min(most, folder.limit)
    row_bytes = sum(sample.bytes for sample in samples) / rows_built
    workers = workers or len(os.sched_getaffinity(0))
    seconds = mean_frames * len(refs) * sum(sample.seconds for sample in samples) / built / workers
    return {
        "scans": len(refs),
        "layouts": sorted({ref.layout for ref in refs}),
        "split_by": folder.split_rule,
        "frames": round(mean_frames * len(refs)),
        "rows": min(expected, most),
        "rows_at_most": most,
        "gigabytes": round(expected * row_bytes / 1e9, 3),
        "hours": round(seconds / 3600, 5),
        "workers": workers,
        "sampled_scans": len(samples),
        "problems": problems,
        "states": folder.states(),
        "finished_already": folder.finished,
        "out": str(folder.out),
    }


@dataclass(frozen=True)
class _Sample:
    """What building a stretch came to."""

    frames: int
    rows: int
    bytes: int
    seconds: float
    failure: str | None


def _sample(folder: BuildFolder, ref: ScanRef) -> _Sample:
    stretch = Stretch(**told(ref), inner=ref, frames=SAMPLED_FRAMES * folder.recipe.frames.every)
    with tempfile.TemporaryDirectory(prefix="hatch-forecast-") as staging:
        outcome = attempt(SceneJob(stretch, folder.recipe, "train", None, staging))
    report = outcome.report
    size = sum(shard["bytes"] for shard in report.shards)
    frames = -(-report.frames // folder.recipe.frames.every)
    return _Sample(frames, sum(report.rows.values()), size, outcome.seconds, outcome.stop or report.failure)


def _share(folder: BuildFolder) -> float | None:
    return None if folder.limit is None else folder.limit / len(folder.refs)


def forecast_text(forecast: dict[str, Any]) -> str:
    """The forecast in lines."""
    state = " (already built)" if forecast["finished_already"] else ""
    begun = ", ".join(f"{n} {name}" for name, n in forecast["states"].items() if n and name != "waiting")
    took = f"{forecast['hours']:.1f} h" if forecast["hours"] >= 1 else f"{forecast['hours'] * 60:.1f} min"
    lines = [
        f"would build into {forecast['out']}{state}",
        f"  scans   {forecast['scans']} ({', '.join(forecast['layouts'])}), split by {forecast['split_by']}",
        *([f"  state   {begun}"] if begun else []),
        f"  frames  about {forecast['frames']}, from {forecast['sampled_scans']} scans of which a stretch was built",
        f"  rows    about {forecast['rows']}, at most {forecast['rows_at_most']}",
        f"  size    about {forecast['gigabytes']} GB",
        f"  time    about {took} with {forecast['workers']} worker(s)",
        *(f"  problem {problem}" for problem in forecast["problems"]),
    ]
    return "\n".join(lines)
