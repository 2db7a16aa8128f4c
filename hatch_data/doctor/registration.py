"""Whether colour lies on depth: where depth breaks off, an image mostly has an edge.

The outlines of what stands in front are moved and scaled over the images' gradients; where the gradients under them are
strongest, there colour really is. No pose takes part, so other faults do not disturb it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from operator import attrgetter
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hatch_data.doctor.verdicts import Verdict
from hatch_data.geometry import Array, Camera
from hatch_data.scene import Frame
from hatch_data.views import View

#: Outline points of a frame that are used, and the fewest with which it takes part.
POINTS, LEAST_POINTS = 600, 60
#: Depth behind an outline is further than that of the outline by this share, at this many pixels.
_STEP, _REACH_PX = 1.08, 4
#: Zooms (logarithm) and shifts (share of the width) that are tried, and the steps by which the best is refined.
ZOOMS, SHIFTS = np.arange(-0.24, 0.25, 0.04), np.arange(-0.06, 0.061, 0.01)
REFINE = ((0.02, 0.005), (0.01, 0.0025), (0.005, 0.00125))
#: Colour is off where a corner of the image moves by this share of its width, and gradients grow by this factor and by
#: this much (in standard deviations of the gradients).
OFF_SHARE, OFF_FACTOR, OFF_GAIN = 0.012, 1.15, 0.1


class Outlines(NamedTuple):
    """One frame: gradients of colour (h, w), standardised, and outline points (n, 2) from depth, as tangents of the
    rays through them, in the intrinsics (fx, fy, cx, cy) that colour of this size is said to have."""

    gradients: NDArray[np.float32]
    points: Array
    intrinsics: Array


class Offset(NamedTuple):
    """Where colour is: its focal length is `zoom` times the stated one, its centre moved by `right` and `down`, as
    shares of the image's width. `strength`: mean gradient under the outlines."""

    zoom: float
    right: float
    down: float
    strength: float


def outlines(color: NDArray[np.float32], view: View) -> Outlines | None:
    """Of one frame: `color` (h, w, 3) at any size, `view` its depth; None where depth shows too little."""
    depth = np.abs(view.raster.astype(np.int32))
    behind = np.zeros_like(depth)
    for axis, step in product((0, 1), (-_REACH_PX, _REACH_PX)):
        behind = np.maximum(behind, ndimage.shift(depth, [step * (axis == 0), step * (axis == 1)], order=0))
    v, u = np.nonzero((view.raster < 0) & (behind > _STEP * depth))
    if len(u) < LEAST_POINTS:
        return None
    chosen = np.random.default_rng(0).permutation(len(u))[:POINTS]
    k = view.camera
    points = np.stack([(u[chosen] - k.cx) / k.fx, (v[chosen] - k.cy) / k.fy], axis=1)
    small = k.resized(color.shape[1], color.shape[0])
    return Outlines(_gradients(color), points, np.array([small.fx, small.fy, small.cx, small.cy]))


def locate(frames: Sequence[Outlines]) -> tuple[Offset, Offset]:
    """Where colour is said to be, and where it is."""
    strongest = attrgetter("strength")
    tried = [strength(frames, float(np.exp(z)), x, y) for z, x, y in product(ZOOMS, SHIFTS, SHIFTS)]
    best = max(tried, key=strongest)
    for zoom, shift in REFINE:
        steps = product((-zoom, 0, zoom), (-shift, 0, shift), (-shift, 0, shift))
        near = [strength(frames, best.zoom * float(np.exp(z)), best.right + x, best.down + y) for z, x, y in steps]
        best = max((best, *near), key=strongest)
    return strength(frames), best


def judge(frames: Sequence[Outlines], camera: Camera) -> list[Verdict]:
    """A fault where colour lies elsewhere than the scan says, and the settings that move it; `camera` is colour's."""
    if len(frames) < 3:
        return []
    here, best = locate(frames)
    corner = np.hypot(best.right, best.down) + abs(best.zoom - 1) / 2
    if corner < OFF_SHARE or best.strength < OFF_FACTOR * max(here.strength, 0) + OFF_GAIN:
        return []
    shift = [round(float(share) * camera.width, 1) for share in (best.right, best.down)]
    fix: dict[str, object] = {}
    if abs(best.zoom - 1) > 0.004:
        fix["color_zoom"] = round(best.zoom, 3)
    if max(map(abs, shift)) >= 1:
        fix["color_shift_px"] = shift
    text = (
        f"colour does not lie on depth: off by up to {corner * camera.width:.0f} px; outlines meet gradients of "
        f"{here.strength:.2f} deviations, {best.strength:.2f} with the fix"
    )
    return [Verdict("fault", "registration", text, fix)]


def note(frame: Frame) -> list[Verdict]:
    """A note where the scan says that colour and depth come from two cameras: depth is then carried over."""
    color, depth = frame.camera, frame.sensor.camera.resized(frame.camera.width, frame.camera.height)
    apart_m = float(np.linalg.norm(frame.sensor.color_from_depth[:3, 3]))
    if np.abs(color.matrix - depth.matrix).max() < 0.002 * color.width and apart_m < 1e-3:
        return []
    text = (
        f"colour is not registered to depth: focal lengths {color.fx:.0f} and {depth.fx:.0f} px at the size of colour, "
        f"{1e3 * apart_m:.0f} mm apart; depth is carried over to colour"
    )
    return [Verdict("note", "registration", text)]


def _gradients(color: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logarithm of the gradient over all channels, smoothed, mean 0 and deviation 1."""
    squares = sum(ndimage.sobel(color[..., c], axis) ** 2 for c in range(color.shape[2]) for axis in (0, 1))
    strength = ndimage.gaussian_filter(np.log1p(np.sqrt(squares)), 1.0)
    return ((strength - strength.mean()) / max(float(strength.std()), 1e-6)).astype(np.float32)


def strength(frames: Sequence[Outlines], zoom: float = 1.0, right: float = 0.0, down: float = 0.0) -> Offset:
    """How strong the gradients are under the outlines, where colour is said to be or somewhere else."""
    total = np.mean([_under(*frame, zoom, right, down) for frame in frames])
    return Offset(zoom, right, down, float(total))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _under(gradients, points, k, zoom, right, down):
    """Mean gradient under the points; one outside of the image counts 0."""
    height, width = gradients.shape
    total = 0.0
    for p in range(points.shape[0]):
        u = int(np.floor(k[0] * zoom * points[p, 0] + k[2] + right * width + 0.5))
        v = int(np.floor(k[1] * zoom * points[p, 1] + k[3] + down * width + 0.5))
        if 0 <= u < width and 0 <= v < height:
            total += gradients[v, u]
    return total / points.shape[0]
