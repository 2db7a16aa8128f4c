"""What every reader must give back of the analytic room, whatever the layout did to it on the way to disk."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from hatch_data.correspondence import correspond
from hatch_data.geometry import Array, Camera, inverse
from hatch_data.patches import PatchMap
from hatch_data.scene import DepthImage, DepthSensor, Frame, Scene
from hatch_data.views import prepare
from tests.layouts import room

GRID = (9, 12)


def assert_frames(
    scene: Scene,
    poses: dict[str, Array],
    camera: Camera,
    sensor: Camera,
    depth_step_m: float,
    pose_error: float = 1e-6,
    room_from_world: Array | None = None,
    color_error: float = 3.0,
    least_depth: float = 0.97,
) -> None:
    """`poses`: world from camera by id, in order. Depth may be off by `depth_step_m`, and colours by `color_error` grey
    levels in the mean; `least_depth` is the share of pixels that must have depth. The maps between neighbours are those
    of the room itself."""
    assert [frame.id for frame in scene.frames] == list(poses)
    world = np.eye(4) if room_from_world is None else room_from_world
    direct = []
    for frame in scene.frames:
        assert np.abs(frame.world_from_camera - poses[frame.id]).max() <= pose_error
        assert frame.camera == camera
        assert np.abs(np.subtract(_numbers(frame.sensor.camera), _numbers(sensor))).max() < 1e-9
        pose = world @ poses[frame.id]
        read = pickle.loads(pickle.dumps(frame)).depth().metres
        truth = room.render(sensor, pose)[1]
        known = (read > 0) & (truth > 0)
        assert read.shape == truth.shape and known.mean() >= least_depth
        assert np.abs(read - truth)[known].max() <= depth_step_m
        color = np.asarray(Image.open(io.BytesIO(frame.read_color())).convert("RGB"))
        assert color.shape == (camera.height, camera.width, 3)
        assert np.abs(color.astype(int) - room.render(camera, pose)[0]).mean() < color_error
        exact = DepthImage(np.where(read > 0, truth, 0).astype(np.float32))
        direct.append(
            replace(frame, world_from_camera=pose, sensor=DepthSensor(sensor), read_depth=partial(_same, exact))
        )
    for k in range(len(direct) - 1):
        assert maps_differ(scene.frames[k], scene.frames[k + 1], direct[k], direct[k + 1]) <= 0.02


def maps_differ(a: Frame, b: Frame, direct_a: Frame, direct_b: Frame) -> float:
    """Mean absolute difference of weights where either map has one."""
    got, want = _map(a, b).dense(), _map(direct_a, direct_b).dense()
    some = (got > 0) | (want > 0)
    assert some.any()
    return float(np.abs(got - want)[some].mean())


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


def _same(depth: DepthImage) -> DepthImage:
    return depth


def _numbers(camera: Camera) -> list[float]:
    return [camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy]
