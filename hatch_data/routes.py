"""Stepwise paths through intermediate views, for views that hardly overlap.

overlaps of all views --shortest_route--> A, B, C --step_by_step--> actions A to B, actions B to C
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from hatch_data.actions import ActionLanguage, Actions, encode
from hatch_data.motion import Motion, between

#: Views that share less of their surface than this are no step of a route.
LEAST_OVERLAP = 0.2
#: Two views that share less than this are joined through others; what is shown helps little without these.
HARDLY = 0.1


def shortest_route(
    overlap: sparse.csr_array | NDArray, source: int, target: int, least_overlap: float = LEAST_OVERLAP
) -> tuple[int, ...]:
    """Views from `source` to `target`, both included, each overlapping with the next by `least_overlap` in the mean of
    both ways; () where there is no such path.

    `overlap` (views, views) holds directed shares (`Covisibility.matrix`). As few steps as can be, and among such
    paths the one whose steps overlap most in sum.
    """
    steps, before = shortest_routes(step_graph(overlap, least_overlap), source)
    return way_to(target, before) if np.isfinite(steps[target]) else ()


def step_graph(overlap: sparse.csr_array | NDArray, least_overlap: float = LEAST_OVERLAP) -> sparse.csr_array:
    """(views, views) costs of the steps there are, a little over 1 each; `overlap` as in `shortest_route`."""
    directed = sparse.csr_array(overlap)
    mean = ((directed + directed.T) / 2).tocoo()
    views = mean.shape[0]
    step = (mean.data >= least_overlap) & (mean.row != mean.col)
    # What overlap saves on all steps of a path together is less than one step.
    cost = 1 + (1 - np.minimum(mean.data[step], 1.0)) / views
    return sparse.csr_array((cost, (mean.row[step], mean.col[step])), shape=mean.shape)


def shortest_routes(graph: sparse.csr_array, source: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """From one view to every other in a `step_graph`: the number of steps (views,), inf where there is no path, and the
    view before each on its route (views,), for `way_to`."""
    cost, before = dijkstra(graph, indices=source, return_predecessors=True)
    return np.floor(cost), before


def way_to(target: int, before: NDArray[np.int32]) -> tuple[int, ...]:
    """The views of a route that `shortest_routes` found, from its source to `target`."""
    route = [target]
    while (previous := int(before[route[-1]])) >= 0:
        route.append(previous)
    return tuple(reversed(route))


def step_by_step(stances: Sequence[Motion], route: Sequence[int], language: ActionLanguage) -> list[Actions]:
    """The actions of each step of a route; `stances[k]` is that of view k (`motion.stance`).

    Each step is said from where the view before it really stands, so the bound of a step does not grow along the
    route; done one after the other without looking, they end within `actions.chain_bound`.
    """
    return [encode(between(stances[a], stances[b]), language) for a, b in pairwise(route)]
