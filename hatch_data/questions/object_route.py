"""You go from one object to a second and on to a third: which way do you turn at the second."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._candidates import boxed, left_deg
from hatch_data.questions._objects import capital, horizontal_m, marks, named, offset_facing, pick_spread

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
    if not group.instances:
        return Rejection("no_objects")
    chosen = pick_spread(group, 3, rng)
    if chosen is None:
        return Rejection("too_few_clear_objects")
    red, green, blue = chosen
    up = group.up
    if min(horizontal_m(green.center, blue.center, up), horizontal_m(blue.center, red.center, up)) < LEAST_LEG_M:
        return Rejection("too_near")
    arrived = offset_facing(green.center, blue.center, up, blue.center)
    angle = left_deg(offset_facing(green.center, blue.center, up, red.center) - arrived) % 360
    nearest = round(angle / 90)
    if abs(angle - 90 * nearest) > SIDE_DEG:
        return Rejection("on_a_border")
    answer = TURNS[nearest % 4]
    objects = {"red": red, "green": green, "blue": blue}
    text = choose(PHRASINGS, rng).format(**{color: boxed(color) for color in objects})
    sentence = f"On the way from {named(green, 'green')} to {named(red, 'red')}, {answer} at {named(blue, 'blue')}."
    return Question(text, answer, capital(sentence), INSTRUCTION, markers=marks(objects))
