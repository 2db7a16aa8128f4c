"""Whether the camera of view 2 stands where view 1 would show it, hidden there, or out of view, and on which side."""

from __future__ import annotations

from math import atan, degrees, hypot

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._directions import bearing_deg

VIEWS = (2, 2)
LEAST_DISTANCE_M = 0.4
#: A camera in view lies this far inside the image, one out of view this far outside, in shares of width and height.
MARGIN = 0.05
#: The surface around it is nearer (hidden) or farther (seen) than the camera by this much, and this share of it.
GAP_M, GAP = 0.25, 0.1
#: Beside is up to this bearing, behind from the other one on; images that are tilted more have no clear sides.
BESIDE_DEG, BEHIND_DEG, GREATEST_TILT_DEG = 105.0, 130.0, 35.0
#: Depth is looked up at the camera's place and this far around it.
AROUND = 0.02
SEEN, HIDDEN = "in view", "hidden behind something"
LEFT, RIGHT, BEHIND = "out of view to the left", "out of view to the right", "behind the camera"
CLASSES = (SEEN, HIDDEN, LEFT, RIGHT, BEHIND)
SENTENCES = {
    SEEN: "The camera of image 2 stood within the frame of image 1, in plain view.",
    HIDDEN: "The camera of image 2 stood within the frame of image 1, but hidden behind something.",
    LEFT: "The camera of image 2 stood outside of image 1, to its left.",
    RIGHT: "The camera of image 2 stood outside of image 1, to its right.",
    BEHIND: "The camera of image 2 stood behind the camera of image 1.",
}
PHRASINGS = (
    "Had the camera of image 2 been there when image 1 was taken, where would it have been for the viewer of image 1?",
    "Is the place from which image 2 was taken within the field of view of image 1? If not, where is it?",
    "Would image 1 show a person holding the camera at the viewpoint of image 2, and if not, why?",
)
INSTRUCTION = f"Answer with one of: {', '.join(CLASSES)}."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of five classes.

    Rejected: `tilted` (view 1 is pitched or rolled by more than 35 degrees), and as `whereabouts` says.
    """
    stance = group.stance(0)
    if max(abs(stance.pitch_deg), abs(stance.roll_deg)) > GREATEST_TILT_DEG:
        return Rejection("tilted")
    truth = whereabouts(group, 0, 1)
    if isinstance(truth, Rejection):
        return truth
    return Question(choose(PHRASINGS, rng), truth, SENTENCES[truth], INSTRUCTION)


def whereabouts(group: ViewGroup, i: int, j: int) -> str | Rejection:
    """Where the camera of view j stands for view i, one of `CLASSES`.

    Rejected: `too_near` (under 0.4 m), `on_a_border` (of the image, or between beside and behind), `above_or_below`
    (out of view neither to the left nor to the right), `no_depth`, `depth_alike` (surface and camera are about as far).
    """
    x, y, z = group.place_of(i, group.world_from_camera(j)[:3, 3])
    motion = group.motion(i, j)
    if hypot(motion.forward_m, motion.left_m) < LEAST_DISTANCE_M:
        return Rejection("too_near")
    if z > 0 and MARGIN <= x <= 1 - MARGIN and MARGIN <= y <= 1 - MARGIN:
        return _seen_or_hidden(group, i, (x, y, z))
    if z > 0 and -MARGIN <= x <= 1 + MARGIN:
        return Rejection("on_a_border" if -MARGIN <= y <= 1 + MARGIN else "above_or_below")
    bearing = bearing_deg(motion)
    if abs(bearing) >= BEHIND_DEG:
        return BEHIND
    camera = group.camera(i)
    half_left, half_right = (degrees(atan(px / camera.fx)) for px in (camera.cx, camera.width - camera.cx))
    if abs(bearing) > BESIDE_DEG or -half_right <= bearing <= half_left:
        return Rejection("on_a_border")
    return LEFT if bearing > 0 else RIGHT


def _seen_or_hidden(group: ViewGroup, i: int, place: tuple[float, float, float]) -> str | Rejection:
    x, y, z = place
    depths = [group.depth_at(i, x + dx, y + dy) for dx in (-AROUND, 0, AROUND) for dy in (-AROUND, 0, AROUND)]
    known = [depth for depth in depths if depth is not None]
    if len(known) < len(depths):
        return Rejection("no_depth")
    gap = max(GAP_M, GAP * z)
    if min(known) >= z + gap:
        return SEEN
    return HIDDEN if max(known) <= z - gap else Rejection("depth_alike")
