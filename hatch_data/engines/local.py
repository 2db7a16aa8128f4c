"""Processes on this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from hatch_data.pipeline import SceneJob, SceneReport, build_scene


def run(jobs: list[SceneJob], workers: int) -> Iterator[SceneReport]:
    """Build scenes in `workers` processes; one worker builds in this process."""
    if workers <= 1 or len(jobs) <= 1:
        yield from map(build_scene, jobs)
        return
    with ProcessPoolExecutor(min(workers, len(jobs)), multiprocessing.get_context("spawn")) as pool:
        pending = [pool.submit(build_scene, job) for job in jobs]
        for future in as_completed(pending):
            yield future.result()
