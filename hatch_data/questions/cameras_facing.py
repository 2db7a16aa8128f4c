"""How two cameras stand to each other: face to face, back to back, one behind the other, side by side."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.motion import Motion
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._directions import GREATEST_SLOPE, bearing_deg, looks_steeply

VIEWS = (2, 2)
LEAST_DISTANCE_M = 0.4
#: Ahead is up to this angle to either side, behind the same about the back, beside this much about the side.
AHEAD_DEG, BESIDE_DEG = 30.0, 30.0
#: Cameras side by side look the same way to within this angle.
PARALLEL_DEG = 30.0
FACING, BACK_TO_BACK, SIDE_BY_SIDE = "face to face", "back to back", "side by side"
FIRST_BEHIND, SECOND_BEHIND = "camera 1 behind camera 2", "camera 2 behind camera 1"
CLASSES = (FACING, BACK_TO_BACK, SIDE_BY_SIDE, FIRST_BEHIND, SECOND_BEHIND)
SENTENCES = {
    FACING: "The two cameras look towards each other.",
    BACK_TO_BACK: "The two cameras look away from each other.",
    SIDE_BY_SIDE: "The two cameras stand side by side and look the same way.",
    FIRST_BEHIND: "Camera 1 stands behind camera 2 and looks towards it.",
    SECOND_BEHIND: "Camera 2 stands behind camera 1 and looks towards it.",
}
PHRASINGS = (
    "Camera 1 is at the viewpoint of image 1, camera 2 at that of image 2. How do they stand relative to each other?",
    "Had two cameras taken image 1 (camera 1) and image 2 (camera 2) at the same time, how would they have stood?",
    "How are the cameras of image 1 (camera 1) and image 2 (camera 2) arranged, given where each of them looks?",
)
INSTRUCTION = f"Answer with one of: {', '.join(CLASSES)}."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of five arrangements.

    Rejected: `looks_steeply` (a view is pitched by more than 60 degrees), `too_near` (under 0.4 m), `mostly_vertical`,
    `in_between` (none of the arrangements within its margins).
    """
    if looks_steeply(group, 0, 1):
        return Rejection("looks_steeply")
    there, back = group.motion(0, 1), group.motion(1, 0)
    distance = float(np.hypot(there.forward_m, there.left_m))
    if distance < LEAST_DISTANCE_M:
        return Rejection("too_near")
    if abs(there.up_m) > GREATEST_SLOPE * distance:
        return Rejection("mostly_vertical")
    truth = arrangement(there, back)
    if truth is None:
        return Rejection("in_between")
    return Question(choose(PHRASINGS, rng), truth, SENTENCES[truth], INSTRUCTION)


def arrangement(there: Motion, back: Motion) -> str | None:
    """How two cameras stand, from the motions between them; None where no class fits clearly."""
    sides = _side(abs(bearing_deg(there))), _side(abs(bearing_deg(back)))
    if sides == ("beside", "beside"):
        return SIDE_BY_SIDE if abs(there.yaw_deg) <= PARALLEL_DEG else None
    return {
        ("ahead", "ahead"): FACING,
        ("behind", "behind"): BACK_TO_BACK,
        ("ahead", "behind"): FIRST_BEHIND,
        ("behind", "ahead"): SECOND_BEHIND,
    }.get(sides)


def _side(bearing: float) -> str:
    if bearing <= AHEAD_DEG:
        return "ahead"
    if bearing >= 180 - AHEAD_DEG:
        return "behind"
    return "beside" if abs(bearing - 90) <= BESIDE_DEG else ""
