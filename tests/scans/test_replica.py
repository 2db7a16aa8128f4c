"""Replica of NICE-SLAM: positional ids, the camera beside the scans."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hatch_data.errors import ScanError
from hatch_data.scans import LAYOUTS, find, reader
from tests.layouts import replica, room
from tests.scans.reading import one_line, reads_back

POSES = room.walk(12)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replica") / "room0"
    replica.write(folder, POSES)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original.parent, tmp_path / "Replica")
    return tmp_path / "Replica" / "room0"


def test_reads_back_what_was_written(original: Path) -> None:
    assert [name for name in LAYOUTS if reader(name).evidence(original)] == ["replica"]
    (ref,) = find([str(original)])
    scene = ref.load()
    reads_back(scene, replica, POSES)
    assert (scene.id, scene.space, scene.up_source, scene.mesh) == ("room0", "room0", "layout", None)


def test_missing_files_do_not_shift_the_poses_of_others(folder: Path) -> None:
    replica.color_file(folder, 2).unlink()
    replica.depth_file(folder, 2).unlink()
    replica.depth_file(folder, 4).unlink()
    replica.color_file(folder, 5).write_bytes(b"")
    replica.set_pose(folder, 6, " ".join(["nan"] * 16))
    replica.set_pose(folder, 7, "0.5 broken")
    lines = (folder / "traj.txt").read_text().splitlines(keepends=True)
    (folder / "traj.txt").write_text("".join(lines[:11]))
    scene = reader("replica").read(folder)
    assert scene.dropped == {
        "missing_depth": ["frame000004"],
        "unreadable_color": ["frame000005"],
        "lost_pose": ["frame000006"],
        "bad_pose": ["frame000007"],
        "missing_pose": ["frame000011"],
    }
    assert [frame.id for frame in scene.frames] == [f"frame{n:06d}" for n in (0, 1, 3, 8, 9, 10)]
    for frame in scene.frames:
        assert np.abs(frame.world_from_camera - POSES[int(frame.id[5:])]).max() < 1e-6


def test_the_published_camera_and_the_mesh(folder: Path) -> None:
    (folder.parent / "room0_mesh.ply").write_bytes(b"ply\n")
    assert reader("replica").read(folder).mesh == folder.parent / "room0_mesh.ply"
    (folder.parent / "cam_params.json").unlink()
    with pytest.raises(ScanError) as error:
        reader("replica").read(folder)
    one_line(error, "1200x680", "300x170")


NO_SCALE = '{"camera": {"w": 300, "h": 170, "fx": 150, "fy": 150, "cx": 149.5, "cy": 84.5, "scale": 0}}'


@pytest.mark.parametrize("text", ["{", "[]", '{"camera": {"w": 300}}', NO_SCALE])
def test_a_broken_camera_is_refused(folder: Path, text: str) -> None:
    (folder.parent / "cam_params.json").write_text(text)
    with pytest.raises(ScanError) as error:
        reader("replica").read(folder)
    one_line(error, "cam_params.json")


def test_no_trajectory_is_refused(folder: Path) -> None:
    (folder / "traj.txt").unlink()
    with pytest.raises(ScanError) as error:
        reader("replica").read(folder)
    one_line(error, folder, "traj.txt")


def test_versions_of_one_apartment_share_a_place() -> None:
    space = reader("replica").space
    assert space(Path("frl_apartment_3")) == "frl_apartment"
    assert [space(Path(name)) for name in ("room_0", "office0", "apartment_1")] == ["room_0", "office0", "apartment_1"]
