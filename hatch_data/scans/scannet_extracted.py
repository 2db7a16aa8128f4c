"""ScanNet (Dai et al. 2017) as its SensReader exports it: `color/<i>.jpg depth/<i>.png pose/<i>.txt intrinsic/*.txt`.

The folders lie in the scan's own or under `frames/`. Colour (mostly 1296x968) and depth (640x480) have intrinsics of
their own. `extrinsic_depth.txt` maps the depth camera into the rig and `extrinsic_color.txt` the colour camera: in
ScanNet's calibration tool the depth extrinsic is the depth-to-colour map beside a colour extrinsic of identity. They
are identity in the published scans, whose depth is registered. Worlds are gravity-aligned with z up.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, inverse, is_rigid
from hatch_data.scans import files
from hatch_data.scans.posed import Intrinsics, Rig, View, posed_frames
from hatch_data.scene import Scene

LAYOUT = "scannet"
WANTED = "color/<i>.jpg, depth/<i>.png and pose/<i>.txt (4x4, camera to world)"
MILLIMETRE = 1e-3


def evidence(path: Path) -> str | None:
    """What in the folder speaks for an extracted ScanNet scan."""
    root = _root(path)
    found = [name for name in ("color", "depth", "pose", "intrinsic") if (root / name).is_dir()]
    return f"folders {', '.join(found)}" if {"color", "depth"} < set(found) else None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the unpadded frame numbers."""
    root = _root(path)
    colors = files.numbered(root / "color", r"(\d+)\.(?:jpg|png)")
    depths = files.numbered(root / "depth", r"(\d+)\.png")
    poses = files.numbered(root / "pose", r"(\d+)\.txt")
    numbers = sorted(colors.keys() | depths.keys() | poses.keys())
    views = [View(str(n), colors.get(n), depths.get(n), poses.get(n)) for n in numbers]
    intrinsic = root / "intrinsic"
    rig = Rig(
        Intrinsics.read(intrinsic / "intrinsic_color.txt", side=4),
        Intrinsics.read(intrinsic / "intrinsic_depth.txt", side=4),
        MILLIMETRE,
        color_from_depth=inverse(_rig_from(intrinsic / "extrinsic_color.txt"))
        @ _rig_from(intrinsic / "extrinsic_depth.txt"),
    )
    frames, dropped = posed_frames(path, views, rig, WANTED)
    return Scene(path.name, LAYOUT, space(path), frames, np.array([0.0, 0.0, 1.0]), "layout", dropped=dropped)


def space(path: Path) -> str:
    """The place: `scene0000` of `scene0000_00`, since all scans of one number show one place."""
    named = re.match(r"scene\d{4}(?=_\d\d)", path.name)
    return named[0] if named else path.name


def _root(path: Path) -> Path:
    return path / "frames" if (path / "frames" / "color").is_dir() else path


def _rig_from(extrinsic: Path) -> Array:
    if not extrinsic.exists():
        return np.eye(4)
    matrix = files.read_numbers(extrinsic, 4, 4)
    if not is_rigid(matrix):
        raise ScanError(f"{extrinsic}: no rigid transform; restore the file or remove it where depth is registered")
    return matrix
