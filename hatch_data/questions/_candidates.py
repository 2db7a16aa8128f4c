"""Questions answered with one of several marked objects: by the color of its box, which means nothing by itself.

The options are chosen first, one object for each of several answers ("left", "behind", ...), then which of these is
asked about; colors are drawn. So each option is equally often right, whatever the objects are. The text does not say
in which image a box is: that, too, could tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from math import atan2, degrees

import numpy as np

from hatch_data.geometry import Array
from hatch_data.group import ViewGroup
from hatch_data.motion import wrap_degrees
from hatch_data.questions import Question
from hatch_data.questions._objects import Seen, apart, capital, clear, marks, named

#: Colors of candidates; what they are compared with is red.
REFERENCE = "red"
CANDIDATES = ("blue", "green", "yellow")
#: An object that is cut off or half hidden is still evident where it fills this share of a view.
EVIDENT_SHARE = 0.02
#: Who knows it from its mark in another view finds it again from this share on.
AGAIN_SHARE = 0.008
#: A side is fair up to this angle from its middle, and from this distance in the plan on.
SIDE_DEG, LEAST_DISTANCE_M = 30.0, 0.5
SIDES = ("in front of", "to the left of", "behind", "to the right of")


def boxed(color: str) -> str:
    """How a text refers to a marked object."""
    return f"the object in the {color} box"


def clear_in(group: ViewGroup, views: Iterable[int], rng: np.random.Generator) -> list[Seen]:
    """Objects clear in any of these views, at random, each as one of the views shows it."""
    found = [one for k in views for one in clear(group, k)]
    shuffled = [found[k] for k in rng.permutation(len(found))]
    return list({one.index: one for one in shuffled}.values())


def one_each(
    objects: Sequence[Seen], class_of: Callable[[Seen], str | None], beside: Sequence[Seen] = ()
) -> dict[str, Seen]:
    """The first object of each class whose box can be marked beside the others and `beside`."""
    found: dict[str, Seen] = {}
    for one in objects:
        name = class_of(one)
        if name is not None and name not in found and all(apart(one, other) for other in (*found.values(), *beside)):
            found[name] = one
    return found


def evident(group: ViewGroup, k: int, least_share: float = EVIDENT_SHARE) -> set[int]:
    """Objects that nobody would miss in view k: clear, or large even where cut off."""
    large = {one.index for one in group.sightings(k) if one.share >= least_share}
    return large | {one.index for one in clear(group, k)}


def left_deg(offset: Array) -> float:
    """Angle to the left, in (-180, 180], of an offset (3,) right, up and forward."""
    return degrees(atan2(-offset[0], offset[2]))


def side(offset: Array) -> str | None:
    """On which of `SIDES` an offset (3,), right, up and forward, lies; None near a border or too near."""
    if np.hypot(offset[0], offset[2]) < LEAST_DISTANCE_M:
        return None
    angle = left_deg(offset) % 360
    nearest = round(angle / 90)
    return SIDES[nearest % 4] if abs(angle - 90 * nearest) <= SIDE_DEG else None


def which(
    text: str, right: Seen, wrong: Sequence[Seen], saying: str, rng: np.random.Generator, reference: Seen | None = None
) -> Question:
    """The question which of several objects it is, with colors drawn; `saying` follows the name of the right one in
    the sentence, as in "is behind you"."""
    colors = [CANDIDATES[k] for k in rng.permutation(len(CANDIDATES))[: 1 + len(wrong)]]
    objects = dict(zip(colors, (right, *wrong), strict=True))
    options = tuple(color for color in CANDIDATES if color in objects)
    listed = f"{', '.join(options[:-1])} or {options[-1]}"
    beside = {REFERENCE: reference} if reference else {}
    return Question(
        text,
        colors[0],
        f"{capital(named(right, colors[0]))} {saying}.",
        f"Answer with the color of the box: {listed}.",
        tuple(options[k] for k in rng.permutation(len(options))),
        markers=marks(beside | objects),
    )


def spread_deg(group: ViewGroup, point: Array) -> float:
    """The greatest angle in degrees, in the plan, between the directions in which two views lie from a point (3,)."""
    ways = [
        group.from_view(0, group.world_from_camera(k)[:3, 3] - point + group.world_from_camera(0)[:3, 3])
        for k in range(len(group))
    ]
    return max(abs(wrap_degrees(degrees(atan2(a[1], a[0]) - atan2(b[1], b[0])))) for a, b in combinations(ways, 2))
