"""Furniture made of boxes: each maker returns a `Piece` in its own frame, front towards +y, standing on z = 0."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from hatch_data.scans.rooms.pieces import Piece, Style, linear
from hatch_data.scans.rooms.textures import Material, Pattern


def table(style: Style, low: bool = False) -> Piece:
    """A dining table, or a low one for before a sofa."""
    if low:
        w, d, h = style.between(0.8, 1.2), style.between(0.5, 0.7), style.between(0.38, 0.48)
    else:
        w, d, h = style.between(1.2, 1.7), style.between(0.75, 0.95), style.between(0.70, 0.77)
    piece = Piece("coffee table" if low else "table", shelf=(w, d, h))
    wood = style.wood()
    piece.legs(wood if style.some(0, 1) else style.paint(), w - 0.06, d - 0.06, h - 0.04, style.between(0.05, 0.09))
    piece.add(style.wood(), 0, 0, h - 0.04, w, d, 0.04)
    return piece


def chair(style: Style) -> Piece:
    """A chair with a back."""
    w, seat, h = style.between(0.40, 0.48), style.between(0.43, 0.48), style.between(0.82, 1.0)
    piece, wood = Piece("chair"), style.wood() if style.some(0, 2) else style.paint()
    piece.legs(wood, w, w, seat - 0.05, 0.045)
    piece.add(style.fabric(), 0, 0, seat - 0.05, w, w, 0.05)
    piece.add(wood, 0, 0.02 - w / 2, seat, w, 0.04, h - seat)
    return piece


def stool(style: Style) -> Piece:
    """A stool without a back."""
    w, h = style.between(0.32, 0.42), style.between(0.42, 0.62)
    piece = Piece("stool")
    piece.legs(style.wood(), w - 0.04, w - 0.04, h - 0.06, 0.045)
    piece.add(style.fabric(), 0, 0, h - 0.06, w, w, 0.06)
    return piece


def sofa(style: Style, seats: int | None = None) -> Piece:
    """A sofa for two or three, or an armchair for one."""
    seats = seats or style.some(2, 3)
    w, d, h = 0.62 * seats + 0.36, style.between(0.8, 0.92), style.between(0.72, 0.9)
    piece, cloth = Piece("armchair" if seats == 1 else "sofa"), style.fabric()
    piece.add(style.wood(), 0, 0, 0, w - 0.1, d - 0.1, 0.08)
    piece.add(cloth, 0, 0, 0.08, w, d, 0.22)
    piece.add(cloth, 0, 0.1 - d / 2, 0.3, w, 0.2, h - 0.3)
    for side in (-1, 1):
        piece.add(cloth, side * (w / 2 - 0.08), 0.1, 0.3, 0.16, d - 0.2, 0.28)
    for k in range(seats):
        x = 0.62 * k - 0.31 * (seats - 1)
        cushion = style.fabric()
        piece.add(cushion, x, 0.1, 0.3, 0.6, d - 0.22, 0.13)
        if style.some(0, 2):
            piece.add(style.fabric(), x + style.between(-0.06, 0.06), 0.28 - d / 2, 0.43, 0.4, 0.13, 0.34)
    return piece


def bed(style: Style) -> Piece:
    """A bed, its headboard at the back."""
    w, d = style.between(0.95, 1.65), style.between(1.95, 2.1)
    piece, wood = Piece("bed"), style.wood()
    piece.add(wood, 0, 0, 0.0, w, d, 0.28)
    piece.add(wood, 0, 0.03 - d / 2, 0.28, w, 0.06, style.between(0.45, 0.85))
    piece.add(style.paint(0.9), 0, 0.04, 0.28, w - 0.06, d - 0.12, 0.2)
    piece.add(style.fabric(), 0, 0.3, 0.48, w - 0.03, d - 0.7, 0.05)
    for x in (-1, 1) if w > 1.25 else (0,):
        piece.add(style.fabric(), x * w / 4, 0.32 - d / 2, 0.48, 0.52, 0.36, 0.13)
    return piece


def shelf(style: Style) -> Piece:
    """A bookcase with rows of books and a few other things."""
    w, d, h = style.between(0.7, 1.3), style.between(0.26, 0.36), style.between(1.3, 2.05)
    piece, wood = Piece("bookshelf"), style.wood()
    boards = style.some(4, 5)
    gap = (h - 0.03) / (boards - 1)
    for x in (-1, 1):
        piece.add(wood, x * (w / 2 - 0.015), 0, 0, 0.03, d, h)
    piece.add(style.paint(), 0, 0.01 - d / 2, 0, w - 0.06, 0.02, h)
    for k in range(boards):
        piece.add(wood, 0, 0.01, k * gap, w - 0.06, d - 0.02, 0.03)
        if k < boards - 1:
            _fill(style, piece, w - 0.1, d, k * gap + 0.03, gap - 0.03)
    return piece


def _fill(style: Style, piece: Piece, width: float, depth: float, z: float, tall: float) -> None:
    """Books and boxes on one board of a bookcase."""
    x = -width / 2
    while x < width / 2 - 0.12:
        w = min(style.between(0.15, 0.5), width / 2 - x)
        if style.some(0, 3):
            books = style.material(Pattern.BOOKS, (0.5, 0.5, 0.5), (0.1, 0.1, 0.1), style.between(0.025, 0.045))
            piece.add(books, x + w / 2, 0, z, w, depth * 0.65, tall * style.between(0.68, 0.92))
        elif style.some(0, 1):
            w = min(w, 0.25)
            piece.add(style.fabric(), x + w / 2, 0, z, w * 0.8, depth * 0.6, tall * style.between(0.4, 0.75))
        x += w + style.between(0.0, 0.04)


def cupboard(style: Style) -> Piece:
    """A wardrobe with two doors."""
    w, d, h = style.between(0.8, 1.4), style.between(0.45, 0.6), style.between(1.7, 2.1)
    piece = Piece("cupboard")
    piece.add(style.wood() if style.some(0, 1) else style.paint(), 0, -0.01, 0, w, d - 0.02, h)
    for x in (-1, 1):
        door = style.wood() if style.some(0, 1) else style.fabric()
        piece.add(door, x * w / 4, d / 2 - 0.01, 0.08, w / 2 - 0.03, 0.02, h - 0.14)
        piece.add(style.metal(), x * 0.06, d / 2 + 0.01, 0.45 * h, 0.02, 0.02, 0.2)
    return piece


def dresser(style: Style) -> Piece:
    """A chest of drawers."""
    w, d, h = style.between(0.7, 1.2), style.between(0.4, 0.5), style.between(0.75, 1.0)
    piece, front = Piece("dresser", shelf=(w, d, h)), style.wood() if style.some(0, 2) else style.fabric()
    piece.add(style.wood(), 0, -0.01, 0, w, d - 0.02, h)
    rows = style.some(2, 4)
    tall = (h - 0.1) / rows
    for k in range(rows):
        piece.add(front, 0, d / 2 - 0.01, 0.06 + k * tall, w - 0.06, 0.02, tall - 0.025)
        piece.add(style.metal(), 0, d / 2 + 0.01, 0.06 + (k + 0.5) * tall, 0.14, 0.02, 0.025)
    return piece


def nightstand(style: Style) -> Piece:
    """A small cabinet for beside a bed."""
    w, d, h = style.between(0.4, 0.5), style.between(0.35, 0.42), style.between(0.45, 0.6)
    piece = Piece("nightstand", shelf=(w, d, h))
    piece.add(style.wood(), 0, -0.01, 0, w, d - 0.02, h)
    piece.add(style.paint(), 0, d / 2 - 0.01, 0.3 * h, w - 0.06, 0.02, 0.55 * h)
    return piece


def desk(style: Style) -> Piece:
    """A desk with a drawer unit on one side."""
    w, d, h = style.between(1.1, 1.6), style.between(0.6, 0.75), style.between(0.71, 0.76)
    piece, wood, side = Piece("desk", shelf=(w, d, h)), style.wood(), style.some(0, 1) * 2 - 1
    piece.add(wood, 0, 0, h - 0.035, w, d, 0.035)
    piece.add(wood, side * (w / 2 - 0.02), 0, 0, 0.04, d - 0.04, h - 0.035)
    piece.add(style.paint(), -side * (w / 2 - 0.21), 0, 0, 0.4, d - 0.08, h - 0.035)
    for k in range(3):
        piece.add(style.wood(), -side * (w / 2 - 0.21), d / 2 - 0.035, 0.05 + k * 0.2, 0.36, 0.02, 0.18)
    return piece


def kitchen_counter(style: Style) -> Piece:
    """A run of kitchen units under one worktop, with a sink."""
    units = style.some(2, 3)
    w, d, h = 0.6 * units, 0.6, style.between(0.86, 0.92)
    piece, front = Piece("kitchen counter", shelf=(w * 0.5, d, h)), style.paint() if style.some(0, 1) else style.wood()
    top = style.material(Pattern.TERRAZZO, linear(0.1, 0.1, style.between(0.4, 0.9)), linear(0.1, 0.2, 0.25), 0.05)
    piece.add(style.paint(), 0, -0.02, 0, w, d - 0.06, h - 0.04)
    piece.add(top, 0, 0, h - 0.04, w, d, 0.04)
    for k in range(units):
        x = (k - (units - 1) / 2) * 0.6
        piece.add(front, x, d / 2 - 0.04, 0.1, 0.56, 0.02, h - 0.17)
        piece.add(style.metal(), x, d / 2 - 0.02, h - 0.17, 0.3, 0.02, 0.02)
    piece.add(style.metal(), w / 2 - 0.3, -0.18, h, 0.04, 0.04, 0.28)
    return piece


def fridge(style: Style) -> Piece:
    """A fridge with a freezer below."""
    w, d, h = style.between(0.58, 0.7), style.between(0.58, 0.66), style.between(1.55, 1.95)
    piece, front = Piece("fridge"), style.paint(style.between(0.6, 0.95))
    piece.add(style.metal(), 0, -0.02, 0, w, d - 0.04, h)
    piece.add(front, 0, d / 2 - 0.02, 0.04, w - 0.01, 0.04, 0.34 * h)
    piece.add(front, 0, d / 2 - 0.02, 0.05 + 0.35 * h, w - 0.01, 0.04, 0.64 * h - 0.06)
    for k in range(style.some(1, 4)):
        piece.add(
            _painted(style, Pattern.PICTURE),
            style.between(-0.16, 0.16),
            d / 2 + 0.003,
            h * (0.5 + 0.11 * k),
            0.14,
            0.006,
            0.11,
        )
    return piece


def sideboard(style: Style) -> Piece:
    """A low board; a television may stand on it."""
    w, d, h = style.between(1.2, 1.7), style.between(0.38, 0.45), style.between(0.4, 0.55)
    piece = Piece("sideboard", shelf=(w, d, h))
    piece.add(style.wood(), 0, -0.01, 0, w, d - 0.02, h)
    for x in (-1, 0, 1):
        piece.add(style.wood(), x * w / 3, d / 2 - 0.01, 0.05, w / 3 - 0.03, 0.02, h - 0.09)
    return piece


def floor_lamp(style: Style) -> Piece:
    """A standing lamp."""
    h, r = style.between(1.4, 1.75), style.between(0.3, 0.42)
    piece, metal = Piece("lamp"), style.metal()
    piece.add(metal, 0, 0, 0, 0.28, 0.28, 0.03)
    piece.add(metal, 0, 0, 0.03, 0.03, 0.03, h - 0.33)
    piece.add(style.fabric(), 0, 0, h - 0.3, r, r, 0.3)
    return piece


def plant(style: Style, tall: bool = True) -> Piece:
    """A pot plant: turned boxes of leaves about a stem."""
    pot, h = (style.between(0.26, 0.38), style.between(0.8, 1.6)) if tall else (0.14, style.between(0.3, 0.45))
    piece = Piece("plant")
    base = 0.9 * pot
    piece.add(style.paint() if style.some(0, 1) else style.fabric(), 0, 0, 0, pot, pot, base)
    piece.add(style.wood(), 0, 0, base, 0.12 * pot, 0.12 * pot, 0.6 * (h - base))
    hue, leaves = style.between(0.22, 0.38), style.some(5, 8) if tall else 4
    for k in range(leaves):
        z = base + (h - base) * (0.15 + 0.6 * k / leaves)
        size = pot * style.between(0.7, 1.15) * (1.15 - 0.5 * k / leaves)
        green = style.material(
            Pattern.LEAVES,
            linear(hue, 0.7, style.between(0.2, 0.4)),
            linear(hue - 0.04, 0.6, style.between(0.5, 0.8)),
            0.09,
        )
        x, y = style.between(-0.35, 0.35) * pot, style.between(-0.35, 0.35) * pot
        piece.add(green, x, y, z, size, 0.6 * size, 0.25 * (h - base), yaw=style.between(0, np.pi))
    return piece


def carton(style: Style) -> Piece:
    """One to three cardboard boxes on top of each other."""
    piece, z, w = Piece("box"), 0.0, style.between(0.35, 0.55)
    for _ in range(style.some(1, 3)):
        h = style.between(0.22, 0.36)
        color = linear(0.09, style.between(0.3, 0.5), style.between(0.5, 0.8))
        pattern = (Pattern.PLASTER, Pattern.STRIPES, Pattern.MOTIFS)[style.some(0, 2)]
        side = style.material(pattern, color, linear(style.between(0, 1), 0.5, 0.5), style.between(0.1, 0.25))
        piece.add(side, 0, 0, z, w, 0.8 * w, h, yaw=style.between(-0.15, 0.15))
        z, w = z + h, w * style.between(0.7, 0.95)
    return piece


def trash_bin(style: Style) -> Piece:
    """A waste bin."""
    w, h = style.between(0.24, 0.34), style.between(0.3, 0.6)
    piece = Piece("trash bin")
    piece.add(style.paint(), 0, 0, 0, w, w, h)
    piece.add(style.metal(), 0, 0, h, w + 0.02, w + 0.02, 0.03)
    return piece


def rug(style: Style) -> Piece:
    """A rug, a centimetre thick, with a border."""
    w, d = style.between(1.3, 2.2), style.between(1.0, 1.6)
    piece = Piece("rug")
    piece.add(style.fabric(), 0, 0, 0, w, d, 0.008)
    piece.add(style.fabric(), 0, 0, 0.008, w - 0.24, d - 0.24, 0.006)
    return piece


def _painted(style: Style, pattern: Pattern) -> Material:
    """A surface that fills its face with a scene of its own."""
    return style.material(pattern, (1, 1, 1), (0, 0, 0), 1.0)


def picture(style: Style) -> Piece:
    """A framed painting, back at y = 0."""
    piece, w, h = Piece("picture"), style.between(0.35, 1.0), style.between(0.35, 0.75)
    piece.add(_painted(style, Pattern.PICTURE), 0, 0.0125, 0, w, 0.025, h)
    return piece


def window(style: Style) -> Piece:
    """A window with a sill, back at y = 0."""
    piece, w, h = Piece("window"), style.between(0.8, 1.6), style.between(0.9, 1.2)
    piece.add(_painted(style, Pattern.WINDOW), 0, 0.015, 0.04, w, 0.03, h)
    piece.add(style.paint(0.9), 0, 0.06, 0, w + 0.1, 0.12, 0.04)
    return piece


def monitor(style: Style) -> Piece:
    """A screen on a foot."""
    piece, w, frame = Piece("monitor"), style.between(0.45, 0.6), style.metal()
    piece.add(frame, 0, 0, 0, 0.2, 0.16, 0.015)
    piece.add(frame, 0, -0.02, 0.015, 0.05, 0.03, 0.12)
    piece.add(frame, 0, 0, 0.1, w, 0.03, 0.62 * w)
    piece.add(_painted(style, Pattern.PICTURE), 0, 0.0175, 0.115, w - 0.03, 0.005, 0.62 * w - 0.03)
    return piece


def television(style: Style) -> Piece:
    """A wide screen."""
    piece, w, frame = Piece("tv"), style.between(0.8, 1.15), style.metal()
    piece.add(frame, 0, 0, 0, 0.4, 0.2, 0.02)
    piece.add(frame, 0, 0, 0.02, w, 0.05, 0.57 * w)
    piece.add(_painted(style, Pattern.PICTURE), 0, 0.0275, 0.04, w - 0.04, 0.005, 0.57 * w - 0.04)
    return piece


def vase(style: Style) -> Piece:
    """A vase of two boxes."""
    piece, w, h, glaze = Piece("vase"), style.between(0.1, 0.16), style.between(0.2, 0.36), style.fabric()
    piece.add(glaze, 0, 0, 0, w, w, 0.7 * h, yaw=style.between(0, 1.5))
    piece.add(glaze, 0, 0, 0.7 * h, 0.5 * w, 0.5 * w, 0.3 * h)
    return piece


def books(style: Style) -> Piece:
    """A pile of lying books."""
    piece, z = Piece("books"), 0.0
    for _ in range(style.some(2, 5)):
        h = style.between(0.02, 0.05)
        piece.add(
            style.fabric(), 0, 0, z, style.between(0.2, 0.28), style.between(0.15, 0.2), h, yaw=style.between(-0.3, 0.3)
        )
        z += h
    return piece


Maker = Callable[[Style], Piece]
coffee_table: Maker = partial(table, low=True)
armchair: Maker = partial(sofa, seats=1)
small_plant: Maker = partial(plant, tall=False)

#: What each kind of room holds: (along the walls, in the middle).
KINDS: dict[str, tuple[tuple[Maker, ...], tuple[Maker, ...]]] = {
    "living room": ((sofa, sideboard, shelf, armchair, plant, floor_lamp), (coffee_table,)),
    "bedroom": ((bed, cupboard, nightstand, dresser, floor_lamp, plant), (stool,)),
    "dining room": ((kitchen_counter, fridge, dresser, shelf, trash_bin), (table,)),
    "study": ((desk, shelf, shelf, armchair, trash_bin, floor_lamp), (stool, plant)),
    "store room": ((shelf, cupboard, shelf, carton, carton, dresser), (carton,)),
}
ANYWHERE: tuple[Maker, ...] = (plant, carton, stool, chair, nightstand)
#: What small things lie on tops, by what carries them.
SMALL: dict[str, tuple[Maker, ...]] = {
    "desk": (monitor, books, small_plant, vase),
    "sideboard": (television, vase, books),
    "kitchen counter": (vase, small_plant, books),
    "nightstand": (books, vase, small_plant),
}
SMALL_ANYWHERE: tuple[Maker, ...] = (vase, books, small_plant)
