"""Processes on this machine. Each has one scan at a time: if it dies, it is known under which."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait

from hatch_data.engines import ATTEMPTS, Outcome, UnderWay, worker_died
from hatch_data.engines.attempt import attempt
from hatch_data.pipeline import SceneJob


def run(
    jobs: list[SceneJob], workers: int, tell: Callable[[UnderWay], object] = lambda step: None
) -> Iterator[Outcome]:
    """Build scenes in `workers` processes; with 0 in this one. `tell` hears how far each scan has come."""
    if workers == 0:
        yield from map(partial(attempt, tell=tell), jobs)
        return
    waiting = deque((job, 1) for job in jobs)
    crew = [_Worker() for _ in range(min(workers, len(jobs)))]
    try:
        for worker in crew:
            worker.give(*waiting.popleft())
        while busy := [worker for worker in crew if worker.job is not None]:
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                outcome, job, tries = worker.take()
                if isinstance(outcome, UnderWay):
                    tell(outcome)
                    continue
                if outcome is None:
                    how = worker.stop()
                    crew[crew.index(worker)] = worker = _Worker()
                    if tries < ATTEMPTS:
                        waiting.appendleft((job, tries + 1))
                    else:
                        outcome = worker_died(job, tries, how)
                if waiting:
                    worker.give(*waiting.popleft())
                if outcome is not None:
                    yield outcome
    finally:
        for worker in crew:
            worker.stop()


class _Worker:
    """A process that builds the scans it is given, one after the other."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.job: SceneJob | None = None
        self._tries = 0

    def give(self, job: SceneJob, tries: int) -> None:
        """Send a scan to be built, for the `tries`-th time."""
        self.job, self._tries = job, tries
        try:
            self.connection.send(job)
        except (BrokenPipeError, ConnectionResetError):
            return  # It died at its start: `take` will tell.

    def take(self) -> tuple[Outcome | UnderWay | None, SceneJob, int]:
        """What came back, None where the worker died; the scan and which try this was."""
        assert self.job is not None
        job = self.job
        try:
            got = self.connection.recv()
        except (EOFError, ConnectionResetError):
            got = None
        if not isinstance(got, UnderWay):
            self.job = None
        return got, job, self._tries

    def stop(self) -> str:
        """End the process, if it still runs; how it ended, in words."""
        self.connection.close()
        if self._process.is_alive():
            self._process.join(0.2 if self.job is None else 0)
            self._process.terminate()
        self._process.join()
        code = self._process.exitcode or 0
        if code >= 0:
            return f"with exit code {code}"
        name = signal.Signals(-code).name
        return f"by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _serve(connection: Connection) -> None:
    """Build what comes in until nothing more does. Ctrl-C is for the parent, which ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(attempt(job, connection.send))


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers; they must not write on beside its successor's."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
