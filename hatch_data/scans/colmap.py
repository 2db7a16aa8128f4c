"""COLMAP: a model (`cameras images points3D`, `.txt` or `.bin`) and its images; depth from MVS or a mesh.

Read by pycolmap. Poses are *camera from world*; COLMAP's pixels begin at the image's corner, half a pixel before this
project's. Depth is COLMAP's own (`stereo/depth_maps`, of undistorted images), or `depth/` with an image of millimetres
for each; without either, a mesh beside the model gives it. A reconstruction from images alone has no scale: bring it to
metres first (`colmap model_aligner`). Gravity is estimated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array, inverse
from hatch_data.scans import files, gravity
from hatch_data.scans.lens import Lens
from hatch_data.scans.lensed import DepthFile, Shot, Size, by_number, existing, lensed_frames, with_ending
from hatch_data.scans.posed import StoredDepth
from hatch_data.scans.upright import upright
from hatch_data.scene import DepthImage, Scene

LAYOUT = "colmap"
WANTED = "images/ and a model (cameras, images, points3D as .txt or .bin) in sparse/0, sparse or here"
#: Where a workspace lies in the scan's folder: COLMAP's dense one first, since its depth maps are of its own images.
WORKSPACES = ("dense/0", "dense", ".", "colmap")
MODELS = ("sparse/0", "sparse", ".")
MESHES = ("meshed-poisson.ply", "meshed-delaunay.ply", "mesh.ply", "mesh.obj", "mesh.glb")
ENDINGS = frozenset({".jpg", ".jpeg", ".png"})


class Posed(NamedTuple):
    """An image of a model: its name as written, its lens, and where it was taken."""

    name: str
    lens: Lens
    world_from_camera: Array


def evidence(path: Path) -> str | None:
    """What in the folder speaks for COLMAP; a `transforms.json` beside the model was made from it."""
    found = _workspace(path)
    if found is None or (path / "transforms.json").is_file():
        return None
    return f"images and a model in {found[1].relative_to(path) or '.'}"


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the names of the images without their ending."""
    found = _workspace(path)
    if found is None:
        raise ScanError(f"{path}: no model with images; needs {WANTED}")
    workspace, model = found
    images = _images(path, workspace)
    posed = {image.name: image for image in read_model(model)}
    names = posed.keys() | {str(f.relative_to(images)) for f in images.rglob("*") if f.suffix.lower() in ENDINGS}
    shots = []
    for name in sorted(names, key=by_number):
        image = posed.get(name)
        shots.append(
            Shot(
                id=with_ending(name, ""),
                pose=image.world_from_camera if image else None,
                lens=image.lens if image else None,
                color=existing(images / name),
                depth=_depth(path, workspace, name),
            )
        )
    frames, dropped = lensed_frames(path, shots, WANTED)
    up = gravity.estimate_up(frames)
    mesh = next((d / name for d in (path, workspace) for name in MESHES if (d / name).is_file()), None)
    return Scene(path.name, LAYOUT, space(path), upright(frames, up), up, "estimated", dropped=dropped, mesh=mesh)


def space(path: Path) -> str:
    """The place: each scan is one of its own."""
    return path.name


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model, text or binary."""
    return any(all((folder / f"{part}.{kind}").is_file() for part in ("cameras", "images")) for kind in ("bin", "txt"))


def read_model(folder: Path) -> list[Posed]:
    """The images of a model that have a pose. Raises `ScanError` where it cannot be read."""
    pycolmap = files.needs("pycolmap")
    try:
        _check_counts(folder)
        model = pycolmap.Reconstruction(str(folder))
        lenses = {number: Lens.from_colmap(camera) for number, camera in model.cameras.items()}
        return [
            Posed(image.name, lenses[image.camera_id], _world_from_camera(image.cam_from_world().matrix()))
            for image in model.images.values()
            if image.has_pose
        ]
    except (ScanError, *files.UNREADABLE, *files.MALFORMED, MemoryError) as error:
        told = " ".join(str(error).split())
        raise ScanError(f"{folder}: no COLMAP model of cameras, images and points3D ({told}); restore it") from error


def _check_counts(folder: Path) -> None:
    """Hold the lengths of a binary model's lists against the sizes of its files: pycolmap reads as many entries as are
    told, beyond the end of the file and until memory is out. Raises `struct.error` or `ValueError`."""
    images, points = folder / "images.bin", folder / "points3D.bin"
    if images.is_file():
        data, at = images.read_bytes(), 8
        for _ in range(struct.unpack_from("<Q", data)[0]):
            # Number, rotation, translation, camera; the name up to a zero; 24 bytes for each point of the image.
            at = data.index(0, at + 64) + 1
            at += 8 + 24 * struct.unpack_from("<Q", data, at)[0]
        if at > len(data):
            raise ValueError(f"{images.name} breaks off")
    if points.is_file():
        data, at = points.read_bytes(), 8
        for _ in range(struct.unpack_from("<Q", data)[0]):
            # Number, place, colour, error; 8 bytes for each image that sees the point.
            at += 51 + 8 * struct.unpack_from("<Q", data, at + 43)[0]
        if at > len(data):
            raise ValueError(f"{points.name} breaks off")


def _world_from_camera(camera_from_world: Array) -> Array:
    matrix = np.eye(4)
    matrix[:3] = camera_from_world
    return inverse(matrix)


def _workspace(path: Path) -> tuple[Path, Path] | None:
    """The folder of the workspace and that of its model, if there are images."""
    for workspace in (path / name for name in WORKSPACES):
        for model in (workspace / name for name in MODELS):
            if is_model(model) and _images(path, workspace).is_dir():
                return workspace, model
    return None


def _images(path: Path, workspace: Path) -> Path:
    return workspace / "images" if (workspace / "images").is_dir() else path / "images"


def _depth(path: Path, workspace: Path, name: str) -> StoredDepth | None:
    """The geometrically consistent depth map, the photometric one, or an image of millimetres."""
    for kind in ("geometric", "photometric"):
        file = workspace / "stereo" / "depth_maps" / f"{name}.{kind}.bin"
        if file.is_file():
            return MvsDepth(file)
    image = next(filter(Path.is_file, (path / "depth" / with_ending(name, e) for e in (".png", ".PNG"))), None)
    return DepthFile(image) if image else None


@dataclass(frozen=True)
class MvsDepth:
    """A depth map of COLMAP's stereo: `width&height&channels&` as text, then float32 by rows, in units of the model."""

    path: Path

    def size(self) -> Size:
        """(width, height). Raises `FrameError` `unreadable_depth`."""
        width, height, _ = self._header()
        return width, height

    def read(self) -> DepthImage:
        """Raises `FrameError` `unreadable_depth`."""
        width, height, start = self._header()
        values = np.fromfile(self.path, dtype="<f4", offset=start)
        if values.size != width * height:
            raise FrameError("unreadable_depth", f"{self.path}: {values.size} numbers are no {width}x{height} map")
        return DepthImage(np.where(np.isfinite(values) & (values > 0), values, 0).reshape(height, width))

    def _header(self) -> tuple[int, int, int]:
        try:
            with self.path.open("rb") as file:
                words = file.read(64).split(b"&", 3)
            width, height, channels = (int(word) for word in words[:3])
        except (OSError, ValueError) as error:
            raise FrameError("unreadable_depth", f"{self.path}: no depth map of COLMAP's ({error})") from error
        if channels != 1:
            raise FrameError("unreadable_depth", f"{self.path}: {channels} channels, but depth has one")
        return width, height, sum(len(word) + 1 for word in words[:3])
