"""Patch maps and flow fields against epipolar geometry, against each other, and against the pixels they join."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hatch_data.geometry import Array
from hatch_data.patches import FLOW_STEPS, PatchMap, Visibility, rebin, token_grid
from hatch_data.shards import Match, Row
from hatch_data.verify.rows import Check, Terms, decoded

#: Rounding of weights to float32, and of shares that are sums of them.
ROUNDING = 1e-4
#: A flow vector may miss its epipolar line by this much: positions are stored to 1/60000 of the image.
LINE_PX = 0.25
#: No surface is nearer to a camera than this.
NEAREST_M = 0.05
#: The median way there and back ends within this share of the image's diagonal: depth noise moves single vectors.
ROUND_TRIP = 0.01
#: Neighbouring cells that land farther apart than this many cells say nothing of what lies between them: a wall that is
#: seen from far or at a grazing angle fills few cells there, and one pixel is many here.
FARTHEST_APART = 4
#: Mean difference between stored weights and those that the flow field gives at the same grids, over one map, and
#: share of patches that may have another code. Maps are made from the flow field: machines may round otherwise.
WEIGHT_ERROR, CODES_DIFFER = 1e-3, 0.01
#: The same where the recipe asks for samples of their own (`stride_px`): 0.01 to 0.03 in real scans, the most where
#: little of a small image is seen again.
OWN_WEIGHT_ERROR, OWN_CODES_DIFFER = 0.05, 0.08
#: Flow vectors from which on the way back means something, and, a tenth of a field, how alike pixels look.
ENOUGH, ENOUGH_TO_LOOK = 200, 1200
#: Matched pixels look alike: least correlation of their grey levels, and by how much exchanged images may have more.
#: Boxes drawn for a question take some of it, most on plain walls.
LEAST_CORRELATION, EXCHANGED_MORE = 0.1, 0.2
#: Grey levels of less spread than this are a plain wall, on which noise and shading decide how alike pixels are.
PLAIN = 12.0
#: Grey levels outside of these are too dark or burnt out, and say nothing.
DARK, BURNT = 5.0, 250.0


def grids_fit(row: Row, terms: Terms) -> Iterator[str]:
    """Maps lead both ways, once, between images that overlap (two alone do), with one patch per token of the images."""
    found = sorted((m.source, m.target) for m in row.matches)
    alone = len(row.frames) == 2 and terms.recipe.questions_from == "families"
    wanted = {(0, 1), (1, 0)} if alone else {(j, i) for i, j in found}
    if found != sorted(wanted):
        yield f"maps for {found}, not for {sorted(wanted)}"
    settings = terms.recipe.grid
    grids = [token_grid(h, w, settings.token_px, settings.min_pixels, settings.max_pixels) for h, w in row.image_sizes]
    for match in row.matches:
        m = match.map
        for name, grid, image in (("source", m.source_grid, match.source), ("target", m.target_grid, match.target)):
            if grid != grids[image]:
                yield f"{_pair(match)}: {name} grid {grid}, image {image + 1} has {grids[image]} tokens"


def patches_fit(row: Row, terms: Terms) -> Iterator[str]:
    """Patches are sorted, each pair once; weights and shares are shares."""
    for match in row.matches:
        m, pair = match.map, _pair(match)
        order = m.source_patch.astype(np.int64) * m.target_grid[0] * m.target_grid[1] + m.target_patch
        if (falls := int((np.diff(order) <= 0).sum())) > 0:
            yield f"{pair}: {falls} entries out of order or twice"
        if bad := int((~((m.weight > 0) & (m.weight <= 1 + ROUNDING))).sum()):
            yield f"{pair}: {bad} weights outside (0, 1]"
        if (most := float(_visible_share(m).max(initial=0))) > 1 + ROUNDING:
            yield f"{pair}: the weights of a patch sum to {most:.4f}"
        if bad := int((~((m.valid >= 0) & (m.valid <= 1))).sum()):
            yield f"{pair}: {bad} valid shares outside [0, 1]"
        if bad := int((m.visibility > max(Visibility)).sum()):
            yield f"{pair}: {bad} unknown visibility codes"


def codes_fit_weights(row: Row, terms: Terms) -> Iterator[str]:
    """The most frequent outcome of a patch is possible given how much of it is valid and how much visible.

    Of five outcomes the most frequent has a fifth or more of the area, and no less than any other.
    """
    for match in row.matches:
        m = match.map
        valid = m.valid.astype(np.float64)
        visible = _visible_share(m) * valid
        # The most that the reported outcome can have: undecided area is valid, but reported as without depth.
        most = np.select(
            [m.visibility == Visibility.VISIBLE, m.visibility == Visibility.NO_DEPTH],
            [visible, 1 - visible],
            default=valid - visible,
        )
        most = np.where(m.visibility == Visibility.DEPTH_EDGE, 1 - valid, most)
        least_rival = np.where(m.visibility == Visibility.VISIBLE, (1 - valid) / 2, visible)
        bad = np.flatnonzero(most + ROUNDING < np.maximum(least_rival, 0.2))
        if len(bad):
            k = bad[0]
            yield (
                f"{_pair(match)}: {len(bad)} patches, first {k}: called {Visibility(m.visibility[k]).name.lower()} "
                f"with {visible[k]:.2f} of the area visible and {valid[k]:.2f} valid"
            )


def flow_follows_epipolar_geometry(row: Row, terms: Terms) -> Iterator[str]:
    """Every visible flow vector ends where poses and intrinsics let it, at some depth in front of both cameras.

    Those places are a piece of the epipolar line, from the homography at infinity to the nearest depth; with a short
    baseline it shrinks to that one point. Linear triangulation of inverse depth w: y ~ K'R K^-1 x + w K't
    (Hartley and Zisserman 2004, 9.2 and 12.2).
    """
    for match in row.matches:
        x, y, visible = flow_pixels(row, match)
        far, step = _epipolar(row, match, x[visible])
        goal = y[visible]
        p = goal * far[:, 2:] - far[:, :2]
        q = step[:2] - goal * step[2]
        w = np.clip((p * q).sum(-1) / np.maximum((q * q).sum(-1), 1e-30), 0, 1 / NEAREST_M)
        nearest = far + w[:, None] * step
        behind = nearest[:, 2] <= 0
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.where(behind, np.inf, np.linalg.norm(nearest[:, :2] / nearest[:, 2:] - goal, axis=-1))
        if (bad := int((off > LINE_PX).sum())) > 0:
            yield (
                f"{_pair(match)}: {bad} of {len(goal)} flow vectors off their epipolar line, half of them by more than "
                f"{np.median(off[off > LINE_PX]):.1f} px"
            )


def flow_returns(row: Row, terms: Terms) -> Iterator[str]:
    """Surface that is visible in both images is found again: the way there and back ends where it began."""
    fields = {(m.source, m.target): flow_pixels(row, m) for m in row.matches}
    for (source, target), (x, y, visible) in fields.items():
        if source > target or (target, source) not in fields:
            continue
        _, back_y, back_visible = fields[target, source]
        apart = FARTHEST_APART * np.array(row.image_sizes[source][::-1]) / x.shape[1::-1]
        returned = _between_cells(back_y, back_visible, y[visible], row.image_sizes[target], apart)
        off = np.linalg.norm(returned - x[visible], axis=-1)
        off = off[np.isfinite(off)]
        limit = ROUND_TRIP * float(np.hypot(*row.image_sizes[source]))
        if len(off) >= ENOUGH and (median := float(np.median(off))) > limit:
            yield f"{source} -> {target} -> {source}: half of the surface comes back {median:.1f} px or more away"


def map_fits_flow(row: Row, terms: Terms) -> Iterator[str]:
    """The stored map is what the flow field gives at the same grids, codes included."""
    own = terms.recipe.grid.stride_px is not None
    most_error, most_codes = (OWN_WEIGHT_ERROR, OWN_CODES_DIFFER) if own else (WEIGHT_ERROR, CODES_DIFFER)
    for match in row.matches:
        m, again = match.map, rebin(match.flow, match.map.source_grid, match.map.target_grid)
        stored, derived = m.over_all_pixels(), again.over_all_pixels()
        either = (stored > 0) | (derived > 0)
        if (error := float(np.abs(stored - derived)[either].mean()) if either.any() else 0.0) > most_error:
            yield f"{_pair(match)}: weights differ from those of the flow field by {error:.3f} in the mean"
        if (share := float((m.visibility != again.visibility).mean())) > most_codes:
            yield f"{_pair(match)}: {share:.0%} of the patches have another code than the flow field gives"


def matches_look_alike(row: Row, terms: Terms) -> Iterator[str]:
    """Pixels that the flow joins look alike, more so than with the images exchanged."""
    greys = [_grey(image) if (image := decoded(data)) is not None else None for data in row.images]
    for match in row.matches:
        first, second = greys[match.source], greys[match.target]
        x, y, visible = flow_pixels(row, match)
        if first is None or second is None:
            continue
        sizes = row.image_sizes[match.source], row.image_sizes[match.target]
        seen = np.stack([_at(first, x[visible], sizes[0]), _at(second, y[visible], sizes[1])])
        seen = seen[:, ((seen > DARK) & (seen < BURNT)).all(axis=0)]
        if seen.shape[1] < ENOUGH_TO_LOOK or seen.std(axis=1).min() < PLAIN:
            continue
        stated = _correlation(*seen)
        swapped = _correlation(_at(second, x[visible], sizes[0]), _at(first, y[visible], sizes[1]))
        if stated < max(LEAST_CORRELATION, swapped - EXCHANGED_MORE):
            yield f"{_pair(match)}: matched pixels correlate by {stated:.2f}, exchanged by {swapped:.2f}"


def flow_pixels(row: Row, match: Match) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Centres of the flow's cells (rows, columns, 2) in pixels of the source image, where they lie in the target
    image, and which are visible there (rows, columns)."""
    rows, columns = match.flow.values.shape[:2]
    height, width = row.image_sizes[match.source]
    v, u = np.mgrid[:rows, :columns] + 0.5
    x = np.stack([u / columns * width, v / rows * height], axis=-1) - 0.5
    height, width = row.image_sizes[match.target]
    y = match.flow.values / float(FLOW_STEPS) * (width, height) - 0.5
    return x, y, match.flow.values[..., 0] <= FLOW_STEPS


def _epipolar(row: Row, match: Match, pixels: Array) -> tuple[Array, Array]:
    """(n, 3) K'R K^-1 x and (3,) K't of source pixels (n, 2): homogeneous target position at inverse depth w is
    their sum, the second times w."""
    k_source, k_target = (
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        for fx, fy, cx, cy in (row.intrinsics[match.source], row.intrinsics[match.target])
    )
    target_from_source = np.linalg.inv(row.world_from_camera[match.target]) @ row.world_from_camera[match.source]
    at_infinity = k_target @ target_from_source[:3, :3] @ np.linalg.inv(k_source)
    homogeneous = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=-1)
    return homogeneous @ at_infinity.T, k_target @ target_from_source[:3, 3]


def _visible_share(m: PatchMap) -> Array:
    """(source patches): sum of the weights of each."""
    return np.bincount(m.source_patch, m.weight.astype(np.float64), len(m.valid)).astype(np.float64)


def _between_cells(
    values: Array, known: NDArray[np.bool_], pixels: Array, size: tuple[int, int], apart: Array
) -> Array:
    """A field (rows, columns, 2) over an image read at pixels (n, 2): bilinear between four known cells whose values
    differ by no more than `apart` (2,), else NaN."""
    rows, columns = known.shape
    at = (pixels + 0.5) * (columns / size[1], rows / size[0]) - 0.5
    low = np.clip(np.floor(at).astype(int), 0, (columns - 2, rows - 2))
    share = np.clip(at - low, 0, 1)[..., None]
    right, down = np.array([(0, 0), (1, 0), (0, 1), (1, 1)]).T[..., None]
    r, c = low[:, 1] + down, low[:, 0] + right
    corners = np.where(known[r, c, None], values[r, c], np.nan)
    weights = np.abs(1 - right[..., None] - share[:, 0]) * np.abs(1 - down[..., None] - share[:, 1])
    near = np.all(np.ptp(corners, axis=0) <= apart, axis=-1, keepdims=True)
    return np.where(near, (weights * corners).sum(axis=0), np.nan)


def _grey(image: NDArray[np.uint8]) -> Array:
    """Grey levels, means over blocks of about a hundredth of the image's height."""
    return np.asarray(Image.fromarray(image).convert("L").reduce(max(1, image.shape[0] // 100)), np.float64)


def _at(grey: Array, pixels: Array, size: tuple[int, int]) -> Array:
    """Grey levels under pixels (n, 2) of the whole image, (height, width) `size`."""
    share, most = (pixels + 0.5) / size[::-1], np.array(grey.shape[::-1])
    column, row = np.clip((share * most).astype(int), 0, most - 1).T
    return grey[row, column]


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b) / max(float(np.sqrt((a @ a) * (b @ b))), 1e-9)


def _pair(match: Match) -> str:
    return f"{match.source} -> {match.target}"


#: Of these the first two have to hold for the others to be asked.
MAP_FORM: dict[str, Check] = {"grids": grids_fit, "patches and weights": patches_fit}
MAP_CHECKS: dict[str, Check] = {
    "codes fit weights": codes_fit_weights,
    "epipolar geometry": flow_follows_epipolar_geometry,
    "there and back": flow_returns,
    "map fits flow": map_fits_flow,
    "matches look alike": matches_look_alike,
}
