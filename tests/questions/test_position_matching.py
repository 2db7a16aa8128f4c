"""Boxes of objects (SPAR), around the pixels whose rays meet them."""

from __future__ import annotations

import re

import numpy as np

from hatch_data.asking import alike
from hatch_data.questions import Question
from hatch_data.questions.position_matching import PHRASINGS, SCALE
from tests.questions.asked import asked
from tests.questions.exact_objects import extent, objects, overlap, shown


def test_against_rays():
    for one in asked("position_matching")[0]:
        ((k, index),) = objects(one).values()
        assert k == 0
        box = np.array([int(number) for number in re.findall(r"\d+", one.question.answer)]) / 1000
        assert one.question.answer == f"[{', '.join(str(round(1000 * v)) for v in box)}]"
        assert overlap(box, extent(shown(one, 1) == index)) > 0.5
        assert one.question.answer in one.question.sentence


def test_most_boxes_are_tight():
    fits = []
    for one in asked("position_matching")[0]:
        ((_, index),) = objects(one).values()
        box = np.array([int(number) for number in re.findall(r"\d+", one.question.answer)]) / 1000
        fits.append(overlap(box, extent(shown(one, 1) == index)))
    assert np.median(fits) > 0.9


def test_text_is_the_same_for_all_objects():
    assert {one.question.text for one in asked("position_matching")[0]} == {f"{p} {SCALE}" for p in PHRASINGS}


def test_boxes_beside_each_other_are_different():
    def at(left: int) -> Question:
        box = (left, 400, left + 100, 500)
        return Question("", str(box), "", place=tuple(value / 200 for value in box))

    assert alike(at(100), at(220))
    assert not alike(at(100), at(260))
