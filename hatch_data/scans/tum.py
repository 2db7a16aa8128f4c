"""TUM RGB-D (Sturm et al. 2012): `rgb.txt`, `depth.txt`, `groundtruth.txt`, and the images that the lists name.

Colour and depth are paired by mutually nearest stamps; the pose is interpolated at the colour stamp. Depth is in
1/5000 m and registered to colour. The world is that of the motion capture, z up.

Intrinsics are the published ones of the camera that the folder or the lists name, else the ROS default. Lens
distortion is not modelled: by the published coefficients it moves image points of freiburg1 by 5.3 px in the mean and
of freiburg2 by 4.8 px (up to 37 and 27 px in the corners); freiburg3 is published undistorted. Depth is registered to
the distorted colour image, so colour and depth agree; what suffers is the cloud's shape towards the corners.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from hatch_data.errors import ScanError
from hatch_data.geometry import Array
from hatch_data.scans import files
from hatch_data.scans.posed import Intrinsics, Rig, View, posed_frames
from hatch_data.scene import Scene

LAYOUT = "tum"
WANTED = "rgb.txt, depth.txt and groundtruth.txt ('stamp tx ty tz qx qy qz qw', camera to world) with common stamps"
CAMERAS = {
    "1": (517.3, 516.5, 318.6, 255.3),
    "2": (520.9, 521.0, 325.1, 249.7),
    "3": (535.4, 539.2, 320.1, 247.6),
}
ROS_DEFAULT = (525.0, 525.0, 319.5, 239.5)
METRES_PER_UNIT = 1 / 5000
#: Colour and depth, or a pose outside two close neighbours, belong together up to this difference in time.
MAX_DIFFERENCE_S = 0.02
#: Poses are interpolated between neighbours no further apart than this.
MAX_GAP_S = 0.1


def evidence(path: Path) -> str | None:
    """What in the folder speaks for TUM RGB-D."""
    return "rgb.txt and depth.txt" if (path / "rgb.txt").is_file() and (path / "depth.txt").is_file() else None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the colour stamps as written."""
    truth = path / "groundtruth.txt"
    if not truth.exists():
        raise ScanError(f"{path}: no groundtruth.txt, so no poses; needs {WANTED}")
    color, depth = _image_list(path / "rgb.txt"), _image_list(path / "depth.txt")
    partner = _mutually_nearest(color.stamps_s, depth.stamps_s)
    poses = _Trajectory(truth)
    views = [
        View(
            id=color.texts[i],
            color=_existing(path / color.names[i]),
            depth=_existing(path / depth.names[j]) if j >= 0 else None,
            pose=poses.at(color.stamps_s[i]),
            timestamp_s=float(color.stamps_s[i]),
        )
        for i, j in enumerate(partner)
    ]
    number = _camera_number(path)
    source = f"the published camera freiburg{number}" if number else "the ROS default camera"
    intrinsics = Intrinsics(*CAMERAS.get(number, ROS_DEFAULT), source, (640, 480))
    frames, dropped = posed_frames(path, views, Rig(intrinsics, intrinsics, METRES_PER_UNIT), WANTED)
    up = np.array([0.0, 0.0, 1.0])
    return Scene(path.name, LAYOUT, space(path), frames, up, "layout", dropped=dropped, pose_at=poses.at)


def space(path: Path) -> str:
    """The place: the sequences of one camera were taken in one hall."""
    number = _camera_number(path)
    return f"tum-freiburg{number}" if number else path.name


def _camera_number(path: Path) -> str:
    """1, 2 or 3 from the folder's name or the recording that rgb.txt names; empty where neither tells."""
    for text in (path.name, *files.read_text(path / "rgb.txt").splitlines()[:3]):
        if match := re.search(r"(?:freiburg|fr)([123])(?!\d)", text):
            return match[1]
    return ""


class _ImageList(NamedTuple):
    stamps_s: Array
    texts: list[str]
    names: list[str]


def _rows(file: Path, columns: int) -> list[list[str]]:
    """Lines of `columns` words, without comments; further words are ignored."""
    rows = []
    for number, line in enumerate(files.read_text(file).splitlines(), start=1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < columns:
            raise ScanError(f"{file}, line {number}: {len(words)} words instead of {columns}; restore the file")
        rows.append(words[:columns])
    if not rows:
        raise ScanError(f"{file}: lists nothing; needs {WANTED}")
    return rows


def _table(file: Path, rows: list[list[str]]) -> Array:
    """Rows of numbers, sorted by stamp, which stands first."""
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise ScanError(f"{file}: {error}; restore the file") from error
    return table[np.argsort(table[:, 0], kind="stable")]


def _image_list(file: Path) -> _ImageList:
    rows = _rows(file, columns=2)
    stamps = np.array(_table(file, [row[:1] for row in rows]))[:, 0]
    rows.sort(key=lambda row: float(row[0]))
    return _ImageList(stamps, [row[0] for row in rows], [row[1] for row in rows])


def _existing(file: Path) -> Path | None:
    return file if file.is_file() else None


def _nearest(stamps: Array, to: Array) -> NDArray[np.int64]:
    """For each stamp the index of the nearest in `to`; both sorted."""
    right = np.searchsorted(to, stamps).clip(1, max(len(to) - 1, 1))
    left = right - 1
    right = right.clip(max=len(to) - 1)
    return np.where(np.abs(to[left] - stamps) <= np.abs(to[right] - stamps), left, right)


def _mutually_nearest(color: Array, depth: Array) -> NDArray[np.int64]:
    """For each colour stamp the depth stamp that is nearest to it and has no nearer colour, or -1.

    Mutual, so that no depth image serves two frames when the sensor dropped some.
    """
    partner = _nearest(color, depth)
    mutual = _nearest(depth, color)[partner] == np.arange(len(color))
    return np.where(mutual & (np.abs(depth[partner] - color) <= MAX_DIFFERENCE_S), partner, -1)


class _Trajectory:
    """The ground truth: world-from-camera at any time at which it is known."""

    def __init__(self, file: Path):
        table = _table(file, _rows(file, columns=8))
        self.all_stamps_s, self.all_poses = table[:, 0], table[:, 1:]
        with np.errstate(over="ignore"):
            norms = np.linalg.norm(self.all_poses[:, 3:], axis=1)
        good = table[np.isfinite(table).all(axis=1) & np.isfinite(norms) & (norms > 0)]
        self.stamps_s, first = np.unique(good[:, 0], return_index=True)
        self.positions, self.rotations = good[first, 1:4], Rotation.from_quat(good[first, 4:].reshape(-1, 4))

    def at(self, stamp_s: float) -> Array | None:
        """(4, 4), between neighbours at most `MAX_GAP_S` apart, else the nearest within `MAX_DIFFERENCE_S`, else None.

        All NaN or all zero where only a lost or an all-zero pose was written within `MAX_DIFFERENCE_S`.
        """
        after = int(np.searchsorted(self.stamps_s, stamp_s))
        if 0 < after < len(self.stamps_s) and self.stamps_s[after] - self.stamps_s[after - 1] <= MAX_GAP_S:
            pair = slice(after - 1, after + 1)
            share = (stamp_s - self.stamps_s[after - 1]) / np.ptp(self.stamps_s[pair])
            position = (1 - share) * self.positions[after - 1] + share * self.positions[after]
            return _pose(Slerp([0.0, 1.0], self.rotations[pair])(share), position)
        for known in (after - 1, after):
            if 0 <= known < len(self.stamps_s) and abs(self.stamps_s[known] - stamp_s) <= MAX_DIFFERENCE_S:
                return _pose(self.rotations[known], self.positions[known])
        written = int(_nearest(np.array([stamp_s]), self.all_stamps_s)[0])
        if abs(self.all_stamps_s[written] - stamp_s) > MAX_DIFFERENCE_S:
            return None
        return np.full((4, 4), np.nan if not np.isfinite(self.all_poses[written]).all() else 0.0)


def _pose(rotation: Rotation, position: Array) -> Array:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.as_matrix(), position
    return pose
