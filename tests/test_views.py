"""Depth edges, and depth carried from a depth camera onto the raster of its colour image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hatch_data.geometry import Array, Camera, inverse, rotation_from_heading_pitch_roll, transform
from hatch_data.scene import DepthImage, DepthSensor, DepthTolerance, Frame
from hatch_data.views import RASTER_PX_PER_PATCH, View, ViewStore, limits, mark_edges, prepare

COLOR = Camera(320, 240, 270.0, 268.0, 161.0, 118.5)
DEPTH = Camera(256, 212, 200.0, 201.0, 126.0, 107.0)
TOLERANCE = DepthTolerance()
BOUNDS = limits(TOLERANCE)
UP = np.array([0.0, -1.0, 0.0])
#: Depth camera 4 cm beside the colour camera, turned by a few degrees.
COLOR_FROM_DEPTH = np.eye(4)
COLOR_FROM_DEPTH[:3, :3] = rotation_from_heading_pitch_roll(0, 0, 0, UP).T @ rotation_from_heading_pitch_roll(
    2, -1.5, 3, UP
)
COLOR_FROM_DEPTH[:3, 3] = -0.04, 0.01, 0.005


def rays(camera: Camera) -> Array:
    """(height, width, 3) rays of depth 1."""
    v, u = np.mgrid[: camera.height, : camera.width]
    return camera.unproject(np.stack([u, v], axis=-1), np.ones(u.shape))


def plane_depth(camera: Camera, normal: Array, distance: float) -> Array:
    """Planar depth (height, width) of the plane normal @ p = distance."""
    return distance / (rays(camera) @ normal)


def in_frame(normal: Array, distance: float, a_from_b: Array) -> tuple[Array, float]:
    """A plane of frame a, in frame b."""
    return a_from_b[:3, :3].T @ normal, distance - float(normal @ a_from_b[:3, 3])


def view(values: np.ndarray, metres_per_unit: float, depth: Camera, color_from_depth: Array, color: Camera) -> View:
    image = DepthImage(values, metres_per_unit)
    return prepare(Frame("one", np.eye(4), color, bytes, DepthSensor(depth, color_from_depth), lambda: image))


# --- Edges -----------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.floats(-1.4, 1.4), st.floats(-1.4, 1.4), st.floats(0.4, 8))
def test_a_plane_of_any_slant_has_no_edges(slant_x, slant_y, distance):
    camera = Camera(80, 60, 70.0, 70.0, 39.5, 29.5)
    with np.errstate(divide="ignore"):
        depth = plane_depth(camera, np.array([np.tan(slant_x), np.tan(slant_y), 1.0]), distance)
    raw = np.rint(np.where((depth > 0.1) & (depth < 30), depth, 0) * 1000).astype(np.int16)
    marked = mark_edges(raw, np.float32(0.001), BOUNDS)
    # Where a plane leaves the image or the range of the sensor there is but one neighbour to compare with.
    whole = np.pad(raw > 0, 1)
    inner = whole[:-2, 1:-1] & whole[2:, 1:-1] & whole[1:-1, :-2] & whole[1:-1, 2:]
    assert (marked[inner] >= 0).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_step_has_an_edge_on_both_of_its_sides(axis):
    raw = np.full((20, 20), 1000, np.int16)
    raw[10:] = 1300
    raw = raw if axis == 0 else raw.T
    marked = mark_edges(raw, np.float32(0.001), BOUNDS)
    edges = marked < 0 if axis == 0 else marked.T < 0
    assert edges[9:11].all()
    assert not np.delete(edges, [9, 10], axis=0).any()
    assert np.array_equal(np.abs(marked), raw)


def test_a_step_beside_a_hole_is_an_edge():
    raw = np.array([[0, 1000, 1400, 0, 0, 1400, 1400, 0]], np.int16)
    assert np.array_equal(mark_edges(raw, np.float32(0.001), BOUNDS)[0] < 0, [0, 1, 1, 0, 0, 0, 0, 0])


def test_a_crease_has_no_edge():
    _, x = np.mgrid[:30, :60]
    raw = np.rint(2000 + 15 * np.abs(x - 30)).astype(np.int16)
    assert (mark_edges(raw, np.float32(0.001), BOUNDS) > 0).all()


def test_noise_within_the_tolerance_makes_no_edges():
    rng = np.random.default_rng(0)
    depth = plane_depth(COLOR, np.array([0.3, 0.2, 1.0]), 2.0)
    depth += rng.uniform(-0.45, 0.45, depth.shape) * TOLERANCE.at(depth)
    raw = np.rint(depth * 1000).astype(np.int16)
    assert (mark_edges(raw, np.float32(0.001), BOUNDS) > 0).all()


# --- Registration ----------------------------------------------------------------------------------------------------


def test_registered_depth_is_taken_pixel_for_pixel():
    raw = np.rint(plane_depth(COLOR, np.array([0.1, 0.2, 1.0]), 2.0) * 1000).astype(np.uint16)
    got = view(raw, 0.001, COLOR, np.eye(4), COLOR)
    assert np.array_equal(got.raster, raw)
    assert got.camera == COLOR
    assert got.valid_share == 1.0


PLANES = [(0.0, 0.0, 1.0), (0.5, -0.3, 1.0), (-0.4, 0.3, 1.0)]
STORED = {
    "uint16 millimetres": (np.uint16, 0.001),
    "uint16 beyond 32767": (np.uint16, 1 / 5000),
    "float metres": (np.float32, 1.0),
}


@pytest.mark.parametrize("normal", PLANES)
@pytest.mark.parametrize("stored", STORED)
def test_a_plane_is_carried_to_its_analytic_depth(normal, stored):
    kind, unit = STORED[stored]
    plane = np.array(normal), 7.0
    depth = plane_depth(DEPTH, *in_frame(*plane, COLOR_FROM_DEPTH)) / unit
    values = depth.astype(kind) if kind is np.float32 else np.rint(depth).astype(kind)
    if "beyond" in stored:
        assert values.max() > 32767
    got = view(values, unit, DEPTH, COLOR_FROM_DEPTH, COLOR)
    expected = plane_depth(got.camera, *plane)
    measured = got.raster != 0
    error = np.abs(got.raster * got.metres_per_unit - expected)[measured]
    # Half a unit each from storing the depth, from bringing it into the range of int16, and from storing the raster.
    assert error.max() < 1.1 * got.metres_per_unit + (unit / 2 if kind is np.uint16 else 0.0)
    pixels, _ = DEPTH.project(transform(inverse(COLOR_FROM_DEPTH), rays(got.camera) * expected[..., None]))
    margin = np.minimum(pixels, (DEPTH.width - 1, DEPTH.height - 1) - pixels).min(axis=-1)
    assert measured[margin > 0.05].all()
    assert not measured[margin < -0.05].any()
    assert measured.mean() > 0.5
    assert (got.raster[margin > 2] > 0).all()


def test_no_surface_is_made_between_two_planes():
    left = rays(DEPTH)[..., 0] < 0.05
    near, far = (np.array([0.0, 0.0, 1.0]), 1.0), (np.array([0.2, 0.1, 1.0]), 2.0)
    depth = np.where(left, plane_depth(DEPTH, *near), plane_depth(DEPTH, *far))
    got = view(np.rint(depth * 1000).astype(np.uint16), 0.001, DEPTH, COLOR_FROM_DEPTH, COLOR)
    depth_from_color = inverse(COLOR_FROM_DEPTH)
    candidates = np.stack([plane_depth(got.camera, *in_frame(*plane, depth_from_color)) for plane in (near, far)])
    off = np.abs(np.abs(got.raster) * got.metres_per_unit - candidates)
    measured = got.raster != 0
    assert off.min(axis=0)[measured].max() < 0.0012
    for of_one in off.argmin(axis=0) == np.array([0, 1])[:, None, None]:
        assert (measured & of_one).mean() > 0.2
    # Where the two surfaces meet in the image, or gape, what is next to the break is an edge.
    side = np.where(measured, off.argmin(axis=0), -1)
    meet = (side[:, :-1] >= 0) & (side[:, 1:] >= 0) & (side[:, :-1] != side[:, 1:])
    assert (got.raster[:, :-1][meet] < 0).all()
    assert (got.raster[:, 1:][meet] < 0).all()


def test_the_nearer_of_two_surfaces_hides_the_other():
    box = np.zeros((DEPTH.height, DEPTH.width), bool)
    box[60:150, 80:170] = True
    offset = np.eye(4)
    offset[0, 3] = 0.1
    got = view(np.where(box, 800, 3000).astype(np.uint16), 0.001, DEPTH, offset, COLOR)
    corner = DEPTH.unproject(np.array([[80, 60], [169, 149]]), np.array([0.8, 0.8])) + offset[:3, 3]
    corners, _ = got.camera.project(corner)
    (left, top), (right, bottom) = np.ceil(corners[0]).astype(int), np.floor(corners[1]).astype(int)
    assert (np.abs(got.raster[top : bottom + 1, left : right + 1]) == 800).all()


def test_coarse_depth_is_refined_to_the_pixels_that_patches_need():
    coarse = Camera(64, 48, 54.0, 54.0, 31.5, 23.5)
    color = coarse.resized(1920, 1440)
    plane = np.array([0.3, 0.1, 1.0]), 2.0
    raw = np.rint(plane_depth(coarse, *plane) * 1000).astype(np.uint16)
    got = view(raw, 0.001, coarse, np.eye(4), color)
    assert got.camera.width == round(1920 * RASTER_PX_PER_PATCH / 28)
    measured = got.raster != 0
    assert np.abs(got.raster * 0.001 - plane_depth(got.camera, *plane))[measured].max() < 0.0012
    assert measured.mean() > 0.9


def test_an_image_without_depth_gives_an_empty_raster():
    got = view(np.zeros((DEPTH.height, DEPTH.width), np.float32), 1.0, DEPTH, COLOR_FROM_DEPTH, COLOR)
    assert not got.raster.any()
    assert got.valid_share == 0.0


# --- Keeping views ---------------------------------------------------------------------------------------------------


def test_views_beyond_the_memory_allowed_come_back_from_the_file_they_were_spilled_to():
    rng = np.random.default_rng(0)
    rasters = [rng.integers(-32768, 32767, (12, 16 + k)).astype(np.int16) for k in range(5)]
    store = ViewStore(memory_bytes=2 * rasters[1].nbytes)
    for k, raster in enumerate(rasters):
        store.append(View(raster, 0.001 * (k + 1), COLOR, np.eye(4) * k, TOLERANCE))
    assert len(store) == 5
    for k in (4, 0, 2, 3, 1, 2):
        assert np.array_equal(store[k].raster, rasters[k])
        assert store[k].metres_per_unit == 0.001 * (k + 1)
