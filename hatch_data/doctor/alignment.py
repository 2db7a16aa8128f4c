"""By how much two frames disagree as a rigid motion: the surface of one aligned with that of the other.

Projective point-to-plane alignment (Chen and Medioni 1991; Blais and Levine 1995): points of the source are looked up
where they project in the target, and moved along the target's normals. Directions that no surface holds are left alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from hatch_data.doctor.evidence import AGREES, LEAST_LANDED, Lookout, Model
from hatch_data.geometry import transform

#: Distances, as a share of depth, up to which points pull, round after round.
GATES = np.array([0.4, 0.25, 0.15, 0.1, 0.07, 0.05, 0.04, 0.03, 0.03])
#: Pixels between the neighbours whose difference is a surface's slope: less is noise.
_SLOPE_PX = 4
#: Neighbours further apart than this share of depth are two surfaces.
_STEP = 0.3
#: A point further behind than this share of depth is not expected to be seen.
HIDDEN = 0.15
#: Weight of staying, per point that pulls, and the fewest that do.
_STAY, _LEAST_PULLING = 1e-3, 30


class Misfit(NamedTuple):
    """`moved_m`: how far the points of the source have to move, in the mean, to lie on the target's surface; share of
    the landed points that agree `before` and `after`, hidden ones left out, and share that `landed` before. Where
    alignment does not help, or less than `LEAST_LANDED` lands, nothing moves."""

    moved_m: float
    before: float
    after: float
    landed: float


def misfit(lookout: Lookout, model: Model, source: int, target: int) -> Misfit:
    """Of a pair of frames."""
    rays, z = model.lifted(source, lookout.points[source])
    start = transform(np.linalg.inv(model.poses[target]) @ model.poses[source], rays * z[:, None])
    raster, unit, camera = lookout.rasters[target], lookout.units[target] * model.scale, model.intrinsics[target]
    before, landed = _agreement(start, raster, unit, camera, model.ray)
    if landed < LEAST_LANDED:
        return Misfit(0.0, before, before, landed)
    end = _aligned(start, raster, unit, camera, model.ray, GATES)
    after, still = _agreement(end, raster, unit, camera, model.ray)
    if still < LEAST_LANDED or after < before:
        return Misfit(0.0, before, before, landed)
    return Misfit(float(np.linalg.norm(end - start, axis=1).mean()), before, after, landed)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _measured(x, y, raster, unit, k, ray):
    """Planar metres behind the image point (x, y) at depth 1; 0 outside, where there is none, and on an edge."""
    column, row = int(np.floor(k[0] * x + k[2] + 0.5)), int(np.floor(k[1] * y + k[3] + 0.5))
    if not (0 <= column < raster.shape[1] and 0 <= row < raster.shape[0]):
        return 0.0
    metres = max(raster[row, column] * unit, 0.0)
    return metres / np.sqrt(1.0 + x * x + y * y) if ray else metres


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _agreement(points, raster, unit, k, ray):
    """Share of the landed points that agree, and share that lands. What lies far behind the surface is hidden by it."""
    agree, landed = 0, 0
    for p in range(points.shape[0]):
        z = points[p, 2]
        if z > 0:
            there = _measured(points[p, 0] / z, points[p, 1] / z, raster, unit, k, ray)
            landed += (there > 0) and z - there < HIDDEN * there
            agree += (there > 0) and abs(z - there) < AGREES * there
    return agree / max(landed, 1), landed / max(points.shape[0], 1)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _aligned(points, raster, unit, k, ray, gates):
    """The points (n, 3) after alignment."""
    points = points.copy()
    stay = np.empty(6)
    for gate in gates:
        hessian, gradient, pulling = _normal_equations(points, raster, unit, k, ray, gate)
        if pulling < _LEAST_PULLING:
            break
        reach = np.median(points[:, 2])
        stay[:3], stay[3:] = _STAY * pulling * reach * reach, _STAY * pulling
        step = np.linalg.solve(hessian + np.diag(stay), -gradient)
        points = points @ _rotation(step[:3]).T + step[3:]
    return points


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _rotation(vector):
    """(3, 3) of a rotation vector (Rodrigues)."""
    angle = np.sqrt((vector * vector).sum())
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _normal_equations(points, raster, unit, k, ray, gate):
    """J^T J (6, 6) and J^T r (6,) of a motion (rotation vector, translation) of the points, and how many pull."""
    hessian, gradient, jacobian = np.zeros((6, 6)), np.zeros(6), np.empty(6)
    pulling = 0
    across, down = _SLOPE_PX / k[0], _SLOPE_PX / k[1]
    for p in range(points.shape[0]):
        z = points[p, 2]
        if z <= 0:
            continue
        x, y = points[p, 0] / z, points[p, 1] / z
        there = _measured(x, y, raster, unit, k, ray)
        if there <= 0 or abs(z - there) > gate * there:
            continue
        left, right = _measured(x - across, y, raster, unit, k, ray), _measured(x + across, y, raster, unit, k, ray)
        above, below = _measured(x, y - down, raster, unit, k, ray), _measured(x, y + down, raster, unit, k, ray)
        least, greatest = min(left, right, above, below), max(left, right, above, below)
        if least <= 0 or greatest - least > _STEP * least:
            continue
        # Normal of the surface z(x, y), from its slopes; the residual is measured along it.
        slope_x, slope_y = (right - left) / (2 * across), (below - above) / (2 * down)
        n_x, n_y, n_z = -slope_x, -slope_y, there + slope_x * x + slope_y * y
        length = np.sqrt(n_x * n_x + n_y * n_y + n_z * n_z)
        n_x, n_y, n_z = n_x / length, n_y / length, n_z / length
        x, y = points[p, 0], points[p, 1]
        jacobian[0], jacobian[1], jacobian[2] = y * n_z - z * n_y, z * n_x - x * n_z, x * n_y - y * n_x
        jacobian[3], jacobian[4], jacobian[5] = n_x, n_y, n_z
        # The point of the target on the same ray lies (z - there) nearer, along that ray.
        residual = (z - there) / z * (n_x * x + n_y * y + n_z * z)
        for a in range(6):
            gradient[a] += jacobian[a] * residual
            for b in range(6):
                hessian[a, b] += jacobian[a] * jacobian[b]
        pulling += 1
    return hessian, gradient, pulling
