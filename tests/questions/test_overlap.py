"""Overlap, by rays into the exact scene."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from hatch_data.questions import Rejection, overlap, shared_view
from tests.questions import exact
from tests.questions.asked import FakeGroup, asked, scenes


def test_against_rays():
    for one in asked("overlap")[0]:
        i, j = (int(number) - 1 for number in re.findall(r"image (\d)", one.question.sentence))
        assert i != j
        told = int(re.fullmatch(r"(\d+) %", one.question.answer)[1])
        assert abs(told - 100 * exact.overlap(one, i, j)) < 6
        assert f"image {i + 1}" in one.question.text
        assert one.question.text.index(f"image {i + 1}") < one.question.text.index(f"image {j + 1}")


class Pair(FakeGroup):
    def __len__(self) -> int:
        return 2


@pytest.mark.parametrize("family", [overlap, shared_view])
def test_what_has_no_depth_is_declined(family):
    found = scenes()[0][1].group((0, 1)).correspondence(0, 1)
    bare = replace(found, map=replace(found.map, valid=np.full_like(found.map.valid, 0.3)))
    group = Pair(correspondence=lambda i, j: bare)
    assert family.ask(group, np.random.default_rng(0)) == Rejection("too_little_depth")
