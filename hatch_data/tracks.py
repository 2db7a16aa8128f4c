"""Patches followed through several views, and patches that only look alike.

Tracks come from the patch maps of all ordered pairs of a group of views; hard negatives from a map and the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hatch_data.patches import Grid, PatchMap

#: A patch that lands with less of its area than this in any one patch is not followed.
LEAST_WEIGHT = 0.25
#: Side of the thumbnail by which patches are compared, pixels.
_THUMBNAIL_PX = 6


def follow(maps: Mapping[tuple[int, int], PatchMap], views: int) -> NDArray[np.int32]:
    """Tracks through views 0 .. `views` - 1: (tracks, views) patch numbers, -1 where the patch is not seen.

    `maps[i, j]` leads from view i to view j; pairs that hardly overlap may be missing. A track holds at least two
    views. It is connected and cycle-consistent: between any two of its views that have maps, its patch in one lands
    within one patch of its patch in the other, both ways. Each track starts at the first view that sees it, so the
    same place is not followed twice from the same patch.
    """
    # Lists of plain integers: one patch at a time is looked at.
    best = {pair: strongest_target(found).tolist() for pair, found in maps.items()}
    grids = {i: found.source_grid for (i, _), found in maps.items()}
    tracks = []
    claimed: set[tuple[int, int]] = set()
    for start in range(views):
        for patch in range(grids[start][0] * grids[start][1] if start in grids else 0):
            if (start, patch) in claimed:
                continue
            track = {start: patch}
            for view in range(start + 1, views):
                target = best[start, view][patch] if (start, view) in best else -1
                if target >= 0 and _agrees(track, view, target, best, grids):
                    track[view] = target
            if len(track) >= 2:
                tracks.append([track.get(view, -1) for view in range(views)])
                claimed.update(track.items())
    return np.array(tracks, np.int32).reshape(-1, views)


def _agrees(
    track: Mapping[int, int],
    view: int,
    patch: int,
    best: Mapping[tuple[int, int], list[int]],
    grids: Mapping[int, Grid],
) -> bool:
    """Whether `patch` of `view` is where every patch of the track leads, and leads back to each of them."""
    for other, known in track.items():
        for here, start, there, goal in ((other, known, view, patch), (view, patch, other, known)):
            if (here, there) in best:
                landed, columns = best[here, there][start], grids[there][1]
                across, down = landed % columns - goal % columns, landed // columns - goal // columns
                if landed < 0 or not (-1 <= across <= 1 and -1 <= down <= 1):
                    return False
    return True


def strongest_target(found: PatchMap, least_weight: float = LEAST_WEIGHT) -> NDArray[np.int32]:
    """(source patches,) the target patch with the greatest weight, -1 where none reaches `least_weight`."""
    target = np.full(len(found.valid), -1, np.int32)
    order = np.argsort(found.weight, kind="stable")
    order = order[found.weight[order] >= least_weight]
    target[found.source_patch[order]] = found.target_patch[order]
    return target


def patch_distance(a: NDArray | int, b: NDArray | int, grid: Grid) -> NDArray[np.int64]:
    """Chebyshev distance, in patches, of patches on one grid."""
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    return np.maximum(np.abs(a // grid[1] - b // grid[1]), np.abs(a % grid[1] - b % grid[1]))


def look(image: Image.Image, grid: Grid) -> NDArray[np.float32]:
    """(patches, d) unit vectors that say how each patch of an image looks: a small thumbnail, its mean taken out
    but for a third, so that structure counts for more than exposure."""
    rows, columns = grid
    side = _THUMBNAIL_PX
    small = image.convert("RGB").resize((columns * side, rows * side), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32).reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
    pixels = pixels.reshape(rows * columns, side * side, 3)
    mean = pixels.mean(axis=1, keepdims=True)
    vectors = np.concatenate([(pixels - mean).reshape(rows * columns, -1), (mean[:, 0] - 127.5) * side / 3], axis=1)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def hard_negatives(
    found: PatchMap, source_look: NDArray[np.float32], target_look: NDArray[np.float32], count: int, apart: int = 2
) -> NDArray[np.int32]:
    """(source patches, count) target patches that look most like each source patch and are elsewhere; -1 where the
    source patch has no match, since then nothing says what is elsewhere, or too few are left.

    `source_look` and `target_look` come from `look` at the map's grids. Elsewhere: at least `apart` patches from every
    patch in which any of the source patch lands.
    """
    likeness = source_look @ target_look.T
    here = np.zeros(likeness.shape, bool)
    reach = apart - 1
    rows, columns = found.target_grid
    row, column = found.target_patch // columns, found.target_patch % columns
    for dr in range(-reach, reach + 1):
        for dc in range(-reach, reach + 1):
            inside = (row + dr >= 0) & (row + dr < rows) & (column + dc >= 0) & (column + dc < columns)
            here[found.source_patch[inside], ((row + dr) * columns + column + dc)[inside]] = True
    likeness[here] = -np.inf
    chosen = np.argsort(-likeness, axis=1, kind="stable")[:, :count].astype(np.int32)
    chosen[~np.isfinite(np.take_along_axis(likeness, chosen, axis=1))] = -1
    chosen[strongest_target(found) < 0] = -1
    return chosen
