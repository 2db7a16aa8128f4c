"""Images as a row stores them: the scan's own bytes, or encoded again where a marker or a size limit asks for it."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from hatch_data.errors import FrameError
from hatch_data.geometry import Camera
from hatch_data.questions import Marker
from hatch_data.recipe import ImageSettings
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
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise FrameError("unreadable_color", f"frame {frame.id}: the image does not decode ({error})") from None
    if camera != frame.camera:
        image = image.resize((camera.width, camera.height), Image.Resampling.LANCZOS)
    for marker in markers or []:
        _draw(image, marker)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=settings.jpeg_quality, subsampling=0)
    return StoredImage(buffer.getvalue(), f"{name}.jpg", camera)


def stored_camera(camera: Camera, settings: ImageSettings) -> Camera:
    """The camera behind the stored image: smaller where the longest side is limited."""
    limit = settings.longest_side_px
    if limit is None or max(camera.width, camera.height) <= limit:
        return camera
    scale = limit / max(camera.width, camera.height)
    return camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))


def _draw(image: Image.Image, marker: Marker) -> None:
    """A box around the marked place, rimmed black outside and white inside so that it shows on any ground, also one of
    its own colour, and its label beside it. All of it stays inside the image."""
    width, height = image.size
    line = max(2, round(max(width, height) / 220))
    rim = line + 2
    left, top, right, bottom = (round(v * s) for v, s in zip(marker.box, (width, height) * 2, strict=True))
    left, top = max(left - rim, 0), max(top - rim, 0)
    right, bottom = min(right + rim, width - 1), min(bottom + rim, height - 1)
    draw = ImageDraw.Draw(image)
    for inset, color, thick in ((0, "black", 1), (1, marker.color, line), (1 + line, "white", 1)):
        draw.rectangle((left + inset, top + inset, right - inset, bottom - inset), outline=color, width=thick)
    if marker.label:
        font = ImageFont.load_default(size=max(13, round(height / 20)))
        x0, y0, x1, y1 = draw.textbbox((0, 0), marker.label, font=font)
        text_width, text_height = round(x1 - x0) + 8, round(y1 - y0) + 8
        x = min(left, width - text_width)
        y = top - text_height if top >= text_height else bottom
        y = min(y, height - text_height)
        draw.rectangle((x, y, x + text_width - 1, y + text_height - 1), fill=marker.color, outline="black")
        draw.text((x + 4 - x0, y + 4 - y0), marker.label, fill="white", font=font)
