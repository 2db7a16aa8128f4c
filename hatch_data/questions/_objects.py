"""What families that ask about objects share: which objects are clear in a view, how they are marked, where they lie.

Names of objects tell: lamps hang high, monitors stand on desks. Where the answer could follow from a name, the object
is marked by a box and the text names the box alone ("the object in the red box"); its name stands beside the box in
the picture.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, degrees

import numpy as np

from hatch_data.geometry import Array, unit
from hatch_data.group import ViewGroup
from hatch_data.instances import Sighting
from hatch_data.markers import Marker
from hatch_data.questions import Rejection

Box = tuple[float, float, float, float]

#: An object is clear in a view that shows it in this share of its pixels ...
CLEAR_SHARE = 0.004
#: ... where what is seen of it spans at least this part of its projected box.
SEEN_PART = 0.6
#: Of the smaller of two marked boxes in a view the other covers at most this part.
MOST_COVERED = 0.2
#: A view shows an object, if perhaps little of it, from this share on: names are unique against all of these.
LEAST_SHARE = 0.0003
#: Labels of what is no object, or says nothing.
NO_OBJECT = re.compile(
    "wall|floor|ceiling|room|doorframe|stair|structure|other|misc|object|unknown|unlabel+ed|undefined|invalid|none|removed?|split|void|background"
    "|otherstructure|otherfurniture|otherprop",
    re.IGNORECASE,
)
#: A word such as "left" is fair from this offset on, and from this share of the whole distance on.
WORD_M, WORD_SHARE = 0.3, 0.1
#: Up to this offset no word is said; what lies between is no fair question.
SAME_M = 0.1
#: The same for the directions in which an observer sees two objects.
SAME_DEG = 5.0
#: Lengths are clearly different from this ratio on.
CLEAR_RATIO = 1.25
#: What SPAR says where positions and distances of objects are asked for.
BY_CENTERS = "Calculate or judge based on the 3D center points of these objects."
BY_DEPTH = f"{BY_CENTERS} Depth is measured along the viewing direction of the image in which an object is marked."
#: Follows the words that an answer may use.
LEAVE_OUT = "Leave out any direction in which there is hardly a difference."
COLORS = {"red": "#e6194b", "blue": "#4363d8", "green": "#3cb44b", "yellow": "#d4a800"}
LEFT_RIGHT, ABOVE_BELOW = ("left", "right"), ("above", "below")
FRONT_BEHIND, FARTHER_CLOSER = ("front", "behind"), ("farther", "closer")


@dataclass(frozen=True)
class Seen:
    """An object that is clear in view `view`: `index` and `label` of the instance, its `center` (3,) in the world, and
    the `box` (left, top, right, bottom) around what is seen of it, in shares of the image."""

    view: int
    index: int
    label: str
    center: Array
    box: Box


def clear(group: ViewGroup, k: int) -> list[Seen]:
    """Objects of view k that are whole inside the image, mostly seen, large enough, and no part of the building; a box
    around one shows more of it than of all other objects."""
    height, width = group.view(k).raster.shape
    found = []
    for one in group.sightings(k):
        label = group.instances[one.index].label.strip()
        if one.truncated or one.share < CLEAR_SHARE or _seen_part(one) < SEEN_PART or not is_object(label):
            continue
        left, top, right, bottom = one.seen_box
        owner = group.owner(k)[top : bottom + 1, left : right + 1]
        if np.count_nonzero((owner >= 0) & (owner != one.index)) > np.count_nonzero(owner == one.index):
            continue
        box = _tight_box(one, width, height)
        found.append(Seen(k, one.index, label, group.instances[one.index].world_from_box[:3, 3], box))
    return found


def pick(group: ViewGroup, views: Sequence[int], rng: np.random.Generator) -> list[Seen] | None:
    """A different object, clear in its view, for each of `views` (numbers may repeat), at random; None where there
    are not enough. Boxes in one view hardly cover each other."""
    chosen: list[Seen] = []
    for k in views:
        free = [one for one in clear(group, k) if all(apart(one, other) for other in chosen)]
        if not free:
            return None
        chosen.append(free[int(rng.integers(len(free)))])
    return chosen


def subjects(group: ViewGroup, colors: Sequence[str], rng: np.random.Generator) -> dict[str, Seen] | Rejection:
    """A different object for each of the colors in which it will be marked, as evenly over the views as can be.

    Rejected: `no_objects`, `too_few_clear_objects`.
    """
    if not group.instances:
        return Rejection("no_objects")
    views = np.resize(rng.permutation(len(group)), len(colors))
    chosen = pick(group, rng.permutation(views).tolist(), rng)
    return Rejection("too_few_clear_objects") if chosen is None else dict(zip(colors, chosen, strict=True))


def subject_elsewhere(group: ViewGroup, rng: np.random.Generator) -> dict[str, Seen] | Rejection:
    """An object, to be marked red, that is clear in another view than the first; one of those that the first does not
    show if there are any.

    Rejected: `no_objects`, `too_few_clear_objects`.
    """
    if not group.instances:
        return Rejection("no_objects")
    elsewhere = [one for k in range(1, len(group)) for one in clear(group, k)]
    shown = {one.index for one in group.sightings(0) if one.share >= LEAST_SHARE}
    pool = [one for one in elsewhere if one.index not in shown] or elsewhere
    return {"red": pool[int(rng.integers(len(pool)))]} if pool else Rejection("too_few_clear_objects")


def unique(group: ViewGroup, seen: Seen) -> bool:
    """Whether no view of the group shows another object of the same label: then the label alone says which."""
    others = {one.index for k in range(len(group)) for one in group.sightings(k) if one.share >= LEAST_SHARE}
    return not any(group.instances[i].label.strip() == seen.label for i in others - {seen.index})


def is_object(label: str) -> bool:
    """Whether a label names an object, not a part of the building or nothing."""
    words = re.split(r"[\s_-]+", label.strip())
    return bool(words[-1]) and not NO_OBJECT.fullmatch(words[-1].removesuffix("s"))


def marks(objects: dict[str, Seen], notes: dict[str, str] | None = None) -> dict[int, list[Marker]]:
    """Boxes around objects by colour of `COLORS`, with their names and what `notes` says of them, for
    `Question.markers`."""
    markers: dict[int, list[Marker]] = {}
    for color, seen in objects.items():
        note = (notes or {}).get(color)
        label = f"{seen.label}: {note}" if note else seen.label
        markers.setdefault(seen.view, []).append(Marker(seen.box, label, COLORS[color]))
    return markers


def pointed(text: str, objects: dict[str, Seen]) -> str:
    """A text about "{red}", "{blue}" and so on that refers to these objects by box and image, without their names."""
    return text.format(
        **{color: f"the object in the {color} box in image {one.view + 1}" for color, one in objects.items()}
    )


def told(sentence: str, objects: dict[str, Seen], answer: str) -> str:
    """A sentence about "{red}", "{blue}" and so on, by their names, that says the "{answer}"."""
    return capital(sentence.format(answer=answer, **{color: named(one, color) for color, one in objects.items()}))


def named(seen: Seen, color: str) -> str:
    """How an answer refers to a marked object."""
    return f"the {seen.label} in the {color} box"


def capital(sentence: str) -> str:
    """With a capital letter."""
    return sentence[:1].upper() + sentence[1:]


def box_1000(box: Box) -> tuple[int, int, int, int]:
    """A box in thousandths of width and height, as SPAR and Qwen write them."""
    left, top, right, bottom = (round(1000 * v) for v in box)
    return left, top, right, bottom


def offset(group: ViewGroup, k: int, point: Array) -> Array:
    """(3,) right, up and forward in metres of a world point in the gravity-levelled heading frame of view k."""
    forward, left, upward = group.from_view(k, point)
    return np.array([-left, upward, forward])


def offset_facing(stand: Array, facing: Array, up: Array, point: Array) -> Array:
    """(3,) right, up and forward in metres of a world point for who stands at `stand` and faces `facing`, upright."""
    up = unit(up)
    ahead = facing - stand
    ahead = unit(ahead - (ahead @ up) * up)
    return np.array([np.cross(ahead, up), up, ahead]) @ (point - stand)


def horizontal_m(a: Array, b: Array, up: Array) -> float:
    """Distance in metres of two world points in the plan."""
    up = unit(up)
    return float(np.linalg.norm((a - b) - ((a - b) @ up) * up))


def word(value_m: float, words: tuple[str, str], distance_m: float) -> str | None:
    """The first word for a clearly positive offset, the second for a clearly negative one, "" where there is next to
    none, None where it is not clear which to say. `distance_m` is how far off the whole offset reaches."""
    if abs(value_m) <= SAME_M:
        return ""
    if abs(value_m) < max(WORD_M, WORD_SHARE * distance_m):
        return None
    return words[0] if value_m > 0 else words[1]


def relation(right_up_forward: Array, along: tuple[str, str] = FRONT_BEHIND) -> str | None:
    """Such as "left, above, front", "right, behind": what is next to none is left out. None where a word would be
    doubtful or none can be said. `along` are the words for forward and backward."""
    reach = float(np.linalg.norm(right_up_forward))
    right, upward, forward = right_up_forward.tolist()
    words = [word(-right, LEFT_RIGHT, reach), word(upward, ABOVE_BELOW, reach), word(forward, along, reach)]
    if None in words:
        return None
    return ", ".join(filter(None, words)) or None


def relation_between(a: Array, b: Array) -> str | None:
    """How a lies to b, such as "left, above, closer", for an observer to whom they lie (3,) right, up and forward, both
    in front. None where a word would be doubtful, or where left and right in the plan and in the picture disagree."""
    said = relation(np.array([a[0] - b[0], a[1] - b[1], np.linalg.norm(a) - np.linalg.norm(b)]), FARTHER_CLOSER)
    turn_deg = degrees(atan2(a[0], a[2]) - atan2(b[0], b[2]))
    if abs(a[0] - b[0]) <= SAME_M:
        agree = abs(turn_deg) <= SAME_DEG
    else:
        agree = abs(turn_deg) > SAME_DEG and (turn_deg > 0) == (a[0] > b[0])
    return said if agree else None


def in_front(*offsets: Array) -> bool:
    """Whether all of these (3,) offsets, right, up and forward, lie clearly in front."""
    return all(offset[2] >= WORD_M for offset in offsets)


def metres(value_m: float) -> str:
    """ "1.2 m"."""
    return f"{value_m:.1f} m"


def apart(a: Seen, b: Seen) -> bool:
    """Whether two are different objects that can be marked beside each other."""
    if a.view != b.view:
        return a.index != b.index
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a.box, b.box))
    return max(width, 0) * max(height, 0) <= MOST_COVERED * smaller


def _tight_box(one: Sighting, width: int, height: int) -> Box:
    """What is seen of the object, less the margin by which surfaces beside it are counted as part of it, in shares of
    the image."""
    left, top = (max(seen, whole + 0.5) for seen, whole in zip(one.seen_box[:2], one.box[:2], strict=True))
    right, bottom = (min(seen + 1.0, whole + 0.5) for seen, whole in zip(one.seen_box[2:], one.box[2:], strict=True))
    return left / width, top / height, right / width, bottom / height


def _seen_part(one: Sighting) -> float:
    """How much of the projected box the pixels that show the object span."""
    left, top, right, bottom = one.seen_box
    whole = (one.box[2] - one.box[0] + 1) * (one.box[3] - one.box[1] + 1)
    return (right - left + 1) * (bottom - top + 1) / whole
