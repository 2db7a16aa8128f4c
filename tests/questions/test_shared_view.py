"""Shared views, by rays into the exact scene."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np

from hatch_data.questions import Rejection, shared_view
from tests.questions import exact
from tests.questions.asked import FakeGroup, asked, scenes


def test_against_rays():
    questions, declined = asked("shared_view")
    for one in questions:
        i, j = (int(number) - 1 for number in re.findall(r"image (\d)", one.question.sentence))
        assert re.findall(r"image (\d)", one.question.text) == [str(i + 1), str(j + 1)]
        share = exact.overlap(one, i, j)
        assert (share > 0.44) if one.question.answer == "yes" else (share < 0.16)
        assert one.question.sentence.startswith(one.question.answer.capitalize())
    # Few views that are taken near each other share next to nothing.
    answers = Counter(one.question.answer for one in questions)
    assert answers["yes"] > answers["no"] >= 3
    assert declined["overlap_in_between"]


class Pair(FakeGroup):
    def __len__(self) -> int:
        return 2


def test_what_has_no_depth_is_declined():
    found = scenes()[0][1].group((0, 1)).correspondence(0, 1)
    bare = replace(found, map=replace(found.map, valid=np.full_like(found.map.valid, 0.3)))
    group = Pair(correspondence=lambda i, j: bare)
    assert shared_view.ask(group, np.random.default_rng(0)) == Rejection("too_little_depth")
