"""Pairs over strata of overlap, rotation, baseline, occlusion and texture, and the groups that grow from them."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hatch_data.covisibility import KEPT_PER_TENTH, Covisibility, covisibility, summarise, within
from hatch_data.errors import SettingsError
from hatch_data.quality import texture
from hatch_data.recipe import GroupSettings, PairSettings
from hatch_data.routes import shortest_route
from hatch_data.sampling import (
    AHEAD_M,
    APART_DEG,
    APART_OVERLAP,
    BASELINE_EDGES_M,
    HIDDEN_EDGES,
    MEET_M,
    OVERLAP_EDGES,
    ROTATION_EDGES_DEG,
    SPOT_M,
    STEP_OVERLAP,
    TEXTURE_EDGES,
    Pair,
    axes_meet,
    grow_groups,
    rotation_between_deg,
    select_pairs,
)
from hatch_data.scans import synthetic
from hatch_data.views import prepare


def random_scene(rng: np.random.Generator, views: int) -> tuple[Covisibility, np.ndarray]:
    """Poses all over a room and overlaps both ways, mostly small, as a scan has them."""
    poses = np.stack([np.eye(4)] * views)
    poses[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, 0.5, (views, 3))).as_matrix()
    poses[:, :3, 3] = rng.uniform(0, 2.5, (views, 3))
    # Some views stand where the one before stood.
    for k in rng.choice(np.arange(1, views), views // 5, replace=False):
        poses[k] = poses[k - 1]
    known = np.triu(rng.uniform(size=(views, views)) < 0.9, 1)
    source, target = np.nonzero(known | known.T)
    overlap = rng.beta(1.2, 2.5, len(source)).astype(np.float32)
    hidden = (rng.uniform(0, 0.6, len(source)) * (1 - overlap)).astype(np.float32)
    return Covisibility(source.astype(np.int32), target.astype(np.int32), overlap, hidden, views), poses


def mean_overlap(covisible: Covisibility) -> np.ndarray:
    return both_ways(covisible, covisible.overlap)


def both_ways(covisible: Covisibility, share: np.ndarray) -> np.ndarray:
    dense = np.zeros((covisible.views, covisible.views))
    dense[covisible.source, covisible.target] = share
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


def strata(
    pairs: list[Pair], poses: np.ndarray, covisible: Covisibility, texture: np.ndarray
) -> Counter[tuple[int, ...]]:
    i, j = np.array([(pair.first, pair.second) for pair in pairs]).T
    turned = Rotation.from_matrix(poses[i, :3, :3]).inv() * Rotation.from_matrix(poses[j, :3, :3])
    measures = (
        (OVERLAP_EDGES, mean_overlap(covisible)[i, j]),
        (ROTATION_EDGES_DEG, np.degrees(turned.magnitude())),
        (BASELINE_EDGES_M, np.linalg.norm(poses[i, :3, 3] - poses[j, :3, 3], axis=1)),
        (HIDDEN_EDGES, both_ways(covisible, covisible.hidden)[i, j]),
        (TEXTURE_EDGES, np.minimum(texture[i], texture[j])),
    )
    return Counter(zip(*(np.searchsorted(edges, values).tolist() for edges, values in measures), strict=True))


def test_pairs_cover_the_strata_and_rare_ones_are_not_crowded_out():
    covisible, poses = random_scene(np.random.default_rng(3), 160)
    part, texture = np.zeros(160, int), np.random.default_rng(3).normal(1.2, 0.2, 160)

    def drawn(per_frame):
        pairs, _ = select_pairs(covisible, poses, part, PairSettings(per_frame=per_frame), rng(), texture)
        return strata(pairs, poses, covisible, texture)

    everything, chosen = drawn(1e6), drawn(5)
    assert chosen.total() == 800
    assert set(chosen) == set(everything)
    assert len(everything) > 90
    for occluded, plain in product((0, 1), repeat=2):
        of_class = [stratum for stratum in everything if stratum[3:] == (occluded, plain)]
        drawn_of_class = sum(chosen[stratum] for stratum in of_class)
        assert drawn_of_class >= min(sum(everything[stratum] for stratum in of_class), 0.9 * 800 / 4)
        for stratum in of_class:
            assert chosen[stratum] >= min(everything[stratum], 0.6 * drawn_of_class / len(of_class))


def test_occluded_and_plain_pairs_are_more_than_chance_would_have_them():
    """In synthetic rooms, against pairs drawn at random from all that may be."""
    shares: dict[float, list[tuple[float, float]]] = {1e6: [], 2: []}
    for index in range(3):
        scene = synthetic.make(index, frames=60, width=64, height=48).scene()
        covisible = covisibility([summarise(prepare(frame)) for frame in scene.frames])
        poses, part = np.stack([frame.world_from_camera for frame in scene.frames]), np.zeros(60, int)
        hidden, seen = both_ways(covisible, covisible.hidden), texture(scene.frames)
        for per_frame, found in shares.items():
            pairs, _ = select_pairs(covisible, poses, part, PairSettings(per_frame=per_frame), rng(), seen)
            i, j = np.array([(pair.first, pair.second) for pair in pairs]).T
            occluded, plain = hidden[i, j] > HIDDEN_EDGES[0], np.minimum(seen[i], seen[j]) < TEXTURE_EDGES[0]
            found.append((occluded.mean(), plain.mean()))
    at_random, drawn = (np.mean(found, axis=0) for found in shares.values())
    assert (drawn > 1.15 * at_random).all(), (at_random, drawn)


def test_no_view_is_used_much_more_than_the_others():
    covisible, poses = random_scene(np.random.default_rng(4), 60)
    pairs, _ = select_pairs(covisible, poses, np.zeros(60, int), PairSettings(per_frame=2), rng())
    uses = Counter(view for pair in pairs for view in (pair.first, pair.second))
    assert max(uses.values()) <= 3 * 2 * 2
    first = np.mean([pair.first < pair.second for pair in pairs])
    assert 0.35 < first < 0.65


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(6, 30))
def test_groups_are_connected_without_twins_and_of_one_part(seed, views):
    covisible, poses = random_scene(np.random.default_rng(seed), views)
    part = np.sort(np.random.default_rng(seed).integers(0, 2, views))
    wanted, sizes = PairSettings(per_frame=3), GroupSettings(sizes={2: 1, 4: 2, 8: 1}, kinds={"walk": 1})
    pairs, _ = select_pairs(covisible, poses, part, wanted, np.random.default_rng(seed))

    def grown():
        return grow_groups(pairs, covisible, poses, part, (wanted, sizes), np.random.default_rng(seed))

    groups, short = grown()
    assert len(groups) == len(pairs)
    assert grown() == (groups, short)
    overlap = mean_overlap(covisible)
    for pair, group in zip(pairs, groups, strict=True):
        assert {pair.first, pair.second} <= set(group)
        assert len(set(group)) == len(group) <= 8
        assert len(set(part[list(group)])) == 1
        linked = {group[0]}
        for _ in group:
            linked |= {b for a in linked for b in group if overlap[a, b] >= wanted.least_overlap}
        assert linked == set(group)
        for a in group:
            for b in group:
                moved = float(np.linalg.norm(poses[a, :3, 3] - poses[b, :3, 3]))
                near = angle_deg(poses[a], poses[b]) < wanted.least_rotation_deg - 1e-6
                assert a == b or not (near and moved < wanted.least_baseline_m)
    assert sum(len(group) not in (2, 4, 8) for group in groups) <= short["no_view_to_add"]


def test_groups_have_the_sizes_that_are_asked_for():
    covisible, poses = random_scene(np.random.default_rng(3), 60)
    pairs, _ = select_pairs(covisible, poses, np.zeros(60, int), PairSettings(per_frame=6), rng())
    sizes = GroupSettings(sizes={2: 0.5, 3: 0.3, 5: 0.2}, kinds={"walk": 1})
    groups, short = grow_groups(pairs, covisible, poses, np.zeros(60, int), (PairSettings(), sizes), rng())
    shares = {size: sum(len(group) == size for group in groups) / len(groups) for size in (2, 3, 5)}
    assert not short
    assert abs(shares[2] - 0.5) < 0.08
    assert abs(shares[3] - 0.3) < 0.08
    assert abs(shares[5] - 0.2) < 0.08
    # The order in which views are shown says nothing.
    assert abs(np.mean([group[0] < group[1] for group in groups]) - 0.5) < 0.1


def looking_around(stops: int, turns: int) -> tuple[Covisibility, np.ndarray]:
    """A camera on a circle of stops that turns all the way round at each: views overlap by how alike they look."""
    poses = np.stack([np.eye(4)] * (stops * turns))
    for k in range(len(poses)):
        stop, turn = divmod(k, turns)
        about = 2 * np.pi * stop / stops
        poses[k, :3, :3] = Rotation.from_euler("y", 360 * turn / turns, degrees=True).as_matrix()
        poses[k, :3, 3] = 2 * np.cos(about), 0, 2 * np.sin(about)
    source, target = np.nonzero(~np.eye(len(poses), dtype=bool))
    orientations = Rotation.from_matrix(poses[:, :3, :3])
    apart = np.degrees((orientations[source].inv() * orientations[target]).magnitude())
    moved = np.linalg.norm(poses[source, :3, 3] - poses[target, :3, 3], axis=-1)
    overlap = np.clip(1 - apart / 90 - 0.1 * moved, 0, None)
    kept = overlap > 0
    shares = overlap[kept].astype(np.float32), np.zeros(kept.sum(), np.float32)
    return Covisibility(source[kept].astype(np.int32), target[kept].astype(np.int32), *shares, len(poses)), poses


def gap_of_axes(a: np.ndarray, b: np.ndarray) -> float:
    """Least distance of two optical axes from `AHEAD_M` in front of the cameras on, looked for in steps."""
    along = np.linspace(AHEAD_M, 10, 150)[:, None]
    first, second = (pose[:3, 3] + along * pose[:3, 2] for pose in (a, b))
    return float(np.linalg.norm(first[:, None] - second[None], axis=-1).min())


def test_axes_meet_in_front_of_both_cameras():
    _, poses = random_scene(np.random.default_rng(5), 25)
    met = axes_meet(poses[:, None], poses[None])
    assert np.array_equal(met, met.T)
    assert 20 < met.sum() < met.size / 2
    for a, b in zip(*np.nonzero(met), strict=True):
        assert gap_of_axes(poses[a], poses[b]) <= MEET_M + 0.05
    away = poses @ np.diag([-1.0, 1.0, -1.0, 1.0])
    assert not (axes_meet(poses[:, None], poses[None]) & axes_meet(away[:, None], away[None])).any()


@pytest.mark.parametrize("kind", ["turn", "orbit"])
def test_views_turned_on_one_spot_and_views_of_one_place(kind):
    covisible, poses = looking_around(8, 15)
    part = np.repeat([0, 1], 60)
    pairs, _ = select_pairs(covisible, poses, part, PairSettings(per_frame=1), rng())
    wanted = PairSettings(), GroupSettings(sizes={3: 1, 4: 1}, kinds={kind: 1})
    groups, short = grow_groups(pairs, covisible, poses, part, wanted, rng())
    assert len(groups) == len(pairs)
    assert (groups, short) == grow_groups(pairs, covisible, poses, part, wanted, rng())
    overlap, kept = mean_overlap(covisible), 0
    for group in groups:
        both = list(combinations(group, 2))
        assert len(set(part[list(group)])) == 1
        turned = all(angle_deg(poses[a], poses[b]) >= APART_DEG - 1e-6 for a, b in both)
        if kind == "turn":
            kept += turned and all(np.linalg.norm(poses[a, :3, 3] - poses[b, :3, 3]) <= SPOT_M for a, b in both)
        else:
            shared = min(overlap[a, b] for a, b in both) >= PairSettings().least_overlap - 1e-6
            kept += turned and shared and all(gap_of_axes(poses[a], poses[b]) <= MEET_M + 0.05 for a, b in both)
    # The others are walks, and counted.
    assert kept >= len(groups) - short[f"no_{kind}"] > 20
    if kind == "turn":
        assert not short


@pytest.mark.parametrize("size", [3, 4, 6])
def test_routes_lead_to_views_that_hardly_overlap(size):
    covisible, poses = looking_around(8, 15)
    part = np.repeat([0, 1], 60)
    pairs, _ = select_pairs(covisible, poses, part, PairSettings(per_frame=1), rng())
    wanted = PairSettings(), GroupSettings(sizes={size: 1}, kinds={"route": 1})
    groups, short = grow_groups(pairs, covisible, poses, part, wanted, rng())
    assert (groups, short) == grow_groups(pairs, covisible, poses, part, wanted, rng())
    overlap, lengths = mean_overlap(covisible), Counter[int]()
    for group in groups:
        assert len(set(part[list(group)])) == 1
        among = overlap[np.ix_(group, group)]
        apart = [(a, b) for a, b in combinations(range(len(group)), 2) if among[a, b] < APART_OVERLAP]
        routes = [shortest_route(among, a, b, STEP_OVERLAP) for a, b in apart]
        lengths[max(map(len, routes), default=0)] += 1
        for route in routes:
            assert all(among[step] >= STEP_OVERLAP for step in pairwise(route))
    assert sum(n for length, n in lengths.items() if length >= 3) >= len(groups) - short["no_route"] > 20
    assert len(lengths) >= min(size - 2, 2)


@pytest.mark.parametrize("kind", ["walk", "turn", "orbit", "route"])
def test_no_two_views_of_a_group_are_further_apart_than_the_longest_gap(kind):
    covisible, poses = looking_around(8, 15)
    part, order, gap = np.zeros(120, int), 2 * np.random.default_rng(2).permutation(120), 70
    near = within(covisible, order, gap)
    pairs, _ = select_pairs(near, poses, part, PairSettings(per_frame=1), rng())
    wanted = PairSettings(), GroupSettings(sizes={4: 1, 6: 1}, kinds={kind: 1})
    groups, short = grow_groups(pairs, near, poses, part, wanted, rng(), order, gap)
    assert max(int(np.ptp(order[list(group)])) for group in groups) <= gap
    assert sum(len(group) > 2 for group in groups) > 60
    assert len(groups) - short[f"no_{kind}"] > 20
    anywhere, _ = grow_groups(pairs, near, poses, part, wanted, rng())
    assert max(int(np.ptp(order[list(group)])) for group in anywhere) > gap


def test_where_all_overlaps_no_route_is_made_up():
    """Of crowded views not all overlaps are known: what is not there need not be small."""
    views = 3 * KEPT_PER_TENTH
    rng_, known = np.random.default_rng(0), np.zeros((views, views), bool)
    for k in range(views):
        known[k, rng_.permutation(np.arange(k + 1, views))[:KEPT_PER_TENTH]] = True
    source, target = np.nonzero(known | known.T)
    half = np.full(len(source), 0.55, np.float32)
    covisible = Covisibility(source.astype(np.int32), target.astype(np.int32), half, 0 * half, views)
    assert np.array_equal(covisible.crowded(), np.arange(views) < 2 * KEPT_PER_TENTH)
    _, poses = random_scene(np.random.default_rng(1), views)
    part = np.zeros(views, int)
    pairs, _ = select_pairs(covisible, poses, part, PairSettings(per_frame=1), rng())
    wanted = PairSettings(), GroupSettings(sizes={3: 1}, kinds={"route": 1})
    groups, short = grow_groups(pairs, covisible, poses, part, wanted, rng())
    assert short["no_route"] == len(groups)


def test_no_place_to_turn_on_makes_a_walk():
    covisible, poses = looking_around(6, 15)
    poses = poses.copy()
    poses[:, 1, 3] = np.arange(len(poses))
    pairs, _ = select_pairs(covisible, poses, np.zeros(90, int), PairSettings(per_frame=1), rng())
    wanted = PairSettings(), GroupSettings(sizes={3: 1}, kinds={"turn": 1})
    groups, short = grow_groups(pairs, covisible, poses, np.zeros(90, int), wanted, rng())
    assert short["no_turn"] == len(groups)
    assert all({pair.first, pair.second} <= set(group) for pair, group in zip(pairs, groups, strict=True))


def test_pairs_stay_pairs_whatever_the_kinds():
    covisible, poses = random_scene(np.random.default_rng(3), 40)
    pairs, _ = select_pairs(covisible, poses, np.zeros(40, int), PairSettings(), rng())
    wanted = PairSettings(), GroupSettings(sizes={2: 1}, kinds={"turn": 1, "orbit": 1})
    groups, short = grow_groups(pairs, covisible, poses, np.zeros(40, int), wanted, rng())
    assert groups == [(pair.first, pair.second) for pair in pairs]
    assert not short


@pytest.mark.parametrize("wrong", [{"turn": 0}, {"walk": -1, "turn": 2}, {}])
def test_kinds_have_weights(wrong):
    with pytest.raises(SettingsError, match=r"groups\.kinds"):
        GroupSettings(kinds=wrong)
