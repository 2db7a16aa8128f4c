"""Rows against the scan they were made from: its poses and depth by plain NumPy, and a fresh build bit for bit.

The depth check shares no code with `hatch_data.views` and `hatch_data.correspondence`: pixels are unprojected with
the depth camera's own intrinsics, carried into the other view, and held against the depth measured there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hatch_data.depth_source import with_depth
from hatch_data.errors import ScanError
from hatch_data.folder import BuildFolder
from hatch_data.geometry import Array, Camera, inverse, transform
from hatch_data.patches import FLOW_CODE, FLOW_STEPS, Visibility
from hatch_data.pipeline import build_scene, open_scene
from hatch_data.recipe import DataRecipe
from hatch_data.scans import ScanRef
from hatch_data.scene import DepthImage, Frame, Scene
from hatch_data.settings import validate
from hatch_data.shards import Match, Row, open_shard
from hatch_data.verify.maps import flow_pixels

#: A flow vector may end this far, as a share of the image's width, from where the scan's depth puts it: the surface may
#: be taken half a pixel of depth beside.
FLOW_OFF = 0.005
#: Share of a field's vectors that may: on grazing surfaces the next pixel of depth is far away.
FLOW_OUTLIERS = 0.02
#: Share of cells whose outcome may differ: thresholds are crossed where depth is noisy.
OUTCOMES_DIFFER = 0.08
#: Steps of the search for the depth behind a colour pixel, and how well it has to settle, in metres.
_STEPS, _SETTLED_M = 8, 0.01


class AgainstScans:
    """Rows of the scans given, held against them. Every scan is read and built again once, in a temporary folder."""

    def __init__(self, manifest: dict[str, Any], refs: dict[str, ScanRef]):
        self._manifest, self._refs = manifest, refs
        self._recipe = validate(DataRecipe, manifest["plan"]["recipe"], "build.json")
        self._scenes: dict[str, Scene] = {}
        self._fresh: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {}
        self._depth = lru_cache(maxsize=128)(self._read_depth)

    @property
    def reproducible(self) -> bool:
        """Whether this version knows exactly the settings of the build: else no row could come out the same."""
        return self._recipe.digest == self._manifest["recipe_digest"]

    def __contains__(self, scene: str) -> bool:
        return scene in self._refs

    def compare(self, row: Row, record: dict[str, Any], split: str) -> Iterator[tuple[str, list[str]]]:
        """(check, what disagrees) for one row of a scan that was given."""
        if row.scene not in self._scenes:
            self._scenes[row.scene] = with_depth(open_scene(self._refs[row.scene], self._recipe), self._recipe.depth)
        frames = {frame.id: frame for frame in self._scenes[row.scene].frames}
        unknown = [frame for frame in row.frames if frame not in frames]
        yield "scan has the frames", [f"frame {frame} is not in the scan" for frame in unknown]
        if not unknown:
            yield "scan cameras", list(self._cameras_agree(row, [frames[name] for name in row.frames]))
            yield "scan depth", list(self._depth_agrees(row))
        if self.reproducible:
            yield "bits of a fresh build", list(self._bits_agree(row, record, split))

    def not_compared(self) -> Iterator[str]:
        """Why no row is held against a fresh build, if so."""
        if not self.reproducible:
            yield "not compared: the recipe of this version has other settings than the one the build was made with"

    def missing(self) -> Iterator[str]:
        """Rows of the fresh builds that did not occur."""
        for scene, fresh in self._fresh.items():
            if fresh:
                yield f"{len(fresh)} rows of a fresh build of {scene} are not here, first {next(iter(fresh))}"

    def _cameras_agree(self, row: Row, frames: list[Frame]) -> Iterator[str]:
        """Poses and gravity are the scan's, intrinsics those of its images, resized as they were."""
        if not np.array_equal(row.up, self._scenes[row.scene].up):
            yield f"up is {row.up.tolist()}, the scan's is {self._scenes[row.scene].up.tolist()}"
        for k, frame in enumerate(frames):
            if (off := float(np.abs(frame.world_from_camera - row.world_from_camera[k]).max())) > 0:
                yield f"pose {k + 1} differs from the scan's by {off:.2g}"
            (height, width), c = row.image_sizes[k], frame.camera
            sx, sy = width / c.width, height / c.height
            expected = (c.fx * sx, c.fy * sy, (c.cx + 0.5) * sx - 0.5, (c.cy + 0.5) * sy - 0.5)
            if (off := float(np.abs(np.subtract(expected, row.intrinsics[k])).max())) > 1e-6:
                yield f"intrinsics {k + 1} differ from the scan's by {off:.2g} px"

    def _depth_agrees(self, row: Row) -> Iterator[str]:
        """Flow vectors end where the scan's depth puts them, and outcomes are those that it gives."""
        for match in row.matches:
            pair = f"{match.source} -> {match.target}"
            source, target = (self._depth(row.scene, row.frames[k]) for k in (match.source, match.target))
            x, y, visible = flow_pixels(row, match)
            where, outcome = carry(source, target, _own_pixels(x, row, match.source, source[0].camera))
            where = _stored_pixels(where, row, match.target, target[0].camera)
            known = visible & np.isfinite(where).all(axis=-1)
            off, limit = np.linalg.norm(where - y, axis=-1)[known], FLOW_OFF * row.image_sizes[match.target][1]
            if len(off) and (share := float((off > limit).mean())) > FLOW_OUTLIERS:
                yield f"{pair}: {share:.0%} of the flow is off by more than {limit:.1f} px, up to {off.max():.1f} px"
            told = _outcomes(match)
            compared = (outcome >= 0) & (told >= 0)
            differ = float((outcome != told)[compared].mean()) if compared.any() else 0.0
            if differ > OUTCOMES_DIFFER:
                yield f"{pair}: {differ:.0%} of the flow's outcomes differ from those of the scan's depth"

    def _read_depth(self, scene: str, frame_id: str) -> tuple[Frame, DepthImage]:
        frame = next(frame for frame in self._scenes[scene].frames if frame.id == frame_id)
        return frame, frame.depth()

    def _bits_agree(self, row: Row, record: dict[str, Any], split: str) -> Iterator[str]:
        """The same row, bit for bit and in the same split, comes out of a fresh build of its scan."""
        if row.scene not in self._fresh:
            self._fresh[row.scene] = self._build(row.scene)
        fresh_split, fresh = self._fresh[row.scene].pop(row.id, (None, None))
        if fresh is None:
            yield "a fresh build has no such row"
            return
        if fresh_split != split:
            yield f"stands in {split}, a fresh build puts it into {fresh_split}"
        if differing := [name for name, value in record.items() if value != fresh[name]]:
            yield f"a fresh build gives another {', '.join(differing)}"

    def _build(self, scene: str) -> dict[str, tuple[str, dict[str, Any]]]:
        """Row id -> (split, record) of a scan built again as its manifest says."""
        plan = self._manifest["plan"]
        refs = []
        for name, scan in plan["scans"].items():
            space = self._manifest["scenes"][name]["space"] or name
            ref = self._refs.get(name) or ScanRef(scan["layout"], scan["path"], name, space)
            refs.append(replace(ref, questions=tuple((file, offset) for file, offset in scan.get("questions", ()))))
        with tempfile.TemporaryDirectory(prefix="hatch-verify-") as out:
            jobs = BuildFolder(Path(out), refs, self._recipe, plan["limit"]).jobs()
            job = next(job for job in jobs if job.ref.scene == scene)
            with tqdm(desc=f"build {scene} again", leave=False, mininterval=1.0) as bar:
                report = build_scene(job, partial(_show, bar))
            if report.failure:
                raise ScanError(f"{scene}: cannot be built again: {report.failure}")
            return {
                record["id"]: (shard["split"], record)
                for shard in report.shards
                for record in open_shard(Path(out) / ".build" / scene / shard["file"]).read().to_pylist()
            }


def _show(bar: tqdm, what: str, done: int, of: int) -> None:
    bar.unit, bar.total = f" {what}", of
    bar.update(done - bar.n)


View = tuple[Frame, DepthImage]


def carry(source: View, target: View, pixels: Array) -> tuple[Array, NDArray[np.int8]]:
    """Carry the surface behind colour pixels (..., 2) of one frame into another, from the scan's depth alone.

    Returns colour pixels of the target (..., 2), NaN where no depth is known, and the outcome (...) as `Visibility`,
    -1 where depth does not tell: none measured, or an edge within a pixel.
    """
    frame, other = source[0], target[0]
    z = depth_behind(source, pixels)
    world = transform(frame.world_from_camera, frame.camera.unproject(pixels, z))
    there, z_there = other.camera.project(transform(inverse(other.world_from_camera), world))
    outside = (
        (z_there <= 0)
        | (there < -0.5).any(-1)
        | (there >= (other.camera.width - 0.5, other.camera.height - 0.5)).any(-1)
    )
    world_from_depth = other.world_from_camera @ other.sensor.color_from_depth
    seen_at, z_seen = other.sensor.camera.project(transform(inverse(world_from_depth), world))
    measured = target[1].metres
    around = np.stack([_look_up(measured, seen_at + step) for step in _AROUND])
    here = around[0]
    tolerance = other.sensor.tolerance.at(z_seen)
    near, far = np.fmin.reduce(around), np.fmax.reduce(around)
    agrees = (near - tolerance <= z_seen) & (z_seen <= far + tolerance)
    outcome = np.full(z.shape, -1, np.int8)
    whole = np.isfinite(around).all(axis=0) & (far - near <= tolerance)
    outcome[whole & agrees] = Visibility.VISIBLE
    outcome[whole & ~agrees & (z_seen > here)] = Visibility.OCCLUDED
    outcome[outside] = Visibility.OUT_OF_VIEW
    outcome[~np.isfinite(z)] = -1
    return there, outcome


#: Steps to a depth pixel and its neighbours.
_AROUND = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])


def depth_behind(view: View, pixels: Array) -> Array:
    """Planar depth in the colour camera behind colour pixels (..., 2), NaN where none is measured or none settles.

    The depth image has its own camera: the ray of a colour pixel is followed to the depth that is measured where the
    ray's point at the last depth lies.
    """
    frame, measured = view[0], view[1].metres
    color_from_depth = frame.sensor.color_from_depth
    depth_from_color = inverse(color_from_depth)
    z, last = np.full(pixels.shape[:-1], 2.0), np.full(pixels.shape[:-1], np.inf)
    for _ in range(_STEPS):
        at, _z = frame.sensor.camera.project(transform(depth_from_color, frame.camera.unproject(pixels, z)))
        point = frame.sensor.camera.unproject(at, _look_up(measured, at))
        last, z = z, transform(color_from_depth, point)[..., 2]
    return np.where(np.abs(z - last) < _SETTLED_M, z, np.nan)


def _look_up(depth: NDArray, pixels: Array) -> Array:
    """Depth of the pixels (..., 2) are nearest to, NaN outside and where there is none."""
    inside = np.asarray(((pixels >= -0.5) & (pixels < np.subtract(depth.shape[::-1], 0.5))).all(axis=-1))
    u, v = np.moveaxis(np.rint(np.where(inside[..., None], pixels, 0)).astype(int), -1, 0)
    found = depth[v, u].astype(np.float64)
    return np.where(inside & (found > 0), found, np.nan)


def _outcomes(match: Match) -> NDArray[np.int8]:
    """Outcome of every cell of a flow field that says one of visible, occluded, out of view; else -1."""
    x = match.flow.values[..., 0].astype(np.int32)
    code = np.where(x <= FLOW_STEPS, Visibility.VISIBLE, x - FLOW_CODE)
    told = np.isin(code, (Visibility.VISIBLE, Visibility.OCCLUDED, Visibility.OUT_OF_VIEW))
    return np.where(told, code, -1).astype(np.int8)


def _own_pixels(stored: Array, row: Row, image: int, camera: Camera) -> Array:
    """Pixels of a row's image in its own image, which may be larger."""
    height, width = row.image_sizes[image]
    return (stored + 0.5) * (camera.width / width, camera.height / height) - 0.5


def _stored_pixels(own: Array, row: Row, image: int, camera: Camera) -> Array:
    height, width = row.image_sizes[image]
    return (own + 0.5) * (width / camera.width, height / camera.height) - 0.5
