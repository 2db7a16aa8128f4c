"""Microsoft 7-Scenes (Shotton et al. 2013): `frame-XXXXXX.{color.png,depth.png,pose.txt}`, flat or under `seq-XX/`.

The two images come from two cameras. Depth, and the pose, belong to the Kinect's depth camera (f 585, as the dataset
states); the colour camera has f 525 and stands 25 mm beside it, the Kinect's nominal geometry (f 525 also in the
relocalisation work built on this data: DSAC*, ACE). Reading colour with the depth camera's focal length shifts a pixel
at the image's side by 33 px; on redkitchen, colours warped over 10 kept frames then differ by 19.5 grey levels instead
of 11.5. So `camera-intrinsics.txt`, where a copy carries one, describes the depth camera; only if it states another
camera than f 585 has somebody registered depth to colour, and it holds for both.

Depth 0 and 65535 are none. `gravity-direction.txt`, where present, points down.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, unit
from hatch_data.scans import files, gravity
from hatch_data.scans.posed import Intrinsics, Rig, View, posed_frames
from hatch_data.scene import Scene

LAYOUT = "7scenes"
WANTED = "frame-XXXXXX with .color.png or .jpg, .depth.png and .pose.txt (4x4, camera to world), here or in seq-XX/"

DEPTH_CAMERA = Intrinsics(585.0, 585.0, 320.0, 240.0, "the 7-Scenes depth camera", (640, 480))
COLOR_CAMERA = Intrinsics(525.0, 525.0, 320.0, 240.0, "the 7-Scenes colour camera", (640, 480))
#: The colour camera stands to the right of the depth camera by the Kinect's nominal baseline.
BASELINE_M = 0.025
MILLIMETRE = 1e-3
NO_DEPTH = 65535

_FRAME = r"frame-(\d+)\."
_SEQUENCE = r"seq-\d+"


def evidence(path: Path) -> str | None:
    """What in the folder speaks for 7-Scenes."""
    for folder in [path, *_sequences(path)]:
        if files.holds(folder, _FRAME + r"depth\.png"):
            return f"frame-*.depth.png in {folder.name}"
    return None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are `frame-000000`, or `seq-01/frame-000000` where the frames lie in sequences."""
    views = _views(path, "")
    for sequence in _sequences(path):
        views += _views(sequence, f"{sequence.name}/")
    frames, dropped = posed_frames(path, views, _rig(path / "camera-intrinsics.txt"), WANTED)
    stated = path / "gravity-direction.txt"
    up = _up(stated) if stated.exists() else gravity.estimate_up(frames)
    source = "layout" if stated.exists() else "estimated"
    return Scene(path.name, LAYOUT, space(path), frames, up, source, dropped=dropped)


def space(path: Path) -> str:
    """The place: that of the parent folder for a single sequence."""
    return path.parent.name if re.fullmatch(_SEQUENCE, path.name) else path.name


def _sequences(path: Path) -> list[Path]:
    return sorted(d for d in path.glob("seq-*") if re.fullmatch(_SEQUENCE, d.name) and d.is_dir())


def _views(folder: Path, prefix: str) -> list[View]:
    colors = files.numbered(folder, _FRAME + r"color\.(?:png|jpg)")
    depths = files.numbered(folder, _FRAME + r"depth\.png")
    poses = files.numbered(folder, _FRAME + r"pose\.txt")
    numbers = sorted(colors.keys() | depths.keys() | poses.keys())
    return [View(f"{prefix}frame-{n:06d}", colors.get(n), depths.get(n), poses.get(n)) for n in numbers]


def _rig(stated: Path) -> Rig:
    depth = Intrinsics.read(stated, side=3) if stated.exists() else DEPTH_CAMERA
    if (depth.fx, depth.fy, depth.cx, depth.cy) != (585.0, 585.0, 320.0, 240.0):
        return Rig(depth, depth, MILLIMETRE, NO_DEPTH)
    color_from_depth = np.eye(4)
    color_from_depth[0, 3] = -BASELINE_M
    return Rig(COLOR_CAMERA, depth, MILLIMETRE, NO_DEPTH, color_from_depth, posed="depth")


def _up(stated: Path) -> Array:
    down = files.read_numbers(stated, 3)
    with np.errstate(over="ignore"):
        length = np.linalg.norm(down)
    if not 0 < length < np.inf:
        raise ScanError(f"{stated}: {down} is no direction; restore the file or remove it to have gravity estimated")
    return unit(-down)
