"""COLMAP: camera from world, a first pixel centred at (0.5, 0.5), two lines an image, names out of order."""

from __future__ import annotations

import struct
from pathlib import Path

from scipy.spatial.transform import Rotation

from hatch_data.geometry import Array, Camera, inverse
from hatch_data.scans.lens import Lens
from tests.layouts import room
from tests.layouts.bent import Bent

CAMERA = Camera(320, 240, 230.0, 231.0, 162.0, 118.5)
SECOND = Camera(240, 320, 250.0, 250.0, 119.75, 160.0)
OPENCV = Lens(CAMERA, "OPENCV", (-0.12, 0.03, 0.001, -0.002))


def write_model(folder: Path, images: dict[str, tuple[Array, Lens]], binary: bool = False) -> None:
    """World-from-camera and lens by image name; with one point, seen by the first image."""
    folder.mkdir(parents=True, exist_ok=True)
    lenses = list(dict.fromkeys(lens for _, lens in images.values()))
    cameras, poses = ["# Camera list"], ["# Image list with two lines of data per image:"]
    for number, lens in enumerate(lenses, start=1):
        k = lens.camera
        params = [k.fx, k.fy, k.cx + 0.5, k.cy + 0.5, *lens.distortion]
        cameras.append(f"{number} {lens.model} {k.width} {k.height} " + " ".join(map(repr, params)))
    for number, (name, (pose, lens)) in enumerate(reversed(images.items()), start=1):
        camera_from_world = inverse(pose)
        x, y, z, w = Rotation.from_matrix(camera_from_world[:3, :3]).as_quat()
        numbers = " ".join(f"{v:.15g}" for v in (w, x, y, z, *camera_from_world[:3, 3]))
        poses += [f"{number} {numbers} {lenses.index(lens) + 1} {name}", "10.5 20.5 1" if number == 1 else ""]
    (folder / "cameras.txt").write_text("\n".join(cameras) + "\n")
    (folder / "images.txt").write_text("\n".join(poses) + "\n")
    (folder / "points3D.txt").write_text("# 3D point list\n1 1.0 2.0 0.5 255 0 0 0.3 1 0\n")
    if binary:
        import pycolmap

        model = pycolmap.Reconstruction(str(folder))
        for part in ("cameras", "images", "points3D"):
            (folder / f"{part}.txt").unlink()
        model.write_binary(str(folder))
        for later in ("rigs.bin", "frames.bin"):  # as versions before 3.12 leave it
            (folder / later).unlink()


def write(folder: Path, poses: dict[int, Array], lens: Lens, depth: str = "mvs", binary: bool = False) -> None:
    """`mvs`: a dense workspace with undistorted images; `png`: `depth/` in millimetres; else none."""
    workspace = folder / "dense" if depth == "mvs" else folder
    (workspace / "images" / "left").mkdir(parents=True)
    images = {f"left/{n}.jpg": (pose, lens) for n, pose in poses.items()}
    for name, (pose, _) in images.items():
        color, metres = room.render(Bent(lens) if lens.distortion else lens.camera, pose)
        (workspace / "images" / name).write_bytes(room.jpeg(color))
        if depth == "mvs":
            file = workspace / "stereo" / "depth_maps" / f"{name}.geometric.bin"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_map(file, metres)
        elif depth == "png":
            file = (folder / "depth" / name).with_suffix(".png")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(room.depth_png(metres, 1000))
    write_model(workspace / ("sparse" if depth == "mvs" else "sparse/0"), images, binary)


def write_map(file: Path, metres: Array) -> None:
    """As COLMAP's `Mat::Write`."""
    height, width = metres.shape
    file.write_bytes(f"{width}&{height}&1&".encode() + struct.pack(f"<{metres.size}f", *metres.ravel()))
