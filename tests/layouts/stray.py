"""Stray Scanner: colour in a video, depth and confidence in images, poses in a table; the sensor lies on its side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from hatch_data.geometry import Array, Camera
from tests.layouts import room
from tests.layouts.film import write_video

COLOR = Camera(480, 360, 352.5, 352.75, 239.0, 181.5)
DEPTH = COLOR.resized(256, 192)
HEADER = "timestamp, frame, x, y, z, qx, qy, qz, qw"


def write(folder: Path, poses: dict[int, Array], room_from_world: Array, per_frame: bool = False) -> None:
    """`poses` are the sensor's."""
    for name in ("depth", "confidence"):
        (folder / name).mkdir(parents=True)
    images, lines = [], [HEADER + (", fx, fy, cx, cy" if per_frame else "")]
    for n, pose in poses.items():
        images.append(room.render(COLOR, room_from_world @ pose)[0])
        depth = room.render(DEPTH, room_from_world @ pose)[1]
        (folder / "depth" / f"{n:06d}.png").write_bytes(room.depth_png(depth, 1000))
        sure = np.full(depth.shape, 2, np.uint8)
        sure[:, :5], sure[:, 5:10] = 0, 1
        (folder / "confidence" / f"{n:06d}.png").write_bytes(room.png(sure))
        numbers = [*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()]
        own = [COLOR.fx, COLOR.fy, COLOR.cx, COLOR.cy] if per_frame else []
        lines.append(f"{100 + n / 60:.6f}, {n:06d}, " + ", ".join(f"{x:.9f}" for x in [*numbers, *own]))
    write_video(folder / "rgb.mp4", images)
    (folder / "odometry.csv").write_text("\n".join(lines) + "\n")
    k = COLOR.matrix * ([[2], [2], [1]] if per_frame else 1)
    (folder / "camera_matrix.csv").write_text("\n".join(",".join(map(str, row)) for row in k) + "\n")
    (folder / "imu.csv").write_text("timestamp, a_x, a_y, a_z, alpha_x, alpha_y, alpha_z\n")
