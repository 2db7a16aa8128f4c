"""ScanNet++: the DSLR's fisheye, masks and mesh; the phone's video, streams of depth and two kinds of poses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Camera
from hatch_data.scans import LAYOUTS, detect, reader
from hatch_data.scans.depth_stream import STEP, DepthStream, StreamedDepth
from hatch_data.scans.lens import Lens
from hatch_data.scene import Scene
from tests.layouts import room
from tests.layouts import scannetpp as writer
from tests.layouts.film import write_video
from tests.scans import reading

POSES = room.walk(8)
FEW = {n: POSES[n] for n in range(3)}
STRAIGHT = Lens(writer.PHONE.camera)


def dslr(folder: Path) -> Scene:
    return reader("scannetpp-dslr").read(folder)


def phone(folder: Path) -> Scene:
    return reader("scannetpp-iphone").read(folder)


def photographs(poses: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
    return {writer.dslr_name(n): pose for n, pose in poses.items()}


def numbered(poses: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"frame_{n:06d}": pose for n, pose in poses.items()}


def halved(camera: Camera) -> Camera:
    return camera.resized(camera.width // 2, camera.height // 2)


def test_dslr_with_depth_from_the_mesh(tmp_path: Path) -> None:
    writer.write_scan(tmp_path)
    writer.write_dslr(tmp_path, POSES)
    assert [name for name in LAYOUTS if reader(name).evidence(tmp_path)] == ["scannetpp-dslr"]
    scene = dslr(tmp_path)
    camera = writer.FISHEYE.pinhole
    reading.assert_frames(scene, photographs(POSES), camera, halved(camera), 1e-4, least_depth=0.85)
    masked = scene.frames[0].depth().metres == 0
    # The left eighth of the fisheye image is some columns of the straightened one, fewer at its middle's height.
    assert 0.02 < masked.mean() < 0.13 and masked[:, 0].all() and not masked[:, 30:].any()
    assert (scene.up_source, scene.space, scene.dropped) == ("layout", tmp_path.name, {})
    assert scene.mesh == tmp_path / "scans" / "mesh_aligned_0.05.ply"
    (box,) = scene.instances
    assert (box.id, box.label, list(box.size_m)) == ("7", "table", [1.2, 0.8, 0.75])
    assert np.allclose(box.world_from_box[:3, :3], np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]]))


def test_dslr_with_rendered_depth(tmp_path: Path) -> None:
    writer.write_dslr(tmp_path, FEW, render_depth=True)
    camera = writer.FISHEYE.pinhole
    reading.assert_frames(dslr(tmp_path), photographs(FEW), camera, camera, 0.12, least_depth=0.85)


def test_dslr_without_a_model_has_its_world_put_right(tmp_path: Path) -> None:
    writer.write_dslr(tmp_path, FEW, render_depth=True)
    for part in (tmp_path / "dslr" / "colmap").iterdir():
        part.unlink()
    camera = writer.FISHEYE.pinhole
    reading.assert_frames(dslr(tmp_path), photographs(FEW), camera, camera, 0.12, least_depth=0.85)


def test_dslr_undistorted_twins(tmp_path: Path) -> None:
    writer.write_scan(tmp_path)
    writer.write_dslr(tmp_path, FEW, undistorted=True)
    scene = dslr(tmp_path)
    camera = writer.FISHEYE.pinhole
    reading.assert_frames(scene, photographs(FEW), camera, halved(camera), 1e-4, least_depth=0.85)
    stored = tmp_path / "dslr" / "undistorted_images" / "DSC00001.JPG"
    assert scene.frames[1].read_color() == stored.read_bytes()


def test_dslr_frames_for_tests_that_are_no_list_are_told(tmp_path: Path) -> None:
    writer.write_dslr(tmp_path, POSES, render_depth=True)
    transforms = tmp_path / "dslr" / "nerfstudio" / "transforms.json"
    for spoilt in ({"a": 1}, ["DSC00000.JPG"], 3):
        transforms.write_text(json.dumps({**json.loads(transforms.read_text()), "test_frames": spoilt}))
        with pytest.raises(ScanError, match=r"transforms\.json: 'test_frames' is no list of frames; restore the file$"):
            dslr(tmp_path)


def test_dslr_bad_and_missing_frames_are_counted(tmp_path: Path) -> None:
    writer.write_dslr(tmp_path, POSES, render_depth=True)
    transforms = tmp_path / "dslr" / "nerfstudio" / "transforms.json"
    told = json.loads(transforms.read_text())
    told["frames"][1]["is_bad"] = True
    transforms.write_text(json.dumps(told))
    images = tmp_path / "dslr" / "resized_images"
    (images / "DSC00003.JPG").unlink()
    (images / "DSC00004.JPG").write_bytes(b"no image")
    (images / "DSC00099.JPG").write_bytes((images / "DSC00000.JPG").read_bytes())
    (tmp_path / "dslr" / "render_depth" / "DSC00005.png").unlink()
    mask = tmp_path / "dslr" / "resized_anon_masks" / "DSC00006.png"
    mask.write_bytes(b"no mask")
    scene = dslr(tmp_path)
    assert scene.dropped == {
        "marked_bad": ["DSC00001"],
        "missing_color": ["DSC00003"],
        "unreadable_color": ["DSC00004"],
        "missing_depth": ["DSC00005", "DSC00099"],
    }
    assert [frame.id for frame in scene.frames] == ["DSC00000", "DSC00002", "DSC00006", "DSC00007"]
    with pytest.raises(FrameError) as error:
        scene.frames[2].depth()
    assert error.value.reason == "unreadable_mask"


def test_both_cameras_of_one_scene_are_a_doubt(tmp_path: Path) -> None:
    writer.write_dslr(tmp_path, {0: POSES[0]})
    writer.write_phone(tmp_path, {0: POSES[0]}, STRAIGHT, "png", None)
    with pytest.raises(ScanError, match=r"scannetpp-dslr .*scannetpp-iphone .*--layout$"):
        detect(tmp_path)


@pytest.mark.parametrize("encoding", ["stream", "frames", "lz4", "png"])
def test_phone_with_arkits_poses(tmp_path: Path, encoding: str) -> None:
    count = 5 if encoding == "stream" else 3
    stood = {n: POSES[n] for n in range(count)}
    writer.write_phone(tmp_path, reading.lying(stood), STRAIGHT, encoding, None)
    assert [name for name in LAYOUTS if reader(name).evidence(tmp_path)] == ["scannetpp-iphone"]
    scene = phone(tmp_path)
    camera = reading.stood_up(STRAIGHT.camera)
    sensor = reading.stood_up(STRAIGHT.camera.resized(256, 192))
    step_m = 0.5e-3 if encoding in ("lz4", "png") else 0
    reading.assert_frames(scene, numbered(stood), camera, sensor, step_m + 1e-6)
    assert scene.frames[1].timestamp_s == pytest.approx(50 + 1 / 60)


def test_phone_stamps_that_are_none_are_left_out(tmp_path: Path) -> None:
    writer.write_phone(tmp_path, reading.lying({n: POSES[n] for n in range(3)}), STRAIGHT, "png", None)
    file = tmp_path / "iphone" / "pose_intrinsic_imu.json"
    told = json.loads(file.read_text())
    told[min(told)]["timestamp"] = 10**400
    file.write_text(json.dumps(told))
    stamps = [frame.timestamp_s for frame in reader("scannetpp-iphone").read(tmp_path).frames]
    assert [stamp is None for stamp in stamps] == [True, False, False]


@pytest.mark.parametrize(("prefix", "encoding"), [("video/", "lz4"), ("iphone/", "png")])
def test_phone_with_a_model_of_some_frames(tmp_path: Path, prefix: str, encoding: str) -> None:
    writer.write_scan(tmp_path)
    writer.write_phone(tmp_path, FEW, writer.PHONE, encoding, prefix)
    scene = phone(tmp_path)
    camera = writer.PHONE.pinhole
    reading.assert_frames(scene, numbered(FEW), camera, camera.resized(256, 192), 0.1)
    assert scene.mesh and len(scene.instances) == 1


def test_phone_what_is_missing_or_masked_costs_its_frame_only(tmp_path: Path) -> None:
    writer.write_phone(tmp_path, POSES, STRAIGHT, "png", None)
    root = tmp_path / "iphone"
    poses = root / "pose_intrinsic_imu.json"
    told = json.loads(poses.read_text())
    told["frame_000001"]["aligned_pose"] = np.full((4, 4), -np.inf).tolist()
    del told["frame_000002"]["aligned_pose"]
    del told["frame_000003"]["intrinsic"]
    poses.write_text(json.dumps(told))
    (root / "rgb" / "frame_000004.jpg").unlink()
    (root / "depth" / "frame_000005.png").unlink()
    mask = np.full((360, 480), 255, np.uint8)
    mask[:, :120] = 0
    (root / "rgb_masks").mkdir()
    (root / "rgb_masks" / "frame_000006.png").write_bytes(room.png(mask))
    scene = phone(tmp_path)
    assert scene.dropped == {
        "lost_pose": ["frame_000001"],
        "missing_pose": ["frame_000002"],
        "missing_intrinsics": ["frame_000003"],
        "missing_color": ["frame_000004"],
        "missing_depth": ["frame_000005"],
    }
    assert [frame.id for frame in scene.frames] == ["frame_000000", "frame_000006", "frame_000007"]
    depth = scene.frames[1].depth().metres
    assert not depth[:, :64].any() and depth[:, 64:].all()


def test_phone_masks_still_a_video_are_read(tmp_path: Path) -> None:
    writer.write_phone(tmp_path, FEW, STRAIGHT, "png", None)
    mask = np.full((360, 480, 3), 255, np.uint8)
    mask[:, :120] = 0
    write_video(tmp_path / "iphone" / "rgb_mask.mkv", [mask] * (max(FEW) + 1))
    for frame in phone(tmp_path).frames:
        depth = frame.depth().metres
        assert not depth[:, :64].any() and depth[:, 64:].all()


def test_phone_names_without_numbers_and_no_poses_are_told(tmp_path: Path) -> None:
    writer.write_phone(tmp_path, {0: POSES[0]}, STRAIGHT, "png", None)
    poses = tmp_path / "iphone" / "pose_intrinsic_imu.json"
    for text in ('{"first": {}}', "[]", "{", "{}"):
        poses.write_text(text)
        with pytest.raises(ScanError, match=r"^[^\n]*(pose_intrinsic_imu)[^\n]*$"):
            phone(tmp_path)


def depths(count: int) -> list[np.ndarray]:
    """Each frame is recognised by its values; nothing in it is 0."""
    ramp = np.linspace(1, 2, 256 * 192, dtype=np.float32).reshape(192, 256)
    return [ramp + np.float32(n) / 16 for n in range(count)]


@pytest.mark.parametrize(("encoding", "step_m"), [("stream", 0), ("frames", 0), ("lz4", 0.501e-3)])
def test_depth_streams_at_random(tmp_path: Path, encoding: str, step_m: float) -> None:
    path = tmp_path / "depth.bin"
    frames = depths(2 * STEP + 5)
    path.write_bytes(writer.depth_bin(frames, encoding))
    assert DepthStream.opened(path).count == len(frames)
    for number in (0, 1, len(frames) - 1, STEP, STEP - 1, 3, 2 * STEP):
        assert np.abs(StreamedDepth(path, number).read().metres - frames[number]).max() <= step_m


@pytest.mark.parametrize("encoding", ["stream", "frames", "lz4"])
def test_a_stream_that_breaks_off_keeps_the_frames_before(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "depth.bin"
    whole = writer.depth_bin(depths(6), encoding)
    path.write_bytes(whole[: len(whole) * 3 // 4])
    stream = DepthStream.opened(path)
    assert 3 <= stream.count < 6
    assert abs(float(stream.frame(2).metres[0, 0]) - 1.125) < 1e-3
    nothing = tmp_path / "other.bin"
    for data in (b"", b"\0", b"no depth at all"):
        nothing.write_bytes(data)
        with pytest.raises(ScanError, match=r"other\.bin: [^\n]*$"):
            DepthStream(nothing)


def test_a_damaged_frame_among_others_is_told(tmp_path: Path) -> None:
    path = tmp_path / "depth.bin"
    parts = [writer.depth_bin([depth], "lz4") for depth in depths(3)]
    parts[1] = parts[1][:4] + bytes([255, 254]) * ((len(parts[1]) - 4) // 2) + parts[1][len(parts[1]) // 2 * 2 :]
    path.write_bytes(b"".join(parts))
    with pytest.raises(FrameError) as error:
        StreamedDepth(path, 1).read()
    assert error.value.reason == "unreadable_depth"
    assert StreamedDepth(path, 2).read().values.all()
