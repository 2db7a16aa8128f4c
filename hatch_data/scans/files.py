"""Checked reading of the files that scans are made of. Every failure is one line that names the file.

Trouble with a file of the whole scan is a `ScanError`, trouble with a file of one frame a `FrameError`.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array
from hatch_data.scene import DepthImage

PNG_SIGNATURE, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
JPEG_SIGNATURE, JPEG_END = b"\xff\xd8", b"\xff\xd9"
#: A writer may pad an image file; the mark that ends the image lies within this many bytes of the end of the file.
END_MARK_WINDOW = 512


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
    found: dict[int, Path] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if match := re.fullmatch(pattern, file.name):
            other = found.setdefault(int(match[1]), file)
            if other != file:
                raise ScanError(f"{folder}: {other.name} and {file.name} are one frame; remove one")
    return dict(sorted(found.items()))


def read_text(path: Path) -> str:
    """A text file that the scan cannot do without."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScanError(f"{path}: cannot be read as text ({_line(error)}); copy the scan again") from error


def read_numbers(path: Path, *shape: int) -> Array:
    """White-space separated numbers of a text file that the scan cannot do without, as an array of `shape`."""
    try:
        return np.array(read_text(path).split(), dtype=np.float64).reshape(shape)
    except ValueError as error:
        size = "x".join(map(str, shape))
        raise ScanError(f"{path}: does not hold {size} numbers ({_line(error)}); restore the file") from error


def read_pose(path: Path) -> Array:
    """(4, 4) as written, finite or not. Raises `FrameError` `bad_pose` where the text is no 4x4 matrix."""
    try:
        return np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64).reshape(4, 4)
    except (OSError, ValueError) as error:
        raise FrameError("bad_pose", f"{path}: no 4x4 matrix ({_line(error)})") from error


def image_size(path: Path, reason: str) -> tuple[int, int]:
    """(width, height) in pixels from the header of a PNG or JPEG, without decoding.

    Raises `FrameError` with `reason` where the header cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
            if head.startswith(PNG_SIGNATURE):
                width, height = struct.unpack(">II", head[16:24])
                return width, height
            if head.startswith(JPEG_SIGNATURE):
                return _jpeg_size(file)
    except (OSError, struct.error) as error:
        raise FrameError(reason, f"{path}: image header cannot be read ({_line(error)}); copy it again") from error
    raise FrameError(reason, f"{path}: neither a PNG nor a JPEG image; copy the file again")


def _jpeg_size(file: BinaryIO) -> tuple[int, int]:
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


def read_color(path: Path) -> bytes:
    """The encoded image as it lies on disk. Raises `FrameError` `unreadable_color` where it breaks off."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FrameError("unreadable_color", f"{path}: cannot be read ({_line(error)})") from error
    end = PNG_END if data.startswith(PNG_SIGNATURE) else JPEG_END
    if end not in data[-END_MARK_WINDOW:]:
        raise FrameError("unreadable_color", f"{path}: the image breaks off before its end; copy the file again")
    return data


def read_depth(path: Path, size: tuple[int, int], metres_per_unit: float, none: int | None = None) -> DepthImage:
    """A 16-bit greyscale PNG of `size` (width, height); units of value `none` are no depth, as 0 always is.

    Raises `FrameError`: `unreadable_depth`, or `depth_size` where the image is not the one the intrinsics describe.
    """
    try:
        with Image.open(path) as image:
            if not image.mode.startswith("I;16"):
                raise FrameError("unreadable_depth", f"{path}: mode {image.mode}, but depth is 16-bit greyscale")
            if image.size != size:
                raise FrameError("depth_size", f"{path}: {_by(image.size)}, but its intrinsics are for {_by(size)}")
            values = np.array(image, dtype=np.uint16)
    except (OSError, SyntaxError, ValueError) as error:
        raise FrameError(
            "unreadable_depth", f"{path}: cannot be decoded ({_line(error)}); copy the file again"
        ) from error
    if none is not None:
        values[values == none] = 0
    return DepthImage(values, metres_per_unit)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _line(error: Exception) -> str:
    """What an exception says, in one line and without the path that `OSError` repeats."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(told.split()) or type(error).__name__
