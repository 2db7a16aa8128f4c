"""SPAR-7M-RGBD scene folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hatch_data.errors import ScanError
from hatch_data.scans import LAYOUTS, find, reader
from tests.layouts import room, spar
from tests.scans.reading import one_line, reads_back

POSES = room.walk(6)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scannet") / "scene0011_01"
    spar.write(folder, POSES)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / original.name)


def test_reads_back_what_was_written(original: Path) -> None:
    assert [name for name in LAYOUTS if reader(name).evidence(original)] == ["spar"]
    (ref,) = find([str(original)])
    scene = ref.load()
    reads_back(scene, spar, POSES)
    assert (scene.space, scene.up.tolist(), scene.up_source) == ("scene0011", [0, 0, 1], "layout")


def test_intrinsics_of_each_image(tmp_path: Path) -> None:
    spar.write_with_own_intrinsics(tmp_path / "house", POSES)
    scene = reader("spar").read(tmp_path / "house")
    reads_back(scene, spar, POSES, spar.camera_of)
    assert scene.space == "house"


def test_videos_where_there_are_no_images(folder: Path) -> None:
    for old, new in (("image_color", "video_color"), ("image_depth", "video_depth"), ("pose", "video_pose")):
        (folder / old).rename(folder / new)
    reads_back(reader("spar").read(folder), spar, POSES)


def test_depth_of_matterport_has_its_own_unit(tmp_path: Path) -> None:
    folder = tmp_path / "matterport3d" / "images" / "17DRP5sb8fy"
    spar.write_with_own_intrinsics(folder, {0: POSES[0]}, units_per_metre=4000)
    (frame,) = reader("spar").read(folder).frames
    truth = room.render(spar.camera_of(0), POSES[0])[1]
    assert np.abs(frame.depth().metres - truth).max() < 1.5e-4


def test_what_is_missing_in_the_middle_costs_those_frames_only(tmp_path: Path) -> None:
    folder = tmp_path / "house"
    poses = room.walk(9)
    spar.write_with_own_intrinsics(folder, poses)
    spar.color_file(folder, 1).unlink()
    spar.depth_file(folder, 2).unlink()
    spar.set_pose(folder, 3, None)
    spar.set_pose(folder, 4, np.full((4, 4), -np.inf))
    (folder / "intrinsic" / f"{spar.frame_id(5)}.txt").unlink()
    (folder / "intrinsic" / f"{spar.frame_id(6)}.txt").write_text("1 2 3")
    spar.depth_file(folder, 7).write_bytes(b"")
    scene = reader("spar").read(folder)
    assert scene.dropped == {
        "missing_color": ["7"],
        "missing_depth": ["14"],
        "missing_pose": ["21"],
        "lost_pose": ["28"],
        "missing_intrinsics": ["35"],
        "bad_intrinsics": ["42"],
        "unreadable_depth": ["49"],
    }
    assert [frame.id for frame in scene.frames] == ["0", "56"]
    assert np.abs(scene.frames[1].world_from_camera - poses[8]).max() < 1e-6


def test_no_or_broken_intrinsics_are_refused(folder: Path) -> None:
    (folder / "intrinsic" / "intrinsic_color.txt").write_text("1 2 3 4")
    with pytest.raises(ScanError) as error:
        reader("spar").read(folder)
    one_line(error, "intrinsic_color.txt", "3x3 or 4x4")
    shutil.rmtree(folder / "intrinsic")
    with pytest.raises(ScanError) as error:
        reader("spar").read(folder)
    one_line(error, "no intrinsics")
