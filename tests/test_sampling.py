"""Pairs over strata of overlap, rotation and baseline; splits that share nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hatch_data.covisibility import Covisibility
from hatch_data.recipe import PairSettings, SplitSettings
from hatch_data.sampling import (
    BASELINE_EDGES_M,
    OVERLAP_EDGES,
    ROTATION_EDGES_DEG,
    Pair,
    rotation_between_deg,
    select_pairs,
    splits_by_space,
    splits_by_time,
)


def random_scene(rng: np.random.Generator, views: int) -> tuple[Covisibility, np.ndarray]:
    """Poses all over a room and overlaps both ways, mostly small, as a scan has them."""
    poses = np.stack([np.eye(4)] * views)
    poses[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, 0.5, (views, 3))).as_matrix()
    poses[:, :3, 3] = rng.uniform(0, 2.5, (views, 3))
    # Some views stand where the one before stood.
    for k in rng.choice(np.arange(1, views), views // 5, replace=False):
        poses[k] = poses[k - 1]
    source, target = np.nonzero((rng.uniform(size=(views, views)) < 0.7) & ~np.eye(views, dtype=bool))
    overlap = rng.beta(1.2, 2.5, len(source)).astype(np.float32)
    return Covisibility(source.astype(np.int32), target.astype(np.int32), overlap, views), poses


def mean_overlap(covisible: Covisibility) -> np.ndarray:
    dense = np.zeros((covisible.views, covisible.views))
    dense[covisible.source, covisible.target] = covisible.overlap
    return (dense + dense.T) / 2


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees((Rotation.from_matrix(a[:3, :3]).inv() * Rotation.from_matrix(b[:3, :3])).magnitude()))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_angle_between_orientations(seed):
    a, b = np.stack([np.eye(4)] * 2), np.stack([np.eye(4)] * 2)
    a[:, :3, :3], b[:, :3, :3] = Rotation.random(4, np.random.default_rng(seed)).as_matrix().reshape(2, 2, 3, 3)
    assert np.allclose(rotation_between_deg(a, b), [angle_deg(*pair) for pair in zip(a, b, strict=True)], atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.floats(0.5, 6))
def test_pairs_keep_to_the_settings(seed, views, per_frame):
    rng = np.random.default_rng(seed)
    covisible, poses = random_scene(rng, views)
    part = np.sort(rng.integers(0, 3, views))
    wanted = PairSettings(per_frame=per_frame)
    pairs, left_out = select_pairs(covisible, poses, part, wanted, np.random.default_rng(seed))
    overlap = mean_overlap(covisible)
    assert len({frozenset((pair.first, pair.second)) for pair in pairs}) == len(pairs)
    for pair in pairs:
        a, b = pair.first, pair.second
        assert part[a] == part[b]
        assert abs(pair.overlap - overlap[a, b]) < 1e-6
        assert wanted.least_overlap <= pair.overlap <= wanted.greatest_overlap
        moved = float(np.linalg.norm(poses[a, :3, 3] - poses[b, :3, 3]))
        assert angle_deg(poses[a], poses[b]) >= wanted.least_rotation_deg or moved >= wanted.least_baseline_m
    for name, count in Counter(part.tolist()).items():
        assert sum(part[pair.first] == name for pair in pairs) <= round(per_frame * count)
    # Every pair of views that shares anything is either drawn or left out for a reason that is counted.
    assert len(pairs) + left_out.total() == np.count_nonzero(np.triu(overlap))
    assert (pairs, left_out) == select_pairs(covisible, poses, part, wanted, np.random.default_rng(seed))


def strata(pairs: list[Pair], poses: np.ndarray) -> Counter[tuple[int, int, int]]:
    counts: Counter[tuple[int, int, int]] = Counter()
    for pair in pairs:
        a, b = poses[pair.first], poses[pair.second]
        values = (pair.overlap, angle_deg(a, b), float(np.linalg.norm(a[:3, 3] - b[:3, 3])))
        edges = (OVERLAP_EDGES, ROTATION_EDGES_DEG, BASELINE_EDGES_M)
        counts[tuple(int(np.searchsorted(e, v)) for e, v in zip(edges, values, strict=True))] += 1
    return counts


def test_pairs_cover_the_strata_and_rare_ones_are_not_crowded_out():
    covisible, poses = random_scene(np.random.default_rng(3), 80)
    part = np.zeros(80, int)
    everything = strata(select_pairs(covisible, poses, part, PairSettings(per_frame=1e6), rng())[0], poses)
    chosen = strata(select_pairs(covisible, poses, part, PairSettings(per_frame=4), rng())[0], poses)
    assert chosen.total() == 320
    assert set(chosen) == set(everything)
    even = 320 / len(everything)
    for stratum, available in everything.items():
        assert chosen[stratum] >= min(available, 0.6 * even)


def test_no_view_is_used_much_more_than_the_others():
    covisible, poses = random_scene(np.random.default_rng(4), 60)
    pairs, _ = select_pairs(covisible, poses, np.zeros(60, int), PairSettings(per_frame=2), rng())
    uses = Counter(view for pair in pairs for view in (pair.first, pair.second))
    assert max(uses.values()) <= 3 * 2 * 2
    first = np.mean([pair.first < pair.second for pair in pairs])
    assert 0.35 < first < 0.65


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@settings(deadline=None)
@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=12), st.floats(0, 0.49), st.floats(0, 0.49))
def test_every_split_that_is_asked_for_has_spaces(names, validation, test):
    spaces = [f"room-{name}" for name in sorted(names)]
    wanted = SplitSettings(validation=validation, test=test)
    split = splits_by_space(spaces, wanted)
    assert split.keys() == set(spaces)
    assert splits_by_space(spaces[::-1] * 2, wanted) == split
    asked = {"train"} | ({"test"} if test else set()) | ({"validation"} if validation else set())
    assert "train" in split.values()
    assert set(split.values()) <= asked
    assert len(set(split.values())) == min(len(asked), len(spaces))


def test_a_space_stays_in_its_split_when_others_come():
    spaces = [f"room-{k}" for k in range(400)]
    wanted = SplitSettings(validation=0.2, test=0.1)
    few, many = splits_by_space(spaces[:200], wanted), splits_by_space(spaces, wanted)
    assert all(many[space] == name for space, name in few.items())
    shares = Counter(many.values())
    assert abs(shares["validation"] / 400 - 0.2) < 0.06
    assert abs(shares["test"] / 400 - 0.1) < 0.05


@settings(deadline=None)
@given(st.integers(0, 500), st.floats(0, 0.45), st.floats(0, 0.45))
def test_stretches_of_time(frames, validation, test):
    split = splits_by_time(frames, SplitSettings(validation=validation, test=test))
    assert split == sorted(split, key=("train", "validation", "test").index)
    counts = Counter(split)
    assert len(split) == frames
    assert (counts["validation"], counts["test"]) == (round(frames * validation), round(frames * test))
