"""`synthetic:N`: furnished rooms made procedurally, the embedded default and the analytic truth for tests.

A scene is a function of its index alone, bit for bit: rooms joined by doorways, furniture of oriented boxes, procedural
textures, a lamp in each room, and a walk through it at eye height. Colour and depth come from exact ray casting.
"""

from __future__ import annotations

import io
import re
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, Camera, inverse, transform
from hatch_data.scans.rooms.furnished import Furnished, furnish
from hatch_data.scans.rooms.raycast import BoxTree, Index
from hatch_data.scans.rooms.textures import shade
from hatch_data.scans.rooms.walk import UP, walk
from hatch_data.scene import DepthImage, DepthSensor, Frame, Instance, Scene

LAYOUT = "synthetic"
FRAMES, WIDTH, HEIGHT = 60, 320, 240
MAX_SCENES, MAX_ROOMS = 10_000, 200
JPEG_QUALITY = 95
ENCODED_FRAMES = 1000

#: A frame of a scene by number, or any view.
View = int | tuple[Array, Camera]


class Surface(NamedTuple):
    """What lies behind pixels: points (..., 3) and outward unit normals (..., 3) in the world, planar depth (...) in
    metres, and the numbers (...) of the box and of its face (see `raycast.Hits`)."""

    points: Array
    normals: Array
    depth: Array
    box: Index
    face: Index


class Rendering(NamedTuple):
    """Colour (h, w, 3) uint8, planar depth (h, w) in metres, box number (h, w)."""

    color: NDArray[np.uint8]
    depth: Array
    box: Index


class SyntheticScene:
    """One procedural scene and the truth about it.

    `camera` and `world_from_camera` are those of the frames; `furnished` holds rooms, boxes and instances:
    `furnished.instance[box]` is the number of a box's instance, -1 for walls and floors.
    """

    def __init__(self, index: int, furnished: Furnished, camera: Camera, world_from_camera: list[Array]):
        self.index = index
        self.furnished = furnished
        self.camera = camera
        self.world_from_camera = world_from_camera
        self._tree = BoxTree(furnished.boxes)
        # The last rendered frame: colour and depth of one frame are asked for one after the other.
        self._last: tuple[int, Rendering] | None = None
        # A build reads the depth of all frames first and the colour of some later: those are kept as JPEG.
        self._encoded: dict[int, bytes] = {}

    @property
    def instances(self) -> list[Instance]:
        """The named objects."""
        return self.furnished.instances

    def scene(self) -> Scene:
        """The scene as any reader would give it; pixels are rendered when they are read."""
        name = f"{LAYOUT}-{self.index:04d}"
        sensor = DepthSensor(self.camera)
        frames = [
            Frame(f"{k:06d}", pose, self.camera, partial(self._color, k), sensor, partial(self._depth, k))
            for k, pose in enumerate(self.world_from_camera)
        ]
        return Scene(name, LAYOUT, name, frames, UP.copy(), "layout", list(self.instances))

    def surface(self, view: View, pixels: Array) -> Surface:
        """The exact surface behind pixels (..., 2) of a view: what the ray through each pixel meets first."""
        world_from_camera, camera = self._view(view)
        pixels = np.asarray(pixels, dtype=np.float64)
        rays = _rays(world_from_camera, camera, pixels)
        origin = world_from_camera[:3, 3]
        hits = self._tree.cast(origin, rays.reshape(-1, 3))
        shape = pixels.shape[:-1]
        box, face = hits.box.reshape(shape), hits.face.reshape(shape)
        depth = np.where(box < 0, np.nan, hits.distance.reshape(shape))
        return Surface(origin + depth[..., None] * rays, self.furnished.boxes.normals(box, face), depth, box, face)

    def visible_from(self, points: Array, world_from_camera: Array, camera: Camera) -> NDArray[np.bool_]:
        """Whether a camera sees points (..., 3): in front, inside the image, and nothing in between."""
        points = np.asarray(points, dtype=np.float64)
        pixels, z = camera.project(transform(inverse(world_from_camera), points))
        u, v = pixels[..., 0], pixels[..., 1]
        inside = (z > 0) & (u >= -0.5) & (u < camera.width - 0.5) & (v >= -0.5) & (v < camera.height - 0.5)
        origin = world_from_camera[:3, 3]
        blocked = self._tree.blocked(origin, (points - origin).reshape(-1, 3), 1.0 - 1e-6)
        return inside & ~blocked.reshape(inside.shape)

    def render(self, view: View) -> Rendering:
        """Render a frame or any view; the last frame is kept."""
        if isinstance(view, tuple):
            return self._render(*view)
        last = self._last
        if last is None or last[0] != view:
            self._last = last = (view, self._render(*self._view(view)))
        return last[1]

    def _view(self, view: View) -> tuple[Array, Camera]:
        if isinstance(view, tuple):
            return view
        return self.world_from_camera[view], self.camera

    def _render(self, world_from_camera: Array, camera: Camera) -> Rendering:
        u, v = np.meshgrid(np.arange(camera.width, dtype=np.float64), np.arange(camera.height, dtype=np.float64))
        rays = _rays(world_from_camera, camera, np.stack([u.ravel(), v.ravel()], axis=-1))
        origin = np.ascontiguousarray(world_from_camera[:3, 3])
        hits = self._tree.cast(origin, rays)
        everything = self.furnished
        lit = self._lit(origin + hits.distance[:, None] * rays, hits.box)
        boxes = everything.boxes
        color = shade(
            origin, rays, *hits, lit, 1.0 / camera.fx, boxes.center, boxes.half, boxes.turn,
            everything.surfaces, everything.origins, everything.room, everything.lights,
        )  # fmt: skip
        size = (camera.height, camera.width)
        depth = np.where(hits.box < 0, 0.0, hits.distance)
        return Rendering(color.reshape(*size, 3), depth.reshape(size), hits.box.reshape(size))

    def _lit(self, points: Array, box: Index) -> NDArray[np.bool_]:
        """Which points (n, 3) the lamp of their room reaches: shadows."""
        lit = np.ones(len(points), dtype=bool)
        room = np.where(box < 0, -1, self.furnished.room[box])
        for number in np.unique(room[room >= 0]):
            of_room = np.flatnonzero(room == number)
            lamp = self.furnished.lights[number, :3].copy()
            lit[of_room] = ~self._tree.blocked(lamp, points[of_room] - lamp, 1.0 - 1e-4)
        return lit

    def _color(self, frame: int) -> bytes:
        """JPEG bytes at full colour resolution."""
        if frame not in self._encoded:
            out = io.BytesIO()
            Image.fromarray(self.render(frame).color).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
            if len(self._encoded) == ENCODED_FRAMES:
                self._encoded.pop(next(iter(self._encoded)))
            self._encoded[frame] = out.getvalue()
        return self._encoded[frame]

    def _depth(self, frame: int) -> DepthImage:
        depth = self.render(frame).depth.astype(np.float32)
        self._color(frame)
        return DepthImage(depth, 1.0)


def _rays(world_from_camera: Array, camera: Camera, pixels: Array) -> Array:
    """World directions (..., 3) through pixels (..., 2), as long as one metre of depth.

    Without BLAS, whose order of summation (and so the last bit) depends on threads and shape.
    """
    rotation = world_from_camera[:3, :3]
    x = (pixels[..., 0, None] - camera.cx) / camera.fx
    y = (pixels[..., 1, None] - camera.cy) / camera.fy
    return x * rotation[:, 0] + y * rotation[:, 1] + rotation[:, 2]


def make(
    index: int, frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT, rooms: int | None = None
) -> SyntheticScene:
    """Scene `index`. The rooms depend on `index` and `rooms` (2 to 4 by default) alone, not on frames or image size."""
    if frames < 1 or not 0 <= index < MAX_SCENES or not (rooms is None or 1 <= rooms <= MAX_ROOMS):
        raise ScanError(
            f"synthetic scene {index} with {frames} frames and {rooms} rooms: give an index below {MAX_SCENES}, "
            f"at least 1 frame, and 1 to {MAX_ROOMS} rooms"
        )
    furnishing, walking, lens = (np.random.default_rng([index, stream]) for stream in range(3))
    count = rooms or int(furnishing.integers(2, 5))
    furnished = furnish(furnishing, count)
    # Off the middle by up to 2 %, so that a principal point taken for granted shows.
    across, x, y = lens.uniform((66.0, -0.02, -0.02), (74.0, 0.02, 0.02)).tolist()
    focal = width / 2 / float(np.tan(np.radians(across / 2)))
    camera = Camera(width, height, focal, focal, (0.5 + x) * width - 0.5, (0.5 + y) * height - 0.5)
    return SyntheticScene(index, furnished, camera, walk(walking, furnished, frames))


def paths(name: str) -> list[str]:
    """`synthetic:4` -> `synthetic/0000` to `synthetic/0003`, what `read` takes."""
    match = re.fullmatch(rf"{LAYOUT}:(\d+)", name)
    if not match or not 1 <= int(match[1]) <= MAX_SCENES:
        raise ScanError(f"{name}: say {LAYOUT}:N with N from 1 to {MAX_SCENES}")
    return [f"{LAYOUT}/{index:04d}" for index in range(int(match[1]))]


def read(path: str) -> Scene:
    """The scene named by one of `paths`."""
    match = re.fullmatch(rf"{LAYOUT}/(\d{{4}})", path)
    if not match:
        raise ScanError(f"{path}: say {LAYOUT}/0000 for the first of the synthetic scenes")
    return make(int(match[1])).scene()
