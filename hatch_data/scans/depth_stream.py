"""`depth.bin` of ScanNet++: the frames of a phone's depth, 256x192, in one of two encodings told apart by their bytes.

Older scenes are one raw-deflate stream of float32 metres. It can only be inflated from its beginning, so an inflater is
kept every `STEP` frames to go on from. Newer ones have each frame by itself: its size (32 bits, little-endian), then
lz4 of 16-bit millimetres, or raw deflate of float32 metres.
"""

from __future__ import annotations

import mmap
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hatch_data.errors import FrameError, ScanError
from hatch_data.scans import files
from hatch_data.scene import DepthImage

WIDTH, HEIGHT = 256, 192
METRE_BYTES, MILLIMETRE_BYTES = 4 * WIDTH * HEIGHT, 2 * WIDTH * HEIGHT
STEP = 32
_CHUNK = 1 << 16


@dataclass(frozen=True)
class StreamedDepth:
    """Frame `number` of a `depth.bin`; small, and pickles."""

    path: Path
    number: int

    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return WIDTH, HEIGHT

    def read(self) -> DepthImage:
        """Raises `FrameError` `unreadable_depth`."""
        return DepthStream.opened(self.path).frame(self.number)


class DepthStream:
    """An open `depth.bin`: `count` frames."""

    @staticmethod
    @lru_cache(maxsize=2)
    def opened(path: Path) -> DepthStream:
        """Indexed once a process."""
        return DepthStream(path)

    def __init__(self, path: Path):
        self._path = path
        try:
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ScanError(f"{path}: cannot be read ({error}); copy the file again") from error
        self._inflaters: list[_Inflater] = []
        one_stream = len(_Inflater(self._data).read(METRE_BYTES)) == METRE_BYTES
        self._places = [] if one_stream else _places(self._data)
        self.count = self._index() if one_stream else len(self._places)
        if not self.count:
            raise ScanError(f"{path}: neither a deflate stream nor frames with their sizes; copy the file again")

    def frame(self, number: int) -> DepthImage:
        """Raises `FrameError` `unreadable_depth`."""
        if self._places:
            depth = _decoded(self._data[slice(*self._places[number])])
        else:
            inflater = self._inflaters[number // STEP].copy()
            for _ in range(number % STEP):
                inflater.read(METRE_BYTES)
            depth = _metres(inflater.read(METRE_BYTES))
        if depth is None:
            raise FrameError("unreadable_depth", f"{self._path}: frame {number} does not decode; copy the file again")
        return depth

    def _index(self) -> int:
        """Inflate the stream once, keeping places to go on from; the number of whole frames."""
        inflater, count = _Inflater(self._data), 0
        while True:
            if count % STEP == 0:
                self._inflaters.append(inflater.copy())
            if len(inflater.read(METRE_BYTES)) < METRE_BYTES:
                return count
            count += 1


class _Inflater:
    """Raw deflate from a place in `data`; ends early where the stream does, or is damaged."""

    def __init__(self, data: mmap.mmap, inflate: Any = None, place: int = 0):
        self._data, self._place = data, place
        self._inflate = inflate or zlib.decompressobj(-zlib.MAX_WBITS)

    def copy(self) -> _Inflater:
        return _Inflater(self._data, self._inflate.copy(), self._place)

    def read(self, size: int) -> bytes:
        """The next `size` inflated bytes, fewer where the stream ends or is damaged."""
        parts: list[bytes] = []
        missing = size
        while missing and not self._inflate.eof:
            chunk = self._data[self._place : self._place + _CHUNK]
            try:
                part = self._inflate.decompress(chunk, missing)
            except zlib.error:
                break
            self._place += len(chunk) - len(self._inflate.unconsumed_tail)
            if not part and not chunk:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def _places(data: mmap.mmap) -> list[tuple[int, int]]:
    """Start and end of each frame, as the sizes before them tell."""
    places, at = [], 0
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if end > len(data):
            break
        places.append((at + 4, end))
        at = end
    return places


def _decoded(payload: bytes) -> DepthImage | None:
    """A frame that stands by itself; None where it does not decode."""
    depth = _metres(_inflated(payload))
    if depth is not None:
        return depth
    block = files.needs("lz4.block")
    try:
        data = block.decompress(payload, uncompressed_size=MILLIMETRE_BYTES)
    except block.LZ4BlockError:
        return None
    if len(data) != MILLIMETRE_BYTES:
        return None
    return DepthImage(np.frombuffer(data, "<u2").reshape(HEIGHT, WIDTH), 1e-3)


def _inflated(payload: bytes) -> bytes:
    """At most one frame of metres; empty where the bytes are no raw deflate."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload, METRE_BYTES)
    except zlib.error:
        return b""


def _metres(data: bytes) -> DepthImage | None:
    if len(data) != METRE_BYTES:
        return None
    values: NDArray[np.float32] = np.frombuffer(data, "<f4").reshape(HEIGHT, WIDTH)
    return DepthImage(np.where(np.isfinite(values) & (values > 0), values, np.float32(0)))
