"""Where actions lead, by dead reckoning to each of the images."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from hatch_data.questions import Rejection, view_after_actions
from tests.questions.asked import asked, scenes
from tests.questions.plan import images, misses


def test_against_dead_reckoning():
    for one in asked("view_after_actions")[0]:
        said = ", ".join(re.findall(r"(?:move|turn|roll)_\w+ [\d.]+(?:m|deg)", one.question.text))
        candidates = images(" ".join(one.question.options))
        off = {k: misses(said, one.pose(0), one.pose(k)) for k in candidates}
        truth = images(one.question.answer)[0]
        assert 0 not in candidates
        assert off[truth][0] <= 0.05 + 1e-6
        assert off[truth][1] <= 2.5 + 1e-6
        for k in candidates:
            # In place by more than 0.4 m, or in orientation by more than 20 degrees, of which one angle has its part.
            assert k == truth or off[k][0] > 0.4 / 3**0.5 - 0.05 or off[k][1] > 20 / 3**0.5 - 2.5
        assert images(one.question.sentence) == [0, truth]


def test_images_are_even():
    ranks = Counter()
    for one in asked("view_after_actions")[0]:
        ranks[one.question.options.index(one.question.answer), len(one.question.options)] += 1
    for rank, size in ranks:
        expected = sum(count for (_, s), count in ranks.items() if s == size) / size
        assert abs(ranks[rank, size] - expected) < 4 * expected**0.5


def test_what_has_no_clear_answer_is_declined():
    assert asked("view_after_actions")[1].keys() == {"no_motion", "views_alike", "overlap_too_small"}
    views, rng = scenes()[0][1], np.random.default_rng(0)
    assert view_after_actions.ask(views.group((4, 4, 4)), rng) == Rejection("no_motion")
    assert view_after_actions.ask(views.group((0, 12, 12)), rng) == Rejection("views_alike")
