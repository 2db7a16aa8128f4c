"""Engines run the building of single scenes over many scans. Each has `run(jobs, ...) -> Iterator[Outcome]`, outcomes
coming in as they are done; no more jobs are under way than there are workers (`ray`: twice that), so memory stays flat.

    local      processes on this machine
    ray        a Ray cluster, on this machine or elsewhere
    attempt    what a worker does with one scan
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hatch_data.pipeline import SceneJob, SceneReport

#: How often a scan is tried whose worker died under it (killed for its memory, a fault in a library, a lost machine).
ATTEMPTS = 3


@dataclass(frozen=True)
class Outcome:
    """What came of one scan: its report, with `failure` set where it failed; the traceback of what nobody foresaw; the
    seconds it took and those of them that went into reading the scan. `stop` says why no scan can be built now."""

    report: SceneReport
    log: str = ""
    seconds: float = 0.0
    reading_s: float = 0.0
    stop: str = ""


@dataclass(frozen=True)
class UnderWay:
    """How far the building of a scan has come: frames that are read, and after them rows."""

    scene: str
    what: Literal["frames", "rows"]
    done: int
    of: int


def failed(job: SceneJob, reason: str, log: str = "") -> Outcome:
    """The outcome of a scan that failed for `reason`."""
    return Outcome(SceneReport(job.ref.scene, job.ref.layout, job.ref.path, failure=reason), log or reason)


def worker_died(job: SceneJob, tries: int, how: str) -> Outcome:
    """The outcome of a scan under which a worker died once too often."""
    return failed(job, f"{job.ref.path}: the worker building it died {tries} times, at last {how}")
