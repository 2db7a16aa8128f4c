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

#: A stored flow coordinate is `round(position / size * FLOW_STEPS)`; larger values are `FLOW_CODE + outcome`.
FLOW_STEPS = 60000
FLOW_CODE = 65500


VISIBLE, OCCLUDED, OUT_OF_VIEW, NO_DEPTH, DEPTH_EDGE = (int(code) for code in Visibility)


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


#: Strips that each cell of a field is cut into: a sample is taken in each.
STRIPS = 3
#: Steps of the golden ratio spread phases evenly, however many are taken.
GOLDEN = (5**0.5 - 1) / 2
#: Neighbouring cells lie on one surface where they land within this many cells of each other.
REACH_CELLS = 3
#: Counters of a source patch begin with those of its outcomes, then one for each target patch; they are looked
#: through eight at a time.
_FIRST_GOAL = 8
#: Where a cell is that is seen nowhere: far beyond the reach of any neighbour.
_NOWHERE = np.float32(1e9)


def rebin(field: FlowField, source_grid: Grid, target_grid: Grid) -> PatchMap:
    """The patch map at any pair of grids, from a flow field.

    A cell is a small parallelogram in the target image, spanned by the flow's own differences to those neighbours
    that lie on the same surface. Samples of it, `STRIPS` a cell, are counted by the patches they come from and land in.
    Each line of samples starts at another phase, and each sample lies at another height in its strip: patch borders run
    along lines of cells, and against a square lattice a whole border would fall to one side.
    """
    found = _rebin(np.ascontiguousarray(field.values, "<u2").view("<u4")[..., 0], *source_grid, *target_grid)
    return PatchMap(source_grid, target_grid, *found)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _rebin(flow, source_rows, source_columns, target_rows, target_columns):
    rows, columns = flow.shape
    reach = np.float32(REACH_CELLS * FLOW_STEPS / min(rows, columns))
    cell_x, cell_y = np.float32(FLOW_STEPS / columns), np.float32(FLOW_STEPS / rows)
    x, y = _unpack(flow)
    right = _slopes(x, y, columns + 2, 1, reach, cell_x, np.float32(0))
    down = _slopes(x, y, columns + 2, columns + 2, reach, np.float32(0), cell_y)
    heights = ((0.5 + np.arange(columns) * GOLDEN) % 1.0).astype(np.float32)
    width = _FIRST_GOAL + (target_rows * target_columns + 7) // 8 * 8
    slots, span = _land(x, y, *right, *down, heights, rows, source_columns, target_rows, target_columns, width)
    return _count(slots, span, heights, source_rows, source_columns, width)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _unpack(flow):
    """Positions x and y of the cells in steps, rows one after the other with a cell of nothing around them all; one
    that is not visible is `_NOWHERE`, with its code in y. `flow` has x in the low half."""
    rows, columns = flow.shape
    x = np.full((rows + 2) * (columns + 2), _NOWHERE, np.float32)
    y = np.zeros_like(x)
    for r in range(rows):
        first, line = np.uintp((r + 1) * (columns + 2) + 1), flow[r]
        for c in range(columns):
            of_x, of_y = np.int32(line[c] & np.uint32(0xFFFF)), np.int32(line[c] >> np.uint32(16))
            code = of_x - np.int32(FLOW_CODE)
            x[first + np.uintp(c)] = np.float32(of_x) if code < 0 else _NOWHERE
            y[first + np.uintp(c)] = np.float32(of_y if code < 0 else code)
    return x, y


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def _slopes(x, y, margin, step, reach, alone_x, alone_y):
    """Change of the target position from one cell to that `step` further on, of all cells but `margin` at both ends:
    central, else one-sided, else (alone_x, alone_y). (Unsigned indices: SIMD cannot wrap negative ones around.)"""
    slope_x, slope_y = np.zeros_like(x), np.zeros_like(y)
    one, none = np.float32(1), np.float32(0)
    for k in range(x.shape[0] - 2 * margin):
        here, before, after = np.uintp(k + margin), np.uintp(k + margin - step), np.uintp(k + margin + step)
        x_after, y_after = x[after] - x[here], y[after] - y[here]
        x_before, y_before = x[here] - x[before], y[here] - y[before]
        of_after = one if (abs(x_after) < reach) & (abs(y_after) < reach) else none
        of_before = one if (abs(x_before) < reach) & (abs(y_before) < reach) else none
        sides = of_after + of_before
        alone, share = one if sides == none else none, one / max(sides, one)
        slope_x[here] = alone * alone_x + (of_after * x_after + of_before * x_before) * share
        slope_y[here] = alone * alone_y + (of_after * y_after + of_before * y_before) * share
    return slope_x, slope_y


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def _land(
    x, y, right_x, right_y, down_x, down_y, heights, rows, source_columns, target_rows, target_columns, width
):  # fmt: skip
    """The counter of every sample among those of its row of source patches, (rows * STRIPS, columns), and the least
    and greatest target patch, as counters, that each line of samples lands in. Runs in SIMD, so nothing branches."""
    columns = heights.shape[0]
    slots, span = np.empty((rows * STRIPS, columns), np.int32), np.empty((rows * STRIPS, 2), np.int32)
    numbers = np.arange(columns).astype(np.float32)
    across, down = np.float32(target_columns / FLOW_STEPS), np.float32(target_rows / FLOW_STEPS)
    last_row, last_column = np.float32(target_rows - 1), np.float32(target_columns - 1)
    per_cell, per_row = np.float32(source_columns / columns), np.float32(target_columns)
    none, first = np.float32(0), np.float32(_FIRST_GOAL)
    beyond, per_patch, last_patch = np.int32(width), np.int32(width), np.int32(source_columns - 1)
    for line in range(rows * STRIPS):
        phase = np.float32((0.5 + line * GOLDEN) % 1.0)
        dx = phase - np.float32(0.5)
        strip, thickness = np.float32(line % STRIPS / STRIPS - 0.5), np.float32(1 / STRIPS)
        start, out = (line // STRIPS + 1) * (columns + 2) + 1, slots[line]
        least, greatest = beyond, np.int32(0)
        for c in range(columns):
            at = np.uintp(start + c)
            dy = strip + heights[c] * thickness
            column = np.float32(np.int32((x[at] + dx * right_x[at] + dy * down_x[at]) * across))
            row = np.float32(np.int32((y[at] + dx * right_y[at] + dy * down_y[at]) * down))
            goal = min(max(row, none), last_row) * per_row + min(max(column, none), last_column) + first
            seen = x[at] < _NOWHERE
            least = min(least, np.int32(goal) if seen else beyond)
            greatest = max(greatest, np.int32(goal) if seen else np.int32(0))
            patch = min(np.int32((numbers[c] + phase) * per_cell), last_patch)
            out[c] = patch * per_patch + np.int32(goal if seen else y[at])
        span[line, 0], span[line, 1] = least, greatest
    return slots, span


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _count(slots, span, heights, source_rows, source_columns, width):
    """Count samples, one row of patches at a time so that its counters stay in cache. A line of samples over a border
    between two rows of patches is gone through for each of them."""
    lines, columns = slots.shape
    per_line = source_rows / lines
    counters = np.zeros(source_columns * width, np.int32)
    patches = np.empty((2, slots.size), np.int32)
    weight = np.empty(slots.size, np.float32)
    valid, visibility = (
        np.zeros(source_rows * source_columns, np.float32),
        np.empty(source_rows * source_columns, np.uint8),
    )
    found = 0
    for patch_row in range(source_rows):
        least, greatest = width, 0
        for line in range(int(patch_row / per_line), min(int(np.ceil((patch_row + 1) / per_line)), lines)):
            slot = slots[line]
            least, greatest = min(least, span[line, 0]), max(greatest, span[line, 1])
            if line * per_line >= patch_row and (line + 1) * per_line <= patch_row + 1:
                _count_line(slot, counters)
            else:
                for c in range(columns):
                    if patch_row <= (line + heights[c]) * per_line < patch_row + 1:
                        counters[np.uintp(slot[c])] += 1
        first = patch_row * source_columns
        found = _collect(counters, width, least, greatest, first, patches, weight, valid, visibility, found)
    return patches[0, :found].copy(), patches[1, :found].copy(), weight[:found].copy(), valid, visibility


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _count_line(slot, counters):
    """Count a line of samples, from four places at a time: the next sample mostly falls into the same counter, and a
    processor waits for one sum before it begins the next."""
    quarter = np.uintp(slot.shape[0] // 4)
    for c in range(quarter):
        for place in range(4):
            counters[np.uintp(slot[np.uintp(c) + np.uintp(place) * quarter])] += 1
    for c in range(4 * quarter, slot.shape[0]):
        counters[np.uintp(slot[c])] += 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _collect(counters, width, least, greatest, first_patch, patches, weight, valid, visibility, found):
    """Make shares of the counters of one row of patches and clear them; returns how many weights there are then."""
    pairs = counters.view(np.uint64)
    for column in range(counters.shape[0] // width):
        patch, base, begin, seen = first_patch + column, column * width, found, 0
        for eight in range((base + least) // 8, (base + greatest) // 8 + 1):
            at = np.uintp(eight * 4)
            if pairs[at] | pairs[at + np.uintp(1)] | pairs[at + np.uintp(2)] | pairs[at + np.uintp(3)]:
                for k in range(max(eight * 8, base + _FIRST_GOAL), eight * 8 + 8):
                    count = counters[np.uintp(k)]
                    if count > 0:
                        patches[0, found], patches[1, found] = patch, k - base - _FIRST_GOAL
                        weight[found] = count
                        seen += count
                        found += 1
                        counters[np.uintp(k)] = 0
        outcomes = counters[base : base + _FIRST_GOAL]
        total = outcomes.sum() + seen
        measured = total - outcomes[NO_DEPTH] - outcomes[DEPTH_EDGE]
        weight[begin:found] /= np.float32(max(measured, 1))
        valid[patch] = measured / max(total, 1)
        outcomes[VISIBLE] = seen
        outcomes[NO_DEPTH] += outcomes[UNDECIDED] + (total == 0)
        visibility[patch] = np.argmax(outcomes[:UNDECIDED])
        outcomes[:] = 0
    return found
