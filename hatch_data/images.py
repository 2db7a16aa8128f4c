"""Images as a row stores them: the scan's own bytes, or encoded again where a marker or a size limit asks for it."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from hatch_data.errors import FrameError
from hatch_data.geometry import Camera
from hatch_data.markers import Marker, draw
from hatch_data.recipe import ImageSettings
from hatch_data.scans.files import UNDECODABLE
from hatch_data.scene import Frame


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
        ending = "png" if data.startswith(b"\x89PNG") else "jpg"
        return StoredImage(data, f"{name}.{ending}", camera)
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


def stored_camera(camera: Camera, settings: ImageSettings) -> Camera:
    """The camera behind the stored image: smaller where the longest side is limited."""
    limit = settings.longest_side_px
    if limit is None or max(camera.width, camera.height) <= limit:
        return camera
    scale = limit / max(camera.width, camera.height)
    return camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
