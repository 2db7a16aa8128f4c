"""What every reader is held to: the walk through the analytic room comes back as it was written."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from functools import partial
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from hatch_data.errors import HatchError
from hatch_data.geometry import Array, Camera
from hatch_data.scene import DepthImage, DepthSensor, Frame, Scene
from tests.layouts import room
from tests.scans.reading import maps_differ

#: Frames of the walk that see much of the same.
NEIGHBOURS = ((1, 2), (4, 3))
MOST_MAP_ERROR = 0.02


def reads_back(
    scene: Scene,
    writer: ModuleType,
    poses: dict[int, Array],
    camera: Callable[[int], Camera] | None = None,
    pose_tolerance: float = 1e-6,
    depth_tolerance_m: float | None = None,
) -> None:
    """Ids, poses, cameras, colour and depth of all frames are those of `poses`, and frames pickle.

    `camera` gives the one camera of each frame where the writer's `COLOR` and `DEPTH` do not hold for all.
    """
    assert (scene.layout, scene.dropped) == (writer.LAYOUT, {})
    assert [frame.id for frame in scene.frames] == [writer.frame_id(n) for n in poses]
    expected = writer.world(poses)
    for (n, pose), frame in zip(poses.items(), scene.frames, strict=True):
        color_camera, depth_camera = (camera(n), camera(n)) if camera else (writer.COLOR, writer.DEPTH)
        assert np.abs(frame.world_from_camera - expected[n]).max() < pose_tolerance
        same_camera(frame.camera, color_camera)
        same_camera(frame.sensor.camera, depth_camera)
        assert np.abs(frame.sensor.color_from_depth - writer.COLOR_FROM_DEPTH).max() < 1e-6
        frame = pickle.loads(pickle.dumps(frame))
        color = np.asarray(Image.open(io.BytesIO(frame.read_color())))
        assert np.abs(color.astype(int) - room.render(color_camera, pose)[0]).mean() < 3
        truth = room.render(depth_camera, pose @ writer.COLOR_FROM_DEPTH)[1]
        depth = frame.depth().metres
        if depth_tolerance_m is None:
            assert np.array_equal(depth == 0, truth == 0)
            assert np.abs(depth - truth).max() <= writer.METRES_PER_UNIT / 2 + 1e-6
        else:
            both = (depth > 0) & (truth > 0)
            assert both.mean() > 0.99
            assert np.quantile(np.abs(depth - truth)[both], 0.99) < depth_tolerance_m


def same_camera(camera: Camera, expected: Camera) -> None:
    """To the last digits, which a change of axes may touch."""
    assert (camera.width, camera.height) == (expected.width, expected.height)
    assert np.abs(camera.matrix - expected.matrix).max() < 1e-9


def maps_agree(
    scene: Scene, writer: ModuleType, poses: dict[int, Array], camera: Callable[[int], Camera] | None = None
) -> None:
    """Maps between neighbouring frames are those of the room itself, seen without any file in between."""
    for source, target in NEIGHBOURS:
        direct = [_direct(n, writer, poses[n], camera) for n in (source, target)]
        read = [scene.frames[list(poses).index(n)] for n in (source, target)]
        assert maps_differ(*read, *direct) <= MOST_MAP_ERROR


def _direct(n: int, writer: ModuleType, pose: Array, camera: Callable[[int], Camera] | None) -> Frame:
    color_camera, depth_camera = (camera(n), camera(n)) if camera else (writer.COLOR, writer.DEPTH)
    depth = room.render(depth_camera, pose @ writer.COLOR_FROM_DEPTH)[1].astype(np.float32)
    sensor = DepthSensor(depth_camera, writer.COLOR_FROM_DEPTH)
    return Frame(str(n), pose, color_camera, bytes, sensor, partial(DepthImage, depth))


def one_line(error: pytest.ExceptionInfo[HatchError], *parts: object) -> None:
    """The error is one line that says all of `parts`."""
    told = str(error.value)
    assert "\n" not in told
    for part in parts:
        assert str(part) in told
