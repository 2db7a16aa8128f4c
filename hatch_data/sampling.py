"""Which views are asked together: pairs over strata of overlap, rotation, baseline, occlusion and texture, grown to
groups.

Groups of three views and more are of one of these kinds, by poses and co-visibility alone:

    walk    each view overlaps with another: a stretch of the way
    turn    the camera turns on one spot; views next to each other share a little at least
    orbit   the camera goes round a place at which all views look, each from another side
    route   two views that hardly overlap, and the views of the shortest way from one to the other
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hatch_data.covisibility import Covisibility
from hatch_data.geometry import Array
from hatch_data.recipe import GroupKind, GroupSettings, PairSettings
from hatch_data.routes import HARDLY, LEAST_OVERLAP, shortest_routes, step_graph, way_to

#: Few classes of each, so that strata of all five together can be filled: 2 x 2 times 4 x 3 x 3.
OVERLAP_EDGES = (0.25, 0.45, 0.65)
ROTATION_EDGES_DEG = (15.0, 40.0)
BASELINE_EDGES_M = (0.3, 1.0)
#: Mean share of the surface of one view that lies inside the image of the other, hidden behind something.
HIDDEN_EDGES = (0.1,)
#: Texture (`quality.texture`) of the plainer of both views.
TEXTURE_EDGES = (0.9,)
_CLASSES = (len(HIDDEN_EDGES) + 1) * (len(TEXTURE_EDGES) + 1)
#: Views of a `turn` or an `orbit` differ from each other by this rotation.
APART_DEG = 20.0
#: Views of a `turn` lie within this distance of each other.
SPOT_M = 0.5
#: The optical axes of the views of an `orbit` pass each other at this distance, in front of both by more than that.
MEET_M, AHEAD_M = 0.75, 0.75

#: Views next to each other on a `route` share this, its ends less than that: overlaps of co-visibility are estimates,
#: and those who ask about routes measure again.
STEP_OVERLAP, APART_OVERLAP = LEAST_OVERLAP + 0.05, HARDLY / 2


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
    covisible: Covisibility,
    poses: Array,
    part: Array,
    settings: PairSettings,
    rng: np.random.Generator,
    texture: Array | None = None,
) -> tuple[list[Pair], Counter[str]]:
    """Pairs, `settings.per_frame` times the number of views if there are so many, and those left out by reason.

    `poses` (n, 4, 4); `part` (n,) says which split each view belongs to: pairs never cross, and each part has its
    share; `texture` (n,) is that of `quality.texture`, None where it is all the same. Classes of occlusion x texture
    are drawn from in turn, and within each the strata of overlap x rotation x baseline, so that rare ones are as full
    as they can be; no view is used more than three times the average.
    """
    left_out: Counter[str] = Counter()
    i, j, overlap, hidden = covisible.pairs()
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
    texture = np.ones(len(poses)) if texture is None else texture
    stratum = strata(overlap, rotation, baseline, hidden, np.minimum(texture[i], texture[j]))[usable]
    i, j, overlap = i[usable], j[usable], overlap[usable]
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


def strata(
    overlap: NDArray, rotation_deg: NDArray, baseline_m: NDArray, hidden: NDArray, texture: NDArray
) -> NDArray[np.int64]:
    """The number of the stratum of each of some pairs; (n,) each."""
    found = np.zeros(len(overlap), np.int64)
    for edges, value in (
        (OVERLAP_EDGES, overlap),
        (ROTATION_EDGES_DEG, rotation_deg),
        (BASELINE_EDGES_M, baseline_m),
        (HIDDEN_EDGES, hidden),
        (TEXTURE_EDGES, texture),
    ):
        found = found * (len(edges) + 1) + np.searchsorted(edges, value)
    return found


def grow_groups(
    pairs: list[Pair],
    covisible: Covisibility,
    poses: Array,
    part: Array,
    settings: tuple[PairSettings, GroupSettings],
    rng: np.random.Generator,
    order: NDArray | None = None,
    longest_gap: int | None = None,
) -> tuple[list[tuple[int, ...]], Counter[str]]:
    """Pairs, each grown to a group of as many views as `settings` draws for it, in the order in which they are shown.

    A group of two is its pair. A `walk` holds the pair and views that overlap with one of the group at least and are
    no twin of any; a `turn`, an `orbit` or a `route` grows from one view of the pair, a route by further views as a
    walk does. All are of one part, and at most `longest_gap` from each other in `order` (n,), their places in the scan
    (None: any), as the pairs have to be already (`covisibility.within`); among views that fit, strata of overlap (of
    rotation, for a turn or an orbit) are equally likely. Counted: `no_view_to_add`, groups that stayed smaller than
    they should; `no_turn`, `no_orbit`, `no_route`, walks for want of three views of that kind.
    """
    pairing, grouping = settings
    sizes, kinds = sorted(grouping.sizes), sorted(grouping.kinds)
    wanted = rng.choice(sizes, size=len(pairs), p=_shares([grouping.sizes[size] for size in sizes]))
    shares = _shares([grouping.kinds[kind] for kind in kinds])
    overlaps = covisible.matrix()
    overlap, order = ((overlaps + overlaps.T) / 2).tocsr(), np.arange(len(poses)) if order is None else order
    scene = _Views(overlap, poses, part, pairing, covisible.crowded(), order, longest_gap)
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
    """What groups are grown from: mean overlaps (n, n), poses (n, 4, 4), the part (n,) of each view, of which views
    some overlaps are not known (n,), their places (n,) in the scan, and the longest gap between two of a group."""

    overlap: sparse.csr_array
    poses: Array
    part: Array
    settings: PairSettings
    crowded: NDArray[np.bool_]
    order: NDArray
    longest_gap: int | None

    def near(self, members: Sequence[int]) -> NDArray[np.bool_]:
        """Which views (n,) are within the gap of every one of `members`."""
        if self.longest_gap is None:
            return np.ones(len(self.order), bool)
        return (np.abs(self.order - self.order[list(members)][:, None]) <= self.longest_gap).all(axis=0)

    @cached_property
    def steps(self) -> sparse.csr_array:
        """The graph of the steps of routes (`routes.step_graph`): none from part to part, none between twins."""
        mean = self.overlap.tocoo()
        step = (self.part[mean.row] == self.part[mean.col]) & (mean.data <= self.settings.greatest_overlap)
        kept = sparse.csr_array((mean.data[step], (mean.row[step], mean.col[step])), shape=mean.shape)
        return step_graph(kept, STEP_OVERLAP)


def _shares(weights: list[float]) -> Array:
    """Weights (n,) as shares of their sum."""
    return np.array(weights) / np.sum(weights)


def _grown(kind: GroupKind, pair: list[int], size: int, scene: _Views, rng: np.random.Generator) -> list[int]:
    """A pair as a walk of up to `size` views, or the larger of the groups of another kind that grow from its views."""
    best: list[int] = []
    for seed in [list(pair)] if kind == "walk" else [[view] for view in pair]:
        members = _route(seed[0], size, scene, rng) if kind == "route" else seed
        while members and len(members) < size and (added := _view_to_add(kind, members, scene, rng)) is not None:
            members.append(added)
        if len(members) > len(best):
            best = members
        if len(best) == size:
            break
    return best


def _route(start: int, size: int, scene: _Views, rng: np.random.Generator) -> list[int]:
    """The shortest way of up to `size` views to one that shares next to nothing with `start`, numbers of steps being
    equally likely; [] where there is none."""
    steps, before = shortest_routes(scene.steps, start)
    overlap = scene.overlap[[start]].toarray()[0]
    earlier = np.minimum(start, np.arange(len(overlap)))
    apart = (overlap < APART_OVERLAP) & ((overlap > 0) | ~scene.crowded[earlier])
    ends = np.flatnonzero(apart & (steps >= 2) & (steps < size) & scene.near([start]))
    if scene.longest_gap is not None:
        ways = [list(way_to(int(end), before)) for end in ends]
        ends = ends[np.array([scene.near(way)[way].all() for way in ways], bool)]
    if len(ends) == 0:
        return []
    number = rng.choice(np.unique(steps[ends]))
    return list(way_to(int(rng.choice(ends[steps[ends] == number])), before))


def _view_to_add(kind: GroupKind, members: list[int], scene: _Views, rng: np.random.Generator) -> int | None:
    """A view that goes with a group, or None where there is none."""
    settings = scene.settings
    overlap = scene.overlap[members].toarray()
    most = overlap.max(axis=0)
    if kind == "turn":
        shared = most > 0
    else:
        least = overlap.min(axis=0) if kind == "orbit" else most
        shared = (least >= settings.least_overlap) & (most <= settings.greatest_overlap)
    shared &= (scene.part == scene.part[members[0]]) & scene.near(members)
    shared[members] = False
    candidates = np.flatnonzero(shared)
    ours, theirs = scene.poses[members][:, None], scene.poses[candidates][None]
    rotation = rotation_between_deg(ours, theirs)
    baseline = np.linalg.norm(ours[..., :3, 3] - theirs[..., :3, 3], axis=-1)
    if kind in ("walk", "route"):
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


def _draw_in_turn(i: NDArray, j: NDArray, stratum: NDArray, wanted: int, rng: np.random.Generator) -> list[int]:
    """Indices of up to `wanted` candidates: one class of occlusion and texture after the other, and of each class one
    stratum after the other, in random order."""
    views = len(np.union1d(i, j))
    most_uses = max(2, int(np.ceil(3 * 2 * wanted / max(views, 1))))
    classes: dict[int, deque[list[int]]] = {}
    for value in rng.permutation(np.unique(stratum)).tolist():
        queue = rng.permutation(np.flatnonzero(stratum == value)).tolist()
        classes.setdefault(value % _CLASSES, deque()).append(queue)
    uses: Counter[int] = Counter()
    chosen: list[int] = []
    while len(chosen) < wanted and any(classes.values()):
        for queues in classes.values():
            k = _next_of(queues, lambda k: uses[i[k]] < most_uses and uses[j[k]] < most_uses)
            if k is not None and len(chosen) < wanted:
                uses[i[k]] += 1
                uses[j[k]] += 1
                chosen.append(k)
    return chosen


def _next_of(queues: deque[list[int]], usable: Callable[[int], bool]) -> int | None:
    """Take the last usable candidate of the first queue that has one; what is not usable is gone for good. The queue
    goes to the end, empty ones go."""
    while queues:
        queue = queues.popleft()
        while queue:
            if usable(k := queue.pop()):
                queues.append(queue)
                return k
    return None
