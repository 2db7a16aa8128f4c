"""Where the depth of a scan's frames comes from: the sensor, the scan's mesh, or a fusion of all its depth images.

    with_depth(scene, mode) -> Scene of which every frame has depth

`sensor` takes depth as measured, `mesh` casts rays against the scan's mesh, `auto` does so for frames without sensor
depth, and `fused` fills the holes of sensor depth from a TSDF fusion (Curless and Levoy 1996) of the scan's own frames.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array, Camera, inverse
from hatch_data.scene import DepthImage, DepthSensor, Frame, Scene
from hatch_data.views import RASTER_PX_PER_PATCH

DepthMode = Literal["auto", "sensor", "mesh", "fused"]

#: Edge of a voxel of the fusion, and how many of them the signed distance reaches on both sides of a surface.
VOXEL_M, TRUNCATION_VOXELS = 0.02, 4.0
#: A surface counts where at least this many frames have measured it.
LEAST_FRAMES = 2
#: Beyond this, depth sensors measure too coarsely to be fused.
FUSED_UP_TO_M = 6.0
#: Width in pixels at which depth is rendered from a mesh, where colour is no smaller and patches need no more.
RENDERED_WIDTH_PX = 640


def with_depth(scene: Scene, mode: DepthMode) -> Scene:
    """The scene with depth for every frame that is left; frames that get none are dropped as `missing_depth`.

    Raises `ScanError` where no frame can get depth, or where the mode needs what the scan or the installation lacks.
    """
    if mode == "mesh" and scene.mesh is None:
        raise ScanError(f"{scene.id}: depth 'mesh', but the scan has no mesh; use --depth sensor")
    given = replace(scene, frames=[], dropped={reason: list(ids) for reason, ids in scene.dropped.items()})
    fused = fuse(scene) if mode == "fused" else None
    for frame in scene.frames:
        if mode == "mesh" or (mode == "auto" and frame.read_depth is None and scene.mesh):
            given.frames.append(_from_mesh(frame, scene.mesh))
        elif fused and frame.read_depth is not None:
            given.frames.append(replace(frame, read_depth=partial(_filled, frame, fused)))
        elif fused:
            given.frames.append(_from_mesh(frame, fused))
        elif frame.read_depth is not None:
            given.frames.append(frame)
        else:
            given.drop("missing_depth", frame.id)
    if scene.frames and not given.frames:
        rest = "use --depth mesh" if scene.mesh else "nor a mesh; add the depth images or the mesh of the scan"
        raise ScanError(f"{scene.id}: none of its {len(scene.frames)} frames has sensor depth, {rest}")
    return given


def _from_mesh(frame: Frame, mesh: Any) -> Frame:
    """The frame with depth rendered where its colour camera stands; `mesh` is a `Mesh` or the file of one."""
    color = frame.camera
    width = min(color.width, max(RENDERED_WIDTH_PX, -(-color.width * RASTER_PX_PER_PATCH // 28)))
    camera = color.resized(width, round(color.height * width / color.width))
    sensor = DepthSensor(camera, tolerance=frame.sensor.tolerance)
    return replace(frame, sensor=sensor, read_depth=partial(_rendered, mesh, camera, frame.world_from_camera))


def _rendered(mesh: Any, camera: Camera, world_from_camera: Array) -> DepthImage:
    from hatch_data.scans import mesh as meshes

    solid = meshes.shared(mesh) if isinstance(mesh, Path) else mesh
    return DepthImage(solid.depth(camera, world_from_camera))


def _filled(frame: Frame, mesh: Any) -> DepthImage:
    """The frame's own depth, and that of the fused mesh where it has none."""
    depth = frame.depth().metres
    rendered = mesh.depth(frame.sensor.camera, frame.world_from_camera @ frame.sensor.color_from_depth)
    return DepthImage(np.where(depth > 0, depth, rendered))


def fuse(scene: Scene) -> Any:
    """The `Mesh` of a TSDF fusion of all sensor depth; a frame whose depth cannot be read adds nothing to it.

    Raises `ScanError` where Open3D is not there or no surface comes out.
    """
    from hatch_data.scans.mesh import Mesh

    o3d = _open3d()
    core = o3d.core
    voxels = o3d.t.geometry.VoxelBlockGrid(
        ("tsdf", "weight"), (core.float32, core.float32), ((1), (1)), VOXEL_M, block_resolution=8, block_count=20_000
    )
    for frame in scene.frames:
        try:
            depth = o3d.t.geometry.Image(frame.depth().metres)
        except FrameError:  # the build meets it again and counts it
            continue
        intrinsic = core.Tensor(frame.sensor.camera.matrix)
        extrinsic = core.Tensor(inverse(frame.world_from_camera @ frame.sensor.color_from_depth))
        limits = {"depth_scale": 1.0, "depth_max": FUSED_UP_TO_M, "trunc_voxel_multiplier": TRUNCATION_VOXELS}
        blocks = voxels.compute_unique_block_coordinates(depth, intrinsic, extrinsic, **limits)
        voxels.integrate(blocks, depth, intrinsic, extrinsic, **limits)
    surface = voxels.extract_triangle_mesh(weight_threshold=LEAST_FRAMES - 0.5)
    if "positions" not in surface.vertex or not len(surface.triangle.indices):
        raise ScanError(f"{scene.id}: no surface comes out of the fusion of its depth; use --depth sensor or mesh")
    vertices, triangles = surface.vertex.positions.numpy(), surface.triangle.indices.numpy()
    return Mesh(vertices.astype(np.float64), triangles.astype(np.int32))


def _open3d() -> Any:
    try:
        return import_module("open3d")
    except ModuleNotFoundError as error:
        raise ScanError(
            f"depth 'fused' needs Open3D ({error}); pip install 'hatch-spatial[fusion]', or use --depth sensor"
        ) from error
    except (ImportError, OSError) as error:  # the wheel is there, a library of the system is not
        raise ScanError(
            f"depth 'fused' needs Open3D, which lacks a library of the system ({' '.join(str(error).split())}); on "
            "Debian: apt install libusb-1.0-0 libgl1 libegl1 libx11-6 libudev1 libidn2-0; or use --depth sensor"
        ) from error
