"""COLMAP: text and binary, depth maps, lenses, images without a pose."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from hatch_data.errors import FrameError, ScanError
from hatch_data.scans import LAYOUTS, reader
from hatch_data.scans.lens import Lens
from hatch_data.scene import Scene
from tests.layouts import colmap as writer
from tests.layouts import room
from tests.scans import reading

POSES = room.walk(12)
FEW = {n: POSES[n] for n in range(3)}
STRAIGHT = Lens(writer.CAMERA)


def named(poses: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"left/{n}": pose for n, pose in poses.items()}


def read(folder: Path) -> Scene:
    return reader("colmap").read(folder)


@pytest.mark.parametrize("binary", [False, True])
def test_a_dense_workspace(tmp_path: Path, binary: bool) -> None:
    writer.write(tmp_path, POSES, STRAIGHT, binary=binary)
    assert [name for name in LAYOUTS if reader(name).evidence(tmp_path)] == ["colmap"]
    scene = read(tmp_path)
    reading.assert_frames(scene, named(POSES), writer.CAMERA, writer.CAMERA, 1e-6)
    assert scene.frames[1].read_color() == (tmp_path / "dense" / "images" / "left" / "1.jpg").read_bytes()
    assert scene.up_source == "estimated" and scene.up @ room.UP > np.cos(np.radians(2))


def test_a_lens_with_depth_in_millimetres(tmp_path: Path) -> None:
    writer.write(tmp_path, FEW, writer.OPENCV, depth="png")
    camera = writer.OPENCV.pinhole
    reading.assert_frames(read(tmp_path), named(FEW), camera, camera, 0.12)


def test_cameras_of_two_sizes(tmp_path: Path) -> None:
    images = {"a.jpg": (POSES[0], STRAIGHT), "b.jpg": (POSES[1], Lens(writer.SECOND, "SIMPLE_RADIAL"))}
    (tmp_path / "images").mkdir()
    for name, (pose, lens) in images.items():
        (tmp_path / "images" / name).write_bytes(room.jpeg(room.render(lens.camera, pose)[0]))
    writer.write_model(tmp_path / "sparse", {name: (pose, Lens(lens.camera)) for name, (pose, lens) in images.items()})
    cameras = tmp_path / "sparse" / "cameras.txt"
    k = writer.SECOND
    text = "\n".join(cameras.read_text().splitlines()[:-1])
    cameras.write_text(f"{text}\n2 SIMPLE_RADIAL {k.width} {k.height} {k.fx} {k.cx + 0.5} {k.cy + 0.5} 0.0\n")
    scene = read(tmp_path)
    assert [frame.camera for frame in scene.frames] == [writer.CAMERA, writer.SECOND]
    assert all(frame.read_depth is None for frame in scene.frames)


def test_what_is_missing_costs_its_frame_only(tmp_path: Path) -> None:
    writer.write(tmp_path, POSES, STRAIGHT)
    dense = tmp_path / "dense"
    (dense / "images" / "left" / "3.jpg").unlink()
    (dense / "images" / "left" / "4.jpg").write_bytes(b"no image")
    maps = dense / "stereo" / "depth_maps" / "left"
    (maps / "5.jpg.geometric.bin").unlink()
    (maps / "6.jpg.geometric.bin").write_bytes(b"no map")
    (maps / "7.jpg.geometric.bin").rename(maps / "7.jpg.photometric.bin")
    (dense / "images" / "left" / "99.jpg").write_bytes(room.jpeg(np.zeros((240, 320, 3), np.uint8)))
    scene = read(tmp_path)
    assert scene.dropped == {
        "missing_color": ["left/3"],
        "unreadable_color": ["left/4"],
        "missing_depth": ["left/5", "left/99"],
        "unreadable_depth": ["left/6"],
    }
    assert [frame.id for frame in scene.frames] == [f"left/{n}" for n in (0, 1, 2, 7, 8, 9, 10, 11)]
    whole = (maps / "8.jpg.geometric.bin").read_bytes()
    (maps / "8.jpg.geometric.bin").write_bytes(whole[:-8])
    with pytest.raises(FrameError) as error:
        scene.frames[4].depth()
    assert error.value.reason == "unreadable_depth"


def test_an_image_that_was_not_registered_is_counted(tmp_path: Path) -> None:
    writer.write(tmp_path, FEW, STRAIGHT, depth="")
    (tmp_path / "images" / "left" / "99.jpg").write_bytes(room.jpeg(np.zeros((240, 320, 3), np.uint8)))
    (tmp_path / "mesh.ply").write_bytes(b"")
    scene = read(tmp_path)
    assert scene.dropped == {"missing_pose": ["left/99"]}
    assert scene.mesh == tmp_path / "mesh.ply"


def test_a_broken_model_is_told(tmp_path: Path) -> None:
    writer.write(tmp_path, FEW, STRAIGHT, depth="")
    model = tmp_path / "sparse" / "0"
    text = (model / "images.txt").read_text()
    for spoiled in (text.replace(" 1 left/1.jpg", " 7 left/1.jpg"), "1 0 0 x\n"):
        (model / "images.txt").write_text(spoiled)
        with pytest.raises(ScanError, match=r"sparse/0: no COLMAP model[^\n]*$"):
            read(tmp_path)
    (model / "images.txt").write_text(text)
    (model / "points3D.txt").unlink()
    with pytest.raises(ScanError, match=r"sparse/0: no COLMAP model[^\n]*points3D[^\n]*$"):
        read(tmp_path)
    (tmp_path / "transforms.json").write_text("{}")
    assert reader("colmap").evidence(tmp_path) is None


def test_counts_of_a_binary_model_are_not_believed(tmp_path: Path) -> None:
    """pycolmap would read the track of a point, or the points of an image, until memory is out."""
    writer.write(tmp_path, FEW, STRAIGHT, depth="png", binary=True)
    model = tmp_path / "sparse" / "0"
    for name, at in (("points3D.bin", 8 + 43), ("images.bin", 0)):
        sound = (model / name).read_bytes()
        (model / name).write_bytes(sound[:at] + struct.pack("<Q", 1 << 40) + sound[at + 8 :])
        with pytest.raises(ScanError, match=r"sparse/0: no COLMAP model[^\n]*; restore it$"):
            read(tmp_path)
        (model / name).write_bytes(sound)
    assert read(tmp_path).frames
