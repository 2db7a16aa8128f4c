"""The floor plan of a synthetic scene: rectangular rooms joined by doorways, and the boxes that walls are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hatch_data.geometry import Array
from hatch_data.scans.rooms.pieces import Part, Style, linear
from hatch_data.scans.rooms.textures import Material, Pattern

#: Each room has walls of its own, this thick; two rooms meet back to back.
WALL_M = 0.08
#: Where a person stands before going through a door, measured from the wall.
APPROACH_M = 0.5
#: The width of the casing around a door, and how far it stands out from the wall.
CASING_M, CASING_DEPTH_M = 0.07, 0.015
#: Casings stand out into the opening a little: no two visible faces lie in one plane.
LIP_M = 0.004
#: Whole side walls, seen from inside: 0 south, 1 east, 2 north, 3 west; `side * 90` degrees turns +y inwards.
SIDES = range(4)


@dataclass(frozen=True)
class Doorway:
    """An opening in a wall: its middle in the wall's own x, width and height in metres, the room behind.

    A wall has one at most.
    """

    side: int
    along: float
    width: float
    height: float
    other: int


@dataclass
class Room:
    """Inner floor from `lower` (2,) to `upper` (2,), height in metres, and the doorways."""

    lower: Array
    upper: Array
    height: float
    doors: list[Doorway] = field(default_factory=list)

    def wall(self, side: int) -> tuple[Array, float, float]:
        """A wall's frame: the middle of its foot (2,), the yaw that turns +y inwards, and its length in metres."""
        middle, size = (self.lower + self.upper) / 2, self.upper - self.lower
        foot = middle.copy()
        axis = 1 - side % 2
        foot[axis] = self.upper[axis] if side in (1, 2) else self.lower[axis]
        return foot, side * np.pi / 2, float(size[1 - axis])

    def from_wall(self, side: int, along: float, away: float) -> Array:
        """The point (2,) at `along` metres in a wall's own x, `away` metres inside the room."""
        foot, yaw, _ = self.wall(side)
        return foot + rotation(yaw) @ (along, away)

    def approach(self, door: Doorway) -> Array:
        """Where one stands before a door, (2,)."""
        return self.from_wall(door.side, door.along, APPROACH_M)


def rotation(yaw: float) -> Array:
    """(2, 2) turn by `yaw` radians; exact for right angles, so that walls meet without gaps."""
    cosine, sine = np.round(np.cos(yaw), 15), np.round(np.sin(yaw), 15)
    return np.array([[cosine, -sine], [sine, cosine]])


def plan(rng: np.random.Generator, rooms: int) -> list[Room]:
    """A tree of `rooms` rooms, mostly a chain: each is put behind a wall of the latest room that has space for it."""
    placed = [_room(rng, np.zeros(2))]
    while len(placed) < rooms:
        for parent in range(len(placed) - 1, -1, -1):
            if _grow(rng, placed, parent):
                break
    return placed


def _room(rng: np.random.Generator, lower: Array) -> Room:
    size = rng.uniform((3.7, 3.5), (5.8, 5.2))
    return Room(lower, lower + size[:: rng.choice((-1, 1))], float(rng.uniform(2.45, 2.95)))


def _grow(rng: np.random.Generator, placed: list[Room], parent: int) -> bool:
    """Try to add a room behind a wall of room `parent`."""
    room = placed[parent]
    taken = {door.side for door in room.doors}
    for side in rng.permutation([side for side in SIDES if side not in taken]).tolist():
        width, height = float(rng.uniform(0.92, 1.05)), float(rng.uniform(2.03, 2.12))
        child = _room(rng, np.zeros(2))
        facing = (side + 2) % 4
        spare = [length / 2 - 0.8 for length in (room.wall(side)[2], child.wall(facing)[2])]
        along, child_along = (float(rng.uniform(-s, s)) for s in spare)
        shift = room.from_wall(side, along, -2 * WALL_M) - child.from_wall(facing, child_along, 0.0)
        child.lower, child.upper = child.lower + shift, child.upper + shift
        others = [other for k, other in enumerate(placed) if k != parent]
        if any(
            ((child.lower - 3 * WALL_M < other.upper) & (other.lower - 3 * WALL_M < child.upper)).all()
            for other in others
        ):
            continue
        room.doors.append(Doorway(side, along, width, height, len(placed)))
        child.doors.append(Doorway(facing, child_along, width, height, parent))
        placed.append(child)
        return True
    return False


def shell(room: Room, number: int, style: Style) -> list[tuple[Part, float, Array]]:
    """Floor, ceiling, walls with openings, door casings and sills: (part, yaw, world offset (3,)) of each.

    Parts keep the coordinates of their wall, so that a pattern runs on behind a door.
    """
    centre = np.array([*(room.lower + room.upper) / 2, 0.0])
    width, depth = (room.upper - room.lower + 2 * WALL_M).tolist()
    floor, ceiling = _floor(style), _ceiling(style)
    parts = [
        (Part(floor, (0, 0, -0.05), (width, depth, 0.1)), 0.0, centre),
        (Part(ceiling, (0, 0, room.height + 0.05), (width, depth, 0.1)), 0.0, centre),
    ]
    wall = _wall(style)
    casing, sill = (style.wood(), style.wood()) if style.some(0, 1) else (style.paint(0.9), style.wood())
    for side in SIDES:
        foot, yaw, length = room.wall(side)
        # North and south walls cover the corners; the others reach halfway into them.
        left, right = -length / 2 - WALL_M / (1 + side % 2), length / 2 + WALL_M / (1 + side % 2)
        material, skirting = wall if style.some(0, 2) else _wall(style), style.wood()
        of_wall: list[Part] = []
        for door in (door for door in room.doors if door.side == side):
            of_wall += _stretch(material, skirting, left, door.along - door.width / 2, room.height, side)
            of_wall += _frame(material, casing, door, room.height)
            if door.other > number:
                # The earlier of two rooms lays the sill, which reaches across both walls and hides the floors' joint.
                of_wall.append(Part(sill, (door.along, -WALL_M, 0.004), (door.width, 2 * WALL_M, 0.008)))
            left = door.along + door.width / 2
        of_wall += _stretch(material, skirting, left, right, room.height, side)
        parts += [(part, yaw, np.array([*foot, 0.0])) for part in of_wall]
    return parts


def _stretch(material: Material, skirting: Material, left: float, right: float, height: float, side: int) -> list[Part]:
    """Full-height wall from `left` to `right`, and its skirting board."""
    x, width, board = (left + right) / 2, right - left, 0.08 + 0.002 * (side % 2)
    return [
        Part(material, (x, -WALL_M / 2, height / 2), (width, WALL_M, height + 0.06)),
        Part(skirting, (x, 0.0, board / 2), (width - 0.06, 2 * CASING_DEPTH_M, board)),
    ]


def _frame(material: Material, casing: Material, door: Doorway, height: float) -> list[Part]:
    """What surrounds an opening: wall above, casing on three sides."""
    x, top = door.along, height + 0.03
    side, lip = door.width / 2 + CASING_M / 2 - LIP_M, 2 * CASING_DEPTH_M
    tall = door.height + 2 * CASING_M
    return [
        Part(material, (x, -WALL_M / 2, (door.height + top) / 2), (door.width, WALL_M, top - door.height)),
        Part(casing, (x, 0.0, door.height + CASING_M / 2 - LIP_M), (door.width, 1.1 * lip, CASING_M)),
        Part(casing, (x - side, 0.0, door.height / 2), (CASING_M, 1.2 * lip, tall)),
        Part(casing, (x + side, 0.0, door.height / 2), (CASING_M, 1.2 * lip, tall)),
    ]


def _wall(style: Style) -> Material:
    """A wall covering of one of five kinds."""
    h, s, v = style.hue + style.between(-0.12, 0.12), style.between(0.05, 0.34), style.between(0.6, 0.95)
    color, dark = (
        linear(h, s, v),
        linear(h + style.between(0, 0.3), style.between(0.2, 0.5), v * style.between(0.55, 0.85)),
    )
    kind = style.some(0, 5)
    if kind == 0:
        return style.material(Pattern.STRIPES, color, dark, style.between(0.16, 0.4))
    if kind == 1:
        red = linear(style.between(0.0, 0.08), style.between(0.25, 0.6), style.between(0.5, 0.8))
        return style.material(Pattern.BRICKS, red, linear(0.1, 0.1, 0.8), style.between(0.22, 0.34))
    if kind in (2, 3):
        return style.material(Pattern.MOTIFS, color, dark, style.between(0.16, 0.36))
    if kind == 4:
        return style.material(Pattern.TILES, color, linear(h, s, 0.88 * v), style.between(0.2, 0.4))
    return style.material(Pattern.PLASTER, color, linear(h + 0.03, s + 0.08, 0.75 * v), style.between(0.3, 0.6))


def _ceiling(style: Style) -> Material:
    """Pale plaster or boards."""
    h, s, v = style.between(0, 1), style.between(0.02, 0.12), style.between(0.8, 0.95)
    pattern, scale = (Pattern.PLANKS, 0.2) if style.some(0, 3) == 0 else (Pattern.PLASTER, 0.5)
    return style.material(pattern, linear(h, s, v), linear(h, s + 0.05, 0.85 * v), scale)


def _floor(style: Style) -> Material:
    """Boards, tiles, terrazzo or carpet."""
    kind = style.some(0, 5)
    h, s, v = style.between(0, 1), style.between(0.05, 0.3), style.between(0.4, 0.85)
    if kind <= 2:
        return style.wood()
    if kind == 3:
        return style.material(
            Pattern.TILES, linear(h, s, v), linear(h, s, v * style.between(0.4, 0.85)), style.between(0.25, 0.5)
        )
    if kind == 4:
        return style.material(
            Pattern.TERRAZZO, linear(h, s, v), linear(h + 0.3, 0.4, 0.6 * v), style.between(0.07, 0.13)
        )
    return style.material(
        Pattern.PLAID, linear(h, s + 0.2, 0.7 * v), linear(h + 0.1, s + 0.2, 0.5 * v), style.between(0.3, 0.5)
    )
