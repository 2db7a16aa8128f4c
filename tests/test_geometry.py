"""Algebra of rigid transforms, pinhole cameras and the gravity-levelled angles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_data.geometry import (
    Camera,
    heading_pitch_roll,
    horizontal_axes,
    inverse,
    is_rigid,
    nearest_rigid,
    rigid,
    rotation_from_heading_pitch_roll,
    transform,
    unit,
)

seeds = st.integers(0, 2**32 - 1)
CAMERA = Camera(640, 480, 525.0, 520.0, 319.5, 239.5)


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else q[:, [1, 0, 2]]


def random_pose(rng: np.random.Generator) -> np.ndarray:
    return rigid(random_rotation(rng), rng.uniform(-20, 20, 3))


def random_up(rng: np.random.Generator) -> np.ndarray:
    return unit(rng.normal(size=3))


@given(seeds)
def test_inverse_and_composition(seed: int):
    rng = np.random.default_rng(seed)
    a_from_b, b_from_c = random_pose(rng), random_pose(rng)
    np.testing.assert_allclose(inverse(a_from_b) @ a_from_b, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(inverse(inverse(a_from_b)), a_from_b, atol=1e-12)
    np.testing.assert_allclose(inverse(a_from_b @ b_from_c), inverse(b_from_c) @ inverse(a_from_b), atol=1e-11)
    points = rng.normal(size=(2, 5, 3))
    np.testing.assert_allclose(
        transform(a_from_b @ b_from_c, points), transform(a_from_b, transform(b_from_c, points)), atol=1e-11
    )


@given(seeds)
def test_unproject_then_project_is_the_same_pixel(seed: int):
    rng = np.random.default_rng(seed)
    pixels, depth = rng.uniform(-0.5, 639.5, (4, 7, 2)), rng.uniform(0.1, 20, (4, 7))
    again, z = CAMERA.project(CAMERA.unproject(pixels, depth))
    np.testing.assert_allclose(again, pixels, atol=1e-9)
    np.testing.assert_allclose(z, depth)


def test_projection_agrees_with_the_intrinsic_matrix():
    point = np.array([0.3, -0.2, 2.0])
    u, v, w = CAMERA.matrix @ point
    pixel, depth = CAMERA.project(point)
    np.testing.assert_allclose(pixel, [u / w, v / w])
    assert depth == 2.0


def test_depth_tells_what_lies_behind_the_camera():
    assert CAMERA.project(np.array([0.1, 0.1, -1.0]))[1] < 0


@given(seeds, st.integers(1, 2000), st.integers(1, 2000))
def test_a_resized_camera_sees_a_point_at_the_resampled_pixel(seed: int, width: int, height: int):
    point = np.random.default_rng(seed).uniform([-2, -2, 0.5], [2, 2, 10])
    pixel, _ = CAMERA.project(point)
    resized, _ = CAMERA.resized(width, height).project(point)
    scale = np.array([width / 640, height / 480])
    np.testing.assert_allclose(resized, (pixel + 0.5) * scale - 0.5, rtol=1e-9, atol=1e-6)


def test_resizing_holds_the_edges_in_place():
    small = CAMERA.resized(320, 120)
    for edge, there in (((-0.5, -0.5), (-0.5, -0.5)), ((639.5, 479.5), (319.5, 119.5))):
        point = CAMERA.unproject(np.array(edge), np.array(3.0))
        np.testing.assert_allclose(small.project(point)[0], there, atol=1e-9)
    assert (small.width, small.height) == (320, 120)


def test_a_resized_camera_fits_an_image_averaged_over_blocks():
    """The mean column of each block of 4 pixels is where the smaller camera says that the block's pixel looks."""
    columns = np.arange(640.0).reshape(160, 4).mean(axis=1)
    small = CAMERA.resized(160, 120)
    rays = small.unproject(np.stack([np.arange(160.0), np.zeros(160)], axis=-1), np.ones(160))
    np.testing.assert_allclose(CAMERA.project(rays)[0][:, 0], columns, atol=1e-9)


@given(st.floats(-179.9, 180), st.floats(-89.9, 89.9), st.floats(-179.9, 180), seeds)
def test_heading_pitch_roll_reads_back(heading: float, pitch: float, roll: float, seed: int):
    up = random_up(np.random.default_rng(seed))
    pose = rigid(rotation_from_heading_pitch_roll(heading, pitch, roll, up), np.zeros(3))
    assert is_rigid(pose, 1e-12)
    angles = np.array(heading_pitch_roll(pose, up)) - (heading, pitch, roll)
    np.testing.assert_allclose((angles + 180) % 360 - 180, 0, atol=1e-7)


@given(seeds)
def test_any_rotation_is_rebuilt_from_its_angles(seed: int):
    rng = np.random.default_rng(seed)
    pose, up = random_pose(rng), random_up(rng)
    rebuilt = rotation_from_heading_pitch_roll(*heading_pitch_roll(pose, up), up)
    np.testing.assert_allclose(rebuilt, pose[:3, :3], atol=1e-9)


@pytest.mark.parametrize("pitch", [90.0, -90.0])
@given(heading=st.floats(-179, 180), seed=seeds)
def test_an_axis_along_up_has_the_heading_of_a_level_head(pitch: float, heading: float, seed: int):
    up = random_up(np.random.default_rng(seed))
    pose = rigid(rotation_from_heading_pitch_roll(heading, pitch, 0, up), np.zeros(3))
    found = np.array(heading_pitch_roll(pose, up))
    np.testing.assert_allclose(found, (heading, pitch, 0), atol=1e-6)


@given(seeds)
def test_horizontal_axes_are_right_handed_about_up(seed: int):
    up = random_up(np.random.default_rng(seed))
    e1, e2 = horizontal_axes(3 * up)
    np.testing.assert_allclose(np.cross(e1, e2), up, atol=1e-12)
    assert abs(e1 @ up) < 1e-12


@given(seeds)
def test_nearest_rigid_repairs_rounding_and_leaves_rigid_alone(seed: int):
    rng = np.random.default_rng(seed)
    pose = random_pose(rng)
    assert is_rigid(pose)
    np.testing.assert_allclose(nearest_rigid(pose), pose, atol=1e-12)
    noisy = pose.copy()
    noisy[:3, :3] += rng.uniform(-1e-3, 1e-3, (3, 3))
    repaired = nearest_rigid(noisy)
    assert is_rigid(repaired, 1e-12)
    np.testing.assert_allclose(repaired, pose, atol=5e-3)
    other = repaired @ rigid(random_rotation(rng), np.zeros(3))
    distance = np.linalg.norm(repaired[:3, :3] - noisy[:3, :3])
    assert distance <= np.linalg.norm(other[:3, :3] - noisy[:3, :3]) + 1e-12


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m[:3],
        lambda m: m * 0,
        lambda m: m * -np.inf,
        lambda m: m * np.diag([1.0, 1.0, np.nan, 1.0]),
        lambda m: m @ np.diag([2.0, 2.0, 2.0, 1.0]),
        lambda m: m @ np.diag([1.0, 1.0, -1.0, 1.0]),
        lambda m: m + np.eye(4)[[3]].T @ np.array([[0.1, 0, 0, 0]]),
    ],
    ids=["3x4", "zeros", "inf", "nan", "scaled", "mirrored", "bottom row"],
)
def test_what_is_not_rigid(spoil):
    with np.errstate(invalid="ignore"):
        spoilt = spoil(random_pose(np.random.default_rng(1)))
    assert not is_rigid(spoilt)
