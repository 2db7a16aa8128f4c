"""ARKitScenes: 60 Hz images whose stamps are cut to milliseconds, a 10 Hz trajectory of w2c, a sensor on its side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from hatch_data.geometry import Array, Camera, inverse
from tests.layouts import room

VIDEO = "47333462"
LOWRES = Camera(256, 192, 211.5, 211.25, 127.5, 95.25)
VGA = Camera(640, 480, 528.0, 528.25, 320.0, 239.5)
START_S, FRAME_S, POSE_S = 6845.4301, 1 / 60, 0.1
BOX = {
    "uid": "a1",
    "label": "cabinet",
    "segments": {
        "obbAligned": {
            "centroid": [1.0, 2.0, 0.5],
            "axesLengths": [1.5, 0.4, 1.0],
            "normalizedAxes": [0.8, 0.6, 0, -0.6, 0.8, 0, 0, 0, 1],
        }
    },
}


def stamp(n: int) -> str:
    return f"{START_S + n * FRAME_S:.3f}"


class Walk:
    """A smooth path of the sensor, and the pose at any time by the interpolation of its 10 Hz samples."""

    def __init__(self, knots: dict[int, Array]):
        self.poses = [knots[n] for n in sorted(knots)]
        self.stamps_s = np.array([START_S + 0.002 + POSE_S * k for k in range(len(self.poses))])

    def at(self, stamp_s: float) -> Array:
        rotations = Rotation.from_matrix([pose[:3, :3] for pose in self.poses])
        pose = np.eye(4)
        stamp_s = float(np.clip(stamp_s, self.stamps_s[0], self.stamps_s[-1]))
        pose[:3, :3] = Slerp(self.stamps_s, rotations)(stamp_s).as_matrix()
        pose[:3, 3] = [np.interp(stamp_s, self.stamps_s, [p[k, 3] for p in self.poses]) for k in range(3)]
        return pose

    def read_at(self, n: int) -> Array:
        """The pose a reader should find: a sample within 5 ms as it is, else interpolated."""
        stamp_s = float(stamp(n))
        nearest = int(np.argmin(np.abs(self.stamps_s - stamp_s)))
        return self.poses[nearest] if abs(self.stamps_s[nearest] - stamp_s) < 0.005 else self.at(stamp_s)


def write(folder: Path, walk: Walk, numbers: list[int], raw: bool = False) -> Path:
    """`3dod`: `<video>/<video>_frames/`; `raw`: beside it, with `vga_wide` and `confidence`. Returns the root."""
    root = folder if raw else folder / f"{VIDEO}_frames"
    colors = {"lowres_wide": LOWRES} | ({"vga_wide": VGA} if raw else {})
    for name in ["lowres_depth", "confidence", *colors, *(f"{c}_intrinsics" for c in colors)]:
        (root / name).mkdir(parents=True, exist_ok=True)
    if not raw:
        (root / "confidence").rmdir()
    for n in numbers:
        pose = walk.read_at(n)
        for name, camera in colors.items():
            (root / name / f"{VIDEO}_{stamp(n)}.png").write_bytes(room.png(room.render(camera, pose)[0]))
            late = f"{float(stamp(n)) + (0.001 if n % 2 else 0):.3f}"
            numbers_text = f"{camera.width} {camera.height} {camera.fx} {camera.fy} {camera.cx} {camera.cy}\n"
            (root / f"{name}_intrinsics" / f"{VIDEO}_{late}.pincam").write_text(numbers_text)
        depth = room.render(LOWRES, pose)[1]
        depth_file(root, n).write_bytes(room.depth_png(depth, 1000))
        if raw:
            sure = np.full(depth.shape, 2, np.uint8)
            sure[:, :8], sure[:, 8:16] = 0, 1
            (root / "confidence" / depth_file(root, n).name).write_bytes(room.png(sure))
    lines = []
    for stamp_s, pose in zip(walk.stamps_s, walk.poses, strict=True):
        camera_from_world = inverse(pose)
        turn = Rotation.from_matrix(camera_from_world[:3, :3]).as_rotvec()
        lines.append(" ".join(f"{x:.9f}" for x in (stamp_s, *turn, *camera_from_world[:3, 3])))
    (root / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    (folder / f"{VIDEO}_3dod_annotation.json").write_text(json.dumps({"data": [BOX], "skipped": False}))
    return root


def depth_file(root: Path, n: int) -> Path:
    return root / "lowres_depth" / f"{VIDEO}_{stamp(n)}.png"
