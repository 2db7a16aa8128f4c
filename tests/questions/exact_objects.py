"""Which objects of an exact synthetic scene the boxes of a question mark, and where they lie: for checkers."""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from hatch_data.questions._objects import COLORS
from hatch_data.scans.synthetic import SyntheticScene
from tests.questions.asked import Asked

NAMES = {code: name for name, code in COLORS.items()}


@cache
def owners(exact: SyntheticScene, frame: int) -> np.ndarray:
    """(height, width): the object that the ray through each pixel of a frame meets, -1 for the building."""
    box = exact.render(frame).box
    return np.where(box < 0, -1, exact.furnished.instance[box])


def shown(one: Asked, k: int) -> np.ndarray:
    """`owners` of view k."""
    return owners(one.scene, one.indices[k])


def extent(mask: np.ndarray) -> np.ndarray:
    """(left, top, right, bottom) of the pixels of a mask, in shares of the image."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    return np.array([columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height])


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    size = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(size / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - size))


def objects(one: Asked) -> dict[str, tuple[int, int]]:
    """Colour of a box -> (view, object): the object of the name beside the box whose pixels fill it best.

    Asserts that the text speaks of just these boxes, each in the image in which it is drawn, and that it fits well.
    """
    found = {}
    for k, markers in one.question.markers.items():
        owner = shown(one, k)
        for marker in markers:
            name = marker.label.split(":")[0]
            fits = {
                i: overlap(np.array(marker.box), extent(owner == i))
                for i in np.unique(owner[owner >= 0]).tolist()
                if one.scene.instances[i].label == name
            }
            best = max(fits, key=fits.__getitem__)
            assert fits[best] > 0.5
            assert (owner == best).mean() > 0.002
            found[NAMES[marker.color]] = (k, best)
    told = re.findall(r"the object in the (\w+) box in image (\d)", one.question.text, re.IGNORECASE)
    assert not told or {(color, int(image) - 1) for color, image in told} == {(c, v) for c, (v, _) in found.items()}
    assert len({i for _, i in found.values()}) == len(found)
    return found


@cache
def center(exact: SyntheticScene, index: int) -> np.ndarray:
    """(3,) middle of an object's parts, in the directions in which it stands."""
    furnished = exact.furnished
    parts = np.flatnonzero(furnished.instance == index)
    axes = furnished.instances[index].world_from_box[:3, :3]
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = np.concatenate(
        [
            furnished.boxes.center[p] + (signs * furnished.boxes.half[p]) @ furnished.boxes.world_from_local(p).T
            for p in parts
        ]
    )
    along = corners @ axes
    return axes @ (along.min(axis=0) + along.max(axis=0)) / 2


def centers(one: Asked) -> dict[str, tuple[int, np.ndarray]]:
    """Colour of a box -> (view, centre (3,) of the object)."""
    return {color: (k, center(one.scene, i)) for color, (k, i) in objects(one).items()}


def speaks_of_no_names(one: Asked) -> bool:
    """Whether the text leaves out what the marked objects are called: names tell where things are. (All markers are
    boxes, and some objects.)"""
    names = {marker.label.split(":")[0] for markers in one.question.markers.values() for marker in markers} - {"box"}
    return not any(re.search(rf"\b{re.escape(name)}\b", one.question.text) for name in names)
