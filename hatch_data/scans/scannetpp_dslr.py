"""ScanNet++ as its DSLR saw it: fisheye photographs of one scene in `dslr/`, straightened when read.

Poses and the lens are those of `dslr/colmap`; `dslr/nerfstudio/transforms.json` says which frames are bad, and gives
poses and lens where there is no model. The masks `resized_anon_masks` (below 255: blurred for privacy) take their
pixels out of depth, which is `dslr/render_depth` (millimetres, fisheye) or cast from the mesh. Where only the
undistorted twins are there (`undistorted_images`, `undistorted_anon_masks`, `transforms_undistorted.json`), they are
read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hatch_data.errors import ScanError
from hatch_data.geometry import Array
from hatch_data.scans import colmap, nerfstudio, scannetpp
from hatch_data.scans.lens import straightened_raster
from hatch_data.scans.lensed import (
    GL_FROM_CAMERA,
    DepthFile,
    Mask,
    Shot,
    Size,
    by_number,
    existing,
    lensed_frames,
    with_ending,
)
from hatch_data.scans.upright import upright
from hatch_data.scene import Frame, Scene

LAYOUT = "scannetpp-dslr"
WANTED = (
    "dslr/resized_images and dslr/colmap (or dslr/nerfstudio/transforms.json); depth from scans/mesh_aligned_0.05.ply"
)
#: Images, masks and transforms: as taken, or as the data set's toolkit straightens them.
TAKEN = ("resized_images", "resized_anon_masks", "nerfstudio/transforms.json")
UNDISTORTED = ("undistorted_images", "undistorted_anon_masks", "nerfstudio/transforms_undistorted.json")
UNMASKED = 255
#: Depth is cast from the mesh for one pixel in so many each way: twelve still lie along a patch of 28.
MESH_STEP = 2


def evidence(path: Path) -> str | None:
    """What in the folder speaks for the DSLR of ScanNet++."""
    found = _twins(path / "dslr")
    return f"dslr/{found[0]}" if found else None


def read(path: Path) -> Scene:
    """The scan in `path`, the folder of a scene; ids are the names of the photographs without their ending."""
    dslr = path / "dslr"
    twins = _twins(dslr)
    if twins is None:
        raise ScanError(f"{path}: no photographs; needs {WANTED}")
    images, masks, transforms = (dslr / name for name in twins)
    shots = _shots(dslr, images, masks, transforms, distorted=twins is TAKEN)
    bad = {Path(str(f.get("file_path"))).stem for f in _listed(transforms) if f.get("is_bad")}
    frames, dropped = lensed_frames(path, [shot for shot in shots if shot.id not in bad], WANTED)
    if marked := [shot.id for shot in shots if shot.id in bad]:
        dropped["marked_bad"] = marked
    if mesh := scannetpp.mesh(path):
        frames = _with_mesh_depth(frames, shots, mesh)
    up = scannetpp.UP
    return Scene(
        path.name, LAYOUT, space(path), upright(frames, up), up, "layout", scannetpp.instances(path), dropped, mesh=mesh
    )


def space(path: Path) -> str:
    """The place: the scene."""
    return path.name


def _twins(dslr: Path) -> tuple[str, str, str] | None:
    return next((names for names in (TAKEN, UNDISTORTED) if (dslr / names[0]).is_dir()), None)


def _shots(dslr: Path, images: Path, masks: Path, transforms: Path, distorted: bool) -> list[Shot]:
    """Every photograph that a list names or that lies in the folder."""
    posed = {i.name: i for i in colmap.read_model(dslr / "colmap")} if colmap.is_model(dslr / "colmap") else {}
    listed = {Path(str(f.get("file_path"))).name: f for f in _listed(transforms)}
    if not posed and not listed:
        raise ScanError(f"{dslr}: neither colmap/ nor {transforms.relative_to(dslr)}; needs {WANTED}")
    told = nerfstudio.read_transforms(transforms) if listed else {}
    swapped = _upside_down(list(listed.values()))
    shots = []
    for name in sorted(posed.keys() | listed.keys() | _names(images), key=by_number):
        image, frame = posed.get(name), listed.get(name)
        if image:
            pose: Array | None = image.world_from_camera
        else:
            pose = _written_pose(frame, swapped) if frame and not posed else None
        lens = image.lens if image and distorted else None
        if lens is None and frame:
            lens = nerfstudio.read_lens(transforms, {**told, **frame})
        mask = existing(masks / with_ending(name, ".png"))
        depth = existing(dslr / "render_depth" / with_ending(name, ".png")) if distorted else None
        shots.append(
            Shot(
                id=Path(name).stem,
                pose=pose,
                lens=lens,
                color=existing(images / name),
                depth=DepthFile(depth) if depth else None,
                mask=Mask(mask, UNMASKED) if mask else None,
            )
        )
    return shots


def _names(images: Path) -> set[str]:
    return {file.name for file in images.iterdir() if file.suffix.lower() in colmap.ENDINGS}


def _listed(transforms: Path) -> list[dict[str, Any]]:
    if not transforms.is_file():
        return []
    told = nerfstudio.read_transforms(transforms)
    for_tests = told.get("test_frames") or []
    if not isinstance(for_tests, list) or not all(isinstance(frame, dict) for frame in for_tests):
        raise ScanError(f"{transforms}: 'test_frames' is no list of frames; restore the file")
    return [*told["frames"], *for_tests]


def _upside_down(frames: Sequence[dict[str, Any]]) -> bool:
    """Whether the world of `transforms.json` is nerfstudio's of 2023, made from the model's by x, y, z -> y, x, -z.

    People hold cameras upright: if the tops of most images point down, the world stands on its head.
    """
    tops = [pose[2, 1] for frame in frames if (pose := nerfstudio.written_pose(frame)) is not None]
    return bool(tops) and float(np.nanmean(tops)) < 0


def _written_pose(frame: dict[str, Any], swapped: bool) -> Array | None:
    pose = nerfstudio.written_pose(frame)
    if pose is None:
        return None
    world_from_written = np.eye(4)
    if swapped:
        world_from_written[:3, :3] = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]
    return np.asarray(world_from_written @ pose @ GL_FROM_CAMERA)


def _with_mesh_depth(frames: list[Frame], shots: list[Shot], mesh: Path) -> list[Frame]:
    """Frames without depth of their own see the mesh, except where their masks are."""
    by_id = {shot.id: shot for shot in shots}
    seen = []
    for frame in frames:
        if frame.read_depth is None:
            camera = frame.camera.resized(frame.camera.width // MESH_STEP, frame.camera.height // MESH_STEP)
            shot, size = by_id[frame.id], (camera.width, camera.height)
            kept = partial(_kept, shot, size) if shot.mask else None
            cast = scannetpp.MeshDepth(mesh, camera, frame.world_from_camera, kept)
            frame = replace(frame, sensor=replace(frame.sensor, camera=camera), read_depth=cast)
        seen.append(frame)
    return seen


def _kept(shot: Shot, size: Size) -> NDArray[np.bool_]:
    """The mask of a photograph as its pinhole camera sees it."""
    if shot.mask is None or shot.lens is None:
        return np.ones(size[::-1], bool)
    kept = shot.mask.kept(size)
    return kept if shot.lens.straight else straightened_raster(shot.lens, kept)
