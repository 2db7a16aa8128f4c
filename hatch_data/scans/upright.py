"""Sideways frames turned upright, by quarter turns: image, intrinsics, pose and depth follow.

Phones are held upright while their sensor lies on its side, and stored images show the world as the sensor saw it.
One turn holds for the whole scan, the one most of its frames ask for, so that a head tilted by 45 degrees does not make
images flip to and fro; a frame that clearly stands otherwise (a phone turned during the scan) is turned by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hatch_data.geometry import Array, Camera
from hatch_data.scans.recoded import Recoded, pixels_of
from hatch_data.scene import DepthImage, Frame

#: A camera rolled by more than this from where the scan's turn leaves it stands otherwise.
CLEAR_DEG = 60.0
#: Looking so far up or down that the vertical appears shorter than this, a frame has no top of its own.
LEAST_VERTICAL = 0.5
#: A quarter turn clockwise: the image's right is the old top, its bottom the old right.
_OLD_FROM_TURNED = np.array([[0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def upright(frames: Sequence[Frame], up: Array) -> list[Frame]:
    """The frames with the world's `up` nearest to the top of their images."""
    return [turned(frame, int(quarters)) for frame, quarters in zip(frames, quarter_turns(frames, up), strict=True)]


def quarter_turns(frames: Sequence[Frame], up: Array) -> NDArray[np.int64]:
    """(n,) clockwise quarter turns, 0 to 3, that bring each frame upright."""
    rotations = np.array([frame.world_from_camera[:3, :3] for frame in frames]).reshape(-1, 3, 3)
    across, down = (rotations.transpose(0, 2, 1) @ up)[:, :2].T
    length, lean_deg = np.hypot(across, down), np.degrees(np.arctan2(-across, -down))
    own = np.rint(lean_deg / 90).astype(np.int64) % 4
    scan = int(np.argmax(np.bincount(own, weights=length, minlength=4)))
    off_deg = np.abs((lean_deg - 90 * scan + 180) % 360 - 180)
    return np.where((off_deg > CLEAR_DEG) & (length > LEAST_VERTICAL), own, scan)


def turned(frame: Frame, quarters: int) -> Frame:
    """The frame seen with the head tilted counter-clockwise, so that its image turns clockwise, `quarters` times 90
    degrees. Its colour is encoded again as JPEG; without a turn it stays as it is."""
    quarters %= 4
    if quarters == 0:
        return frame
    old_from_turned = np.linalg.matrix_power(_OLD_FROM_TURNED, quarters)
    sensor = frame.sensor
    return replace(
        frame,
        world_from_camera=frame.world_from_camera @ old_from_turned,
        camera=_turned_camera(frame.camera, quarters),
        read_color=Recoded(partial(_turned_pixels, pixels_of(frame.read_color), quarters)),
        read_stored=frame.read_stored or frame.read_color,
        sensor=replace(
            sensor,
            camera=_turned_camera(sensor.camera, quarters),
            color_from_depth=old_from_turned.T @ sensor.color_from_depth @ old_from_turned,
        ),
        read_depth=partial(_turned_depth, frame.read_depth, quarters) if frame.read_depth else None,
    )


def _turned_camera(camera: Camera, quarters: int) -> Camera:
    for _ in range(quarters):
        camera = Camera(camera.height, camera.width, camera.fy, camera.fx, camera.height - 1 - camera.cy, camera.cx)
    return camera


def _turned_pixels(read: Callable[[], NDArray[np.uint8]], quarters: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.rot90(read(), -quarters))


def _turned_depth(read: Callable[[], DepthImage], quarters: int) -> DepthImage:
    depth = read()
    return DepthImage(np.ascontiguousarray(np.rot90(depth.values, -quarters)), depth.metres_per_unit)
