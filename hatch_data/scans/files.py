"""Checked reading of the files that scans are made of. Every failure is one line that names the file.

Trouble with a file of the whole scan is a `ScanError`, trouble with a file of one frame a `FrameError`.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zlib
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array
from hatch_data.scans.archive import ZipMember
from hatch_data.scene import DepthImage

PNG_SIGNATURE, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
JPEG_SIGNATURE, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PGM_HEADER = re.compile(rb"P5\s+(\d+)\s+(\d+)\s+(\d+)\s")
#: A writer may pad an image file; the mark that ends the image lies within this many bytes of the end of the file.
END_MARK_WINDOW = 512
#: What reading a broken or missing file, or a broken member of an archive, raises.
UNREADABLE = (OSError, EOFError, struct.error, zlib.error, BadZipFile, RuntimeError)
#: What taking numbers and names out of a file raises where it holds something else.
MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
#: What decoding an image raises that is broken or absurdly large.
UNDECODABLE = (*UNREADABLE, *MALFORMED, MemoryError, SyntaxError, Image.DecompressionBombError)
#: An image of more pixels than this is a broken header, not a photograph.
MOST_PIXELS = 1 << 27

#: A file of its own, or one in a zip archive.
Readable = Path | ZipMember
Entry = TypeVar("Entry", bound=Path | ZipMember)


def needs(module: str) -> ModuleType:
    """Import a library that only some layouts use. Raises `ScanError`, which says how to install it, where missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ScanError(
            f"this scan is read with '{module}', which is not there ({_line(error)}); "
            "install it: pip install 'hatch-spatial[scans]'"
        ) from error


def holds(folder: Path, pattern: str) -> bool:
    """Whether an entry's whole name matches the regular expression; stops at the first, so large folders are cheap."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(re.fullmatch(pattern, entry.name) for entry in entries)


def numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """Files by frame number, in order: the first group of `pattern`, matched against the whole name.

    Empty where there is no such folder. Raises `ScanError` where two files carry one number.
    """
    return by_number(sorted(folder.iterdir()) if folder.is_dir() else [], pattern, folder)


def by_number(entries: Iterable[Entry], pattern: str, where: Path) -> dict[int, Entry]:
    """As `numbered`, of files listed already."""
    found: dict[int, Entry] = {}
    for file in entries:
        if match := re.fullmatch(pattern, file.name):
            other = found.setdefault(int(match[1]), file)
            if other != file:
                raise ScanError(f"{where}: {other.name} and {file.name} are one frame; remove one")
    return dict(sorted(found.items()))


def read_text(path: Readable) -> str:
    """A text file that the scan cannot do without."""
    try:
        return path.read_bytes().decode("utf-8")
    except (*UNREADABLE, UnicodeDecodeError) as error:
        raise ScanError(f"{path}: cannot be read as text ({_line(error)}); copy the scan again") from error


def read_numbers(path: Path, *shape: int) -> Array:
    """White-space separated numbers of a text file that the scan cannot do without, as an array of `shape`."""
    try:
        return np.array(read_text(path).split(), dtype=np.float64).reshape(shape)
    except ValueError as error:
        size = "x".join(map(str, shape))
        raise ScanError(f"{path}: does not hold {size} numbers ({_line(error)}); restore the file") from error


def read_json(path: Path) -> Any:
    """A JSON file that the scan cannot do without."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ScanError(f"{path}: no JSON ({_line(error)}); copy the file again") from error


def read_pose(path: Readable) -> Array:
    """(4, 4) as written, finite or not. Raises `FrameError` `bad_pose` where the text is no 4x4 matrix."""
    try:
        return np.array(path.read_bytes().split(), dtype=np.float64).reshape(4, 4)
    except (*UNREADABLE, ValueError) as error:
        raise FrameError("bad_pose", f"{path}: no 4x4 matrix ({_line(error)})") from error


def image_size(path: Readable, reason: str) -> tuple[int, int]:
    """(width, height) in pixels from the header of a PNG, JPEG or PGM, without decoding.

    Raises `FrameError` with `reason` where the header cannot be read, or no image can be of the size it states.
    """
    width, height = _stated_size(path, reason)
    if not 0 < width * height <= MOST_PIXELS:
        raise FrameError(reason, f"{path}: {width}x{height} is no size of an image; copy the file again")
    return width, height


def _stated_size(path: Readable, reason: str) -> tuple[int, int]:
    try:
        with path.open("rb") as file:
            head = file.read(24)
            if head.startswith(PNG_SIGNATURE):
                width, height = struct.unpack(">II", head[16:24])
                return width, height
            if head.startswith(JPEG_SIGNATURE):
                return _jpeg_size(file)
            if match := PGM_HEADER.match(head):
                return int(match[1]), int(match[2])
    except (*UNREADABLE, ValueError) as error:
        raise FrameError(reason, f"{path}: image header cannot be read ({_line(error)}); copy it again") from error
    raise FrameError(reason, f"{path}: neither a PNG, a JPEG nor a PGM image; copy the file again")


def _jpeg_size(file: IO[bytes]) -> tuple[int, int]:
    """Walk the segments to the frame header (ITU-T T.81, B.2.2); `struct.error` where the file ends before it."""
    file.seek(2)
    while True:
        marker, length = struct.unpack(">HH", file.read(4))
        if marker < 0xFF01:
            raise struct.error("no JPEG segment where one should begin")
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            _, height, width = struct.unpack(">BHH", file.read(5))
            return width, height
        file.seek(length - 2, os.SEEK_CUR)


def read_color(path: Readable) -> bytes:
    """The encoded image as it lies on disk. Raises `FrameError` `unreadable_color` where it breaks off."""
    try:
        data = path.read_bytes()
    except UNREADABLE as error:
        raise FrameError("unreadable_color", f"{path}: cannot be read ({_line(error)})") from error
    return whole_image(data, str(path))


def whole_image(data: bytes, path: str) -> bytes:
    """The encoded image, checked to be whole. Raises `FrameError` `unreadable_color` where it breaks off."""
    end = PNG_END if data.startswith(PNG_SIGNATURE) else JPEG_END
    if end not in data[-END_MARK_WINDOW:]:
        raise FrameError("unreadable_color", f"{path}: the image breaks off before its end; copy the file again")
    return data


def read_depth(path: Readable, size: tuple[int, int], metres_per_unit: float, none: int | None = None) -> DepthImage:
    """A 16-bit greyscale PNG or PGM of `size` (width, height); units of value `none` are no depth, as 0 always is.

    Raises `FrameError`: `unreadable_depth`, or `depth_size` where the image is not the one the intrinsics describe.
    """
    try:
        data = path.read_bytes()
        values = _pgm(data) if data.startswith(b"P5") else _png(data)
    except UNDECODABLE as error:
        raise FrameError(
            "unreadable_depth", f"{path}: cannot be decoded ({_line(error)}); copy the file again"
        ) from error
    if values.shape != size[::-1]:
        raise FrameError("depth_size", f"{path}: {_by(values.shape[::-1])}, but its intrinsics are for {_by(size)}")
    if none is not None:
        values[values == none] = 0
    return DepthImage(values, metres_per_unit)


def _png(data: bytes) -> NDArray[np.uint16]:
    with Image.open(io.BytesIO(data)) as image:
        if not image.mode.startswith("I;16"):
            raise ValueError(f"mode {image.mode}, but depth is 16-bit greyscale")
        return np.array(image, dtype=np.uint16)


def _pgm(data: bytes) -> NDArray[np.uint16]:
    """The most significant byte comes first (netpbm), which Pillow reads as 32-bit integers of another scale."""
    header = PGM_HEADER.match(data)
    if header is None or int(header[3]) < 256:
        raise ValueError("no 16-bit PGM")
    width, height = int(header[1]), int(header[2])
    if len(data) - header.end() < 2 * width * height:
        raise ValueError("the image breaks off before its end")
    return np.frombuffer(data, ">u2", width * height, header.end()).astype(np.uint16).reshape(height, width)


def _by(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]}"


def _line(error: Exception) -> str:
    """What an exception says, in one line and without the path that `OSError` repeats."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(told.split()) or type(error).__name__
