"""Matterport3D (Chang et al. 2017): panoramas of 18 images, as taken or undistorted.

As taken: `matterport_color_images/<pano>_i<cam>_<yaw>.jpg`, `matterport_depth_images/<pano>_d<cam>_<yaw>.png`, in
`matterport_camera_poses` `<pano>_pose_<cam>_<yaw>.txt` (camera to world, OpenCV axes) and in
`matterport_camera_intrinsics` `<pano>_intrinsics_<cam>.txt` (`w h fx fy cx cy k1 k2 p1 p2 k3`, OpenCV's model); images
are straightened when they are read. Undistorted: `undistorted_{color,depth}_images` and
`undistorted_camera_parameters/<scan>.conf`, whose cameras look along -z with y up and whose images have their origin
at the *bottom* left. Where a scan has both, the undistorted ones are read. Each bundle may keep the folders of its
archive (`<bundle>/<scan>/<bundle>`). Depth is in 1/4000 m; worlds have z up.

Objects come from `house_segmentations/<scan>.house`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array, Camera
from hatch_data.scans import files
from hatch_data.scans.annotations import box_pose
from hatch_data.scans.lens import Lens, straightened, straightened_raster
from hatch_data.scans.posed import Intrinsics, Rig, Size, View, posed_frames
from hatch_data.scans.recoded import Recoded, pixels_of
from hatch_data.scene import DepthImage, Instance, Scene

LAYOUT = "matterport"
WANTED = (
    "matterport_{color,depth}_images, matterport_camera_{poses,intrinsics}, or undistorted_{color,depth}_images and "
    "undistorted_camera_parameters/<scan>.conf"
)
UP = np.array([0.0, 0.0, 1.0])
METRES_PER_UNIT = 1 / 4000

_COLOR = r"(.+)_i(\d)_(\d)\.jpg"
#: Half turn about x: OpenGL's camera (y up, looking along -z) seen from OpenCV's.
_GL_FROM_CV = np.diag([1.0, -1.0, -1.0, 1.0])


def evidence(path: Path) -> str | None:
    """What in the folder speaks for Matterport3D."""
    for name in ("undistorted_color_images", "matterport_color_images"):
        if _bundle(path, name).is_dir():
            return f"folder {name}"
    return None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are `<pano>_i<cam>_<yaw>`."""
    conf = _bundle(path, "undistorted_camera_parameters") / f"{path.name}.conf"
    views, lost = _undistorted(path, conf) if conf.is_file() else _as_taken(path)
    rig = next((view.rig for view in views if view.rig), None)
    if rig is None:
        raise ScanError(f"{path}: no image with known intrinsics; needs {WANTED}")
    segmented = _bundle(path, "house_segmentations")
    house, ply = segmented / f"{path.name}.house", segmented / f"{path.name}.ply"
    mesh = ply if ply.is_file() else None
    frames, dropped = posed_frames(path, views, rig, WANTED, mesh)
    stored = {view.id: view.color.stored for view in views if isinstance(view.color, StraightenedColor)}
    return Scene(
        path.name,
        LAYOUT,
        space(path),
        [replace(frame, read_stored=stored.get(frame.id)) for frame in frames],
        UP,
        "layout",
        read_house(house) if house.is_file() else [],
        dropped | ({"missing_intrinsics": lost} if lost else {}),
        mesh,
    )


def space(path: Path) -> str:
    """The place: each house is one of its own."""
    return path.name


def _bundle(path: Path, name: str) -> Path:
    """Where a bundle's files lie: its folder, or the folders of its archive within or above it."""
    places = (path / name / path.name / name, path / path.name / name)
    return next((place for place in places if place.is_dir()), path / name)


def _undistorted(path: Path, conf: Path) -> tuple[list[View], list[str]]:
    """Views by the `scan` lines of the configuration; the intrinsics before them hold for them.

    Its `cy` counts from the centre of the bottom row upwards: `height - 1 - cy` counts from the top.
    """
    color_folder, depth_folder = (_bundle(path, f"undistorted_{what}_images") for what in ("color", "depth"))
    views = []
    k: Array | None = None
    for number, line in enumerate(files.read_text(conf).splitlines(), start=1):
        command, *words = line.split() or [""]
        try:
            if command == "intrinsics_matrix":
                k = np.array(words, dtype=np.float64).reshape(3, 3)
            if command != "scan":
                continue
            depth_name, color_name, *numbers = words
            pose = np.array(numbers, dtype=np.float64).reshape(4, 4) @ _GL_FROM_CV
        except ValueError as error:
            raise ScanError(f"{conf}, line {number}: not as Matterport3D writes it ({error}); copy it again") from error
        if k is None:
            raise ScanError(f"{conf}, line {number}: a scan before any intrinsics_matrix; copy the file again")
        color, depth = _existing(color_folder / color_name), _existing(depth_folder / depth_name)
        views.append(View(Path(color_name).stem, color, depth, pose, rig=_bottom_left_rig(k, color, conf)))
    return views, []


def _bottom_left_rig(k: Array, color: Path | None, conf: Path) -> Rig:
    try:
        height = files.image_size(color, "unreadable_color")[1] if color else 0
    except FrameError:  # met again, and counted, when the frame is checked
        height = 0
    return Rig(Intrinsics(k[0, 0], k[1, 1], k[0, 2], height - 1 - k[1, 2], str(conf)), None, METRES_PER_UNIT)


def _as_taken(path: Path) -> tuple[list[View], list[str]]:
    """Views by the files there are, and the ids of those whose intrinsics are missing or broken."""
    color_folder, depth_folder = (_bundle(path, f"matterport_{what}_images") for what in ("color", "depth"))
    pose_folder, lens_folder = (_bundle(path, f"matterport_camera_{what}") for what in ("poses", "intrinsics"))
    names = {m.groups() for f in _listed(color_folder) if (m := re.fullmatch(_COLOR, f.name))}
    names |= {m.groups() for f in _listed(depth_folder) if (m := re.fullmatch(r"(.+)_d(\d)_(\d)\.png", f.name))}
    lenses = {key: _lens(lens_folder / "{}_intrinsics_{}.txt".format(*key)) for key in {name[:2] for name in names}}
    views, lost = [], []
    for pano, camera, yaw in sorted(names):
        id_, lens = f"{pano}_i{camera}_{yaw}", lenses[pano, camera]
        if lens is None:
            lost.append(id_)
            continue
        color = _existing(color_folder / f"{id_}.jpg")
        depth = _existing(depth_folder / f"{pano}_d{camera}_{yaw}.png")
        pose = _existing(pose_folder / f"{pano}_pose_{camera}_{yaw}.txt")
        views.append(
            View(
                id_,
                StraightenedColor(color, lens) if color else None,
                StraightenedDepth(depth, lens) if depth else None,
                pose,
                rig=_pinhole_rig(lens, lens_folder),
            )
        )
    return views, lost


def _lens(file: Path) -> Lens | None:
    try:
        width, height, fx, fy, cx, cy, k1, k2, p1, p2, k3 = map(float, file.read_text(encoding="utf-8").split())
        camera = Camera(int(width), int(height), fx, fy, cx, cy)
    except (OSError, OverflowError, ValueError):
        return None
    lens = Lens(camera, "FULL_OPENCV", (k1, k2, p1, p2, k3, 0.0, 0.0, 0.0))
    return lens if lens.sound else None


def _pinhole_rig(lens: Lens, folder: Path) -> Rig:
    camera = lens.pinhole
    intrinsics = Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy, str(folder), lens.size)
    return Rig(intrinsics, None)


@dataclass(frozen=True)
class StraightenedColor:
    """A colour image as its lens took it, straightened when it is read."""

    file: Path
    lens: Lens

    def size(self) -> Size:
        """Of the file, as of the straightened image."""
        return files.image_size(self.file, "unreadable_color")

    def stored(self) -> bytes:
        """The file's own bytes."""
        return files.read_color(self.file)

    def read(self) -> bytes:
        """JPEG; the file's own bytes where the lens bends nothing."""
        straight = self.lens.straight
        return self.stored() if straight else Recoded(partial(straightened, self.lens, pixels_of(self.stored)))()


@dataclass(frozen=True)
class StraightenedDepth:
    """Depth registered to a colour image as its lens took it, straightened with it."""

    file: Path
    lens: Lens

    def size(self) -> Size:
        """Of the file, as of the straightened image."""
        return files.image_size(self.file, "unreadable_depth")

    def read(self) -> DepthImage:
        """The nearest pixels: depths are never mixed."""
        stored = files.read_depth(self.file, self.size(), METRES_PER_UNIT)
        if self.lens.straight:
            return stored
        return DepthImage(straightened_raster(self.lens, stored.values), METRES_PER_UNIT)


def read_house(house: Path) -> list[Instance]:
    """Objects with a category: `C` lines name categories, `O` lines give centre, two axes and three radii.

    An object of no category or without extent is the annotators' remainder and is left out.
    """
    categories: dict[str, str] = {}
    found = []
    for number, line in enumerate(files.read_text(house).splitlines(), start=1):
        words = line.split()
        try:
            if words and words[0] == "C":
                categories[words[1]] = words[3].replace("#", " ")
            if words and words[0] == "O" and words[3] in categories:
                box = np.array(words[4:16], dtype=np.float64).reshape(4, 3)
                if box[3].any():
                    axes = np.stack([box[1], box[2], np.cross(box[1], box[2])])
                    found.append(Instance(words[1], categories[words[3]], box_pose(axes, box[0]), 2 * box[3]))
        except files.MALFORMED as error:
            raise ScanError(f"{house}, line {number}: not as Matterport3D writes it; copy the file again") from error
    return found


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _existing(file: Path) -> Path | None:
    return file if file.is_file() else None
