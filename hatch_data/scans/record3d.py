"""Record3D's "EXR + RGB" export: `rgb/<i>.jpg`, `depth/<i>.exr`, `metadata.json`; also raw float32 `depth/<i>.depth`.

`K` is stored by columns and is that of the colour images (`w` x `h`), as `perFrameIntrinsicCoeffs` (fx, fy, cx, cy)
are; depth is smaller, in metres. `poses` are camera to world, quaternion (x y z w) before position, of a camera with
OpenGL's axes. The world is ARKit's, y up, unless the first camera is its origin: gravity is then estimated. A recording
as the app keeps it (`.r3d`, with depth compressed by Apple's LZFSE) has to be exported first.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array
from hatch_data.scans import files, gravity
from hatch_data.scans.lens import Lens
from hatch_data.scans.lensed import Shot, Size, lensed_frames
from hatch_data.scans.posed import Intrinsics
from hatch_data.scans.trajectory import pose_from_quaternion
from hatch_data.scans.upright import upright
from hatch_data.scene import DepthImage, Scene

LAYOUT = "record3d"
WANTED = "rgb/<i>.jpg, depth/<i>.exr and metadata.json with K and poses (quaternion x y z w, position)"
LZFSE = (b"bvx1", b"bvx2", b"bvxn", b"bvx-")


def evidence(path: Path) -> str | None:
    """What in the folder speaks for Record3D."""
    metadata = path / "metadata.json"
    if not (metadata.is_file() and (path / "rgb").is_dir() and (path / "depth").is_dir()):
        return None
    return "rgb, depth, and metadata.json"


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the numbers of the images."""
    metadata = path / "metadata.json"
    told = _metadata(metadata)
    colors = files.numbered(path / "rgb", r"(\d+)\.(?:jpe?g|png)")
    depths = files.numbered(path / "depth", r"(\d+)\.(?:exr|depth)")
    poses, intrinsics = _poses(metadata, told), _intrinsics(metadata, told)
    size = _size(told, "w", "h") or _first_size(colors)
    depth_size = _size(told, "dw", "dh")
    shots = []
    for n in sorted(colors.keys() | depths.keys() | set(range(len(poses)))):
        shots.append(
            Shot(
                id=str(n),
                pose=poses[n] if n < len(poses) else None,
                lens=Lens(intrinsics[n if n < len(intrinsics) else 0].camera(size, "colour")) if size else None,
                color=colors.get(n),
                depth=_stored(depths.get(n), depth_size, size),
                gl=True,
            )
        )
    frames, dropped = lensed_frames(path, shots, WANTED)
    own_origin = bool(len(poses)) and np.abs(poses[0][:3, :3] - np.eye(3)).max() < 1e-6
    up = gravity.estimate_up(frames) if own_origin else np.array([0.0, 1.0, 0.0])
    source = "estimated" if own_origin else "layout"
    return Scene(path.name, LAYOUT, space(path), upright(frames, up), up, source, dropped=dropped)


def space(path: Path) -> str:
    """The place: each scan is one of its own."""
    return path.name


def _metadata(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(files.read_text(file))
        if isinstance(told, dict):
            return told
    except (ValueError, RecursionError) as error:
        raise ScanError(f"{file}: no JSON ({error}); export the scan again") from error
    raise ScanError(f"{file}: holds no metadata; export the scan again")


def _poses(file: Path, told: dict[str, Any]) -> list[Array]:
    """World from camera, with OpenGL's axes."""
    try:
        table = np.array(told["poses"], dtype=np.float64).reshape(-1, 7)
    except files.MALFORMED as error:
        raise ScanError(f"{file}: needs 'poses', seven numbers each ({error!r}); export the scan again") from error
    return [pose_from_quaternion(row[:4], row[4:]) for row in table]


def _intrinsics(file: Path, told: dict[str, Any]) -> list[Intrinsics]:
    """Of each frame where stated so, else one for all."""
    try:
        k = np.array(told["K"], dtype=np.float64).reshape(3, 3, order="F")
        rows = np.array(told.get("perFrameIntrinsicCoeffs") or [(k[0, 0], k[1, 1], k[0, 2], k[1, 2])], dtype=np.float64)
        return [Intrinsics(fx, fy, cx, cy, str(file)) for fx, fy, cx, cy in rows.reshape(-1, 4).tolist()]
    except files.MALFORMED as error:
        raise ScanError(f"{file}: needs 'K', nine numbers by columns ({error!r}); export the scan again") from error


def _size(told: dict[str, Any], width: str, height: str) -> Size | None:
    """Raises `ScanError` for a size that is none."""
    if not (told.get(width) and told.get(height)):
        return None
    try:
        size = int(told[width]), int(told[height])
    except files.MALFORMED as error:
        raise ScanError(f"metadata: '{width}' and '{height}' are no size ({error!r}); export the scan again") from error
    if not 0 < size[0] * size[1] <= files.MOST_PIXELS:
        raise ScanError(f"metadata: '{width}' and '{height}' are no size ({size}); export the scan again")
    return size


def _first_size(colors: dict[int, Path]) -> Size | None:
    """Of the first image that has a header."""
    for file in colors.values():
        try:
            return files.image_size(file, "unreadable_color")
        except FrameError:
            continue
    return None


def _stored(file: Path | None, depth_size: Size | None, color_size: Size | None) -> _Exr | _Raw | None:
    if file is None:
        return None
    return _Exr(file) if file.suffix == ".exr" else _Raw(file, depth_size, color_size)


@dataclass(frozen=True)
class _Exr:
    """Metres in the first channel of an OpenEXR image."""

    path: Path

    def size(self) -> Size:
        first, last = self._opened(header_only=True)[0]["dataWindow"]
        return int(last[0] - first[0] + 1), int(last[1] - first[1] + 1)

    def read(self) -> DepthImage:
        channels = self._opened(header_only=False)[1]
        name = next((name for name in ("Z", "Y", "R") if name in channels), None) or min(channels)
        return DepthImage(_metres(np.asarray(channels[name].pixels)))

    def _opened(self, header_only: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and channels. Raises `FrameError` `unreadable_depth`."""
        openexr = files.needs("OpenEXR")
        try:
            with contextlib.redirect_stdout(sys.stderr):  # where it warns, stdout is for results
                image = openexr.File(str(self.path), separate_channels=True, header_only=header_only)
                return image.header(), {} if header_only else image.channels()
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise FrameError("unreadable_depth", f"{self.path}: no OpenEXR image ({error}); export it again") from error


@dataclass(frozen=True)
class _Raw:
    """Float32 metres by rows, of `depth_size` where the metadata states it, else of the colour image's shape."""

    path: Path
    depth_size: Size | None
    color_size: Size | None

    def size(self) -> Size:
        """(width, height), from the number of bytes. Raises `FrameError` where none fits, `ScanError` for LZFSE."""
        try:
            with self.path.open("rb") as file:
                compressed = file.read(4) in LZFSE
            count, rest = divmod(self.path.stat().st_size, 4)
        except OSError as error:
            raise FrameError("unreadable_depth", f"{self.path}: cannot be read ({error})") from error
        if compressed:
            raise ScanError(f"{self.path}: depth is compressed with LZFSE; export the scan from Record3D as EXR + RGB")
        width, height = self.depth_size or (0, 0)
        if not self.depth_size and self.color_size:
            width = round((count * self.color_size[0] / self.color_size[1]) ** 0.5)
            height = count // max(width, 1)
        if rest or width * height != count or not count:
            raise FrameError("unreadable_depth", f"{self.path}: {count} numbers are no {width}x{height} image")
        return width, height

    def read(self) -> DepthImage:
        width, height = self.size()
        return DepthImage(_metres(np.fromfile(self.path, dtype="<f4").reshape(height, width)))


def _metres(values: Array) -> Array:
    """Float32, with 0 for whatever is no distance."""
    return np.where(np.isfinite(values) & (values > 0), values, 0).astype(np.float32)
