"""Views that are asked about together, and all that is known of how they relate.

    SceneViews (all usable views of a scan) -> ViewGroup (2 to 8 of them, numbered from 0 in the order shown)

Whatever costs time is computed when it is first asked for, and the latest results are kept.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from hatch_data import instances
from hatch_data.actions import ActionLanguage, Actions, encode
from hatch_data.correspondence import Correspondence, correspond
from hatch_data.geometry import Array, Camera, horizontal_axes, inverse, unit
from hatch_data.images import decode, stored_camera
from hatch_data.instances import Sighting
from hatch_data.motion import Motion, between, stance
from hatch_data.patches import Grid, Visibility, token_grid
from hatch_data.recipe import DataRecipe, GridSettings
from hatch_data.scene import Frame, Instance, Scene
from hatch_data.tracks import follow, look
from hatch_data.views import View, ViewStore

#: Pairs, sightings, looks and encoded images kept for the next question about the same views.
_KEPT_PAIRS, _KEPT_SIGHTINGS, _KEPT_LOOKS, _KEPT_IMAGES = 192, 64, 64, 32


class SceneViews:
    """The usable views of a scene by number. `capture_order[k]` is the place of view k in the scan."""

    def __init__(self, scene: Scene, frames: list[Frame], views: ViewStore, recipe: DataRecipe):
        self.scene, self.views, self.recipe = scene, views, recipe
        # Functions of their arguments, not methods: a cache that held `self` would keep a finished scene in memory.
        color = lru_cache(_KEPT_IMAGES)(partial(_color, frames))
        self.frames = [replace(frame, read_color=partial(color, k)) for k, frame in enumerate(frames)]
        self.cameras = [stored_camera(frame.camera, recipe.images) for frame in frames]
        grid = recipe.grid
        self.grids = [
            token_grid(c.height, c.width, grid.token_px, grid.min_pixels, grid.max_pixels) for c in self.cameras
        ]
        self.stances = [stance(frame.world_from_camera, scene.up) for frame in frames]
        place = {frame.id: k for k, frame in enumerate(scene.frames)}
        self.capture_order = [place[frame.id] for frame in frames]
        self.actions = lru_cache(_KEPT_PAIRS)(partial(_actions, self.stances, recipe.actions))
        self.correspondence = lru_cache(_KEPT_PAIRS)(partial(_correspond, views, self.grids, grid))
        self.sightings = lru_cache(_KEPT_SIGHTINGS)(partial(_sightings, views, scene))
        self.look = lru_cache(_KEPT_LOOKS)(partial(_look, self.frames, self.grids))

    def group(self, indices: tuple[int, ...]) -> ViewGroup:
        """The views with these numbers as a group, in this order."""
        return ViewGroup(self, indices)


def _color(frames: list[Frame], k: int) -> bytes:
    return frames[k].read_color()


def _actions(stances: list[Motion], language: ActionLanguage, i: int, j: int) -> Actions:
    return encode(between(stances[i], stances[j]), language)


def _correspond(views: ViewStore, grids: list[Grid], settings: GridSettings, i: int, j: int) -> Correspondence:
    return correspond(views[i], views[j], grids[i], grids[j], settings.stride_px)


def _sightings(views: ViewStore, scene: Scene, k: int) -> tuple[list[Sighting], NDArray[np.int16]]:
    return instances.sightings(views[k], scene.instances, scene.up)


def _look(frames: list[Frame], grids: list[Grid], k: int) -> NDArray[np.float32]:
    return look(decode(frames[k].read_color(), frames[k].id), grids[k])


class ViewGroup:
    """2 to 8 views, numbered from 0 in the order in which they are shown.

    Places in an image are (x, y) in shares of its width and height, from the top-left corner.
    """

    def __init__(self, of: SceneViews, indices: tuple[int, ...]):
        self._of, self.indices = of, indices

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def up(self) -> Array:
        """(3,) up in the world."""
        return self._of.scene.up

    @property
    def instances(self) -> list[Instance]:
        """The scene's named objects; sightings number them."""
        return self._of.scene.instances

    @property
    def capture_order(self) -> list[int]:
        """When each view was taken: its place in the scan."""
        return [self._of.capture_order[k] for k in self.indices]

    def view(self, k: int) -> View:
        """Depth of view k on the raster of its image."""
        return self._of.views[self.indices[k]]

    def camera(self, k: int) -> Camera:
        """The camera behind the stored image of view k."""
        return self._of.cameras[self.indices[k]]

    def grid(self, k: int) -> Grid:
        """The patch grid of view k."""
        return self._of.grids[self.indices[k]]

    def world_from_camera(self, k: int) -> Array:
        """(4, 4) pose of view k."""
        return self._of.frames[self.indices[k]].world_from_camera

    def correspondence(self, i: int, j: int) -> Correspondence:
        """From view i to view j."""
        return self._of.correspondence(self.indices[i], self.indices[j])

    def overlap(self, i: int, j: int) -> float:
        """Share of the surface of one view that the other sees too, the mean of both ways."""
        return (self.correspondence(i, j).map.overlap + self.correspondence(j, i).map.overlap) / 2

    def stance(self, k: int) -> Motion:
        """Heading, pitch, roll and place of view k against the world (`motion.stance`)."""
        return self._of.stances[self.indices[k]]

    def motion(self, i: int, j: int) -> Motion:
        """From view i to view j, exact."""
        return between(self.stance(i), self.stance(j))

    def from_view(self, k: int, point: Array) -> Array:
        """(3,) forward, left and up in metres of a world point (3,) in the gravity-levelled heading frame of view k."""
        of_point = between(self.stance(k), Motion(*np.stack([*horizontal_axes(self.up), unit(self.up)]) @ point))
        return np.array([of_point.forward_m, of_point.left_m, of_point.up_m])

    def actions(self, i: int, j: int) -> Actions:
        """From view i to view j, in whole steps of the recipe's language."""
        return self._of.actions(self.indices[i], self.indices[j])

    def sightings(self, k: int) -> list[Sighting]:
        """The objects that view k shows."""
        return self._of.sightings(self.indices[k])[0]

    def owner(self, k: int) -> NDArray[np.int16]:
        """(height, width) of the raster of view k: the index of the object each pixel shows, or -1."""
        return self._of.sightings(self.indices[k])[1]

    def look(self, k: int) -> NDArray[np.float32]:
        """(patches, d) how each patch of view k looks (`tracks.look`): its colour is decoded. Raises `FrameError`."""
        return self._of.look(self.indices[k])

    @cached_property
    def tracks(self) -> NDArray[np.int32]:
        """(tracks, views) patches followed through the views, -1 where not seen (`tracks.follow`)."""
        ordered = [(i, j) for i in range(len(self)) for j in range(len(self)) if i != j]
        return follow({pair: self.correspondence(*pair).map for pair in ordered}, len(self))

    def depth_at(self, k: int, x: float, y: float) -> float | None:
        """Planar depth in metres at a place of view k; None where none is measured or on a depth edge."""
        raster = self.view(k).raster
        row, column = int(y * raster.shape[0]), int(x * raster.shape[1])
        value = int(raster[min(row, raster.shape[0] - 1), min(column, raster.shape[1] - 1)])
        return value * self.view(k).metres_per_unit if value > 0 else None

    def place_of(self, k: int, point: Array) -> tuple[float, float, float]:
        """(x, y, depth in metres) of a world point (3,) in view k, inside the image or not; behind it depth is < 0."""
        height, width = self.view(k).raster.shape
        u, v, z = (self.view(k).position_from_world @ np.append(point, 1.0)).tolist()
        return (u / z / width, v / z / height, z) if z > 0 else (np.nan, np.nan, z)

    def outcome_at(self, i: int, j: int, x: float, y: float) -> tuple[int, tuple[float, float]]:
        """What becomes in view j of the surface at a place of view i: a `Visibility` (or `patches.UNDECIDED`), and
        where it lies there, NaN unless visible. Read from the flow field."""
        flow = self.correspondence(i, j).flow
        rows, columns = flow.values.shape[:2]
        row, column = min(int(y * rows), rows - 1), min(int(x * columns), columns - 1)
        outcome = int(flow.outcome[row, column])
        where = flow.target[row, column] if outcome == Visibility.VISIBLE else (np.nan, np.nan)
        return outcome, (float(where[0]), float(where[1]))

    def camera_from_world(self, k: int) -> Array:
        """(4, 4) inverse pose of view k."""
        return inverse(self.world_from_camera(k))
