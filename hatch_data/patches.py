"""Patch grids, soft patch maps, and the flow field from which a map at any other grid is made.

A grid is (rows, columns) of equal cells over an image; patches are numbered row-major. A `FlowField` says for a
lattice of cells of the source image where each cell's centre is in the target image, or why it is nowhere. It is
stored beside the map so that shards serve any later grid: another `max_pixels`, 32-px tokens, n x n regions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numba
import numpy as np
from numpy.typing import NDArray

Grid = tuple[int, int]


class Visibility(IntEnum):
    """What became of a piece of the source image in the target view."""

    VISIBLE = 0
    OCCLUDED = 1
    OUT_OF_VIEW = 2
    NO_DEPTH = 3
    DEPTH_EDGE = 4


def resized_for_tokens(
    height: int, width: int, token_px: int = 28, min_pixels: int = 56 * 56, max_pixels: int = 12845056
) -> tuple[int, int]:
    """Size to which Qwen's image processor resizes an image: multiples of `token_px`, area within the bounds.

    The rule of `smart_resize` in transformers, against which it is tested.
    """
    rows, columns = round(height / token_px), round(width / token_px)
    if rows * columns * token_px**2 > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows = max(1, math.floor(height / shrink / token_px))
        columns = max(1, math.floor(width / shrink / token_px))
    elif rows * columns * token_px**2 < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows = math.ceil(height * grow / token_px)
        columns = math.ceil(width * grow / token_px)
    return rows * token_px, columns * token_px


def token_grid(
    height: int, width: int, token_px: int = 28, min_pixels: int = 56 * 56, max_pixels: int = 12845056
) -> Grid:
    """Rows and columns of language-model tokens for an image of this size."""
    resized = resized_for_tokens(height, width, token_px, min_pixels, max_pixels)
    return resized[0] // token_px, resized[1] // token_px


#: Beside `Visibility`: the point has depth here, but the target's depth does not say whether it is seen there.
#: Counts as valid area; reported as `NO_DEPTH`.
UNDECIDED = 5
_OUTCOMES = 6

#: A stored flow coordinate is `round(position / size * FLOW_STEPS)`; larger values are `FLOW_CODE + outcome`.
FLOW_STEPS = 60000
FLOW_CODE = 65500


@dataclass(frozen=True)
class FlowField:
    """Where the centres of a lattice of cells over the source image lie in the target image.

    `values` (rows, columns, 2) uint16: x and y from the left and top image edge in units of 1 / FLOW_STEPS of the
    target's width and height; a cell that is not visible there holds `FLOW_CODE + outcome` in x and 0 in y.
    """

    values: NDArray[np.uint16]

    @property
    def outcome(self) -> NDArray[np.uint8]:
        """(rows, columns) uint8: a `Visibility`, or `UNDECIDED`."""
        x = self.values[..., 0]
        return np.where(x >= FLOW_CODE, x - FLOW_CODE, 0).astype(np.uint8)

    @property
    def target(self) -> NDArray[np.float64]:
        """(rows, columns, 2) positions as shares of the target's width and height; NaN where not visible."""
        shares = self.values / FLOW_STEPS
        return np.where(self.outcome[..., None] == 0, shares, np.nan)

    def to_bytes(self) -> bytes:
        """Little-endian row-major bytes, as stored in a shard."""
        return self.values.astype("<u2").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, size: Grid) -> FlowField:
        """Read what `to_bytes` wrote. Raises `ValueError` where the length does not fit `size`."""
        return cls(np.frombuffer(data, "<u2").reshape(*size, 2))


@dataclass(frozen=True)
class PatchMap:
    """A sparse soft map from the patches of one image to those of another.

    `weight[k]`: share of the valid area of patch `source_patch[k]` that lands, visible, in `target_patch[k]`;
    `valid` (source patches): share of each source patch's area with measured depth that is no depth edge;
    `visibility` (source patches) uint8: the most frequent outcome of the patch's area.
    """

    source_grid: Grid
    target_grid: Grid
    source_patch: NDArray[np.int32]
    target_patch: NDArray[np.int32]
    weight: NDArray[np.float32]
    valid: NDArray[np.float32]
    visibility: NDArray[np.uint8]

    def dense(self) -> NDArray[np.float32]:
        """(source patches, target patches) weights."""
        shape = (self.source_grid[0] * self.source_grid[1], self.target_grid[0] * self.target_grid[1])
        full = np.zeros(shape, np.float32)
        full[self.source_patch, self.target_patch] = self.weight
        return full

    def over_all_pixels(self) -> NDArray[np.float32]:
        """(source patches, target patches): the paper's M, shares of *all* pixels of a patch: `weight * valid`."""
        return self.dense() * self.valid[:, None]

    @property
    def overlap(self) -> float:
        """Share of the source image's valid area that is visible in the target."""
        total = float(self.valid.sum())
        seen = float((self.weight * self.valid[self.source_patch]).sum())
        return seen / total if total > 0 else 0.0


def symmetric(x_to_y: PatchMap, y_to_x: PatchMap) -> NDArray[np.float32]:
    """(patches of X, patches of Y): the paper's S = (M[X->Y] + M[Y->X]^T) / 2, values in [0, 1]."""
    return (x_to_y.over_all_pixels() + y_to_x.over_all_pixels().T) * np.float32(0.5)


#: Each field cell is cut into this many pieces a side when its area is spread over patches.
_PIECES = 4


def rebin(field: FlowField, source_grid: Grid, target_grid: Grid) -> PatchMap:
    """The patch map at any pair of grids, from a flow field.

    A cell is a small parallelogram in the target image, spanned by the flow's own differences to those neighbours
    that lie on the same surface; its area is spread over the patches that its pieces fall into.
    """
    counts, outcomes = _spread(field.values, *source_grid, *target_grid, _PIECES)
    source_patch, target_patch = np.nonzero(counts)
    return from_samples(
        source_patch, target_patch, counts[source_patch, target_patch], outcomes, source_grid, target_grid
    )


def from_samples(
    source_patch: NDArray,
    target_patch: NDArray,
    count: NDArray,
    outcomes: NDArray,
    source_grid: Grid,
    target_grid: Grid,
) -> PatchMap:
    """A map from counted samples: `count[k]` of those of `source_patch[k]` are visible in `target_patch[k]`;
    `outcomes` (source patches, 6) counts all samples by `Visibility` and `UNDECIDED`."""
    total = outcomes.sum(axis=1)
    valid = total - outcomes[:, Visibility.NO_DEPTH] - outcomes[:, Visibility.DEPTH_EDGE]
    reported = outcomes[:, :UNDECIDED].copy()
    reported[:, Visibility.NO_DEPTH] += outcomes[:, UNDECIDED] + (total == 0)
    return PatchMap(
        source_grid,
        target_grid,
        source_patch.astype(np.int32, copy=False),
        target_patch.astype(np.int32, copy=False),
        (count / valid[source_patch]).astype(np.float32),
        (valid / np.maximum(total, 1)).astype(np.float32),
        reported.argmax(axis=1).astype(np.uint8),
    )


@numba.njit(cache=True, nogil=True)
def _step(values, r, c, dr, dc, reach):
    """Change of the target position per cell towards (dr, dc): central, else one-sided, else (NaN, NaN)."""
    rows, columns = values.shape[:2]
    total_x, total_y, sides = 0.0, 0.0, 0
    for sign in (-1, 1):
        rr, cc = r + sign * dr, c + sign * dc
        if 0 <= rr < rows and 0 <= cc < columns and values[rr, cc, 0] < FLOW_CODE:
            x = float(values[rr, cc, 0]) - float(values[r, c, 0])
            y = float(values[rr, cc, 1]) - float(values[r, c, 1])
            if abs(x) < reach and abs(y) < reach:
                total_x += sign * x
                total_y += sign * y
                sides += 1
    if sides == 0:
        return np.nan, np.nan
    return total_x / sides, total_y / sides


@numba.njit(cache=True, nogil=True)
def _spread(values, source_rows, source_columns, target_rows, target_columns, pieces):
    rows, columns = values.shape[:2]
    counts = np.zeros((source_rows * source_columns, target_rows * target_columns), np.int32)
    outcomes = np.zeros((source_rows * source_columns, _OUTCOMES), np.int32)
    reach = 3.0 * FLOW_STEPS / min(rows, columns)
    for r in range(rows):
        for c in range(columns):
            code = 0 if values[r, c, 0] < FLOW_CODE else values[r, c, 0] - FLOW_CODE
            right_x = right_y = down_x = down_y = 0.0
            if code == 0:
                right_x, right_y = _step(values, r, c, 0, 1, reach)
                down_x, down_y = _step(values, r, c, 1, 0, reach)
                if np.isnan(right_x):
                    right_x, right_y = FLOW_STEPS / columns, 0.0
                if np.isnan(down_x):
                    down_x, down_y = 0.0, FLOW_STEPS / rows
            for piece_row in range(pieces):
                dy = (piece_row + 0.5) / pieces - 0.5
                patch_row = int((r + 0.5 + dy) / rows * source_rows)
                for piece_column in range(pieces):
                    dx = (piece_column + 0.5) / pieces - 0.5
                    patch = patch_row * source_columns + int((c + 0.5 + dx) / columns * source_columns)
                    outcomes[patch, code] += 1
                    if code == 0:
                        x = (values[r, c, 0] + dx * right_x + dy * down_x) / FLOW_STEPS
                        y = (values[r, c, 1] + dx * right_y + dy * down_y) / FLOW_STEPS
                        column = min(max(int(x * target_columns), 0), target_columns - 1)
                        row = min(max(int(y * target_rows), 0), target_rows - 1)
                        counts[patch, row * target_columns + column] += 1
    return counts, outcomes
