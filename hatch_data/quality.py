"""How good a frame is: share of measured depth, and, where a recipe asks for it, sharpness and exposure; and how much
texture it shows, by the size of its file."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from hatch_data.errors import FrameError
from hatch_data.geometry import Array
from hatch_data.scans.files import UNDECODABLE
from hatch_data.scene import Frame

#: Width at which sharpness is measured, pixels: the same blur reads the same from a phone and a depth camera.
_WIDTH_PX = 320


@dataclass(frozen=True)
class ColorQuality:
    """`sharpness`: standard deviation of the Laplacian in grey levels of 0-255, at a width of 320 px (Pech-Pacheco et
    al. 2000, its square root); `brightness`: mean grey level, 0-1; `clipped`: share of black and white pixels."""

    sharpness: float
    brightness: float
    clipped: float


def color_quality(encoded: bytes, frame_id: str) -> ColorQuality:
    """Measure an encoded image. Raises `FrameError` where it does not decode."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.draft("L", (_WIDTH_PX, _WIDTH_PX * image.height // image.width))
            grey = image.convert("L").resize((_WIDTH_PX, max(1, round(_WIDTH_PX * image.height / image.width))))
    except UNDECODABLE as error:
        raise FrameError("unreadable_color", f"frame {frame_id}: the image does not decode ({error})") from None
    levels = np.asarray(grey, np.float32)
    return ColorQuality(
        float(ndimage.laplace(levels).std()), float(levels.mean()) / 255, float(((levels < 3) | (levels > 252)).mean())
    )


def blurred(sharpness: NDArray, least_share: float, window: int = 31) -> NDArray[np.bool_]:
    """Which frames (n,), in order of capture, are less sharp than `least_share` of the median around them: sharpness
    depends on what is looked at, so a frame is held against those that look at much the same."""
    size = min(window, max(1, len(sharpness)))
    return sharpness < least_share * ndimage.median_filter(np.asarray(sharpness, np.float64), size=size, mode="nearest")


def texture(frames: list[Frame]) -> Array:
    """(n,) bytes a pixel of each stored image, as a share of the median: an encoder spends them on texture and edges,
    few on bare walls. 1 where an image cannot be read.

    What has no encoded image behind it (a frame of a video, a rendered view) is encoded for it; no other is decoded.
    """
    bytes_per_pixel = np.array([_bytes_per_pixel(frame) for frame in frames])
    middle = np.nanmedian(bytes_per_pixel) if np.isfinite(bytes_per_pixel).any() else 1.0
    return np.nan_to_num(bytes_per_pixel / middle, nan=1.0)


def _bytes_per_pixel(frame: Frame) -> float:
    try:
        return len((frame.read_stored or frame.read_color)()) / (frame.camera.width * frame.camera.height)
    except FrameError:
        # Counted with its reason where the image is wanted.
        return np.nan
