"""A figure addressed in pixels from its top left corner, and the few things that a picture puts on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from hatch_data.preview.wording import Line

INK, FAINT, RIGHT = "#1b1b1b", "#666666", "#00734d"
#: Settings of matplotlib under which a picture is drawn.
STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 11, "hatch.linewidth": 0.8, "text.color": INK,
    "axes.edgecolor": "#999999", "axes.labelcolor": FAINT, "xtick.color": FAINT, "ytick.color": FAINT,
}  # fmt: skip
#: Left, top, width, height in pixels.
Box = tuple[float, float, float, float]
_DPI = 100


class Canvas:
    """White, `width` x `height` pixels."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        self._agg = FigureCanvasAgg(self.figure)

    def pixels(self) -> NDArray[np.uint8]:
        """(height, width, 3): what has been drawn."""
        self._agg.draw()
        return np.asarray(self._agg.buffer_rgba())[..., :3].copy()

    def axes(self, box: Box) -> Axes:
        left, top, width, height = box
        x, y = self._at(left, top + height)
        return self.figure.add_axes((x, y, width / self.width, height / self.height))

    def image(self, pixels: NDArray, box: Box) -> Axes:
        """Show an image; the axes that are given back run over shares of its width and height."""
        axes = self.axes(box)
        axes.imshow(pixels, extent=(0, 1, 1, 0), aspect="auto")
        axes.set_axis_off()
        return axes

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """One line of text, its baseline at `y`; a dollar is a dollar."""
        self.figure.text(*self._at(x, y), text.replace("$", r"\$"), va="baseline", **style)

    def line(self, x: float, y: float, line: Line) -> None:
        """A line of wording in its style."""
        if line.mark == "head":
            self.text(x, y, line.text.upper(), color=FAINT, size=9, weight="bold")
        elif line.mark in ("right", "rest"):
            self.text(x + 22, y, line.text, color=RIGHT, size=13, weight="bold")
            if line.mark == "right":
                self.text(x, y, "✓", color=RIGHT, size=13, weight="bold")
        else:
            self.text(x, y, line.text, size=13)

    def stroke(self, start: tuple[float, float], end: tuple[float, float], color: NDArray[np.float64]) -> None:
        """A straight line with a dot at both ends, over everything else."""
        (x0, y0), (x1, y1) = self._at(*start), self._at(*end)
        self.figure.add_artist(
            Line2D(
                [x0, x1], [y0, y1], color=tuple(color), linewidth=1.3, transform=self.figure.transFigure,
                marker="o", markersize=6, markeredgecolor="white", markeredgewidth=1,
                path_effects=[withStroke(linewidth=3, foreground="#000000a0")],
            )
        )  # fmt: skip

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x / self.width, 1 - y / self.height
