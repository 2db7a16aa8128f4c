"""Encoded bytes -> the patches of a vision tower: decode, resize, augment, cut. Runs in the data workers."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hatch_data.errors import ShardError
from hatch_data.markers import Marker, draw
from hatch_data.patches import Grid, resized_for_tokens, token_grid
from hatch_train.model import Processor
from hatch_train.settings import AugmentSettings

Size = tuple[int, int]
#: Columns of a row that `shown` needs.
IMAGE_COLUMNS = ("id", "images", "markers")


def shown(row: dict[str, Any]) -> list[bytes]:
    """The encoded images of a row, with those of its markers drawn that the stored images do not show yet.

    Raises `ShardError` naming the row where an image that is to be marked cannot be decoded.
    """
    images = [image["bytes"] for image in row["images"]]
    for number in sorted({marker["image"] for marker in row["markers"] if not marker["drawn"]}):
        with _named(row["id"], number + 1, len(images)):
            image, file = Image.open(io.BytesIO(images[number])).convert("RGB"), io.BytesIO()
        undrawn = [marker for marker in row["markers"] if marker["image"] == number and not marker["drawn"]]
        draw(image, [Marker(tuple(marker["box"]), marker["label"], marker["color"]) for marker in undrawn])
        image.save(file, "png", compress_level=1)
        images[number] = file.getvalue()
    return images


@contextmanager
def _named(row: str, number: int, count: int) -> Iterator[None]:
    """What is wrong with an image is told with the row that it is in."""
    try:
        yield
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        what = f"image {number} of {count} cannot be used ({error})"
        raise ShardError(f"row {row}: {what}; rebuild the shards it is in") from None


class ImageReader:
    """Images of a row as the tower takes them, each with an exposure and colour of its own if `augment` is set."""

    def __init__(self, processor: Processor, augment: AugmentSettings | None, cache_mb: int):
        self.processor, self.augment = processor, augment
        self._bounds = (processor.token_px, *processor.pixel_bounds)
        self._cache = ImageCache(cache_mb)

    def grid(self, size: Size) -> Grid:
        """Rows and columns of tokens that an image of (height, width) becomes."""
        return token_grid(*size, *self._bounds)

    def tokens(self, size: Size) -> int:
        """Language-model tokens that an image of (height, width) becomes."""
        rows, columns = self.grid(size)
        return rows * columns

    def read(
        self, images: list[bytes], sizes: list[Size], rng: np.random.Generator, row: str
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """(patches, values) uint8 of all images and (images, 3) grids of patches.

        The numbers are those of the image processor before it scales and normalises. Raises `ShardError` naming the
        row for an image that cannot be decoded or is of another size than the row says.
        """
        resized = []
        for number, (data, size) in enumerate(zip(images, sizes, strict=True), 1):
            with _named(row, number, len(images)):
                image = self._cache.get(data, partial(self._decode, data, size))
            resized.append(jitter(image, self.augment, rng) if self.augment else image)
        cut = self.processor.images(
            resized,
            do_resize=False,
            do_rescale=False,
            do_normalize=False,
            input_data_format="channels_last",
            return_tensors="np",
        )
        grids = cut["image_grid_thw"]
        merge = self.processor.merge
        expected = [[1, rows * merge, columns * merge] for rows, columns in map(self.grid, sizes)]
        if grids.tolist() != expected:
            raise ShardError(f"row {row}: image_sizes promise patch grids {expected}, the images give {grids.tolist()}")
        return cut["pixel_values"].astype(np.uint8), grids

    def _decode(self, data: bytes, size: Size) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 in the size, and with the resampling, of Qwen's image processor."""
        image = Image.open(io.BytesIO(data))
        if (image.height, image.width) != tuple(size):
            raise ValueError(f"it is {image.height} x {image.width}, the row says {size[0]} x {size[1]}")
        height, width = resized_for_tokens(*size, *self._bounds)
        return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))


class ImageCache:
    """Decoded images by the hash of their bytes; beyond a size the least recently used go."""

    def __init__(self, megabytes: int):
        self._room = megabytes << 20
        self._images: OrderedDict[bytes, NDArray[np.uint8]] = OrderedDict()

    def get(self, data: bytes, decode: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        key = hashlib.blake2b(data, digest_size=16).digest()
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        self._images[key] = image = decode()
        self._room -= image.nbytes
        while self._room < 0:
            self._room += self._images.popitem(last=False)[1].nbytes
        return image


def jitter(image: NDArray[np.uint8], strength: AugmentSettings, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image under another exposure, white balance and tone curve."""
    gain = np.exp(rng.uniform(-strength.exposure, strength.exposure) + rng.uniform(-1, 1, 3) * strength.colour)
    exponent = np.exp(rng.uniform(-strength.gamma, strength.gamma))
    levels = np.linspace(0, 1, 256) ** exponent
    table = np.clip(np.round(255 * gain[:, None] * levels), 0, 255).astype(np.uint8)
    return np.stack([table[channel][image[..., channel]] for channel in range(3)], axis=-1)
