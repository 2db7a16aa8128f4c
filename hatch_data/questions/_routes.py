"""Pairs of a group that hardly overlap, and the way from one to the other through views that do."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Rejection
from hatch_data.routes import shortest_route

#: Two views that share less than this are joined through others; what is shown helps little without these.
HARDLY = 0.1
#: Views of a group looked at: the overlaps of all their pairs are needed.
MOST_VIEWS = 4


def indirect_route(group: ViewGroup, rng: np.random.Generator) -> tuple[int, ...] | Rejection:
    """Three or more views, each overlapping with the next by `routes.LEAST_OVERLAP`, the ends by less than `HARDLY`.

    Rejected: `no_route` (no such views).
    """
    views = rng.permutation(len(group))[:MOST_VIEWS].tolist()
    overlap = np.zeros((len(views), len(views)))
    for a in range(len(views)):
        for b in range(a):
            overlap[a, b] = overlap[b, a] = group.overlap(views[a], views[b])
    apart = [(a, b) for a in range(len(views)) for b in range(len(views)) if a != b and overlap[a, b] < HARDLY]
    for k in rng.permutation(len(apart)).tolist():
        if route := shortest_route(overlap, *apart[k]):
            return tuple(views[index] for index in route)
    return Rejection("no_route")
