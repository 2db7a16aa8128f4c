"""Where in image 2 is the object that is marked in image 1: its bounding box (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import box_1000, capital, clear, marks, named

VIEWS = (2, 2)
#: Boxes whose corners lie this far apart, in thousandths of the image, are clearly different.
CLEAR_BOX = 200
PHRASINGS = (
    "The red box in image 1 marks an object. Which bounding box does the object have in image 2?",
    "Find the object in the red box of image 1 again in image 2 and give its bounding box there.",
    "Match the object marked red in image 1 to its position in image 2: what is its bounding box?",
)
SCALE = (
    "The values represent the bounding box coordinates [left, top, right, bottom] normalized to a 0-1000 scale, "
    "with the top-left corner as the origin of the image."
)
INSTRUCTION = "Answer with the bounding box, such as '[120, 340, 260, 515]'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """A box around what image 2 shows of an object that is clear in both images.

    Rejected: `no_objects`, `none_clear_in_both`.
    """
    if not group.instances:
        return Rejection("no_objects")
    there = {one.index: one for one in clear(group, 1)}
    both = [(one, there[one.index]) for one in clear(group, 0) if one.index in there]
    if not both:
        return Rejection("none_clear_in_both")
    here, found = both[int(rng.integers(len(both)))]
    box = box_1000(found.box)
    answer = f"[{', '.join(map(str, box))}]"
    sentence = f"{capital(named(here, 'red'))} has the bounding box {answer} in image 2."
    place = tuple(value / CLEAR_BOX for value in box)
    text = f"{choose(PHRASINGS, rng)} {SCALE}"
    return Question(text, answer, sentence, INSTRUCTION, place=place, markers=marks({"red": here}))
