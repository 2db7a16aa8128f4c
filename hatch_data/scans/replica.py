"""Replica as rendered for iMAP and NICE-SLAM (Zhu et al. 2022): `results/{frame%06d.jpg,depth%06d.png}`, `traj.txt`.

Line n of `traj.txt` is the pose of frame n, 16 numbers, camera to world with OpenCV axes. Depth is in 1/6553.5 m and
registered. The camera is that of `cam_params.json` beside the scans, else the published one. Worlds have z up, as
Replica's meshes do (Straub et al. 2019).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from hatch_data.errors import ScanError
from hatch_data.geometry import Array
from hatch_data.scans import files
from hatch_data.scans.posed import Intrinsics, Rig, View, posed_frames
from hatch_data.scene import RENDERED, Scene

LAYOUT = "replica"
WANTED = "results/frame%06d.jpg, results/depth%06d.png and traj.txt (16 numbers a line, camera to world)"
CAMERA = Intrinsics(600.0, 600.0, 599.5, 339.5, "the Replica camera of NICE-SLAM", (1200, 680))
UNITS_PER_METRE = 6553.5
UP = np.array([0.0, 0.0, 1.0])
#: Stands for a line that is no matrix: no pose either.
NO_MATRIX = np.ones((4, 4))


def evidence(path: Path) -> str | None:
    """What in the folder speaks for Replica."""
    return "depth*.png in results" if files.holds(path / "results", r"depth\d+\.png") else None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are `frame000000`."""
    color = files.numbered(path / "results", r"frame(\d+)\.(?:jpg|png)")
    depth = files.numbered(path / "results", r"depth(\d+)\.png")
    poses = _trajectory(path / "traj.txt")
    numbers = sorted(color.keys() | depth.keys())
    views = [View(f"frame{n:06d}", color.get(n), depth.get(n), poses.get(n)) for n in numbers]
    camera, units_per_metre = _stated(path)
    ply = path.parent / f"{path.name}_mesh.ply"
    mesh = ply if ply.is_file() else None
    rig = Rig(camera, None, 1 / units_per_metre, tolerance=RENDERED)
    frames, dropped = posed_frames(path, views, rig, WANTED, mesh)
    return Scene(
        path.name,
        LAYOUT,
        space(path),
        frames,
        UP,
        "layout",
        dropped=dropped,
        mesh=mesh,
    )


def space(path: Path) -> str:
    """The place: `frl_apartment` of `frl_apartment_0` to `_5`, one flat furnished anew; any other scan is its own."""
    return re.sub(r"(?<=apartment)_\d$", "", path.name) if path.name.startswith("frl_") else path.name


def _trajectory(file: Path) -> dict[int, Array]:
    """World-from-camera by frame number. A line that is no matrix loses its own frame only."""
    if not file.exists():
        raise ScanError(f"{file.parent}: no traj.txt, so no poses; needs {WANTED}")
    poses = {}
    for number, line in enumerate(files.read_text(file).splitlines()):
        if not line.strip():
            continue
        try:
            poses[number] = np.array(line.split(), dtype=np.float64).reshape(4, 4)
        except ValueError:
            poses[number] = NO_MATRIX
    return poses


def _stated(path: Path) -> tuple[Intrinsics, float]:
    """The camera and the units a metre, from `cam_params.json` in the scan or beside it."""
    file = next((f for f in (path / "cam_params.json", path.parent / "cam_params.json") if f.is_file()), None)
    if file is None:
        return CAMERA, UNITS_PER_METRE
    told = files.read_json(file)
    try:
        camera = told["camera"]
        size = int(camera["w"]), int(camera["h"])
        fx, fy, cx, cy, scale = (float(camera[key]) for key in ("fx", "fy", "cx", "cy", "scale"))
        if not 0 < scale < np.inf:
            raise ValueError(f"scale {scale}")
    except files.MALFORMED as error:
        raise ScanError(f"{file}: needs camera with w, h, fx, fy, cx, cy and scale ({error!r}); restore it") from error
    return Intrinsics(fx, fy, cx, cy, str(file), size), scale
