"""ScanNet's layouts beside the extracted one (see `test_scans`): .sens, posed_images, frames_25k, and annotations."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from hatch_data.depth_source import with_depth
from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array, rotation_from_heading_pitch_roll, transform
from hatch_data.scans import LAYOUTS, find, reader
from hatch_data.scans.annotations import upright_box
from hatch_data.scene import Instance
from tests.layouts import room, scannet_frames_25k, scannet_posed_images, scannet_sens
from tests.scans.reading import one_line, reads_back

WRITERS = {w.LAYOUT: w for w in (scannet_frames_25k, scannet_posed_images, scannet_sens)}
POSES = room.walk(12)
EACH = pytest.mark.parametrize("layout", sorted(WRITERS))
WITH_FILES = pytest.mark.parametrize("layout", ["scannet-frames-25k", "scannet-posed-images"])
NAME = "scene0707_01"


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scannet")
    for layout, writer in WRITERS.items():
        writer.write(folder / layout / NAME, POSES)
    return folder


@pytest.fixture
def copied(originals: Path, tmp_path: Path):
    def copy(layout: str) -> Path:
        shutil.copytree(originals / layout / NAME, tmp_path / NAME)
        return tmp_path / NAME

    return copy


@EACH
def test_reads_back_what_was_written(originals: Path, layout: str) -> None:
    (ref,) = find([str(originals / layout)])
    assert (ref.layout, ref.scene, ref.space) == (layout, NAME, "scene0707")
    scene = ref.load()
    reads_back(scene, WRITERS[layout], POSES, pose_error=1e-4 if layout == "scannet-sens" else 1e-6)
    assert (scene.id, scene.space, scene.up_source, scene.mesh) == (NAME, "scene0707", "layout", None)
    assert np.array_equal(scene.up, room.UP)


@EACH
def test_detection_is_unambiguous(originals: Path, layout: str) -> None:
    assert [name for name in LAYOUTS if reader(name).evidence(originals / layout / NAME)] == [layout]


@WITH_FILES
def test_missing_and_broken_files_cost_their_frames_only(copied, layout: str) -> None:
    writer, folder = WRITERS[layout], copied(layout)
    writer.color_file(folder, 2).unlink()
    writer.depth_file(folder, 4).unlink()
    writer.pose_file(folder, 5).unlink()
    writer.pose_file(folder, 6).write_text("-inf " * 16)
    writer.depth_file(folder, 7).write_bytes(b"")
    writer.color_file(folder, 8).write_bytes(writer.color_file(folder, 8).read_bytes()[:3000])
    scene = reader(layout).read(folder)
    assert scene.dropped == {
        "missing_color": [writer.frame_id(2)],
        "missing_depth": [writer.frame_id(4)],
        "missing_pose": [writer.frame_id(5)],
        "lost_pose": [writer.frame_id(6)],
        "unreadable_depth": [writer.frame_id(7)],
    }
    frames = {frame.id: frame for frame in scene.frames}
    assert list(frames) == [writer.frame_id(n) for n in (0, 1, 3, 8, 9, 10, 11)]
    with pytest.raises(FrameError) as error:
        frames[writer.frame_id(8)].read_color()
    one_line(error, writer.color_file(folder, 8))
    for n in (3, 9):
        assert np.abs(frames[writer.frame_id(n)].world_from_camera - POSES[n]).max() < 1e-6


def test_posed_images_with_a_depth_camera_of_its_own(copied) -> None:
    folder = copied("scannet-posed-images")
    own = scannet_frames_25k.DEPTH
    (folder / "depth_intrinsic.txt").write_text(room.matrix_text(room.intrinsic_4x4(own)))
    assert reader("scannet-posed-images").read(folder).frames[0].sensor.camera == own


def test_sens_is_found_by_file_and_by_folder(originals: Path) -> None:
    folder = originals / "scannet-sens" / NAME
    for name in (folder, folder / f"{NAME}.sens"):
        (ref,) = find([str(name)])
        scene = ref.load()
        assert (ref.layout, ref.scene, ref.space) == ("scannet-sens", NAME, "scene0707")
        assert (scene.id, scene.space, len(scene.frames)) == (NAME, "scene0707", len(POSES))


def test_sens_lost_poses_and_broken_blobs(copied) -> None:
    folder = copied("scannet-sens")
    scannet_sens.set_pose(folder, 3, np.full((4, 4), -np.inf))
    scannet_sens.set_pose(folder, 4, np.zeros((4, 4)))
    scannet_sens.spoil(folder, 6, "color")
    scannet_sens.spoil(folder, 7, "depth")
    scene = reader("scannet-sens").read(folder)
    assert scene.dropped == {"lost_pose": ["3"], "zero_pose": ["4"]}
    frames = {frame.id: frame for frame in scene.frames}
    for id_, read, reason in (("6", "read_color", "unreadable_color"), ("7", "read_depth", "unreadable_depth")):
        with pytest.raises(FrameError) as error:
            getattr(frames[id_], read)()
        assert error.value.reason == reason
        one_line(error, scannet_sens.sens_file(folder), f"frame {id_}")
    truth = room.render(scannet_sens.DEPTH, POSES[8] @ scannet_sens.COLOR_FROM_DEPTH)[1]
    assert np.abs(frames["8"].depth().metres - truth).max() < 1e-3
    assert frames["6"].depth().values.any()


def test_sens_that_breaks_off_keeps_what_came_before(copied) -> None:
    folder = copied("scannet-sens")
    file = scannet_sens.sens_file(folder)
    start, _, depth, end = scannet_sens.records(folder)[7]
    file.write_bytes(file.read_bytes()[: (depth + end) // 2])
    scene = reader("scannet-sens").read(folder)
    assert [frame.id for frame in scene.frames] == [str(n) for n in range(7)]
    assert scene.dropped == {"missing_depth": ["7"], "missing_color": ["8", "9", "10", "11"]}
    file.write_bytes(file.read_bytes()[: start - 10])
    with pytest.raises(FrameError) as error:
        scene.frames[6].depth()
    assert error.value.reason == "unreadable_depth"
    one_line(error, file, "frame 6", "ends before")


def test_sens_is_never_read_whole(tmp_path: Path) -> None:
    """A blob of 6 GiB (a hole in a sparse file) between two frames is seeked over."""
    folder = tmp_path / NAME
    folder.mkdir()
    color = room.jpeg(room.render(scannet_sens.COLOR, POSES[0])[0])
    depth = scannet_sens.depth_blob(room.render(scannet_sens.DEPTH, POSES[0])[1])
    huge = 6 << 30
    with scannet_sens.sens_file(folder).open("wb") as file:
        file.write(scannet_sens.header(scannet_sens.COLOR, scannet_sens.DEPTH, 3, np.eye(4), np.eye(4)))
        file.write(scannet_sens.record(POSES[0], color, depth, 0))
        file.write(POSES[1].astype("<f4").tobytes() + struct.pack("<4Q", 0, 0, huge, len(depth)))
        file.seek(huge, 1)
        file.write(depth)
        file.write(scannet_sens.record(POSES[2], color, depth, 2))
    frames = reader("scannet-sens").read(folder).frames
    assert len(frames) == 3
    assert frames[0].read_color() == frames[2].read_color() == color
    assert np.array_equal(frames[1].depth().values, frames[2].depth().values)


@pytest.mark.parametrize(
    ("at", "data", "part"),
    [
        (0, struct.pack("<I", 3), "version 3"),
        (12 + 15 + 256, struct.pack("<i", 0), "codecs 0"),
        (12 + 15 + 256 + 24, struct.pack("<f", 0.0), "broken header"),
        (12 + 15 + 256 + 28, struct.pack("<Q", 2**60), "broken header"),
        (12 + 15 + 64, np.full(16, np.nan, "<f4").tobytes(), "no rigid transform"),
    ],
)
def test_sens_with_a_broken_header_is_refused(copied, at: int, data: bytes, part: str) -> None:
    folder = copied("scannet-sens")
    with scannet_sens.sens_file(folder).open("r+b") as file:
        file.seek(at)
        file.write(data)
    with pytest.raises(ScanError) as error:
        reader("scannet-sens").read(folder)
    one_line(error, scannet_sens.sens_file(folder), part)


def test_sens_too_short_or_doubled_is_refused(copied) -> None:
    folder = copied("scannet-sens")
    file = scannet_sens.sens_file(folder)
    shutil.copy(file, folder / "other.sens")
    with pytest.raises(ScanError) as error:
        reader("scannet-sens").read(folder)
    one_line(error, folder, "other.sens")
    (folder / "other.sens").write_bytes(file.read_bytes()[:100])
    with pytest.raises(ScanError) as error:
        reader("scannet-sens").read(folder / "other.sens")
    one_line(error, "other.sens", "header")


def box(label: str, heading_deg: float, centre: list[float], size: list[float]) -> Instance:
    pose = np.eye(4)
    c, s = np.cos(np.radians(heading_deg)), np.sin(np.radians(heading_deg))
    pose[:2, :2] = [[c, -s], [s, c]]
    pose[:3, 3] = centre
    return Instance("", label, pose, np.array(size))


def corners(of: Instance) -> Array:
    signs = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3), axis=-1).reshape(-1, 3)
    return transform(of.world_from_box, signs * of.size_m)


def same_box(found: Instance, expected: Instance, tolerance: float) -> None:
    """The same corners, whichever way the axes are called."""
    distances = np.linalg.norm(corners(found)[:, None] - corners(expected), axis=-1)
    assert distances.min(axis=0).max() < tolerance
    assert np.linalg.det(found.world_from_box[:3, :3]) == pytest.approx(1)


OBJECTS = [
    box("office chair", 30, [1.5, 1.0, 0.5], [0.6, 0.5, 1.0]),
    box("table", -70, [3.0, 2.0, 0.4], [1.6, 0.8, 0.8]),
]


def write_annotations(folder: Path, name: str = NAME) -> None:
    """Two boxes, each of two segments, vertices interleaved; segment 7 belongs to nothing, object 9 has no surface."""
    meshes = [trimesh.creation.box(extents=o.size_m, transform=o.world_from_box) for o in OBJECTS]
    vertices = np.concatenate([m.vertices for m in meshes] + [[[9.0, 9.0, 9.0]]])
    faces = np.concatenate([meshes[0].faces, meshes[1].faces + 8])
    segments = np.array([10, 11] * 4 + [20, 21] * 4 + [7])
    order = np.random.default_rng(0).permutation(len(vertices))
    mesh = trimesh.Trimesh(vertices[order], np.argsort(order)[faces], process=False)
    folder.mkdir(parents=True, exist_ok=True)
    mesh.export(folder / f"{name}_vh_clean_2.ply")
    told = {"segIndices": segments[order].tolist()}
    (folder / f"{name}_vh_clean_2.0.010000.segs.json").write_text(json.dumps(told))
    groups = [
        {"id": k, "objectId": k, "segments": s, "label": label}
        for k, s, label in ((0, [11, 10], OBJECTS[0].label), (1, [20, 21], OBJECTS[1].label), (9, [99], "ghost"))
    ]
    (folder / f"{name}.aggregation.json").write_text(json.dumps({"segGroups": groups}))


@EACH
@pytest.mark.parametrize("where", ["beside", "in scans"])
def test_objects_and_mesh(originals: Path, tmp_path: Path, layout: str, where: str) -> None:
    folder = tmp_path / "posed_images" / NAME
    shutil.copytree(originals / layout / NAME, folder)
    home = folder if where == "beside" else tmp_path / "scans" / NAME
    write_annotations(home)
    scene = reader(layout).read(folder)
    assert scene.mesh == home / f"{NAME}_vh_clean_2.ply"
    assert [(i.id, i.label) for i in scene.instances] == [("0", "office chair"), ("1", "table")]
    for found, expected in zip(scene.instances, OBJECTS, strict=True):
        same_box(found, expected, 1e-5)
        assert np.allclose(found.world_from_box[:3, 2], room.UP)


def test_frames_without_depth_are_kept_for_the_mesh(copied) -> None:
    folder = copied("scannet-frames-25k")
    write_annotations(folder)
    scannet_frames_25k.depth_file(folder, 3).unlink()
    scene = reader("scannet-frames-25k").read(folder)
    assert (scene.dropped, len(scene.frames)) == ({}, len(POSES))
    frame = scene.frames[3]
    assert (frame.read_depth, frame.sensor.camera) == (None, frame.camera)
    given = with_depth(scene, "auto")
    assert (given.dropped, len(given.frames)) == ({}, len(POSES))
    assert with_depth(scene, "sensor").dropped == {"missing_depth": [frame.id]}


def test_annotations_that_contradict_each_other_are_refused(copied) -> None:
    folder = copied("scannet-frames-25k")
    write_annotations(folder)
    segments = folder / f"{NAME}_vh_clean_2.0.010000.segs.json"
    segments.write_text(json.dumps({"segIndices": [1, 2, 3]}))
    with pytest.raises(ScanError) as error:
        reader("scannet-frames-25k").read(folder)
    one_line(error, segments, "3 segments", "17 vertices")
    segments.write_text("{")
    with pytest.raises(ScanError) as error:
        reader("scannet-frames-25k").read(folder)
    one_line(error, segments, "JSON")
    segments.unlink()
    assert reader("scannet-frames-25k").read(folder).instances == []


@settings(deadline=None, max_examples=60)
@given(
    st.floats(-180, 180),
    st.lists(st.floats(0.05, 3), min_size=3, max_size=3),
    st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(lambda v: np.linalg.norm(v) > 0.1),
)
def test_upright_box_finds_a_box_with_any_up(heading: float, size: list, centre: list, up: list) -> None:
    pose = np.eye(4)
    level = rotation_from_heading_pitch_roll(heading, 0, 0, np.array(up))
    pose[:3, :3] = np.stack([level[:, 2], level[:, 0], -level[:, 1]], axis=1)
    pose[:3, :3] *= np.sign(np.linalg.det(pose[:3, :3])) ** np.array([0, 1, 0])
    pose[:3, 3] = centre
    expected = Instance("", "", pose, np.array(size))
    world_from_box, size_m = upright_box(corners(expected), np.array(up))
    same_box(Instance("", "", world_from_box, size_m), expected, 1e-6)
    assert size_m[0] >= size_m[1] - 1e-9


@pytest.mark.parametrize("points", [[[1.0, 2, 3]], [[0.0, 0, 0], [1, 1, 0], [2, 2, 1]]])
def test_upright_box_of_a_point_or_a_line(points: list) -> None:
    world_from_box, size_m = upright_box(np.array(points), room.UP)
    span = np.ptp(points, axis=0)
    assert np.allclose(size_m, [np.hypot(span[0], span[1]), 0, span[2]])
    assert np.allclose(world_from_box[:3, 3], (np.max(points, axis=0) + np.min(points, axis=0)) / 2)
