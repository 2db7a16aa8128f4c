"""Where in image 1 does the camera of image 2 stand: image coordinates and depth (SPAR)."""

from __future__ import annotations

from math import log

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose

VIEWS = (2, 2)
#: Nearer than this a camera has no stable place in the image.
LEAST_DEPTH_M = 0.4
#: Places this far apart, in thousandths of the image, and depths of this ratio are clearly different.
CLEAR_PLACE, CLEAR_RATIO = 150, 1.5
PHRASINGS = (
    "Where in image 1 does the observer stand who took image 2? Give the image coordinates and the depth.",
    "Locate the position of the camera of image 2 in image 1: its coordinates in the image and its depth in meters.",
    "Image 2 was taken from another place. At which coordinates of image 1, and how deep in meters, is that place?",
)
SCALE = (
    "The coordinates (x, y) are normalized to a 0-1000 scale, with the top-left corner as the origin of the image; "
    "the depth is measured along the viewing direction of image 1."
)
INSTRUCTION = "Answer with coordinates and depth, such as '(512, 430), 1.2 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Place and depth of the centre of camera 2 in image 1.

    Rejected: `not_in_front` (depth under 0.4 m or behind), `outside_image`.
    """
    x, y, depth_m = group.place_of(0, group.world_from_camera(1)[:3, 3])
    if depth_m < LEAST_DEPTH_M:
        return Rejection("not_in_front")
    if not (0 <= x <= 1 and 0 <= y <= 1):
        return Rejection("outside_image")
    at, depth = f"({round(1000 * x)}, {round(1000 * y)})", f"{depth_m:.1f} m"
    answer = f"{at}, {depth}"
    sentence = f"In image 1 the camera of image 2 is at {at}, at a depth of {depth}."
    place = (1000 * x / CLEAR_PLACE, 1000 * y / CLEAR_PLACE, log(depth_m) / log(CLEAR_RATIO))
    return Question(f"{choose(PHRASINGS, rng)} {SCALE}", answer, sentence, INSTRUCTION, place=place)
