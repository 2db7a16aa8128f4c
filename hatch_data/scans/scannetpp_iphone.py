"""ScanNet++ as its iPhone saw it: `iphone/rgb.mkv` or `rgb/frame_%06d.jpg`, `depth.bin` or `depth/frame_%06d.png`.

Poses and the lens are those of `iphone/colmap`, whose names may begin with `video/` or `iphone/` and which has some of
the frames; without it, `aligned_pose` (camera to world, this project's axes) and `intrinsic` of
`pose_intrinsic_imu.json`. Depth is ARKit's, 256x192, and belongs to the video's frame of its number; pixels
below 255 in `rgb_masks/`, or dark in `rgb_mask.mkv`, are taken out of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array
from hatch_data.scans import colmap, files, scannetpp
from hatch_data.scans.depth_stream import DepthStream, StreamedDepth
from hatch_data.scans.lens import Lens
from hatch_data.scans.lensed import DepthFile, Mask, Shot, Size, lensed_frames
from hatch_data.scans.posed import Intrinsics, StoredDepth
from hatch_data.scans.upright import upright
from hatch_data.scans.video import VideoFrame, frame_count
from hatch_data.scene import Scene

LAYOUT = "scannetpp-iphone"
WANTED = "iphone/rgb.mkv or rgb/, depth.bin or depth/, and colmap/ or pose_intrinsic_imu.json"
VIDEOS = ("rgb.mkv", "rgb.mp4")
UNMASKED = 255
#: In a video, white need not come out as 255.
BRIGHT = 128
#: A stamp beyond this, in seconds, is a broken number.
LATEST_S = 1e12

_FRAME = r"frame_(\d+)\."


def evidence(path: Path) -> str | None:
    """What in the folder speaks for the iPhone of ScanNet++."""
    phone = path / "iphone"
    color = next((n for n in ("rgb", *VIDEOS) if (phone / n).exists()), None)
    posed = (phone / "pose_intrinsic_imu.json").is_file() or colmap.is_model(phone / "colmap")
    return f"iphone/{color}" if color and posed else None


def read(path: Path) -> Scene:
    """The scan in `path`, the folder of a scene; ids are `frame_000000`, numbered as in the video."""
    phone = path / "iphone"
    color, depth = _colors(phone), _depths(phone)
    poses, stamps = _poses(phone)
    mask = _masks(phone)
    shots = []
    for n in sorted(poses):
        pose, lens = poses[n]
        image = color(n)
        shots.append(
            Shot(
                id=f"frame_{n:06d}",
                pose=pose,
                lens=lens if isinstance(lens, Lens | None) else _own_lens(lens, image),
                color=image,
                depth=depth(n),
                mask=mask(n),
                timestamp_s=stamps.get(n),
            )
        )
    frames, dropped = lensed_frames(path, shots, WANTED)
    up = scannetpp.UP
    mesh = scannetpp.mesh(path)
    return Scene(
        path.name, LAYOUT, space(path), upright(frames, up), up, "layout", scannetpp.instances(path), dropped, mesh=mesh
    )


def space(path: Path) -> str:
    """The place: the scene."""
    return path.name


def _colors(phone: Path) -> Callable[[int], Path | VideoFrame | None]:
    """Images by number: extracted ones, else frames of the video."""
    extracted = files.numbered(phone / "rgb", _FRAME + "(?:jpg|png)")
    video = next((phone / name for name in VIDEOS if (phone / name).is_file()), None)
    if extracted or video is None:
        return extracted.get
    count = frame_count(video)
    return lambda n: VideoFrame(video, n) if n < count else None


def _masks(phone: Path) -> Callable[[int], Mask | None]:
    """Masks by number: extracted ones, else frames of their video."""
    extracted = {n: Mask(file, UNMASKED) for n, file in files.numbered(phone / "rgb_masks", _FRAME + "png").items()}
    video = phone / "rgb_mask.mkv"
    if extracted or not video.is_file():
        return extracted.get
    count = frame_count(video)
    return lambda n: Mask(VideoFrame(video, n), BRIGHT) if n < count else None


def _depths(phone: Path) -> Callable[[int], StoredDepth | None]:
    """Depth by number: extracted images, else frames of `depth.bin`."""
    extracted = {n: DepthFile(file) for n, file in files.numbered(phone / "depth", _FRAME + "png").items()}
    stream = phone / "depth.bin"
    if extracted or not stream.is_file():
        return extracted.get
    count = DepthStream.opened(stream).count
    return lambda n: StreamedDepth(stream, n) if n < count else None


_Posed = tuple[Array | None, Lens | Intrinsics | None]


def _poses(phone: Path) -> tuple[dict[int, _Posed], dict[int, float]]:
    """Pose and camera by number (of the model, else ARKit's aligned to the mesh), and stamps in seconds if stated."""
    file = phone / "pose_intrinsic_imu.json"
    arkit = _arkit(file) if file.is_file() else {}
    told = {n: t.get("timestamp") for n, t in arkit.items()}
    stamps = {n: float(s) for n, s in told.items() if isinstance(s, int | float) and abs(s) < LATEST_S}
    if colmap.is_model(phone / "colmap"):
        posed: dict[int, _Posed] = {}
        for image in colmap.read_model(phone / "colmap"):
            posed[_number(image.name, phone / "colmap")] = (image.world_from_camera, image.lens)
        return posed, stamps
    if not arkit:
        raise ScanError(f"{phone}: neither colmap/ nor pose_intrinsic_imu.json; needs {WANTED}")
    return {n: (_matrix(told, "aligned_pose", 4), _intrinsics(told, file)) for n, told in arkit.items()}, stamps


def _arkit(file: Path) -> dict[int, dict[str, Any]]:
    try:
        told = json.loads(files.read_text(file))
        return {_number(name, file): dict(frame) for name, frame in told.items()}
    except files.MALFORMED as error:
        raise ScanError(f"{file}: no poses by frame ({error}); restore the file") from error


def _number(name: str, source: Path) -> int:
    """7 of `video/frame_000007.jpg`."""
    digits = Path(name).stem.rpartition("_")[2]
    if not digits.isdecimal():
        raise ScanError(f"{source}: image '{name}' has no number (as frame_000007.jpg); restore the file")
    return int(digits)


def _matrix(told: dict[str, Any], name: str, side: int) -> Array | None:
    try:
        return np.array(told[name], dtype=np.float64).reshape(side, side)
    except files.MALFORMED:
        return None


def _intrinsics(told: dict[str, Any], file: Path) -> Intrinsics | None:
    k = _matrix(told, "intrinsic", 3)
    return None if k is None else Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2], str(file))


def _own_lens(intrinsics: Intrinsics, image: Path | VideoFrame | None) -> Lens | None:
    """The pinhole camera of a frame whose file states no size."""
    try:
        size: Size = files.image_size(image, "") if isinstance(image, Path) else image.size() if image else (0, 0)
    except FrameError:
        return None
    return Lens(intrinsics.camera(size, "colour")) if image else None
