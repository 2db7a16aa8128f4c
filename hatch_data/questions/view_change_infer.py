"""How does the view change from image 1 to image 2: three moves and two turns (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.motion import Motion
from hatch_data.questions import Question, Rejection, choose

VIEWS = (2, 2)
#: Motions that differ by this much in any component are different answers.
CLEAR_M, CLEAR_DEG = 0.3, 15.0
#: The format has no words for rolling.
GREATEST_ROLL_DEG = 5.0
PHRASINGS = (
    "Describe the relative movement required to get from the view of image 1 to the view of image 2.",
    "How must the camera of image 1 move and rotate to see what image 2 shows?",
    "By which movement and rotation does the observer get from image 1 to image 2?",
    "What is the change of view from image 1 to image 2?",
)
FRAME = (
    "All movements come first, with forward being where image 1 faces, level with the ground; then come the rotations."
)
INSTRUCTION = """Provide the camera movement and rotation in the following format:
move_<right_or_left>:<meters>,move_<down_or_up>:<meters>,move_<forward_or_backward>:<meters>,\
rotate_<down_or_up>:<degrees>,rotate_<right_or_left>:<degrees>
Do not include any additional text. Example: \
move_left:2.6,move_down:0.1,move_forward:0.2,rotate_up:10,rotate_left:0"""


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Five signed numbers, in the gravity-levelled heading frame of view 1: metres to 0.1, degrees to 1.

    Rejected: `rolled` (by more than 5 degrees), `no_motion` (no clear difference in any component).
    """
    motion = group.motion(0, 1)
    if abs(motion.roll_deg) > GREATEST_ROLL_DEG:
        return Rejection("rolled")
    moves = np.array([motion.forward_m, motion.left_m, motion.up_m]) / CLEAR_M
    turns = np.array([motion.yaw_deg, motion.pitch_deg]) / CLEAR_DEG
    if max(np.abs(moves).max(), np.abs(turns).max()) < 1:
        return Rejection("no_motion")
    answer, sentence = as_format(motion), as_words(motion)
    return Question(
        f"{choose(PHRASINGS, rng)} {FRAME}", answer, sentence, INSTRUCTION, place=(*moves.tolist(), *turns.tolist())
    )


def as_format(motion: Motion) -> str:
    """The motion in SPAR's format."""
    return ",".join(
        [
            f"move_{_way(motion.left_m, 1, 'left', 'right')}:{abs(motion.left_m):.1f}",
            f"move_{_way(motion.up_m, 1, 'up', 'down')}:{abs(motion.up_m):.1f}",
            f"move_{_way(motion.forward_m, 1, 'forward', 'backward')}:{abs(motion.forward_m):.1f}",
            f"rotate_{_way(motion.pitch_deg, 0, 'up', 'down')}:{abs(motion.pitch_deg):.0f}",
            f"rotate_{_way(motion.yaw_deg, 0, 'left', 'right')}:{abs(motion.yaw_deg):.0f}",
        ]
    )


def as_words(motion: Motion) -> str:
    """The same in a sentence."""
    return (
        f"The camera moves {abs(motion.left_m):.1f} m {_way(motion.left_m, 1, 'left', 'right')}, "
        f"{abs(motion.up_m):.1f} m {_way(motion.up_m, 1, 'up', 'down')} and "
        f"{abs(motion.forward_m):.1f} m {_way(motion.forward_m, 1, 'forward', 'backward')}, "
        f"and rotates {abs(motion.pitch_deg):.0f} degrees {_way(motion.pitch_deg, 0, 'up', 'down')} and "
        f"{abs(motion.yaw_deg):.0f} degrees to the {_way(motion.yaw_deg, 0, 'left', 'right')}."
    )


def _way(value: float, digits: int, positive: str, negative: str) -> str:
    """What rounds to nothing goes the second way, so that its sign says nothing."""
    return positive if round(value, digits) > 0 else negative
