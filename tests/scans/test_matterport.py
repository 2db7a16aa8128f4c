"""Matterport3D: as taken through a lens, undistorted with bottom-left origins, and the objects of a house."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Camera
from hatch_data.scans import LAYOUTS, find, reader
from hatch_data.scans.lens import Lens
from hatch_data.scans.matterport import read_house
from tests.layouts import matterport, room
from tests.scans.reading import one_line, reads_back

POSES = room.walk(12)
NAME = "17DRP5sb8fy"


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matterport")
    matterport.write_undistorted(folder / "undistorted" / NAME, POSES)
    matterport.write_as_taken(folder / "taken" / NAME, POSES)
    return folder


@pytest.fixture
def copied(originals: Path, tmp_path: Path):
    def copy(kind: str) -> Path:
        shutil.copytree(originals / kind / NAME, tmp_path / NAME)
        return tmp_path / NAME

    return copy


def straightened(n: int) -> Camera:
    """The camera that frame n has once its image is straight."""
    return Lens(matterport.camera(n), "FULL_OPENCV", (*matterport.DISTORTION, 0.0, 0.0, 0.0)).pinhole


@pytest.mark.parametrize("kind", ["undistorted", "taken"])
def test_detection_is_unambiguous(originals: Path, kind: str) -> None:
    assert [name for name in LAYOUTS if reader(name).evidence(originals / kind / NAME)] == ["matterport"]
    (ref,) = find([str(originals / kind)])
    assert (ref.layout, ref.scene, ref.space) == ("matterport", NAME, NAME)


def test_undistorted_reads_back(originals: Path) -> None:
    scene = reader("matterport").read(originals / "undistorted" / NAME)
    reads_back(scene, matterport, POSES, matterport.camera)
    assert (scene.up_source, scene.mesh, scene.instances) == ("layout", None, [])


def test_as_taken_reads_back_straightened(originals: Path) -> None:
    """Nearest pixels of depth may be half a pixel off."""
    scene = reader("matterport").read(originals / "taken" / NAME)
    reads_back(scene, matterport, POSES, straightened, depth_error_m=0.03)


def test_texture_is_told_by_the_files(originals: Path) -> None:
    for kind in ("undistorted", "taken"):
        for frame in reader("matterport").read(originals / kind / NAME).frames[:3]:
            (file,) = (originals / kind / NAME).rglob(f"*color_images/{frame.id}.jpg")
            assert (frame.read_stored or frame.read_color)() == file.read_bytes()


def test_a_straight_lens_keeps_the_bytes(copied) -> None:
    folder = copied("taken")
    for n in POSES:
        file = matterport.lens_file(folder, n)
        file.write_text(" ".join(file.read_text().split()[:6] + ["0"] * 5))
    frame = reader("matterport").read(folder).frames[1]
    assert frame.camera == matterport.camera(1)
    stored = matterport.taken(folder, "color_images", f"{matterport.frame_id(1)}.jpg")
    assert frame.read_color() == stored.read_bytes()


def test_undistorted_is_preferred(copied, originals: Path) -> None:
    folder = copied("taken")
    shutil.copytree(originals / "undistorted" / NAME, folder, dirs_exist_ok=True)
    assert reader("matterport").read(folder).frames[0].camera.cy == pytest.approx(134.25)


def test_missing_and_broken_files_cost_their_frames_only(copied) -> None:
    folder = copied("undistorted")
    matterport.color_file(folder, 1).unlink()
    matterport.depth_file(folder, 2).unlink()
    matterport.color_file(folder, 3).write_bytes(b"")
    depth = matterport.depth_file(folder, 4)
    depth.write_bytes(depth.read_bytes()[:500])
    conf = matterport.conf_file(folder)
    lines = conf.read_text().splitlines(keepends=True)
    scan = next(i for i, line in enumerate(lines) if matterport.color_file(folder, 6).name in line)
    lines[scan] = " ".join(lines[scan].split()[:3] + ["nan"] * 16) + "\n"
    conf.write_text("".join(lines))
    scene = reader("matterport").read(folder)
    assert scene.dropped == {
        "missing_color": [matterport.frame_id(1)],
        "missing_depth": [matterport.frame_id(2)],
        "unreadable_color": [matterport.frame_id(3)],
        "lost_pose": [matterport.frame_id(6)],
    }
    with pytest.raises(FrameError) as error:
        {frame.id: frame for frame in scene.frames}[matterport.frame_id(4)].depth()
    assert error.value.reason == "unreadable_depth"
    one_line(error, depth)


@pytest.mark.parametrize("spoilt", ["1280 1024 broken", "inf 192" + " 1" * 9, "256 192 nan" + " 120" * 8])
def test_missing_files_as_taken(copied, spoilt: str) -> None:
    folder = copied("taken")
    pano = matterport.frame_id(3)[:32]
    matterport.lens_file(folder, 3).unlink()
    matterport.lens_file(folder, 4).write_text(spoilt)
    matterport.taken(folder, "camera_poses", f"{pano}_pose_2_0.txt").unlink()
    matterport.taken(folder, "color_images", f"{matterport.frame_id(6)}.jpg").unlink()
    matterport.taken(folder, "depth_images", f"{matterport.frame_id(7).replace('_i', '_d')}.png").unlink()
    scene = reader("matterport").read(folder)
    assert scene.dropped == {
        "missing_intrinsics": [matterport.frame_id(3), matterport.frame_id(4)],
        "missing_pose": [matterport.frame_id(5)],
        "missing_color": [matterport.frame_id(6)],
        "missing_depth": [matterport.frame_id(7)],
    }
    assert [frame.id for frame in scene.frames] == [matterport.frame_id(n) for n in (0, 1, 2, 8, 9, 10, 11)]


def test_broken_configurations_are_refused(copied) -> None:
    folder = copied("undistorted")
    conf = matterport.conf_file(folder)
    lines = conf.read_text().splitlines(keepends=True)
    for broken, part in (
        ([line for line in lines if "intrinsics" not in line], "intrinsics_matrix"),
        ([*lines[:4], "scan a.png b.jpg 1 2 3\n"], "line 5"),
    ):
        conf.write_text("".join(broken))
        with pytest.raises(ScanError) as error:
            reader("matterport").read(folder)
        one_line(error, conf, part)
    conf.unlink()
    with pytest.raises(ScanError) as error:
        reader("matterport").read(folder)
    one_line(error, folder, "needs")


HOUSE = """ASCII 1.1
H house label 12 4 0 0 0 3 2 1 0 1  0 0 0 0 0  0 0 0 5 4 2.6  0 0 0 0 0
C  0  7 dining#table  5 table  0 0 0 0 0
C  1  9 chair  3 chair  0 0 0 0 0
O  0  0 0  2.0 1.5 0.4  0.8 0.6 0  -0.6 0.8 0  0.9 0.5 0.4  0 0 0 0 0 0 0 0
O  1  0 1  1.0 1.0 0.5  1 0 0  0 1 0  0 0 0  0 0 0 0 0 0 0 0
O  2  0 -1  1.0 1.0 0.5  1 0 0  0 1 0  0.1 0.1 0.1  0 0 0 0 0 0 0 0
"""


def test_objects_of_a_house(copied) -> None:
    folder = copied("undistorted")
    segmented = folder / "house_segmentations" / NAME / "house_segmentations"
    segmented.mkdir(parents=True)
    (segmented / f"{NAME}.house").write_text(HOUSE)
    (segmented / f"{NAME}.ply").write_bytes(b"ply\n")
    scene = reader("matterport").read(folder)
    assert scene.mesh == segmented / f"{NAME}.ply"
    (table,) = scene.instances
    assert (table.id, table.label) == ("0", "dining table")
    assert np.allclose(table.size_m, [1.8, 1.0, 0.8])
    axes = [[0.8, -0.6, 0, 2.0], [0.6, 0.8, 0, 1.5], [0, 0, 1, 0.4], [0, 0, 0, 1]]
    assert np.allclose(table.world_from_box, axes)


def test_a_broken_house_is_refused(tmp_path: Path) -> None:
    house = tmp_path / "a.house"
    house.write_text(HOUSE.replace("2.0 1.5", "2.0 here"))
    with pytest.raises(ScanError) as error:
        read_house(house)
    one_line(error, house, "line 5")
