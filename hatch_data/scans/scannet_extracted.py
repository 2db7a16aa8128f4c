"""ScanNet as its SensReader exports it: `color/<i>.jpg depth/<i>.png pose/<i>.txt intrinsic/*.txt`.

The folders lie in the scan's own or under `frames/`. Colour (mostly 1296x968) and depth (640x480) have intrinsics of
their own. `extrinsic_color.txt` and `extrinsic_depth.txt` map each camera into the rig.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hatch_data.geometry import Array
from hatch_data.scans import files, scannet
from hatch_data.scans.posed import Intrinsics, Rig
from hatch_data.scene import Scene

LAYOUT = "scannet"
WANTED = "color/<i>.jpg, depth/<i>.png and pose/<i>.txt (4x4, camera to world)"

space = scannet.space


def evidence(path: Path) -> str | None:
    """What in the folder speaks for an extracted ScanNet scan."""
    root = _root(path)
    found = [name for name in ("color", "depth", "pose", "intrinsic") if (root / name).is_dir()]
    if (root / "intrinsics_color.txt").is_file():
        return None
    return f"folders {', '.join(found)}" if {"color", "depth"} < set(found) else None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the unpadded frame numbers."""
    root = _root(path)
    intrinsic = root / "intrinsic"
    rig_from_color, rig_from_depth = (_matrix(intrinsic / f"extrinsic_{name}.txt") for name in ("color", "depth"))
    rig = Rig(
        Intrinsics.read(intrinsic / "intrinsic_color.txt", side=4),
        Intrinsics.read(intrinsic / "intrinsic_depth.txt", side=4),
        scannet.MILLIMETRE,
        color_from_depth=scannet.color_from_depth(rig_from_color, rig_from_depth, f"{intrinsic}/extrinsic_*.txt"),
    )
    views = scannet.numbered_views(
        files.numbered(root / "color", r"(\d+)\.(?:jpg|png)"),
        files.numbered(root / "depth", r"(\d+)\.png"),
        files.numbered(root / "pose", r"(\d+)\.txt"),
        str,
    )
    return scannet.scene(path, LAYOUT, views, rig, WANTED)


def _root(path: Path) -> Path:
    return path / "frames" if (path / "frames" / "color").is_dir() else path


def _matrix(extrinsic: Path) -> Array:
    return files.read_numbers(extrinsic, 4, 4) if extrinsic.exists() else np.eye(4)
