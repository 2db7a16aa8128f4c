"""Stray Scanner: video frames by number, confidence, a sensor on its side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hatch_data.errors import ScanError
from hatch_data.scans import LAYOUTS, reader
from hatch_data.scene import Scene
from tests.layouts import room
from tests.layouts import stray as writer
from tests.scans import reading

STOOD = reading.in_world(reading.ARKIT_FROM_ROOM, {n: room.walk(12)[n] for n in range(12)})
LYING = reading.lying(STOOD)
CAMERA, SENSOR = reading.stood_up(writer.COLOR), reading.stood_up(writer.DEPTH)


def write(folder: Path, count: int, **options: bool) -> None:
    writer.write(folder, {n: LYING[n] for n in range(count)}, reading.ROOM_FROM_ARKIT, **options)


def read(folder: Path) -> Scene:
    return reader("stray").read(folder)


@pytest.mark.parametrize("per_frame", [False, True])
def test_reads_back_what_was_written(tmp_path: Path, per_frame: bool) -> None:
    write(tmp_path, 4, per_frame=per_frame)
    assert [name for name in LAYOUTS if reader(name).evidence(tmp_path)] == ["stray"]
    scene = read(tmp_path)
    poses = {f"{n:06d}": STOOD[n] for n in range(4)}
    reading.assert_frames(
        scene, poses, CAMERA, SENSOR, 0.5e-3 + 1e-6, room_from_world=reading.ROOM_FROM_ARKIT, least_depth=0.95
    )
    assert scene.up_source == "layout"
    assert scene.frames[2].timestamp_s == pytest.approx(100 + 2 / 60, abs=1e-6)
    depth = scene.frames[1].depth().metres
    assert not depth[:5].any() and depth[5:].any(axis=1).all()


def test_what_is_missing_or_lost_costs_its_frame_only(tmp_path: Path) -> None:
    write(tmp_path, 9)
    (tmp_path / "depth" / "000001.png").unlink()
    (tmp_path / "depth" / "000002.png").write_bytes(b"no image")
    (tmp_path / "confidence" / "000003.png").unlink()
    odometry = tmp_path / "odometry.csv"
    lines = odometry.read_text().splitlines()
    lines[5] = "100.07, 000004, nan, 0, 0, nan, nan, nan, nan"
    lines[6] = "100.08, 000005, 0, 0, 0, 0, 0, 0, 1"
    odometry.write_text("\n".join([*lines[:7], *lines[8:], lines[9].replace("000008", "000009")]) + "\n")
    scene = read(tmp_path)
    assert scene.dropped == {
        "missing_depth": ["000001"],
        "unreadable_depth": ["000002"],
        "missing_confidence": ["000003"],
        "lost_pose": ["000004"],
        "identity_pose": ["000005"],
        "missing_pose": ["000006"],
        "missing_color": ["000009"],
    }
    assert [frame.id for frame in scene.frames] == ["000000", "000007", "000008"]


def test_broken_tables_and_matrices_are_told(tmp_path: Path) -> None:
    write(tmp_path, 2)
    odometry, matrix = tmp_path / "odometry.csv", tmp_path / "camera_matrix.csv"
    good = odometry.read_text()
    for spoiled in (good + "1, 2, x\n", "timestamp, frame, x\n", ""):
        odometry.write_text(spoiled)
        with pytest.raises(ScanError, match=r"odometry\.csv[^\n]*$"):
            read(tmp_path)
    odometry.write_text(good)
    k = writer.COLOR.resized(960, 720).matrix
    for spoiled in ("1, 2, 3", "\n".join(",".join(map(str, row)) for row in k)):
        matrix.write_text(spoiled)
        with pytest.raises(ScanError, match=r"camera_matrix\.csv: [^\n]*$"):
            read(tmp_path)
    assert np.isfinite(k).all()
