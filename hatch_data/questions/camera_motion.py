"""Which motion leads from view 1 to view 2, as actions."""

from __future__ import annotations

import numpy as np

from hatch_data.questions import Question, Rejection, ViewPair, choose

PHRASINGS = (
    "Which actions lead from the view of image 1 to the view of image 2?",
    "The camera took image 1, then moved and took image 2. Give the turns and moves it made.",
    "You stand where image 1 was taken and look the same way. What must you do to see what image 2 shows?",
    "Describe the camera motion between image 1 and image 2 as a list of actions.",
)
FORM = (
    "List the actions in the order in which they are done, such as "
    "'move_forward 0.5m, turn_left 30deg', or 'stay' if there is no motion."
)


def ask(views: ViewPair, rng: np.random.Generator) -> Question | Rejection:
    """Fill in the action list; views that do not differ are rejected as `no_motion`."""
    if views.actions == "stay":
        return Rejection("no_motion")
    return Question("fill", f"{choose(PHRASINGS, rng)}\n{FORM}", views.actions)
