"""Which of four marked points, in one view or in two, is nearest to the camera of a view, or farthest from it."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import LETTERS, Marker, Question, Rejection, choose
from hatch_data.questions._points import CANDIDATE_COLORS, Point, draw_points, spread_out

VIEWS = (2, 4)
CANDIDATES = 4
#: The answer is nearer than the next, or farther, by this factor and by this length.
LEAST_RATIO, LEAST_GAP_M = 1.2, 0.25
#: Choices of four points that are tried.
ATTEMPTS = 8
PHRASINGS = (
    "Points A, B, C and D are marked in {where}. Which of them is {most} the camera of image {k}?",
    "Look at the points A, B, C and D in {where}. Which one is {most} the place from which image {k} was taken?",
    "Of the points A, B, C and D marked in {where}, which is {most} the camera that took image {k}?",
)
MOST = {"nearest": "nearest to", "farthest": "farthest from"}
INSTRUCTION = "Answer with the point, such as 'point A'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of four points, by their distance in a straight line; letters are dealt at random over the views.

    Rejected: `too_few_points` (fewer than four with trusted depth that keep apart), `distances_alike`.
    """
    views = sorted(rng.permutation(len(group))[: int(rng.integers(1, 3))].tolist())
    k, which = int(rng.integers(len(group))), ("nearest", "farthest")[int(rng.integers(2))]
    center = group.world_from_camera(k)[:3, 3]
    for _ in range(ATTEMPTS):
        points = _deal(group, views, rng)
        if len(points) < CANDIDATES:
            return Rejection("too_few_points")
        distances = [point.distance_m(center) for point in points]
        first, second = sorted(distances, reverse=which == "farthest")[:2]
        if abs(first - second) >= LEAST_GAP_M and max(first, second) >= LEAST_RATIO * min(first, second):
            break
    else:
        return Rejection("distances_alike")
    labels = tuple(f"point {letter}" for letter in LETTERS[:CANDIDATES])
    answer = labels[distances.index(first)]
    markers: dict[int, list[Marker]] = {}
    for number, point in enumerate(points):
        markers.setdefault(point.view, []).append(point.marker(LETTERS[number], CANDIDATE_COLORS[number]))
    where = " and ".join(f"image {view + 1}" for view in views)
    text = choose(PHRASINGS, rng).format(where=where, most=MOST[which], k=k + 1)
    sentence = f"{answer[0].upper()}{answer[1:]} is {MOST[which]} the camera of image {k + 1}."
    return Question(text, answer, sentence, INSTRUCTION, labels, markers=markers)


def _deal(group: ViewGroup, views: list[int], rng: np.random.Generator) -> list[Point]:
    """Points, as many of each of the views, in random order."""
    points = []
    for view in views:
        drawn = draw_points(group, view, rng, tries=16)
        points += [drawn[k] for k in spread_out([(p.x, p.y) for p in drawn], CANDIDATES // len(views))]
    return [points[k] for k in rng.permutation(len(points))]
