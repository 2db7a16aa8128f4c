"""Single poses that contradict their neighbours (lost, frozen, jumping), and errors that add up along the way (drift).

Frames a few steps apart are aligned; how far that moves them is how far their poses are off. Frames that agree hang
together; what hangs together apart from the largest part, and contradicts it, is lost.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from hatch_data.doctor.alignment import Misfit, misfit
from hatch_data.doctor.evidence import LEAST_LANDED, Lookout, Model, Pair, spread
from hatch_data.doctor.verdicts import Measure, Verdict

#: Steps between frames of which each is compared with the next.
STEPS = (1, 2, 3, 5, 8, 13, 21)
#: Frames agree that alignment moves by less than this share of depth, or this many times what is usual a step apart.
STILL_SHARE, STILL_TIMES = 0.03, 8.0
#: They contradict each other where fewer points agree than this share of what is usual at their distance; where less
#: is usual than `LEAST_USUAL`, most of it is wrong.
CONTRADICT, LEAST_USUAL = 0.4, 0.7
#: A pose stands still while the surface moves by more than this share of depth.
FROZEN_SHARE = 0.01
#: Alignment is believed where this share of the points agrees after it, and so much more than before.
BELIEVED, LEAST_GAIN = 0.5, 0.1
#: At a distance at which fewer points usually agree, poses drift: nothing is told about single ones.
TELLING = 0.6
#: Contradictions that it takes to call a frame lost, and how many of them to one agreement, which may be chance.
LEAST_BAD, OUTVOTED = 2, 4
#: Drift: far apart, alignment moves frames by more than this share of depth, and so many times more than a step apart.
DRIFT_SHARE, DRIFT_TIMES = 0.04, 3.0
#: Alignment then makes this share of the points agree, and so much more than before.
DRIFT_BELIEVED, DRIFT_GAIN = 0.7, 0.25
#: Frames further apart than the longest gap that is proposed are moved by more than this share of depth.
TOLERATED = 0.015
#: Pairs compared at a distance, and how many of them must tell something.
PAIRS_AT_A_GAP, LEAST_PAIRS = 30, 8
#: A scan of which more is lost than this is no use.
MOST_LOST = 0.5


class Edge(NamedTuple):
    """Two frames compared, `step` frames apart."""

    step: int
    found: Misfit


@dataclass(frozen=True)
class Walk:
    """What is found along the way: which frames (n,) of the lookout are `lost`, and verdicts."""

    lost: NDArray[np.bool_]
    verdicts: list[Verdict]


def follow(lookout: Lookout, model: Model, ids: list[str], stride: float = 1.0) -> Walk:
    """Judge the poses of a model: those of a scan's frames in order of capture, of which one in `stride` is looked at.
    `ids` are theirs."""
    depth_m = lookout.median_depth_m * model.scale
    posed = ~np.isnan(model.poses[:, 0, 0])
    frozen = _frozen(lookout, model, depth_m)
    edges = _edges(lookout, model, np.flatnonzero(posed & ~frozen))
    lost = frozen | _apart(edges, len(posed), depth_m)
    verdicts = []
    if lost.any():
        touching = {**edges, **_edges(lookout, model, np.flatnonzero(posed), (1, 2))}
        verdicts.append(_lost_verdict(lost, touching, ids))
    return Walk(lost, [*verdicts, *_drift(lookout, model, np.flatnonzero(posed & ~lost), depth_m, stride)])


def ranges(ids: list[str], chosen: NDArray[np.bool_]) -> list[str]:
    """Ids as `scan.skip` takes them: first..last where they follow each other."""
    return [ids[first] if first == last else f"{ids[first]}..{ids[last]}" for first, last in _runs(chosen)]


def _runs(chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last number of each run of what is chosen."""
    rise = np.diff(chosen.astype(np.int8), prepend=0, append=0)
    return list(zip(np.flatnonzero(rise > 0).tolist(), (np.flatnonzero(rise < 0) - 1).tolist(), strict=True))


def _edges(
    lookout: Lookout, model: Model, frames: NDArray[np.int64], steps: tuple[int, ...] = STEPS
) -> dict[Pair, Edge]:
    """Frames some steps apart, of those given, that share enough to tell."""
    edges = {}
    for step in steps:
        for first, second in zip(frames.tolist(), frames[step:].tolist(), strict=False):
            # A camera that jumped ahead sees nothing in front of what it should, but is seen so itself.
            both = [misfit(lookout, model, *pair) for pair in ((first, second), (second, first))]
            told = [found for found in both if found.landed >= LEAST_LANDED]
            if told:
                edges[first, second] = Edge(step, min(told, key=lambda found: found.before))
    return edges


def _usual(edges: dict[Pair, Edge]) -> dict[int, tuple[float, float]]:
    """By step: median of how far alignment moves, in metres, and of the share that agrees before it."""
    by_step = defaultdict(list)
    for step, found in edges.values():
        by_step[step].append((found.moved_m, found.before))
    return {step: tuple(np.median(values, axis=0).tolist()) for step, values in by_step.items()}


def _apart(edges: dict[Pair, Edge], count: int, depth_m: float) -> NDArray[np.bool_]:
    """Frames that contradict most of the others they are compared with, and frames that hang together apart from most
    and contradict them."""
    good, bad = _sorted_out(edges, depth_m)
    votes = np.zeros((2, count), np.int64)
    for side, pairs in enumerate((good, bad)):
        np.add.at(votes[side], np.array(pairs, np.int64).ravel(), 1)
    lost = (votes[1] >= LEAST_BAD) & (votes[1] >= OUTVOTED * votes[0])
    i, j = np.array([pair for pair in good if not lost[list(pair)].any()], int).reshape(-1, 2).T
    graph = sparse.csr_array((np.ones(len(i)), (i, j)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    most = int(np.bincount(label[~lost], minlength=1).argmax())
    for part in np.unique(label[(label != most) & ~lost]):
        against = sum(_joins(pair, label, int(part), most) for pair in bad)
        told = sum(_joins(pair, label, int(part), most) for pair in edges)
        if against >= LEAST_BAD and 2 * against >= told:
            lost |= label == part
    return lost


def _sorted_out(edges: dict[Pair, Edge], depth_m: float) -> tuple[list[Pair], list[Pair]]:
    """Pairs that agree, and pairs that contradict each other; the rest does not tell."""
    usual = _usual(edges)
    good, bad = [], []
    for pair, (step, found) in edges.items():
        moved, before = usual[step]
        if before < TELLING:
            continue
        still = max(STILL_SHARE * depth_m, STILL_TIMES * max(moved, usual.get(1, (0.0, 1.0))[0]))
        moves = found.moved_m > still and found.after > BELIEVED and found.after - found.before > LEAST_GAIN
        if moves or found.before < CONTRADICT * max(before, LEAST_USUAL):
            bad.append(pair)
        elif found.moved_m <= still:
            good.append(pair)
    return good, bad


def _joins(pair: Pair, label: NDArray, part: int, other: int) -> bool:
    return {int(label[pair[0]]), int(label[pair[1]])} == {part, other}


def _frozen(lookout: Lookout, model: Model, depth_m: float) -> NDArray[np.bool_]:
    """Frames whose pose is that of the frame before, to the last digit, while the camera moves on: the first of a run
    is where its pose says."""
    same = np.append(False, np.abs(np.diff(model.poses, axis=0)).max(axis=(1, 2)) < 1e-9)
    frozen = np.zeros(len(same), bool)
    for first, last in _runs(same):
        found = misfit(lookout, model, first - 1, last)
        frozen[first : last + 1] = found.moved_m > FROZEN_SHARE * depth_m or found.before < CONTRADICT
    return frozen


def _lost_verdict(lost: NDArray[np.bool_], edges: dict[Pair, Edge], ids: list[str]) -> Verdict:
    near = {pair: found for pair, (step, found) in edges.items() if step <= 2}
    touching = [found for (i, j), found in near.items() if lost[i] or lost[j]]
    others = [found for (i, j), found in near.items() if not (lost[i] or lost[j])]
    skip = ranges(ids, lost)
    text = (
        f"{int(lost.sum())} of {len(ids)} frames in {len(skip)} stretches contradict their neighbours: their poses are "
        f"lost, frozen or jump ({', '.join(skip[:3])}{', ...' if len(skip) > 3 else ''})"
    )
    fix = {"skip": skip} if lost.mean() <= MOST_LOST else {}
    return Verdict("fault", "lost or jumping poses", text, fix, _measure(touching), _measure(others))


def _measure(found: list[Misfit]) -> Measure | None:
    if not found:
        return None
    return Measure(100 * float(np.median([m.moved_m for m in found])), float(np.mean([m.before for m in found])))


def _drift(lookout: Lookout, model: Model, kept: NDArray[np.int64], depth_m: float, stride: float) -> list[Verdict]:
    """Whether frames are the further off the further they are apart, and the gap up to which they can be asked."""
    moved = _moved_by_gap(lookout, model, kept)
    if not moved:
        return []
    near = moved[min(moved)][0]
    far_off = max(DRIFT_SHARE * depth_m, DRIFT_TIMES * near)
    drifting = {g: told for g, told in moved.items() if told[0] > far_off and told[2] - told[1] > DRIFT_GAIN}
    if not drifting:
        return []
    worst = max(drifting, key=lambda gap: drifting[gap][0])
    far, before, _ = drifting[worst]
    tolerated = max(TOLERATED * depth_m, 1.3 * near)
    longest = max((gap for gap in moved if all(moved[g][0] <= tolerated for g in moved if g <= gap)), default=1)
    apart, gap = round(worst * stride), int(longest * stride)
    text = (
        f"frames {apart} apart are {100 * far:.0f} cm off each other, neighbours {100 * near:.1f} cm; "
        f"up to {gap} apart they can be asked together"
    )
    at_gap = Measure(100 * moved[longest][0], moved[longest][1])
    return [Verdict("fault", "drifting poses", text, {"longest_gap": gap}, Measure(100 * far, before), at_gap)]


def _moved_by_gap(lookout: Lookout, model: Model, kept: NDArray[np.int64]) -> dict[int, tuple[float, float, float]]:
    """By gap between frames, medians of how far alignment moves, in metres, and of the shares that agree before and
    after, over the pairs that it brings together."""
    moved: dict[int, tuple[float, float, float]] = {}
    gap = 1
    while gap < len(kept):
        starts = spread(len(kept) - gap, PAIRS_AT_A_GAP)
        found = [misfit(lookout, model, int(kept[k]), int(kept[k + gap])) for k in starts]
        found = [m for m in found if m.landed >= LEAST_LANDED and m.after > DRIFT_BELIEVED]
        if len(found) >= LEAST_PAIRS:
            told = np.median([(m.moved_m, m.before, m.after) for m in found], axis=0)
            moved[gap] = (float(told[0]), float(told[1]), float(told[2]))
        gap = max(gap + 1, round(gap * 1.5))
    return moved
