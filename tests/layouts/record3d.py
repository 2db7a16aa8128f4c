"""Record3D: K by columns, quaternions of a camera with OpenGL's axes, depth smaller than colour, as .exr or raw."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import OpenEXR
from scipy.spatial.transform import Rotation

from hatch_data.geometry import Array, Camera
from tests.layouts import room

COLOR = Camera(240, 320, 236.5, 236.5, 121.25, 158.75)
DEPTH_SIZE = (192, 256)
GL = np.diag([1.0, -1.0, -1.0, 1.0])


def write(
    folder: Path, poses: dict[int, Array], room_from_world: Array, raw: bool = False, per_frame: bool = False
) -> None:
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    for n, pose in poses.items():
        color = room.render(COLOR, room_from_world @ pose)[0]
        depth = room.render(COLOR.resized(*DEPTH_SIZE), room_from_world @ pose)[1].astype(np.float32)
        (folder / "rgb" / f"{n}.jpg").write_bytes(room.jpeg(color))
        depth[depth == 0] = np.nan
        if raw:
            (folder / "depth" / f"{n}.depth").write_bytes(depth.astype("<f4").tobytes())
        else:
            header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
            OpenEXR.File(header, {"R": depth}).write(str(folder / "depth" / f"{n}.exr"))
    told = {
        "w": COLOR.width,
        "h": COLOR.height,
        "fps": 60,
        "K": COLOR.matrix.flatten(order="F").tolist(),
        "poses": [[*Rotation.from_matrix((p @ GL)[:3, :3]).as_quat(), *p[:3, 3]] for p in poses.values()],
    }
    if per_frame:
        told["K"] = (COLOR.matrix * [[2], [2], [1]]).flatten(order="F").tolist()
        told["perFrameIntrinsicCoeffs"] = [[COLOR.fx, COLOR.fy, COLOR.cx, COLOR.cy]] * len(poses)
        told["dw"], told["dh"] = DEPTH_SIZE
    (folder / "metadata.json").write_text(json.dumps(told))
