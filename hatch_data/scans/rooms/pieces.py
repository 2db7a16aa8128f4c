"""What furniture of the synthetic rooms is made of: parts (boxes), pieces (named objects), and a room's style."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field

import numpy as np

from hatch_data.geometry import Array
from hatch_data.scans.rooms.raycast import Boxes
from hatch_data.scans.rooms.textures import RGB, Material, Pattern


@dataclass(frozen=True)
class Part:
    """One box of a piece: centre and full size in metres in the piece's frame, turned by `yaw` radians about z."""

    material: Material
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float = 0.0


@dataclass
class Piece:
    """A named object. `shelf` is the (width, depth, height) of a top that may carry small things."""

    label: str
    parts: list[Part] = field(default_factory=list)
    shelf: tuple[float, float, float] | None = None

    def add(self, material: Material, x: float, y: float, z: float, *size: float, yaw: float = 0.0) -> None:
        """Add a box of full size (w, d, h) whose bottom centre is (x, y, z)."""
        w, d, h = size
        self.parts.append(Part(material, (x, y, z + h / 2), (w, d, h), yaw))

    def legs(self, material: Material, width: float, depth: float, height: float, thick: float) -> None:
        """Add four legs at the corners of `width` x `depth`."""
        for x in (-1, 1):
            for y in (-1, 1):
                self.add(material, x * (width - thick) / 2, y * (depth - thick) / 2, 0, thick, thick, height)

    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper corner (3,) of all parts in the piece's frame."""
        center, size = (np.array([getattr(part, name) for part in self.parts]) for name in ("center", "size"))
        yaw = np.array([part.yaw for part in self.parts])
        lower, upper = Boxes(center, size / 2, np.stack([np.cos(yaw), np.sin(yaw)], axis=1)).bounds()
        return lower.min(axis=0), upper.max(axis=0)


def linear(hue: float, saturation: float, value: float) -> RGB:
    """The linear colour that displays, at gamma 2, as this hue, saturation and value."""
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return r * r, g * g, b * b


class Style:
    """The taste of one room: draws sizes and materials, each with a seed of its own."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.hue = float(rng.uniform())
        self._wood = (float(rng.uniform(0.04, 0.1)), float(rng.uniform(0.3, 0.65)), float(rng.uniform(0.4, 0.88)))

    def between(self, low: float, high: float) -> float:
        """A number drawn evenly."""
        return float(self.rng.uniform(low, high))

    def some(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def material(self, pattern: Pattern, color: RGB, second: RGB, scale_m: float) -> Material:
        """A material with a seed of its own."""
        return Material(pattern, color, second, scale_m, int(self.rng.integers(1 << 24)) * 8)

    def wood(self) -> Material:
        """Boards in the wood of this room."""
        h, s, v = self._wood
        v = min(0.95, v * self.between(0.9, 1.1))
        return self.material(Pattern.PLANKS, linear(h, s, v), linear(h, s, 0.62 * v), self.between(0.07, 0.16))

    def paint(self, value: float | None = None) -> Material:
        """A painted surface of any hue; a pale tint where `value` is given."""
        h, v = self.between(0, 1), value or self.between(0.35, 0.92)
        s = self.between(0.05, 0.15 if value else 0.5)
        return self.material(Pattern.PLASTER, linear(h, s, v), linear(h + 0.05, s, 0.8 * v), self.between(0.1, 0.4))

    def metal(self) -> Material:
        """Grey metal."""
        v = self.between(0.2, 0.75)
        return self.material(Pattern.PLASTER, linear(0.6, 0.06, v), linear(0.6, 0.06, 0.8 * v), 0.08)

    def fabric(self) -> Material:
        """Upholstery: plaid, striped, printed or plain."""
        pattern = (Pattern.PLAID, Pattern.STRIPES, Pattern.MOTIFS, Pattern.TERRAZZO, Pattern.PLASTER)[self.some(0, 4)]
        h, v = self.hue + self.between(-0.3, 0.3), self.between(0.35, 0.9)
        other = linear(h + self.between(0.1, 0.5), self.between(0.2, 0.7), v * self.between(0.45, 0.8))
        return self.material(pattern, linear(h, self.between(0.1, 0.6), v), other, self.between(0.07, 0.2))
