"""Depth of a marked point, from the exact surface."""

from __future__ import annotations

import re

import numpy as np

from hatch_data.questions import Rejection, point_depth
from tests.questions import exact
from tests.questions.asked import asked


def test_against_the_exact_surface():
    for one in asked("point_depth")[0]:
        ((k, _),) = one.question.markers.items()
        depth = exact.place(one, k, exact.marked(one, k, exact.mark(one, k)))[2]
        told = float(re.fullmatch(r"(\d+\.\d\d) m", one.question.answer)[1])
        assert abs(told - depth) <= 0.006 + 0.015 * depth
        assert f"image {k + 1}" in one.question.text
        assert f"image {k + 1}" in one.question.sentence


def test_points_lie_on_one_surface():
    """A step of two pixels to any side changes the depth by little: no answer hangs on the edge of an object."""
    for one in asked("point_depth")[0]:
        ((k, (marker,)),) = one.question.markers.items()
        camera, (x, y) = one.scene.camera, marker.box[:2]
        around = [(x + a / camera.width, y + b / camera.height) for a in (-2, 0, 2) for b in (-2, 0, 2)]
        depths = [exact.place(one, k, exact.behind(one, k, *place))[2] for place in around]
        assert max(depths) < 1.16 * min(depths)


def test_what_has_no_depth_is_declined():
    assert point_depth.ask(exact.blind_group(), np.random.default_rng(0)) == Rejection("no_trusted_depth")
