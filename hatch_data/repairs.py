"""What to put right in a scan that is not what its layout promises: settings under `scan:`, applied after reading.

`hatch-data doctor` finds the settings, `doctor.conventions` tries them out on decoded depth through the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, Camera
from hatch_data.recipe import ScanSettings
from hatch_data.scans import gravity, upright
from hatch_data.scans.posed import pose_fault
from hatch_data.scene import DepthImage, Frame, Scene

#: Camera axes of OpenGL (y up, z back) in those of OpenCV.
OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
#: Between two ids in `scan.skip`.
RANGE = ".."


def repair(scene: Scene, settings: ScanSettings) -> Scene:
    """The scan with the repairs applied; the frames are read when they are needed, as before.

    What is left out is dropped as `skipped`, or as `no_pose_at_shift` where a shifted stamp has no pose. Up is
    estimated again where it was estimated. Raises `ScanError` where a repair does not fit the scan.
    """
    if settings == ScanSettings(check=settings.check, longest_gap=settings.longest_gap):
        return scene
    repaired = replace(scene, dropped={reason: list(ids) for reason, ids in scene.dropped.items()})
    skipped = skipped_ids(scene, settings.skip)
    poses = shifted_poses(scene, settings.pose_shift, settings.time_shift_s)
    repaired.frames = []
    for frame, pose in zip(scene.frames, poses, strict=True):
        if frame.id in skipped:
            repaired.drop("skipped", frame.id)
        elif pose is None:
            repaired.drop("no_pose_at_shift", frame.id)
        else:
            repaired.frames.append(_frame(frame, pose, settings))
    if not repaired.frames:
        raise ScanError(f"{scene.id}: no frame is left by the repairs under 'scan'; leave some of them out")
    if scene.up_source == "estimated":
        repaired.up = gravity.estimate_up(repaired.frames)
    return repaired


def repaired_pose(world_from_camera: Array, settings: ScanSettings) -> Array:
    """World-from-camera, (4, 4) or (n, 4, 4), of a pose as it was read."""
    if settings.pose == "camera_from_world":
        world_from_camera = np.linalg.inv(world_from_camera).astype(np.float64)
    return world_from_camera @ OPENCV_FROM_OPENGL if settings.camera_axes == "opengl" else world_from_camera


def repaired_camera(camera: Camera, settings: ScanSettings) -> Camera:
    """The camera of an image as it is stored, before it is turned."""
    scale = settings.intrinsics_scale
    focal = scale * settings.focal_scale
    return replace(
        camera, fx=camera.fx * focal, fy=camera.fy * focal, cx=(camera.cx + 0.5) * scale - 0.5,
        cy=(camera.cy + 0.5) * scale - 0.5,
    )  # fmt: skip


def repaired_color_camera(camera: Camera, settings: ScanSettings) -> Camera:
    """The same for the colour camera, which may be off on its own."""
    camera, (right, down) = repaired_camera(camera, settings), settings.color_shift_px
    zoom = settings.color_zoom
    return replace(camera, fx=camera.fx * zoom, fy=camera.fy * zoom, cx=camera.cx + right, cy=camera.cy + down)


def planar_from_ray(camera: Camera) -> Array:
    """(height, width) factor that turns distance along the ray into depth along the optical axis."""
    v, u = np.mgrid[: camera.height, : camera.width]
    return 1.0 / np.linalg.norm(camera.unproject(np.stack([u, v], axis=-1), np.ones(u.shape)), axis=-1)


def turned_from_camera(quarters: int) -> Array:
    """(4, 4) rotation that takes camera axes to those of the image turned clockwise by quarters of a turn."""
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters % 4]
    return np.array([[c, -s, 0.0, 0.0], [s, c, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def shifted_poses(scene: Scene, frames: int, seconds: float) -> Sequence[Array | None]:
    """The pose of each frame taken `frames` later in the order of capture, or `seconds` later by its stamp.

    By stamp the pose comes from the layout where it has poses at any time, else it is interpolated between those of
    the frames. None where there is none. Raises `ScanError` where frames have no stamps.
    """
    poses = [frame.world_from_camera for frame in scene.frames]
    if frames:
        where = [k + frames for k in range(len(poses))]
        return [poses[k] if 0 <= k < len(poses) else None for k in where]
    if not seconds:
        return poses
    stamps = [frame.timestamp_s for frame in scene.frames if frame.timestamp_s is not None]
    if len(stamps) < len(poses):
        raise ScanError(f"{scene.id}: its frames have no stamps, so scan.time_shift_s cannot be used; see pose_shift")
    if scene.pose_at is not None:
        found = [scene.pose_at(stamp + seconds) for stamp in stamps]
        return [None if pose is None or pose_fault(pose) else pose for pose in found]
    return _interpolated(np.array(stamps), np.stack(poses), np.array(stamps) + seconds)


def skipped_ids(scene: Scene, skip: Sequence[str]) -> set[str]:
    """Ids named by `scan.skip`. Raises `ScanError` where one is not a frame of the scan, usable or dropped."""
    order = {frame.id: k for k, frame in enumerate(scene.frames)}
    gone = {frame_id for ids in scene.dropped.values() for frame_id in ids}
    skipped: set[str] = set()
    for entry in skip:
        first, _, last = entry.partition(RANGE)
        ends = [order.get(end) for end in (first, last or first)]
        if first == entry and first in gone:
            continue
        if ends[0] is None or ends[1] is None:
            raise ScanError(f"{scene.id}: scan.skip names {entry}, which it has not; take ids from hatch-data doctor")
        skipped.update(frame.id for frame in scene.frames[ends[0] : ends[1] + 1])
    return skipped


def _interpolated(stamps: Array, poses: Array, wanted: Array) -> list[Array | None]:
    stamps, first = np.unique(stamps, return_index=True)
    if len(stamps) < 2:
        return [None] * len(wanted)
    inside = np.clip(wanted, stamps[0], stamps[-1])
    found = np.tile(np.eye(4), (len(wanted), 1, 1))
    found[:, :3, :3] = Slerp(stamps, Rotation.from_matrix(poses[first, :3, :3]))(inside).as_matrix()
    for axis in range(3):
        found[:, axis, 3] = np.interp(inside, stamps, poses[first, axis, 3])
    return [pose if at == asked else None for pose, at, asked in zip(found, inside, wanted, strict=True)]


def _frame(frame: Frame, world_from_camera: Array, settings: ScanSettings) -> Frame:
    camera, depth_camera = repaired_color_camera(frame.camera, settings), repaired_camera(frame.sensor.camera, settings)
    as_read = frame.read_depth is None or (settings.depth_scale == 1 and settings.depth_is == "planar")
    repaired = replace(
        frame,
        camera=camera,
        sensor=replace(frame.sensor, camera=depth_camera),
        read_depth=frame.read_depth if as_read else partial(_read_depth, frame.depth, depth_camera, settings),
    )
    # Turning an image turns its pose too, but here the pose is right and the image is not.
    turned = upright.turned(repaired, settings.rotate // 90)
    return replace(turned, world_from_camera=repaired_pose(world_from_camera, settings))


def _read_depth(read: Callable[[], DepthImage], camera: Camera, settings: ScanSettings) -> DepthImage:
    depth = read()
    values, unit = depth.values, depth.metres_per_unit * settings.depth_scale
    if settings.depth_is == "ray":
        values = (values * planar_from_ray(camera)).astype(np.float32)
    return DepthImage(values, unit)
