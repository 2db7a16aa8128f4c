"""The exact scene behind what a question marks: what independent checkers of marked points and boxes share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.markers import Marker
from hatch_data.views import View
from tests.questions.asked import Asked, asked, scenes


def mark(one: Asked, k: int) -> Marker:
    """The one mark on view k."""
    (marker,) = one.question.markers[k]
    return marker


def behind(one: Asked, k: int, x: float, y: float) -> np.ndarray:
    """(3,) the exact point of the surface behind a place of view k, in shares of its size."""
    camera = one.scene.camera
    pixel = np.array([x * camera.width - 0.5, y * camera.height - 0.5])
    return one.scene.surface(one.indices[k], pixel).points


def marked(one: Asked, k: int, marker: Marker) -> np.ndarray:
    """(3,) the exact point of the surface on which a mark lies."""
    assert marker.box[:2] == marker.box[2:]
    return behind(one, k, *marker.box[:2])


def place(one: Asked, k: int, point: np.ndarray) -> np.ndarray:
    """(x, y, depth in metres) of a point in view k, in shares of its size, whether it is seen there or not."""
    camera, pose = one.scene.camera, one.pose(k)
    right, down, ahead = (point - pose[:3, 3]) @ pose[:3, :3]
    x = (right / ahead * camera.fx + camera.cx + 0.5) / camera.width
    y = (down / ahead * camera.fy + camera.cy + 0.5) / camera.height
    return np.array([x, y, ahead])


def is_seen(one: Asked, k: int, point: np.ndarray) -> bool:
    """Whether view k sees a point."""
    return bool(one.scene.visible_from(point[None], one.pose(k), one.scene.camera)[0])


def share_inside(one: Asked, source: int, box: Marker, target: int, others: Sequence[Marker]) -> list[float]:
    """Which share of the surface behind a box in one view is seen, in another, inside each of several boxes."""
    camera, goal = one.scene.camera, one.pose(target)
    left, top, right, bottom = np.multiply(box.box, (camera.width, camera.height) * 2)
    share = (np.arange(16) + 0.5) / 16
    u, v = np.meshgrid(left + share * (right - left) - 0.5, top + share * (bottom - top) - 0.5)
    points = one.scene.surface(one.indices[source], np.stack([u, v], axis=-1)).points.reshape(-1, 3)
    seen = one.scene.visible_from(points, goal, camera)
    there = (points - goal[:3, 3]) @ goal[:3, :3]
    x = (there[:, 0] / there[:, 2] * camera.fx + camera.cx + 0.5) / camera.width
    y = (there[:, 1] / there[:, 2] * camera.fy + camera.cy + 0.5) / camera.height
    inside = [(x >= b[0]) & (x < b[2]) & (y >= b[1]) & (y < b[3]) for b in (other.box for other in others)]
    return [float((seen & within).mean()) for within in inside]


def overlap(one: Asked, source: int, target: int, columns: int = 32, rows: int = 24) -> float:
    """Share of what one view shows that another sees."""
    camera = one.scene.camera
    u = (np.arange(columns) + 0.5) / columns * camera.width - 0.5
    v = (np.arange(rows) + 0.5) / rows * camera.height - 0.5
    points = one.scene.surface(one.indices[source], np.stack(np.meshgrid(u, v), axis=-1)).points
    return float(one.scene.visible_from(points.reshape(-1, 3), one.pose(target), camera).mean())


def answers_are_even(name: str) -> bool:
    """Whether the options of a family that gives its own are equally often right (chi-square, 0.1 %, 3 degrees)."""
    questions = [one.question for one in asked(name)[0]]
    expected = len(questions) / 4
    counts = Counter(question.options.index(question.answer) for question in questions)
    return sum((counts[k] - expected) ** 2 / expected for k in range(4)) < 16.3


class Blind(ViewGroup):
    """Views in which no depth was measured."""

    def view(self, k: int) -> View:
        view = super().view(k)
        return replace(view, raster=np.zeros_like(view.raster))


def blind_group(size: int = 2) -> Blind:
    """Views of the first synthetic scene without depth."""
    return Blind(scenes()[0][1], tuple(range(size)))
