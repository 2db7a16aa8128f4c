"""Marked boxes, by rays into the exact scene."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from hatch_data.questions import Rejection, patch_match
from tests.questions.asked import WANTED, FakeGroup, asked, scenes


def test_against_rays():
    """Of the surface behind the marked box most is seen inside the box of the answer, and more than in any other."""
    for one in asked("patch_match")[0]:
        camera, goal = one.scene.camera, one.pose(1)
        (marker,) = one.question.markers[0]
        left, top, right, bottom = np.multiply(marker.box, (camera.width, camera.height) * 2)
        share = (np.arange(24) + 0.5) / 24
        u, v = np.meshgrid(left + share * (right - left) - 0.5, top + share * (bottom - top) - 0.5)
        points = one.scene.surface(one.indices[0], np.stack([u, v], axis=-1)).points.reshape(-1, 3)
        seen = one.scene.visible_from(points, goal, camera)
        there = (points - goal[:3, 3]) @ goal[:3, :3]
        x = (there[:, 0] / there[:, 2] * camera.fx + camera.cx + 0.5) / camera.width
        y = (there[:, 1] / there[:, 2] * camera.fy + camera.cy + 0.5) / camera.height
        inside = [
            float((seen & (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])).mean())
            for box in (candidate.box for candidate in one.question.markers[1])
        ]
        assert inside[one.question.options.index(one.question.answer)] > 0.4
        assert sorted(inside)[-2] < 0.05


def test_boxes_are_even():
    boxes = Counter(one.question.answer for one in asked("patch_match")[0])
    options = ("box A", "box B", "box C", "box D")
    assert sum((boxes[box] - WANTED / 4) ** 2 / (WANTED / 4) for box in options) < 16.3  # chi-square, 0.1 %


def test_options_and_markers_belong_together():
    for one in asked("patch_match")[0]:
        assert one.question.options == ("box A", "box B", "box C", "box D")
        assert [marker.label for marker in one.question.markers[1]] == list("ABCD")
        assert len({marker.color for marker in one.question.markers[0] + one.question.markers[1]}) == 5


def test_what_has_no_clear_answer_is_declined():
    rng = np.random.default_rng(0)
    group = scenes()[0][1].group((0, 1))
    there, back = group.correspondence(0, 1), group.correspondence(1, 0)
    nothing = {name: getattr(there.map, name)[:0] for name in ("source_patch", "target_patch", "weight")}
    unseen = {(0, 1): replace(there, map=replace(there.map, **nothing)), (1, 0): back}
    assert patch_match.ask(FakeGroup(correspondence=lambda i, j: unseen[i, j]), rng) == Rejection("no_clear_match")
    bare = replace(back, map=replace(back.map, valid=np.zeros_like(back.map.valid)))
    empty = {(0, 1): there, (1, 0): bare}
    declined = patch_match.ask(FakeGroup(correspondence=lambda i, j: empty[i, j]), rng)
    assert declined == Rejection("no_room_for_candidates")
