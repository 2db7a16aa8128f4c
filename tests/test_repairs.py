"""Repairs: each undoes what it is for, frames stay lazy and pickle, and what does not fit a scan is told."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from hatch_data.errors import ScanError, SettingsError
from hatch_data.geometry import Array, Camera, inverse, rigid, rotation_from_heading_pitch_roll, transform
from hatch_data.recipe import DataRecipe, ScanSettings
from hatch_data.repairs import planar_from_ray, repair, shifted_poses, turned_from_camera
from hatch_data.scans.upright import turned
from hatch_data.scene import DepthImage, DepthSensor, Frame, Scene
from hatch_data.settings import load
from tests.layouts import room

CAMERA = Camera(64, 48, 50.0, 52.0, 30.0, 25.0)


def color(pose: Array) -> bytes:
    return room.png(room.render(CAMERA, pose)[0])


def depth(pose: Array) -> DepthImage:
    return DepthImage(room.render(CAMERA, pose)[1].astype(np.float32))


@pytest.fixture
def scene() -> Scene:
    frames = [
        Frame(f"{n:03d}", pose, CAMERA, partial(color, pose), DepthSensor(CAMERA), partial(depth, pose), 0.1 * n)
        for n, pose in room.walk(8).items()
    ]
    return Scene("room", "test", "room", frames, room.UP, "layout")


def with_settings(scene: Scene, **settings: object) -> Scene:
    return repair(scene, ScanSettings.model_validate(settings))


def off_the_walls(frame: Frame) -> float:
    """How far the surface of a frame lies from the room's walls at most, in metres."""
    depth_m = frame.depth().metres.astype(float)
    world_from_depth = frame.world_from_camera @ frame.sensor.color_from_depth
    return float(room.distance_to_surface(room.lifted(frame.sensor.camera, world_from_depth, depth_m)).max())


def test_no_repairs_leave_the_scene_itself(scene):
    assert repair(scene, ScanSettings(check=False, longest_gap=3)) is scene


@pytest.mark.parametrize(
    "settings",
    [
        {"pose": "camera_from_world"},
        {"camera_axes": "opengl"},
        {"rotate": 90},
        {"rotate": 180},
        {"pose": "camera_from_world", "camera_axes": "opengl"},
    ],
)
def test_poses_and_turns_that_are_wrong_are_put_right(scene, settings):
    """Where the scan was sound, the repair spoils it; where the same was wrong, it puts it right."""
    assert max(off_the_walls(frame) for frame in scene.frames) < 1e-5
    spoilt = with_settings(scene, **settings)
    assert max(off_the_walls(frame) for frame in spoilt.frames) > 0.3
    undone = dict(settings)
    if "rotate" in settings:
        undone["rotate"] = 360 - settings["rotate"]
    if len(settings) == 2:  # inverting after turning the axes turns the world's axes instead: one after the other
        repaired = with_settings(with_settings(spoilt, camera_axes="opengl"), pose="camera_from_world")
    else:
        repaired = with_settings(spoilt, **undone)
    for frame, original in zip(repaired.frames, scene.frames, strict=True):
        np.testing.assert_allclose(frame.world_from_camera, original.world_from_camera, atol=1e-12)
        assert frame.camera == original.camera
        assert off_the_walls(frame) < 1e-5


def test_intrinsics_of_another_size(scene):
    small = CAMERA.resized(32, 24)
    wrong = replace(scene, frames=[replace(f, camera=replace(small, width=64, height=48)) for f in scene.frames])
    camera = with_settings(wrong, intrinsics_scale=2).frames[0].camera
    np.testing.assert_allclose(camera.matrix, CAMERA.matrix, atol=1e-12)


def test_ray_distance_and_scale(scene):
    planar = scene.frames[0].depth().metres
    along = replace(scene.frames[0], read_depth=lambda: DepthImage(planar / planar_from_ray(CAMERA) / 3))
    repaired = with_settings(replace(scene, frames=[along]), depth_is="ray", depth_scale=3.0)
    np.testing.assert_allclose(repaired.frames[0].depth().metres, planar, rtol=1e-6)


def test_turned_images_show_the_same_world(scene):
    """A pixel of the turned image is the ray that the turn of the camera's axes says."""
    frame = scene.frames[2]
    quarter = with_settings(replace(scene, frames=[frame]), rotate=90).frames[0]
    before = np.asarray(Image.open(io.BytesIO(frame.read_color())))
    after = np.asarray(Image.open(io.BytesIO(quarter.read_color())))
    assert after.shape[:2] == (64, 48)
    assert np.abs(after.astype(int) - np.rot90(before, -1)).mean() < 3
    pixel = np.array([20.0, 10.0])
    ray = transform(turned_from_camera(1), frame.camera.unproject(pixel, np.array(1.0)))
    np.testing.assert_allclose(quarter.camera.project(ray)[0], [48 - 1 - 10, 20], atol=1e-9)
    # Turned upright, pose and image turn together; here the pose stays.
    np.testing.assert_allclose(turned(frame, 1).world_from_camera @ turned_from_camera(1), frame.world_from_camera)


def test_color_moves_alone(scene):
    frame = with_settings(scene, color_zoom=1.1, color_shift_px=(3, -2)).frames[0]
    assert (frame.camera.fx, frame.camera.cx, frame.camera.cy) == (CAMERA.fx * 1.1, CAMERA.cx + 3, CAMERA.cy - 2)
    assert frame.sensor.camera == CAMERA


def test_poses_of_other_frames(scene):
    repaired = with_settings(scene, pose_shift=-2)
    assert repaired.dropped == {"no_pose_at_shift": ["000", "001"]}
    for frame, original in zip(repaired.frames, scene.frames, strict=False):
        np.testing.assert_array_equal(frame.world_from_camera, original.world_from_camera)


def test_poses_of_other_times_are_interpolated_between_frames(scene):
    steady = []
    for n, frame in enumerate(scene.frames):
        pose = rigid(rotation_from_heading_pitch_roll(20 * n, 0, 0, room.UP), (0.5 * n, 0, 1))
        steady.append(replace(frame, world_from_camera=pose))
    steady_scene = replace(scene, frames=steady)
    poses = shifted_poses(steady_scene, 0, 0.05)
    assert poses[-1] is None
    np.testing.assert_allclose(poses[2][:3, 3], (1.25, 0, 1))
    np.testing.assert_allclose(poses[2][:3, :3], rotation_from_heading_pitch_roll(50, 0, 0, room.UP), atol=1e-9)
    known = replace(steady_scene, pose_at=lambda stamp: None if stamp > 0.5 else np.diag([1.0, 1, 1, 1]))
    assert [pose is None for pose in shifted_poses(known, 0, 0.01)] == [False] * 5 + [True] * 3


def test_stamps_are_needed_for_a_shift_in_time(scene):
    bare = replace(scene, frames=[replace(frame, timestamp_s=None) for frame in scene.frames])
    with pytest.raises(ScanError, match="no stamps"):
        with_settings(bare, time_shift_s=0.1)


def test_frames_are_skipped_by_id_and_by_range(scene):
    repaired = with_settings(scene, skip=["001", "003..005"])
    assert [frame.id for frame in repaired.frames] == ["000", "002", "006", "007"]
    assert repaired.dropped == {"skipped": ["001", "003", "004", "005"]}
    assert scene.dropped == {}


def test_unknown_and_too_many_frames_to_skip_are_told(scene):
    with pytest.raises(ScanError, match=r"room: scan\.skip names 009"):
        with_settings(scene, skip=["009"])
    with pytest.raises(ScanError, match="no frame is left"):
        with_settings(scene, skip=["000..007"])
    gone = replace(scene, dropped={"lost_pose": ["009"]})
    assert len(with_settings(gone, skip=["009"]).frames) == 8


def test_estimated_gravity_follows_the_poses(scene):
    estimated = replace(scene, up_source="estimated")
    spoilt = with_settings(estimated, camera_axes="opengl")
    assert spoilt.up @ room.UP < 0.9
    assert with_settings(spoilt, camera_axes="opengl").up @ room.UP > 0.999
    assert with_settings(scene, camera_axes="opengl").up is scene.up


def test_repaired_frames_pickle(scene):
    repaired = with_settings(scene, rotate=90, depth_is="ray", depth_scale=2.0)
    copy = pickle.loads(pickle.dumps(repaired.frames[1]))
    np.testing.assert_array_equal(copy.depth().values, repaired.frames[1].depth().values)
    assert copy.read_color() == repaired.frames[1].read_color()


def test_one_scan_of_many_has_repairs_of_its_own():
    recipe = load(DataRecipe, None, ("scan.depth_scale=2", "scans.odd.pose=camera_from_world"))
    assert recipe.of_scan("even").depth_scale == 2
    assert recipe.of_scan("odd") == ScanSettings(pose="camera_from_world")
    with pytest.raises(SettingsError, match="did you mean 'rotate'"):
        load(DataRecipe, None, ("scan.rotat=90",))


def test_the_inverse_of_a_stack_of_poses_is_that_of_each(scene):
    inverted = with_settings(scene, pose="camera_from_world")
    for frame, original in zip(inverted.frames, scene.frames, strict=True):
        np.testing.assert_allclose(frame.world_from_camera, inverse(original.world_from_camera), atol=1e-12)
