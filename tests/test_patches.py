"""Token grids, patch maps, and the flow field from which maps at other grids are made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from hatch_data.correspondence import FLOW_GRID, Correspondence, correspond
from hatch_data.patches import (
    FLOW_CODE,
    FLOW_STEPS,
    STRIPS,
    UNDECIDED,
    FlowField,
    Visibility,
    rebin,
    resized_for_tokens,
    symmetric,
    token_grid,
)
from hatch_data.scans import synthetic
from hatch_data.views import View, prepare

SIDES = st.integers(28, 3000)
DEFAULT = (17, 23)


@given(SIDES, SIDES, st.sampled_from([28, 32]), st.sampled_from([1, 16, 256]), st.sampled_from([256, 1280, 16384]))
def test_images_are_resized_as_qwens_processor_does(height, width, token_px, min_tokens, max_tokens):
    bounds = {"min_pixels": min_tokens * token_px**2, "max_pixels": max_tokens * token_px**2}
    expected = smart_resize(height, width, factor=token_px, **bounds)
    assert resized_for_tokens(height, width, token_px, **bounds) == expected
    assert token_grid(height, width, token_px, **bounds) == (expected[0] // token_px, expected[1] // token_px)


@pytest.mark.parametrize(
    ("size", "grid"), [((480, 640), (17, 23)), ((240, 320), (9, 11)), ((968, 1296), (35, 46)), ((20, 30), (2, 3))]
)
def test_token_grids_of_common_sizes(size, grid):
    assert token_grid(*size) == grid


def identity_flow(rows: int, columns: int) -> FlowField:
    r, c = np.mgrid[:rows, :columns]
    return FlowField(np.rint(np.stack([(c + 0.5) / columns, (r + 0.5) / rows], -1) * FLOW_STEPS).astype(np.uint16))


@pytest.mark.parametrize("grid", [(4, 4), (8, 16), (5, 7), DEFAULT])
def test_an_identity_flow_makes_an_identity_map(grid):
    found = rebin(identity_flow(*FLOW_GRID), grid, grid)
    # Positions are stored in steps: a sample or two beside a border may fall on its other side.
    one_sample = grid[0] * grid[1] / (FLOW_GRID[0] * FLOW_GRID[1] * STRIPS)
    assert np.abs(found.dense() - np.eye(grid[0] * grid[1])).max() < 2.5 * one_sample
    assert (found.valid == 1).all()
    assert (found.visibility == Visibility.VISIBLE).all()
    assert found.overlap == pytest.approx(1.0)


def test_rebin_reports_why_cells_are_not_seen():
    flow = identity_flow(16, 16).values
    outcomes = [1, 2, 3, 4, UNDECIDED]
    for column, outcome in enumerate(outcomes):
        flow[8:, 3 * column : 3 * column + 3] = FLOW_CODE + outcome, 0
    field = FlowField(flow)
    assert [int(field.outcome[9, 3 * column]) for column in range(5)] == outcomes
    assert np.isnan(field.target[9, 0]).all()
    assert field.target[0, 0] == pytest.approx((0.5 / 16, 0.5 / 16), abs=1e-5)
    found = rebin(field, (2, 16), (1, 1))
    expected = [0] * 16 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3 + [3] * 3 + [0]
    assert found.visibility.tolist() == expected
    # A point whose target has no depth counts as valid area, one without depth of its own does not.
    assert found.valid[16:].tolist() == [1] * 6 + [0] * 6 + [1] * 4


def test_a_flow_field_survives_its_bytes():
    rng = np.random.default_rng(0)
    field = FlowField(rng.integers(0, 65506, (6, 9, 2)).astype(np.uint16))
    data = field.to_bytes()
    assert len(data) == 6 * 9 * 2 * 2
    assert data[:2] == int(field.values[0, 0, 0]).to_bytes(2, "little")
    assert np.array_equal(FlowField.from_bytes(data, (6, 9)).values, field.values)
    with pytest.raises(ValueError, match="reshape"):
        FlowField.from_bytes(data, (6, 8))


def flow_of(cells: list[list[float | int]]) -> FlowField:
    """A field of these cells: a float is how far to the right of the target image a cell is seen, half way down; an
    integer is an outcome."""
    values = [
        (round(cell * FLOW_STEPS), FLOW_STEPS // 2) if isinstance(cell, float) else (FLOW_CODE + cell, 0)
        for row in cells
        for cell in row
    ]
    return FlowField(np.array(values, np.uint16).reshape(len(cells), -1, 2))


#: Two source patches of five cells on top of each other: seen in two of three target patches; not measured at all.
THERE = flow_of([[0.1, 0.2, 0.99, 1, 3], [3, 3, 4, 4, 4]])


def test_samples_become_shares_of_the_valid_area():
    found = rebin(THERE, (2, 1), (1, 3))
    assert found.dense() == pytest.approx(np.array([[0.5, 0, 0.25], [0, 0, 0]]))
    assert found.valid == pytest.approx([0.8, 0.0])
    assert found.visibility.tolist() == [Visibility.VISIBLE, Visibility.DEPTH_EDGE]
    assert found.over_all_pixels() == pytest.approx(np.array([[0.4, 0, 0.2], [0, 0, 0]]))
    assert found.overlap == pytest.approx(0.75)


def test_points_that_the_target_cannot_judge_are_valid_but_reported_without_depth():
    found = rebin(flow_of([[0.1, 0.2, 0.3, 3] + [UNDECIDED] * 5]), (1, 1), (1, 1))
    assert found.valid[0] == pytest.approx(8 / 9)
    assert found.weight[0] == pytest.approx(3 / 8)
    assert found.visibility[0] == Visibility.NO_DEPTH


def test_a_patch_without_samples_has_no_depth():
    found = rebin(flow_of([[0.5]]), (40, 1), (2, 2))
    assert (found.visibility == Visibility.NO_DEPTH).sum() == 40 - STRIPS
    assert (found.valid > 0).sum() == (found.visibility == Visibility.VISIBLE).sum() == STRIPS


def test_the_symmetric_map_is_the_mean_of_both_ways():
    there = rebin(THERE, (2, 1), (1, 3))
    back = rebin(flow_of([[0.5, 0.5, 1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]]), (1, 3), (1, 1))
    back = replace(back, target_grid=(2, 1))
    assert symmetric(there, back) == pytest.approx(np.array([[0.45, 0, 0.6], [0, 0, 0]]))
    assert symmetric(back, there) == pytest.approx(symmetric(there, back).T)


# --- Other grids -----------------------------------------------------------------------------------------------------

OTHER_GRIDS = {
    "4 x 4 regions": (4, 4),
    "5 x 7 regions": (5, 7),
    "another max_pixels": token_grid(480, 640, max_pixels=256 * 28 * 28),
    "32-px tokens": token_grid(480, 640, token_px=32),
    "the grid built": DEFAULT,
}


@pytest.fixture(scope="module")
def pairs() -> list[tuple[View, View]]:
    both = []
    for index, first, second in ((1, 7, 10), (3, 19, 11)):
        frames = synthetic.make(index, frames=60, width=640, height=480).scene().frames
        views = prepare(frames[first]), prepare(frames[second])
        both += [views, views[::-1]]
    return both


@pytest.mark.parametrize("name", OTHER_GRIDS)
def test_a_rebinned_map_is_that_built_at_the_grid(pairs, name):
    grid = OTHER_GRIDS[name]
    errors, codes = [], []
    for source, target in pairs:
        stored: Correspondence = correspond(source, target, DEFAULT, DEFAULT)
        direct = correspond(source, target, grid, grid, stride_px=1).map
        other = rebin(stored.flow, grid, grid)
        weight, expected = other.dense(), direct.dense()
        errors.append(np.abs(weight - expected)[(weight > 0) | (expected > 0)])
        codes.append(other.visibility == direct.visibility)
        assert other.overlap == pytest.approx(direct.overlap, abs=0.02)
        assert np.abs(other.valid - direct.valid).mean() < 0.02
    assert np.concatenate(errors).mean() <= 0.02
    assert np.concatenate(codes).mean() > 0.97


def test_the_two_images_may_have_different_grids(pairs):
    source, target = pairs[0]
    stored = correspond(source, target, DEFAULT, DEFAULT)
    weight = rebin(stored.flow, (4, 4), (5, 7)).dense()
    assert weight.shape == (16, 35)
    expected = correspond(source, target, (4, 4), (5, 7), stride_px=1).map.dense()
    assert np.abs(weight - expected)[(weight > 0) | (expected > 0)].mean() <= 0.02
