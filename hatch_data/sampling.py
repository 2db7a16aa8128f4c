"""Which views are asked together: pairs over strata of overlap, rotation and baseline, grown to groups.

Groups of three views and more are of one of these kinds, by poses and co-visibility alone:

    walk    each view overlaps with another: a stretch of the way
    turn    the camera turns on one spot; views next to each other share a little at least
    orbit   the camera goes round a place at which all views look, each from another side
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hatch_data.covisibility import Covisibility
from hatch_data.geometry import Array
from hatch_data.recipe import GroupKind, GroupSettings, PairSettings

OVERLAP_EDGES = (0.25, 0.4, 0.55, 0.7)
ROTATION_EDGES_DEG = (15.0, 30.0, 60.0)
BASELINE_EDGES_M = (0.3, 0.8, 1.6)
#: Views of a `turn` or an `orbit` differ from each other by this rotation.
APART_DEG = 20.0
#: Views of a `turn` lie within this distance of each other.
SPOT_M = 0.5
#: The optical axes of the views of an `orbit` pass each other at this distance, in front of both by more than that.
MEET_M, AHEAD_M = 0.75, 0.75


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


def axes_meet(world_from_a: Array, world_from_b: Array) -> NDArray[np.bool_]:
    """Whether optical axes come within `MEET_M` of each other, `AHEAD_M` in front of both or farther; (..., 4, 4) each.

    The feet of the common perpendicular of two lines; parallel axes meet nowhere.
    """
    a, b = world_from_a[..., :3, 2], world_from_b[..., :3, 2]
    apart = world_from_b[..., :3, 3] - world_from_a[..., :3, 3]
    cosine = np.einsum("...i,...i->...", a, b)
    along_a, along_b = np.einsum("...i,...i->...", a, apart), np.einsum("...i,...i->...", b, apart)
    sine2 = np.maximum(1 - cosine**2, 1e-9)
    ahead_a, ahead_b = (along_a - cosine * along_b) / sine2, (cosine * along_a - along_b) / sine2
    between = apart + ahead_b[..., None] * b - ahead_a[..., None] * a
    near = np.linalg.norm(between, axis=-1) <= MEET_M
    return near & (np.minimum(ahead_a, ahead_b) >= AHEAD_M) & (sine2 > 1e-6)


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

    A group of two is its pair. A `walk` holds the pair and views that overlap with one of the group at least and are
    no twin of any; a `turn` or an `orbit` grows from one view of the pair. All are of one part; among views that fit,
    strata of overlap (of rotation, but for a walk) are equally likely. Counted: `no_view_to_add`, groups that stayed
    smaller than they should; `no_turn`, `no_orbit`, walks for want of three views of that kind.
    """
    pairing, grouping = settings
    sizes, kinds = sorted(grouping.sizes), sorted(grouping.kinds)
    wanted = rng.choice(sizes, size=len(pairs), p=_shares([grouping.sizes[size] for size in sizes]))
    shares = _shares([grouping.kinds[kind] for kind in kinds])
    overlaps = covisible.matrix()
    scene = _Views(((overlaps + overlaps.T) / 2).tocsr(), poses, part, pairing)
    short: Counter[str] = Counter()
    groups = []
    for pair, size in zip(pairs, wanted.tolist(), strict=True):
        members = [pair.first, pair.second]
        if size > 2:
            kind = kinds[rng.choice(len(kinds), p=shares)]
            members = _grown(kind, members, size, scene, rng)
            if len(members) < size:
                short["no_view_to_add" if len(members) > 2 or kind == "walk" else f"no_{kind}"] += 1
            if len(members) < 3 and kind != "walk":
                members = _grown("walk", [pair.first, pair.second], size, scene, rng)
                short["no_view_to_add"] += len(members) < size
        if len(members) > 2:
            members = [members[k] for k in rng.permutation(len(members))]
        groups.append(tuple(members))
    return groups, +short


@dataclass(frozen=True)
class _Views:
    """What groups are grown from: mean overlaps (n, n), poses (n, 4, 4), the part (n,) of each view."""

    overlap: sparse.csr_array
    poses: Array
    part: Array
    settings: PairSettings


def _shares(weights: list[float]) -> Array:
    """Weights (n,) as shares of their sum."""
    return np.array(weights) / np.sum(weights)


def _grown(kind: GroupKind, pair: list[int], size: int, scene: _Views, rng: np.random.Generator) -> list[int]:
    """A pair as a walk of up to `size` views, or the larger of the groups of another kind that grow from its views."""
    best: list[int] = []
    for members in [list(pair)] if kind == "walk" else [[view] for view in pair]:
        while len(members) < size and (added := _view_to_add(kind, members, scene, rng)) is not None:
            members.append(added)
        if len(members) > len(best):
            best = members
        if len(best) == size:
            break
    return best


def _view_to_add(kind: GroupKind, members: list[int], scene: _Views, rng: np.random.Generator) -> int | None:
    """A view that goes with a group, or None where there is none."""
    settings = scene.settings
    overlap = scene.overlap[members].toarray()
    most = overlap.max(axis=0)
    if kind == "turn":
        shared = most > 0
    else:
        least = most if kind == "walk" else overlap.min(axis=0)
        shared = (least >= settings.least_overlap) & (most <= settings.greatest_overlap)
    shared &= scene.part == scene.part[members[0]]
    shared[members] = False
    candidates = np.flatnonzero(shared)
    ours, theirs = scene.poses[members][:, None], scene.poses[candidates][None]
    rotation = rotation_between_deg(ours, theirs)
    baseline = np.linalg.norm(ours[..., :3, 3] - theirs[..., :3, 3], axis=-1)
    if kind == "walk":
        fits = (rotation >= settings.least_rotation_deg) | (baseline >= settings.least_baseline_m)
        stratum = np.searchsorted(OVERLAP_EDGES, most[candidates])
    else:
        fits = (rotation >= APART_DEG) & ((baseline <= SPOT_M) if kind == "turn" else axes_meet(ours, theirs))
        stratum = np.searchsorted(ROTATION_EDGES_DEG, rotation.min(axis=0))
    fits = fits.all(axis=0)
    candidates, stratum = candidates[fits], stratum[fits]
    if len(candidates) == 0:
        return None
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
