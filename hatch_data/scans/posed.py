"""From what a layout says about each frame to checked frames: the part that all readers of RGB-D scans share.

A frame without colour, depth or a usable pose is left out and counted; its neighbours are untouched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array, Camera, inverse, is_rigid, nearest_rigid
from hatch_data.scans import files
from hatch_data.scene import MEASURED, DepthImage, DepthSensor, DepthTolerance, Frame, within_reach

Size = tuple[int, int]

#: Entries of a rotation written with few digits are off by less than this; anything more is another kind of matrix.
ROUNDING = 5e-3
#: Principal points lie nearer to the middle of the image than this share of its size; one that does not was
#: calibrated for another image size.
CENTRE_SHARE = 0.1


class StoredColor(Protocol):
    """A colour image that is no file of its own. Both raise `FrameError` `unreadable_color`; values pickle."""

    def size(self) -> Size:
        """(width, height), known without decoding."""

    def read(self) -> bytes:
        """The encoded image, JPEG or PNG."""


class StoredDepth(Protocol):
    """A depth image that is no file of its own. Both raise `FrameError` `unreadable_depth`; values pickle."""

    def size(self) -> Size:
        """(width, height), known without decoding."""

    def read(self) -> DepthImage:
        """The decoded image."""


@dataclass(frozen=True)
class View:
    """One frame as the layout lists it, unchecked. What is missing is None.

    `pose` is world-from-camera, (4, 4) as written or the file that holds it. `rig` where not all views share one.
    """

    id: str
    color: files.Readable | StoredColor | None
    depth: files.Readable | StoredDepth | None
    pose: Array | files.Readable | None
    timestamp_s: float | None = None
    rig: Rig | None = None


@dataclass(frozen=True)
class Intrinsics:
    """Pixels; `size` (width, height) where the layout states it, `source` is what to name in an error."""

    fx: float
    fy: float
    cx: float
    cy: float
    source: str
    size: Size | None = None

    @classmethod
    def read(cls, path: Path, side: int) -> Intrinsics:
        """From a text file with a `side` x `side` matrix."""
        k = files.read_numbers(path, side, side)
        return cls(k[0, 0], k[1, 1], k[0, 2], k[1, 2], str(path))

    def camera(self, size: Size, what: str) -> Camera:
        """The camera of images of `size`. Raises `ScanError` where the intrinsics belong to another size."""
        width, height = size
        if self.size and self.size != size:
            stated = f"for {self.size[0]}x{self.size[1]}"
        elif not Camera(width, height, self.fx, self.fy, self.cx, self.cy).sound:
            stated = f"with focal lengths ({self.fx:g}, {self.fy:g}) around ({self.cx:g}, {self.cy:g})"
        elif not self.size and max(abs(self.cx / width - 0.5), abs(self.cy / height - 0.5)) > CENTRE_SHARE:
            stated = f"around ({self.cx:g}, {self.cy:g})"
        else:
            return Camera(width, height, self.fx, self.fy, self.cx, self.cy)
        raise ScanError(
            f"{self.source}: intrinsics {stated} do not fit {what} images of {width}x{height}; "
            "give the intrinsics of the images as they are stored"
        )


@dataclass(frozen=True)
class Rig:
    """The two cameras behind every frame of a scan, and how depth is stored.

    `depth` None: depth is registered to colour, if smaller, and has its camera. `no_depth` is a stored value that means
    "none" besides 0; like `metres_per_unit` it is for depth in files. `posed` names the camera whose pose is written.
    The default tolerance holds three standard deviations of a Kinect's axial noise (Nguyen et al. 2012: 0.0012 +
    0.0019 (z - 0.4)^2 m) up to 4 m.
    """

    color: Intrinsics
    depth: Intrinsics | None
    metres_per_unit: float = 1e-3
    no_depth: int | None = None
    color_from_depth: Array = field(default_factory=lambda: np.eye(4))
    posed: Literal["color", "depth"] = "color"
    tolerance: DepthTolerance = MEASURED


def posed_frames(
    path: Path, views: Sequence[View], rig: Rig, wanted: str, mesh: Path | None = None
) -> tuple[list[Frame], dict[str, list[str]]]:
    """Frames that can be used, in the order of `views`, and the ids of the others by reason.

    Frames without depth are kept where the scan has a `mesh`, which can give them some (`depth_source`).

    Reasons: `missing_color`, `missing_depth`, `missing_pose`; `lost_pose` (-inf or NaN), `zero_pose`, `bad_pose` (not
    rigid, or out of reach), `identity_pose` (the value of a pose never set; legitimate for the first
    frame, which often defines the world); `unreadable_color`, `unreadable_depth` (no image header); `color_size`,
    `depth_size` (not the size of the other frames). Raises `ScanError`, with `wanted` to say what the layout needs,
    where no frame is left.
    """
    dropped: dict[str, list[str]] = {}
    usable: list[_Usable] = []
    for index, view in enumerate(views):
        try:
            usable.append(_checked(view, first=index == 0, needs_depth=mesh is None))
        except FrameError as error:
            dropped.setdefault(error.reason, []).append(view.id)
    if not usable:
        told = ", ".join(f"{reason} {len(ids)}" for reason, ids in dropped.items())
        raise ScanError(f"{path}: no usable frame among {len(views)}{f' ({told})' if told else ''}; needs {wanted}")
    poses = [view.pose for view in usable] + [np.eye(4)] * len(dropped.get("identity_pose", []))
    if len(poses) > 1 and np.ptp(poses, axis=0).max() == 0:
        raise ScanError(f"{path}: all {len(poses)} poses are the same, as if never set; needs {wanted}")

    color_size = _commonest(view.color_size for view in usable)
    depth_sizes = [view.depth_size for view in usable if view.depth_size]
    depth_size = _commonest(depth_sizes) if depth_sizes else None
    frames = []
    for one in usable:
        if one.color_size != color_size or one.depth_size not in (depth_size, None):
            reason = "color_size" if one.color_size != color_size else "depth_size"
            dropped.setdefault(reason, []).append(one.id)
        else:
            frames.append(_frame(one, one.rig or rig))
    return frames, dropped


def _frame(one: _Usable, rig: Rig) -> Frame:
    camera = rig.color.camera(one.color_size, "colour")
    posed_from_color = inverse(rig.color_from_depth) if rig.posed == "depth" else np.eye(4)
    color, depth, sensor, read_depth = one.color, one.depth, DepthSensor(camera, tolerance=rig.tolerance), None
    if depth and one.depth_size:
        depth_camera = rig.depth.camera(one.depth_size, "depth") if rig.depth else camera.resized(*one.depth_size)
        sensor = DepthSensor(depth_camera, rig.color_from_depth, rig.tolerance)
        read_depth = _depth_reader(depth, one.depth_size, rig)
    return Frame(
        id=one.id,
        world_from_camera=nearest_rigid(one.pose) @ posed_from_color,
        camera=camera,
        read_color=partial(files.read_color, color) if isinstance(color, files.Readable) else color.read,
        sensor=sensor,
        read_depth=read_depth,
        timestamp_s=one.timestamp_s,
    )


def _depth_reader(depth: files.Readable | StoredDepth, size: Size, rig: Rig) -> Callable[[], DepthImage]:
    if isinstance(depth, files.Readable):
        return partial(files.read_depth, depth, size, rig.metres_per_unit, rig.no_depth)
    return depth.read


class _Usable(NamedTuple):
    """A view with nothing missing but perhaps its depth."""

    id: str
    color: files.Readable | StoredColor
    depth: files.Readable | StoredDepth | None
    pose: Array
    timestamp_s: float | None
    rig: Rig | None
    color_size: Size
    depth_size: Size | None


def _checked(view: View, first: bool, needs_depth: bool) -> _Usable:
    """Raises `FrameError` where a part is missing, the pose is no pose, or a file is no image."""
    if view.color is None:
        raise FrameError("missing_color", f"frame {view.id}: no colour image")
    if view.depth is None and needs_depth:
        raise FrameError("missing_depth", f"frame {view.id}: no depth image")
    if view.pose is None:
        raise FrameError("missing_pose", f"frame {view.id}: no pose")
    pose = files.read_pose(view.pose) if isinstance(view.pose, files.Readable) else view.pose
    fault = pose_fault(pose) or ("identity_pose" if not first and np.array_equal(pose, np.eye(4)) else None)
    if fault:
        raise FrameError(fault, f"frame {view.id}: {fault.replace('_', ' ')}")
    color, depth = view.color, view.depth
    color_size = files.image_size(color, "unreadable_color") if isinstance(color, files.Readable) else color.size()
    depth_size = None
    if depth is not None:
        depth_size = files.image_size(depth, "unreadable_depth") if isinstance(depth, files.Readable) else depth.size()
    return _Usable(view.id, color, depth, pose, view.timestamp_s, view.rig, color_size, depth_size)


def pose_fault(world_from_camera: Array) -> str | None:
    """Why a (4, 4) matrix is no camera pose: `lost_pose`, `zero_pose`, `bad_pose`, or None where it is one."""
    if not np.isfinite(world_from_camera).all():
        return "lost_pose"
    if not world_from_camera[:3].any():
        return "zero_pose"
    return None if within_reach(world_from_camera) and is_rigid(world_from_camera, ROUNDING) else "bad_pose"


def _commonest(sizes: Iterable[Size]) -> Size:
    return Counter(sizes).most_common(1)[0][0]
