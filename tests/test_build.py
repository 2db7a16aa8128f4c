"""Builds end to end: the same bytes whatever happens on the way, bad input told and counted, nothing lost."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hatch_data import build, covisibility, folder, pipeline, storage
from hatch_data.correspondence import correspond
from hatch_data.engines import attempt, local
from hatch_data.errors import HatchError, ScanError, SettingsError, ShardError
from hatch_data.forecast import forecast, forecast_text
from hatch_data.images import stored_camera
from hatch_data.pipeline import SceneReport
from hatch_data.recipe import DataRecipe, ImageSettings
from hatch_data.scans import synthetic
from hatch_data.settings import load
from hatch_data.shards import MANIFEST, read_manifest, read_rows, shard_files
from hatch_data.verify import verify
from hatch_data.views import prepare
from tests.builds import SMALL, build_small
from tests.layouts import redwood, room, scannet_extracted, seven_scenes, tum

pytestmark = pytest.mark.usefixtures("remembered_scans")

WRITERS = {writer.LAYOUT: writer for writer in (redwood, scannet_extracted, seven_scenes, tum)}


def checksums(out: Path) -> dict[str, str]:
    """Every file below a folder."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scenes that are built from here on."""
    built: list[str] = []
    original = pipeline.build_scene

    def counting(job: pipeline.SceneJob, watch: pipeline.Watch) -> pipeline.SceneReport:
        built.append(job.ref.scene)
        return original(job, watch)

    monkeypatch.setattr(attempt, "build_scene", counting)
    return built


# The same bytes


def test_two_workers_write_the_same_bytes(small_build, tmp_path):
    build_small(tmp_path / "two", workers=2)
    assert checksums(tmp_path / "two") == checksums(small_build)


def test_the_manifest_tells_what_is_there(small_build):
    manifest = read_manifest(small_build)
    rows = {split: list(read_rows(small_build, split, ["id", "scene", "task"])) for split in manifest["totals"]["rows"]}
    assert {split: len(found) for split, found in rows.items()} == manifest["totals"]["rows"]
    for name, scene in manifest["scenes"].items():
        assert sum(scene["rows"].values()) == sum(r["scene"] == name for found in rows.values() for r in found) > 0
        for shard in scene["shards"]:
            data = (small_build / shard["file"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (shard["bytes"], shard["sha256"])
    pictures = {f"{name}.png" for name in ("overlap", "rotation", "baseline", "answers")}
    assert {path.name for path in shard_files(small_build)} | {MANIFEST, "README.md"} | pictures == {
        path.name for path in small_build.iterdir()
    }
    assert "Splits are made by *space*" in (small_build / "README.md").read_text()


def test_views_of_many_neighbours_keep_all_maps(tmp_path, monkeypatch):
    """Co-visibility leaves out most neighbours of such views; their rows must not."""
    monkeypatch.setattr(covisibility, "KEPT_PER_TENTH", 2)
    settings = ("frames.every=2", "pairs.per_frame=1", "groups.sizes={4: 1}", "questions={view_comparison: 1}")
    build_small(tmp_path / "out", "synthetic:1", *settings)
    scene = synthetic.make(0).scene()
    views = {frame.id: prepare(frame) for frame in scene.frames}
    found: Counter[bool] = Counter()
    for row in read_rows(tmp_path / "out"):
        stored = {(match["source"], match["target"]) for match in row["matches"]}
        for i, j in combinations(range(len(row["frames"])), 2):
            first, second = (views[row["frames"][k]] for k in (i, j))
            both = (correspond(first, second, (12, 16), (12, 16)), correspond(second, first, (12, 16), (12, 16)))
            shared = max(one.map.overlap for one in both) >= covisibility.LEAST_OVERLAP
            assert ((i, j) in stored) == ((j, i) in stored) == shared
            found[shared] += 1
    assert found[True] > found[False]


def test_families_are_balanced(small_build):
    tasks = read_manifest(small_build)["totals"]["tasks"]
    assert set(tasks) == {"patch_match", "camera_motion", "camera_position"}
    assert max(tasks.values()) - min(tasks.values()) <= 0.25 * sum(tasks.values())


# Interrupted


@pytest.mark.parametrize("finished", [1, 2])
def test_interrupted_between_scenes(small_build, tmp_path, monkeypatch, finished):
    def interrupted(jobs: list[pipeline.SceneJob], workers: int, tell: Any) -> Any:
        for job in jobs[:finished]:
            yield attempt.attempt(job)
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(local, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_small(out)
    assert not (out / MANIFEST).exists()
    built = counted(monkeypatch)
    build_small(out)
    assert built == ["synthetic-0000", "synthetic-0001", "synthetic-0002"][finished:]
    assert checksums(out) == checksums(small_build)


def test_interrupted_within_a_scene(small_build, tmp_path, monkeypatch):
    original, calls = pipeline.ShardSeries.write, []

    def interrupted(self: pipeline.ShardSeries, row: Any) -> None:
        calls.append(row.scene)
        if calls.count("synthetic-0001") == 3:
            raise KeyboardInterrupt
        original(self, row)

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(pipeline.ShardSeries, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_small(out)
    built = counted(monkeypatch)
    build_small(out)
    assert built == ["synthetic-0001", "synthetic-0002"]
    assert checksums(out) == checksums(small_build)


@pytest.fixture(scope="module")
def staged(tmp_path_factory) -> Path:
    """The build of `small_build`, all scenes finished and nothing committed."""
    plan = build.plan(("synthetic:3",), tmp_path_factory.mktemp("staged") / "out", load(DataRecipe, None, SMALL))
    with plan.opened():
        for job in plan.jobs():
            attempt.attempt(job)
    return Path(plan.out)


@pytest.mark.parametrize("step", range(12))
def test_interrupted_at_any_point_of_the_commit(small_build, staged, tmp_path, monkeypatch, step):
    """Renames of shards, card, manifest, removal of the staging folder: cut off before each in turn."""
    out = tmp_path / "out"
    steps: list[str] = []

    def cut(name: str, original: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            path = Path(arguments[0])
            if path.parent in (out, out / folder.STAGING) or path.suffix == ".parquet" or path.name == folder.STAGING:
                steps.append(name)
                if len(steps) == step + 1:
                    raise KeyboardInterrupt
            return original(*arguments, **options)

        return run

    shutil.copytree(staged, out)
    plan = build.plan(("synthetic:3",), out, load(DataRecipe, None, SMALL))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", cut("rename", Path.replace))
        patched.setattr(storage, "write_text", cut("write", storage.write_text))
        patched.setattr(storage.shutil, "rmtree", cut("remove", storage.shutil.rmtree))
        with pytest.raises(KeyboardInterrupt):
            plan.commit(plan.reports())
    assert len(steps) == step + 1
    built = counted(monkeypatch)
    build_small(out)
    assert built == []
    assert {name: s for name, s in checksums(out).items() if folder.STAGING not in name} == checksums(small_build)


def test_a_finished_build_is_not_built_again(small_build, monkeypatch):
    before = checksums(small_build)
    built = counted(monkeypatch)
    assert build_small(small_build) == read_manifest(small_build)
    assert built == []
    assert checksums(small_build) == before


def test_a_shard_that_went_missing_before_the_commit_is_told(staged, tmp_path):
    shutil.copytree(staged, tmp_path / "out")
    next((tmp_path / "out").rglob("*.parquet")).unlink()
    plan = build.plan(("synthetic:3",), tmp_path / "out", load(DataRecipe, None, SMALL))
    with pytest.raises(ShardError, match=r"a finished shard is gone; remove .* and build again"):
        build.run(plan, 0)


# Folders that must not be written into


def test_another_build_is_left_alone(small_build):
    before = checksums(small_build)
    for settings, options, told in (
        (("seed=1",), {}, "recipe.seed is 0 there and 1 here"),
        ((), {"limit": 5}, "limit is null there and 5 here"),
        (("images.longest_side_px=100",), {}, "recipe.images.longest_side_px is null there and 100 here"),
    ):
        with pytest.raises(ShardError) as error:
            build_small(small_build, "synthetic:3", *settings, **options)
        assert told in str(error.value)
        assert "name another folder for --out" in str(error.value)
    with pytest.raises(ShardError, match=r"plan\.scans|scans\.synthetic-0001"):
        build_small(small_build, "synthetic:1")
    assert checksums(small_build) == before


def test_an_unfinished_other_build_is_left_alone(tmp_path):
    out = tmp_path / "out"
    with build.plan(("synthetic:1",), out, load(DataRecipe, None, SMALL)).opened():
        pass
    before = checksums(out)
    with pytest.raises(ShardError, match=r"recipe\.seed is 0 there and 1 here"):
        build_small(out, "synthetic:1", "seed=1")
    assert checksums(out) == before


def test_foreign_files_and_a_file_are_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "note").write_text("by hand")
    with pytest.raises(ShardError, match="thesis: is not empty and holds no build"):
        build_small(tmp_path / "thesis")
    with pytest.raises(ShardError, match="note: is a file; name a folder for --out"):
        build_small(tmp_path / "note")
    assert checksums(tmp_path).keys() == {"thesis/chapter.txt", "note"}


# Scans that are none, and frames that are broken


def test_folders_that_are_no_scan_are_told(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat.jpg").write_bytes(b"\xff\xd8")
    out = tmp_path / "out"
    for name, told in (
        (str(tmp_path / "pictures"), "no scan found here"),
        (str(tmp_path / "nowhere"), "no such file or folder"),
        (str(tmp_path / "no*"), "no folder matches"),
        ("synthetic:0", "say synthetic:N"),
    ):
        with pytest.raises(ScanError, match=told):
            build_small(out, name)
    with pytest.raises(SettingsError, match=r"unknown family 'patch_mach'; did you mean 'patch_match'"):
        build_small(out, "synthetic:1", "questions={patch_mach: 1}")
    assert not out.exists()


@pytest.mark.parametrize("layout", WRITERS)
def test_a_scan_without_poses_is_told(tmp_path, layout):
    writer, scan = WRITERS[layout], tmp_path / "scan"
    writer.write(scan, room.walk(3))
    for n in range(3):
        writer.set_pose(scan, n, None)
    with pytest.raises(HatchError) as error:
        build_small(tmp_path / "out", str(scan))
    assert "\n" not in str(error.value)
    assert str(scan) in str(error.value)
    assert not (tmp_path / "out" / MANIFEST).exists()


@pytest.mark.parametrize("layout", WRITERS)
def test_broken_frames_are_counted_and_the_rest_is_built(tmp_path, layout):
    writer, scan = WRITERS[layout], tmp_path / "scan"
    writer.write(scan, room.walk(12))
    depth = writer.depth_file(scan, 2)
    depth.write_bytes(depth.read_bytes()[: depth.stat().st_size // 2])
    writer.set_pose(scan, 4, np.full((4, 4), -np.inf))
    writer.set_pose(scan, 6, np.zeros((4, 4)))
    writer.depth_file(scan, 8).write_bytes(room.depth_png(np.ones((30, 40)), 1000))
    color = writer.color_file(scan, 10)
    color.write_bytes(color.read_bytes()[: color.stat().st_size // 2])
    before = checksums(scan)
    manifest = build_small(
        tmp_path / "out", str(scan), "frames.every=1", "pairs.per_frame=3", "pairs.least_overlap=0.02"
    )
    (scene,) = manifest["scenes"].values()
    dropped = {"unreadable_depth": 1, "lost_pose": 1, "zero_pose": 1, "depth_size": 1}
    assert scene["dropped_frames"] == manifest["totals"]["dropped_frames"] == dropped
    assert scene["used_frames"] == 8
    assert sum(n for reason, n in scene["rejected_questions"].items() if reason.endswith("unreadable_color")) > 0
    frames = {frame for row in read_rows(tmp_path / "out", None, ["frames"]) for frame in row["frames"]}
    assert frames
    assert not frames & {writer.frame_id(n) for n in (2, 4, 6, 8, 10)}
    assert [str(one) for one in verify(tmp_path / "out", [str(scan)]).disagreements] == []
    assert checksums(scan) == before


def test_one_scan_that_fails_does_not_stop_the_others(tmp_path):
    redwood.write(tmp_path / "scans" / "good", room.walk(8))
    redwood.write(tmp_path / "scans" / "bad", room.walk(3))
    for n in range(3):
        redwood.depth_file(tmp_path / "scans" / "bad", n).write_bytes(b"")
    out = tmp_path / "out"
    manifest = build_small(out, str(tmp_path / "scans"), "frames.every=1", "pairs.least_overlap=0.02")
    assert "no usable frame among 3" in manifest["scenes"]["bad"]["failure"]
    assert manifest["scenes"]["good"]["failure"] is None
    assert sum(manifest["totals"]["rows"].values()) > 0
    assert "failed: bad: " in build.summary(manifest, out)


def test_a_scan_about_which_nothing_can_be_asked_is_told(tmp_path):
    why = r"no scan gave any row; pairs left out: overlap_too_small \d+, across_splits \d+; loosen"
    with pytest.raises(ScanError, match=why):
        build_small(tmp_path / "out", "synthetic:1", "pairs.least_overlap=0.99", "pairs.greatest_overlap=1")
    with pytest.raises(ScanError, match="1 usable frames of 60"):
        build_small(tmp_path / "other", "synthetic:1", "frames.every=100")


def test_the_commonest_reasons_for_no_row_are_told(tmp_path):
    plan = build.plan(("synthetic:2",), tmp_path / "out", load(DataRecipe, None, SMALL))
    told = {"groups": 9, "dropped_frames": {"too_little_depth": 3}, "left_out_pairs": {"twins": 1, "not_drawn": 8}}
    rejected = {"point_match: a": 5, "point_match: b": 1, "overlap: c": 7, "overlap: d": 2}
    reports = {ref.scene: SceneReport(ref.scene, ref.layout, ref.path, **told) for ref in plan.refs}
    next(iter(reports.values())).rejected_questions = rejected
    with pytest.raises(ScanError) as error:
        plan.commit(reports)
    assert str(error.value).endswith(
        "no scan gave any row of 18 groups of views; pairs left out: not_drawn 16, twins 2; questions not asked: "
        "overlap: c 7, point_match: a 5, overlap: d 2; frames dropped: too_little_depth 6; loosen the settings that "
        "say so, and name another folder for --out"
    )
    with pytest.raises(ScanError, match="no two views see the same surface; look at hatch-data doctor"):
        plan.commit({"one": SceneReport("one", "synthetic", "one")})


# How much, and by which seed


def ids(out: Path) -> list[str]:
    return [row["id"] for row in read_rows(out, None, ["id"])]


def test_a_limit_is_dealt_out_to_the_scans(tmp_path):
    manifest = build_small(tmp_path / "out", "synthetic:2", limit=7)
    assert [sum(scene["rows"].values()) for scene in manifest["scenes"].values()] == [4, 3]
    assert len(set(ids(tmp_path / "out"))) == 7


def test_scans_of_which_no_row_is_wanted_are_not_read(tmp_path, monkeypatch):
    read, opened = [], pipeline.open_scene
    monkeypatch.setattr(pipeline, "open_scene", lambda ref, recipe: read.append(ref.scene) or opened(ref, recipe))
    manifest = build_small(tmp_path / "out", "synthetic:4", limit=2)
    needed = [name for name, scene in manifest["scenes"].items() if scene["needed"]]
    assert read == needed
    assert [sum(scene["rows"].values()) for scene in manifest["scenes"].values()] == [1, 1, 0, 0]
    assert not any(scene["failure"] for scene in manifest["scenes"].values())
    plan = build.plan(("synthetic:4",), tmp_path / "out", load(DataRecipe, None, SMALL), limit=2)
    assert plan.states() == {"done": 4, "failed": 0, "running": 0, "waiting": 0}
    assert build.run(plan, 0, retry_failed=True) == manifest
    assert read == needed
    assert build.summary(manifest, tmp_path / "out").count("not needed") == 2
    assert not verify(tmp_path / "out", ["synthetic:4"]).disagreements


def test_rows_per_scene(tmp_path):
    manifest = build_small(tmp_path / "out", "synthetic:2", "rows_per_scene=5")
    assert [sum(scene["rows"].values()) for scene in manifest["scenes"].values()] == [5, 5]


def test_the_seed_changes_rows_and_their_ids(small_build, tmp_path):
    build_small(tmp_path / "out", "synthetic:3", "seed=1")
    a, b = (list(read_rows(out, None, ["id", "frames", "scene"])) for out in (small_build, tmp_path / "out"))
    assert not {row["id"] for row in a} & {row["id"] for row in b}
    pairs = [{(row["scene"], *row["frames"]) for row in rows} for rows in (a, b)]
    assert pairs[0] != pairs[1]


def test_images_of_limited_size_go_with_their_cameras(tmp_path):
    build_small(tmp_path / "out", "synthetic:1", "images.longest_side_px=168", limit=6)
    assert verify(tmp_path / "out", ["synthetic:1"]).agrees
    small = stored_camera(synthetic.make(0).camera, ImageSettings(longest_side_px=168))
    for row in read_rows(tmp_path / "out"):
        assert row["image_sizes"] == [[126, 168]] * 2
        assert np.allclose(row["intrinsics"], [[small.fx, small.fy, small.cx, small.cy]] * 2)


def test_the_published_vocabulary_builds_and_verifies(tmp_path):
    build_small(tmp_path / "out", "synthetic:1", "actions.vocabulary=hatch", limit=12)
    assert verify(tmp_path / "out").agrees
    assert {a["vocabulary"] for row in read_rows(tmp_path / "out", None, ["actions"]) for a in row["actions"]} == {
        "hatch"
    }


# Splits


def test_splits_by_space_share_no_space(small_build):
    manifest = read_manifest(small_build)
    assert manifest["split"]["by"] == "space"
    spaces = {
        split: {row["scene"] for row in read_rows(small_build, split, ["scene"])} for split in ("train", "validation")
    }
    assert spaces["train"] and spaces["validation"]
    assert not spaces["train"] & spaces["validation"]


def test_splits_by_time_share_no_frame(tmp_path):
    out = tmp_path / "out"
    manifest = build_small(out, "synthetic:1", "split.validation=0.3", "split.test=0.2", "frames.every=2")
    assert manifest["split"]["by"] == "time"
    frames = {
        split: {int(frame) for row in read_rows(out, split, ["frames"]) for frame in row["frames"]}
        for split in ("train", "validation", "test")
    }
    assert all(frames.values())
    assert max(frames["train"]) < min(frames["validation"])
    assert max(frames["validation"]) < min(frames["test"])
    assert manifest["scenes"]["synthetic-0000"]["left_out_pairs"]["across_splits"] > 0
    assert "stretches of *time*" in (out / "README.md").read_text()


# Told beforehand


def test_a_forecast_writes_nothing_and_holds(small_build, tmp_path):
    plan = build.plan(("synthetic:3",), tmp_path / "out", load(DataRecipe, None, SMALL))
    told = forecast(plan, 1)
    assert not (tmp_path / "out").exists()
    assert told["scans"] == 3
    assert told["frames"] == 30
    rows = sum(read_manifest(small_build)["totals"]["rows"].values())
    assert rows <= told["rows_at_most"] <= 1.5 * rows
    gigabytes = sum(path.stat().st_size for path in shard_files(small_build)) / 1e9
    assert abs(told["gigabytes"] - gigabytes) < 0.5 * gigabytes + 0.001
    assert abs(told["rows"] - rows) <= 0.5 * rows
    assert told["hours"] > 0
    assert told["states"] == {"done": 0, "failed": 0, "running": 0, "waiting": 3}
    assert json.loads(json.dumps(told)) == told
    assert "would build into" in forecast_text(told)
    limited = build.plan(("synthetic:3",), tmp_path / "out", load(DataRecipe, None, SMALL), limit=4)
    assert forecast(limited, 1)["rows_at_most"] == 4


def test_a_forecast_names_problems(tmp_path):
    redwood.write(tmp_path / "scan", room.walk(3))
    for n in range(3):
        redwood.depth_file(tmp_path / "scan", n).write_bytes(b"")
    plan = build.plan((str(tmp_path / "scan"),), tmp_path / "out", DataRecipe())
    assert "no usable frame among 3" in forecast(plan, 1)["problems"][0]


def test_a_report_survives_its_file(tmp_path):
    report = pipeline.SceneReport("a", "redwood", "/scans/a", rows={"train": 2}, shards=[{"file": "x"}])
    plan = build.plan(("synthetic:1",), tmp_path / "out", DataRecipe())
    staged = tmp_path / "out" / folder.STAGING / "synthetic-0000"
    staged.mkdir(parents=True)
    (staged / "report.json").write_text(json.dumps(vars(report)))
    assert plan.reports() == {"synthetic-0000": replace(report)}
