"""Shared views, by rays into the exact scene."""

from __future__ import annotations

import re
from collections import Counter

from tests.questions import exact
from tests.questions.asked import asked


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
