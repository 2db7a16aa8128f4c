"""Marks on images: boxes around places, discs on points, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

#: Left, top, right and bottom, in pixels, the last ones within.
Frame = tuple[int, int, int, int]


@dataclass(frozen=True)
class Marker:
    """A mark around the box (left, top, right, bottom), in shares of the image's width and height, or on the point
    where the box has no size, with a label or ""."""

    box: tuple[float, float, float, float]
    label: str
    color: str


def at_point(x: float, y: float, label: str, color: str) -> Marker:
    """A mark on a point, in shares of the image's width and height."""
    return Marker((x, y, x, y), label, color)


def draw(image: Image.Image, markers: Sequence[Marker]) -> None:
    """Boxes around the marked places and discs on the points, rimmed black outside and white inside so that they show
    on any ground, also one of their own colour; then their labels, each where it covers least of other labels and
    marks. All of it stays inside the image."""
    brush = ImageDraw.Draw(image)
    frames = [_outline(brush, image.size, marker) for marker in markers]
    font = ImageFont.load_default(size=max(13, round(image.height / 20)))
    labels: list[Frame] = []
    for marker, frame in zip(markers, frames, strict=True):
        if marker.label:
            x0, y0, x1, y1 = brush.textbbox((0, 0), marker.label, font=font)
            size = round(x1 - x0) + 8, round(y1 - y0) + 8
            place = min(_places(frame, size, image.size), key=lambda place: _covered(place, labels, frames))
            brush.rectangle(place, fill=marker.color, outline="black")
            brush.text((place[0] + 4 - x0, place[1] + 4 - y0), marker.label, fill="white", font=font)
            labels.append(place)


def _outline(brush: ImageDraw.ImageDraw, size: tuple[int, int], marker: Marker) -> Frame:
    """Draw the mark without its label; the pixels that it spans."""
    width, height = size
    left, top, right, bottom = (round(v * s) for v, s in zip(marker.box, size * 2, strict=True))
    is_point = marker.box[:2] == marker.box[2:]
    line = max(2, round(max(size) / 220))
    rim = max(5, round(max(size) / 80)) if is_point else line + 2
    if is_point:
        for radius, color in ((rim, "black"), (rim - 1, "white"), (rim - 2, marker.color)):
            brush.ellipse((left - radius, top - radius, left + radius, top + radius), fill=color)
    left, top = max(left - rim, 0), max(top - rim, 0)
    right, bottom = min(right + rim, width - 1), min(bottom + rim, height - 1)

    def inner(inset: int) -> Frame | None:
        """The mark less `inset` pixels all around: none where so little of it is left, at the border of the image."""
        fits = 2 * inset <= min(right - left, bottom - top)
        return (left + inset, top + inset, right - inset, bottom - inset) if fits else None

    if not is_point:
        for inset, color, thick in ((0, "black", 1), (1, marker.color, line), (1 + line, "white", 1)):
            if box := inner(inset):
                brush.rectangle(box, outline=color, width=thick)
    return left, top, right, bottom


def _places(frame: Frame, size: tuple[int, int], image: tuple[int, int]) -> list[Frame]:
    """Where a label of this size may stand, the best first: above its mark, below, and beside it."""
    (left, top, right, bottom), (width, height) = frame, size
    starts, beside = (left, right + 1 - width), ((right + 1, top), (left - width, top))
    corners = [*((x, top - height) for x in starts), *((x, bottom + 1) for x in starts), *beside]
    kept = [(max(min(x, image[0] - width), 0), max(min(y, image[1] - height), 0)) for x, y in corners]
    return [(x, y, x + width - 1, y + height - 1) for x, y in kept]


def _covered(place: Frame, labels: Sequence[Frame], frames: Sequence[Frame]) -> tuple[int, int]:
    """Pixels of labels, and of marks, that a label in this place would cover."""

    def shared(other: Frame) -> int:
        width = min(place[2], other[2]) - max(place[0], other[0]) + 1
        height = min(place[3], other[3]) - max(place[1], other[1]) + 1
        return max(width, 0) * max(height, 0)

    return sum(map(shared, labels)), sum(map(shared, frames))
