"""Furnished rooms: what stands where, as boxes to render, named instances, lamps, and floor left to walk on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hatch_data.geometry import Array, rigid
from hatch_data.scans.rooms import furniture
from hatch_data.scans.rooms.free_space import Footprint, FreeSpace
from hatch_data.scans.rooms.furniture import Maker
from hatch_data.scans.rooms.pieces import Part, Piece, Style
from hatch_data.scans.rooms.plan import CASING_M, Doorway, Room, plan, rotation, shell
from hatch_data.scans.rooms.raycast import Boxes, Index
from hatch_data.scans.rooms.textures import Material, Pattern, surface_table
from hatch_data.scene import Instance

#: Share of a room's floor on which one can stand with clearance, below which no more furniture comes in.
FREE_SHARE = 0.14
#: Furniture taller than this does not stand before windows and pictures.
TALL_M = 0.8


@dataclass
class Furnished:
    """All of a scene: rooms, their free floor, boxes with materials, instances.

    `instance` and `room` (boxes,) number each box's instance (-1: walls, floors) and room. `lights` (rooms, 14) and
    `surfaces` (boxes, 9), `origins` (boxes, 3) are what `textures.shade` takes.
    """

    rooms: list[Room]
    free: list[FreeSpace]
    instances: list[Instance]
    boxes: Boxes
    instance: Index
    room: Index
    surfaces: Array
    origins: Array
    lights: Array


@dataclass
class _Builder:
    """Boxes and instances gathered so far."""

    parts: list[Part] = field(default_factory=list)
    centers: list[Array] = field(default_factory=list)
    yaws: list[float] = field(default_factory=list)
    instance: list[int] = field(default_factory=list)
    room: list[int] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)

    def put(self, part: Part, position: Array, yaw: float, room: int, instance: int = -1) -> None:
        """Add one box whose part frame lies at `position` (3,), turned by `yaw`."""
        turned = rotation(yaw) @ np.array(part.center[:2])
        self.centers.append(position + np.array([*turned, part.center[2]]))
        self.yaws.append(yaw + part.yaw)
        self.parts.append(part)
        self.room.append(room)
        self.instance.append(instance)

    def put_piece(self, piece: Piece, position: Array, yaw: float, room: int) -> None:
        """Add a piece and its instance, whose box is the piece's bounds in its own axes."""
        for part in piece.parts:
            self.put(part, position, yaw, room, len(self.instances))
        lower, upper = piece.bounds()
        turn = np.eye(3)
        turn[:2, :2] = rotation(yaw)
        name = f"{piece.label.replace(' ', '-')}-{len(self.instances):03d}"
        world_from_box = rigid(turn, position + turn @ (lower + upper) / 2)
        self.instances.append(Instance(name, piece.label, world_from_box, upper - lower))


def furnish(rng: np.random.Generator, rooms: int) -> Furnished:
    """Make `rooms` furnished rooms."""
    placed = plan(rng, rooms)
    builder, free, lights = _Builder(), [], []
    kinds: list[str] = []
    while len(kinds) < rooms:
        kinds += rng.permutation(list(furniture.KINDS)).tolist()
    for number, room in enumerate(placed):
        style = Style(rng)
        for part, yaw, offset in shell(room, number, style):
            builder.put(part, offset, yaw, number)
        furnisher = _Furnisher(style, room, number, builder)
        lights.append(furnisher.hang_lamp())
        furnisher.fill(*furniture.KINDS[kinds[number]])
        free.append(furnisher.free)
    half = np.array([part.size for part in builder.parts]) / 2
    turn = np.array([rotation(yaw)[:, 0] for yaw in builder.yaws])
    return Furnished(
        placed,
        free,
        builder.instances,
        Boxes(np.array(builder.centers), half, turn),
        np.array(builder.instance),
        np.array(builder.room),
        surface_table([part.material for part in builder.parts]),
        np.array([part.center for part in builder.parts], dtype=np.float64),
        np.array(lights),
    )


class _Furnisher:
    """Fills one room."""

    def __init__(self, style: Style, room: Room, number: int, builder: _Builder):
        self.style, self.room, self.number, self.builder = style, room, number, builder
        self.free = FreeSpace(room.lower, room.upper)
        self.keep = np.array([room.approach(door) for door in room.doors] or [(room.lower + room.upper) / 2])
        self.barred = [self._before(door) for door in room.doors]
        # Stretches of each wall (in its own x) that are spoken for: doors, windows, pictures, tall furniture.
        self.used: list[list[tuple[float, float]]] = [[] for _ in range(4)]
        for door in room.doors:
            reach = door.width / 2 + CASING_M + 0.05
            self.used[door.side].append((door.along - reach, door.along + reach))

    def _before(self, door: Doorway) -> Footprint:
        """The floor before a door that stays empty."""
        yaw = self.room.wall(door.side)[1]
        return Footprint(
            self.room.from_wall(door.side, door.along, 0.525), np.array([door.width / 2 + 0.1, 0.525]), yaw
        )

    def hang_lamp(self) -> Array:
        """Hang a lamp from the ceiling; its row of `Furnished.lights`."""
        style, room = self.style, self.room
        x, y = (room.lower + room.upper) / 2 + (style.between(-0.4, 0.4), style.between(-0.4, 0.4))
        glow = Material(Pattern.GLOW, (1.0, 0.95, 0.8), (1.0, 1.0, 1.0), 1.0, 0)
        lamp, width = Piece("ceiling lamp"), style.between(0.25, 0.5)
        drop = style.between(0.08, max(0.1, room.height - 2.12))
        lamp.add(glow, 0, 0, 0.0, width, width, 0.06)
        lamp.add(style.metal(), 0, 0, 0.06, width + 0.06, width + 0.06, 0.03)
        if drop > 0.1:
            lamp.add(style.metal(), 0, 0, 0.09, 0.025, 0.025, drop - 0.09)
        bottom = room.height - lamp.bounds()[1][2]
        self.builder.put_piece(lamp, np.array([x, y, bottom]), style.between(0, 1.5), self.number)
        warm, area = style.between(0.0, 0.22), float(np.prod(room.upper - room.lower))
        power, ambient = style.between(1.1, 1.5) * (area / 20) ** 0.5, style.between(0.26, 0.36)
        bounds = (*room.lower, 0.0, *room.upper, room.height)
        return np.array([x, y, bottom - 0.05, power, ambient, *bounds, 1.0 + warm / 2, 1.0, 1.0 - warm])

    def fill(self, along_walls: tuple[Maker, ...], in_middle: tuple[Maker, ...]) -> None:
        """Windows, a rug, furniture along the walls and in the middle, then pictures where walls are bare."""
        style = self.style
        for _ in range(style.some(1, 2)):
            self._mount(furniture.window(style), style.between(0.85, 1.0))
        if style.some(0, 2):
            self._lay_rug()
        self._stand_against_wall(along_walls[0], attempts=40)
        for maker in in_middle:
            self._stand_free(maker)
        anything = furniture.ANYWHERE
        for maker in (*along_walls[1:], *(anything[style.some(0, len(anything) - 1)] for _ in range(style.some(2, 4)))):
            self._stand_against_wall(maker)
        for _ in range(style.some(4, 7)):
            self._mount(furniture.picture(style), style.between(1.25, 1.55))

    def _mount(self, piece: Piece, height: float, attempts: int = 12) -> None:
        """Fix a piece to a wall at `height` where nothing tall stands."""
        lower, upper = piece.bounds()
        for _ in range(attempts):
            side = self.style.some(0, 3)
            spare = self.room.wall(side)[2] / 2 - upper[0] - 0.15
            along = self.style.between(-spare, spare)
            left, right = along + lower[0] - 0.08, along + upper[0] + 0.08
            if self._is_bare(side, left, right):
                self.used[side].append((left, right))
                position = np.array([*self.room.from_wall(side, along, 0.0), height])
                self.builder.put_piece(piece, position, self.room.wall(side)[1], self.number)
                return

    def _is_bare(self, side: int, left: float, right: float) -> bool:
        """Whether nothing is on this stretch of wall yet."""
        return not any(left < d and c < right for c, d in self.used[side])

    def _lay_rug(self) -> None:
        piece = furniture.rug(self.style)
        reach = np.linalg.norm(piece.bounds()[1][:2])
        low, high = self.room.lower + reach + 0.1, self.room.upper - reach - 0.1
        if (low < high).all():
            x, y = self.style.rng.uniform(low, high)
            self.builder.put_piece(piece, np.array([x, y, 0.0]), self.style.between(-0.3, 0.3), self.number)

    def _stand_against_wall(self, maker: Maker, attempts: int = 14) -> None:
        """Put a piece with its back to a wall, not quite straight."""
        piece, style = maker(self.style), self.style
        lower, upper = piece.bounds()
        tall = upper[2] > TALL_M
        for _ in range(attempts):
            side, askew = style.some(0, 3), style.between(-0.04, 0.04)
            _, yaw, length = self.room.wall(side)
            away = 0.03 - lower[1] + abs(np.sin(askew)) * (upper[0] - lower[0]) / 2
            spare = (length - (upper[0] - lower[0])) / 2 - 0.06
            if spare <= 0:
                continue
            along = style.between(-spare, spare)
            left, right = along + lower[0], along + upper[0]
            if tall and not self._is_bare(side, left, right):
                continue
            if self._stand(piece, self.room.from_wall(side, along, away), yaw + askew):
                if tall and self._is_bare(side, left - 0.03, right + 0.03):
                    self.used[side].append((left - 0.03, right + 0.03))
                if piece.label == "desk":
                    self._draw_up_chair(self.room.from_wall(side, along, away + upper[1] + 0.36), yaw + np.pi)
                return

    def _stand_free(self, maker: Maker, attempts: int = 25) -> None:
        """Put a piece in the middle of the room, turned anyhow; chairs around a table."""
        piece, style = maker(self.style), self.style
        _, upper = piece.bounds()
        for _ in range(attempts):
            middle = style.rng.uniform(self.room.lower + 0.9, self.room.upper - 0.9)
            yaw = style.some(0, 1) * np.pi / 2 + style.between(-0.5, 0.5)
            if not self._stand(piece, middle, yaw):
                continue
            if piece.label == "table":
                for side in style.rng.permutation(4).tolist():
                    out = upper[1 - side % 2] + 0.3
                    offset = rotation(yaw + side * np.pi / 2) @ (style.between(-0.1, 0.1), -out)
                    self._draw_up_chair(middle + offset, yaw + side * np.pi / 2)
            return

    def _draw_up_chair(self, middle: Array, yaw: float) -> None:
        """Put a chair there if it fits, a little askew."""
        self._stand(furniture.chair(self.style), middle, yaw + self.style.between(-0.35, 0.35))

    def _stand(self, piece: Piece, position: Array, yaw: float) -> bool:
        """Put a piece on the floor if it fits and people can still get about; small things onto its top."""
        lower, upper = piece.bounds()
        half = (upper - lower)[:2] / 2
        center = position + rotation(yaw) @ ((lower + upper)[:2] / 2)
        footprint = Footprint(center, half, yaw)
        corners = footprint.corners()
        if (corners < self.room.lower + 0.02).any() or (corners > self.room.upper - 0.02).any():
            return False
        if any(footprint.overlaps(other, 0.03) for other in self.free.obstacles):
            return False
        if any(footprint.overlaps(other, 0.0) for other in self.barred):
            return False
        if not self.free.try_add(footprint, self.keep, FREE_SHARE):
            return False
        self.builder.put_piece(piece, np.array([*position, 0.0]), yaw, self.number)
        if piece.shelf:
            self._set_on_top(piece, position, yaw)
        return True

    def _set_on_top(self, piece: Piece, position: Array, yaw: float) -> None:
        """Put one to three small things onto a top."""
        style = self.style
        width, depth, height = piece.shelf or (0.0, 0.0, 0.0)
        makers = furniture.SMALL.get(piece.label, furniture.SMALL_ANYWHERE)
        taken: list[Footprint] = []
        for maker in (makers[0], *(makers[style.some(1, len(makers) - 1)] for _ in range(style.some(0, 2)))):
            small = maker(style)
            lower, upper = small.bounds()
            spare = (np.array([width, depth]) - 2 * np.maximum(upper, -lower)[:2]) / 2 - 0.03
            if (spare < 0).any():
                continue
            offset = style.rng.uniform(-spare, spare)
            footprint = Footprint(offset + (lower + upper)[:2] / 2, (upper - lower)[:2] / 2, 0.0)
            if any(footprint.overlaps(other, 0.01) for other in taken):
                continue
            taken.append(footprint)
            place = np.array([*(position + rotation(yaw) @ offset), height])
            self.builder.put_piece(small, place, yaw, self.number)
