"""Questions asked again of what a row stores: the answer has to follow from poses, maps and markers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import asin, atan2, degrees

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from hatch_data.patches import FlowField, Visibility
from hatch_data.questions import LETTERS
from hatch_data.questions._directions import DIRECTIONS
from hatch_data.questions.shared_view import MUCH
from hatch_data.shards import Match, PlacedMarker, Row
from hatch_data.verify.rows import Check, Terms, decoded

#: Distance in RGB between a drawn marker and its colour, after JPEG.
COLOR_ERROR = 60.0
#: Share of the points looked at that have to show the colour: another marker or a label may lie over the rest.
LEAST_SHOWN = 0.5
#: Points looked at along each side of a box.
PER_SIDE = 9
#: A cell of the flow field may lie this far, in shares of the image, from where a point in it does.
FLOW_ERROR = 0.04
FATES: dict[int, str] = {
    Visibility.VISIBLE: "visible",
    Visibility.OCCLUDED: "hidden",
    Visibility.OUT_OF_VIEW: "outside",
}


def markers_show(row: Row, terms: Terms) -> Iterator[str]:
    """Every marker said to be drawn is found in its image, where it belongs and in its colour."""
    for marker in row.markers:
        image = decoded(row.images[marker.image])
        if not marker.drawn or image is None:
            continue
        height, width = image.shape[:2]
        x, y = _along(marker, width, height)
        off = np.linalg.norm(image[y, x].astype(float) - ImageColor.getrgb(marker.color), axis=-1)
        if (off < COLOR_ERROR).mean() < LEAST_SHOWN:
            yield f"image {marker.image + 1}: the marker {marker.label!r} in {marker.color} is not where it belongs"


def _along(marker: PlacedMarker, width: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels in the middle of a box's line, or around the centre of a disc."""
    left, top, right, bottom = np.rint(np.multiply(marker.box, (width, height) * 2))
    if tuple(marker.box[:2]) == tuple(marker.box[2:]):
        step = np.array([-1, 0, 1])
        x, y = (grid.ravel() for grid in np.meshgrid(left + step, top + step))
    else:
        # The coloured line lies between a black and a white one, all outside the place, but inside the image.
        line = max(2, round(max(width, height) / 220))
        middle = 1 + (line - 1) // 2
        left, top = (max(edge - line - 2, 0) + middle for edge in (left, top))
        right = min(right + line + 2, width - 1) - middle
        bottom = min(bottom + line + 2, height - 1) - middle
        along = (np.arange(PER_SIDE) + 0.5) / PER_SIDE
        across, down, same = left + along * (right - left), top + along * (bottom - top), np.zeros(PER_SIDE)
        x = np.concatenate([across, across, left + same, right + same])
        y = np.concatenate([top + same, bottom + same, down, down])
    return np.clip(x, 0, width - 1).astype(int), np.clip(y, 0, height - 1).astype(int)


def motion_is_the_actions(row: Row, terms: Terms) -> Iterator[str]:
    """The answer is the action string of the pair."""
    yield from contradicted(row, row.actions[0].text)


def position_is_the_bearing(row: Row, terms: Terms) -> Iterator[str]:
    """The answer names the eighth of a circle, about `up` and from view 1's heading, in which camera 2 stands."""
    first, second = row.world_from_camera[:2]
    forward = first[:3, 2] - (first[:3, 2] @ row.up) * row.up
    left = np.cross(row.up, forward)
    step = second[:3, 3] - first[:3, 3]
    bearing = degrees(atan2(step @ left, step @ forward))
    yield from contradicted(row, DIRECTIONS[round(bearing / 45) % 8])


def camera_is_at_the_place(row: Row, terms: Terms) -> Iterator[str]:
    """The answer is where camera 2 projects to in image 1, in thousandths, and its depth."""
    (fx, fy, cx, cy), (height, width) = row.intrinsics[0], row.image_sizes[0]
    x, y, z = (np.linalg.inv(row.world_from_camera[0]) @ row.world_from_camera[1][:, 3])[:3].tolist()
    across, down = (fx * x / z + cx + 0.5) / width, (fy * y / z + cy + 0.5) / height
    between = ", at a depth of " if row.form == "sentence" else ", "
    yield from contradicted(row, f"({1000 * across:.0f}, {1000 * down:.0f}){between}{z:.1f} m")


def view_changes_so(row: Row, terms: Terms) -> Iterator[str]:
    """The answer says how far camera 2 stands to the left, up and ahead of camera 1, and how its axis is turned."""
    first, second = row.world_from_camera[:2]
    step, then = second[:3, 3] - first[:3, 3], second[:3, 2]
    ahead = first[:3, 2] - (first[:3, 2] @ row.up) * row.up
    ahead /= np.linalg.norm(ahead)
    left = np.cross(row.up, ahead)
    pitched = degrees(asin(then @ row.up) - asin(first[:3, 2] @ row.up))
    truth = [step @ left, step @ row.up, step @ ahead, pitched, degrees(atan2(then @ left, then @ ahead))]
    ways = re.findall("left|right|up|down|forward|backward", _said(row))
    numbers = re.findall(r"\d+(?:\.\d+)?", _said(row))
    if not len(ways) == len(numbers) == len(truth):
        yield f"answered {_said(row)!r}, which is not three moves and two turns"
        return
    told = [
        float(n) * (-1 if way in ("right", "down", "backward") else 1) for way, n in zip(ways, numbers, strict=True)
    ]
    error = np.abs(np.subtract(told, truth))
    error[4] = min(error[4], 360 - error[4])
    if (error > [0.051, 0.051, 0.051, 0.51, 0.51]).any():
        yield f"answered {_said(row)!r}, the poses say {np.round(truth, 2).tolist()}"


def match_is_marked(row: Row, terms: Terms) -> Iterator[str]:
    """Of the boxes in image 2 the one that is answered has most of what the box in image 1 shows."""
    match = _match(row, 0, 1)
    boxes = [[marker for marker in row.markers if marker.image == k] for k in (0, 1)]
    if match is None or len(boxes[0]) != 1 or len(boxes[1]) < 2:
        yield f"{len(boxes[0])} and {len(boxes[1])} boxes are marked in the two images"
        return
    source = _patch(boxes[0][0], *match.map.source_grid)
    weights = match.map.dense()[source, [_patch(box, *match.map.target_grid) for box in boxes[1]]]
    yield from contradicted(row, f"box {boxes[1][int(weights.argmax())].label}")


def _patch(box: PlacedMarker, rows: int, columns: int) -> int:
    x, y = (box.box[0] + box.box[2]) / 2, (box.box[1] + box.box[3]) / 2
    return int(y * rows) * columns + int(x * columns)


def track_is_marked(row: Row, terms: Terms) -> Iterator[str]:
    """Of the boxes in one image the one that is answered has most of what the box of every other image shows."""
    lettered = [marker for marker in row.markers if marker.label]
    for box in (marker for marker in row.markers if not marker.label):
        match = _match(row, box.image, lettered[0].image)
        if match is not None:
            there = [_patch(other, *match.map.target_grid) for other in lettered]
            weights = match.map.dense()[_patch(box, *match.map.source_grid), there]
            yield from contradicted(row, f"box {lettered[int(weights.argmax())].label}")


def point_is_where_it_flows(row: Row, terms: Terms) -> Iterator[str]:
    """The flow leads from the point in image 1 to the answered coordinates in image 2."""
    match = _match(row, 0, 1)
    x, y = (int(number) / 1000 for number in re.findall(r"\((\d+), (\d+)\)", _said(row))[-1])
    if match is not None:
        there = _flows_to(match.flow, row.markers[0])[1]
        if not np.abs(there - (x, y)).max() <= FLOW_ERROR:
            yield f"answered {_said(row)!r}, the flow leads to {np.rint(1000 * there)}"


def point_is_the_nearest(row: Row, terms: Terms) -> Iterator[str]:
    """The flow leads from the point in image 1 to the answered point in image 2."""
    match = _match(row, 0, 1)
    if match is not None:
        point, *others = sorted(row.markers, key=lambda marker: marker.image)
        off = np.linalg.norm([other.box[:2] for other in others] - _flows_to(match.flow, point)[1], axis=-1)
        yield from contradicted(row, f"point {others[int(off.argmin())].label}")


def fate_is_the_outcome(row: Row, terms: Terms) -> Iterator[str]:
    """The answer is what the flow says of the point in image 1."""
    match = _match(row, 0, 1)
    if match is not None:
        yield from contradicted(row, FATES.get(_flows_to(match.flow, row.markers[0])[0], "unclear"))


def point_is_hidden(row: Row, terms: Terms) -> Iterator[str]:
    """The flow says that the point in image 1 is occluded in image 2."""
    match = _match(row, 0, 1)
    (point,) = (marker for marker in row.markers if marker.image == 0)
    if match is not None and _flows_to(match.flow, point)[0] != Visibility.OCCLUDED:
        yield "the point that is said to be hidden is not occluded in the map"


def overlap_is_that_of_the_map(row: Row, terms: Terms) -> Iterator[str]:
    """The answer is the overlap of the map between the two images that are named."""
    i, j = (int(number) - 1 for number in re.findall(r"image (\d)", row.question)[:2])
    match = _match(row, i, j)
    if match is not None:
        yield from contradicted(row, f"{round(100 * match.map.overlap)} %")


def shared_view_is_that_of_the_map(row: Row, terms: Terms) -> Iterator[str]:
    """The answer is whether the map from the first image that is named to the second holds half of it or more."""
    i, j = (int(number) - 1 for number in re.findall(r"image (\d)", row.question)[:2])
    match = _match(row, i, j)
    if match is not None:
        truth = "yes" if match.map.overlap >= MUCH else "no"
        yield from contradicted(row, truth.capitalize() if row.form == "sentence" else truth)


def order_is_that_of_the_maps(row: Row, terms: Terms) -> Iterator[str]:
    """The answer is the image with the greatest overlap."""
    overlap = {m.target: m.map.overlap for m in row.matches if m.source == 0}
    truth = f"image {max(overlap, key=lambda k: overlap[k]) + 1}"
    yield from contradicted(row, truth.capitalize() if row.form == "sentence" else truth)


def turns_are_told(row: Row, terms: Terms) -> Iterator[str]:
    """The turns about `up` from image to image are those that the question tells in steps of 5 degrees."""
    told = re.findall(r"Image (\d) was taken after turning the camera (\d+) degrees to the (left|right)", row.question)
    for image, number, way in told:
        first, second = (pose[:3, 2] for pose in row.world_from_camera[int(image) - 2 : int(image)])
        level = first @ second - (first @ row.up) * (second @ row.up)
        turn = degrees(atan2(np.cross(first, second) @ row.up, level))
        if abs((turn - int(number) * (1 if way == "left" else -1) + 180) % 360 - 180) > 2.6:
            yield f"image {image}: turned by {turn:.0f} degrees to the left, told {number} to the {way}"


def _match(row: Row, source: int, target: int) -> Match | None:
    return next((m for m in row.matches if (m.source, m.target) == (source, target)), None)


def _flows_to(flow: FlowField, marker: PlacedMarker) -> tuple[int, NDArray[np.float64]]:
    """The outcome in the cell of a point, and where its centre lies in the target, NaN where it is not seen."""
    rows, columns = flow.values.shape[:2]
    cell = int(marker.box[1] * rows), int(marker.box[0] * columns)
    return int(flow.outcome[cell]), flow.target[cell]


def _said(row: Row) -> str:
    """The answer in words: of a choice, the option that is chosen."""
    return row.options[LETTERS.index(row.answer)] if row.form == "choice" else row.answer


def contradicted(row: Row, truth: str) -> Iterator[str]:
    """Whether a row's answer, in any form, says something else than the truth."""
    chosen = dict(zip(LETTERS, row.options, strict=False)).get(row.answer) if row.form == "choice" else row.answer
    said = rf"(?<![\w-]){re.escape(truth)}(?![\w-])"
    if chosen != truth and not (row.form == "sentence" and re.search(said, row.answer)):
        yield f"answered {chosen!r}, what is stored says {truth!r}"


#: Task -> how to answer it again.
ANSWERS: dict[str, Check] = {
    "camera_motion": motion_is_the_actions,
    "camera_motion_infer": camera_is_at_the_place,
    "camera_position": position_is_the_bearing,
    "hidden_point": point_is_hidden,
    "mindcube_rotation": turns_are_told,
    "overlap": overlap_is_that_of_the_map,
    "overlap_order": order_is_that_of_the_maps,
    "patch_match": match_is_marked,
    "point_choice": point_is_the_nearest,
    "point_match": point_is_where_it_flows,
    "shared_view": shared_view_is_that_of_the_map,
    "track_match": track_is_marked,
    "view_change_infer": view_changes_so,
    "visibility": fate_is_the_outcome,
}
