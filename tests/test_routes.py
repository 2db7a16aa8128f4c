"""Routes through views that overlap, against all paths there are."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from hatch_data.actions import ActionLanguage, chain_bound, error, execute
from hatch_data.motion import Motion, between, compose
from hatch_data.routes import shortest_route, step_by_step
from tests.questions.asked import scenes


@given(st.integers(0, 2**32 - 1))
def test_against_all_paths(seed):
    """Fewest steps, and the greatest sum of overlap among these, by trying all orders of up to six views."""
    rng = np.random.default_rng(seed)
    views = int(rng.integers(2, 7))
    overlap = rng.uniform(0, 1, (views, views)) * (rng.uniform(size=(views, views)) < 0.5)
    mean = (overlap + overlap.T) / 2
    paths = [
        (0, *inner, views - 1)
        for count in range(views - 1)
        for inner in permutations(range(1, views - 1), count)
        if all(mean[step] >= 0.2 for step in pairwise((0, *inner, views - 1)))
    ]
    found = shortest_route(overlap, 0, views - 1)
    if not paths:
        assert found == ()
        return
    fewest = min(map(len, paths))
    best = max(sum(mean[step] for step in pairwise(path)) for path in paths if len(path) == fewest)
    assert found in paths
    assert len(found) == fewest
    assert sum(mean[step] for step in pairwise(found)) == pytest.approx(best)
    assert shortest_route(sparse.csr_array(overlap), 0, views - 1) == found


def test_where_there_is_nothing_to_walk():
    assert shortest_route(np.eye(3), 1, 1) == (1,)
    assert shortest_route(np.eye(3), 0, 2) == ()


@pytest.mark.parametrize("vocabulary", ["full", "hatch"])
def test_steps_lead_from_view_to_view(vocabulary):
    language = ActionLanguage(vocabulary=vocabulary)
    stances = scenes()[0][1].stances
    route = (3, 9, 14, 20)
    steps = step_by_step(stances, route, language)
    exact = [between(stances[a], stances[b]) for a, b in pairwise(route)]
    walked = Motion()
    for actions in steps:
        walked = compose(walked, execute(actions))
    assert len(steps) == 3
    end = between(stances[3], stances[20])
    assert error(end, walked, ActionLanguage()).within(chain_bound(exact, language))
