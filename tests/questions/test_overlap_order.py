"""Which view overlaps most, by rays into the exact scene."""

from __future__ import annotations

from collections import Counter

from tests.questions import exact
from tests.questions.asked import asked


def test_against_rays():
    for one in asked("overlap_order")[0]:
        shares = {f"image {k + 1}": exact.overlap(one, 0, k, 24, 18) for k in range(1, len(one.group))}
        assert tuple(shares) == one.question.options
        assert one.question.answer == max(shares, key=shares.get)
        assert sorted(shares.values())[-1] > sorted(shares.values())[-2] + 0.03
        assert one.question.sentence.startswith(one.question.answer.capitalize())
        assert (" most " in one.question.text) == (len(shares) > 2)


def test_any_place_may_be_right():
    answers = Counter(
        one.question.options.index(one.question.answer) / (len(one.question.options) - 1)
        for one in asked("overlap_order")[0]
    )
    first, last = answers[0.0], answers[1.0]
    assert first + last > 60
    assert abs(first - last) < 4 * (first + last) ** 0.5


def test_what_has_no_clear_answer_is_declined():
    declined = asked("overlap_order")[1]
    assert declined["overlaps_alike"] > 0
    assert declined.keys() <= {"overlaps_alike", "overlap_too_small", "too_little_depth"}
