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
        shows, of = (int(number) - 1 for number in re.findall(r"mage (\d)", one.question.sentence))
        share = exact.overlap(one, of, shows)
        assert (share > 0.44) if one.question.answer == "yes" else (share < 0.16)
        named = [int(number) - 1 for number in re.findall(r"image (\d)", one.question.text)]
        # Who shows comes first where the image is the subject, last where its surface is.
        assert named == ([shows, of] if one.question.text.startswith("Does") else [of, shows])
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
