"""The cameras of a row from above, levelled against `up`, and the route that the actions take."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import atan2, cos, degrees, hypot, radians, sin

from matplotlib.axes import Axes
from matplotlib.patches import Arc, FancyArrowPatch, Wedge
from matplotlib.patheffects import withStroke

from hatch_data.actions import Actions, execute, parse_text
from hatch_data.motion import Motion, compose, motion_between, wrap_degrees
from hatch_data.shards import ActionLabel, Row

#: Okabe and Ito's colours, which the colour-blind can tell apart.
CAMERA_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195", "#767676")
ROUTE_COLOR = "#111111"
#: Radius of the arc of a turn, as a share of the length of a view cone.
_ARC = 0.42
#: The sketch shows at least this much, so that cameras in one place do not blow up to noise.
_LEAST_SPAN_M = 0.8


@dataclass(frozen=True)
class Stop:
    """A place and heading on the plan of camera 1: metres to the right and ahead, degrees counter-clockwise."""

    right_m: float
    ahead_m: float
    heading_deg: float

    @classmethod
    def of(cls, motion: Motion) -> Stop:
        return cls(-motion.left_m, motion.forward_m, motion.yaw_deg)

    @property
    def at(self) -> tuple[float, float]:
        return self.right_m, self.ahead_m

    def ahead(self, distance_m: float, turned_deg: float = 0.0) -> tuple[float, float]:
        """The point at a distance in the direction of the heading, or of one turned to the left of it."""
        angle = radians(self.heading_deg + turned_deg)
        return self.right_m - distance_m * sin(angle), self.ahead_m + distance_m * cos(angle)


def camera_color(number: int) -> str:
    """The colour in which image `number` and its camera are shown."""
    return CAMERA_COLORS[number % len(CAMERA_COLORS)]


def cameras(row: Row) -> list[Motion]:
    """The motion from the row's first camera to each of its cameras, exact."""
    return [motion_between(row.world_from_camera[0], pose, row.up) for pose in row.world_from_camera]


def routed(row: Row) -> list[ActionLabel]:
    """The action labels that the sketch walks: from each image to the next, or else the first label."""
    return [label for label in row.actions if label.target == label.source + 1] or row.actions[:1]


def route(start: Motion, actions: Actions) -> list[Stop]:
    """The stops of the actions, done one after the other from `start`; the first is `start` itself."""
    return [Stop.of(compose(start, execute(actions[:n]))) for n in range(len(actions) + 1)]


def side_angles(row: Row, image: int) -> tuple[float, float]:
    """Degrees from the optical axis to the left and to the right image edge: the horizontal field of view."""
    width = row.image_sizes[image][1]
    fx, _, cx, _ = row.intrinsics[image]
    return degrees(atan2(cx + 0.5, fx)), degrees(atan2(width - 0.5 - cx, fx))


def draw_sketch(axes: Axes, row: Row) -> None:
    """Draw the plan into `axes`: camera 1 at the origin looking up the page, axes in metres."""
    motions = cameras(row)
    stops = [Stop.of(motion) for motion in motions]
    routes = [route(motions[label.source], parse_text(label.text, label.vocabulary)) for label in routed(row)]
    points = [stop.at for stop in stops] + [stop.at for walked in routes for stop in walked]
    span = max(_LEAST_SPAN_M, *(hypot(x - u, y - v) for x, y in points for u, v in points))
    reach = 0.6 * span
    for number, stop in enumerate(stops):
        _draw_camera(axes, stop, number, reach, side_angles(row, number))
        points += [stop.ahead(reach, turn) for turn in (-25, 0, 25)] + [stop.ahead(-0.25 * reach)]
    for walked in routes:
        points += _draw_route(axes, walked, reach)
    _frame(axes, points)


def _draw_camera(axes: Axes, stop: Stop, number: int, reach: float, sides: tuple[float, float]) -> None:
    color = camera_color(number)
    ahead = stop.heading_deg + 90
    axes.add_patch(
        Wedge(stop.at, reach, ahead - sides[1], ahead + sides[0], facecolor=color + "26", edgecolor=color, linewidth=1)
    )
    axes.plot(*zip(stop.at, stop.ahead(reach), strict=True), color=color, linewidth=0.8, linestyle=(0, (6, 4)))
    axes.plot(*stop.at, marker="o", markersize=9, color=color, markeredgecolor="white", zorder=10)
    behind = stop.ahead(-0.16 * reach, 25 if number % 2 else -25)
    axes.text(
        *behind, str(number + 1), color=color, fontsize=14, fontweight="bold", ha="center", va="center", zorder=10
    )


def _draw_route(axes: Axes, walked: list[Stop], reach: float) -> list[tuple[float, float]]:
    """Moves as lines, turns as arcs where they are made, an arrow for the pose in which it ends; how far arcs reach."""
    halo, reached = [withStroke(linewidth=4, foreground="white")], []
    for before, after in pairwise(walked):
        if before.at != after.at:
            ends = zip(before.at, after.at, strict=True)
            axes.plot(*ends, color=ROUTE_COLOR, linewidth=2, zorder=8, path_effects=halo)
            axes.plot(*after.at, marker="o", markersize=3.5, color=ROUTE_COLOR, zorder=8)
        turn = wrap_degrees(after.heading_deg - before.heading_deg)
        if turn:
            _draw_turn(axes, before, turn, _ARC * reach)
            reached += [before.ahead(_ARC * reach, share * turn) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    end = walked[-1]
    axes.add_patch(
        FancyArrowPatch(
            end.at, end.ahead(0.62 * reach), arrowstyle="-|>", mutation_scale=16, linewidth=2, color=ROUTE_COLOR,
            shrinkA=0, shrinkB=0, zorder=9,
        )
    )  # fmt: skip
    return reached


def _draw_turn(axes: Axes, stop: Stop, turn_deg: float, radius: float) -> None:
    start, end = sorted((stop.heading_deg + 90, stop.heading_deg + 90 + turn_deg))
    axes.add_patch(Arc(stop.at, 2 * radius, 2 * radius, theta1=start, theta2=end, color=ROUTE_COLOR, lw=1.4, zorder=8))
    tip, before_tip = stop.ahead(radius, turn_deg), stop.ahead(radius, 0.92 * turn_deg)
    axes.annotate("", tip, before_tip, arrowprops={"arrowstyle": "-|>", "color": ROUTE_COLOR, "lw": 1.4}, zorder=8)
    axes.plot(*zip(stop.at, stop.ahead(radius), strict=True), color=ROUTE_COLOR, lw=0.8, ls=":", zorder=7)


def _frame(axes: Axes, points: list[tuple[float, float]]) -> None:
    xs, ys = zip(*points, strict=True)
    half = 0.56 * max(max(xs) - min(xs), max(ys) - min(ys))
    x, y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")
    axes.set_xlabel("metres to the right of camera 1")
    axes.set_ylabel("metres ahead of camera 1")
    axes.grid(color="#00000018", linewidth=0.8)
    axes.set_axisbelow(True)


def ending(row: Row, label: ActionLabel) -> str:
    """In words: where the target camera is in height and tilt, and how far from it the actions end."""
    motion = motion_between(row.world_from_camera[label.source], row.world_from_camera[label.target], row.up)
    end = execute(parse_text(label.text, label.vocabulary))
    distance = hypot(end.forward_m - motion.forward_m, end.left_m - motion.left_m, end.up_m - motion.up_m)
    turns = [
        f"heading {abs(wrap_degrees(end.yaw_deg - motion.yaw_deg)):.1f}°",
        f"pitch {abs(end.pitch_deg - motion.pitch_deg):.1f}°",
    ]
    if label.vocabulary == "full":
        turns.append(f"roll {abs(wrap_degrees(end.roll_deg - motion.roll_deg)):.1f}°")
    return (
        f"Camera {label.target + 1} is {_signed(motion.up_m, '{:.2f} m', 'higher', 'lower')}, looks "
        f"{_signed(motion.pitch_deg, '{:.0f}°', 'further up', 'further down')} than camera {label.source + 1}. "
        f"The actions end {distance:.2f} m from it, off by {', '.join(turns)}."
    )


def _signed(value: float, form: str, positive: str, negative: str) -> str:
    return f"{form.format(abs(value))} {positive if value >= 0 else negative}"
