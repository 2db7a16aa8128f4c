"""What is drawn over the images of a row: patches in matching colours, hatching where there is no match, lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from hatch_data.patches import Grid, PatchMap, Visibility
from hatch_data.shards import Match

#: Visibility -> (name, hatch, colour of the hatch, colour laid under it).
UNMATCHED = {
    Visibility.OCCLUDED: ("occluded", "//", "#ffb000", "#00000050"),
    Visibility.OUT_OF_VIEW: ("out of view", "\\\\", "#ffffff", "#00000050"),
    Visibility.NO_DEPTH: ("no depth, undecided", "..", "#9fd6ff", "#00000068"),
    Visibility.DEPTH_EDGE: ("depth edge", "xx", "#ff7ac6", "#00000050"),
}
#: The share of the matching colour in a matched patch; it takes on the photo's light and shade.
_TINT = 0.45
LINES = 12
#: A line is drawn only for a patch of which at least this share is measured and seen, in patches of the target that
#: lie no further apart than this (root mean square): half on a near and half on a far surface has no one place.
_LEAST_SHARE, _GREATEST_SCATTER_PATCHES = 0.5, 1.5


@dataclass(frozen=True)
class Overlay:
    """One image of a pair: `visibility` per patch, and the matching `colors` (patches, 3), NaN where unmatched."""

    grid: Grid
    visibility: NDArray[np.uint8]
    colors: NDArray[np.float64]


def position_colors(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions (..., 2) as shares of width and height -> sRGB (..., 3): hue runs left to right, lightness downwards.

    OKLCh (B. Ottosson, "A perceptual color space for image processing", 2020), so that steps look equally large.
    """
    x, y = positions[..., 0], positions[..., 1]
    lightness = 0.86 - 0.3 * y
    hue, chroma = np.radians(20 + 310 * x), 0.16
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    lms = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ],
        axis=-1,
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(lms**3 @ to_rgb.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def overlays(matches: Sequence[Match], source: int, target: int) -> dict[int, Overlay]:
    """Overlays of the images `source` and `target`, by image; without a map back only `source` has one.

    Patches of `source` have the colour of their own position; those of `target` that of the place in `source` which
    the map back says they show. Raises `LookupError` where there is no map from the one to the other.
    """
    there = find(matches, source, target)
    own = _where_visible(position_colors(centres(there.source_grid)), there)
    found = {source: Overlay(there.source_grid, there.visibility, own)}
    if any((match.source, match.target) == (target, source) for match in matches):
        back = find(matches, target, source)
        shown = _where_visible(position_colors(landing(back)), back)
        found[target] = Overlay(back.source_grid, back.visibility, shown)
    return found


def find(matches: Sequence[Match], source: int, target: int) -> PatchMap:
    """The map from one image to another. Raises `LookupError` where there is none."""
    for match in matches:
        if (match.source, match.target) == (source, target):
            return match.map
    raise LookupError(f"no map from image {source + 1} to image {target + 1}")


def _where_visible(colors: NDArray[np.float64], patch_map: PatchMap) -> NDArray[np.float64]:
    return np.where((patch_map.visibility == Visibility.VISIBLE)[:, None], colors, np.nan)


def centres(grid: Grid) -> NDArray[np.float64]:
    """(patches, 2): centres of the patches as shares of width and height."""
    rows, columns = grid
    y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def landing(patch_map: PatchMap) -> NDArray[np.float64]:
    """(source patches, 2): mean place in the target image where what is seen of each patch lands, NaN for none."""
    count = len(patch_map.valid)
    total = np.bincount(patch_map.source_patch, patch_map.weight, count)
    at = centres(patch_map.target_grid)[patch_map.target_patch]
    sums = [np.bincount(patch_map.source_patch, patch_map.weight * at[:, axis], count) for axis in (0, 1)]
    with np.errstate(invalid="ignore"):
        return np.stack(sums, axis=-1) / np.where(total > 0, total, np.nan)[:, None]


def lines(patch_map: PatchMap, count: int = LINES) -> NDArray[np.float64]:
    """(up to `count`, 4): x and y in the source, x and y in the target, shares, of clear matches spread far apart."""
    landed = landing(patch_map)
    seen = np.bincount(patch_map.source_patch, patch_map.weight, len(landed))
    away = centres(patch_map.target_grid)[patch_map.target_patch] - landed[patch_map.source_patch]
    squared = ((away * patch_map.target_grid[::-1]) ** 2).sum(axis=-1)
    scatter = np.bincount(patch_map.source_patch, patch_map.weight * squared, len(landed))
    clear = (patch_map.visibility == Visibility.VISIBLE) & (np.minimum(seen, patch_map.valid) >= _LEAST_SHARE)
    clear &= scatter <= seen * _GREATEST_SCATTER_PATCHES**2
    ends = np.concatenate([centres(patch_map.source_grid), landed], axis=-1)[clear]
    if len(ends) <= count:
        return ends
    # Farthest-point sampling, begun at the match nearest to the middle of all.
    chosen = [int(np.argmin(np.linalg.norm(ends - ends.mean(axis=0), axis=-1)))]
    distance = np.full(len(ends), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(ends - ends[chosen[-1]], axis=-1))
        chosen.append(int(np.argmax(distance)))
    return ends[chosen]


def tint(image: NDArray[np.uint8], overlay: Overlay) -> NDArray[np.float64]:
    """The image (h, w, 3), as shares of full brightness, its matched patches tinted."""
    height, width = image.shape[:2]
    rows, columns = overlay.grid
    colors = overlay.colors.reshape(rows, columns, 3)
    colors = colors[(np.arange(height) * rows // height)[:, None], np.arange(width) * columns // width]
    photo = image / 255.0
    gray = (photo @ np.array([0.2126, 0.7152, 0.0722]))[..., None]
    tinted = (1 - _TINT) * (photo + gray) / 2 + _TINT * np.nan_to_num(colors) * (0.25 + 1.05 * gray)
    return np.clip(np.where(np.isnan(colors), photo, tinted), 0, 1)


def draw_patches(axes: Axes, overlay: Overlay) -> None:
    """The grid, thin, and the hatched patches; the axes run over shares of the image's width and height."""
    rows, columns = overlay.grid
    for code, (_, hatch, color, ground) in UNMATCHED.items():
        patches = np.flatnonzero(overlay.visibility == code)
        if len(patches) == 0:
            continue
        corners = [_corners(*divmod(int(patch), columns), overlay.grid) for patch in patches]
        outline = Path.make_compound_path(*(Path(corner, closed=True) for corner in corners))
        axes.add_patch(PathPatch(outline, facecolor=ground, edgecolor=color, hatch=hatch, linewidth=0))
    segments = [[(0.0, r / rows), (1.0, r / rows)] for r in range(1, rows)]
    segments += [[(c / columns, 0.0), (c / columns, 1.0)] for c in range(1, columns)]
    axes.add_collection(LineCollection(segments, colors="#ffffff50", linewidths=0.5))


def _corners(row: int, column: int, grid: Grid) -> list[tuple[float, float]]:
    left, right = column / grid[1], (column + 1) / grid[1]
    top, bottom = row / grid[0], (row + 1) / grid[0]
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
