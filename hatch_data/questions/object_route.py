"""You go from one object to a second and on to a third: which way do you turn at the second."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._candidates import boxed, left_deg
from hatch_data.questions._objects import horizontal_m, marks, offset_facing, subjects, told

VIEWS = (2, 6)
#: Legs are at least this long in the plan.
LEAST_LEG_M = 0.7
#: A turn is fair up to this angle from straight on, left or right, and from back.
SIDE_DEG = 30.0
TURNS = ("go straight on", "turn left", "turn back", "turn right")
PHRASINGS = (
    "You walk straight from {green} to {blue} and then want to go on to {red}. What do you do at {blue}?",
    "You are a robot beginning at {green} and facing {blue}. Go forward until {blue}, then [fill in], then go forward "
    "until {red}. What is to be filled in?",
    "A straight way leads from {green} to {blue}, another on to {red}. Which turn lies between them?",
)
INSTRUCTION = f"Answer with one of: {', '.join(TURNS)}."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of four turns, by the plan of three centres; what stands in the way is left aside.

    Rejected: `no_objects`, `too_few_clear_objects`, `too_near` (a leg under 0.7 m), `on_a_border` (the turn is
    more than 30 degrees off straight on, left, right or back).
    """
    objects = subjects(group, ("red", "green", "blue"), rng)
    if isinstance(objects, Rejection):
        return objects
    red, green, blue = (one.center for one in objects.values())
    up = group.up
    if min(horizontal_m(green, blue, up), horizontal_m(blue, red, up)) < LEAST_LEG_M:
        return Rejection("too_near")
    arrived = offset_facing(green, blue, up, blue)
    angle = left_deg(offset_facing(green, blue, up, red) - arrived) % 360
    nearest = round(angle / 90)
    if abs(angle - 90 * nearest) > SIDE_DEG:
        return Rejection("on_a_border")
    answer = TURNS[nearest % 4]
    text = choose(PHRASINGS, rng).format(**{color: boxed(color) for color in objects})
    sentence = told("On the way from {green} to {red}, {answer} at {blue}.", objects, answer)
    return Question(text, answer, sentence, INSTRUCTION, markers=marks(objects))
