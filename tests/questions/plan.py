"""Plain geometry in a world whose z is up: what checkers of questions about cameras need, apart from the package's own.

Angles are in degrees, counter-clockwise from above.
"""

from __future__ import annotations

import re
from math import atan2, cos, degrees, hypot, radians, sin

import numpy as np

NAMES = ("front", "front-left", "left", "back-left", "back", "back-right", "right", "front-right")


def orientation(pose: np.ndarray) -> tuple[float, float, float]:
    """Heading, pitch and roll: roll counter-clockwise as the observer sees it."""
    right, down, forward = pose[:3, :3].T
    heading = degrees(atan2(forward[1], forward[0]))
    return heading, degrees(np.arcsin(forward[2])), degrees(atan2(right[2], -down[2]))


def wrapped(angle: float) -> float:
    """The same angle in [-180, 180)."""
    return (angle + 180) % 360 - 180


def bearing(pose: np.ndarray, point: np.ndarray) -> tuple[float, float]:
    """At which angle to the left, and how far in plan, a point lies for a camera."""
    east, north = point[:2] - pose[:2, 3]
    return wrapped(degrees(atan2(north, east)) - orientation(pose)[0]), hypot(east, north)


def reckon(said: str) -> tuple[float, ...]:
    """x, y, z, heading, pitch and roll of a camera that began at 0, heading along x, and did what is said."""
    x, y, z, heading, pitch, roll = (0.0,) * 6
    for verb, way, number in re.findall(r"(move|turn|roll)_(\w+) ([\d.]+)(?:m|deg)", said):
        value = float(number) * (-1 if way in ("backward", "right", "down") else 1)
        if verb == "move" and way in ("up", "down"):
            z += value
        elif verb == "move":
            aside = 90 if way in ("left", "right") else 0
            x += value * cos(radians(heading + aside))
            y += value * sin(radians(heading + aside))
        elif verb == "roll":
            roll += value
        elif way in ("up", "down"):
            pitch += value
        else:
            heading += value
    return x, y, z, heading, pitch, roll


def misses(said: str, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """How far what is said, done from one pose, ends from another: the greatest of forward, left and up in metres, and
    the greatest of heading, pitch and roll in degrees."""
    end = reckon(said)
    start, goal = orientation(first), orientation(second)
    c, s = cos(radians(start[0])), sin(radians(start[0]))
    moved = second[:3, 3] - first[:3, 3]
    place = np.append(np.array([[c, s], [-s, c]]) @ moved[:2], moved[2])
    turned = [abs(wrapped(b - a - told)) for told, a, b in zip(end[3:], start, goal, strict=True)]
    return float(np.abs(place - end[:3]).max()), max(turned)


def images(text: str) -> list[int]:
    """The images that a text names, counted from 0, in the order in which they stand there."""
    named = re.findall(r"[Ii]mages? (\d(?:(?:, | and )\d)*)", text)
    return [int(number) - 1 for number in re.findall(r"\d", " ".join(named))]
