"""Boxes that follow a place through the views, by rays into the exact scene."""

from __future__ import annotations

import re
from itertools import permutations

from hatch_data.questions import track_match
from tests.questions import exact
from tests.questions.asked import asked


def test_against_rays():
    """From every marked view more of the place is seen in the box of the answer than in any other, and not little."""
    for one in asked("track_match")[0]:
        k = int(re.search(r"[Ii]n image (\d)", one.question.sentence)[1]) - 1
        truth = one.question.options.index(one.question.answer)
        for i, (*_, marker) in one.question.markers.items():
            if i != k:
                inside = exact.share_inside(one, i, marker, k, one.question.markers[k])
                assert inside[truth] > 0.3
                assert sorted(inside)[-2] < 0.05


def test_middles_agree():
    """What any box has in its middle, every other has inside: to within the step of the flow, a seventh of a patch."""
    for one in asked("track_match")[0]:
        k = int(re.search(r"[Ii]n image (\d)", one.question.sentence)[1]) - 1
        truth = one.question.options.index(one.question.answer)
        boxes = {i: marks[truth if i == k else 0].box for i, marks in one.question.markers.items()}
        for i, j in permutations(boxes, 2):
            left, top, right, bottom = boxes[i]
            x, y, _ = exact.place(one, j, exact.behind(one, i, (left + right) / 2, (top + bottom) / 2))
            left, top, right, bottom = boxes[j]
            assert abs(x - (left + right) / 2) < 0.65 * (right - left)
            assert abs(y - (top + bottom) / 2) < 0.65 * (bottom - top)


def test_text_names_every_view_with_a_mark():
    for one in asked("track_match")[0]:
        k = int(re.search(r"[Ii]n image (\d)", one.question.sentence)[1]) - 1
        marked = sorted(set(one.question.markers) - {k})
        assert len(marked) >= track_match.LEAST_MARKED
        told = re.search(r"[Ii]mages ([\d, ]+ and \d)", one.question.text)[1]
        assert [int(number) - 1 for number in re.findall(r"\d", told)] == marked
        assert re.search(rf"image {k + 1}\b", one.question.text)
        assert [marker.label for marker in one.question.markers[k]] == list("ABCD")


def test_boxes_are_even():
    assert exact.answers_are_even("track_match")


def test_what_has_no_clear_answer_is_declined():
    declined = asked("track_match")[1]
    assert declined.keys() <= {"no_track", "no_room_for_candidates"}
    assert declined["no_track"] > 0
