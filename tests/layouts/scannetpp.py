"""ScanNet++: a scene's folder with the scan's mesh, a DSLR with a fisheye lens, and an iPhone on its side."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import lz4.block
import numpy as np
import trimesh

from hatch_data.geometry import Array, Camera
from hatch_data.scans.lens import Lens
from tests.layouts import room
from tests.layouts.bent import Bent
from tests.layouts.colmap import write_model
from tests.layouts.film import write_video

FISHEYE = Lens(Camera(320, 214, 144.0, 144.5, 160.5, 107.0), "OPENCV_FISHEYE", (0.04, 0.005, -0.002, 0.0003))
PHONE = Lens(Camera(480, 360, 352.5, 352.75, 239.0, 181.5), "OPENCV", (0.05, -0.04, 0.0005, -0.0005))
GL = np.diag([1.0, -1.0, -1.0, 1.0])
#: What nerfstudio of 2023 made of COLMAP's worlds.
SWAPPED = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])
GROUP = {
    "id": 3,
    "objectId": 7,
    "label": "table",
    "obb": {"centroid": [1, 2, 0.4], "axesLengths": [1.2, 0.8, 0.75], "normalizedAxes": [0, 1, 0, 1, 0, 0, 0, 0, 1]},
}


def write_scan(folder: Path) -> None:
    """The mesh of the room and the annotation of one box, whose third axis makes it left-handed."""
    (folder / "scans").mkdir(parents=True, exist_ok=True)
    box = trimesh.creation.box(bounds=[np.zeros(3), room.SIZE_M])
    box.export(folder / "scans" / "mesh_aligned_0.05.ply")
    (folder / "scans" / "segments_anno.json").write_text(json.dumps({"segGroups": [GROUP]}))


def dslr_name(n: int) -> str:
    return f"DSC{n:05d}"


def write_dslr(folder: Path, poses: dict[int, Array], undistorted: bool = False, render_depth: bool = False) -> None:
    """The last photograph is a test frame, and each has a mask of 254 in its left eighth."""
    dslr, lens = folder / "dslr", Lens(FISHEYE.pinhole) if undistorted else FISHEYE
    kind = "undistorted" if undistorted else "resized"
    for name in (f"{kind}_images", f"{kind}_anon_masks", "nerfstudio", "render_depth"):
        (dslr / name).mkdir(parents=True)
    k = lens.camera
    told: dict[str, Any] = {
        "fl_x": k.fx, "fl_y": k.fy, "cx": k.cx + 0.5, "cy": k.cy + 0.5, "w": k.width, "h": k.height,
        "camera_model": lens.model, "frames": [], "test_frames": [],
        **dict(zip(("k1", "k2", "k3", "k4"), lens.distortion, strict=False)),
    }  # fmt: skip
    for n, pose in poses.items():
        camera = Bent(lens) if lens.distortion else lens.camera
        color, depth = room.render(camera, pose)
        (dslr / f"{kind}_images" / f"{dslr_name(n)}.JPG").write_bytes(room.jpeg(color))
        mask = np.full(depth.shape, 255, np.uint8)
        mask[:, : k.width // 8] = 254
        (dslr / f"{kind}_anon_masks" / f"{dslr_name(n)}.png").write_bytes(room.png(mask))
        if render_depth:
            (dslr / "render_depth" / f"{dslr_name(n)}.png").write_bytes(room.depth_png(depth, 1000))
        frame = {
            "file_path": f"{dslr_name(n)}.JPG",
            "mask_path": f"{dslr_name(n)}.png",
            "transform_matrix": (SWAPPED @ pose @ GL).tolist(),
            "is_bad": False,
        }
        told["test_frames" if n == max(poses) else "frames"].append(frame)
    name = "transforms_undistorted.json" if undistorted else "transforms.json"
    (dslr / "nerfstudio" / name).write_text(json.dumps(told))
    write_model(dslr / "colmap", {f"{dslr_name(n)}.JPG": (pose, FISHEYE) for n, pose in poses.items()})


def write_phone(folder: Path, poses: dict[int, Array], lens: Lens, encoding: str, prefix: str | None) -> None:
    """`poses` are the sensor's. `encoding` of depth: `stream`, `frames` (deflate), `lz4`, or `png`; with the names of a
    COLMAP model's images begun by `prefix`, else without a model."""
    phone = folder / "iphone"
    phone.mkdir(parents=True)
    images, depths = [], []
    told: dict[str, Any] = {}
    for n, pose in poses.items():
        camera: Any = Bent(lens) if lens.distortion else lens.camera
        small: Any = Bent(lens.resized(256, 192)) if lens.distortion else lens.camera.resized(256, 192)
        images.append(room.render(camera, pose)[0])
        depths.append(room.render(small, pose)[1].astype(np.float32))
        told[f"frame_{n:06d}"] = {
            "timestamp": 50 + n / 60,
            "pose": (pose @ GL).tolist(),
            "aligned_pose": pose.tolist(),
            "intrinsic": lens.camera.matrix.tolist(),
        }
    (phone / "pose_intrinsic_imu.json").write_text(json.dumps(told))
    if prefix is not None:
        write_model(phone / "colmap", {f"{prefix}frame_{n:06d}.jpg": (pose, lens) for n, pose in poses.items()})
    if encoding == "png":
        for name in ("rgb", "depth"):
            (phone / name).mkdir()
        for n, image, depth in zip(poses, images, depths, strict=True):
            (phone / "rgb" / f"frame_{n:06d}.jpg").write_bytes(room.jpeg(image))
            (phone / "depth" / f"frame_{n:06d}.png").write_bytes(room.depth_png(depth, 1000))
        return
    write_video(phone / "rgb.mkv", images)
    (phone / "depth.bin").write_bytes(depth_bin(depths, encoding))


def depth_bin(depths: list[np.ndarray], encoding: str) -> bytes:
    """Frames (192, 256) float32 metres."""
    if encoding == "stream":
        return deflated(b"".join(depth.astype("<f4").tobytes() for depth in depths))
    parts = []
    for depth in depths:
        if encoding == "lz4":
            part = lz4.block.compress(np.round(depth * 1000).astype("<u2").tobytes(), store_size=False)
        else:
            part = deflated(depth.astype("<f4").tobytes())
        parts.append(len(part).to_bytes(4, "little") + part)
    return b"".join(parts)


def deflated(data: bytes) -> bytes:
    """Raw deflate."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()
