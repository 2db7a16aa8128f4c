"""What a build would read, write and take, from a part of a few of its scans: built for real and thrown away.

Work is counted in frames, of which a stretch is built, or in questions where they came with the scans.
"""

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

#: Scans looked at, and of each the frames in a row, or the questions that came with it, that are built.
SAMPLED_SCANS, SAMPLED_FRAMES, SAMPLED_QUESTIONS = 3, 40, 40


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
    mean_frames = sum(frames) / max(len(frames), 1)
    most_of_one = recipe.rows_per_scene
    questions = sum(len(ref.questions[:most_of_one]) for ref in refs)
    work = questions or mean_frames * len(refs)
    built = max(sum(sample.work for sample in samples), 1)
    rows_built = sum(sample.rows for sample in samples)
    rows = [work * n for n in (rows_built / built, 1 if questions else recipe.pairs.per_frame)]
    caps = [folder.limit, None if most_of_one is None else most_of_one * len(refs)]
    expected, most = (round(min([n, *(cap for cap in caps if cap is not None)])) for n in rows)
    row_bytes = sum(sample.bytes for sample in samples) / max(rows_built, 1)
    workers = workers or len(os.sched_getaffinity(0))
    seconds = work * sum(sample.seconds for sample in samples) / built / workers
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
    """What building a part of a scan came to; `work` is its frames, or its questions."""

    work: int
    rows: int
    bytes: int
    seconds: float
    failure: str | None


def _sample(folder: BuildFolder, ref: ScanRef) -> _Sample:
    every = folder.recipe.frames.every
    if ref.questions:
        part = replace(ref, questions=ref.questions[:SAMPLED_QUESTIONS])
    else:
        part = Stretch(**told(ref), inner=ref, frames=SAMPLED_FRAMES * every)
    with tempfile.TemporaryDirectory(prefix="hatch-forecast-") as staging:
        outcome = attempt(SceneJob(part, folder.recipe, "train", None, staging))
    report = outcome.report
    size = sum(shard["bytes"] for shard in report.shards)
    work = len(part.questions) or -(-report.frames // every)
    return _Sample(work, sum(report.rows.values()), size, outcome.seconds, outcome.stop or report.failure)


def forecast_text(forecast: dict[str, Any]) -> str:
    """The forecast in lines."""
    state = " (already built)" if forecast["finished_already"] else ""
    begun = ", ".join(f"{n} {name}" for name, n in forecast["states"].items() if n and name != "waiting")
    took = f"{forecast['hours']:.1f} h" if forecast["hours"] >= 1 else f"{forecast['hours'] * 60:.1f} min"
    lines = [
        f"would build into {forecast['out']}{state}",
        f"  scans   {forecast['scans']} ({', '.join(forecast['layouts'])}), split by {forecast['split_by']}",
        *([f"  state   {begun}"] if begun else []),
        f"  frames  about {forecast['frames']}, from {forecast['sampled_scans']} scans of which a part was built",
        f"  rows    about {forecast['rows']}, at most {forecast['rows_at_most']}",
        f"  size    about {forecast['gigabytes']} GB",
        f"  time    about {took} with {forecast['workers']} worker(s)",
        *(f"  problem {problem}" for problem in forecast["problems"]),
    ]
    return "\n".join(lines)
