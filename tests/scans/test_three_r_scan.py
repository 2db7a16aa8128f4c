"""3RScan: sideways phones, PGM, folder and archive, rescans of one place, objects."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from hatch_data.errors import FrameError, ScanError
from hatch_data.scans import LAYOUTS, find, reader
from hatch_data.scans.archive import LARGEST_BYTES, members
from hatch_data.scans.files import read_pose
from tests.layouts import room, three_r_scan
from tests.scans.reading import one_line, reads_back

POSES = room.walk(12)
NAME = "531cff10-0021-28f6-8f94-80db8fdbbbee"
AS = pytest.mark.parametrize("stored", ["folder", "archive"])


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("3rscan") / NAME
    three_r_scan.write(folder, POSES)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / NAME)
    return tmp_path / NAME


@AS
def test_reads_back_what_was_written(folder: Path, stored: str) -> None:
    if stored == "archive":
        three_r_scan.zip_sequence(folder)
    assert [name for name in LAYOUTS if reader(name).evidence(folder)] == ["3rscan"]
    before = sorted(folder.rglob("*"))
    (ref,) = find([str(folder)])
    scene = ref.load()
    reads_back(scene, three_r_scan, POSES)
    assert (scene.id, scene.space, scene.up_source) == (NAME, NAME, "layout")
    assert sorted(folder.rglob("*")) == before


@AS
def test_missing_and_broken_files_cost_their_frames_only(folder: Path, stored: str) -> None:
    three_r_scan.color_file(folder, 2).unlink()
    three_r_scan.depth_file(folder, 3).unlink()
    three_r_scan.pose_file(folder, 4).unlink()
    three_r_scan.pose_file(folder, 5).write_text("1 0 0")
    three_r_scan.depth_file(folder, 6).write_bytes(b"P6\n1 1\n255\n")
    whole = three_r_scan.depth_file(folder, 7).read_bytes()
    three_r_scan.depth_file(folder, 7).write_bytes(whole[: len(whole) // 2])
    three_r_scan.depth_file(folder, 8).write_bytes(whole.replace(b"65535", b"255", 1))
    if stored == "archive":
        three_r_scan.zip_sequence(folder)
    scene = reader("3rscan").read(folder)
    assert scene.dropped == {
        "missing_color": ["frame-000002"],
        "missing_depth": ["frame-000003"],
        "missing_pose": ["frame-000004"],
        "bad_pose": ["frame-000005"],
        "unreadable_depth": ["frame-000006"],
    }
    frames = {frame.id: frame for frame in scene.frames}
    for n, part in ((7, "breaks off"), (8, "16-bit")):
        with pytest.raises(FrameError) as error:
            frames[f"frame-{n:06d}"].depth()
        assert error.value.reason == "unreadable_depth"
        one_line(error, three_r_scan.depth_file(folder, n).name, part)
    assert np.abs(frames["frame-000009"].world_from_camera - POSES[9]).max() < 1e-6


def test_broken_members_of_an_archive(folder: Path) -> None:
    """One member is damaged where it lies; its checksum tells."""
    archive = three_r_scan.zip_sequence(folder)
    with zipfile.ZipFile(archive) as opened:
        info = opened.getinfo("frame-000005.depth.pgm")
    data = bytearray(archive.read_bytes())
    middle = info.header_offset + 60 + info.compress_size // 2
    data[middle : middle + 40] = bytes(40)
    archive.write_bytes(data)
    frames = {frame.id: frame for frame in reader("3rscan").read(folder).frames}
    with pytest.raises(FrameError) as error:
        frames["frame-000005"].depth()
    assert error.value.reason == "unreadable_depth"
    one_line(error, "sequence.zip/frame-000005.depth.pgm")
    assert frames["frame-000006"].depth().values.any()


def test_what_cannot_be_used_is_refused(folder: Path) -> None:
    info = folder / "sequence" / "_info.txt"
    text = info.read_text()
    for broken, part in (
        (text.replace("m_calibrationColorIntrinsic", "m_other"), "m_calibrationColorIntrinsic"),
        (text.replace("m_colorWidth = 288", "m_colorWidth = 960"), "960x162"),
        (text.replace("m_depthShift = 1000", "m_depthShift = deep"), "m_depthShift"),
        (text.replace("m_depthShift = 1000", "m_depthShift = 0"), "m_depthShift"),
        (text + "m_calibrationDepthExtrinsic = 1 0 0 0 0 1 0\n", "extrinsic"),
    ):
        info.write_text(broken)
        with pytest.raises(ScanError) as error:
            reader("3rscan").read(folder)
        one_line(error, info, part)
    info.unlink()
    with pytest.raises(ScanError) as error:
        reader("3rscan").read(folder)
    one_line(error, "_info.txt")
    archive = three_r_scan.zip_sequence(folder)
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(ScanError) as error:
        reader("3rscan").read(folder)
    one_line(error, archive, "zip")


def test_rescans_share_the_place_of_their_reference(folder: Path) -> None:
    places = [{"reference": "a", "scans": []}, {"reference": "b", "scans": [{"reference": NAME}]}, {"reference": "c"}]
    (folder.parent / "3RScan.json").write_text(json.dumps(places))
    assert reader("3rscan").space(folder) == "b"
    assert reader("3rscan").space(folder.with_name("a")) == "a"
    assert reader("3rscan").space(folder.with_name("unlisted")) == "unlisted"


def annotate(folder: Path) -> None:
    """A chair with a stated box, turned by 30 degrees; a lamp of which only vertices are known."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    obb = {"centroid": [1.0, 2.0, 0.5], "axesLengths": [0.6, 0.4, 1.0], "normalizedAxes": [c, s, 0, -s, c, 0, 0, 0, 1]}
    groups = [{"objectId": 4, "label": "chair", "obb": obb}, {"objectId": 7, "label": "lamp"}]
    (folder / "semseg.v2.json").write_text(json.dumps({"scan_id": NAME, "segGroups": groups}))
    lamp = trimesh.creation.box(extents=[0.3, 0.2, 0.5])
    lamp.apply_translation([3.0, 1.0, 2.0])
    chair = trimesh.creation.box(extents=[0.6, 0.4, 1.0])
    mesh = trimesh.util.concatenate([lamp, chair])
    mesh.vertex_attributes["objectId"] = np.array([7] * 8 + [4] * 8, np.int16)
    mesh.export(folder / "labels.instances.annotated.v2.ply")


def test_objects(folder: Path) -> None:
    annotate(folder)
    chair, lamp = reader("3rscan").read(folder).instances
    assert (chair.id, chair.label, lamp.id, lamp.label) == ("4", "chair", "7", "lamp")
    assert np.allclose(chair.size_m, [0.6, 0.4, 1.0])
    assert np.allclose(chair.world_from_box[:3, 0], [np.cos(np.pi / 6), np.sin(np.pi / 6), 0])
    assert np.allclose(chair.world_from_box[:3, 3], [1.0, 2.0, 0.5])
    assert np.allclose(lamp.size_m, [0.3, 0.2, 0.5], atol=1e-6)
    assert np.allclose(lamp.world_from_box[:3, 3], [3.0, 1.0, 2.0], atol=1e-6)


def test_objects_named_by_3dssg_alone(folder: Path) -> None:
    annotate(folder)
    (folder / "semseg.v2.json").unlink()
    objects = [{"id": "7", "label": "floor lamp"}, {"id": "99", "label": "ghost"}]
    told = {"scans": [{"scan": "other", "objects": []}, {"scan": NAME, "objects": objects}]}
    (folder.parent / "objects.json").write_text(json.dumps(told))
    (lamp,) = reader("3rscan").read(folder).instances
    assert (lamp.id, lamp.label) == ("7", "floor lamp")
    assert np.allclose(lamp.size_m, [0.3, 0.2, 0.5], atol=1e-6)


def test_broken_objects_are_refused(folder: Path) -> None:
    annotate(folder)
    semseg = folder / "semseg.v2.json"
    text = semseg.read_text()
    for broken in (text.replace('"label": "lamp"', '"name": 1'), text.replace("0.6", '"wide"'), "[]", text[:30]):
        semseg.write_text(broken)
        with pytest.raises(ScanError) as error:
            reader("3rscan").read(folder)
        one_line(error, semseg)


def test_a_member_that_fills_memory_is_a_bad_pose(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sequence.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("frame-000000.pose.txt", bytes(LARGEST_BYTES + 1))
    (member,) = members(tmp_path / "sequence.zip")
    with pytest.raises(FrameError, match="larger than 64 MiB") as raised:
        read_pose(member)
    assert raised.value.reason == "bad_pose"
