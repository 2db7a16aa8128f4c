"""Directions about the vertical, in the gravity-levelled heading frame of a view."""

from __future__ import annotations

from math import atan2, degrees, hypot

from hatch_data.group import ViewGroup
from hatch_data.motion import Motion, wrap_degrees
from hatch_data.questions import Rejection

#: Directions around a camera, every 45 degrees to the left.
DIRECTIONS = ("front", "front-left", "left", "back-left", "back", "back-right", "right", "front-right")
LEAST_DISTANCE_M = 0.3
#: The true bearing stays this far from the border between two directions.
MARGIN_DEG = 7.5
#: Above this slope (rise over run) "left" or "front" is no fair answer.
GREATEST_SLOPE = 1.0
#: A view that looks up or down more steeply than this has no heading that one sees in its image.
STEEP_DEG = 60.0


def direction(motion: Motion) -> str | Rejection:
    """The direction in which a motion leads, one of eight.

    Rejected: `too_near` (under 0.3 m), `mostly_vertical`, `on_a_border` (within 7.5 degrees of the next direction).
    """
    distance = hypot(motion.forward_m, motion.left_m)
    if distance < LEAST_DISTANCE_M:
        return Rejection("too_near")
    if abs(motion.up_m) > GREATEST_SLOPE * distance:
        return Rejection("mostly_vertical")
    bearing = bearing_deg(motion) % 360
    nearest = round(bearing / 45)
    if abs(bearing - 45 * nearest) > 22.5 - MARGIN_DEG:
        return Rejection("on_a_border")
    return DIRECTIONS[nearest % 8]


def bearing_deg(motion: Motion) -> float:
    """Angle to the left, in (-180, 180], at which a motion leads away."""
    return wrap_degrees(degrees(atan2(motion.left_m, motion.forward_m)))


def looks_steeply(group: ViewGroup, *views: int) -> bool:
    """Whether any of the views looks so far up or down that its heading is not seen."""
    return any(abs(group.stance(k).pitch_deg) > STEEP_DEG for k in views)
