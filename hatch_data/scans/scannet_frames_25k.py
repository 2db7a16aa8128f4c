"""scannet_frames_25k, every 100th frame of each scan: `color/%06d.jpg depth/%06d.png pose/%06d.txt` and two cameras.

`intrinsics_color.txt` and `intrinsics_depth.txt` are 4x4 matrices beside the folders. Images are registered.
"""

from __future__ import annotations

from pathlib import Path

from hatch_data.scans import files, scannet
from hatch_data.scans.posed import Intrinsics, Rig
from hatch_data.scene import Scene

LAYOUT = "scannet-frames-25k"
WANTED = "color/%06d.jpg, depth/%06d.png, pose/%06d.txt (4x4, camera to world), intrinsics_{color,depth}.txt"

space = scannet.space


def evidence(path: Path) -> str | None:
    """What in the folder speaks for scannet_frames_25k."""
    found = (path / "color").is_dir() and (path / "depth").is_dir() and (path / "intrinsics_color.txt").is_file()
    return "folders color and depth beside intrinsics_color.txt" if found else None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the padded frame numbers."""
    rig = Rig(
        Intrinsics.read(path / "intrinsics_color.txt", side=4),
        Intrinsics.read(path / "intrinsics_depth.txt", side=4),
        scannet.MILLIMETRE,
    )
    views = scannet.numbered_views(
        files.numbered(path / "color", r"(\d+)\.(?:jpg|png)"),
        files.numbered(path / "depth", r"(\d+)\.png"),
        files.numbered(path / "pose", r"(\d+)\.txt"),
        "{:06d}".format,
    )
    return scannet.scene(path, LAYOUT, views, rig, WANTED)
