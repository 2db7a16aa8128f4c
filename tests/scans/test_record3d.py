"""Record3D: intrinsics by columns, OpenGL's axes, both forms of depth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import inverse
from hatch_data.scans import LAYOUTS, reader
from hatch_data.scene import Scene
from tests.layouts import record3d as writer
from tests.layouts import room
from tests.scans import reading

WALK = room.walk(11)
POSES = reading.in_world(reading.ARKIT_FROM_ROOM, WALK)
SENSOR = writer.COLOR.resized(*writer.DEPTH_SIZE)
BY_ID = {str(n): pose for n, pose in POSES.items()}


def read(folder: Path) -> Scene:
    return reader("record3d").read(folder)


def test_exr(tmp_path: Path) -> None:
    writer.write(tmp_path, POSES, reading.ROOM_FROM_ARKIT)
    assert [name for name in LAYOUTS if reader(name).evidence(tmp_path)] == ["record3d"]
    scene = read(tmp_path)
    reading.assert_frames(scene, BY_ID, writer.COLOR, SENSOR, 1e-6, room_from_world=reading.ROOM_FROM_ARKIT)
    assert (scene.up_source, scene.dropped) == ("layout", {})
    assert np.allclose(reading.ROOM_FROM_ARKIT[:3, :3] @ scene.up, room.UP)
    assert not scene.frames[0].depth().metres[room.HOLE].any()


def test_raw_depth_and_intrinsics_of_each_frame(tmp_path: Path) -> None:
    poses = {n: POSES[n] for n in range(3)}
    writer.write(tmp_path, poses, reading.ROOM_FROM_ARKIT, raw=True, per_frame=True)
    by_id = {str(n): pose for n, pose in poses.items()}
    reading.assert_frames(read(tmp_path), by_id, writer.COLOR, SENSOR, 1e-6, room_from_world=reading.ROOM_FROM_ARKIT)


def test_raw_depth_takes_its_shape_from_colour(tmp_path: Path) -> None:
    writer.write(tmp_path, {0: POSES[0], 1: POSES[1]}, reading.ROOM_FROM_ARKIT, raw=True)
    assert read(tmp_path).frames[0].depth().values.shape == writer.DEPTH_SIZE[::-1]
    (tmp_path / "depth" / "1.depth").write_bytes(bytes(4 * 1000))
    assert read(tmp_path).dropped == {"unreadable_depth": ["1"]}
    (tmp_path / "depth" / "0.depth").write_bytes(b"bvx2 compressed")
    with pytest.raises(ScanError, match=r"0\.depth: depth is compressed with LZFSE; export[^\n]*$"):
        read(tmp_path)


def test_a_world_that_is_the_first_camera_has_its_gravity_estimated(tmp_path: Path) -> None:
    first = WALK[0] @ writer.GL  # its axes are the world's
    poses = reading.in_world(inverse(first), WALK)
    writer.write(tmp_path, poses, first)
    scene = read(tmp_path)
    assert scene.up_source == "estimated" and len(scene.frames) == len(WALK)
    assert first[:3, :3] @ scene.up @ room.UP > np.cos(np.radians(2))


def test_what_is_missing_or_lost_costs_its_frame_only(tmp_path: Path) -> None:
    writer.write(tmp_path, POSES, reading.ROOM_FROM_ARKIT)
    told = json.loads((tmp_path / "metadata.json").read_text())
    told["poses"][2] = [0, 0, 0, 1, 0, 0, 0]
    told["poses"][3] = [0] * 7
    told["poses"][4] = [float("nan")] * 7
    told["poses"].pop()
    (tmp_path / "metadata.json").write_text(json.dumps(told))
    (tmp_path / "rgb" / "5.jpg").unlink()
    (tmp_path / "depth" / "6.exr").unlink()
    (tmp_path / "depth" / "7.exr").write_bytes(b"no image")
    (tmp_path / "rgb" / "8.jpg").write_bytes(room.jpeg(np.zeros((120, 90, 3), np.uint8)))
    scene = read(tmp_path)
    assert scene.dropped == {
        "lost_pose": ["4"],
        "zero_pose": ["3"],
        "identity_pose": ["2"],
        "missing_color": ["5"],
        "missing_depth": ["6"],
        "unreadable_depth": ["7"],
        "color_size": ["8"],
        "missing_pose": ["10"],
    }
    assert [frame.id for frame in scene.frames] == ["0", "1", "9"]
    assert np.abs(scene.frames[2].world_from_camera - POSES[9]).max() < 1e-6
    whole = (tmp_path / "depth" / "9.exr").read_bytes()
    (tmp_path / "depth" / "9.exr").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FrameError) as error:
        scene.frames[2].depth()
    assert error.value.reason == "unreadable_depth"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"K": [1, 2], "poses": []}', '{"poses": [[1, 2]]}'])
def test_broken_metadata_is_told(tmp_path: Path, text: str) -> None:
    writer.write(tmp_path, {0: POSES[0], 1: POSES[1]}, reading.ROOM_FROM_ARKIT)
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(ScanError, match=r"metadata\.json: [^\n]*$"):
        read(tmp_path)
