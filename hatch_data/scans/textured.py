"""What a textured mesh looks like: colour and depth of any view of it, by ray casting.

Colour is the mesh's own (base-colour textures, flat materials, colours of vertices or faces) under a light that stands
still in the world, so that a surface looks the same from everywhere: some from all around, more from above, and a sun
with shadows. Textures are filtered as graphics hardware does it, bilinear within and between the levels of a pyramid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, Camera, horizontal_axes, unit
from hatch_data.scans import files
from hatch_data.scans.mesh import Mesh, Part, pixel_rays, read_parts
from hatch_data.scene import within_reach

#: Finer texture than this, in texels per metre, shows in no image taken from half a metre or more.
FINEST_TEXELS_PER_M = 1000.0
#: What is seen where a ray meets nothing: a bright, featureless sky.
SKY = (226, 231, 236)
#: Light from all around, from above (a half-sphere), and from the sun, nearly 1 in all on a floor in the sun; and how
#: high the sun stands, and where.
AMBIENT, FROM_ABOVE, SUN = 0.5, 0.15, 0.3
SUN_ELEVATION_DEG, SUN_HEADING_DEG = 68.0, 35.0
#: Shadow rays start this far off the surface.
SHADOW_OFFSET_M = 2e-3
#: The gamma of the stored colours, by which light is converted before it is multiplied with them.
GAMMA = 2.2


class Rendering(NamedTuple):
    """Colour (height, width, 3) uint8 and planar depth (height, width) float32 metres, 0 where there is nothing."""

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]


class _Textures(NamedTuple):
    """All textures in one array. A row of `levels` is (first byte, width, height) of one level of a pyramid; a
    material's levels follow each other from fine to coarse: `first` (m,) and `level_count` (m,)."""

    texels: NDArray[np.uint8]
    levels: NDArray[np.int64]
    first: NDArray[np.int64]
    level_count: NDArray[np.int64]


class _Skin(NamedTuple):
    """Where triangles take their colour from.

    `material` (t,) is -1 for triangles coloured at their corners (`corner_color` (t, 3, 3) uint8); the others look up
    `corner_uv` (t, 3, 2), in shares of the texture from its top left. `texels_per_m` (t,) is the density of the
    texture's finest level.
    """

    material: NDArray[np.int32]
    corner_uv: NDArray[np.float32]
    corner_color: NDArray[np.uint8]
    texels_per_m: NDArray[np.float32]


@dataclass(frozen=True)
class TexturedMesh:
    """A mesh and its colours. `part` (t,) numbers the parts of the file, called `part_names`."""

    mesh: Mesh
    part: NDArray[np.int32]
    part_names: list[str]
    skin: _Skin
    textures: _Textures

    @classmethod
    def load(cls, path: Path) -> TexturedMesh:
        """Read a mesh file with its colours. Raises `ScanError` where there is no mesh, or no colour."""
        parts = read_parts(path)
        mesh = Mesh.of(parts, path)
        if not any(_is_coloured(part) for part in parts):
            raise ScanError(f"{path}: a mesh without texture or vertex colours shows nothing; give the textured mesh")
        for part in parts:
            uv = getattr(part.visual, "uv", None)
            if uv is not None and (len(uv) != len(part.vertices) or not within_reach(uv)):
                raise ScanError(f"{path}: texture coordinates that are nowhere; export the mesh again")
        shelf = _TextureShelf()
        try:
            skins = [_skin(part, shelf) for part in parts]
        except files.UNDECODABLE as error:
            told = " ".join(str(error).split())
            raise ScanError(f"{path}: its textures cannot be read ({told}); export the mesh again") from error
        number = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.triangles) for part in parts])
        skin = _Skin(*(np.concatenate(column) for column in zip(*skins, strict=True)))
        return cls(mesh, number, [part.name for part in parts], skin, shelf.pack())

    def render(self, camera: Camera, world_from_camera: Array, up: Array) -> Rendering:
        """One view; one ray through each pixel's centre gives both colour and depth."""
        rays = pixel_rays(camera, world_from_camera).astype(np.float32)
        origin = world_from_camera[:3, 3]
        hits = self.mesh.cast(origin, rays)
        sun = _towards_sun(up)
        points, facing, above, footprint = _surface(
            origin, rays, hits.distance, hits.triangle, self.mesh.normals, sun, unit(up), np.float32(1 / camera.fx)
        )
        towards = np.flatnonzero(facing > 0)
        lower, upper = self.mesh.bounds
        shadow = self.mesh.blocked(points[towards], (sun * np.linalg.norm(upper - lower))[None])
        facing[towards[shadow]] = 0
        light = (AMBIENT + FROM_ABOVE * above + SUN / float(sun @ unit(up)) * facing) ** np.float32(1 / GAMMA)
        color = _look_up(
            hits.triangle, hits.weights, footprint, light, np.array(SKY, np.uint8), *self.skin, *self.textures
        )
        shape = (camera.height, camera.width)
        depth = np.where(hits.triangle >= 0, hits.distance, np.float32(0))
        return Rendering(color.reshape(*shape, 3), depth.reshape(shape))


def _towards_sun(up: Array) -> Array:
    e1, e2 = horizontal_axes(up)
    heading, elevation = np.radians([SUN_HEADING_DEG, SUN_ELEVATION_DEG])
    return np.cos(elevation) * (np.cos(heading) * e1 + np.sin(heading) * e2) + np.sin(elevation) * unit(up)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _surface(origin, rays, far, triangle, normals, sun, up, metres_per_px_at_1m):
    """Of each hit: the point a shadow ray starts from (n, 3), how far the surface faces the sun (n,) and up (n,), 0-1,
    and the metres of surface along a pixel (n,), as the side of a square of the same area."""
    count = triangle.shape[0]
    points = np.zeros((count, 3), np.float32)
    facing, above, footprint = np.zeros(count, np.float32), np.zeros(count, np.float32), np.ones(count, np.float32)
    for k in range(count):
        if triangle[k] < 0:
            continue
        normal, ray = normals[triangle[k]], rays[k]
        along = normal[0] * ray[0] + normal[1] * ray[1] + normal[2] * ray[2]
        side = -1.0 if along > 0 else 1.0  # both sides of a triangle are seen, each lit on its own
        length = np.sqrt(ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2])
        for axis in range(3):
            points[k, axis] = origin[axis] + far[k] * ray[axis] + SHADOW_OFFSET_M * side * normal[axis]
        facing[k] = max(side * (normal[0] * sun[0] + normal[1] * sun[1] + normal[2] * sun[2]), 0.0)
        above[k] = 0.5 + 0.5 * side * (normal[0] * up[0] + normal[1] * up[1] + normal[2] * up[2])
        footprint[k] = far[k] * length * metres_per_px_at_1m / np.sqrt(max(abs(along) / length, 0.05))
    return points, facing, above, footprint


def _is_coloured(part: Part) -> bool:
    if part.visual.kind == "texture":
        return _texture_image(part) is not None or _flat_color(part) is not None
    return part.visual.kind in ("vertex", "face")


def _texture_image(part: Part) -> Image.Image | None:
    """The base-colour texture, where there is one and the coordinates to look it up."""
    material = part.visual.material
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    return image if getattr(part.visual, "uv", None) is not None else None


def _flat_color(part: Part) -> NDArray[np.uint8] | None:
    """(3,) the material's own colour, None where it is white as by default."""
    material = part.visual.material
    color = getattr(material, "baseColorFactor", None)
    color = getattr(material, "diffuse", None) if color is None else color
    if color is None:
        return None
    color = np.asarray(color)[:3]
    color = (color * 255).round().astype(np.uint8) if color.dtype.kind == "f" else color.astype(np.uint8)
    return None if (color == 255).all() else color


def _skin(part: Part, shelf: _TextureShelf) -> _Skin:
    """The skin of one part."""
    count = len(part.triangles)
    skin = _Skin(
        np.full(count, -1, np.int32),
        np.zeros((count, 3, 2), np.float32),
        np.full((count, 3, 3), 255, np.uint8),
        np.ones(count, np.float32),
    )
    if part.visual.kind == "texture":
        tint = _flat_color(part)
        if (image := _texture_image(part)) is not None:
            uv = np.asarray(part.visual.uv, np.float64)[part.triangles]
            uv[..., 1] = 1.0 - uv[..., 1]
            spans = _texel_spans(part, uv, image.size)
            number, shrink = shelf.add(image, float(np.median(spans)), tint)
            skin.material[:] = number
            skin.texels_per_m[:] = spans * shrink
            skin.corner_uv[:] = uv - np.floor(uv.min(axis=1, keepdims=True))
        elif tint is not None:
            skin.corner_color[:] = tint
    elif part.visual.kind == "vertex":
        skin.corner_color[:] = np.asarray(part.visual.vertex_colors)[part.triangles][..., :3]
    elif part.visual.kind == "face":
        skin.corner_color[:] = np.asarray(part.visual.face_colors)[:, None, :3]
    return skin


def _texel_spans(part: Part, corner_uv: Array, size: tuple[int, int]) -> Array:
    """Texels per metre (t,) on each triangle."""
    a, b = (corner_uv[:, 1] - corner_uv[:, 0]) * size, (corner_uv[:, 2] - corner_uv[:, 0]) * size
    corners = part.vertices[part.triangles]
    area_m2 = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    texels = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    return np.sqrt(texels / np.maximum(area_m2, 1e-12))


class _TextureShelf:
    """Textures as they are met, each kept once."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, bytes], tuple[int, float]] = {}
        self._images: list[Image.Image] = []
        self._pyramids: list[list[NDArray[np.uint8]]] = []

    def add(self, image: Image.Image, texels_per_m: float, tint: NDArray[np.uint8] | None) -> tuple[int, float]:
        """Number of the material, and how far its finest level is smaller than `image`."""
        key = (id(image), tint.tobytes() if tint is not None else b"")
        if key not in self._numbers:
            self._images.append(image)  # held, so that no other image gets its id
            halvings = max(0, int(np.floor(np.log2(max(texels_per_m, 1.0) / FINEST_TEXELS_PER_M))))
            width, height = (max(1, side >> halvings) for side in image.size)
            finest = image.convert("RGB").resize((width, height), Image.Resampling.BOX)
            pyramid = [_tinted(finest, tint)]
            while max(pyramid[-1].shape[:2]) > 1:
                h, w = (max(1, side // 2) for side in pyramid[-1].shape[:2])
                coarser = Image.fromarray(pyramid[-1]).resize((w, h), Image.Resampling.BOX)
                pyramid.append(np.asarray(coarser))
            self._pyramids.append(pyramid)
            self._numbers[key] = (len(self._pyramids) - 1, width / image.width)
        return self._numbers[key]

    def pack(self) -> _Textures:
        """All of them in one array."""
        levels = [level for pyramid in self._pyramids for level in pyramid]
        count = np.array([len(pyramid) for pyramid in self._pyramids], np.int64)
        start = np.cumsum([0, *(level.size for level in levels)])
        table = [(begin, level.shape[1], level.shape[0]) for begin, level in zip(start, levels, strict=False)]
        texels = np.concatenate([level.ravel() for level in levels]) if levels else np.zeros(3, np.uint8)
        first = np.concatenate([[0], np.cumsum(count)[:-1]]).astype(np.int64) if levels else np.zeros(0, np.int64)
        return _Textures(texels, np.array(table, np.int64).reshape(-1, 3), first, count)


def _tinted(image: Image.Image, tint: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    texels = np.asarray(image)
    return texels if tint is None else (texels.astype(np.uint16) * tint // 255).astype(np.uint8)


@numba.njit(cache=True, nogil=True)
def _look_up(
    triangle, weights, footprint, light, sky,
    material, corner_uv, corner_color, texels_per_m, texels, levels, first, level_count,
):  # fmt: skip
    """Colours (n, 3) uint8 of points on triangles."""
    out = np.empty((triangle.shape[0], 3), np.uint8)
    fine, coarse = np.empty(3, np.float32), np.empty(3, np.float32)
    for k in range(triangle.shape[0]):
        t = triangle[k]
        if t < 0:
            out[k] = sky
            continue
        a, b, c = weights[k, 0], weights[k, 1], weights[k, 2]
        m = material[t]
        if m < 0:
            for channel in range(3):
                of = corner_color[t]
                fine[channel] = a * of[0, channel] + b * of[1, channel] + c * of[2, channel]
        else:
            uv = corner_uv[t]
            x = a * uv[0, 0] + b * uv[1, 0] + c * uv[2, 0]
            y = a * uv[0, 1] + b * uv[1, 1] + c * uv[2, 1]
            level = np.log2(max(footprint[k] * texels_per_m[t], np.float32(1.0)))
            low = min(int(level), level_count[m] - 1)
            high = min(low + 1, level_count[m] - 1)
            share = min(level - low, np.float32(1.0))
            _bilinear(texels, levels[first[m] + low], x, y, fine)
            _bilinear(texels, levels[first[m] + high], x, y, coarse)
            for channel in range(3):
                fine[channel] += share * (coarse[channel] - fine[channel])
        for channel in range(3):
            out[k, channel] = np.uint8(min(fine[channel] * light[k] + np.float32(0.5), np.float32(255.0)))
    return out


@numba.njit(cache=True, nogil=True)
def _bilinear(texels, level, x, y, out):
    """The texture at (x, y), in shares of its size, repeated beyond its sides."""
    start, width, height = level[0], level[1], level[2]
    u, v = x * width - np.float32(0.5), y * height - np.float32(0.5)
    left, top = int(np.floor(u)), int(np.floor(v))
    p, q = u - left, v - top
    left, right, top, bottom = left % width, (left + 1) % width, top % height, (top + 1) % height
    for channel in range(3):
        upper = start + 3 * top * width + channel
        lower = start + 3 * bottom * width + channel
        above = (1 - p) * texels[upper + 3 * left] + p * texels[upper + 3 * right]
        below = (1 - p) * texels[lower + 3 * left] + p * texels[lower + 3 * right]
        out[channel] = (1 - q) * above + q * below
