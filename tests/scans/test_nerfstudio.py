"""nerfstudio: intrinsics shared or not, straight or not, changed worlds, units, masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hatch_data.errors import ScanError
from hatch_data.scans import LAYOUTS, reader
from hatch_data.scans.lens import Lens
from hatch_data.scene import Scene
from tests.layouts import nerfstudio as writer
from tests.layouts import room
from tests.scans import reading

POSES = room.walk(10)
FEW = {n: POSES[n] for n in range(3)}


def named(poses: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"images/frame_{n:05d}": pose for n, pose in poses.items()}


def read(folder: Path) -> Scene:
    return reader("nerfstudio").read(folder)


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    file = folder / "transforms.json"
    told = json.loads(file.read_text())
    edit(told)
    file.write_text(json.dumps(told))


def test_a_pinhole_keeps_its_bytes_and_its_world(tmp_path: Path) -> None:
    writer.write(tmp_path, POSES, applied=True)
    assert [name for name in LAYOUTS if reader(name).evidence(tmp_path)] == ["nerfstudio"]
    scene = read(tmp_path)
    reading.assert_frames(scene, named(POSES), writer.CAMERA, writer.CAMERA, 0.5e-3 + 1e-6)
    assert scene.frames[1].read_color() == (tmp_path / "images" / "frame_00001.jpg").read_bytes()
    assert scene.up_source == "estimated" and scene.up @ room.UP > np.cos(np.radians(2))


@pytest.mark.parametrize(
    ("depth", "unit_m", "step_m"), [("u16", 1 / 4000, 1 / 8000), ("tiff", 1e-6, 1e-6), ("npy", 0.5, 1e-6)]
)
def test_units_and_forms_of_depth(tmp_path: Path, depth: str, unit_m: float, step_m: float) -> None:
    writer.write(tmp_path, FEW, per_frame=True, depth=depth, unit_m=unit_m)
    reading.assert_frames(read(tmp_path), named(FEW), writer.CAMERA, writer.CAMERA, step_m + 1e-6)


@pytest.mark.parametrize("lens", [writer.OPENCV, Lens(writer.CAMERA, "OPENCV_FISHEYE", (0.04, 0.005, -0.002, 0.0003))])
def test_a_lens_is_straightened(tmp_path: Path, lens: Lens) -> None:
    writer.write(tmp_path, FEW, lens, per_frame=lens.model == "OPENCV")
    reading.assert_frames(read(tmp_path), named(FEW), lens.pinhole, lens.pinhole, 0.12)


def test_a_third_radial_term_and_an_angle(tmp_path: Path) -> None:
    writer.write(tmp_path, FEW)

    def edit(told: dict[str, Any]) -> None:
        told.update(camera_model="OPENCV", k1=0.1, k2=0.2, k3=0.3, p1=0.01, p2=0.02)
        del told["fl_y"]
        for frame in told["frames"]:
            frame.update(k3=0.0, k1=0.0, k2=0.0, p1=0.0, p2=0.0)
        told["frames"][0]["k3"] = 0.05

    change(tmp_path, edit)
    frames = read(tmp_path).frames
    assert frames[1].camera.fy == frames[1].camera.fx == 230.0
    assert frames[0].camera != frames[1].camera

    def by_angle(told: dict[str, Any]) -> None:
        told.update(k1=0, k2=0, k3=0, p1=0, p2=0, camera_angle_x=2 * float(np.arctan(160 / 230)))
        for name in ("fl_x", "cx", "cy", "camera_model"):
            del told[name]
        del told["frames"][0]["k3"]

    change(tmp_path, by_angle)
    camera = read(tmp_path).frames[0].camera
    assert camera.fx == pytest.approx(230.0) and (camera.cx, camera.cy) == (159.5, 119.5)


def test_masks_take_pixels_out_of_depth(tmp_path: Path) -> None:
    writer.write(tmp_path, FEW, masks=True)
    depth = read(tmp_path).frames[0].depth().metres
    assert not depth[:, :40].any() and depth[10:, 40:].all()


def test_without_depth_the_mesh_is_named(tmp_path: Path) -> None:
    writer.write(tmp_path, FEW, depth="")
    scene = read(tmp_path)
    assert all(frame.read_depth is None for frame in scene.frames) and scene.mesh is None
    (tmp_path / "mesh.ply").write_bytes(b"")
    assert read(tmp_path).mesh == tmp_path / "mesh.ply"


def test_what_is_missing_or_wrong_costs_its_frame_only(tmp_path: Path) -> None:
    writer.write(tmp_path, POSES)

    def edit(told: dict[str, Any]) -> None:
        frames = told["frames"]
        frames[1]["transform_matrix"] = np.full((4, 4), -np.inf).tolist()
        frames[2]["transform_matrix"] = np.eye(4).tolist()
        del frames[3]["transform_matrix"]
        frames[6]["w"] = "wide"
        frames[7]["w"] = 640

    change(tmp_path, edit)
    (tmp_path / "images" / "frame_00004.jpg").unlink()
    (tmp_path / "depths" / "frame_00005.png").unlink()
    (tmp_path / "depths" / "frame_00008.png").write_bytes(room.depth_png(np.ones((50, 200)), 1000))
    scene = read(tmp_path)
    assert {reason: [name[-1] for name in ids] for reason, ids in scene.dropped.items()} == {
        "lost_pose": ["1"],
        "identity_pose": ["2"],
        "missing_pose": ["3"],
        "missing_color": ["4"],
        "missing_depth": ["5"],
        "missing_intrinsics": ["6"],
        "color_size": ["7"],
        "depth_size": ["8"],
    }
    assert [frame.id[-1] for frame in scene.frames] == ["0", "9"]


@pytest.mark.parametrize(
    ("edit", "part"),
    [
        (lambda told: told.update(frames=3), "frames"),
        (lambda told: told.update(frames=[]), "no usable frame"),
        (lambda told: told.update(camera_model="EQUIRECTANGULAR"), "EQUIRECTANGULAR"),
        (lambda told: told.update(applied_transform=np.zeros((3, 4)).tolist()), "applied_transform"),
        (lambda told: told.update(applied_transform="none"), "applied_transform"),
        (lambda told: told.update(applied_transform=1), "applied_transform"),
        (lambda told: told.update(applied_scale=10**400), "applied_scale"),
        (
            lambda told: [f.update(transform_matrix=told["frames"][1]["transform_matrix"]) for f in told["frames"]],
            "same",
        ),
    ],
)
def test_unusable_files_are_told(tmp_path: Path, edit: Callable[[dict[str, Any]], None], part: str) -> None:
    writer.write(tmp_path, FEW)
    change(tmp_path, edit)
    with pytest.raises(ScanError, match=rf"^[^\n]*{part}[^\n]*$"):
        read(tmp_path)
