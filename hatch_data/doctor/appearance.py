"""What the images of a scan look like: blurred, dark or empty frames, and frames with hardly any depth."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from hatch_data.doctor.trajectory import ranges
from hatch_data.doctor.verdicts import Verdict
from hatch_data.errors import FrameError
from hatch_data.quality import color_quality
from hatch_data.scene import Frame

#: Width at which images are looked at, pixels.
WIDTH_PX = 320
#: Scales of the two gradients whose ratio tells the width of edges, in pixels.
_FINE_PX, _COARSE_PX = 0.7, 2.5
#: Share of the pixels with the strongest gradients that count as edges, and the least gradient of an edge.
_EDGES, _LEAST_GRADIENT = 0.05, 4.0
#: Edges wider than this (standard deviation at 320 px; 6 px of motion at 640) are blurred.
BLURRED_PX = 0.85
#: Mean grey level, deviation of grey levels (0-255), and share of measured depth below which a frame is dark or empty.
DARK, EMPTY, NO_DEPTH = 0.08, 4.0, 0.1
#: Shares of frames from which a note is worth making.
MANY = 0.03


@dataclass(frozen=True)
class Look:
    """One frame: `color` (h, w, 3) float32 0-255 at a width of 320 px, `blur_px` the width of its edges (NaN where it
    has too few), `brightness` 0-1, `contrast` in grey levels, and the share with measured depth."""

    color: NDArray[np.float32]
    blur_px: float
    brightness: float
    contrast: float
    valid_depth: float


def look(frame: Frame, valid_depth: float) -> Look:
    """Decode and measure the colour of a frame. Raises `FrameError` where it cannot be decoded."""
    encoded = frame.read_color()
    color = decoded(encoded, frame.id)
    brightness = color_quality(encoded, frame.id).brightness
    grey = color.mean(axis=2)
    return Look(color, edge_width(grey), brightness, float(grey.std()), valid_depth)


def decoded(encoded: bytes, frame_id: str) -> NDArray[np.float32]:
    """(h, w, 3) 0-255 at a width of 320 px. Raises `FrameError` where the image does not decode."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            size = (WIDTH_PX, max(1, round(WIDTH_PX * image.height / image.width)))
            image.draft("RGB", size)
            return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR), np.float32)
    except (OSError, SyntaxError) as error:
        raise FrameError("unreadable_color", f"frame {frame_id}: the image does not decode ({error})") from None


def edge_width(grey: NDArray[np.float32]) -> float:
    """Standard deviation in pixels of the blur of an image's (h, w) edges, NaN where it has hardly any.

    A step blurred by b has a gradient at scale s that falls as 1 / sqrt(s^2 + b^2), so the ratio of its gradients at
    two scales tells b (Zhuo and Sim 2011). The finer one is taken at its peak near the edge.
    """
    coarse = ndimage.gaussian_gradient_magnitude(grey, _COARSE_PX)
    edge = coarse >= max(float(np.quantile(coarse, 1 - _EDGES)), _LEAST_GRADIENT)
    if edge.mean() < _EDGES / 20:
        return float("nan")
    fine = ndimage.maximum_filter(ndimage.gaussian_gradient_magnitude(grey, _FINE_PX), 7)
    ratio = max(float(np.median(fine[edge] / coarse[edge])), 1.001) ** 2
    return float(np.sqrt(max(_COARSE_PX**2 - ratio * _FINE_PX**2, 0.0) / (ratio - 1)))


def judge(looks: list[Look | None], ids: list[str]) -> list[Verdict]:
    """Notes on frames, `looks` theirs in order of capture, None where colour cannot be read."""

    def chosen(test) -> NDArray[np.bool_]:
        return np.array([look is not None and test(look) for look in looks], bool)

    empty = chosen(lambda look: look.contrast < EMPTY)
    dark = chosen(lambda look: look.brightness < DARK)
    blurred = chosen(lambda look: look.blur_px > BLURRED_PX) & ~empty & ~dark
    hollow = chosen(lambda look: look.valid_depth < NO_DEPTH)
    unread = np.array([look is None for look in looks], bool)
    smeared = f"edges are smeared by more than {2 * BLURRED_PX:.1f} px (one deviation) at a width of 640"
    told = (
        ("blurred frames", blurred, smeared),
        ("dark frames", dark, f"mean grey level below {DARK:.0%}"),
        ("empty frames", empty, "one colour all over"),
        ("frames without depth", hollow, f"depth on less than {NO_DEPTH:.0%} of the image"),
        ("unreadable colour", unread, "the image cannot be decoded"),
    )
    return [
        Verdict("note", kind, f"{int(frames.sum())} of {len(ids)} frames: {why}", {"skip": ranges(ids, frames)})
        for kind, frames, why in told
        if frames.sum() > MANY * len(ids)
    ]
