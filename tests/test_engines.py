"""Workers that die, scans that break a worker, disks that are full: told, retried, and in the end the same bytes."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from hatch_data import build, pipeline
from hatch_data.engines import ATTEMPTS, Outcome, UnderWay, attempt, local
from hatch_data.errors import FrameError, HatchError, ScanError, ShardError
from hatch_data.folder import FAILURES, STAGING, BuildFolder
from hatch_data.pipeline import SceneReport
from hatch_data.progress import Progress
from hatch_data.recipe import DataRecipe
from hatch_data.scans import ScanRef, find
from hatch_data.scene import Scene
from hatch_data.settings import load
from hatch_data.shards import MANIFEST, read_manifest
from hatch_data.views import ViewStore
from tests.builds import SMALL, build_small
from tests.layouts import redwood, room
from tests.test_build import checksums, counted

pytestmark = pytest.mark.usefixtures("remembered_scans")


@dataclass(frozen=True, kw_only=True)
class Troubled(ScanRef):
    """A scan that brings its worker down, as `how` says, until the file `cured` is there."""

    how: str
    cured: str

    def load(self) -> Scene:
        if Path(self.cured).exists():
            return super().load()
        if self.how == "once":
            Path(self.cured).touch()
        if self.how == "bug":
            raise ZeroDivisionError("nobody foresaw\nthis")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")


def troubled(out: Path, how: str) -> BuildFolder:
    """The build of `small_build`, its second scan in trouble; `out`.cured is the cure."""
    refs = find(["synthetic:3"])
    refs[1] = Troubled(**attempt.told(refs[1]), how=how, cured=f"{out}.cured")
    return BuildFolder(out, refs, load(DataRecipe, None, SMALL), None)


# Failures that are remembered


def test_a_scan_that_kills_its_workers_fails_alone_and_is_built_when_asked(small_build, tmp_path):
    out = tmp_path / "out"
    manifest = build.run(troubled(out, "always"), 2)
    failure = manifest["scenes"]["synthetic-0001"]["failure"]
    assert f"the worker building it died {ATTEMPTS} times, at last by SIGKILL (out of memory?)" in failure
    assert [name for name, scene in manifest["scenes"].items() if scene["failure"]] == ["synthetic-0001"]
    assert failure in (out / FAILURES / "synthetic-0001.log").read_text()
    told = build.summary(manifest, out)
    assert f"failed: synthetic-0001: {failure}" in told
    assert "1 of 3 scans failed" in told and "--retry-failed" in told
    before = checksums(out)
    assert build.run(troubled(out, "always"), 0) == manifest
    assert checksums(out) == before
    Path(f"{out}.cured").touch()
    build.run(troubled(out, "always"), 0, retry_failed=True)
    assert checksums(out) == checksums(small_build)


def test_a_bug_is_the_failure_of_its_scan_and_its_traceback_is_kept(tmp_path, capsys):
    out = tmp_path / "out"
    manifest = build.run(troubled(out, "bug"), 0)
    failure = manifest["scenes"]["synthetic-0001"]["failure"]
    assert failure == "synthetic/0001: ZeroDivisionError: nobody foresaw this"
    assert "Traceback" in (log := (out / FAILURES / "synthetic-0001.log").read_text()) and "in load" in log
    assert f"failed: synthetic-0001: {failure}" in capsys.readouterr().err
    assert "Traceback" not in failure


def test_retries_that_fail_again_keep_the_finished_build(tmp_path):
    out = tmp_path / "out"
    first = build.run(troubled(out, "bug"), 0)
    again = build.run(troubled(out, "bug"), 0, retry_failed=True)
    assert again == first == read_manifest(out)
    assert not (out / STAGING).exists()


@pytest.mark.parametrize("step", range(1, 24, 5))
def test_a_retry_cut_off_anywhere_is_finished_by_a_rerun(small_build, failed_once, tmp_path, monkeypatch, step):
    """Between the reopening of a finished build and its second commit nothing is lost."""
    out, steps = tmp_path / "out", 0
    shutil.copytree(failed_once, out)
    Path(f"{out}.cured").touch()
    store = type(troubled(out, "bug").store)

    def cut(original: Callable[..., None]) -> Callable[..., None]:
        def counting(*arguments: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == step + 1:
                raise KeyboardInterrupt
            original(*arguments)

        return counting

    with monkeypatch.context() as patched:
        for name in ("move", "remove", "write_text", "put"):
            patched.setattr(store, name, cut(getattr(store, name)))
        with pytest.raises(KeyboardInterrupt):
            build.run(troubled(out, "bug"), 0, retry_failed=True)
    build.run(troubled(out, "bug"), 0, retry_failed=True)
    assert checksums(out) == checksums(small_build)


@pytest.fixture(scope="module")
def failed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build of which the second scan failed."""
    out = tmp_path_factory.mktemp("failed") / "out"
    build.run(troubled(out, "bug"), 0)
    return out


def test_a_failed_scan_is_not_tried_again_by_an_unfinished_build(failed_once, tmp_path, monkeypatch):
    out = tmp_path / "out"
    folder = troubled(out, "bug")
    with folder.opened():
        folder.note_failure(attempt.attempt(folder.jobs()[1]))
    assert folder.states() == {"done": 0, "failed": 1, "running": 0, "waiting": 2}
    built = counted(monkeypatch)
    build.run(troubled(out, "bug"), 0)
    assert built == ["synthetic-0000", "synthetic-0002"]
    assert checksums(out).keys() == checksums(failed_once).keys()


# Scans that vanish, folders that refuse


@dataclass(frozen=True, kw_only=True)
class Vanishing(ScanRef):
    """A scan whose folder is gone once its third depth image has been read."""

    def load(self) -> Scene:
        scene = super().load()
        frame = scene.frames[2]

        def read() -> Any:
            depth = frame.depth()
            shutil.rmtree(self.path)
            return depth

        return replace(scene, frames=[*scene.frames[:2], replace(frame, read_depth=read), *scene.frames[3:]])


def test_a_scan_that_vanishes_midway_is_no_smaller_scan(tmp_path):
    settings = (*SMALL, "frames.every=1", "pairs.least_overlap=0.02")
    for name in ("a", "b"):
        redwood.write(tmp_path / "scans" / name, room.walk(8))
    whole = build.run(build.plan((str(tmp_path / "scans"),), tmp_path / "whole", load(DataRecipe, None, settings)), 0)
    refs = find([str(tmp_path / "scans")])
    out = tmp_path / "out"
    manifest = build.run(
        BuildFolder(out, [refs[0], Vanishing(**attempt.told(refs[1]))], load(DataRecipe, None, settings), None), 0
    )
    assert "changed or vanished while it was read" in manifest["scenes"]["b"]["failure"]
    assert manifest["scenes"]["a"] == whole["scenes"]["a"] | {"shards": manifest["scenes"]["a"]["shards"]}
    redwood.write(tmp_path / "scans" / "b", room.walk(8))
    build.run(BuildFolder(out, refs, load(DataRecipe, None, settings), None), 0, retry_failed=True)
    assert checksums(out) == checksums(tmp_path / "whole")


def test_two_builds_do_not_write_into_one_folder(tmp_path):
    first, second = (troubled(tmp_path / "out", "bug") for _ in range(2))
    with first.opened(), pytest.raises(ShardError, match="another build is at work here"), second.opened():
        pass


def run_cli(out: Path, *words: str, before: str = "") -> subprocess.Popen[str]:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    build_words = [sys.executable, "-m", "hatch_data.cli", "build", "-s", "synthetic:3", "-o", str(out)]
    command = f"{before} exec {shlex.join([*build_words, *settings, *words])}"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(
        ["bash", "-c", command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_full_disk_is_one_line_and_a_rerun_finishes(small_build, tmp_path):
    """A limit on the size of files, too small for a shard, is refused by the system as a full disk is."""
    out = tmp_path / "out"
    with run_cli(out, "--workers", "0", before="ulimit -f 100;") as process:
        _, err = process.communicate()
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("error: ")
    assert "cannot be written (" in err and "Traceback" not in err
    assert not (out / MANIFEST).exists()
    build_small(out)
    assert checksums(out) == checksums(small_build)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_order(small_build, tmp_path, number):
    out = tmp_path / "out"
    with run_cli(out, "--workers", "1") as process:
        while process.poll() is None and not list(out.glob(f"{STAGING}/*/report.json")):
            time.sleep(0.02)
        process.send_signal(number)
        stdout, err = process.communicate()
    assert (process.returncode, stdout) == (128 + number, "")
    assert f"interrupted by {number.name}: " in err.splitlines()[-1] and "of 3 scans are done" in err
    assert "Traceback" not in err
    build_small(out)
    assert checksums(out) == checksums(small_build)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_temporary_folder_is_the_failure_of_its_scan_and_names_the_remedy(small_build, tmp_path, monkeypatch):
    plan = build.plan(("synthetic:3",), tmp_path / "out", load(DataRecipe, None, SMALL))
    with monkeypatch.context() as full:
        full.setattr(pipeline, "ViewStore", partial(ViewStore, memory_bytes=0))
        full.setattr("tempfile.TemporaryFile", lambda prefix: Path("/dev/full").open("r+b"))
        told = (
            f"{gettempdir()}: the temporary folder does not take the scan's depth (No space left on device); set TMPDIR"
        )
        with pytest.raises(ScanError, match=f"^{re.escape(told)}"):
            build.run(plan, 0)
    assert plan.states()["failed"] == 3
    build.run(plan, 0, retry_failed=True)
    assert checksums(tmp_path / "out") == checksums(small_build)


# Elsewhere


def test_a_url_gets_the_same_bytes_and_goes_on_where_it_stopped(small_build, monkeypatch):
    fsspec = pytest.importorskip("fsspec", reason="fsspec comes with the extra 'ray'")
    out = "memory://hatch-test/out"
    folder = build.plan(("synthetic:3",), out, load(DataRecipe, None, SMALL))
    with folder.opened():
        attempt.attempt(folder.jobs()[0])
    assert folder.states()["done"] == 1
    built = counted(monkeypatch)
    build_small(out)
    assert built == ["synthetic-0001", "synthetic-0002"]
    files = fsspec.filesystem("memory")
    there = {Path(name).name: files.cat_file(name) for name in files.find("/hatch-test/out")}
    assert there == {path.name: path.read_bytes() for path in small_build.iterdir()}
    with pytest.raises(ShardError, match=r"recipe\.seed is 0 there and 1 here"):
        build_small(out, "synthetic:3", "seed=1")


@pytest.mark.parametrize("at", ["exists", "pipe_file", "put_file"])
def test_what_a_store_refuses_is_one_line(tmp_path, monkeypatch, caplog, at):
    """Libraries of object stores have errors of their own: no credentials, no such host; and log them too."""
    memory = pytest.importorskip("fsspec.implementations.memory", reason="fsspec comes with the extra 'ray'")

    class NoCredentials(Exception):
        pass

    def refuse(*_: Any, **__: Any) -> None:
        logging.getLogger("fsspec.memory").error("out of retries\nTraceback")
        raise NoCredentials("Unable to locate\ncredentials")

    monkeypatch.setattr(memory.MemoryFileSystem, at, refuse)
    told = r"cannot be written \(Unable to locate credentials\); put that right and run the same command again"
    with pytest.raises(ShardError, match=rf"^memory://hatch-test/{at}[^\n]*: {told}"):
        build_small(f"memory://hatch-test/{at}")
    assert not caplog.records


def test_ray_builds_the_same_bytes_though_a_worker_dies(small_build, tmp_path):
    pytest.importorskip("ray", reason='the engine "ray" is an extra; pip install "hatch-spatial[ray]"')
    out = tmp_path / "out"
    build.run(troubled(out, "once"), 2, engine="ray")
    assert Path(f"{out}.cured").exists()
    assert checksums(out) == checksums(small_build)


def test_an_address_where_no_cluster_is_is_told(tmp_path):
    pytest.importorskip("ray", reason='the engine "ray" is an extra; pip install "hatch-spatial[ray]"')
    with pytest.raises(HatchError, match=r"--address .*: no Ray cluster to be had"):
        build.run(troubled(tmp_path / "out", "bug"), 2, engine="ray", address="127.0.0.1:nowhere")


# Told on the way


def test_progress_counts_and_says_what_failed(capsys):
    good = SceneReport("good", "redwood", "/scans/good", frames=100, rows={"train": 7}, shards=[{"bytes": 2_000_000}])
    bad = SceneReport("bad", "redwood", "/scans/bad", failure="no depth")
    with Progress(4, done=1, rows=5, style="lines", every_s=60) as progress:
        progress.add(Outcome(good, seconds=4.0, reading_s=1.0))
        progress.add(Outcome(bad, "no depth"))
        now = progress.now()
    assert [now[name] for name in ("scans", "done", "failed", "rows")] == [4, 2, 1, 12]
    assert now["decode_share"] == 0.25
    failed, last = capsys.readouterr().err.splitlines()
    assert failed == "failed: bad: no depth"
    assert last.startswith("build: 3/4 scans, 1 failed, 12 rows") and "25% of the decode-bound limit" in last


@pytest.mark.parametrize("error", [HatchError("one"), ShardError("one"), FrameError("bad_pose", "one")])
def test_errors_arrive_from_another_process(error):
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error) and str(arrived) == "one" and vars(arrived) == vars(error)


def test_a_scan_tells_how_far_it_has_come(tmp_path, monkeypatch):
    monkeypatch.setattr(attempt, "TOLD_EVERY_S", 0.0)
    heard: list[UnderWay] = []
    jobs = troubled(tmp_path / "out", "bug").jobs()
    (outcome,) = local.run(jobs[:1], 0, heard.append)
    made = sum(outcome.report.rows.values())
    assert [step.done for step in heard if step.what == "frames"] == list(range(outcome.report.used_frames))
    assert [step.done for step in heard if step.what == "rows"] == list(range(1, made + 1))
    assert {step.scene for step in heard} == {outcome.report.scene}


def test_progress_shows_scans_under_way_until_they_are_counted(capsys):
    with Progress(2, style="lines", every_s=60) as progress:
        progress.come_to(UnderWay("long", "frames", 30, 100))
        assert progress.now()["eta_s"] is None
        assert progress._rates() == "long: 30/100 frames"
        progress.come_to(UnderWay("long", "rows", 30, 40))
        progress._began -= 30.0
        assert progress._rates() == "long: 30/40 rows"
        assert progress.now()["eta_s"] == 50, "three quarters of one of two scans in half a minute"
        progress.come_to(UnderWay("other", "frames", 3, 9))
        assert progress._rates() == "2 under way (30 rows)"
        progress.add(Outcome(SceneReport("long", "redwood", "/scans/long", rows={"train": 40})))
        assert progress._rates().startswith("other: 3/9 frames, 40 rows")
    assert "1/2 scans" in capsys.readouterr().err


def test_progress_speaks_json_while_nothing_comes_in(capsys):
    with Progress(2, style="json", every_s=0.01):
        time.sleep(0.1)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) > 1
    assert {line["event"] for line in lines} == {"progress"}
    assert lines[-1]["eta_s"] is None


def test_a_scan_without_a_row_ends_with_where_to_look(tmp_path):
    folder = troubled(tmp_path / "out", "bug")
    folder.refs[:] = folder.refs[1:2]
    with pytest.raises(ScanError, match=r"ZeroDivisionError.*failures/ tells why, --retry-failed tries again"):
        build.run(folder, 0)
