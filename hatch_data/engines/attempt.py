"""What a worker does with one scan: build it aside, then put it into the staging folder as a whole.

STAGING/.running/<scene>.<token>/    under way, with `running.json` that says where and since when
STAGING/<scene>/                     done: shards and `report.json`
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from uuid import uuid4

from hatch_data.engines import Outcome, UnderWay, failed
from hatch_data.errors import ScanError
from hatch_data.pipeline import SceneJob, SceneReport, Watch, build_scene
from hatch_data.scans import ScanRef
from hatch_data.scene import Frame, Scene
from hatch_data.storage import NO_MORE, LocalStorage, Storage, refused, storage

RUNNING = ".running"
REPORT = "report.json"
#: Seconds after which it is told again how far a scan has come.
TOLD_EVERY_S = 1.0


def attempt(job: SceneJob, tell: Callable[[UnderWay], object] = lambda step: None) -> Outcome:
    """Build one scan. Raises nothing but what ends a program: what nobody foresaw is the scan's failure as well.

    `tell` is called now and then with how far it has come.
    """
    began = time.perf_counter()
    stage = storage(job.staging)
    ref = MeteredRef(**told(job.ref), inner=job.ref)
    building, publishing = Caught(), Caught()
    report: SceneReport | None = None
    with publishing, _scratch(stage, job.ref.scene) as folder:
        with building:
            report = _build(replace(job, ref=ref, staging=str(folder)), _paced(job, tell))
        if report is not None and not report.failure:
            _publish(folder / job.ref.scene, stage, job.ref.scene)
    if publishing.error is not None:
        return replace(failed(job, ""), stop=refused(stage, publishing.error))
    if building.error is not None or report is None:
        return _unforeseen(job, building, stage)
    return Outcome(report, report.failure or "", time.perf_counter() - began, ref.reading_s)


def _paced(job: SceneJob, tell: Callable[[UnderWay], object]) -> Watch:
    """What a scan is watched with: tells of it every `TOLD_EVERY_S`."""
    last = time.monotonic()

    def watch(what: Literal["frames", "rows"], done: int, of: int) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= TOLD_EVERY_S:
            last = now
            tell(UnderWay(job.ref.scene, what, done, of))

    return watch


def _build(job: SceneJob, watch: Watch) -> SceneReport:
    before = _stamp(job.ref)
    report = build_scene(job, watch)
    unreadable = (
        report.failure or report.dropped_frames or any("unreadable" in why for why in report.rejected_questions)
    )
    if unreadable and _stamp(job.ref) != before:
        raise ScanError(f"{job.ref.path}: changed or vanished while it was read; put it back, then --retry-failed")
    return report


def _unforeseen(job: SceneJob, caught: Caught, stage: Storage) -> Outcome:
    error = caught.error
    if isinstance(error, OSError) and (error.errno in NO_MORE or str(stage) in str(error.filename or "")):
        return replace(failed(job, ""), stop=refused(error.filename or stage, error))
    if isinstance(error, ScanError):
        return failed(job, str(error))
    reason = f"{job.ref.path}: {type(error).__name__}: {' '.join(str(error).split())}"
    return failed(job, reason, caught.log)


class Caught:
    """A context that keeps the exception it ends with, and its traceback, for the report."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.log = ""

    def __enter__(self) -> Caught:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        self.error, self.log = error, "".join(traceback.format_exception(error))
        return True


@contextmanager
def _scratch(stage: Storage, scene: str) -> Iterator[Path]:
    """A folder of this machine to build in, marked as running in the staging folder; gone afterwards.

    Its name is new each time: a worker that was given up may still be writing into its own.
    """
    place = f"{RUNNING}/{scene}.{uuid4().hex[:8]}"
    note = {"scene": scene, "host": socket.gethostname(), "process": os.getpid(), "since": time.time()}
    try:
        if isinstance(stage, LocalStorage):
            folder = stage.root / place
            folder.mkdir(parents=True)
            (folder / "running.json").write_text(json.dumps(note))  # Not fsynced: after a crash it says nothing.
            yield folder
        else:
            stage.write_text(f"{place}/running.json", json.dumps(note))
            with tempfile.TemporaryDirectory(prefix="hatch-build-") as aside:
                yield Path(aside)
    finally:
        if isinstance(stage, LocalStorage):
            shutil.rmtree(stage.root / place, ignore_errors=True)
        else:
            stage.remove(place)


def _publish(built: Path, stage: Storage, scene: str) -> None:
    """Put a finished scene into its place: a rename here, an upload with the report last elsewhere."""
    stage.remove(scene)
    if isinstance(stage, LocalStorage):
        stage.move(str(built.relative_to(stage.root)), scene)
        return
    for file in sorted(built.iterdir(), key=lambda file: (file.name == REPORT, file.name)):
        stage.put(file, f"{scene}/{file.name}")


def _stamp(ref: ScanRef) -> list[tuple[int, int, int]]:
    """What changes when files are added to or removed from a scan's folder and those in it, or a disk is unmounted."""
    path = Path(ref.path)
    if not path.exists():
        return []
    folders = [path, *(entry for entry in path.iterdir() if entry.is_dir())] if path.is_dir() else [path]
    stats = [folder.stat() for folder in sorted(folders)]
    return [(stat.st_dev, stat.st_ino, stat.st_mtime_ns) for stat in stats]


def told(ref: ScanRef) -> dict[str, Any]:
    """The fields of a `ScanRef`, for one that wraps it."""
    return {field.name: getattr(ref, field.name) for field in fields(ScanRef)}


@dataclass(frozen=True, kw_only=True)
class MeteredRef(ScanRef):
    """A scan that counts the seconds of the first reading of every image: what a build could not do without."""

    inner: ScanRef
    _spent: list[float] = field(default_factory=list)

    @property
    def reading_s(self) -> float:
        """Seconds so far."""
        return sum(self._spent)

    def load(self) -> Scene:
        """The scan, its images metered."""
        scene = self.inner.load()
        return replace(scene, frames=[self._metered(frame) for frame in scene.frames])

    def _metered(self, frame: Frame) -> Frame:
        depth = None if frame.read_depth is None else _Metered(frame.read_depth, self._spent)
        return replace(frame, read_color=_Metered(frame.read_color, self._spent), read_depth=depth)


class _Metered:
    """A call without arguments; the seconds of its first run are noted."""

    def __init__(self, call: Callable[[], Any], spent: list[float]):
        self._call, self._spent, self._first = call, spent, True

    def __call__(self) -> Any:
        if not self._first:
            return self._call()
        self._first = False
        began = time.perf_counter()
        try:
            return self._call()
        finally:
            self._spent.append(time.perf_counter() - began)
