"""Lenses and quarter turns: what becomes of images, intrinsics, poses and depth."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Camera, rotation_from_heading_pitch_roll
from hatch_data.scans import files
from hatch_data.scans.lens import Lens, straightened, straightened_raster
from hatch_data.scans.recoded import Recoded, pixels_of
from hatch_data.scans.upright import quarter_turns, turned, upright
from hatch_data.scene import DepthImage, DepthSensor, Frame
from tests.layouts import room
from tests.layouts.bent import Bent

CAMERA = Camera(320, 240, 230.0, 231.0, 162.0, 118.5)
OPENCV = Lens(CAMERA, "OPENCV", (-0.12, 0.03, 0.001, -0.002))
FISHEYE = Lens(Camera(320, 214, 144.0, 144.5, 160.5, 107.0), "OPENCV_FISHEYE", (0.04, 0.005, -0.002, 0.0003))
POSE = room.walk(3)[1]
LENSES = pytest.mark.parametrize("lens", [OPENCV, FISHEYE], ids=lambda lens: lens.model)


@LENSES
def test_straightened_images_are_the_pinhole_cameras(lens: Lens) -> None:
    stored, depth = room.render(Bent(lens), POSE)
    color, truth = room.render(lens.pinhole, POSE)
    assert np.abs(straightened(lens, lambda: stored).astype(int) - color).mean() < 1.0
    got = straightened_raster(lens, depth)
    known = (got > 0) & (truth > 0)
    assert known.mean() > 0.99
    # The nearest stored pixel is taken: off by half a pixel's worth of a slanted wall, by nothing on average.
    assert np.abs(got - truth)[known].max() < 0.12
    assert abs(float((got - truth)[known].mean())) < 2e-3


@LENSES
def test_the_pinhole_camera_sees_no_pixel_that_was_not_taken(lens: Lens) -> None:
    camera = lens.pinhole
    assert (camera.width, camera.height) == lens.size
    assert camera.fx == camera.fy
    v, u = np.mgrid[: camera.height, : camera.width].astype(float)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy], axis=-1)
    x, y = lens.project(rays.reshape(-1, 2)).T
    assert x.min() >= -0.75 and x.max() <= camera.width - 0.25
    assert y.min() >= -0.75 and y.max() <= camera.height - 0.25
    # And no wider one does: two opposite sides of the stored image are reached.
    assert min(x.min() + 0.5, camera.width - 0.5 - x.max()) < 1 or min(y.min() + 0.5, camera.height - 0.5 - y.max()) < 1


@LENSES
def test_a_resized_lens_bends_the_same_rays(lens: Lens) -> None:
    small = lens.resized(lens.camera.width // 2, lens.camera.height // 2)
    pixels = np.array([[10.0, 20.0], [100.0, 50.0]])
    assert np.allclose(small.rays(pixels), lens.rays(2 * pixels + 0.5), atol=1e-9)
    assert np.allclose(lens.project(lens.rays(pixels)), pixels, atol=1e-6)


def test_a_lens_without_distortion_is_left_alone() -> None:
    for lens in (Lens(CAMERA), Lens(CAMERA, "OPENCV", (0.0, 0.0, 0.0, 0.0))):
        assert lens.straight
        assert lens.pinhole == CAMERA
    assert not Lens(CAMERA, "OPENCV_FISHEYE", (0.0, 0.0, 0.0, 0.0)).straight


def test_a_panorama_is_refused() -> None:
    import pycolmap

    with pytest.raises(ScanError, match="EQUIRECTANGULAR"):
        Lens.from_colmap(pycolmap.Camera.create_from_model_name(1, "EQUIRECTANGULAR", 100.0, 200, 100))


def test_a_missing_library_is_told() -> None:
    with pytest.raises(ScanError, match=r"pip install 'hatch-spatial\[scans\]'"):
        files.needs("no_such_library")


def make_frame(pose: np.ndarray, camera: Camera = CAMERA) -> Frame:
    color_from_depth = np.eye(4)
    color_from_depth[:3, :3] = rotation_from_heading_pitch_roll(2, 1, 0.5, room.UP)
    color_from_depth[:3, 3] = 0.03, -0.01, 0.02
    sensor = camera.resized(160, 120)
    color = room.jpeg(room.render(camera, pose)[0])
    depth = DepthImage(room.render(sensor, pose @ color_from_depth)[1].astype(np.float32))
    return Frame("a", pose, camera, partial(_same, color), DepthSensor(sensor, color_from_depth), partial(_same, depth))


def _same(what):
    return what


@pytest.mark.parametrize("quarters", [1, 2, 3, 5, -1])
def test_a_turned_frame_shows_the_same_room(quarters: int) -> None:
    frame = pickle.loads(pickle.dumps(turned(make_frame(POSE), quarters)))
    truth = room.render(frame.camera, frame.world_from_camera)[0]
    color = np.asarray(Image.open(io.BytesIO(frame.read_color())))
    assert color.shape == truth.shape and np.abs(color.astype(int) - truth).mean() < 2
    sensor = frame.sensor
    world = room.lifted(sensor.camera, frame.world_from_camera @ sensor.color_from_depth, frame.depth().metres)
    assert len(world) == 160 * 120 - 36 and room.distance_to_surface(world).max() < 1e-5


@given(st.integers(0, 3), st.floats(-180, 180), st.floats(-50, 50), st.floats(-40, 40))
@settings(max_examples=60, deadline=None)
def test_turning_upright_leaves_a_small_roll(quarters: int, heading: float, pitch: float, roll: float) -> None:
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_heading_pitch_roll(heading, pitch, roll + 90 * quarters, room.UP)
    frame = Frame("a", pose, CAMERA, lambda: b"", DepthSensor(CAMERA), None)
    (stood,) = upright([frame], room.UP)
    up = stood.world_from_camera[:3, :3].T @ room.UP
    assert -up[1] >= abs(up[0]) - 1e-9
    assert stood.read_depth is None
    assert np.allclose(stood.world_from_camera[:3, 3], pose[:3, 3])
    assert np.allclose(stood.world_from_camera[:3, 2], pose[:3, 2])
    assert (stood is frame) == (quarters % 4 == 0)


def test_one_turn_for_the_scan_but_for_frames_that_clearly_stand_otherwise() -> None:
    def frame(roll: float, pitch: float = 0.0) -> Frame:
        pose = np.eye(4)
        pose[:3, :3] = rotation_from_heading_pitch_roll(30, pitch, roll, room.UP)
        return Frame("a", pose, CAMERA, lambda: b"", DepthSensor(CAMERA), None)

    lying, tilted, level, down = frame(90), frame(90 + 50), frame(5), frame(0, pitch=-89)
    turns = quarter_turns([lying] * 5 + [tilted, level, down], room.UP)
    assert len(set(turns[:6])) == 1 and turns[0] in (1, 3)
    assert turns[6] == 0
    assert turns[7] == turns[0]


def test_straightened_and_turned_images_are_encoded_once() -> None:
    stored = room.render(Bent(OPENCV), POSE)[0]
    frame = make_frame(POSE)
    frame = Frame(
        "a", POSE, OPENCV.pinhole, Recoded(partial(straightened, OPENCV, partial(_same, stored))), frame.sensor, None
    )
    read = turned(frame, 1).read_color
    assert isinstance(read, Recoded)
    assert np.array_equal(read.pixels(), np.rot90(straightened(OPENCV, lambda: stored), -1))


def test_bytes_that_are_no_image_are_told() -> None:
    with pytest.raises(FrameError, match="does not decode") as error:
        pixels_of(lambda: b"\xff\xd8 no image \xff\xd9")()
    assert error.value.reason == "unreadable_color"


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e300])
def test_a_lens_that_leads_nowhere_is_none(number: float) -> None:
    assert OPENCV.sound and FISHEYE.sound and Lens(CAMERA).sound
    assert not Lens(CAMERA, "OPENCV", (number, 0.0, 0.0, 0.0)).sound
    for name in ("fx", "fy", "cx", "cy"):
        assert not Lens(replace(CAMERA, **{name: number}), "OPENCV", OPENCV.distortion).sound
    assert not Lens(replace(CAMERA, width=10**400)).sound
    # What no one asked about is refused before pixels that are nowhere are read.
    with pytest.raises(FrameError, match="leads nowhere"):
        straightened_raster(Lens(CAMERA, "OPENCV", (np.nan, 0.0, 0.0, 0.0)), np.zeros((240, 320), np.float32))
