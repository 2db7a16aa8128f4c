"""The exact patch map between two synthetic views, from ray casting alone: no depth image, no kernel, no tolerance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hatch_data.geometry import Array, Camera, inverse, transform
from hatch_data.patches import Grid, Visibility
from hatch_data.scans.synthetic import Surface, SyntheticScene

#: Rays a side of each patch: the error of a weight is then about 0.001.
RAYS = 48
#: A gap along the ray that counts as a jump between surfaces.
JUMP_M = 1e-3


@dataclass(frozen=True)
class Truth:
    """The exact map: `weight` (source patches, target patches) shares of each patch's area, `visibility` its most
    frequent outcome, and `crossed` (source patches): a silhouette runs through the patch or through where it lands."""

    weight: Array
    visibility: np.ndarray
    crossed: np.ndarray


@dataclass(frozen=True)
class Sampled:
    """A view sampled by stratified rays: pixels (rows, columns, 2), what they meet, and whether two neighbouring rays
    meet surfaces that are not connected (rows, columns)."""

    world_from_camera: Array
    camera: Camera
    pixels: Array
    surface: Surface
    jump: np.ndarray


def sample(scene: SyntheticScene, frame: int, grid: Grid, rng: np.random.Generator) -> Sampled:
    """Cast one jittered ray in each of `RAYS` x `RAYS` cells of every patch of a frame."""
    camera, pose = scene.camera, scene.world_from_camera[frame]
    size = (grid[0] * RAYS, grid[1] * RAYS)
    row, column = np.mgrid[: size[0], : size[1]] + rng.uniform(size=(2, *size))
    pixels = np.stack([column / size[1] * camera.width, row / size[0] * camera.height], axis=-1) - 0.5
    surface = scene.surface(frame, pixels)
    return Sampled(pose, camera, pixels, surface, _jumps(pose[:3, 3], surface))


def truth(scene: SyntheticScene, source: Sampled, target: Sampled, source_grid: Grid, target_grid: Grid) -> Truth:
    """Carry the surface points of one view into another and ask the scene which of them are seen."""
    points = source.surface.points
    pixels, z = target.camera.project(transform(inverse(target.world_from_camera), points))
    share = (pixels + 0.5) / (target.camera.width, target.camera.height)
    inside = (z > 0) & ((share >= 0) & (share < 1)).all(axis=-1)
    seen = scene.visible_from(points, target.world_from_camera, target.camera)
    outcome = np.where(inside, np.where(seen, Visibility.VISIBLE, Visibility.OCCLUDED), Visibility.OUT_OF_VIEW)

    patch = np.arange(source_grid[0] * source_grid[1]).reshape(source_grid).repeat(RAYS, 0).repeat(RAYS, 1)
    share = np.where(inside[..., None], share, 0.0)
    goal = (share[..., 1] * target_grid[0]).astype(int) * target_grid[1] + (share[..., 0] * target_grid[1]).astype(int)
    shape = (patch[-1, -1] + 1, target_grid[0] * target_grid[1])
    weight = np.zeros(shape)
    np.add.at(weight, (patch[seen], goal[seen]), 1 / RAYS**2)
    outcomes = np.zeros((shape[0], len(Visibility)), int)
    np.add.at(outcomes, (patch, outcome), 1)

    rows, columns = target.jump.shape
    lands = target.jump[(share[..., 1] * rows).astype(int), (share[..., 0] * columns).astype(int)]
    crossed = np.zeros(shape[0], bool)
    crossed[patch[source.jump | (lands & inside)]] = True
    return Truth(weight, outcomes.argmax(axis=1), crossed)


def _jumps(origin: Array, surface: Surface) -> np.ndarray:
    """Rays within two of a jump, along rows or columns."""
    jump = np.zeros(surface.depth.shape, bool)
    for axis in (0, 1):
        a, b = (np.moveaxis(array, axis, 0) for array in (surface.points, surface.normals))
        torn = np.moveaxis(_torn(origin, a[:-1], b[:-1], a[1:], b[1:]), 0, axis)
        before, after = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
        before[axis], after[axis] = (0, 1), (1, 0)
        jump |= np.pad(torn, before) | np.pad(torn, after)
    wide = np.pad(jump, 2)
    rows, columns = jump.shape
    return np.any([wide[r : r + rows, c : c + columns] for r in range(5) for c in range(5)], axis=0)


def _torn(origin: Array, p: Array, p_normal: Array, q: Array, q_normal: Array) -> np.ndarray:
    """Whether two planes met by neighbouring rays leave a gap between them.

    Connected planes cross between the two rays (or are one): the gap from the one to the other changes its sign.
    """
    at_p = _beyond(origin, p, q, q_normal)
    at_q = -_beyond(origin, q, p, p_normal)
    return (at_p * at_q > 0) & (np.minimum(np.abs(at_p), np.abs(at_q)) > JUMP_M)


def _beyond(origin: Array, point: Array, other: Array, normal: Array) -> Array:
    """Metres along the ray to `point` from there to the plane through `other` with `normal`."""
    ray = point - origin
    with np.errstate(divide="ignore", invalid="ignore"):
        share = ((other - origin) * normal).sum(axis=-1) / (ray * normal).sum(axis=-1)
    return (share - 1) * np.linalg.norm(ray, axis=-1)
