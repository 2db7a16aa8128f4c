"""Marks on images: boxes around places, discs on points, with labels."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont


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


def draw(image: Image.Image, marker: Marker) -> None:
    """A box around the marked place, or a disc on the point, rimmed black outside and white inside so that it shows on
    any ground, also one of its own colour, and its label beside it. All of it stays inside the image."""
    width, height = image.size
    left, top, right, bottom = (round(v * s) for v, s in zip(marker.box, (width, height) * 2, strict=True))
    is_point = marker.box[:2] == marker.box[2:]
    line = max(2, round(max(width, height) / 220))
    rim = max(5, round(max(width, height) / 80)) if is_point else line + 2
    left, top = max(left - rim, 0), max(top - rim, 0)
    right, bottom = min(right + rim, width - 1), min(bottom + rim, height - 1)
    brush = ImageDraw.Draw(image)

    def inner(inset: int) -> tuple[int, int, int, int] | None:
        """The mark less `inset` pixels all around: none where so little of it is left, at the border of the image."""
        fits = 2 * inset <= min(right - left, bottom - top)
        return (left + inset, top + inset, right - inset, bottom - inset) if fits else None

    if is_point:
        for inset, color in enumerate(("black", "white", marker.color)):
            if disc := inner(inset):
                brush.ellipse(disc, fill=color)
    else:
        for inset, color, thick in ((0, "black", 1), (1, marker.color, line), (1 + line, "white", 1)):
            if box := inner(inset):
                brush.rectangle(box, outline=color, width=thick)
    if marker.label:
        font = ImageFont.load_default(size=max(13, round(height / 20)))
        x0, y0, x1, y1 = brush.textbbox((0, 0), marker.label, font=font)
        text_width, text_height = round(x1 - x0) + 8, round(y1 - y0) + 8
        x = min(left, width - text_width)
        y = top - text_height if top >= text_height else bottom
        y = min(y, height - text_height)
        brush.rectangle((x, y, x + text_width - 1, y + text_height - 1), fill=marker.color, outline="black")
        brush.text((x + 4 - x0, y + 4 - y0), marker.label, fill="white", font=font)
