"""nerfstudio: one json, GL axes after a change of the world, a distorted lens, depth in its own unit, masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hatch_data.geometry import Array, Camera
from hatch_data.scans.lens import Lens
from tests.layouts import room
from tests.layouts.bent import Bent

CAMERA = Camera(320, 240, 230.0, 231.0, 162.0, 118.5)
STRAIGHT = Lens(CAMERA)
OPENCV = Lens(CAMERA, "OPENCV", (-0.12, 0.03, 0.001, -0.002))
GL = np.diag([1.0, -1.0, -1.0, 1.0])
#: As nerfstudio does with COLMAP's worlds.
APPLIED = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]])
SCALE = 2.0


def write(
    folder: Path,
    poses: dict[int, Array],
    lens: Lens = STRAIGHT,
    per_frame: bool = False,
    unit_m: float = 1e-3,
    depth: str = "u16",
    applied: bool = False,
    masks: bool = False,
) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "depths").mkdir()
    k = lens.camera
    names = ("k1", "k2", "p1", "p2") if lens.model == "OPENCV" else ("k1", "k2", "k3", "k4")
    intrinsics: dict[str, Any] = {
        "w": k.width, "h": k.height, "fl_x": k.fx, "fl_y": k.fy, "cx": k.cx + 0.5, "cy": k.cy + 0.5,
        "camera_model": lens.model, **dict(zip(names, lens.distortion, strict=False)),
    }  # fmt: skip
    told: dict[str, Any] = {"frames": []} if per_frame else {**intrinsics, "frames": []}
    if unit_m != 1e-3:
        told["depth_unit_scale_factor"] = unit_m
    world = np.eye(4)
    if applied:
        told["applied_transform"], told["applied_scale"] = APPLIED.tolist(), SCALE
        world[:3] = APPLIED
    for n, pose in poses.items():
        color, metres = room.render(Bent(lens) if lens.distortion else k, pose)
        (folder / "images" / f"frame_{n:05d}.jpg").write_bytes(room.jpeg(color))
        matrix = world @ pose @ GL
        matrix[:3, 3] *= SCALE if applied else 1
        frame = {"file_path": f"images/frame_{n:05d}.jpg", "transform_matrix": matrix.tolist()}
        if depth:
            frame["depth_file_path"] = f"depths/frame_{n:05d}.{'png' if depth == 'u16' else depth}"
            _write_depth(folder / frame["depth_file_path"], np.where(metres > 0, metres / unit_m, 0), depth)
        if masks:
            frame["mask_path"] = f"masks/frame_{n:05d}.png"
            (folder / "masks").mkdir(exist_ok=True)
            mask = np.full(metres.shape, 255, np.uint8)
            mask[:, : k.width // 8] = 0
            (folder / frame["mask_path"]).write_bytes(room.png(mask))
        told["frames"].append({**frame, **intrinsics} if per_frame else frame)
    (folder / "transforms.json").write_text(json.dumps(told))


def _write_depth(path: Path, units: Array, kind: str) -> None:
    if kind == "npy":
        np.save(path, units.astype(np.float32)[..., None])
    elif kind == "tiff":
        Image.fromarray(np.round(units).astype(np.int32)).save(path)
    else:
        path.write_bytes(room.png(np.round(units).astype(np.uint16)))
