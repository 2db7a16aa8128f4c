"""Which pixels of a view show which object: from measured depth and the objects' boxes, the same for all layouts.

A pixel belongs to the smallest box that holds the point behind it. Boxes are taken a little larger than they are, by
what depth is uncertain by, save at their underside, where the floor begins on which most objects stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hatch_data.geometry import Array, inverse, transform, unit
from hatch_data.scene import Instance
from hatch_data.views import View

#: Boxes are taken larger by this, or by what the depth of a point is uncertain by where that is less.
MARGIN_M = 0.03
#: The lowest part of a box is left to what it stands on, unless it is as flat as a rug.
UNDERSIDE_M, FLAT_M = 0.03, 0.06
#: Surfaces in front of the camera nearer than this cut a box that reaches behind it.
NEAR_M = 0.05
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_EDGES = np.array([(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 1])


@dataclass(frozen=True)
class Sighting:
    """An object in a view.

    `share` is the part of the raster that shows it. `box` and `seen_box` are (left, top, right, bottom) in pixels of
    the raster, edges included: of the whole projected box, which may reach beyond the image, and of the pixels that
    show the object. `truncated` says whether the projected box reaches beyond the image. `distance_m` is the mean depth
    of those pixels.
    """

    index: int
    share: float
    box: tuple[float, float, float, float]
    seen_box: tuple[int, int, int, int]
    truncated: bool
    distance_m: float


def sightings(view: View, instances: Sequence[Instance], up: Array) -> tuple[list[Sighting], NDArray[np.int16]]:
    """What is seen of `instances`, and for each pixel of the raster (height, width) the index of its object, or -1.

    A box in which the camera stands is a room, not an object, and is left out.
    """
    owner = np.full(view.raster.shape, -1, np.int16)
    camera_from_world = inverse(view.world_from_camera)
    boxes: dict[int, tuple[float, float, float, float]] = {}
    # From large to small: the smaller of two boxes takes the pixel.
    for index in np.argsort([-float(np.prod(one.size_m)) for one in instances], kind="stable").tolist():
        one = instances[index]
        if _holds(one, view.world_from_camera[:3, 3]) or (box := projected_box(view, one)) is None:
            continue
        boxes[index] = box
        rows, columns = _pixels_within(box, owner.shape)
        if rows.start < rows.stop and columns.start < columns.stop:
            tolerance = view.tolerance
            _claim(
                view.raster, owner, index, rows.start, rows.stop, columns.start, columns.stop,
                np.float32(view.metres_per_unit), (view.camera.fx, view.camera.fy, view.camera.cx, view.camera.cy),
                inverse(camera_from_world @ one.world_from_box), *_reach(one, up),
                (MARGIN_M, tolerance.absolute_m, tolerance.relative, tolerance.quadratic_per_m),
            )  # fmt: skip
    found = []
    label = owner + 1  # 0 is no object, as scipy has it
    count = np.bincount(label.ravel(), minlength=len(instances) + 1)[1:]
    units = np.bincount(label.ravel(), np.abs(view.raster.ravel().astype(np.int32)), len(instances) + 1)[1:]
    for index, seen in enumerate(ndimage.find_objects(label, len(instances))):
        if seen is not None:
            rows, columns = seen
            seen_box = columns.start, rows.start, columns.stop - 1, rows.stop - 1
            distance_m = float(units[index] / count[index]) * view.metres_per_unit
            cut = _truncated(boxes[index], owner.shape)
            found.append(Sighting(index, float(count[index]) / owner.size, boxes[index], seen_box, cut, distance_m))
    return found, owner


def projected_box(view: View, instance: Instance) -> tuple[float, float, float, float] | None:
    """(left, top, right, bottom) of the instance's box in pixels of the raster, None where it lies behind the camera.

    What reaches behind the camera is cut off just in front of it.
    """
    camera_from_box = inverse(view.world_from_camera) @ instance.world_from_box
    corners = transform(camera_from_box, _CORNERS * instance.size_m)
    z = corners[:, 2]
    first, second = corners[_EDGES[:, 0]], corners[_EDGES[:, 1]]
    crossing = (first[:, 2] > NEAR_M) != (second[:, 2] > NEAR_M)
    at = (NEAR_M - first[crossing, 2]) / (second[crossing, 2] - first[crossing, 2])
    points = np.concatenate([corners[z > NEAR_M], first[crossing] + at[:, None] * (second - first)[crossing]])
    if not len(points):
        return None
    pixels, _ = view.camera.project(points)
    (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return left, top, right, bottom


def _holds(instance: Instance, point: Array) -> bool:
    local = transform(inverse(instance.world_from_box), point)
    return bool((np.abs(local) <= instance.size_m / 2).all())


def _reach(instance: Instance, up: Array) -> tuple[Array, Array]:
    """Lower and upper corner (3,) of the box in its own axes, its underside raised."""
    lower, upper = -np.asarray(instance.size_m) / 2, np.asarray(instance.size_m) / 2
    along = instance.world_from_box[:3, :3].T @ unit(up)
    axis = int(np.argmax(np.abs(along)))
    raised = UNDERSIDE_M + MARGIN_M if instance.size_m[axis] > FLAT_M else 0.0
    if along[axis] > 0:
        lower[axis] += raised
    else:
        upper[axis] -= raised
    return lower, upper


def _pixels_within(box: tuple[float, float, float, float], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the raster that the box covers, with a pixel or two to spare for its margin."""
    left, top, right, bottom = box
    spare = 2 + 0.1 * max(right - left, bottom - top)
    rows = slice(int(np.clip(top - spare, 0, shape[0])), int(np.clip(bottom + spare + 1, 0, shape[0])))
    columns = slice(int(np.clip(left - spare, 0, shape[1])), int(np.clip(right + spare + 1, 0, shape[1])))
    return rows, columns


def _truncated(box: tuple[float, float, float, float], shape: tuple[int, ...]) -> bool:
    left, top, right, bottom = box
    return left < -0.5 or top < -0.5 or right > shape[1] - 0.5 or bottom > shape[0] - 0.5


@numba.njit(cache=True, nogil=True)
def _claim(raster, owner, index, top, bottom, left, right, unit_m, camera, box_from_camera, lower, upper, margins):
    """Mark the pixels of a part of the raster whose points lie in a box with margins, given in its own axes."""
    fx, fy, cx, cy = camera
    margin, absolute, relative, quadratic = margins
    r, t = box_from_camera[:3, :3], box_from_camera[:3, 3]
    for row in range(top, bottom):
        y = (row - cy) / fy
        a, b, c = r[0, 1] * y + r[0, 2], r[1, 1] * y + r[1, 2], r[2, 1] * y + r[2, 2]
        for column in range(left, right):
            z = abs(np.int32(raster[row, column])) * unit_m
            if z == 0:
                continue
            x = (column - cx) / fx
            spare = min(margin, max(absolute, relative * z, quadratic * z * z))
            at = (r[0, 0] * x + a) * z + t[0]
            if at < lower[0] - spare or at > upper[0] + spare:
                continue
            at = (r[1, 0] * x + b) * z + t[1]
            if at < lower[1] - spare or at > upper[1] + spare:
                continue
            at = (r[2, 0] * x + c) * z + t[2]
            if at >= lower[2] - spare and at <= upper[2] + spare:
                owner[row, column] = index
