"""Which image results when given actions are done from the view of image 1."""

from __future__ import annotations

import numpy as np

from hatch_data.actions import to_text
from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._images import INSTRUCTION, draw_candidates, label, listed, options
from hatch_data.sampling import rotation_between_deg

VIEWS = (3, 8)
#: Views that differ by this much, in place or in orientation, are told apart.
CLEAR_M, CLEAR_DEG = 0.4, 20.0
#: The answer shares this much of its surface with image 1.
LEAST_OVERLAP = 0.1
PHRASINGS = (
    "From the view of image 1, the camera does this: {actions}. Which of {images} does it then take?",
    "You stand where image 1 was taken, look the same way, and then do the following: {actions}. "
    "Which of {images} shows what you see?",
    "Start at image 1 and carry out these actions in order: {actions}. At which of {images} do you arrive?",
)


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of up to four images.

    Rejected: `no_motion`, `overlap_too_small` (of image 1 and the answer), `views_alike` (another image was taken
    within 0.4 m of the answer and within 20 degrees of its orientation).
    """
    candidates = draw_candidates(range(1, len(group)), rng)
    truth = candidates[int(rng.integers(len(candidates)))]
    actions = group.actions(0, truth)
    if not actions or differs_little(group, 0, truth):
        return Rejection("no_motion")
    if any(differs_little(group, truth, k) for k in candidates if k != truth):
        return Rejection("views_alike")
    if group.overlap(0, truth) < LEAST_OVERLAP:
        return Rejection("overlap_too_small")
    text = choose(PHRASINGS, rng).format(actions=to_text(actions), images=listed(candidates))
    sentence = f"The actions lead from image 1 to {label(truth)}."
    return Question(text, label(truth), sentence, INSTRUCTION, options(candidates))


def differs_little(group: ViewGroup, i: int, j: int) -> bool:
    """Whether two views are near each other in place and in orientation."""
    first, second = group.world_from_camera(i), group.world_from_camera(j)
    moved = float(np.linalg.norm(first[:3, 3] - second[:3, 3]))
    return moved < CLEAR_M and float(rotation_between_deg(first, second)) < CLEAR_DEG
