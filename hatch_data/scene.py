"""The one in-memory form of a scan. Every reader makes a `Scene`; nothing downstream knows a layout.

Pixels stay on disk: a `Frame` carries functions that read its bytes when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hatch_data.errors import FrameError
from hatch_data.geometry import Array, Camera

#: Nothing is farther from the origin of its world, in metres: geocentric coordinates stay below a tenth of this.
FARTHEST_M = 1e8


@dataclass(frozen=True)
class DepthTolerance:
    """How far a projected depth may lie from a measured one and still be the same surface, in metres.

    `max(absolute_m, relative * z, quadratic_per_m * z**2)`; the last term is the noise model of structured light.
    """

    absolute_m: float = 0.05
    relative: float = 0.02
    quadratic_per_m: float = 0.0

    def at(self, z: NDArray) -> NDArray:
        """Tolerance in metres at depth `z` in metres."""
        return np.maximum(np.maximum(self.absolute_m, self.relative * z), self.quadratic_per_m * z * z)


MEASURED = DepthTolerance()
#: Of depth that was rendered, not measured. A sensor's tolerance would take one side of a thin wall for the other: seen
#: from eleven metres away, a wall may then be 22 cm thick.
RENDERED = DepthTolerance(absolute_m=0.02, relative=0.004)


@dataclass(frozen=True)
class DepthImage:
    """Planar depth as stored: (height, width) uint16 or float32, times `metres_per_unit`. 0 = no depth.

    Whatever else a layout uses for "no depth" (65535, NaN, inf, negative) is 0 here.
    """

    values: NDArray
    metres_per_unit: float = 1.0

    @property
    def metres(self) -> NDArray[np.float32]:
        """(height, width) float32 metres, 0 = no depth."""
        return self.values.astype(np.float32) * np.float32(self.metres_per_unit)


def within_reach(places_m: Array) -> bool:
    """Whether all coordinates are numbers, and none is beyond `FARTHEST_M`."""
    return bool((np.abs(places_m) <= FARTHEST_M).all())


@dataclass(frozen=True)
class DepthSensor:
    """The camera behind a frame's depth image, where it sits relative to the colour camera, and its noise."""

    camera: Camera
    color_from_depth: Array = field(default_factory=lambda: np.eye(4))
    tolerance: DepthTolerance = MEASURED


@dataclass(frozen=True)
class Frame:
    """One posed RGB-D view.

    `world_from_camera` is the pose of the *colour* camera. `read_color` returns the encoded bytes of the image as
    they lie on disk (JPEG or PNG), `read_depth` the decoded depth. Both raise `FrameError` with a countable reason.
    Where `read_color` has to encode (straightened, turned), `read_stored` returns the bytes it starts from.
    `read_depth` is None where the scan has no sensor depth for the frame: `depth_source.with_depth` gives it some.
    """

    id: str
    world_from_camera: Array
    camera: Camera
    read_color: Callable[[], bytes]
    sensor: DepthSensor
    read_depth: Callable[[], DepthImage] | None
    timestamp_s: float | None = None
    read_stored: Callable[[], bytes] | None = None

    def depth(self) -> DepthImage:
        """The decoded depth. Raises `FrameError`: `missing_depth` where the frame has none."""
        if self.read_depth is None:
            raise FrameError("missing_depth", f"frame {self.id}: no depth image")
        return self.read_depth()


@dataclass(frozen=True)
class Instance:
    """A named object: an oriented box, `world_from_box` (4, 4) at its centre and full `size_m` (3,) along its axes.

    Raises `ValueError` where the box is nowhere.
    """

    id: str
    label: str
    world_from_box: Array
    size_m: Array

    def __post_init__(self) -> None:
        if not within_reach(self.world_from_box) or not within_reach(self.size_m):
            raise ValueError(f"the box of object {self.id} is nowhere")


@dataclass
class Scene:
    """A scan: posed frames in order of capture, gravity, objects, and what the reader had to leave out.

    `up` is a unit vector in the world frame, `up_source` is "layout" where the layout states gravity, else
    "estimated". `space` names the physical place (several scans of one room share it): splits never cut through it.
    `dropped` maps a reason to the ids of the frames lost to it. `mesh` is the file of the scan's mesh, in the world of
    the poses. `pose_at` gives world-from-camera (4, 4) at any stamp, None or not finite where it is not known, for
    layouts that write poses by stamp and not by frame.
    """

    id: str
    layout: str
    space: str
    frames: list[Frame]
    up: Array
    up_source: str
    instances: list[Instance] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    mesh: Path | None = None
    pose_at: Callable[[float], Array | None] | None = None

    def drop(self, reason: str, frame_id: str) -> None:
        """Record that a frame was left out, and why."""
        self.dropped.setdefault(reason, []).append(frame_id)
