"""ARKitScenes (Baruch et al. 2021), `3dod` and `raw`: images by time stamp, one `.pincam` an image, one trajectory.

`3dod` keeps `lowres_wide`, `lowres_depth` (256x192, 60 Hz) and the rest under `<video>_frames/`; `raw` has them in the
video's folder, with `vga_wide` (640x480, 30 Hz), `wide` and `highres_depth` (1920x1440, 10 Hz) and `confidence` (0 low
to 2 high). Colour is the finest there is. `lowres_wide.traj` has a line each 0.1 s: stamp, axis-angle rotation and
translation of *camera from world*. The world is ARKit's turned z up, and the phone's sensor mostly lies on its side:
frames are turned upright.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, Camera
from hatch_data.scans import files
from hatch_data.scans.annotations import stated_box
from hatch_data.scans.lens import Lens
from hatch_data.scans.lensed import DepthFile, Shot, lensed_frames
from hatch_data.scans.trajectory import Trajectory
from hatch_data.scans.upright import upright
from hatch_data.scene import Instance, Scene

LAYOUT = "arkitscenes"
WANTED = "lowres_wide.traj and images with intrinsics and depth at its times, here or in <video>_frames/"
#: Folders of colour images, the finest first.
COLORS = ("wide", "vga_wide", "lowres_wide")
#: Intrinsics may carry a stamp that is a millisecond off.
INTRINSICS_S = 0.0015
#: A depth image or pose closer in time is that of the image; poses further away are interpolated.
SAME_S = 0.005
#: Poses are interpolated over at most one lost line of the 10 Hz trajectory.
GAP_S = 0.21
#: ARKit's confidence from which depth is used: 0 is low.
LEAST_CONFIDENCE = 1
UP = np.array([0.0, 0.0, 1.0])


def evidence(path: Path) -> str | None:
    """What in the folder speaks for ARKitScenes."""
    root = _root(path)
    found = [name for name in COLORS if (root / f"{name}_intrinsics").is_dir()]
    return f"{found[0]}_intrinsics" if found else None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the stamps in the names of the colour images."""
    root = _root(path)
    name = next((name for name in COLORS if files.holds(root / name, r".+\.png")), COLORS[-1])
    colors, pincams = _Stamped.of(root / name, "png"), _Stamped.of(root / f"{name}_intrinsics", "pincam")
    depth = _Depth(root, own=name == "wide")
    poses = _trajectory(root / "lowres_wide.traj").at(colors.stamps_s)
    shots = []
    for stamp_s, text, color, pose in zip(colors.stamps_s.tolist(), colors.texts, colors.files, poses, strict=True):
        camera = _pincam(pincams.nearest(stamp_s, INTRINSICS_S))
        image, sensor = depth.at(stamp_s)
        shots.append(
            Shot(
                id=text,
                pose=pose,
                lens=Lens(camera) if camera else None,
                color=color,
                depth=image,
                sensor=sensor,
                timestamp_s=stamp_s,
            )
        )
    frames, dropped = lensed_frames(path, shots, WANTED)
    mesh = next(iter(sorted(path.glob("*mesh.ply"))), None)
    return Scene(
        path.name, LAYOUT, space(path), upright(frames, UP), UP, "layout", _instances(path), dropped, mesh=mesh
    )


def space(path: Path) -> str:
    """The place: the visit of the data set's tables (`visit_id` beside `video_id`), where one lies above the scan;
    without them each video counts as a place of its own."""
    for folder in list(path.resolve().parents)[:3]:
        for table in sorted([*folder.glob("*_train_val_splits.csv"), *folder.glob("metadata.csv")]):
            with table.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    if row.get("video_id") == path.name and row.get("visit_id") not in (None, "", "NA", "nan"):
                        return f"arkitscenes-visit-{float(row['visit_id']):.0f}"
    return path.name


def _root(path: Path) -> Path:
    return next((d for d in sorted(path.glob("*_frames")) if (d / "lowres_wide").is_dir()), path)


@dataclass(frozen=True)
class _Stamped:
    """Files of a folder in order of the stamp in their names, `<video>_<seconds>`."""

    stamps_s: Array
    texts: list[str]
    files: list[Path]

    @classmethod
    def of(cls, folder: Path, ending: str) -> _Stamped:
        """Empty where there is no such folder."""
        found = [
            (float(match[1]), match[1], file)
            for file in (folder.iterdir() if folder.is_dir() else [])
            if (match := re.fullmatch(rf"(?:.*_)?(\d+(?:\.\d+)?)\.{ending}", file.name))
        ]
        found.sort()
        return cls(np.array([f[0] for f in found]), [f[1] for f in found], [f[2] for f in found])

    def nearest(self, stamp_s: float, within_s: float) -> Path | None:
        """The file nearest in time, if near enough."""
        after = int(np.searchsorted(self.stamps_s, stamp_s))
        near = [i for i in (after - 1, after) if 0 <= i < len(self.files)]
        best = min(near, key=lambda i: abs(self.stamps_s[i] - stamp_s), default=None)
        return self.files[best] if best is not None and abs(self.stamps_s[best] - stamp_s) <= within_s else None


class _Depth:
    """Depth by time: of the laser scanner, as fine as `wide`, where there is one, else the phone's own."""

    def __init__(self, root: Path, own: bool):
        self._laser = _Stamped.of(root / "highres_depth", "png") if own else _Stamped(np.empty(0), [], [])
        self._phone = _Stamped.of(root / "lowres_depth", "png")
        self._pincams = _Stamped.of(root / "lowres_wide_intrinsics", "pincam")
        self._confidences = _Stamped.of(root / "confidence", "png")

    def at(self, stamp_s: float) -> tuple[DepthFile | None, Camera | None]:
        """The depth image and the camera it was taken with, None where it is the colour image's."""
        if laser := self._laser.nearest(stamp_s, SAME_S):
            return DepthFile(laser), None
        phone = self._phone.nearest(stamp_s, SAME_S)
        if phone is None:
            return None, None
        taken_s = float(phone.stem.rpartition("_")[2])
        confidence = None
        if self._confidences.files:
            missing = self._confidences.files[0].parent / phone.name
            confidence = self._confidences.nearest(taken_s, INTRINSICS_S) or missing
        sensor = _pincam(self._pincams.nearest(taken_s, INTRINSICS_S))
        return DepthFile(phone, confidence=confidence, least=LEAST_CONFIDENCE), sensor


def _pincam(file: Path | None) -> Camera | None:
    """`width height fx fy cx cy`; None where there is no file, or it does not hold that."""
    try:
        numbers = file.read_text().split() if file else []
        width, height, fx, fy, cx, cy = map(float, numbers)
        camera = Camera(int(width), int(height), fx, fy, cx, cy)
    except (OSError, OverflowError, ValueError):
        return None
    return camera if camera.sound else None


def _trajectory(file: Path) -> Trajectory:
    if not file.is_file():
        raise ScanError(
            f"{file}: no such file, so no poses (some videos of the data set have none); leave the scan out"
        )
    rows = [line.split() for line in files.read_text(file).splitlines() if line.strip()]
    try:
        table: Array = np.array(rows, dtype=np.float64).reshape(-1, 7)
    except ValueError as error:
        raise ScanError(
            f"{file}: lines are not stamp, rotation and translation (7 numbers); restore the file"
        ) from error
    table = table[np.isfinite(table).all(axis=1)]
    if not len(table):
        raise ScanError(f"{file}: holds no pose; leave the scan out")
    world_from_camera = np.tile(np.eye(4), (len(table), 1, 1))
    world_from_camera[:, :3, :3] = Rotation.from_rotvec(table[:, 1:4]).inv().as_matrix()
    world_from_camera[:, :3, 3] = -np.einsum("nij,nj->ni", world_from_camera[:, :3, :3], table[:, 4:])
    return Trajectory.of(table[:, 0], world_from_camera, SAME_S, GAP_S)


def _instances(path: Path) -> list[Instance]:
    """The boxes of `<video>_3dod_annotation.json`, where there is one."""
    file = next(iter(sorted(path.glob("*_3dod_annotation.json"))), None)
    if file is None:
        return []
    try:
        told = json.loads(files.read_text(file))
        objects = [] if told.get("skipped") else told["data"]
        return [
            Instance(str(o["uid"]), str(o["label"]), *stated_box(o["segments"]["obbAligned"], file)) for o in objects
        ]
    except files.MALFORMED as error:
        raise ScanError(f"{file}: no list of labelled boxes ({error!r}); restore the file or remove it") from error
