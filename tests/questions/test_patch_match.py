"""Marked boxes, by rays into the exact scene."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from hatch_data.errors import FrameError
from hatch_data.questions import Rejection, patch_match
from tests.questions.asked import WANTED, FakeGroup, asked, groups, scenes


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
    declined = patch_match.ask(FakeGroup(correspondence=lambda i, j: empty[i, j], look=group.look), rng)
    assert declined == Rejection("no_room_for_candidates")


def test_half_of_the_questions_have_candidates_that_look_alike(monkeypatch):
    """The mean colour of the wrong boxes is nearer to that of the marked one than chance has it."""
    off = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(patch_match, "HARD_SHARE", share)
        found = []
        for number, (exact, group) in zip(range(40), groups(2, 2, 1), strict=False):
            question = patch_match.ask(group, np.random.default_rng(number))
            if not isinstance(question, Rejection):
                (box,) = question.markers[0]
                mine = mean_color(exact.render(group.indices[0]).color, box.box)
                others = exact.render(group.indices[1]).color
                found += [
                    np.linalg.norm(mean_color(others, marker.box) - mine)
                    for option, marker in zip(question.options, question.markers[1], strict=True)
                    if option != question.answer
                ]
        off[share] = np.mean(found)
    assert off[1.0] < 0.9 * off[0.0]


def mean_color(image: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    left, top, right, bottom = np.rint(np.multiply(box, image.shape[1::-1] * 2)).astype(int)
    return image[top:bottom, left:right].reshape(-1, 3).mean(axis=0)


def test_an_image_that_cannot_be_read_is_a_reason_to_decline():
    group = scenes()[0][1].group((0, 1))

    def unreadable(k):
        raise FrameError("unreadable_color", "frame 000000: the image does not decode")

    blind = FakeGroup(correspondence=group.correspondence, look=unreadable)
    found = [patch_match.ask(blind, np.random.default_rng(seed)) for seed in range(60)]
    declined = [one for one in found if isinstance(one, Rejection)]
    assert {one.reason for one in declined} == {"unreadable_color"}
    assert 15 <= len(declined) <= 45  # the others need no colour
