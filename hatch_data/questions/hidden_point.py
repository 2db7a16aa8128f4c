"""A point marked in image 1 is hidden in image 2: behind which of the points marked there does it lie."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import LETTERS, Question, Rejection, choose
from hatch_data.questions._points import (
    OCCLUDER_GAP,
    OCCLUDER_GAP_M,
    Fate,
    candidate_markers,
    draw_points,
    spread_out,
    with_fate,
)

VIEWS = (2, 2)
CANDIDATES = 4
#: Hidden points among which four are looked for that keep apart.
AMONG = 12
PHRASINGS = (
    "The red point in image 1 is hidden in image 2 by something in front of it. "
    "Behind which of the points A, B, C and D in image 2 does it lie?",
    "In image 2 something hides the place marked red in image 1. "
    "Which of the marked points A, B, C and D is where it would be seen, were nothing in the way?",
    "Which of the points A, B, C and D in image 2 covers the red point of image 1, as seen from the camera of image 2?",
)
INSTRUCTION = "Answer with the point, such as 'point A'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of four points, the others such that hide something too where there are enough. All of them are nearer than
    the hidden point, so that any of them might cover it.

    Rejected: `nothing_hidden` (no point with trusted depth is clearly hidden), `no_room_for_candidates`.
    """
    hidden = with_fate(group, 0, 1, Fate.HIDDEN, rng, AMONG)
    if not hidden:
        return Rejection("nothing_hidden")
    (point, truth), *more = hidden
    others = [place for _, place in more] + [(drawn.x, drawn.y) for drawn in draw_points(group, 1, rng)]
    depth_m = group.place_of(1, point.world)[2]
    places = [truth, *(place for place in others if _covers(group.depth_at(1, *place), depth_m))]
    places = [places[k] for k in spread_out(places, CANDIDATES)]
    if len(places) < CANDIDATES:
        return Rejection("no_room_for_candidates")
    order = rng.permutation(CANDIDATES).tolist()
    labels = tuple(f"point {letter}" for letter in LETTERS[:CANDIDATES])
    answer = labels[order.index(0)]
    markers = {0: [point.marker()], 1: candidate_markers([places[k] for k in order])}
    sentence = f"In image 2 the red point of image 1 lies behind {answer}."
    return Question(choose(PHRASINGS, rng), answer, sentence, INSTRUCTION, labels, markers=markers)


def _covers(depth_m: float | None, hidden_m: float) -> bool:
    """Whether what lies at a depth is clearly in front of what is hidden."""
    return depth_m is not None and depth_m < hidden_m - max(OCCLUDER_GAP_M, OCCLUDER_GAP * hidden_m)
