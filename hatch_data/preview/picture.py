"""One picture of a row: its images with what matches, the question and its answer, the actions and their route."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from hatch_data.errors import FrameError, ShardError
from hatch_data.images import decode as decode_rgb
from hatch_data.patches import Visibility
from hatch_data.preview import overlay, sketch
from hatch_data.preview.canvas import FAINT, STYLE, Box, Canvas
from hatch_data.preview.wording import Line, action_lines, question_lines, wrapped
from hatch_data.shards import Row

WIDTH_PX = 1600
#: With more images than this only the two that the patches are about are drawn large.
MOST_LARGE = 3
_MARGIN, _GAP = 28, 20
_STRIP_TOP, _LEGEND = 78, 36
_TALLEST_IMAGE_PX, _TALLEST_STORED_PX = 640, 340
_TEXT_WIDTH_PX, _SKETCH_PX = 872, 560
_LINE_PX, _LETTER_PX = 25, 9.3

#: Left, top, right, bottom in whole pixels.
_Band = tuple[int, int, int, int]


@dataclass(frozen=True)
class Picture:
    """(height, 1600, 3) pixels, and the bands of them that stand alone on a page."""

    pixels: NDArray[np.uint8]
    images: _Band
    stored: _Band
    sketch: _Band

    def crop(self, band: _Band) -> NDArray[np.uint8]:
        left, top, right, bottom = band
        return self.pixels[top:bottom, left:right]

    def png(self) -> bytes:
        return encoded(self.pixels, "PNG", compress_level=4)


@dataclass(frozen=True)
class _Layout:
    """Where the parts of a picture lie: large images by index, the stored ones, the words, the sketch."""

    large: dict[int, Box]
    stored: list[Box]
    text_top: float
    height: int

    @classmethod
    def of(cls, aspects: list[float], large: list[int], lines: int) -> _Layout:
        """Places for images of these aspects (width over height), those numbered in `large` on top, and text lines."""
        room = WIDTH_PX - 2 * _MARGIN
        boxes = _side_by_side([aspects[k] for k in large], _STRIP_TOP, room, _TALLEST_IMAGE_PX)
        below = boxes[0][1] + boxes[0][3] + 84
        if len(large) == len(aspects):
            text_top, stored_top = below, below + 54 + _LINE_PX * lines
            stored = _side_by_side(aspects, stored_top, _TEXT_WIDTH_PX, _TALLEST_STORED_PX)
            bottom = stored_top + stored[0][3]
        else:
            stored = _side_by_side(aspects, below + 12, room, _TALLEST_STORED_PX)
            text_top = below + stored[0][3] + 44
            bottom = text_top + 24 + _LINE_PX * lines
        height = round(max(text_top + _SKETCH_PX + 110, bottom + _MARGIN))
        return cls(dict(zip(large, boxes, strict=True)), stored, text_top, height)


def encoded(pixels: NDArray[np.uint8], form: str, **options: object) -> bytes:
    """Pixels (h, w, 3) as an image file of this form."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def draw(row: Row, split: str = "") -> Picture:
    """The picture of a row of any number of images, made for up to 8.

    Patches are those of the row's first map from an earlier to a later image. Raises `ShardError` where an image of
    the row does not decode.
    """
    images = [decode(row, k) for k in range(len(row.images))]
    pair = next(((m.source, m.target) for m in row.matches if m.source < m.target), None)
    large = list(pair) if pair and len(images) > MOST_LARGE else list(range(len(images)))
    words = [*question_lines(row), Line(""), *action_lines(row, sketch.routed(row))]
    lines = wrapped(words, int(_TEXT_WIDTH_PX / _LETTER_PX))
    layout = _Layout.of([image.shape[1] / image.shape[0] for image in images], large, len(lines))
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(WIDTH_PX, layout.height)
        about = " · ".join(filter(None, (row.task, row.form, split, row.id)))
        canvas.text(_MARGIN, 32, row.scene, size=15, weight="bold")
        canvas.text(WIDTH_PX - _MARGIN, 32, about, color=FAINT, ha="right")
        _draw_images(canvas, row, images, layout.large, pair)
        for number, line in enumerate(lines):
            canvas.line(_MARGIN, layout.text_top + 24 + _LINE_PX * number, line)
        canvas.line(_MARGIN, layout.stored[0][1] - 8, Line("The images as stored", "head"))
        for k, (image, box) in enumerate(zip(images, layout.stored, strict=True)):
            canvas.image(image, box)
            canvas.text(box[0], box[1] + box[3] + 18, f"Image {k + 1}", color=FAINT, size=10.5)
        left = WIDTH_PX - _MARGIN - _SKETCH_PX
        side = _SKETCH_PX - 30
        sketch.draw_sketch(canvas.axes((left + 30, layout.text_top + 8, side, side)), row)
        ending = "".join(sketch.ending(row, label) for label in sketch.routed(row)[:1])
        for number, text in enumerate(textwrap.wrap(ending, 72)):
            canvas.text(left - 20, layout.text_top + _SKETCH_PX + 48 + 21 * number, text, color=FAINT, size=10.5)
        pixels = canvas.pixels()
    strip = max(box[1] + box[3] for box in layout.large.values())
    last = layout.stored[-1]
    return Picture(
        pixels,
        images=(_MARGIN, 50, WIDTH_PX - _MARGIN + 1, round(strip + _LEGEND + 16)),
        stored=(_MARGIN, round(last[1]), round(last[0] + last[2]), round(last[1] + last[3])),
        sketch=(left - 48, round(layout.text_top) - 8, WIDTH_PX, min(round(layout.text_top) + 670, len(pixels))),
    )


def decode(row: Row, image: int) -> NDArray[np.uint8]:
    """(h, w, 3) pixels of an image of a row. Raises `ShardError`."""
    try:
        return np.asarray(decode_rgb(row.images[image], row.frames[image]))
    except FrameError as error:
        raise ShardError(f"row {row.id}: image {image + 1}: {error}; rebuild this folder") from None


def _side_by_side(aspects: list[float], top: float, room: float, tallest: float) -> list[Box]:
    """Images of these aspect ratios in a row from the left margin, equally tall, in `room` pixels."""
    height = min((room - _GAP * (len(aspects) - 1)) / sum(aspects), tallest)
    boxes, left = [], float(_MARGIN)
    for aspect in aspects:
        boxes.append((left, top, height * aspect, height))
        left += height * aspect + _GAP
    return boxes


def _draw_images(
    canvas: Canvas, row: Row, images: list[NDArray[np.uint8]], boxes: dict[int, Box], pair: tuple[int, int] | None
) -> None:
    """The large images, with patches, lines and legend where the row has a map for the pair."""
    overlays = overlay.overlays(row.matches, *pair) if pair else {}
    for number, box in boxes.items():
        image, over = images[number], overlays.get(number)
        caption = f"Image {number + 1}   {row.frames[number]}   {image.shape[1]} x {image.shape[0]}"
        letters = int(box[2] / 8.5)
        caption = caption if len(caption) <= letters else f"Image {number + 1}"
        canvas.text(box[0], box[1] - 8, caption, color=sketch.camera_color(number), weight="bold")
        axes = canvas.image(overlay.tint(image, over) if over else image, box)
        if over:
            overlay.draw_patches(axes, over)
    if pair is None:
        return
    first, second = (boxes[k] for k in pair)
    ends = overlay.lines(overlay.find(row.matches, *pair))
    for (x, y, u, v), color in zip(ends, overlay.position_colors(ends[:, :2]), strict=True):
        canvas.stroke(_inside(first, x, y), _inside(second, u, v), color)
    _draw_legend(canvas, overlays, first[1] + first[3] + _LEGEND)


def _inside(box: Box, x: float, y: float) -> tuple[float, float]:
    return box[0] + x * box[2], box[1] + y * box[3]


def _draw_legend(canvas: Canvas, overlays: dict[int, overlay.Overlay], y: float) -> None:
    """A swatch for what patches may be, and how many are so in each image."""
    counts = {k: np.bincount(over.visibility, minlength=len(Visibility)) for k, over in overlays.items()}
    x = float(_MARGIN)
    for code in Visibility:
        axes = canvas.axes((x, y - 15, 46, 19))
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        if code == Visibility.VISIBLE:
            name = "matched"
            across = np.stack([np.linspace(0, 1, 46), np.full(46, 0.4)], axis=-1)
            axes.imshow(overlay.position_colors(across)[None], extent=(0, 1, 0, 1), aspect="auto")
        else:
            name, hatch, color, _ = overlay.UNMATCHED[code]
            axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="#4a4a4a", edgecolor=color, hatch=hatch, linewidth=0))
        told = f"{name}: " + ", ".join(f"{count[code]} in {k + 1}" for k, count in counts.items())
        canvas.text(x + 54, y, told, size=10.5)
        x += 54 + 8.0 * len(told) + 26
