"""Which views are asked together: pairs over strata of overlap, rotation and baseline, grown to groups."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from hatch_data.covisibility import Covisibility
from hatch_data.geometry import Array
from hatch_data.recipe import GroupSettings, PairSettings

OVERLAP_EDGES = (0.25, 0.4, 0.55, 0.7)
ROTATION_EDGES_DEG = (15.0, 30.0, 60.0)
BASELINE_EDGES_M = (0.3, 0.8, 1.6)


@dataclass(frozen=True)
class Pair:
    """Two views by index, in the order in which they are shown, and their mean overlap."""

    first: int
    second: int
    overlap: float


def rotation_between_deg(world_from_a: Array, world_from_b: Array) -> Array:
    """Angle in degrees between orientations; (..., 4, 4) each."""
    a, b = world_from_a[..., :3, :3], world_from_b[..., :3, :3]
    trace = np.einsum("...ij,...ij->...", a, b)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def select_pairs(
    covisible: Covisibility, poses: Array, part: Array, settings: PairSettings, rng: np.random.Generator
) -> tuple[list[Pair], Counter[str]]:
    """Pairs, `settings.per_frame` times the number of views if there are so many, and those left out by reason.

    `poses` (n, 4, 4); `part` (n,) says which split each view belongs to: pairs never cross, and each part has its
    share. Strata of overlap x rotation x baseline are drawn from in turn, so that rare ones are as full as they can
    be; no view is used more than three times the average.
    """
    left_out: Counter[str] = Counter()
    overlaps = covisible.matrix()
    mean = ((overlaps + overlaps.T) / 2).tocoo()
    upper = mean.row < mean.col
    i, j, overlap = mean.row[upper], mean.col[upper], mean.data[upper]
    order = np.lexsort((j, i))
    i, j, overlap = i[order], j[order], overlap[order]
    rotation = rotation_between_deg(poses[i], poses[j])
    baseline = np.linalg.norm(poses[i, :3, 3] - poses[j, :3, 3], axis=-1)
    usable = np.ones(len(i), bool)
    for reason, bad in (
        ("across_splits", part[i] != part[j]),
        ("overlap_too_small", overlap < settings.least_overlap),
        ("overlap_too_great", overlap > settings.greatest_overlap),
        ("twins", (rotation < settings.least_rotation_deg) & (baseline < settings.least_baseline_m)),
    ):
        left_out[reason] += int((usable & bad).sum())
        usable &= ~bad
    i, j, overlap, rotation, baseline = i[usable], j[usable], overlap[usable], rotation[usable], baseline[usable]
    stratum = (
        np.searchsorted(OVERLAP_EDGES, overlap) * 100
        + np.searchsorted(ROTATION_EDGES_DEG, rotation) * 10
        + np.searchsorted(BASELINE_EDGES_M, baseline)
    )
    chosen = []
    for name in np.unique(part):
        members = np.flatnonzero(part[i] == name)
        wanted = round(settings.per_frame * np.count_nonzero(part == name))
        chosen += [members[k] for k in _draw_in_turn(i[members], j[members], stratum[members], wanted, rng)]
    left_out["not_drawn"] += len(i) - len(chosen)
    swap = rng.random(len(chosen)) < 0.5
    pairs = [
        Pair(int(j[k]), int(i[k]), float(overlap[k])) if s else Pair(int(i[k]), int(j[k]), float(overlap[k]))
        for k, s in zip(chosen, swap, strict=True)
    ]
    return sorted(pairs, key=lambda pair: (min(pair.first, pair.second), max(pair.first, pair.second))), +left_out


def grow_groups(
    pairs: list[Pair],
    covisible: Covisibility,
    poses: Array,
    part: Array,
    settings: tuple[PairSettings, GroupSettings],
    rng: np.random.Generator,
) -> tuple[list[tuple[int, ...]], Counter[str]]:
    """Pairs, each grown to a group of as many views as `settings` draws for it, in the order in which they are shown.

    Each new view overlaps with one of the group at least, is no twin of any and of the same part; among these, strata
    of overlap are equally likely. Counted: `no_view_to_add`, groups that stayed smaller than they should.
    """
    pairing, grouping = settings
    sizes = np.array(sorted(grouping.sizes))
    weights = np.array([grouping.sizes[size] for size in sizes.tolist()])
    wanted = rng.choice(sizes, size=len(pairs), p=weights / weights.sum())
    overlaps = covisible.matrix()
    mean = ((overlaps + overlaps.T) / 2).tocsr()
    short: Counter[str] = Counter()
    groups = []
    for pair, size in zip(pairs, wanted.tolist(), strict=True):
        members = [pair.first, pair.second]
        while len(members) < size:
            added = _view_to_add(members, mean, poses, part, pairing, rng)
            if added is None:
                short["no_view_to_add"] += 1
                break
            members.append(added)
        if len(members) > 2:
            members = [members[k] for k in rng.permutation(len(members))]
        groups.append(tuple(members))
    return groups, short


def _view_to_add(
    members: list[int],
    mean: sparse.csr_array,
    poses: Array,
    part: Array,
    settings: PairSettings,
    rng: np.random.Generator,
) -> int | None:
    """A view that goes with a group, or None where there is none."""
    overlap = mean[members].toarray().max(axis=0)
    candidates = np.flatnonzero((overlap >= settings.least_overlap) & (overlap <= settings.greatest_overlap))
    candidates = candidates[(part[candidates] == part[members[0]]) & ~np.isin(candidates, members)]
    rotation = rotation_between_deg(poses[members][:, None], poses[candidates][None])
    baseline = np.linalg.norm(poses[members][:, None, :3, 3] - poses[candidates][None, :, :3, 3], axis=-1)
    twins = ((rotation < settings.least_rotation_deg) & (baseline < settings.least_baseline_m)).any(axis=0)
    candidates = candidates[~twins]
    if len(candidates) == 0:
        return None
    stratum = np.searchsorted(OVERLAP_EDGES, overlap[candidates])
    return int(rng.choice(candidates[stratum == rng.choice(np.unique(stratum))]))


def _draw_in_turn(i: Array, j: Array, stratum: Array, wanted: int, rng: np.random.Generator) -> list[int]:
    """Indices of up to `wanted` candidates, one stratum after the other."""
    views = len(np.union1d(i, j))
    most_uses = max(2, int(np.ceil(3 * 2 * wanted / max(views, 1))))
    queues = []
    for value in np.unique(stratum):
        members = np.flatnonzero(stratum == value)
        queues.append(list(rng.permutation(members)))
    uses: Counter[int] = Counter()
    chosen: list[int] = []
    while queues and len(chosen) < wanted:
        for queue in queues:
            while queue:
                k = int(queue.pop())
                if uses[i[k]] < most_uses and uses[j[k]] < most_uses:
                    uses[i[k]] += 1
                    uses[j[k]] += 1
                    chosen.append(k)
                    break
            if len(chosen) == wanted:
                break
        queues = [queue for queue in queues if queue]
    return chosen
