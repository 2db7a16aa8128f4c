"""Images as a row stores them: the scan's own bytes, or encoded again where a marker or a size limit asks for it.

Poses, intrinsics and maps describe the pixels as they are stored. Cameras tag what they took with how to hold it (EXIF,
XMP), and `datasets` and transformers turn what is tagged: a row's images have no such tag.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from PIL import ExifTags, Image

from hatch_data.errors import FrameError
from hatch_data.geometry import Camera
from hatch_data.markers import Marker, draw
from hatch_data.recipe import ImageSettings
from hatch_data.scans.files import PNG_SIGNATURE, UNDECODABLE
from hatch_data.scene import Frame

#: Where a tag may stand: chunks of a PNG, and segments of a JPEG, of which the last kind is followed by pixels.
_PNG_TAGS = {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}
_JPEG_FILL, _JPEG_APP1, _JPEG_SCAN = 0xFF, 0xE1, 0xDA


@dataclass(frozen=True)
class StoredImage:
    """Encoded bytes, the file name that goes with them, and the camera of the stored image."""

    data: bytes
    path: str
    camera: Camera


def stored_image(frame: Frame, settings: ImageSettings, markers: list[Marker] | None = None) -> StoredImage:
    """The image of a frame for a row. Raises `FrameError` where it cannot be read or does not decode."""
    data = frame.read_color()
    camera = stored_camera(frame.camera, settings)
    name = frame.id.replace("/", "-")
    if not markers and camera == frame.camera:
        ending = "png" if data.startswith(PNG_SIGNATURE) else "jpg"
        return StoredImage(_untagged(data, frame.id), f"{name}.{ending}", camera)
    image = decode(data, frame.id)
    if camera != frame.camera:
        image = image.resize((camera.width, camera.height), Image.Resampling.LANCZOS)
    draw(image, markers or [])
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=settings.jpeg_quality, subsampling=0)
    return StoredImage(buffer.getvalue(), f"{name}.jpg", camera)


def decode(data: bytes, frame_id: str) -> Image.Image:
    """Encoded bytes as RGB. Raises `FrameError` where they are no image."""
    try:
        return Image.open(io.BytesIO(data)).convert("RGB")
    except UNDECODABLE as error:
        raise FrameError("unreadable_color", f"frame {frame_id}: the image does not decode ({error})") from None


def tagged_to_turn(data: bytes) -> bool:
    """Whether a tag asks whoever shows the image to turn or mirror it, or tags are such that asking fails.

    Raises one of `UNDECODABLE` for what is no image.
    """
    with Image.open(io.BytesIO(data)) as image:
        try:
            if image.format == "PNG" and b"eXIf" in data:
                image.load()  # It may stand behind the pixels.
            return image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        except UNDECODABLE:
            return True


@lru_cache(maxsize=32)  # A frame is stored in some ten rows, and asking takes as long as what is computed of it.
def _untagged(data: bytes, frame_id: str) -> bytes:
    """The same pixels, bit for bit, without the metadata that would have them turned."""
    try:
        if not tagged_to_turn(data):
            return data
        return b"".join(_png_pixels(data) if data.startswith(PNG_SIGNATURE) else _jpeg_pixels(data))
    except UNDECODABLE as error:
        raise FrameError("unreadable_color", f"frame {frame_id}: the image does not decode ({error})") from None


def _png_pixels(data: bytes) -> Iterator[bytes]:
    """All but the chunks (ISO/IEC 15948, 5.3) that may hold a tag."""
    yield PNG_SIGNATURE
    at = len(PNG_SIGNATURE)
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] not in _PNG_TAGS:
            yield data[at:end]
        at = end


def _jpeg_pixels(data: bytes) -> Iterator[bytes]:
    """All but the segments (ITU-T T.81, B.1.1.4) that may hold a tag."""
    yield data[:2]
    at = 2
    while (marker := data[at + 1]) != _JPEG_SCAN:
        end = at + 1 if marker == _JPEG_FILL else at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker != _JPEG_APP1:
            yield data[at:end]
        at = end
    yield data[at:]


def stored_camera(camera: Camera, settings: ImageSettings) -> Camera:
    """The camera behind the stored image: smaller where the longest side is limited."""
    limit = settings.longest_side_px
    if limit is None or max(camera.width, camera.height) <= limit:
        return camera
    scale = limit / max(camera.width, camera.height)
    return camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
