"""How high or how long an object is that several images show (MMSI-Bench, Attribute-Measurement)."""

from __future__ import annotations

import numpy as np

from hatch_data.geometry import unit
from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._candidates import REFERENCE, boxed, clear_in, evident
from hatch_data.questions._objects import marks, told
from hatch_data.questions._points import length_place
from hatch_data.scene import Instance

VIEWS = (2, 8)
#: What is smaller than this is not measured well.
LEAST_M = 0.15
#: An object stands upright whose box has an axis within this angle of `up`.
UPRIGHT_DEG = 5.0
PHRASINGS = {
    "height": (
        "How high is {red}, from its lowest to its highest point?",
        "What is the height of {red}?",
        "Estimate the vertical size of {red}.",
    ),
    "length": (
        "How long is {red}, along its longest horizontal side?",
        "What is the horizontal length of {red}, measured along its longer side?",
        "Estimate the longest horizontal side of {red}.",
    ),
}
INSTRUCTION = "Answer in meters with two decimals, such as '0.75 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """The size along `up`, or the longer of the two sizes across, of the object's box.

    Rejected: `no_objects`, `too_few_clear_objects`, `seen_once` (evident in no second view), `tilted` (no axis of its
    box is vertical), `too_small` (under 0.15 m).
    """
    if not group.instances:
        return Rejection("no_objects")
    objects = clear_in(group, range(len(group)), rng)
    if not objects:
        return Rejection("too_few_clear_objects")
    again = [one for one in objects if any(one.index in evident(group, k) for k in range(len(group)) if k != one.view)]
    if not again:
        return Rejection("seen_once")
    red = again[0]
    sizes = upright_sizes(group.instances[red.index], group.up)
    if sizes is None:
        return Rejection("tilted")
    what = "length" if rng.integers(2) else "height"
    value_m = sizes[what]
    if value_m < LEAST_M:
        return Rejection("too_small")
    text = choose(PHRASINGS[what], rng).format(red=boxed(REFERENCE))
    answer = f"{value_m:.2f} m"
    measured, place = {REFERENCE: red}, length_place(value_m)
    sentence = told(f"{{red}} has a {what} of {{answer}}.", measured, answer)
    return Question(text, answer, sentence, INSTRUCTION, key=what, place=place, markers=marks(measured))


def upright_sizes(instance: Instance, up: np.ndarray) -> dict[str, float] | None:
    """Height, and length along the longer horizontal side, in metres; None where no axis of the box is vertical."""
    along = np.abs(instance.world_from_box[:3, :3].T @ unit(up))
    vertical = int(np.argmax(along))
    if along[vertical] < np.cos(np.radians(UPRIGHT_DEG)):
        return None
    across = np.delete(instance.size_m, vertical)
    return {"height": float(instance.size_m[vertical]), "length": float(across.max())}
