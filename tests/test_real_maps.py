"""Maps of real frames: there and back again."""

from __future__ import annotations

import numpy as np

from hatch_data.correspondence import correspond
from hatch_data.covisibility import covisibility, summarise
from hatch_data.patches import Visibility, token_grid
from hatch_data.recipe import PairSettings
from hatch_data.sampling import select_pairs
from hatch_data.scans import find
from hatch_data.tracks import patch_distance, strongest_target
from hatch_data.views import prepare


def test_visible_patches_of_redkitchen_come_back(shared):
    """Of the patches called visible that put half their area into one patch, 95 % return to within one patch."""
    frames = find([str(shared / "scans" / "redkitchen-7scenes")])[0].load().frames[::4]
    views = [prepare(frame) for frame in frames]
    poses = np.stack([frame.world_from_camera for frame in frames])
    overlaps = covisibility([summarise(view) for view in views])
    pairs, _ = select_pairs(overlaps, poses, np.zeros(len(views)), PairSettings(per_frame=4), np.random.default_rng(0))
    grid = token_grid(480, 640)
    returned = 0
    followed = 0
    for pair in pairs:
        there = correspond(views[pair.first], views[pair.second], grid, grid).map
        back = correspond(views[pair.second], views[pair.first], grid, grid).map
        target = strongest_target(there, 0.5)
        source = np.flatnonzero((target >= 0) & (there.visibility == Visibility.VISIBLE))
        home = strongest_target(back, 0.0)[target[source]]
        returned += int(((home >= 0) & (patch_distance(home, source, grid) <= 1)).sum())
        followed += len(source)
    assert len(pairs) >= 150
    assert followed >= 5000
    assert returned / followed >= 0.95
    print(f"\n{returned / followed:.4f} of {followed} patches of {len(pairs)} pairs return")
