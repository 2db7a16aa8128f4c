"""ScanNet posed_images: `posed_images/<scan>/%05d.{jpg,png,txt}` (colour, depth, pose), `intrinsic.txt` of colour.

`depth_intrinsic.txt` is used where it is there; without it depth has the colour camera, resized. That holds for
ScanNet's depth to a pixel, since it is registered. Ids may be renumbered after frames were skipped.
"""

from __future__ import annotations

from pathlib import Path

from hatch_data.scans import files, scannet
from hatch_data.scans.posed import Intrinsics, Rig
from hatch_data.scene import Scene

LAYOUT = "scannet-posed-images"
WANTED = "%05d.jpg (colour), %05d.png (depth), %05d.txt (4x4, camera to world) and intrinsic.txt in one folder"

space = scannet.space


def evidence(path: Path) -> str | None:
    """What in the folder speaks for posed_images."""
    found = (path / "intrinsic.txt").is_file() and all(files.holds(path, rf"\d+\.{end}") for end in ("jpg", "png"))
    return "numbered .jpg and .png beside intrinsic.txt" if found else None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the padded frame numbers."""
    depth = path / "depth_intrinsic.txt"
    rig = Rig(
        Intrinsics.read(path / "intrinsic.txt", side=4),
        Intrinsics.read(depth, side=4) if depth.exists() else None,
        scannet.MILLIMETRE,
    )
    color, depths, poses = (files.numbered(path, rf"(\d+)\.{end}") for end in ("jpg", "png", "txt"))
    return scannet.scene(path, LAYOUT, scannet.numbered_views(color, depths, poses, "{:05d}".format), rig, WANTED)
