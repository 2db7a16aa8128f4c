"""nerfstudio's `transforms.json`, which many phone apps and converters write (also instant-ngp's form of it).

Intrinsics are shared or stand with each frame; the lens is OPENCV's (k1 k2 p1 p2, k3), a fisheye or a pinhole. As in
COLMAP, the first pixel's centre is at (0.5, 0.5). `transform_matrix` is camera to world with OpenGL's axes, after
`applied_transform` and `applied_scale` have moved the world; both are undone, so that the world (and its scale) is the
one that the scan came with. Depth is in units of `depth_unit_scale_factor`, a millimetre by default; a black mask marks
what must not be used. Gravity is estimated: a file says nothing of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from PIL import Image

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array, Camera
from hatch_data.scans import files, gravity
from hatch_data.scans.lens import Lens
from hatch_data.scans.lensed import Mask, Shot, Size, existing, lensed_frames, with_ending
from hatch_data.scans.upright import upright
from hatch_data.scene import DepthImage, Scene

LAYOUT = "nerfstudio"
WANTED = (
    "transforms.json with frames: file_path, transform_matrix, intrinsics, and depth_file_path or a mesh.ply beside"
)
#: Distortion by camera model, in COLMAP's order. OPENCV with a third radial term is COLMAP's FULL_OPENCV.
DISTORTION = {
    "PINHOLE": (),
    "SIMPLE_PINHOLE": (),
    "SIMPLE_RADIAL": ("k1",),
    "RADIAL": ("k1", "k2"),
    "OPENCV": ("k1", "k2", "p1", "p2"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
}
DEPTH_UNIT_M = 1e-3
MESHES = ("mesh.ply", "mesh.obj", "mesh.glb")
MESH_ENDINGS = "ply|obj|glb|gltf|off|stl"


def evidence(path: Path) -> str | None:
    """What in the folder speaks for nerfstudio; poses beside a mesh, without images, are the layout `mesh`."""
    file = path / "transforms.json"
    if not file.is_file() or (files.holds(path, rf".+\.(?:{MESH_ENDINGS})") and not _has_image(file)):
        return None
    return "transforms.json"


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the image paths as written, without their ending."""
    file = path / "transforms.json"
    told = read_transforms(file)
    original_from_written, scale = applied(file, told)
    unit_m = _unit_m(file, told)
    shots = []
    for frame in told["frames"]:
        name = Path(str(frame.get("file_path")))
        pose = written_pose(frame)
        if pose is not None and np.isfinite(pose).all():
            pose = original_from_written @ pose
            pose[:3, 3] /= scale
        depth, mask = frame.get("depth_file_path"), frame.get("mask_path")
        shots.append(
            Shot(
                id=with_ending(str(name), ""),
                pose=pose,
                lens=read_lens(file, {**told, **frame}),
                color=existing(path / name),
                depth=DepthAny(path / str(depth), unit_m) if depth and existing(path / str(depth)) else None,
                mask=Mask(path / str(mask), 1) if mask else None,
                gl=True,
            )
        )
    frames, dropped = lensed_frames(path, shots, WANTED)
    up = gravity.estimate_up(frames)
    mesh = next((path / name for name in MESHES if (path / name).is_file()), None)
    return Scene(path.name, LAYOUT, space(path), upright(frames, up), up, "estimated", dropped=dropped, mesh=mesh)


def _unit_m(file: Path, told: dict[str, Any]) -> float:
    try:
        unit_m = float(told.get("depth_unit_scale_factor", DEPTH_UNIT_M))
    except files.MALFORMED as error:
        raise ScanError(f"{file}: depth_unit_scale_factor is no number ({error}); restore the file") from error
    if not 0 < unit_m < np.inf:
        raise ScanError(f"{file}: depth_unit_scale_factor is {unit_m}; restore the file")
    return unit_m


def _has_image(file: Path) -> bool:
    """Whether an image that the file names is there; a file that cannot be read is left for `read` to tell about."""
    try:
        frames = read_transforms(file)["frames"]
    except ScanError:
        return True
    return any(existing(file.parent / str(frame.get("file_path"))) for frame in frames)


def space(path: Path) -> str:
    """The place: each scan is one of its own."""
    return path.name


def read_transforms(file: Path) -> dict[str, Any]:
    """The file's contents, in which `frames` is a list of objects. Raises `ScanError` where it is not so."""
    try:
        told = json.loads(files.read_text(file))
    except (ValueError, RecursionError) as error:
        raise ScanError(f"{file}: no JSON ({error}); restore the file") from error
    frames = told.get("frames") if isinstance(told, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise ScanError(f"{file}: has no list 'frames'; restore the file")
    return dict(told)


def written_pose(frame: dict[str, Any]) -> Array | None:
    """`transform_matrix` of a frame, (4, 4) as written; None where there is none or it is no matrix."""
    try:
        matrix = np.array(frame["transform_matrix"], dtype=np.float64)
    except files.MALFORMED:
        return None
    if matrix.shape == (3, 4):
        matrix = np.concatenate([matrix, [[0.0, 0.0, 0.0, 1.0]]])
    return matrix if matrix.shape == (4, 4) else None


def read_lens(file: Path, told: dict[str, Any]) -> Lens | None:
    """From `fl_x fl_y cx cy w h`, `camera_model` and its distortion, or from `camera_angle_x`; None where incomplete.

    Raises `ScanError` for a model that no pinhole camera can show.
    """
    model = str(told.get("camera_model") or ("OPENCV_FISHEYE" if told.get("is_fisheye") else "OPENCV"))
    if model not in DISTORTION:
        raise ScanError(f"{file}: camera_model {model} is not read; known are {', '.join(DISTORTION)}")
    try:
        width, height = int(told["w"]), int(told["h"])
        half_angle = float(told.get("camera_angle_x", 0.0)) / 2
        fx = float(told["fl_x"]) if "fl_x" in told else width / 2 / float(np.tan(half_angle))
        fy = float(told.get("fl_y", fx))
        cx, cy = float(told.get("cx", width / 2)), float(told.get("cy", height / 2))
        distortion = tuple(float(told.get(name, 0.0)) for name in DISTORTION[model])
        k3 = float(told.get("k3", 0.0))
    except files.MALFORMED:
        return None
    if model == "OPENCV" and k3:
        model, distortion = "FULL_OPENCV", (*distortion, k3, 0.0, 0.0, 0.0)
    return Lens(Camera(width, height, fx, fy, cx - 0.5, cy - 0.5), model, distortion)


def applied(file: Path, told: dict[str, Any]) -> tuple[Array, float]:
    """(4, 4) that undoes `applied_transform`, and `applied_scale`."""
    applied: Array = np.eye(4)
    try:
        if "applied_transform" in told:
            applied[:3] = np.array(told["applied_transform"], dtype=np.float64)[:3]
        scale = float(told.get("applied_scale", 1.0))
        return np.asarray(np.linalg.inv(applied), np.float64), scale
    except (*files.MALFORMED, np.linalg.LinAlgError) as error:
        raise ScanError(f"{file}: applied_transform or applied_scale cannot be undone ({error})") from error


@dataclass(frozen=True)
class DepthAny:
    """Depth in units of `metres_per_unit`: a 16-bit PNG, a TIFF of any depth, or an array saved by NumPy (`.npy`)."""

    path: Path
    metres_per_unit: float

    def size(self) -> Size:
        """(width, height). Raises `FrameError` `unreadable_depth`."""
        if self.path.suffix == ".png":
            return files.image_size(self.path, "unreadable_depth")
        height, width = self._array().shape
        return width, height

    def read(self) -> DepthImage:
        """Raises `FrameError` `unreadable_depth`."""
        if self.path.suffix == ".png":
            return files.read_depth(self.path, self.size(), self.metres_per_unit)
        values = self._array().astype(np.float32)
        return DepthImage(np.where(np.isfinite(values) & (values > 0), values, np.float32(0)), self.metres_per_unit)

    def _array(self) -> Array:
        try:
            if self.path.suffix == ".npy":
                found = np.load(self.path, mmap_mode="r", allow_pickle=False)
            else:
                with Image.open(self.path) as image:
                    found = np.asarray(image)
        except (*files.UNDECODABLE, TokenError) as error:  # NumPy parses a header as Python
            raise FrameError("unreadable_depth", f"{self.path}: cannot be decoded ({error}); copy it again") from error
        squeezed = found.reshape(found.shape[:2]) if found.ndim == 3 and found.shape[2] == 1 else found
        if squeezed.ndim != 2:
            raise FrameError(
                "unreadable_depth", f"{self.path}: shape {found.shape}, but depth is a single number a pixel"
            )
        return squeezed
