"""The kernel against the plain reference on random views, and against the exact truth of synthetic scenes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hatch_data import correspondence_reference as reference
from hatch_data.correspondence import FLOW_GRID, cells, correspond, flow_field
from hatch_data.geometry import Array, Camera, rotation_from_heading_pitch_roll
from hatch_data.patches import PatchMap, Visibility, rebin, token_grid
from hatch_data.scans import synthetic
from hatch_data.scene import DepthImage, DepthSensor, DepthTolerance, Frame
from hatch_data.views import View, limits, mark_edges, prepare
from tests.truth import Truth, sample, truth

DOWN = np.array([0.0, -1.0, 0.0])


def random_depth(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """int16 millimetres: a slanted wavy wall, boxes in front of it, holes."""
    y, x = np.mgrid[:height, :width] / width
    slant = rng.uniform(-1.5, 1.5, 2)
    depth = rng.uniform(1.5, 5) + slant[0] * (x - 0.5) + slant[1] * (y - 0.4) + 0.1 * np.sin(rng.uniform(3, 12) * x)
    for _ in range(rng.integers(0, 6)):
        left, top = rng.uniform(0, 0.9, 2)
        inside = (x > left) & (x < left + rng.uniform(0.05, 0.4)) & (y > top) & (y < top + rng.uniform(0.05, 0.4))
        depth = np.where(inside, depth * rng.uniform(0.4, 0.99), depth)
    depth += rng.choice([0.0, 0.01]) * rng.normal(size=depth.shape)
    depth = np.where(rng.uniform(size=depth.shape) < rng.choice([0.0, 0.05]), 0, np.maximum(depth, 0.2))
    return np.rint(depth * 1000).astype(np.int16)


def random_view(rng: np.random.Generator) -> View:
    width, height = (int(n) for n in rng.integers(40, 200, 2))
    focal = rng.uniform(0.6, 1.2, 2) * width
    centre = rng.uniform(0.4, 0.6, 2) * (width, height)
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_heading_pitch_roll(*rng.normal(size=3) * (25, 15, 15), DOWN)
    pose[:3, 3] = rng.normal(size=3) * 0.4
    tolerance = DepthTolerance(rng.uniform(0.01, 0.06), rng.uniform(0, 0.03), rng.choice([0.0, 0.01]))
    marked = mark_edges(random_depth(rng, width, height), np.float32(0.001), limits(tolerance))
    return View(marked, 0.001, Camera(width, height, *focal, *centre), pose, tolerance)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_kernel_finds_what_the_reference_finds(seed):
    rng = np.random.default_rng(seed)
    source, target = random_view(rng), random_view(rng)
    size = FLOW_GRID if rng.uniform() < 0.3 else cells(source, int(rng.integers(1, 6)))
    found, expected = flow_field(source, target, size), reference.flow_field(source, target, size)
    # In float32 a position may round to the next step, and one within 1e-6 of a border fall on its other side.
    other = found.outcome != expected.outcome
    assert other.sum() <= 1 + 1e-5 * other.size
    assert np.abs(found.values.astype(int) - expected.values)[~other].max() <= 1


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_kernel_counts_what_the_reference_counts(seed):
    rng = np.random.default_rng(seed)
    source, target = random_view(rng), random_view(rng)
    source_grid, target_grid = ((int(rows), int(columns)) for rows, columns in rng.integers(1, 12, (2, 2)))
    field = flow_field(source, target, cells(source, int(rng.integers(1, 6))))
    found, expected = rebin(field, source_grid, target_grid), reference.rebin(field, source_grid, target_grid)
    assert found.source_grid == source_grid
    assert found.target_grid == target_grid
    # Shares of the samples that fall on the other side of a border in float32.
    differing = np.abs(found.over_all_pixels() - expected.over_all_pixels()).sum(axis=1)
    assert differing.mean() < 1e-3
    assert np.abs(found.valid - expected.valid).max() < 0.01
    assert (found.visibility != expected.visibility).sum() <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_edges_are_those_of_the_reference(seed):
    rng = np.random.default_rng(seed)
    raw = random_depth(rng, *(int(n) for n in rng.integers(3, 150, 2)))
    tolerance = DepthTolerance(rng.uniform(0.005, 0.06), rng.uniform(0, 0.03), rng.choice([0.0, 0.01]))
    found, expected = mark_edges(raw, np.float32(0.001), limits(tolerance)), reference.mark_edges(raw, 0.001, tolerance)
    assert np.array_equal(np.abs(found), raw)
    # Depths that differ by just two tolerances, in float32 and in float64.
    assert (found != expected).sum() <= 2


def test_a_view_corresponds_to_itself_patch_by_patch():
    view = random_view(np.random.default_rng(3))
    found = correspond(view, view, (4, 5), (4, 5), 1).map
    assert np.abs(found.dense() - np.diag(found.dense().diagonal())).max() < 0.01
    assert found.dense().diagonal()[found.valid > 0].min() > 0.99


def test_without_depth_nothing_is_found_and_the_codes_say_why():
    view = random_view(np.random.default_rng(4))
    empty = replace(view, raster=np.zeros_like(view.raster))
    nowhere = correspond(empty, view, (3, 3), (3, 3)).map
    unknown = correspond(view, empty, (3, 3), (3, 3)).map
    assert len(nowhere.weight) == len(unknown.weight) == 0
    assert (nowhere.visibility == Visibility.NO_DEPTH).all()
    assert (nowhere.valid == 0).all()
    assert (unknown.visibility == Visibility.NO_DEPTH).all()
    assert unknown.valid.mean() == pytest.approx((view.raster > 0).mean(), abs=0.05)


def test_what_lies_behind_the_other_camera_is_out_of_view():
    view = random_view(np.random.default_rng(5))
    turned = view.world_from_camera @ np.diag([-1.0, 1.0, -1.0, 1.0])
    away = correspond(view, replace(view, world_from_camera=turned), (3, 3), (3, 3)).map
    assert len(away.weight) == 0
    assert (away.visibility[away.valid > 0.5] == Visibility.OUT_OF_VIEW).all()


# --- Against the truth -----------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 640, 480
GRID = token_grid(HEIGHT, WIDTH)
#: (scene, frame, frame): an easy pair, and pairs in which half of the patches are occluded one way.
PAIRS = [(1, 7, 10), (0, 15, 9), (2, 33, 20), (3, 19, 11), (7, 21, 15)]


@dataclass(frozen=True)
class Case:
    """Two frames, one way, with exact depth (height, width) in metres and the truth."""

    source: Frame
    target: Frame
    truth: Truth


@dataclass(frozen=True)
class Score:
    """Mean absolute weight error over patch pairs of which either is not zero; shares of patches with the right code,
    and of truly occluded patches called visible."""

    weight_error: float
    codes_right: float
    occluded_called_visible: float
    patches: int
    occluded: int


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    made = []
    for index, first, second in PAIRS:
        scene = synthetic.make(index, frames=60, width=WIDTH, height=HEIGHT)
        frames = scene.scene().frames
        rng = np.random.default_rng(index)
        samples = {frame: sample(scene, frame, GRID, rng) for frame in (first, second)}
        for a, b in ((first, second), (second, first)):
            made.append(Case(frames[a], frames[b], truth(scene, samples[a], samples[b], GRID, GRID)))
    return made


def score(cases: list[Case], maps: list[PatchMap], everywhere: bool) -> Score:
    errors, right, wrongly_seen, occluded = [], [], 0, 0
    for case, found in zip(cases, maps, strict=True):
        keep = np.ones(len(found.valid), bool) if everywhere else ~case.truth.crossed
        weight, exact = found.dense()[keep], case.truth.weight[keep]
        errors.append(np.abs(weight - exact)[(weight > 0) | (exact > 0)])
        code, true = found.visibility[keep], case.truth.visibility[keep]
        right.append(code == true)
        occluded += int((true == Visibility.OCCLUDED).sum())
        wrongly_seen += int(((true == Visibility.OCCLUDED) & (code == Visibility.VISIBLE)).sum())
    codes = np.concatenate(right)
    return Score(float(np.concatenate(errors).mean()), codes.mean(), wrongly_seen / occluded, len(codes), occluded)


def found(cases: list[Case], stride_px: int | None, noise: np.random.Generator | None = None) -> list[PatchMap]:
    """The maps of all cases, from exact depth or from that of a noisy sensor."""
    views = {}
    for case in cases:
        for frame in (case.source, case.target):
            key = frame.world_from_camera.tobytes()
            if key not in views:
                views[key] = prepare(noisy(frame, noise) if noise else frame)
    pose = [(case.source.world_from_camera.tobytes(), case.target.world_from_camera.tobytes()) for case in cases]
    return [correspond(views[a], views[b], GRID, GRID, stride_px).map for a, b in pose]


#: Metres of noise at 1 m, growing with z^2 (1 cm at 2 m); the tolerance is three sigma of the difference of two
#: readings.
SIGMA_PER_M = 0.01 / 4
FITTING = DepthTolerance(quadratic_per_m=3 * 2**0.5 * SIGMA_PER_M)


def noisy(frame: Frame, rng: np.random.Generator) -> Frame:
    depth: Array = frame.read_depth().metres.astype(np.float64)
    depth += rng.normal(size=depth.shape) * SIGMA_PER_M * depth**2
    depth[rng.uniform(size=depth.shape) < 0.03] = 0
    values = np.rint(depth * 1000).astype(np.uint16)
    sensor = DepthSensor(frame.camera, tolerance=FITTING)
    return replace(frame, sensor=sensor, read_depth=lambda: DepthImage(values, 0.001))


def test_the_truth_is_exact_enough_to_judge_by(cases):
    scene = synthetic.make(PAIRS[0][0], frames=60, width=WIDTH, height=HEIGHT)
    rng = np.random.default_rng(99)
    source, target = (sample(scene, frame, GRID, rng) for frame in PAIRS[0][1:])
    again, once = truth(scene, source, target, GRID, GRID), cases[0].truth
    either = (again.weight > 0) | (once.weight > 0)
    # The difference of two independent estimates is larger than the error of one.
    assert np.abs(again.weight - once.weight)[either].mean() < 0.002
    assert (again.visibility == once.visibility).mean() > 0.997
    assert sum(int((~case.truth.crossed).sum()) for case in cases) > 0.4 * len(cases) * len(once.crossed)


@pytest.mark.parametrize(("stride_px", "weight_error"), [(None, 0.02), (1, 0.005)])
def test_maps_meet_the_truth_away_from_silhouettes(cases, stride_px, weight_error):
    got = score(cases, found(cases, stride_px), everywhere=False)
    assert got.occluded > 200
    assert got.weight_error <= weight_error
    assert got.codes_right >= 0.99
    assert got.occluded_called_visible <= 0.003


def test_maps_meet_the_truth_over_all_patches(cases):
    got = score(cases, found(cases, None), everywhere=True)
    assert got.weight_error <= 0.02
    assert got.codes_right >= 0.97


def test_maps_of_a_noisy_sensor_meet_the_truth_away_from_silhouettes(cases):
    got = score(cases, found(cases, None, np.random.default_rng(0)), everywhere=False)
    assert got.weight_error <= 0.03
    assert got.codes_right >= 0.96
    assert got.occluded_called_visible <= 0.01
