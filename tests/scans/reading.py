"""What every reader must give back of the analytic room, whatever the layout did to it on the way to disk."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from hatch_data.correspondence import correspond
from hatch_data.errors import HatchError
from hatch_data.geometry import Array, Camera, inverse
from hatch_data.patches import PatchMap
from hatch_data.scene import DepthImage, DepthSensor, Frame, Scene
from hatch_data.views import prepare
from tests.layouts import room

GRID = (9, 12)
MOST_MAP_ERROR = 0.02


def assert_frames(
    scene: Scene,
    poses: dict[str, Array],
    camera: Camera,
    sensor: Camera,
    depth_error_m: float,
    pose_error: float = 1e-6,
    room_from_world: Array | None = None,
    color_error: float = 3.0,
    least_depth: float = 0.97,
) -> None:
    """All frames show the room (`shown`), and the maps between them are its own. `poses`: world from camera by id, in
    order."""
    assert [frame.id for frame in scene.frames] == list(poses)
    room_from_world = np.eye(4) if room_from_world is None else room_from_world
    maps_agree(
        scene.frames,
        [
            shown(
                frame, poses[frame.id], room_from_world @ poses[frame.id], camera, DepthSensor(sensor), depth_error_m,
                pose_error, color_error=color_error, least_depth=least_depth,
            )
            for frame in scene.frames
        ],
    )  # fmt: skip


def reads_back(
    scene: Scene,
    writer: ModuleType,
    poses: dict[int, Array],
    camera: Callable[[int], Camera] | None = None,
    pose_error: float = 1e-6,
    depth_error_m: float | None = None,
) -> None:
    """The same for a writer that says how it writes: the walk `poses` comes back whole, depth to its quantisation, or
    but for one pixel in a hundred to `depth_error_m`.

    `camera` gives the one camera of each frame where the writer's `COLOR` and `DEPTH` do not hold for all.
    """
    assert (scene.layout, scene.dropped) == (writer.LAYOUT, {})
    assert [frame.id for frame in scene.frames] == [writer.frame_id(n) for n in poses]
    expected, direct = writer.world(poses), []
    step_m, least, share = (writer.METRES_PER_UNIT / 2 + 1e-6, 1.0, 1.0) if depth_error_m is None else (
        depth_error_m, 0.99, 0.99,
    )  # fmt: skip
    for (n, pose), frame in zip(poses.items(), scene.frames, strict=True):
        color, depth = (camera(n), camera(n)) if camera else (writer.COLOR, writer.DEPTH)
        sensor = DepthSensor(depth, writer.COLOR_FROM_DEPTH)
        direct.append(
            shown(frame, expected[n], pose, color, sensor, step_m, pose_error, least_depth=least, share=share)
        )
    maps_agree(scene.frames, direct)


def shown(
    frame: Frame,
    world_from_camera: Array,
    room_from_camera: Array,
    camera: Camera,
    sensor: DepthSensor,
    depth_error_m: float,
    pose_error: float = 1e-6,
    color: Array | None = None,
    color_error: float = 3.0,
    least_depth: float = 0.97,
    share: float = 1.0,
) -> Frame:
    """Hold a frame, pickled on the way, against the room: its pose, cameras, colour (that of the room, or `color`; off
    by `color_error` grey levels in the mean) and depth (on `least_depth` of what the room fills, `share` of it no
    further off than `depth_error_m`). Returns the frame that the room itself gives, without any file in between."""
    assert np.abs(frame.world_from_camera - world_from_camera).max() <= pose_error
    same_camera(frame.camera, camera)
    same_camera(frame.sensor.camera, sensor.camera)
    assert np.abs(frame.sensor.color_from_depth - sensor.color_from_depth).max() < 1e-6
    frame = pickle.loads(pickle.dumps(frame))
    read = frame.depth().metres
    truth = room.render(sensor.camera, room_from_camera @ sensor.color_from_depth)[1]
    known = (read > 0) & (truth > 0)
    assert read.shape == truth.shape and known.sum() >= least_depth * (truth > 0).sum()
    assert least_depth < 1 or np.array_equal(read > 0, truth > 0)
    assert np.quantile(np.abs(read - truth)[known], share) <= depth_error_m
    seen = np.asarray(Image.open(io.BytesIO(frame.read_color())).convert("RGB"))
    assert seen.shape == (camera.height, camera.width, 3)
    expected = room.render(camera, room_from_camera)[0] if color is None else color
    assert np.abs(seen.astype(float) - expected).mean() < color_error
    exact = DepthImage(np.where(read > 0, truth, 0).astype(np.float32))
    return replace(frame, world_from_camera=room_from_camera, sensor=sensor, read_depth=lambda: exact)


def same_camera(camera: Camera, expected: Camera) -> None:
    """To the last digits, which a change of axes may touch."""
    assert (camera.width, camera.height) == (expected.width, expected.height)
    assert np.abs(camera.matrix - expected.matrix).max() < 1e-9


def maps_agree(frames: list[Frame], direct: list[Frame]) -> None:
    """Maps between neighbouring frames are those of the room itself."""
    for (a, b), (direct_a, direct_b) in zip(pairwise(frames), pairwise(direct), strict=True):
        got, want = _map(a, b).dense(), _map(direct_a, direct_b).dense()
        some = (got > 0) | (want > 0)
        assert some.any()
        assert np.abs(got - want)[some].mean() <= MOST_MAP_ERROR


def one_line(error: pytest.ExceptionInfo[HatchError], *parts: object) -> None:
    """The error is one line that says all of `parts`."""
    told = str(error.value)
    assert "\n" not in told
    for part in parts:
        assert str(part) in told


def in_world(world_from_room: Array, poses: dict[int, Array]) -> dict[int, Array]:
    """The same poses in another world."""
    return {n: world_from_room @ pose for n, pose in poses.items()}


#: A world with y up, as ARKit's: the room's z becomes y.
ARKIT_FROM_ROOM = np.array([[1.0, 0, 0, 0.5], [0, 0, 1, -1.2], [0, -1, 0, 0.3], [0, 0, 0, 1]])
ROOM_FROM_ARKIT = inverse(ARKIT_FROM_ROOM)

#: The camera of a phone held upright, whose sensor lies on its side: what is up in the world is left in its images.
SENSOR_FROM_UPRIGHT = np.array([[0.0, 1.0, 0, 0], [-1.0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def lying(poses: dict[int, Array]) -> dict[int, Array]:
    """The poses of a sensor on its side, of which `poses` are those of its images once turned upright."""
    return {n: pose @ SENSOR_FROM_UPRIGHT.T for n, pose in poses.items()}


def stood_up(camera: Camera) -> Camera:
    """The camera of the image turned a quarter clockwise."""
    return Camera(camera.height, camera.width, camera.fy, camera.fx, camera.height - 1 - camera.cy, camera.cx)


def _map(a: Frame, b: Frame) -> PatchMap:
    return correspond(prepare(a), prepare(b), GRID, GRID, stride_px=1).map
