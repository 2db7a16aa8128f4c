"""Checked frames for layouts in which each image has a camera of its own, perhaps with a lens that bends lines.

The counterpart of `posed`, with the same reasons for leaving a frame out. Colour and depth are straightened when they
are read; depth may be absent altogether, and then the scan's mesh gives it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array, Camera, nearest_rigid
from hatch_data.scans import files
from hatch_data.scans.lens import Lens, straightened, straightened_raster
from hatch_data.scans.posed import StoredDepth, pose_fault
from hatch_data.scans.recoded import Recoded, pixels_of
from hatch_data.scans.video import VideoFrame
from hatch_data.scene import DepthImage, DepthSensor, Frame

Size = tuple[int, int]

#: Depth and colour of one camera differ in their sides' ratio by less than this share: sizes are whole pixels.
SHAPE_SHARE = 0.02
#: OpenGL's camera (x right, y up, z back) from this project's (x right, y down, z forward).
GL_FROM_CAMERA = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Mask:
    """An 8-bit image of the colour image's view; values below `least` mark what must not be used."""

    image: Path | VideoFrame
    least: int

    def kept(self, size: Size) -> NDArray[np.bool_]:
        """(height, width) of `size` (width, height). Raises `FrameError` `unreadable_mask`."""
        return _values8(self.image, "unreadable_mask", size) >= self.least


@dataclass(frozen=True)
class DepthFile:
    """A 16-bit PNG of depth, and the 8-bit image of confidence that goes with it where the layout has one: where that
    is below `least`, there is no depth."""

    path: Path
    metres_per_unit: float = 1e-3
    confidence: Path | None = None
    least: int = 1

    def size(self) -> Size:
        """(width, height) from the header. Raises `FrameError`: `unreadable_depth`, `missing_confidence`."""
        if self.confidence is not None and not self.confidence.is_file():
            raise FrameError("missing_confidence", f"{self.confidence}: no such file, but other frames have theirs")
        return files.image_size(self.path, "unreadable_depth")

    def read(self) -> DepthImage:
        """Raises `FrameError`: `unreadable_depth`, `unreadable_confidence`."""
        depth = files.read_depth(self.path, self.size(), self.metres_per_unit)
        if self.confidence is None:
            return depth
        width, height = self.size()
        sure = _values8(self.confidence, "unreadable_confidence", (width, height)) >= self.least
        return DepthImage(np.where(sure, depth.values, 0).astype(depth.values.dtype), depth.metres_per_unit)


@dataclass(frozen=True)
class Shot:
    """One frame as the layout lists it, unchecked. What is missing is None.

    `pose` is world-from-camera, (4, 4) as written: of a camera with OpenGL's axes where `gl`. `sensor` is the camera of
    the depth image where it is another than the colour image's, resized.
    """

    id: str
    pose: Array | None
    lens: Lens | None
    color: Path | VideoFrame | None
    depth: StoredDepth | None
    mask: Mask | None = None
    sensor: Camera | None = None
    gl: bool = False
    timestamp_s: float | None = None


def lensed_frames(path: Path, shots: Sequence[Shot], wanted: str) -> tuple[list[Frame], dict[str, list[str]]]:
    """Frames that can be used, in the order of `shots`, and the ids of the others by reason.

    Reasons as in `posed_frames`, and `missing_intrinsics`. Where no shot at all has depth, frames are without
    (`read_depth` None); where only some lack it, those are left out. Raises `ScanError`, with `wanted` to say what the
    layout needs, where no frame is left.
    """
    dropped: dict[str, list[str]] = {}
    frames: list[Frame] = []
    with_depth = any(shot.depth is not None for shot in shots)
    for index, shot in enumerate(shots):
        try:
            frames.append(_frame(shot, with_depth, first=index == 0))
        except FrameError as error:
            dropped.setdefault(error.reason, []).append(shot.id)
    if not frames:
        told = ", ".join(f"{reason} {len(ids)}" for reason, ids in dropped.items())
        raise ScanError(f"{path}: no usable frame among {len(shots)}{f' ({told})' if told else ''}; needs {wanted}")
    poses = [frame.world_from_camera for frame in frames] + [np.eye(4)] * len(dropped.get("identity_pose", []))
    if len(poses) > 1 and np.ptp(poses, axis=0).max() == 0:
        raise ScanError(f"{path}: all {len(poses)} poses are the same, as if never set; needs {wanted}")
    return frames, dropped


def by_number(name: str) -> list[tuple[int, str]]:
    """A key that sorts names by the numbers in them: `a2` before `a10`."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def existing(path: Path) -> Path | None:
    """The path, if a file is there."""
    try:
        return path if path.is_file() else None
    except OSError:  # a name too long to be one
        return None


def with_ending(name: str, ending: str) -> str:
    """A name with another ending, also one that is no name of a file, for which pathlib raises."""
    path = Path(name)
    return name.removesuffix(path.suffix) + ending


def _frame(shot: Shot, with_depth: bool, first: bool) -> Frame:
    """Raises `FrameError` where a part is missing, the pose is no pose, or a file is no image of the right size."""
    if shot.color is None:
        raise FrameError("missing_color", f"frame {shot.id}: no colour image")
    if with_depth and shot.depth is None:
        raise FrameError("missing_depth", f"frame {shot.id}: no depth image")
    if shot.pose is None:
        raise FrameError("missing_pose", f"frame {shot.id}: no pose")
    if shot.lens is None:
        raise FrameError("missing_intrinsics", f"frame {shot.id}: no intrinsics")
    if not shot.lens.sound:
        raise FrameError("bad_intrinsics", f"frame {shot.id}: {shot.lens} is no camera")
    fault = pose_fault(shot.pose) or ("identity_pose" if not first and np.array_equal(shot.pose, np.eye(4)) else None)
    if fault:
        raise FrameError(fault, f"frame {shot.id}: {fault.replace('_', ' ')}")
    color, lens = shot.color, shot.lens
    size = files.image_size(color, "unreadable_color") if isinstance(color, Path) else color.size()
    if size != lens.size:
        raise FrameError("color_size", f"frame {shot.id}: {size}, but its intrinsics are for {lens.size}")
    pose = nearest_rigid(shot.pose)
    as_stored = partial(files.read_color, color) if isinstance(color, Path) else Recoded(color.pixels)
    return Frame(
        id=shot.id,
        world_from_camera=pose @ GL_FROM_CAMERA if shot.gl else pose,
        camera=lens.pinhole,
        read_color=as_stored if lens.straight else Recoded(partial(straightened, lens, pixels_of(as_stored))),
        read_stored=None if lens.straight else as_stored,
        sensor=DepthSensor(_depth_camera(shot, lens)),
        read_depth=None if shot.depth is None else partial(_read_depth, shot.depth, lens, shot.mask),
        timestamp_s=shot.timestamp_s,
    )


def _depth_camera(shot: Shot, lens: Lens) -> Camera:
    """Raises `FrameError` `depth_size` where a depth image is not of the shape of the camera it is taken with."""
    camera = shot.sensor or lens.pinhole
    if shot.depth is None:
        return camera
    width, height = shot.depth.size()
    if min(width, height) < 1 or abs(width * camera.height / (height * camera.width) - 1) > SHAPE_SHARE:
        raise FrameError(
            "depth_size", f"frame {shot.id}: depth {width}x{height} of a camera of {camera.width}x{camera.height}"
        )
    return camera.resized(width, height)


def _read_depth(depth: StoredDepth, lens: Lens, mask: Mask | None) -> DepthImage:
    image = depth.read()
    values = image.values
    if mask is not None:
        height, width = values.shape
        values = np.where(mask.kept((width, height)), values, 0).astype(values.dtype)
    if not lens.straight:
        values = straightened_raster(lens, values)
    return DepthImage(values, image.metres_per_unit)


def _values8(source: Path | VideoFrame, reason: str, size: Size) -> NDArray[np.uint8]:
    """An 8-bit image at the pixels of one of `size`, nearest for nearest: values are classes, and never mixed."""
    try:
        if isinstance(source, Path):
            with Image.open(source) as image:
                values = np.asarray(image.convert("L"))
        else:
            values = source.pixels()[..., 0]
    except (FrameError, *files.UNDECODABLE) as error:
        raise FrameError(reason, f"{source}: cannot be decoded ({error}); copy the file again") from error
    width, height = size
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(np.intp)
    return values[rows[:, None], columns]
