"""Orders along a path, by the frames' numbers and their distances."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, permutations

import numpy as np

from hatch_data.questions import Question, Rejection, view_order
from tests.questions.asked import asked, groups, scenes
from tests.questions.plan import images


def test_against_the_walk():
    """Frames in the order of the answer have rising numbers, lie ever farther from the first, and every other order
    of the same views is a longer way."""
    for one in asked("view_order")[0]:
        order = images(one.question.answer)
        frames = [one.indices[k] for k in order]
        assert sorted(order) == list(range(len(one.group)))
        assert frames == sorted(frames)
        assert images(one.question.text)[0] == order[0]
        places = [one.pose(k)[:3, 3] for k in order]
        away = [float(np.linalg.norm(place - places[0])) for place in places]
        assert all(b >= a + 0.25 for a, b in pairwise(away))
        later = range(1, len(places))
        ways = {way: length([places[k] for k in (0, *way)]) for way in permutations(later)}
        assert min(ways, key=ways.__getitem__) == tuple(later)
        assert one.question.sentence == f"The order is {one.question.answer}."


def length(places: list[np.ndarray]) -> float:
    """Of the way through these places."""
    return sum(float(np.linalg.norm(b - a)) for a, b in pairwise(places))


def test_options_begin_alike_and_hold_the_answer_anywhere():
    ranks = Counter()
    for one in asked("view_order")[0]:
        options = one.question.options
        assert len(set(options)) == len(options) == (2 if len(one.group) == 3 else 4)
        assert len({images(option)[0] for option in options}) == 1
        assert all(sorted(images(option)) == list(range(len(one.group))) for option in options)
        ranks[options.index(one.question.answer), len(options)] += 1
    for rank, size in ranks:
        expected = sum(count for (_, s), count in ranks.items() if s == size) / size
        assert abs(ranks[rank, size] - expected) < 4 * expected**0.5


def test_every_order_is_as_often_right():
    orders = Counter()
    for number, (_, group) in zip(range(1200), groups(3, 3, 5), strict=False):
        question = view_order.ask(group, np.random.default_rng(number))
        if isinstance(question, Question):
            orders[question.answer] += 1
    expected = orders.total() / 6
    assert len(orders) == 6
    assert sum((count - expected) ** 2 / expected for count in orders.values()) < 20.5  # chi-square, 0.1 %


def test_winding_paths_are_declined():
    assert asked("view_order")[1].keys() == {"winding_path"}
    still = scenes()[0][1].group((4, 4, 4))
    assert view_order.ask(still, np.random.default_rng(0)) == Rejection("winding_path")
