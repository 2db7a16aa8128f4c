"""Hypersim: ray distance, tilt-shift lens, asset units, HDR colour."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Camera, inverse
from hatch_data.scans import LAYOUTS, find, reader
from hatch_data.scans.hypersim import Lens, pinhole
from hatch_data.scene import DepthSensor
from tests.layouts import hypersim, room
from tests.scans.reading import maps_agree, one_line, same_camera, shown

POSES = room.walk(12)
NAME = "ai_001_001"


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hypersim") / NAME
    hypersim.write(folder, POSES)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original.parent, tmp_path / "scenes")
    return tmp_path / "scenes" / NAME


def tone_mapped_truth(pose: np.ndarray) -> np.ndarray:
    """The data set's formula on what the room reflects: the 90th percentile of brightness becomes 0.8."""
    linear = (room.render(hypersim.COLOR, pose)[0] / 255.0) ** 2.2
    brightness = 0.3 * linear[..., 0] + 0.59 * linear[..., 1] + 0.11 * linear[..., 2]
    return 255 * np.clip(linear * 0.8**2.2 / np.percentile(brightness, 90), 0, 1) ** (1 / 2.2)


def test_reads_back_what_was_written(original: Path) -> None:
    assert [name for name in LAYOUTS if reader(name).evidence(original)] == ["hypersim"]
    (ref,) = find([str(original)])
    scene = ref.load()
    assert (scene.id, scene.space, scene.up_source, scene.dropped) == (NAME, NAME, "layout", {})
    assert [frame.id for frame in scene.frames] == [hypersim.frame_id(n) for n in POSES]
    direct = [
        shown(
            frame, pose, pose, hypersim.COLOR, DepthSensor(hypersim.DEPTH), 1e-5,
            color=tone_mapped_truth(pose), least_depth=1.0,
        )
        for pose, frame in zip(POSES.values(), scene.frames, strict=True)
    ]  # fmt: skip
    assert scene.frames[0].depth().values.dtype == np.float32
    maps_agree(scene.frames, direct)


def test_missing_and_broken_files_cost_their_frames_only(folder: Path) -> None:
    hypersim.color_file(folder, 1).unlink()
    hypersim.depth_file(folder, 2).unlink()
    hypersim.depth_file(folder, 3).write_bytes(b"no hdf5")
    hypersim.store(hypersim.color_file(folder, 4), np.zeros((10, 20, 3), np.float16))
    hypersim.store(hypersim.depth_file(folder, 8), np.zeros(7, np.float32))
    indices = folder / "_detail" / "cam_01" / "camera_keyframe_frame_indices.hdf5"
    hypersim.store(indices, np.array([18, 21, 24, 27, 30, 99]))
    scene = reader("hypersim").read(folder)
    assert scene.dropped == {
        "missing_color": ["cam_00/0003", "cam_01/0099"],
        "missing_depth": ["cam_00/0006"],
        "unreadable_depth": ["cam_00/0009", "cam_01/0024"],
        "missing_pose": ["cam_01/0033"],
        "color_size": ["cam_00/0012"],
    }
    kept = ["00/0000", "00/0015", "01/0018", "01/0021", "01/0027", "01/0030"]
    assert [frame.id for frame in scene.frames] == [f"cam_{name}" for name in kept]
    assert np.abs(scene.frames[-1].world_from_camera - POSES[10]).max() < 1e-6


def test_a_file_that_breaks_off_is_told_when_read(folder: Path) -> None:
    frame = reader("hypersim").read(folder).frames[5]
    for file, read, reason in (
        (hypersim.color_file(folder, 5), frame.read_color, "unreadable_color"),
        (hypersim.depth_file(folder, 5), frame.depth, "unreadable_depth"),
    ):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(FrameError) as error:
            read()
        assert error.value.reason == reason
        one_line(error, file)


def test_previews_stand_in_for_missing_hdr(folder: Path) -> None:
    hypersim.color_file(folder, 0).unlink()
    preview = folder / "images" / "scene_cam_00_final_preview" / "frame.0000.tonemap.jpg"
    preview.parent.mkdir()
    preview.write_bytes(room.jpeg(room.render(hypersim.COLOR, POSES[0])[0]))
    assert reader("hypersim").read(folder).frames[0].read_color() == preview.read_bytes()


def test_the_nominal_camera_without_parameters(folder: Path) -> None:
    (folder.parent / "metadata_camera_parameters.csv").unlink()
    frame = reader("hypersim").read(folder).frames[0]
    focal = 128 / np.tan(np.radians(30))
    same_camera(frame.camera, Camera(256, 192, focal, focal, 127.5, 95.5))
    turn = inverse(POSES[0])[:3, :3] @ frame.world_from_camera[:3, :3]
    assert np.abs(turn - hypersim.CV_FROM_PINHOLE.T).max() < 1e-6


def test_what_cannot_be_used_is_refused(folder: Path) -> None:
    parameters = folder.parent / "metadata_camera_parameters.csv"
    text = parameters.read_text()
    parameters.write_text(text.replace(f"{NAME},256.0", f"{NAME},1024.0"))
    with pytest.raises(ScanError) as error:
        reader("hypersim").read(folder)
    one_line(error, parameters, "1024x192", "256x192")
    parameters.write_text(text.replace(f"{NAME},256.0", f"{NAME},wide"))
    with pytest.raises(ScanError) as error:
        reader("hypersim").read(folder)
    one_line(error, parameters, NAME)
    parameters.write_text(text)
    positions = folder / "_detail" / "cam_00" / "camera_keyframe_positions.hdf5"
    hypersim.store(positions, np.zeros((3, 3)))
    with pytest.raises(ScanError) as error:
        reader("hypersim").read(folder)
    one_line(error, "cam_00", "different length")
    (folder / "_detail" / "metadata_scene.csv").write_text("parameter_name,parameter_value\nother,1\n")
    with pytest.raises(ScanError) as error:
        reader("hypersim").read(folder)
    one_line(error, "metadata_scene.csv", "meters_per_asset_unit")


def test_rays_of_no_pinhole_camera_are_refused() -> None:
    skewed = np.array([[0.5, 0.3, 0], [0, 0.4, 0], [0, 0, -1.0]])
    for matrix in (np.diag([0.5, 0.4, 1.0]), skewed, np.diag([0.5, np.nan, -1.0]), np.zeros((3, 3))):
        with pytest.raises(ScanError) as error:
            pinhole(Lens(matrix, (256, 192), "parameters.csv"))
        one_line(error, "parameters.csv")
    with pytest.raises(ScanError):
        pinhole(Lens(np.diag([0.5, 0.4, -1.0]), (0, 192), "parameters.csv"))
