"""Procedural surfaces of the synthetic rooms: patterns in the coordinates of a box face, and the light of a lamp.

Every pattern carries value noise from decimetres down to a centimetre under its own seed, so that two places differ in
local texture and not only in colour. Whatever a pixel could not resolve fades out, as in a mipmap. Colours are linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: How much of a lamp's light still arrives in its shadow, off walls and ceiling.
SHADOW = 0.35
RGB = tuple[float, float, float]


class Pattern(IntEnum):
    """What a surface looks like. The last two shine by themselves."""

    PLASTER = 0
    TILES = 1
    STRIPES = 2
    BRICKS = 3
    PLANKS = 4
    MOTIFS = 5
    TERRAZZO = 6
    PLAID = 7
    PICTURE = 8
    BOOKS = 9
    LEAVES = 10
    WINDOW = 11
    GLOW = 12


@dataclass(frozen=True)
class Material:
    """A pattern in two linear colours. `scale_m` is the width of its cells, `seed` makes it one of its kind."""

    pattern: Pattern
    color: RGB
    second: RGB
    scale_m: float
    seed: int


@njit(cache=True, error_model="numpy")
def _hash(i, j, seed):
    """A number in [0, 1) for an integer cell (after the finaliser of MurmurHash3; 32 bits in 64, so no overflow)."""
    h = (i * 374761393 + j * 668265263 + seed * 2246822519) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 2057586167) & 0xFFFFFFFF
    return (h ^ (h >> 16)) / 4294967296.0


@njit(cache=True, error_model="numpy")
def _noise(u, v, seed):
    """Value noise in [0, 1) with unit cells."""
    i, j = int(np.floor(u)), int(np.floor(v))
    x, y = u - i, v - j
    x, y = x * x * (3.0 - 2.0 * x), y * y * (3.0 - 2.0 * y)
    low = _hash(i, j, seed) * (1.0 - x) + _hash(i + 1, j, seed) * x
    high = _hash(i, j + 1, seed) * (1.0 - x) + _hash(i + 1, j + 1, seed) * x
    return low * (1.0 - y) + high * y


@njit(cache=True, error_model="numpy")
def _resolved(wavelength, footprint):
    """How much of a detail of this wavelength a pixel covering `footprint` shows, 0 to 1."""
    return min(1.0, max(0.0, 0.5 * wavelength / footprint - 0.5))


@njit(cache=True, error_model="numpy")
def _grain(u, v, footprint, wavelength, octaves, seed):
    """Noise about 0 in several octaves from `wavelength` metres down, amplitude falling by a fifth an octave."""
    total, amplitude = 0.0, 1.0
    for octave in range(octaves):
        shown = _resolved(wavelength, footprint)
        if shown <= 0.0:
            break
        total += shown * amplitude * (_noise(u / wavelength, v / wavelength, seed + 31 * octave) - 0.5)
        amplitude *= 0.8
        wavelength *= 0.5
    return total


@njit(cache=True, error_model="numpy")
def _step(x, width):
    """0 below 0, 1 above, smooth over `width` on either side."""
    x = min(1.0, max(0.0, 0.5 + 0.5 * x / width))
    return x * x * (3.0 - 2.0 * x)


@njit(cache=True, error_model="numpy")
def _tiles(u, v, footprint, scale, seed):
    """Mix of the two colours and tone of a chequered floor with joints."""
    i, j = int(np.floor(u / scale)), int(np.floor(v / scale))
    x, y = u - i * scale, v - j * scale
    edge = min(min(x, scale - x), min(y, scale - y))
    shown = _resolved(scale, footprint)
    joint = (1.0 - _step(edge - 0.012 * scale, max(0.6 * footprint, 0.002))) * _resolved(0.1 * scale, footprint)
    mix = 0.5 + shown * (((i + j) & 1) - 0.5)
    return mix, (1.0 + shown * 0.5 * (_hash(i, j, seed) - 0.5)) * (1.0 - 0.5 * joint)


@njit(cache=True, error_model="numpy")
def _stripes(u, footprint, scale, seed):
    """Mix and tone of upright stripes of uneven width."""
    i = int(np.floor(u / scale))
    split = scale * (0.25 + 0.5 * _hash(i, 0, seed))
    x = u - i * scale
    shown, soft = _resolved(scale, footprint), max(0.6 * footprint, 0.002)
    mix = 0.5 + shown * (_step(x - split, soft) * _step(scale - x, soft) - 0.5)
    return mix, 1.0 + shown * 0.6 * (_hash(i, 1, seed) - 0.5)


@njit(cache=True, error_model="numpy")
def _bricks(u, v, footprint, scale, seed):
    """Mix (1 = mortar) and tone of bricks in stretcher bond."""
    tall = 0.36 * scale
    j = int(np.floor(v / tall))
    shifted = u + 0.5 * scale * (j & 1)
    i = int(np.floor(shifted / scale))
    x, y = shifted - i * scale, v - j * tall
    edge = min(min(x, scale - x), min(y, tall - y))
    shown = _resolved(tall, footprint)
    mortar = 1.0 - _step(edge - 0.035 * scale, max(0.6 * footprint, 0.004))
    return shown * mortar + (1.0 - shown) * 0.15, 1.0 + shown * 0.75 * (_hash(i, j, seed) - 0.5)


@njit(cache=True, error_model="numpy")
def _planks(u, v, footprint, scale, seed):
    """Mix and tone of wooden boards along u: each its own shade, with a long grain."""
    j = int(np.floor(v / scale))
    along = u / (9.0 * scale) + _hash(j, 7, seed)
    i = int(np.floor(along))
    y = v - j * scale
    edge = min(min(y, scale - y), 9.0 * scale * min(along - i, 1.0 - along + i))
    shown = _resolved(scale, footprint)
    joint = (1.0 - _step(edge - 0.02 * scale, max(0.6 * footprint, 0.002))) * _resolved(0.15 * scale, footprint)
    offset = 50.0 * _hash(i, j, seed + 3)
    grain = _grain(0.12 * u + offset, v + offset, footprint, 0.06, 3, seed)
    return 0.5 + 0.9 * grain, (1.0 + shown * 0.55 * (_hash(i, j, seed) - 0.5)) * (1.0 - 0.55 * joint)


@njit(cache=True, error_model="numpy")
def _motifs(u, v, footprint, scale, seed):
    """Mix and tone of a wallpaper: a disc, ring, lozenge or cross in every cell, no two alike."""
    i, j = int(np.floor(u / scale)), int(np.floor(v / scale))
    kind, size = _hash(i, j, seed + 1), scale * (0.2 + 0.22 * _hash(i, j, seed + 2))
    x = abs(u - (i + 0.5 + 0.16 * (_hash(i, j, seed + 3) - 0.5)) * scale)
    y = abs(v - (j + 0.5 + 0.16 * (_hash(i, j, seed + 4) - 0.5)) * scale)
    if kind < 0.3:
        inside = size - np.sqrt(x * x + y * y)
    elif kind < 0.55:
        inside = 0.28 * size - abs(np.sqrt(x * x + y * y) - 0.72 * size)
    elif kind < 0.8:
        inside = 0.7 * (size - x - y)
    else:
        inside = min(size - max(x, y), 0.35 * size - min(x, y))
    shown = _resolved(0.5 * scale, footprint)
    mix = shown * _step(inside, max(0.6 * footprint, 0.002)) + (1.0 - shown) * 0.3
    return mix, 1.0 + shown * 0.3 * (_hash(i, j, seed) - 0.5)


@njit(cache=True, error_model="numpy")
def _terrazzo(u, v, footprint, scale, seed):
    """Mix and tone of chips of many sizes, one in most cells of a jittered grid."""
    mix, tone = 0.0, 1.0
    for layer in range(2):
        cell = scale * (1.0 - 0.55 * layer)
        i, j = int(np.floor(u / cell)), int(np.floor(v / cell))
        a, b = _hash(i, j, seed + 5 * layer), _hash(i, j, seed + 5 * layer + 1)
        size = cell * (0.1 + 0.22 * _hash(i, j, seed + 5 * layer + 2))
        x, y = u - (i + 0.35 + 0.3 * a) * cell, v - (j + 0.35 + 0.3 * b) * cell
        inside = size - np.sqrt(x * x * (0.6 + b) + y * y * (0.6 + a) + 0.8 * (a - b) * x * y)
        shown = _resolved(0.6 * cell, footprint)
        chip = shown * _step(inside, max(0.6 * footprint, 0.002))
        mix, tone = max(mix, chip), tone * (1.0 + chip * 1.1 * (_hash(i, j, seed + 5 * layer + 3) - 0.5))
    return mix, tone


@njit(cache=True, error_model="numpy")
def _plaid(u, v, footprint, scale, seed):
    """Mix and tone of a woven check: stripes both ways, uneven."""
    across, tone_u = _stripes(u, footprint, scale, seed)
    along, tone_v = _stripes(v, footprint, scale, seed + 9)
    return 0.5 * (across + along), tone_u * tone_v


@njit(cache=True, error_model="numpy")
def _picture(u, v, half_u, half_v, footprint, seed):
    """Colour of a framed abstract painting that fills its face."""
    soft = max(0.6 * footprint, 0.002)
    edge = min(half_u - abs(u), half_v - abs(v))
    r, g, b = 0.15 + 0.7 * _hash(1, 0, seed), 0.15 + 0.7 * _hash(1, 1, seed), 0.15 + 0.7 * _hash(1, 2, seed)
    slope = 0.5 + 0.4 * (u / half_u * (_hash(2, 0, seed) - 0.5) + v / half_v * (_hash(2, 1, seed) - 0.5)) * 2.0
    r, g, b = r * slope, g * slope, b * slope
    for k in range(9):
        x = abs(u - half_u * 1.8 * (_hash(k, 10, seed) - 0.5))
        y = abs(v - half_v * 1.8 * (_hash(k, 11, seed) - 0.5))
        size = min(half_u, half_v) * (0.08 + 0.5 * _hash(k, 12, seed) * (9 - k) / 9.0)
        kind = _hash(k, 13, seed)
        if kind < 0.45:
            inside = size - np.sqrt(x * x + y * y)
        elif kind < 0.8:
            inside = size - max(x * (0.3 + kind), y * 1.2)
        else:
            inside = 0.7 * (size - x - y)
        cover = 0.92 * _step(inside, soft)
        r += cover * (0.9 * _hash(k, 14, seed) - r)
        g += cover * (0.9 * _hash(k, 15, seed) - g)
        b += cover * (0.9 * _hash(k, 16, seed) - b)
    frame = 1.0 - _step(edge - 0.025, soft)
    wood = 0.03 + 0.5 * _hash(3, 3, seed)
    return r + frame * (wood - r), g + frame * (0.75 * wood - g), b + frame * (0.5 * wood - b)


@njit(cache=True, error_model="numpy")
def _books(u, v, half_v, footprint, scale, seed):
    """Colour of a row of book spines of uneven width, height and hue, with a title band."""
    soft = max(0.5 * footprint, 0.001)
    i = int(np.floor(u / scale))
    if u < (i + 0.35 * (_hash(i, 0, seed) - 0.5)) * scale:
        i -= 1
    elif u >= (i + 1 + 0.35 * (_hash(i + 1, 0, seed) - 0.5)) * scale:
        i += 1
    x = min(u - (i + 0.35 * (_hash(i, 0, seed) - 0.5)) * scale, (i + 1) * scale - u)
    tone = (0.5 + 0.5 * _step(x - 0.1 * scale, soft)) * _resolved(scale, footprint) + 0.75 * (
        1.0 - _resolved(scale, footprint)
    )
    r, g, b = (
        0.05 + 0.7 * _hash(i, 1, seed) ** 2,
        0.05 + 0.5 * _hash(i, 2, seed) ** 2,
        0.05 + 0.6 * _hash(i, 3, seed) ** 2,
    )
    band = _step(0.12 * half_v - abs(v - half_v * (1.2 * _hash(i, 4, seed) - 0.6)), soft)
    light = 0.7 * _hash(i, 5, seed)
    r, g, b = r + band * (light - r), g + band * (0.9 * light - g), b + band * (0.6 * light - b)
    tone *= 1.0 - 0.9 * _step(v - half_v * (1.0 - 0.4 * _hash(i, 6, seed)), soft)
    return r * tone, g * tone, b * tone


@njit(cache=True, error_model="numpy")
def _window(u, v, half_u, half_v, footprint, seed):
    """Colour of a bright view through a window: sky, clouds, hills, and the bars in front."""
    soft = max(0.6 * footprint, 0.003)
    cloud = _step(_grain(u, 2.0 * v, footprint, 0.5, 4, seed), 0.5)
    r, g, b = 0.45 + 0.5 * cloud, 0.62 + 0.35 * cloud, 0.92 + 0.08 * cloud
    ridge = half_v * (0.6 * _hash(0, 1, seed) - 0.6) + 0.5 * (_noise(2.0 * u, 0.5, seed + 1) - 0.5)
    ground = _step(ridge - v, soft)
    leaf = 1.0 + 1.2 * _grain(u, v, footprint, 0.12, 3, seed + 2)
    r, g, b = r + ground * (0.18 * leaf - r), g + ground * (0.32 * leaf - g), b + ground * (0.12 * leaf - b)
    bars = min(half_u - abs(u), half_v - abs(v)) - 0.05
    bars = min(bars, abs(u) - 0.02)
    if half_v > 0.5:
        bars = min(bars, abs(v - 0.3 * half_v) - 0.02)
    bar = 1.0 - _step(bars, soft)
    return r + bar * (0.75 - r), g + bar * (0.74 - g), b + bar * (0.7 - b)


@njit(cache=True, error_model="numpy")
def _mixed(pattern, u, v, footprint, scale, seed):
    """Mix of the two colours, and tone, of the patterns that are made of two colours."""
    if pattern == 1:
        return _tiles(u, v, footprint, scale, seed)
    if pattern == 2:
        return _stripes(u, footprint, scale, seed)
    if pattern == 3:
        return _bricks(u, v, footprint, scale, seed)
    if pattern == 4:
        return _planks(u, v, footprint, scale, seed)
    if pattern == 5:
        return _motifs(u, v, footprint, scale, seed)
    if pattern == 6:
        return _terrazzo(u, v, footprint, scale, seed)
    if pattern == 7:
        return _plaid(u, v, footprint, scale, seed)
    if pattern == 10:
        return 0.5 + 1.4 * _grain(u, v, footprint, scale, 3, seed), 1.0
    return 0.5 + 0.9 * _grain(u, v, footprint, scale, 2, seed + 77), 1.0


@njit(cache=True, error_model="numpy")
def _lit(light, point, normal, share):
    """Brightness of a surface point by its room's lamp: position 0:3, power 3, ambient 4, bounds 5:8 and 8:11.

    Lambert's law, wrapped so that no face loses its texture, falling off with distance, dimmed along the room's edges.
    `share` of the lamp's light arrives.
    """
    square, cosine, dim = 0.0, 0.0, 1.0
    for i in range(3):
        away = light[i] - point[i]
        square += away * away
        cosine += away * normal[i]
        edge = min(abs(point[i] - light[5 + i]), abs(light[8 + i] - point[i]))
        dim *= 1.0 - 0.38 * (1.0 - abs(normal[i])) * 0.12 / (0.12 + edge)
    wrapped = max(0.0, 0.25 + 0.75 * cosine / np.sqrt(square))
    return dim * (light[4] + share * light[3] * wrapped / (1.0 + square / 5.0))


@njit(cache=True, error_model="numpy")
def _albedo(surface, u, v, du, dv, half_u, half_v, footprint, side):
    """Linear colour of a face at (u, v) from its middle, which lies at (du, dv) of its texture."""
    pattern, seed, scale = int(surface[0]), int(surface[1]) + side, surface[2]
    if pattern == 11:
        return _window(u, v, half_u, half_v, footprint, seed)
    tone = 1.0 + 0.46 * _grain(u + du, v + dv, footprint, 0.4, 7, seed + 1000)
    if pattern == 8:
        r, g, b = _picture(u, v, half_u, half_v, footprint, seed)
        return tone * r, tone * g, tone * b
    if pattern == 9:
        r, g, b = _books(u, v, half_v, footprint, scale, seed)
        return tone * r, tone * g, tone * b
    if pattern == 12:
        return surface[3], surface[4], surface[5]
    mix, pattern_tone = _mixed(pattern, u + du, v + dv, footprint, scale, seed)
    mix, tone = min(1.0, max(0.0, mix)), tone * pattern_tone
    return (
        tone * (surface[3] + mix * (surface[6] - surface[3])),
        tone * (surface[4] + mix * (surface[7] - surface[4])),
        tone * (surface[5] + mix * (surface[8] - surface[5])),
    )


@njit(cache=True, error_model="numpy")
def _encode(value):
    """A linear value as a byte at gamma 2: a square root is exact, so its bits are the same everywhere."""
    return int(255.0 * np.sqrt(min(1.0, max(0.0, value))))


@njit(cache=True, error_model="numpy")
def shade(origin, directions, distance, box, face, lit, spread, center, half, turn, surfaces, origins, room, lights):
    """Colours of what rays hit: (n, 3) uint8, gamma 2. `lit` (n,) tells where the lamp reaches.

    `spread` is the angle of a pixel in radians; `surfaces` (boxes, 9) holds pattern, seed, scale and two colours,
    `origins` (boxes, 3) where a box lies in its texture, `lights` (rooms, 14) what `_lit` takes and the lamp's colour.
    """
    pixels = np.zeros((len(distance), 3), np.uint8)
    point, local, normal = np.empty(3), np.empty(3), np.empty(3)
    for k in range(len(distance)):
        at, side = box[k], face[k]
        if at < 0:
            continue
        ray = directions[k]
        for i in range(3):
            point[i] = origin[i] + distance[k] * ray[i]
        cosine, sine = turn[at, 0], turn[at, 1]
        x, y = point[0] - center[at, 0], point[1] - center[at, 1]
        local[0], local[1], local[2] = cosine * x + sine * y, cosine * y - sine * x, point[2] - center[at, 2]
        axis, sign = side // 2, 2.0 * (side % 2) - 1.0
        normal[0] = sign * (cosine if axis == 0 else -sine if axis == 1 else 0.0)
        normal[1] = sign * (sine if axis == 0 else cosine if axis == 1 else 0.0)
        normal[2] = sign if axis == 2 else 0.0
        across, up = (1 if axis == 0 else 0), (1 if axis == 2 else 2)
        length = np.sqrt(ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2])
        facing = abs(ray[0] * normal[0] + ray[1] * normal[1] + ray[2] * normal[2]) / length
        footprint = distance[k] * length * spread / np.sqrt(max(facing, 0.04))
        r, g, b = _albedo(
            surfaces[at], local[across], local[up], origins[at, across], origins[at, up],
            half[at, across], half[at, up], footprint, side,
        )  # fmt: skip
        light = lights[room[at]]
        shine = 1.05
        if surfaces[at, 0] < 11:
            shine = _lit(light, point, normal, 1.0 if lit[k] else SHADOW)
        pixels[k, 0] = _encode(r * shine * light[11])
        pixels[k, 1] = _encode(g * shine * light[12])
        pixels[k, 2] = _encode(b * shine * light[13])
    return pixels


def surface_table(materials: list[Material]) -> NDArray[np.float64]:
    """What `shade` reads of each box's material, (boxes, 9)."""
    return np.array([(m.pattern, m.seed, m.scale_m, *m.color, *m.second) for m in materials], dtype=np.float64)
