"""ARKitScenes: stamps, interpolation, the sky, confidence, boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hatch_data.errors import ScanError
from hatch_data.geometry import Array
from hatch_data.scans import LAYOUTS, detect, reader
from hatch_data.scene import Scene
from tests.layouts import arkitscenes as writer
from tests.layouts import room
from tests.scans import reading

#: 60 Hz frames: some near a line of the 10 Hz trajectory, some between two.
NUMBERS = [0, 3, 6, 9, 14, 20]
UPRIGHT = {n: pose for n, pose in room.walk(12).items() if n % 2 == 0}
LYING = writer.Walk(reading.lying(UPRIGHT))


def read(folder: Path) -> Scene:
    return reader("arkitscenes").read(folder)


def expected(walk: writer.Walk) -> dict[str, Array]:
    return {writer.stamp(n): walk.read_at(n) @ reading.SENSOR_FROM_UPRIGHT for n in NUMBERS}


def test_3dod_is_matched_interpolated_and_turned(tmp_path: Path) -> None:
    folder = tmp_path / writer.VIDEO
    writer.write(folder, LYING, NUMBERS)
    assert [name for name in LAYOUTS if reader(name).evidence(folder)] == ["arkitscenes"]
    scene = read(folder)
    camera = reading.stood_up(writer.LOWRES)
    reading.assert_frames(scene, expected(LYING), camera, camera, 0.5e-3 + 1e-6)
    assert (scene.up_source, scene.space, scene.dropped) == ("layout", writer.VIDEO, {})
    assert np.array_equal(scene.up, room.UP)
    (box,) = scene.instances
    assert (box.label, list(box.size_m)) == ("cabinet", [1.5, 0.4, 1.0])
    assert np.allclose(box.world_from_box[:3, 0], [0.8, 0.6, 0]) and np.allclose(box.world_from_box[:3, 3], [1, 2, 0.5])


def test_raw_takes_the_finest_colour_and_drops_low_confidence(tmp_path: Path) -> None:
    folder = tmp_path / writer.VIDEO
    writer.write(folder, LYING, NUMBERS[:4], raw=True)
    scene = read(folder)
    poses = dict(list(expected(LYING).items())[:4])
    camera, sensor = reading.stood_up(writer.VGA), reading.stood_up(writer.LOWRES)
    reading.assert_frames(scene, poses, camera, sensor, 0.5e-3 + 1e-6, least_depth=0.95)
    depth = scene.frames[1].depth().metres  # turned clockwise: the first columns are now the first rows
    assert not depth[:8].any() and depth[8:16].any()


def test_a_level_sensor_keeps_its_bytes(tmp_path: Path) -> None:
    folder = tmp_path / writer.VIDEO
    root = writer.write(folder, writer.Walk(UPRIGHT), [0, 6])
    frames = read(folder).frames
    assert frames[0].camera == writer.LOWRES
    stored = root / "lowres_wide" / f"{writer.VIDEO}_{writer.stamp(0)}.png"
    assert frames[0].read_color() == stored.read_bytes()


@pytest.mark.parametrize("intrinsics", ["640 480 nothing", "inf 480 530 530 320 240", "640 480 530 530 nan 240"])
def test_what_is_missing_costs_its_frame_only(tmp_path: Path, intrinsics: str) -> None:
    folder = tmp_path / writer.VIDEO
    root = writer.write(folder, LYING, [*NUMBERS, 90], raw=True)
    name = writer.depth_file(root, 3).name
    writer.depth_file(root, 3).unlink()
    writer.depth_file(root, 14).write_bytes(b"no image")
    (root / "confidence" / writer.depth_file(root, 9).name).unlink()
    next((root / "vga_wide_intrinsics").glob(f"*_{writer.stamp(6)}.pincam")).write_text(intrinsics)
    scene = read(folder)
    assert name.endswith(f"{writer.stamp(3)}.png")
    assert scene.dropped == {
        "missing_depth": [writer.stamp(3)],
        "missing_intrinsics": [writer.stamp(6)],
        "missing_confidence": [writer.stamp(9)],
        "unreadable_depth": [writer.stamp(14)],
        "missing_pose": [writer.stamp(90)],
    }
    assert [frame.id for frame in scene.frames] == [writer.stamp(0), writer.stamp(20)]


def test_no_trajectory_and_broken_lines_are_told(tmp_path: Path) -> None:
    folder = tmp_path / writer.VIDEO
    root = writer.write(folder, LYING, [0, 3])
    trajectory = root / "lowres_wide.traj"
    text = trajectory.read_text()
    for spoiled in (text + "6845.9 0.1 0.2\n", "", "a b c d e f g\n"):
        trajectory.write_text(spoiled)
        with pytest.raises(ScanError, match=r"lowres_wide\.traj: [^\n]*$"):
            read(folder)
    trajectory.unlink()
    with pytest.raises(ScanError, match=r"lowres_wide\.traj: no such file[^\n]*$"):
        read(folder)


def test_a_visit_is_one_place(tmp_path: Path) -> None:
    folder = tmp_path / "Training" / writer.VIDEO
    writer.write(folder, LYING, [0, 3])
    table = f"video_id,visit_id,fold\n1,2,Training\n{writer.VIDEO},421254.0,Training\n"
    (tmp_path / "raw_train_val_splits.csv").write_text(table)
    assert read(folder).space == "arkitscenes-visit-421254"
    assert detect(folder) == "arkitscenes"


def test_the_laser_scanners_depth_where_there_is_one(tmp_path: Path) -> None:
    folder = tmp_path / writer.VIDEO
    root = writer.write(folder, LYING, [0, 3, 6], raw=True)
    for part in ("", "_intrinsics"):
        (root / f"vga_wide{part}").rename(root / f"wide{part}")
    (root / "highres_depth").mkdir()
    for n in (0, 3):
        depth = room.render(writer.VGA, LYING.read_at(n))[1]
        (root / "highres_depth" / writer.depth_file(root, n).name).write_bytes(room.depth_png(depth, 1000))
    first, second, third = read(folder).frames
    fine, coarse = reading.stood_up(writer.VGA), reading.stood_up(writer.LOWRES)
    assert [frame.sensor.camera for frame in (first, second, third)] == [fine, fine, coarse]
    truth = room.render(fine, second.world_from_camera)[1]
    read_m = second.depth().metres
    known = (read_m > 0) & (truth > 0)
    assert known.mean() > 0.99 and np.abs(read_m - truth)[known].max() < 0.51e-3
    assert third.depth().values.shape == (coarse.height, coarse.width)
