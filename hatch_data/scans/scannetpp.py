"""What the two layouts of ScanNet++ (Yeshwanth et al. 2023) share: the laser scan's mesh, its world, its annotations.

All poses and the mesh are in one metric world with z up.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, Camera
from hatch_data.scans import files
from hatch_data.scans import mesh as meshes
from hatch_data.scans.annotations import stated_box
from hatch_data.scans.lensed import existing
from hatch_data.scene import DepthImage, Instance

UP = np.array([0.0, 0.0, 1.0])


def mesh(path: Path) -> Path | None:
    """The mesh of the scene's folder."""
    return existing(path / "scans" / "mesh_aligned_0.05.ply")


def instances(path: Path) -> list[Instance]:
    """The boxes of `scans/segments_anno.json`, where there is one."""
    file = path / "scans" / "segments_anno.json"
    if not file.is_file():
        return []
    try:
        groups = json.loads(files.read_text(file))["segGroups"]
        return [Instance(str(g["objectId"]), str(g["label"]), *stated_box(g["obb"], file)) for g in groups]
    except files.MALFORMED as error:
        raise ScanError(f"{file}: no list of labelled boxes ({error!r}); restore the file or remove it") from error


@dataclass(frozen=True)
class MeshDepth:
    """A frame's `read_depth` where the laser scan's mesh takes the place of a sensor: planar depth of a pinhole camera,
    without the pixels that `kept` leaves out."""

    mesh: Path
    camera: Camera
    world_from_camera: Array
    kept: Callable[[], NDArray[np.bool_]] | None

    def __call__(self) -> DepthImage:
        depth = meshes.shared(self.mesh).depth(self.camera, self.world_from_camera)
        return DepthImage(depth if self.kept is None else np.where(self.kept(), depth, np.float32(0)))
