"""Hypersim (Roberts et al. 2021): rendered houses, several cameras each, in HDF5.

`_detail/cam_XX/camera_keyframe_{positions,orientations,frame_indices}.hdf5` are poses, camera to world, OpenGL axes,
positions in asset units (`meters_per_asset_unit` in `_detail/metadata_scene.csv`). `images/scene_cam_XX_geometry_hdf5/
frame.IIII.depth_meters.hdf5` holds the *distance along each ray* in metres, NaN where there is nothing;
`images/scene_cam_XX_final_hdf5/frame.IIII.color.hdf5` linear HDR colour, which is tone-mapped as the data set's own
previews are and encoded when it is read; where only `final_preview/frame.IIII.tonemap.jpg` is there, that is used.

The camera is that of `metadata_camera_parameters.csv` (published beside the data set; looked for in the scan and above
it), else the nominal one with a horizontal field of view of 60 degrees. Many scenes have a tilt-shift lens: rays are
M (u, v, 1) with u and v from -1 to 1. Any such camera is a pinhole camera turned away from the scene's axes: with A
taking rays to pixels, A = K R (RQ decomposition), and R goes into the pose. Worlds have z up.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.linalg import rq

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array, Camera
from hatch_data.scans import files
from hatch_data.scans.posed import Intrinsics, Rig, Size, View, posed_frames
from hatch_data.scans.recoded import JPEG_QUALITY
from hatch_data.scene import RENDERED, DepthImage, Scene

LAYOUT = "hypersim"
WANTED = "_detail/cam_XX/camera_keyframe_*.hdf5, images/scene_cam_XX_geometry_hdf5 and images/scene_cam_XX_final_hdf5"
UP = np.array([0.0, 0.0, 1.0])
NOMINAL_FIELD_OF_VIEW_DEG = 60.0
PARAMETERS = "metadata_camera_parameters.csv"
#: Skew and aspect that rounding leaves; a camera with more is not a pinhole camera with rectangular pixels.
MOST_SKEW = 1e-3

_GL_FROM_CV = np.diag([1.0, -1.0, -1.0])


def evidence(path: Path) -> str | None:
    """What in the folder speaks for Hypersim."""
    found = files.holds(path / "_detail", r"cam_\d+") and files.holds(path / "images", r"scene_cam_\d+_.+")
    return "_detail/cam_* and images/scene_cam_*" if found else None


def read(path: Path) -> Scene:
    """The scene in `path`; ids are `cam_00/0000`."""
    metres_per_unit = _metres_per_asset_unit(path / "_detail" / "metadata_scene.csv")
    details = sorted(d for d in (path / "_detail").iterdir() if re.fullmatch(r"cam_\d+", d.name) and d.is_dir())
    stored = {detail.name: _images(path / "images", detail.name) for detail in details}
    lens = _stated_lens(path) or _nominal_lens(stored)
    camera, cv_from_pinhole = pinhole(lens)
    views = []
    for detail in details:
        color, depth = stored[detail.name]
        poses = _keyframes(detail, metres_per_unit)
        for n in sorted(color.keys() | depth.keys() | poses.keys()):
            pose = poses[n] @ cv_from_pinhole if n in poses else None
            distance = RayDistance(depth[n], camera) if n in depth else None
            views.append(View(f"{detail.name}/{n:04d}", color.get(n), distance, pose))
    intrinsics = Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy, lens.source, lens.size)
    frames, dropped = posed_frames(path, views, Rig(intrinsics, None, tolerance=RENDERED), WANTED)
    return Scene(path.name, LAYOUT, space(path), frames, UP, "layout", dropped=dropped)


def space(path: Path) -> str:
    """The place: each scene is a house of its own."""
    return path.name


@dataclass(frozen=True)
class Lens:
    """Rays of the image in the camera's OpenGL axes: `gl_from_uv` @ (u, v, 1), u to the right and v up, -1 to 1."""

    gl_from_uv: Array
    size: Size
    source: str


def pinhole(lens: Lens) -> tuple[Camera, Array]:
    """The camera whose optical axis is normal to the image plane, and the (4, 4) turn from its axes to OpenCV's of the
    scene's camera. Raises `ScanError` where no pinhole camera has these rays."""
    width, height = lens.size
    try:
        uv_from_pixel = np.array([[2 / width, 0, 1 / width - 1], [0, -2 / height, 1 - 1 / height], [0, 0, 1]])
        k, pinhole_from_cv = rq(np.linalg.inv(_GL_FROM_CV @ lens.gl_from_uv @ uv_from_pixel))
    except (ArithmeticError, ValueError) as error:  # singular, not finite, or of no size
        raise ScanError(f"{lens.source}: the rays are no camera's ({error}); restore the file") from error
    signs = np.sign(np.diag(k))
    k, pinhole_from_cv = k * signs, signs[:, None] * pinhole_from_cv
    k = k / k[2, 2]
    if np.linalg.det(pinhole_from_cv) < 0 or abs(k[0, 1]) > MOST_SKEW * k[0, 0]:
        raise ScanError(f"{lens.source}: the rays are no pinhole camera's; restore the file")
    cv_from_pinhole = np.eye(4)
    cv_from_pinhole[:3, :3] = pinhole_from_cv.T
    return Camera(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2]), cv_from_pinhole


@dataclass(frozen=True)
class HdrColor:
    """Linear colour of any range, tone-mapped when it is read."""

    file: Path

    def size(self) -> Size:
        """Of the array, without reading it."""
        return _array_size(self.file, "unreadable_color")

    def read(self) -> bytes:
        """JPEG of the tone-mapped image. Raises `FrameError` `unreadable_color`."""
        buffer = io.BytesIO()
        image = Image.fromarray(tone_mapped(_array(self.file, "unreadable_color", dimensions=3)))
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return buffer.getvalue()


@dataclass(frozen=True)
class RayDistance:
    """Distance from the camera's centre along each ray, in metres."""

    file: Path
    camera: Camera

    def size(self) -> Size:
        """Of the array, without reading it."""
        return _array_size(self.file, "unreadable_depth")

    def read(self) -> DepthImage:
        """Planar depth, float32 metres. Raises `FrameError` `unreadable_depth`."""
        distance = _array(self.file, "unreadable_depth", dimensions=2).astype(np.float32)
        if distance.shape != (self.camera.height, self.camera.width):
            raise FrameError("depth_size", f"{self.file}: {distance.shape}, but the camera is {self.camera}")
        planar = distance * _planar_per_distance(self.camera)
        return DepthImage(np.where(np.isfinite(planar) & (planar > 0), planar, np.float32(0)))


@lru_cache(maxsize=4)
def _planar_per_distance(camera: Camera) -> NDArray[np.float32]:
    """(height, width): the cosine between each ray and the optical axis."""
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    return (1 / np.sqrt(1 + x**2 + y[:, None] ** 2)).astype(np.float32)


def tone_mapped(linear: NDArray) -> NDArray[np.uint8]:
    """Linear RGB (height, width, 3) as 8 bit: gamma 2.2 after bringing the 90th percentile of brightness to 0.8.

    The data set's own formula (`scene_generate_images_tonemap`), over all pixels.
    """
    linear = np.where(np.isfinite(linear), linear, 0).astype(np.float32)
    bright = float(np.percentile(linear @ np.array([0.3, 0.59, 0.11], np.float32), 90))
    scale = 0.8**2.2 / bright if bright > 1e-4 else 0.0
    return np.rint(255 * np.clip(linear * scale, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def _images(images: Path, camera: str) -> tuple[dict[int, Path | HdrColor], dict[int, Path]]:
    """Colour and depth by frame number."""
    preview = files.numbered(images / f"scene_{camera}_final_preview", r"frame\.(\d+)\.tonemap\.jpg")
    linear = files.numbered(images / f"scene_{camera}_final_hdf5", r"frame\.(\d+)\.color\.hdf5")
    depth = files.numbered(images / f"scene_{camera}_geometry_hdf5", r"frame\.(\d+)\.depth_meters\.hdf5")
    return {**preview, **{n: HdrColor(file) for n, file in linear.items()}}, depth


def _keyframes(detail: Path, metres_per_unit: float) -> dict[int, Array]:
    """World-from-camera, OpenCV axes and metres, by frame number; none where the camera has no files of poses."""
    names = ("frame_indices", "positions", "orientations")
    told = [detail / f"camera_keyframe_{name}.hdf5" for name in names]
    if not all(file.is_file() for file in told):
        return {}
    try:
        numbers, positions, orientations = (
            _array(file, "bad_pose", d) for file, d in zip(told, (1, 2, 3), strict=True)
        )
    except FrameError as error:
        raise ScanError(str(error)) from error
    poses = np.tile(np.eye(4), (len(numbers), 1, 1))
    if positions.shape != (len(numbers), 3) or orientations.shape != (len(numbers), 3, 3):
        raise ScanError(f"{detail}: camera_keyframe_*.hdf5 are of different length; copy them again")
    poses[:, :3, :3], poses[:, :3, 3] = orientations @ _GL_FROM_CV, positions * metres_per_unit
    return {int(n): pose for n, pose in zip(numbers, poses, strict=True)}


def _array_size(file: Path, reason: str) -> Size:
    with _opened(file, reason) as dataset:
        if dataset.ndim < 2:
            raise FrameError(reason, f"{file}: an array of {dataset.shape} is no image; copy the file again")
        return dataset.shape[1], dataset.shape[0]


def _array(file: Path, reason: str, dimensions: int) -> NDArray:
    with _opened(file, reason) as dataset:
        if dataset.ndim != dimensions:
            raise FrameError(reason, f"{file}: an array of {dataset.shape}; copy the file again")
        return np.asarray(dataset[:])


@contextmanager
def _opened(file: Path, reason: str) -> Iterator[Any]:
    """The file's `dataset`. Raises `FrameError` with `reason`, also for what goes wrong while it is read."""
    try:
        with files.needs("h5py").File(file, "r") as hdf5:
            dataset = hdf5["dataset"]
            if dataset.dtype.kind not in "fiu" or dataset.size > 3 * files.MOST_PIXELS:
                raise ValueError(f"{dataset.shape} of {dataset.dtype} are neither an image nor poses")
            yield dataset
    except files.UNDECODABLE as error:
        told = " ".join(str(error).split())
        raise FrameError(reason, f"{file}: no HDF5 array 'dataset' ({told}); copy the file again") from error


def _metres_per_asset_unit(file: Path) -> float:
    told = {row.get("parameter_name"): row.get("parameter_value") for row in _rows(file)}
    try:
        return float(told["meters_per_asset_unit"] or "")
    except files.MALFORMED as error:
        raise ScanError(f"{file}: states no meters_per_asset_unit, so poses have no scale; restore the file") from error


def _stated_lens(path: Path) -> Lens | None:
    """From the scene's row of `metadata_camera_parameters.csv`."""
    places = (
        path / PARAMETERS,
        path / "_detail" / PARAMETERS,
        path.parent / PARAMETERS,
        path.parent.parent / PARAMETERS,
    )
    file = next((place for place in places if place.is_file()), None)
    row = next((row for row in _rows(file) if row.get("scene_name") == path.name), None) if file else None
    if row is None:
        return None
    try:
        matrix = np.array([[float(row[f"M_cam_from_uv_{r}{c}"]) for c in range(3)] for r in range(3)])
        size = tuple(int(float(row[f"settings_output_img_{side}"])) for side in ("width", "height"))
    except files.MALFORMED as error:
        raise ScanError(f"{file}: the row of {path.name} lacks numbers ({error!r}); restore the file") from error
    return Lens(matrix, (size[0], size[1]), str(file))


def _nominal_lens(stored: Mapping[str, tuple[dict[int, Path | HdrColor], dict[int, Path]]]) -> Lens:
    """The camera that most scenes have, in front of the first image that can be opened."""
    for _, depth in stored.values():
        for file in depth.values():
            try:
                size = _array_size(file, "unreadable_depth")
            except FrameError:  # met again, and counted, when the frame is checked
                continue
            half = np.tan(np.radians(NOMINAL_FIELD_OF_VIEW_DEG / 2))
            return Lens(np.diag([half, half * size[1] / size[0], -1.0]), size, "the nominal Hypersim camera")
    raise ScanError(f"no depth_meters.hdf5 that can be read; needs {WANTED}")


def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(files.read_text(file).splitlines()))
