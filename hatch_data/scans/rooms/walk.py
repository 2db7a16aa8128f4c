"""A person's way through a synthetic scene: every room in turn, with stops to look around."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from hatch_data.geometry import Array, rigid, rotation_from_heading_pitch_roll
from hatch_data.scans.rooms.furnished import Furnished

#: The most that changes between neighbouring frames, each alone: more would leave too little overlap.
STEP_M, STEP_HEADING_DEG, STEP_PITCH_DEG = 0.45, 17.0, 12.0
#: Spacing of the samples from which frames are drawn.
SAMPLE_M, SAMPLE_DEG = 0.05, 2.0
Leg = tuple[Array, Array]
UP = np.array([0.0, 0.0, 1.0])


def walk(rng: np.random.Generator, furnished: Furnished, frames: int) -> list[Array]:
    """`world_from_camera` (4, 4) of `frames` frames at eye height.

    Few frames see the beginning of the walk at the largest step, many frames all of it in finer steps.
    """
    per_room = frames / len(furnished.rooms)
    stops = int(np.clip(per_room // 25, 1, 8))
    return camera_path(rng, _legs(rng, furnished, stops), 70.0 if stops == 1 else 140.0, frames)


def camera_path(rng: np.random.Generator, legs: list[Leg], look_deg: float, frames: int | None = None) -> list[Array]:
    """`world_from_camera` (4, 4) along legs, in a world with z up and the floor at 0.

    A leg is a path (n, 2) and the place (2,) towards which the person turns at its end, by up to `look_deg`. Without
    `frames` there are as many as the largest step asks for.
    """
    position, heading = _timeline(rng, legs, look_deg)
    moved = np.linalg.norm(np.diff(position, axis=0), axis=1) / STEP_M
    turned = np.abs(np.diff(heading)) / STEP_HEADING_DEG
    time = np.concatenate([[0.0], np.cumsum(np.hypot(moved, turned))])
    heading = heading + 12.0 * _sway(rng, time, 14.0)
    pitch = np.clip(-7.0 + 15.0 * _sway(rng, time, 13.0), -25.0, 25.0)
    roll = 2.5 * _sway(rng, time, 8.0)
    eye = float(rng.uniform(1.48, 1.62)) + 0.04 * _sway(rng, time, 9.0)
    effort = np.hypot(np.hypot(moved, np.diff(heading) / STEP_HEADING_DEG), np.diff(pitch) / STEP_PITCH_DEG)
    time = np.concatenate([[0.0], np.cumsum(effort)])
    frames = int(np.ceil(time[-1])) + 1 if frames is None else frames
    when = np.linspace(0.0, min(time[-1], frames - 1.0), frames)
    stances = zip(*(np.interp(when, time, column) for column in (*position.T, eye, heading, pitch, roll)), strict=True)
    return [rigid(rotation_from_heading_pitch_roll(h, p, r, UP), (x, y, z)) for x, y, z, h, p, r in stances]


def _sway(rng: np.random.Generator, time: Array, period: float) -> Array:
    """A smooth random function of time about 0, mostly within (-1, 1)."""
    total = np.zeros_like(time)
    for factor in (1.0, 1.73, 0.41):
        total += np.sin(2 * np.pi * (time / (period * factor) + rng.uniform()))
    return total / 2.0


def _tour(furnished: Furnished) -> list[int]:
    """Rooms in the order walked: depth first from the first room, back the same way, ending in the last new one."""
    order, seen = [0], {0}
    path = [0]
    while len(seen) < len(furnished.rooms):
        onward = [door.other for door in furnished.rooms[path[-1]].doors if door.other not in seen]
        if onward:
            path.append(onward[0])
            seen.add(onward[0])
        else:
            path.pop()
        order.append(path[-1])
    return order


def _legs(rng: np.random.Generator, furnished: Furnished, stops: int) -> list[Leg]:
    """Paths (n, 2) from stop to stop, each with the middle (2,) of the room it ends in."""
    order = _tour(furnished)
    seen: set[int] = set()
    legs: list[Leg] = []
    current: list[Array] = []
    for step, number in enumerate(order):
        room, free = furnished.rooms[number], furnished.free[number]
        middle = (room.lower + room.upper) / 2
        doors = {door.other: room.approach(door) for door in room.doors}
        keep = np.array([*doors.values()] or [middle])
        spots: list[Array] = []
        for _ in range(0 if number in seen else stops + (step == 0)):
            spots.append(free.spot(rng, spots, keep))
        seen.add(number)
        waypoints = [*([doors[order[step - 1]]] if step else []), *spots]
        leaving = doors[order[step + 1]] if step + 1 < len(order) else None
        if leaving is not None:
            waypoints.append(leaving)
        for k, path in enumerate(free.routes(waypoints)):
            current.append(path)
            # A leg ends where its goal is a stop, not a door.
            if leaving is None or k + 1 < len(waypoints) - 1:
                legs.append((np.concatenate(current), middle))
                current = []
    return legs


def _timeline(rng: np.random.Generator, legs: list[Leg], look_deg: float) -> tuple[Array, Array]:
    """Samples of the walk: position (n, 2) and heading (n,) in degrees, counter-clockwise from `horizontal_axes`.

    At each stop the person turns by up to `look_deg`, towards where there is most to see, before going on.
    """
    positions, headings = [], []
    last: float | None = None
    for leg, middle in legs:
        path = _resample(leg)
        tangent = gaussian_filter1d(np.gradient(path, axis=0), 8.0, axis=0, mode="nearest")
        # `horizontal_axes((0, 0, 1))` are (0, -1, 0) and (1, 0, 0): headings count from -y.
        travel = np.degrees(np.unwrap(np.arctan2(tangent[:, 0], -tangent[:, 1])))
        if last is not None:
            travel += 360.0 * np.round((last - travel[0]) / 360.0)
            turning = _ramp(last, float(travel[0]))
            positions.append(np.repeat(path[:1], len(turning), axis=0))
            headings.append(turning)
        positions.append(path)
        headings.append(travel)
        inwards = np.degrees(np.arctan2(middle[0] - path[-1, 0], path[-1, 1] - middle[1]))
        side = 1.0 if (inwards - travel[-1]) % 360.0 < 180.0 else -1.0
        last = float(travel[-1] + side * rng.uniform(0.5, 1.0) * look_deg)
        turning = _ramp(float(travel[-1]), last)
        positions.append(np.repeat(path[-1:], len(turning), axis=0))
        headings.append(turning)
    position, heading = np.concatenate(positions), np.concatenate(headings)
    return position, gaussian_filter1d(heading, 4.0, mode="nearest")


def _ramp(a: float, b: float) -> Array:
    """Headings from `a` to `b`."""
    return np.linspace(a, b, 2 + int(abs(b - a) / SAMPLE_DEG))


def _resample(path: Array) -> Array:
    """The path in even steps of about `SAMPLE_M`."""
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    even = np.linspace(0.0, length[-1], 2 + int(length[-1] / SAMPLE_M))
    return np.stack([np.interp(even, length, path[:, k]) for k in range(2)], axis=1)
