"""Colour images whose pixels change on the way in (straightened, turned, taken from a video): encoded once, at the end.

A `Recoded` takes the place of the function that reads a file. What changes pixels takes `pixels_of` the reader before
it, so that an image that is both straightened and turned is not compressed twice.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hatch_data.errors import FrameError
from hatch_data.scans import files

JPEG_QUALITY = 95

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Recoded:
    """A frame's `read_color`: `pixels` (height, width, 3) uint8 as JPEG with colour at full resolution."""

    pixels: Callable[[], Pixels]

    def __call__(self) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(self.pixels()).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return buffer.getvalue()


def pixels_of(read_color: Callable[[], bytes]) -> Callable[[], Pixels]:
    """What reads the pixels behind encoded bytes."""
    return read_color.pixels if isinstance(read_color, Recoded) else partial(_decoded, read_color)


def _decoded(read_color: Callable[[], bytes]) -> Pixels:
    """Raises `FrameError` `unreadable_color` where the bytes are no image."""
    data = read_color()
    try:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except files.UNDECODABLE as error:
        raise FrameError(
            "unreadable_color", f"a colour image does not decode ({error}); copy the file again"
        ) from error
