"""Pairs of a group that hardly overlap, and the way from one to the other through views that do."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.routes import HARDLY, shortest_route

#: Views of a group looked at: the overlaps of all their pairs are needed.
MOST_VIEWS = 4


def indirect_routes(group: ViewGroup, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Routes of three or more views, in random order: each view overlaps with the next by `routes.LEAST_OVERLAP`, the
    ends by less than `routes.HARDLY`."""
    views = rng.permutation(len(group))[:MOST_VIEWS].tolist()
    overlap = np.zeros((len(views), len(views)))
    for a, b in combinations(range(len(views)), 2):
        overlap[a, b] = overlap[b, a] = group.overlap(views[a], views[b])
    apart = [(a, b) for a, b in permutations(range(len(views)), 2) if overlap[a, b] < HARDLY]
    routes = [shortest_route(overlap, *apart[k]) for k in rng.permutation(len(apart)).tolist()]
    return [tuple(views[k] for k in route) for route in routes if route]
