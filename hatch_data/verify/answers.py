"""Questions asked again of what a row stores: the answer has to follow from poses, maps and pixels."""

from __future__ import annotations

from collections.abc import Iterator
from math import atan2, degrees

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from hatch_data.patches import Grid
from hatch_data.questions import LETTERS
from hatch_data.questions.camera_position import DIRECTIONS
from hatch_data.questions.patch_match import CANDIDATE_COLORS, SOURCE_COLOR
from hatch_data.shards import Row
from hatch_data.verify.rows import Check, Terms, decoded

#: Mean distance in RGB between a drawn box and its colour, after JPEG.
COLOR_ERROR = 60.0
#: Points looked at along each side of a box.
PER_SIDE = 9


def motion_is_the_actions(row: Row, terms: Terms) -> Iterator[str]:
    """The answer is the action string of the pair."""
    if row.answer != row.actions[0].text:
        yield f"answered {row.answer!r}, the actions are {row.actions[0].text!r}"


def position_is_the_bearing(row: Row, terms: Terms) -> Iterator[str]:
    """The answer names the eighth of a circle, about `up` and from view 1's heading, in which camera 2 stands."""
    first, second = row.world_from_camera[:2]
    forward = first[:3, 2] - (first[:3, 2] @ row.up) * row.up
    left = np.cross(row.up, forward)
    step = second[:3, 3] - first[:3, 3]
    bearing = degrees(atan2(step @ left, step @ forward))
    truth = DIRECTIONS[round(bearing / 45) % 8]
    answered = _chosen(row)
    if answered != truth:
        yield f"answered {answered!r}, camera 2 stands {bearing:.0f} deg to the left: {truth!r}"


def match_is_marked(row: Row, terms: Terms) -> Iterator[str]:
    """Of the boxes found in image 2 the one with the answer's letter has most of what the box in image 1 shows."""
    images = [decoded(data) for data in row.images[:2]]
    first, second = images
    match = next((m for m in row.matches if (m.source, m.target) == (0, 1)), None)
    if first is None or second is None or match is None:
        return
    source, fit = marked_patch(first, match.map.source_grid, SOURCE_COLOR)
    if fit > COLOR_ERROR:
        yield "no marked patch is found in image 1"
        return
    found = [marked_patch(second, match.map.target_grid, color) for color in CANDIDATE_COLORS]
    for letter, (_, fit) in zip(LETTERS, found, strict=False):
        if fit > COLOR_ERROR:
            yield f"no box {letter} is found in image 2"
            return
    weights = match.map.dense()[source, [patch for patch, _ in found]]
    truth = LETTERS[int(weights.argmax())]
    if truth != row.answer:
        told = ", ".join(f"{letter} {weight:.2f}" for letter, weight in zip(LETTERS, weights, strict=False))
        yield f"answered {row.answer!r}, the weights of the marked patch are {told}"


def marked_patch(image: NDArray[np.uint8], grid: Grid, color: str) -> tuple[int, float]:
    """The patch of an image (height, width, 3) around which a box of this colour is drawn, and how far from it, in
    RGB, the pixels along its border are in the mean."""
    height, width = image.shape[:2]
    rows, columns = grid
    row, column = np.divmod(np.arange(rows * columns), columns)
    # The coloured line lies between a black and a white one, all outside the patch, but inside the image.
    line = max(2, round(max(width, height) / 220))
    middle = 1 + (line - 1) // 2
    left, right = (np.rint((column + k) / columns * width) + (2 * k - 1) * (line + 2) for k in (0, 1))
    top, bottom = (np.rint((row + k) / rows * height) + (2 * k - 1) * (line + 2) for k in (0, 1))
    left, right = np.clip(left, 0, None) + middle, np.clip(right, None, width - 1) - middle
    top, bottom = np.clip(top, 0, None) + middle, np.clip(bottom, None, height - 1) - middle
    along = ((np.arange(PER_SIDE) + 0.5) / PER_SIDE)[:, None]
    across, down = left + along * (right - left), top + along * (bottom - top)
    same = np.zeros((PER_SIDE, 1))
    u = np.concatenate([across, across, left + same, right + same]).astype(int)
    v = np.concatenate([top + same, bottom + same, down, down]).astype(int)
    off = np.linalg.norm(image[v, u].astype(float) - ImageColor.getrgb(color), axis=-1).mean(axis=0)
    return int(off.argmin()), float(off.min())


def _chosen(row: Row) -> str | None:
    """The option whose letter is the answer."""
    options = dict(zip(LETTERS, row.options, strict=False))
    return options.get(row.answer)


#: Task -> how to answer it again.
ANSWERS: dict[str, Check] = {
    "camera_motion": motion_is_the_actions,
    "camera_position": position_is_the_bearing,
    "patch_match": match_is_marked,
}
