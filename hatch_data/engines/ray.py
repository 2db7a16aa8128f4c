"""A Ray cluster: one on this machine, or the one at `address`. Scans and output lie where all its nodes reach them."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator
from typing import Any

from hatch_data.engines import ATTEMPTS, Outcome, failed, worker_died
from hatch_data.engines.attempt import attempt
from hatch_data.errors import HatchError
from hatch_data.pipeline import SceneJob


def run(jobs: list[SceneJob], workers: int, address: str | None = None) -> Iterator[Outcome]:
    """Build scenes as tasks of one core each. `workers` is the size of a cluster on this machine."""
    ray = _ray()
    joined = not ray.is_initialized()
    if joined:
        _join(ray, workers, address)
    # Dead workers are counted here, as the other engine does, and not by Ray, which would try without end.
    task = ray.remote(num_cpus=1, max_retries=0, retry_exceptions=False)(attempt)
    waiting = deque((job, 1) for job in jobs)
    under_way: dict[Any, tuple[SceneJob, int]] = {}
    try:
        while waiting or under_way:
            while waiting and len(under_way) < 2 * max(1, int(ray.cluster_resources().get("CPU", 1))):
                job, tries = waiting.popleft()
                under_way[task.remote(job)] = (job, tries)
            for done in ray.wait(list(under_way), num_returns=1, timeout=10)[0]:
                job, tries = under_way.pop(done)
                outcome = _result(ray, done, job, tries)
                if outcome is None:
                    waiting.appendleft((job, tries + 1))
                else:
                    yield outcome
    finally:
        if joined:
            ray.shutdown()


def _result(ray: Any, done: Any, job: SceneJob, tries: int) -> Outcome | None:
    """What came of a task; None where its worker died and the scan is to be tried again."""
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        told = str(error).strip().splitlines()
        return failed(job, f"{job.ref.path}: the worker could not run it ({told[-1]})", str(error))
    except ray.exceptions.RayError as error:
        told = str(error).strip().splitlines()
        return None if tries < ATTEMPTS else worker_died(job, tries, f"with {type(error).__name__} ({told[0]})")


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise HatchError('--engine ray: Ray is not installed; pip install "hatch-spatial[ray]"') from None
    return ray


def _join(ray: Any, workers: int, address: str | None) -> None:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            ray.init(address="local", num_cpus=workers or 1, include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())
        where = f"--address {address}" if address else "--engine ray"
        raise HatchError(f"{where}: no Ray cluster to be had ({why})") from None
