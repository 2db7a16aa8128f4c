"""ScanNet `.sens`, its recording in one file of gigabytes: never extracted, never loaded whole.

An index of offsets is made by reading each frame's 96 bytes and seeking over its two images, which are read from where
they lie when a frame is asked for. The format (ScanNet's `SensReader`, version 4), little-endian:

    u32 version, u64 length and name of the sensor, 4 x 16 f32 (colour intrinsic and extrinsic, depth ditto, row-major),
    i32 colour codec, i32 depth codec, u32 colour width and height, u32 depth width and height, f32 depth_shift,
    u64 frames; then per frame 16 f32 camera to world, u64 stamps of colour and depth, u64 their sizes, two blobs

A file that breaks off loses the frames after the break.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array
from hatch_data.scans import files, scannet
from hatch_data.scans.posed import Intrinsics, Rig, Size, View
from hatch_data.scene import DepthImage, Scene

LAYOUT = "scannet-sens"
WANTED = "a .sens file of version 4 with JPEG or PNG colour, zlib or raw 16-bit depth, and poses"
VERSION = 4
COLOR_CODECS = {1: "png", 2: "jpeg"}
RAW_USHORT, ZLIB_USHORT = 0, 1

_FRAME = struct.Struct("<64s4Q")
_HEADER = struct.Struct("<256sii4IfQ")

space = scannet.space


class Header(NamedTuple):
    """What a file says about all of its frames; 4x4 matrices, sizes (width, height)."""

    color_intrinsic: Array
    color_extrinsic: Array
    depth_intrinsic: Array
    depth_extrinsic: Array
    color_codec: int
    depth_codec: int
    color_size: Size
    depth_size: Size
    depth_shift: float
    frames: int


@dataclass(frozen=True)
class Blob:
    """Bytes of a file, read each time they are asked for."""

    path: Path
    offset: int
    length: int
    frame: int

    def __str__(self) -> str:
        return f"{self.path}, frame {self.frame}"

    def read(self) -> bytes:
        """Raises `OSError` where the file no longer reaches so far."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.length)
        if len(data) < self.length:
            raise OSError("the file ends before the image does")
        return data


@dataclass(frozen=True)
class SensColor:
    """An encoded colour image of a `.sens` file."""

    blob: Blob
    stated: Size

    def size(self) -> Size:
        """As the header says."""
        return self.stated

    def read(self) -> bytes:
        """JPEG or PNG. Raises `FrameError` `unreadable_color`."""
        try:
            return files.whole_image(self.blob.read(), str(self.blob))
        except OSError as error:
            raise FrameError("unreadable_color", f"{self.blob}: colour cannot be read ({error})") from error


@dataclass(frozen=True)
class SensDepth:
    """A depth image of a `.sens` file."""

    blob: Blob
    stated: Size
    compressed: bool
    metres_per_unit: float

    def size(self) -> Size:
        """As the header says."""
        return self.stated

    def read(self) -> DepthImage:
        """Raises `FrameError` `unreadable_depth`."""
        width, height = self.stated
        try:
            data = self.blob.read()
            values = np.frombuffer(_inflated(data, 2 * width * height) if self.compressed else data, "<u2")
            values = values.reshape(height, width)
        except (OSError, ValueError, zlib.error) as error:
            raise FrameError("unreadable_depth", f"{self.blob}: depth cannot be decoded ({error})") from error
        return DepthImage(values, self.metres_per_unit)


def _inflated(data: bytes, most: int) -> bytes:
    """At most one byte more than `most`: a few broken bytes may inflate to gigabytes."""
    return zlib.decompressobj().decompress(data, most + 1)


def evidence(path: Path) -> str | None:
    """What speaks for a `.sens` recording: the file itself, or a folder with one."""
    if path.suffix == ".sens" and path.is_file():
        return "a .sens file"
    return "a .sens file in it" if files.holds(path, r".+\.sens") else None


def read(path: Path) -> Scene:
    """The recording `path`, or the one in the folder `path`; ids are the unpadded frame numbers."""
    file = path if path.is_file() else _only_sens(path)
    header, views = index(file)
    rig = Rig(
        _intrinsics(header.color_intrinsic, f"{file}: colour", header.color_size),
        _intrinsics(header.depth_intrinsic, f"{file}: depth", header.depth_size),
        color_from_depth=scannet.color_from_depth(header.color_extrinsic, header.depth_extrinsic, str(file)),
    )
    return scannet.scene(path, LAYOUT, views, rig, WANTED)


def index(file: Path) -> tuple[Header, list[View]]:
    """The header and where each frame lies; of frames behind a break nothing but the id is known.

    Raises `ScanError` where the file is no recording that can be read.
    """
    try:
        with file.open("rb", buffering=0) as stream:
            header = _header(file, stream)
            end, at = os.fstat(stream.fileno()).st_size, stream.tell()
            views: list[View] = []
            while len(views) < header.frames and at + _FRAME.size <= end:
                stream.seek(at)
                pose, _, _, color_bytes, depth_bytes = _FRAME.unpack(stream.read(_FRAME.size))
                number, at = len(views), at + _FRAME.size
                color = Blob(file, at, color_bytes, number) if at + color_bytes <= end else None
                at += color_bytes
                depth = Blob(file, at, depth_bytes, number) if at + depth_bytes <= end else None
                at += depth_bytes
                views.append(_view(header, number, color, depth, np.frombuffer(pose, "<f4").reshape(4, 4)))
    except OSError as error:
        raise ScanError(f"{file}: cannot be read ({error.strerror}); copy it again") from error
    return header, views + [View(str(n), None, None, None) for n in range(len(views), header.frames)]


def _view(header: Header, number: int, color: Blob | None, depth: Blob | None, pose: Array) -> View:
    compressed, metres = header.depth_codec == ZLIB_USHORT, 1 / header.depth_shift
    return View(
        str(number),
        SensColor(color, header.color_size) if color else None,
        SensDepth(depth, header.depth_size, compressed, metres) if depth else None,
        pose.astype(np.float64),
    )


def _header(file: Path, stream: IO[bytes]) -> Header:
    """Leaves the stream at the first frame."""
    try:
        version, name_length = struct.unpack("<IQ", stream.read(12))
        if version != VERSION or name_length > 4096:
            raise ScanError(f"{file}: .sens version {version}, but only {VERSION} is read; needs {WANTED}")
        stream.seek(name_length, os.SEEK_CUR)
        matrices, color_codec, depth_codec, *sizes, shift, frames = _HEADER.unpack(stream.read(_HEADER.size))
    except struct.error as error:
        raise ScanError(f"{file}: ends within its header; copy it again") from error
    if color_codec not in COLOR_CODECS or depth_codec not in (RAW_USHORT, ZLIB_USHORT):
        raise ScanError(f"{file}: codecs {color_codec} (colour), {depth_codec} (depth) are not read; needs {WANTED}")
    if not shift > 0 or frames * _FRAME.size > os.fstat(stream.fileno()).st_size:
        raise ScanError(f"{file}: depth shift {shift:g}, {frames} frames: a broken header; copy it again")
    a, b, c, d = np.frombuffer(matrices, "<f4").reshape(4, 4, 4).astype(np.float64)
    return Header(a, b, c, d, color_codec, depth_codec, (sizes[0], sizes[1]), (sizes[2], sizes[3]), shift, frames)


def _intrinsics(matrix: Array, source: str, size: Size) -> Intrinsics:
    return Intrinsics(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], source, size)


def _only_sens(folder: Path) -> Path:
    found = sorted(folder.glob("*.sens"))
    if len(found) != 1:
        told = ", ".join(file.name for file in found) or "none"
        raise ScanError(f"{folder}: needs one .sens file, has {told}; name the file itself")
    return found[0]
