"""Tracks through several views and look-alikes, on the synthetic rooms where the truth is known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hatch_data.correspondence import correspond
from hatch_data.patches import PatchMap, token_grid
from hatch_data.scans import synthetic
from hatch_data.tracks import follow, hard_negatives, look, patch_distance, strongest_target
from hatch_data.views import prepare

VIEWS = 4


@pytest.fixture(scope="module")
def group():
    """Four views along a walk: frames, grid, and the maps of all ordered pairs."""
    made = synthetic.make(1, frames=400)
    frames = made.scene().frames[20 : 20 + VIEWS]
    views = [prepare(frame) for frame in frames]
    grid = token_grid(240, 320)
    maps = {
        (i, j): correspond(views[i], views[j], grid, grid).map for i in range(VIEWS) for j in range(VIEWS) if i != j
    }
    return made, frames, grid, maps


def test_tracks_hold_one_place(group):
    """The exact surface behind a track's patch in its first view is seen in its patch, or the next, in every other."""
    made, frames, grid, maps = group
    tracks = follow(maps, VIEWS)
    assert (tracks >= 0).sum(axis=1).min() >= 2
    assert ((tracks >= 0).sum(axis=1) == VIEWS).sum() >= 10
    misses = checked = 0
    for track in tracks[:: max(1, len(tracks) // 60)]:
        first, *others = np.flatnonzero(track >= 0)
        row, column = divmod(int(track[first]), grid[1])
        u = (column + np.linspace(0.05, 0.95, 7)) / grid[1] * 320 - 0.5
        v = (row + np.linspace(0.05, 0.95, 7)) / grid[0] * 240 - 0.5
        pixels = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
        pose, camera = frames[first].world_from_camera, frames[first].camera
        points = made.surface((pose, camera), pixels).points
        for view in others:
            other = frames[view]
            seen = made.visible_from(points, other.world_from_camera, other.camera)
            inverse = np.linalg.inv(other.world_from_camera)
            landed, _ = other.camera.project(points[seen] @ inverse[:3, :3].T + inverse[:3, 3])
            patch = np.floor((landed[:, 1] + 0.5) / 240 * grid[0]) * grid[1] + np.floor(
                (landed[:, 0] + 0.5) / 320 * grid[1]
            )
            checked += 1
            misses += not (patch_distance(patch, int(track[view]), grid) <= 1).any()
    assert checked >= 60
    assert misses == 0


def test_tracks_agree_all_ways(group):
    """Any two views of a track lead to each other within one patch."""
    _, _, grid, maps = group
    best = {pair: strongest_target(found) for pair, found in maps.items()}
    for track in follow(maps, VIEWS):
        seen = np.flatnonzero(track >= 0)
        for i in seen:
            for j in seen:
                if i != j:
                    assert patch_distance(int(best[i, j][track[i]]), int(track[j]), grid) <= 1


def test_track_is_cut_where_the_cycle_does_not_close():
    """A view whose map contradicts the others is left out of the track."""
    grid = (2, 4)

    def shift(by: int) -> PatchMap:
        source = np.array([p for p in range(8) if 0 <= p % 4 + by < 4], np.int32)
        ones = np.ones(8, np.float32)
        return PatchMap(grid, grid, source, source + by, np.ones(len(source), np.float32), ones, np.zeros(8, np.uint8))

    maps = {(0, 1): shift(0), (1, 0): shift(0), (0, 2): shift(0), (2, 0): shift(0), (1, 2): shift(3), (2, 1): shift(-3)}
    tracks = follow(maps, 3)
    assert (tracks[:, 0] == tracks[:, 1])[tracks[:, 0] >= 0].all()
    assert (tracks[tracks[:, 0] >= 0][:, 2] == -1).all()


def test_hard_negatives_look_alike_and_lie_elsewhere(group):
    """Never where the patch truly lands, and nearer in looks than patches drawn at random."""
    _, frames, grid, maps = group
    found = maps[0, 1]
    looks = [look(Image.open(io.BytesIO(frames[k].read_color())), grid) for k in (0, 1)]
    negatives = hard_negatives(found, *looks, count=4)
    matched = strongest_target(found) >= 0
    assert (negatives[~matched] == -1).all()
    assert (negatives[matched] >= 0).all()
    for source, target in zip(found.source_patch, found.target_patch, strict=True):
        if matched[source]:
            assert (patch_distance(negatives[source], int(target), grid) >= 2).all()
    likeness = looks[0] @ looks[1].T
    alike = np.take_along_axis(likeness[matched], negatives[matched].astype(np.int64), axis=1).mean()
    assert alike > likeness[matched].mean() + 0.2


def test_looks_do_not_depend_on_exposure(group):
    """Structure, not brightness: a darker copy looks like its original more than like any other patch."""
    _, frames, grid, _ = group
    image = Image.open(io.BytesIO(frames[0].read_color()))
    darker = image.point(lambda level: round(level * 0.85))
    likeness = look(image, grid) @ look(darker, grid).T
    assert (likeness.argmax(axis=1) == np.arange(len(likeness))).mean() > 0.9
