"""Boxes that follow a place through the views, by rays into the exact scene."""

from __future__ import annotations

import re

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
