"""The analytic room as a mesh: its six sides, seen from inside, and a table; in colours of its own, z or y up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from hatch_data.geometry import Array, Camera
from tests.layouts import room

#: The camera of pose lists without intrinsics of their own.
PRIMESENSE = Camera(640, 480, 525.0, 525.0, 319.5, 239.5)
#: World with y up from the room's world.
Y_UP_FROM_ROOM = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
TABLE_CENTER, TABLE_SIZE = np.array([3.4, 2.6, 0.4]), np.array([1.2, 0.7, 0.8])
GL_FROM_CV = np.diag([1.0, -1.0, -1.0, 1.0])


def checkers(seed: int) -> Image.Image:
    """A texture in which no two places look the same."""
    values = np.random.default_rng(seed).integers(40, 216, (16, 16, 3)).astype(np.uint8)
    return Image.fromarray(values).resize((256, 256), Image.Resampling.NEAREST)


def scene(table: bool = False, world_from_room: Array | None = None) -> trimesh.Scene:
    """The room, and a table called `TableA_01_001` where asked for, moved into another world."""
    box = trimesh.creation.box(room.SIZE_M)
    box.apply_translation(room.SIZE_M / 2)
    found = trimesh.Scene({"room/shell": _textured(box, 1)})
    if table:
        solid = trimesh.creation.box(TABLE_SIZE)
        solid.apply_translation(TABLE_CENTER)
        found.add_geometry(_textured(solid, 2), node_name="TableA_01_001/0", geom_name="table")
    if world_from_room is not None:
        found.apply_transform(world_from_room)
    return found


def write(folder: Path, table: bool = False, world_from_room: Array | None = None, name: str = "room.glb") -> Path:
    """The mesh file, alone in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    scene(table, world_from_room).export(folder / name)
    return folder / name


def write_instances(file: Path, frame: str = "z up, metres") -> None:
    """The table and a lamp of which the mesh has no part."""
    lower, upper = TABLE_CENTER - TABLE_SIZE / 2, TABLE_CENTER + TABLE_SIZE / 2
    told = [
        {"name": "TableA_01_001", "model": "maker_TableA_01", "aabb_min": lower.tolist(), "aabb_max": upper.tolist()},
        {"name": "Lamp_01_001", "model": "maker_DeskLamp_01", "aabb_min": [1, 1, 1], "aabb_max": [1.2, 1.2, 1.5]},
    ]
    file.with_name(f"{file.stem}.instances.json").write_text(json.dumps({"frame": frame, "instances": told}))


def write_tum(folder: Path, poses: dict[int, Array]) -> None:
    rows = ["# stamp tx ty tz qx qy qz qw\n"]
    for n, pose in poses.items():
        if np.isfinite(pose).all():
            numbers = (*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat())
        else:
            numbers = (np.nan,) * 7
        rows.append(f"{n}.5 " + " ".join(f"{value:.9f}" for value in numbers) + "\n")
    (folder / "groundtruth.txt").write_text("".join(rows))


def write_rows(folder: Path, poses: dict[int, Array]) -> None:
    lines = [" ".join(f"{value:.9e}" for value in pose.ravel()) + "\n" for pose in poses.values()]
    (folder / "traj.txt").write_text("".join(lines))


def write_short_rows(folder: Path, poses: dict[int, Array]) -> None:
    lines = [" ".join(f"{value:.9e}" for value in pose[:3].ravel()) + "\n" for pose in poses.values()]
    (folder / "poses.txt").write_text("".join(lines))


def write_log(folder: Path, poses: dict[int, Array]) -> None:
    entries = [f"{n} {n} {n + 1}\n{room.matrix_text(pose)}" for n, pose in poses.items()]
    (folder / "trajectory.log").write_text("".join(entries))


def write_transforms(folder: Path, poses: dict[int, Array], camera: Camera) -> None:
    frames = [
        {"file_path": f"images/{n:04d}.jpg", "transform_matrix": (pose @ GL_FROM_CV).tolist()}
        for n, pose in poses.items()
    ]
    told = {
        "w": camera.width, "h": camera.height, "fl_x": camera.fx, "fl_y": camera.fy,
        "cx": camera.cx + 0.5, "cy": camera.cy + 0.5, "frames": frames,
    }  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps(told))


def write_intrinsics(folder: Path, camera: Camera) -> None:
    """As Open3D writes them."""
    k = camera.matrix.flatten(order="F").tolist()
    told = {"width": camera.width, "height": camera.height, "intrinsic_matrix": k}
    (folder / "camera_intrinsic.json").write_text(json.dumps(told))


def _textured(box: trimesh.Trimesh, seed: int) -> trimesh.Trimesh:
    """Each triangle with corners of its own, its texture along the two longest axes of its plane, 3 m a repeat."""
    corners = box.triangles.reshape(-1, 3)
    uv = np.empty((len(corners), 2))
    for k, normal in enumerate(np.repeat(box.face_normals, 3, axis=0)):
        uv[k] = np.delete(corners[k], int(np.argmax(np.abs(normal)))) / 3 + 0.11 * (k // 3)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=checkers(seed))
    return trimesh.Trimesh(
        corners,
        np.arange(len(corners)).reshape(-1, 3),
        visual=trimesh.visual.TextureVisuals(uv, material=material),
        process=False,
    )
