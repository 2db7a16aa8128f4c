"""Two pictures of a scan: frames carried into other frames, and the way of the camera seen from above."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hatch_data.doctor import Examination
from hatch_data.doctor.conventions import choose_pairs
from hatch_data.doctor.evidence import Model, Pair, spread
from hatch_data.errors import FrameError
from hatch_data.geometry import Array, horizontal_axes, transform
from hatch_data.images import decode
from hatch_data.recipe import ScanSettings
from hatch_data.scans.gravity import up_from_level_cameras
from hatch_data.scene import Frame
from hatch_data.views import View

#: Pairs of frames shown.
PAIRS = 3
_WIDTH_PX = 320
_MISSING = np.array([40, 40, 60], np.uint8)
#: Frames from which the plan is drawn, and heights cut off it: floor and ceiling hide what stands between.
_PLAN_FRAMES, _PLAN_QUANTILES = 40, (0.15, 0.85)


def draw(seen: Examination, folder: Path) -> list[Path]:
    """Write `overlay.png` and `trajectory.png`; their paths."""
    fixed = bool(seen.diagnosis.faults)
    written = []
    for name, figure in (("overlay", _overlay(seen, fixed)), ("trajectory", _trajectory(seen, fixed))):
        path = folder / f"{name}.png"
        temporary = folder / f".{name}.png.tmp"
        figure.savefig(temporary, format="png", dpi=100)
        plt.close(figure)
        temporary.replace(path)
        written.append(path)
    return written


def _overlay(seen: Examination, fixed: bool):
    """Rows of pairs: the target, the source carried into it as read, and with the fixes."""
    pairs = _pairs_to_show(seen)
    columns = 3 if fixed else 2
    tall = seen.views[0].raster.shape[0] / seen.views[0].raster.shape[1]
    figure, axes = plt.subplots(
        len(pairs),
        columns,
        figsize=(4.2 * columns, (4.2 * tall + 0.35) * len(pairs)),
        squeeze=False,
        layout="constrained",
    )
    plain, repaired = ScanSettings(), seen.diagnosis.settings
    for row, (source, target) in zip(axes, pairs, strict=True):
        images = [_color(seen.frames[k]) for k in (source, target)]
        names = [seen.frames[k].id for k in (source, target)]
        shown = [
            (images[1], f"{names[1]}"),
            (_carried(seen, images[0], seen.read, source, target, plain), f"{names[0]} in it, as read"),
        ]
        if fixed:
            shown.append((_carried(seen, images[0], seen.model, source, target, repaired), "with the fixes"))
        for ax, (image, title) in zip(row, shown, strict=True):
            ax.imshow(image)
            ax.set_title(title, fontsize=9)
            ax.set_axis_off()
    return figure


def _pairs_to_show(seen: Examination) -> list[Pair]:
    """Pairs spread over the scan, each turned as far as the pairs that conventions are tried on."""
    kept = [k for k, lost in enumerate(seen.lost) if not lost and not np.isnan(seen.model.poses[k, 0, 0])]
    furthest: dict[int, Pair] = {}
    for pair in choose_pairs(seen.model.poses[kept], PAIRS):
        anchor = min(pair)
        furthest[anchor] = max(furthest.get(anchor, pair), pair, key=max)
    return [(kept[a], kept[b]) for a, b in furthest.values()] or [(kept[0], kept[-1])]


def _carried(
    seen: Examination, color: NDArray[np.uint8], model: Model, source: int, target: int, settings: ScanSettings
):
    """(h, w, 3) the source's colours where its depth puts them in the target, as seen from there."""
    view, other = seen.views[source], seen.views[target]
    rays, depth_m = model.lifted(source, _measured(view, 1))
    there = transform(np.linalg.inv(model.poses[target]) @ model.poses[source], rays * depth_m[:, None])
    k = model.intrinsics[target]
    height = round(_WIDTH_PX * other.raster.shape[0] / other.raster.shape[1])
    canvas = np.tile(_MISSING, (height, _WIDTH_PX, 1))
    front = there[:, 2] > 1e-6
    z = np.where(front, there[:, 2], 1.0)
    shrink = _WIDTH_PX / other.raster.shape[1]
    x = np.floor((k[0] * there[:, 0] / z + k[2] + 0.5) * shrink)
    y = np.floor((k[1] * there[:, 1] / z + k[3] + 0.5) * shrink)
    inside = front & (x >= 0) & (y >= 0) & (x < _WIDTH_PX) & (y < height)
    order = np.flatnonzero(inside)[np.argsort(-z[inside], kind="stable")]
    canvas[y[order].astype(int), x[order].astype(int)] = _sampled(color, rays[order], view, model, source, settings)
    return canvas


def _measured(view: View, step: int) -> Array:
    """(n, 3) columns, rows and metres of the measured depth of every `step`-th row and column."""
    v, u = np.nonzero(view.raster[::step, ::step] > 0)
    return np.stack([u * step, v * step, view.raster[v * step, u * step] * view.metres_per_unit], axis=1)


def _sampled(color: NDArray, rays: Array, view: View, model: Model, frame: int, settings: ScanSettings) -> NDArray:
    """Colours of rays, where the settings say that colour lies."""
    height, width = color.shape[:2]
    scale = width / view.raster.shape[1]
    k, (right, down) = model.intrinsics[frame], settings.color_shift_px
    u = (k[0] * settings.color_zoom * rays[:, 0] + k[2] + 0.5) * scale + right
    v = (k[1] * settings.color_zoom * rays[:, 1] + k[3] + 0.5) * scale + down
    inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
    colors = np.tile(_MISSING, (len(u), 1))
    colors[inside] = color[v[inside].astype(int), u[inside].astype(int)]
    return colors


def _color(frame: Frame) -> NDArray[np.uint8]:
    """Decoded; plain grey where it cannot be."""
    try:
        return np.asarray(decode(frame.read_color(), frame.id))
    except FrameError:
        return np.full((frame.camera.height, frame.camera.width, 3), 128, np.uint8)


def _trajectory(seen: Examination, fixed: bool):
    """From above: surfaces, the way, where the camera looked, and lost poses; as read, and with the fixes."""
    shown = [(seen.read, "as read"), (seen.model, "with the fixes")] if fixed else [(seen.model, "")]
    figure, axes = plt.subplots(1, len(shown), figsize=(6.5 * len(shown), 6.0), squeeze=False, layout="constrained")
    for ax, (model, title) in zip(axes[0], shown, strict=True):
        _plan(ax, seen, model, repaired=model is seen.model)
        ax.set_title(f"{seen.diagnosis.scene}, from above{', ' + title if title else ''}", fontsize=10)
    return figure


def _plan(ax: Axes, seen: Examination, model: Model, repaired: bool) -> None:
    posed = np.flatnonzero(~np.isnan(model.poses[:, 0, 0]))
    poses, lost = model.poses[posed], np.array(seen.lost)[posed]
    up = seen.up if seen.up_is_stated else up_from_level_cameras(poses[:, :3, :3])
    axes = np.stack([*horizontal_axes(up), up])
    chosen = posed[spread(len(posed), _PLAN_FRAMES)]
    clouds = [_cloud(seen.views[k], model, k) for k in chosen if not seen.lost[k]]
    cloud = np.concatenate(clouds) @ axes.T
    low, high = np.quantile(cloud[:, 2], _PLAN_QUANTILES)
    cloud = cloud[(cloud[:, 2] >= low) & (cloud[:, 2] <= high)]
    ax.plot(cloud[:, 0], cloud[:, 1], ",", color="0.6", alpha=0.35)
    way = poses[:, :3, 3] @ axes.T
    ahead = poses[:, :3, 2] @ axes.T
    ax.plot(way[:, 0], way[:, 1], "-", color="0.3", linewidth=0.8)
    every = max(1, len(way) // 40)
    ax.quiver(
        way[::every, 0], way[::every, 1], ahead[::every, 0], ahead[::every, 1], posed[::every], cmap="viridis",
        width=0.004, scale=25, headwidth=3,
    )  # fmt: skip
    if repaired and lost.any():
        ax.plot(way[lost, 0], way[lost, 1], "x", color="crimson", label="lost")
        ax.legend(loc="upper right")
    ax.set_aspect("equal", "datalim")
    ax.set_xlabel("metres")


def _cloud(view: View, model: Model, frame: int) -> Array:
    """(n, 3) points of a frame in the world."""
    rays, depth_m = model.lifted(frame, _measured(view, max(1, view.raster.shape[1] // 80)))
    return transform(model.poses[frame], rays * depth_m[:, None])
