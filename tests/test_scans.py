"""Readers: what they read back, what they leave out and count, and what they refuse."""

from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from hatch_data.errors import FrameError, HatchError, ScanError
from hatch_data.geometry import Array, inverse, transform
from hatch_data.scans import LAYOUTS, detect, find, gravity, reader
from hatch_data.scene import Frame, Scene
from tests.layouts import redwood, room, scannet_extracted, seven_scenes, tum

WRITERS = {w.LAYOUT: w for w in (redwood, scannet_extracted, seven_scenes, tum)}
POSES = room.walk(12)  # more than ten, so that sorting by name would show
EACH = pytest.mark.parametrize("layout", sorted(WRITERS))
WITH_MATRICES = pytest.mark.parametrize("layout", ["7scenes", "redwood", "scannet"])


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of scans, one in each layout."""
    folder = tmp_path_factory.mktemp("scans")
    for layout, writer in WRITERS.items():
        writer.write(folder / f"room-{layout}", POSES)
    return folder


@pytest.fixture
def scan(originals: Path, tmp_path: Path) -> Callable[[str], tuple[ModuleType, Path]]:
    """A copy of a scan to spoil, with its writer."""

    def copy(layout: str) -> tuple[ModuleType, Path]:
        target = tmp_path / f"room-{layout}"
        shutil.copytree(originals / target.name, target)
        return WRITERS[layout], target

    return copy


def one_line(error: pytest.ExceptionInfo[HatchError], *parts: object) -> None:
    told = str(error.value)
    assert "\n" not in told
    for part in parts:
        assert str(part) in told


def ids(writer: ModuleType, numbers: list[int]) -> list[str]:
    return [writer.frame_id(n) for n in numbers]


@EACH
def test_reads_back_what_was_written(originals: Path, layout: str) -> None:
    writer = WRITERS[layout]
    scene = reader(layout).read(originals / f"room-{layout}")
    assert [f.id for f in scene.frames] == ids(writer, sorted(POSES))
    assert not scene.dropped
    expected = writer.world(POSES)
    room_from_world = POSES[0] @ inverse(expected[0])
    for n, frame in enumerate(scene.frames):
        assert np.abs(frame.world_from_camera - expected[n]).max() < 1e-6
        assert frame.camera == writer.COLOR
        assert frame.sensor.camera == writer.DEPTH
        assert np.abs(frame.sensor.color_from_depth - writer.COLOR_FROM_DEPTH).max() < 1e-7
        assert frame.read_color() == writer.color_file(originals / f"room-{layout}", n).read_bytes()

        truth = room.render(writer.DEPTH, POSES[n] @ writer.COLOR_FROM_DEPTH)[1]
        depth = frame.read_depth()
        assert depth.values.dtype == np.uint16
        assert np.array_equal(depth.values == 0, truth == 0)
        assert np.abs(depth.metres - truth).max() <= writer.METRES_PER_UNIT / 2 + 1e-6

        world_from_depth = frame.world_from_camera @ frame.sensor.color_from_depth
        points = room.lifted(frame.sensor.camera, room_from_world @ world_from_depth, depth.metres)
        assert room.distance_to_surface(points).max() < 2e-3


@EACH
def test_color_belongs_to_the_pose(originals: Path, layout: str) -> None:
    for n, frame in enumerate(reader(layout).read(originals / f"room-{layout}").frames):
        truth = room.render(WRITERS[layout].COLOR, POSES[n])[0]
        read = np.asarray(Image.open(io.BytesIO(frame.read_color())))
        assert np.abs(read.astype(int) - truth).mean() < 3


@EACH
def test_frames_pickle(originals: Path, layout: str) -> None:
    frame = reader(layout).read(originals / f"room-{layout}").frames[3]
    twin: Frame = pickle.loads(pickle.dumps(frame))
    assert np.array_equal(twin.read_depth().values, frame.read_depth().values)


@EACH
@pytest.mark.parametrize("part", ["color", "depth", "pose"])
def test_a_missing_part_costs_its_frame_only(scan, layout: str, part: str) -> None:
    writer, folder = scan(layout)
    if part == "color":
        writer.color_file(folder, 4).unlink()
    elif part == "depth":
        writer.depth_file(folder, 4).unlink()
    else:
        writer.set_pose(folder, 4, None)
    scene = reader(layout).read(folder)
    kept = [n for n in POSES if n != 4]
    assert [f.id for f in scene.frames] == ids(writer, kept)
    assert scene.dropped == {f"missing_{part}": [writer.frame_id(4)]}
    truth = writer.world(POSES)
    for n, frame in zip(kept, scene.frames, strict=True):
        assert np.abs(frame.world_from_camera - truth[n]).max() < 1e-6
        depth = room.render(writer.DEPTH, POSES[n] @ writer.COLOR_FROM_DEPTH)[1]
        assert np.abs(frame.read_depth().metres - depth).max() < 1e-3


@EACH
@pytest.mark.parametrize(
    ("reason", "pose"),
    [
        ("lost_pose", np.full((4, 4), -np.inf)),
        ("lost_pose", np.full((4, 4), np.nan)),
        ("zero_pose", np.zeros((4, 4))),
    ],
)
def test_a_pose_never_measured_is_dropped(scan, layout: str, reason: str, pose: Array) -> None:
    writer, folder = scan(layout)
    writer.set_pose(folder, 5, pose)
    scene = reader(layout).read(folder)
    assert scene.dropped == {reason: [writer.frame_id(5)]}
    assert len(scene.frames) == len(POSES) - 1


@WITH_MATRICES
@pytest.mark.parametrize(
    ("reason", "pose"),
    [
        ("bad_pose", np.diag([2.0, 2.0, 2.0, 1.0])),
        ("bad_pose", np.diag([1.0, 1.0, -1.0, 1.0])),
        ("bad_pose", np.array([[1, 0, 0, 1e300], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
        ("identity_pose", np.eye(4)),
    ],
)
def test_a_matrix_that_is_no_measured_pose_is_dropped(scan, layout: str, reason: str, pose: Array) -> None:
    writer, folder = scan(layout)
    writer.set_pose(folder, 5, pose)
    assert reader(layout).read(folder).dropped == {reason: [writer.frame_id(5)]}


def test_pose_text_that_is_no_matrix_is_dropped(scan) -> None:
    _, folder = scan("scannet")
    (folder / "pose" / "5.txt").write_text("1 0 0 0 0 1")
    assert reader("scannet").read(folder).dropped == {"bad_pose": ["5"]}


@EACH
@pytest.mark.parametrize("pose", [None, np.full((4, 4), -np.inf), np.zeros((4, 4))])
def test_a_scan_without_poses_is_refused(scan, layout: str, pose: Array | None) -> None:
    writer, folder = scan(layout)
    for n in POSES:
        writer.set_pose(folder, n, pose)
    assert detect(folder) == layout
    with pytest.raises(ScanError) as error:
        reader(layout).read(folder)
    one_line(error, folder, "needs")


@WITH_MATRICES
@pytest.mark.parametrize("pose", [POSES[3], np.eye(4)])
def test_poses_never_set_are_refused(scan, layout: str, pose: Array) -> None:
    writer, folder = scan(layout)
    for n in POSES:
        writer.set_pose(folder, n, pose)
    with pytest.raises(ScanError) as error:
        reader(layout).read(folder)
    one_line(error, folder, "all 12 poses are the same")


def test_no_pose_file_is_refused(scan) -> None:
    _, folder = scan("tum")
    (folder / "groundtruth.txt").unlink()
    with pytest.raises(ScanError) as error:
        find([str(folder)])[0].load()
    one_line(error, folder, "groundtruth.txt")
    _, folder = scan("redwood")
    (folder / "trajectory.log").unlink()
    with pytest.raises(ScanError) as error:
        find([str(folder)])[0].load()
    one_line(error, folder, "no trajectory")


@EACH
def test_truncated_images_are_told_when_read(scan, layout: str) -> None:
    writer, folder = scan(layout)
    for file in (writer.depth_file(folder, 2), writer.color_file(folder, 3)):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    frames = {f.id: f for f in reader(layout).read(folder).frames}
    with pytest.raises(FrameError) as error:
        frames[writer.frame_id(2)].read_depth()
    assert error.value.reason == "unreadable_depth"
    one_line(error, writer.depth_file(folder, 2))
    with pytest.raises(FrameError) as error:
        frames[writer.frame_id(3)].read_color()
    assert error.value.reason == "unreadable_color"
    one_line(error, writer.color_file(folder, 3))


@EACH
def test_images_without_header_are_dropped(scan, layout: str) -> None:
    writer, folder = scan(layout)
    writer.depth_file(folder, 2).write_bytes(b"")
    writer.color_file(folder, 3).write_bytes(b"\xff\xd8\xff\xe0")
    assert reader(layout).read(folder).dropped == {
        "unreadable_depth": [writer.frame_id(2)],
        "unreadable_color": [writer.frame_id(3)],
    }


@EACH
def test_an_image_of_another_size_is_dropped(scan, layout: str) -> None:
    writer, folder = scan(layout)
    writer.depth_file(folder, 0).write_bytes(room.depth_png(np.ones((30, 40)), 1000))
    writer.color_file(folder, 7).write_bytes(room.jpeg(np.zeros((30, 40, 3), np.uint8)))
    scene = reader(layout).read(folder)
    assert scene.dropped == {"depth_size": [writer.frame_id(0)], "color_size": [writer.frame_id(7)]}
    assert scene.frames[0].sensor.camera == writer.DEPTH


@EACH
@pytest.mark.parametrize("what", ["colour", "depth"])
def test_intrinsics_of_another_size_are_refused(scan, layout: str, what: str) -> None:
    writer, folder = scan(layout)
    size = (writer.COLOR if what == "colour" else writer.DEPTH).resized(200, 150)
    for n in POSES:
        if what == "colour":
            writer.color_file(folder, n).write_bytes(room.png(np.zeros((size.height, size.width, 3), np.uint8)))
        else:
            writer.depth_file(folder, n).write_bytes(room.depth_png(np.ones((size.height, size.width)), 1000))
    with pytest.raises(ScanError) as error:
        reader(layout).read(folder)
    one_line(error, what, "200x150")


def test_depth_of_a_changed_or_shallow_file_is_told(scan) -> None:
    writer, folder = scan("redwood")
    frame = reader("redwood").read(folder).frames[1]
    writer.depth_file(folder, 1).write_bytes(room.depth_png(np.ones((30, 40)), 1000))
    with pytest.raises(FrameError) as error:
        frame.read_depth()
    assert error.value.reason == "depth_size"
    one_line(error, "40x30", "160x120")
    writer.depth_file(folder, 1).write_bytes(room.png(np.ones((120, 160), np.uint8)))
    with pytest.raises(FrameError) as error:
        frame.read_depth()
    assert error.value.reason == "unreadable_depth"
    one_line(error, "16-bit")


@EACH
def test_detection_is_unambiguous(originals: Path, layout: str) -> None:
    folder = originals / f"room-{layout}"
    assert [name for name in LAYOUTS if reader(name).evidence(folder)] == [layout]
    assert not any(reader(name).evidence(originals) for name in LAYOUTS)


def test_find_takes_a_scan_a_folder_of_scans_and_a_glob(originals: Path) -> None:
    every = sorted(f"room-{layout}" for layout in WRITERS)
    assert [ref.scene for ref in find([str(originals)])] == every
    assert [ref.scene for ref in find([str(originals / "room-[rt]*")])] == ["room-redwood", "room-tum"]
    assert [ref.scene for ref in find([str(originals), str(originals / "room-tum")])] == every
    (ref,) = find([str(originals / "room-tum")])
    assert (ref.layout, ref.path) == ("tum", str((originals / "room-tum").resolve()))
    assert isinstance(ref.load(), Scene)


def test_what_is_no_scan_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("nothing")
    for name, part in [
        (tmp_path / "notes", "no scan found"),
        (tmp_path / "notes" / "a.txt", "no scan found"),
        (tmp_path / "absent", "no such file"),
        (tmp_path / "absent*", "no folder matches"),
    ]:
        with pytest.raises(ScanError) as error:
            find([str(name)])
        one_line(error, name, part)
    with pytest.raises(ScanError) as error:
        find([str(tmp_path)], layout="nonsense")
    one_line(error, "nonsense", "7scenes")


def test_two_layouts_in_one_folder_is_an_error_naming_both(scan) -> None:
    _, folder = scan("tum")
    seven_scenes.color_file(folder, 0).write_bytes(b"")
    seven_scenes.depth_file(folder, 0).write_bytes(b"")
    with pytest.raises(ScanError) as error:
        detect(folder)
    one_line(error, "7scenes", "tum", "--layout")
    assert detect(folder, "tum") == "tum"


def test_names_that_are_no_text_are_told(tmp_path: Path) -> None:
    """Such a name can come from a disk or from JSON, and fits into no shard."""
    redwood.write(tmp_path / "half a \udcff", POSES)
    (ref,) = find([str(tmp_path / "half a \udcff")])
    with pytest.raises(ScanError, match=r"a name with 'half a \\udcff' is no text in UTF-8; rename it$"):
        ref.load()


def test_seven_scenes_sequences(tmp_path: Path) -> None:
    folder = tmp_path / "kitchen"
    seven_scenes.write_sequences(folder, {n: POSES[n] for n in range(5)})
    assert [ref.scene for ref in find([str(tmp_path)])] == ["kitchen"]
    scene = reader("7scenes").read(folder)
    assert [f.id for f in scene.frames] == [
        *(f"seq-01/frame-{n:06d}" for n in range(3)),
        *(f"seq-02/frame-{n:06d}" for n in range(2)),
    ]
    assert np.abs(scene.frames[3].world_from_camera - POSES[1]).max() < 1e-6
    assert (scene.space, scene.up_source) == ("kitchen", "estimated")
    assert scene.up @ room.UP > np.cos(np.radians(2))
    assert reader("7scenes").read(folder / "seq-02").space == "kitchen"


def test_seven_scenes_registered_depth_shares_the_stated_camera(scan) -> None:
    _, folder = scan("7scenes")
    (folder / "camera-intrinsics.txt").write_text("525 0 319.5\n0 525 239.5\n0 0 1\n")
    frame = reader("7scenes").read(folder).frames[1]
    assert frame.camera == frame.sensor.camera == tum.COLOR
    assert np.array_equal(frame.sensor.color_from_depth, np.eye(4))
    assert np.abs(frame.world_from_camera - POSES[1] @ seven_scenes.COLOR_FROM_DEPTH).max() < 1e-6


def test_seven_scenes_two_images_for_one_frame_are_told(scan) -> None:
    writer, folder = scan("7scenes")
    shutil.copy(writer.color_file(folder, 1), folder / "frame-000001.color.jpg")
    with pytest.raises(ScanError) as error:
        reader("7scenes").read(folder)
    one_line(error, "frame-000001.color.jpg", "frame-000001.color.png")


@pytest.mark.parametrize("direction", ["0 0 0", "nan 0 1", "1 2", "1e-320 0 0", "1e308 0 1"])
def test_seven_scenes_gravity_that_points_nowhere_is_refused(scan, direction: str) -> None:
    _, folder = scan("7scenes")
    (folder / "gravity-direction.txt").write_text(direction)
    with pytest.raises(ScanError) as error:
        reader("7scenes").read(folder)
    one_line(error, folder / "gravity-direction.txt")


@pytest.mark.parametrize("layout", ["7scenes", "scannet", "tum"])
def test_stated_gravity(originals: Path, layout: str) -> None:
    scene = reader(layout).read(originals / f"room-{layout}")
    assert scene.up_source == "layout"
    assert np.allclose(scene.up, room.UP)


def test_scannet_under_frames_and_its_space(scan, tmp_path: Path) -> None:
    _, folder = scan("scannet")
    scene_folder = tmp_path / "scene0707_01"
    scene_folder.mkdir()
    folder.rename(scene_folder / "frames")
    assert detect(scene_folder) == "scannet"
    scene = reader("scannet").read(scene_folder)
    assert (scene.id, scene.space, len(scene.frames)) == ("scene0707_01", "scene0707", len(POSES))


def test_redwood_files_numbered_from_one_have_their_own_poses(tmp_path: Path) -> None:
    """As `000001.png` under a log that counts from 0: the third integer of a pose is then the file's number."""
    redwood.write(tmp_path, POSES)
    for folder in (tmp_path / "color", tmp_path / "depth"):
        for file in sorted(folder.iterdir(), reverse=True):
            file.rename(folder / f"{int(file.stem) + 1:06d}{file.suffix}")
    scene = reader("redwood").read(tmp_path)
    poses = redwood.world(POSES)
    assert [frame.id for frame in scene.frames] == [f"{n + 1:06d}" for n in poses] and not scene.dropped
    for frame, pose in zip(scene.frames, poses.values(), strict=True):
        assert np.allclose(frame.world_from_camera, pose, atol=1e-6)


def test_redwood_gravity_is_estimated(originals: Path) -> None:
    scene = reader("redwood").read(originals / "room-redwood")
    assert scene.up_source == "estimated"
    assert POSES[0][:3, :3] @ scene.up @ room.UP > np.cos(np.radians(1))


def test_redwood_stamped_names_count_from_one(scan) -> None:
    _, folder = scan("redwood")
    for n in reversed(range(len(POSES))):
        for sub, ending in (("color", "jpg"), ("depth", "png")):
            source = folder / sub / f"{n:05d}.{ending}"
            source.rename(folder / sub / f"{n + 1:06d}-{33333 * n:012d}.{ending}")
    scene = reader("redwood").read(folder)
    assert [f.id for f in scene.frames[:2]] == ["000001-000000000000", "000002-000000033333"]
    assert np.abs(scene.frames[4].world_from_camera - redwood.world(POSES)[4]).max() < 1e-6


def test_redwood_defaults_to_primesense(tmp_path: Path) -> None:
    redwood.write(tmp_path / "small", {n: POSES[n] for n in range(2)})
    (tmp_path / "small" / "camera_intrinsic.json").unlink()
    with pytest.raises(ScanError) as error:
        reader("redwood").read(tmp_path / "small")
    one_line(error, "PrimeSense", "160x120", "640x480")


@pytest.mark.parametrize("text", ["{", "[]", '{"width": 160, "height": 120, "intrinsic_matrix": [1, 2]}'])
def test_redwood_broken_intrinsics_are_told(scan, text: str) -> None:
    _, folder = scan("redwood")
    (folder / "camera_intrinsic.json").write_text(text)
    with pytest.raises(ScanError) as error:
        reader("redwood").read(folder)
    one_line(error, folder / "camera_intrinsic.json")


def test_redwood_broken_or_doubtful_trajectories_are_told(scan) -> None:
    _, folder = scan("redwood")
    log = folder / "trajectory.log"
    text = log.read_text()
    log.write_text(text[: len(text) // 2])
    with pytest.raises(ScanError) as error:
        reader("redwood").read(folder)
    one_line(error, log, "pose")
    log.write_text(text + "".join(text.splitlines(keepends=True)[:5]))
    with pytest.raises(ScanError) as error:
        reader("redwood").read(folder)
    one_line(error, log, "frame 0 has two poses")
    log.rename(folder / "first.log")
    shutil.copy(folder / "first.log", folder / "second.log")
    with pytest.raises(ScanError) as error:
        reader("redwood").read(folder)
    one_line(error, "first.log", "second.log")


def test_tum_depth_serves_one_frame_and_only_near_in_time(scan) -> None:
    writer, folder = scan("tum")
    listed = (folder / "depth.txt").read_text().splitlines(keepends=True)
    name = writer.depth_file(folder, 6).name
    (folder / "depth.txt").write_text("".join(line for line in listed if name not in line))
    assert reader("tum").read(folder).dropped == {"missing_depth": [writer.frame_id(6)]}
    extra = f"{float(writer.frame_id(5)) + 0.001:.6f} rgb/{writer.color_file(folder, 5).name}\n"
    with (folder / "rgb.txt").open("a") as file:
        file.write(extra)
    dropped = reader("tum").read(folder).dropped
    assert [len(ids) for ids in dropped.values()] == [2]  # the two colour images contend for one depth image


def test_tum_a_quaternion_beyond_all_bounds_is_no_pose(scan) -> None:
    _, folder = scan("tum")
    lines = (folder / "groundtruth.txt").read_text().splitlines()
    spoilt = [line if line.startswith("#") else " ".join([*line.split()[:7], "1e308"]) for line in lines]
    (folder / "groundtruth.txt").write_text("\n".join(spoilt[:-1] + lines[-1:]) + "\n")
    scene = reader("tum").read(folder)
    assert set(scene.dropped) == {"zero_pose"}
    assert len(scene.dropped["zero_pose"]) >= len(POSES) - 2


def test_tum_camera_from_the_name_or_the_list(scan) -> None:
    _, folder = scan("tum")
    named = folder.with_name("rgbd_dataset_freiburg2_desk")
    shutil.copytree(folder, named)
    scene = reader("tum").read(named)
    assert (scene.frames[0].camera.fx, scene.space) == (520.9, "tum-freiburg2")
    listed = folder / "rgb.txt"
    listed.write_text("# color images\n# file: 'rgbd_dataset_freiburg3_office.bag'\n" + listed.read_text())
    assert reader("tum").read(folder).frames[0].camera.fx == 535.4


@pytest.mark.parametrize("text", ["1305031229.5\n", "now rgb/a.png\n", "# nothing\n"])
def test_tum_broken_lists_are_told(scan, text: str) -> None:
    _, folder = scan("tum")
    (folder / "rgb.txt").write_text(text)
    with pytest.raises(ScanError) as error:
        reader("tum").read(folder)
    one_line(error, folder / "rgb.txt")


def test_up_from_level_cameras_alone(originals: Path) -> None:
    """Without readable depth the roll statistics decide; a camera that never turns has only its images' tops."""
    frames = reader("tum").read(originals / "room-tum").frames
    rotations = np.array([f.world_from_camera[:3, :3] for f in frames])
    assert gravity.up_from_level_cameras(rotations) @ room.UP > np.cos(np.radians(3))
    still = gravity.up_from_level_cameras(rotations[:1])
    assert np.allclose(still, -rotations[0][:, 1])


def agreement_m(frames: list[Frame], gap: int) -> float:
    """Median distance between depth of frame i seen from frame i + gap and the depth measured there.

    Pixels more than 15 cm behind the surface that the second frame sees are hidden from it and left out.
    """
    errors = []
    for a, b in zip(frames[::6], frames[gap::6], strict=False):
        depth = a.read_depth().metres
        sparse = np.zeros_like(depth)
        sparse[::4, ::4] = depth[::4, ::4]
        world = room.lifted(a.sensor.camera, a.world_from_camera @ a.sensor.color_from_depth, sparse)
        pixels, z = b.sensor.camera.project(transform(inverse(b.world_from_camera @ b.sensor.color_from_depth), world))
        u, v = np.round(pixels[z > 0]).astype(int).T
        inside = (u >= 0) & (u < b.sensor.camera.width) & (v >= 0) & (v < b.sensor.camera.height)
        measured = b.read_depth().metres[v[inside], u[inside]]
        behind = (z[z > 0][inside] - measured)[measured > 0]
        errors.append(np.abs(behind[behind < 0.15]))
    return float(np.median(np.concatenate(errors)))


@pytest.mark.parametrize(
    ("name", "layout", "count", "gap", "most_m"),
    [
        ("redkitchen-7scenes", "7scenes", 200, 10, 0.02),
        ("fr1-rpy-tum", "tum", 87, 1, 0.02),
        ("livingroom1-redwood", "redwood", 211, 10, 0.005),
    ],
)
def test_real_scans_agree_with_themselves(
    shared: Path, name: str, layout: str, count: int, gap: int, most_m: float
) -> None:
    (ref,) = find([str(shared / "scans" / name)])
    assert ref.layout == layout
    scene = ref.load()
    assert (len(scene.frames), scene.dropped) == (count, {})
    assert agreement_m(scene.frames, gap) <= most_m


def test_real_gravity(shared: Path) -> None:
    kitchen = reader("7scenes").read(shared / "scans" / "redkitchen-7scenes")
    assert gravity.estimate_up(kitchen.frames) @ kitchen.up > np.cos(np.radians(2))
    living = reader("redwood").read(shared / "scans" / "livingroom1-redwood")
    sparse, dense = living.up, gravity.estimate_up(living.frames[::2])
    assert sparse @ dense > np.cos(np.radians(1))
    assert sparse @ (0, -1, 0) > np.cos(np.radians(5))  # rendered with the first camera nearly level
