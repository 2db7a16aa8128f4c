"""Where depth comes from: the sensor, the scan's mesh, or a fusion."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hatch_data.depth_source import with_depth
from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Camera
from hatch_data.scans.mesh import shared as shared_mesh
from hatch_data.scene import DepthImage, DepthSensor, Frame, Scene
from hatch_data.views import prepare
from tests.layouts import mesh, room

CAMERA = Camera(160, 120, 110.0, 110.0, 79.5, 59.5)
POSES = room.walk(4)
MARK = 7.25  # a depth that nothing in the room has


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mesh.write(tmp_path_factory.mktemp("room"))


def scan(file: Path | None, without: tuple[int, ...] = (), camera: Camera = CAMERA) -> Scene:
    """A scan whose sensor measures `MARK` everywhere, with a hole; frames `without` have no depth."""
    values = np.full((CAMERA.height, CAMERA.width), MARK, np.float32)
    values[:20, :30] = 0
    frames = [
        Frame(str(n), pose, camera, bytes, DepthSensor(CAMERA), None if n in without else partial(DepthImage, values))
        for n, pose in POSES.items()
    ]
    return Scene("scan", "test", "place", frames, room.UP, "layout", mesh=file)


def test_auto_takes_the_sensor_and_fills_in_from_the_mesh(file: Path) -> None:
    scene = scan(file, without=(1, 2))
    given = with_depth(scene, "auto")
    assert [frame.id for frame in given.frames] == ["0", "1", "2", "3"]
    assert [frame.depth().metres.max() == MARK for frame in given.frames] == [True, False, False, True]
    assert given.dropped == {}
    truth = room.render(CAMERA, POSES[2])[1]
    depth = pickle.loads(pickle.dumps(given.frames[2])).depth().metres
    assert np.abs(depth - truth)[truth > 0].max() < 1e-4
    assert scene.frames[1].read_depth is None  # the scene given is left as it was
    with pytest.raises(FrameError) as error:
        prepare(scene.frames[1])
    assert error.value.reason == "missing_depth"


def test_auto_without_a_mesh_and_sensor_drop_what_has_none(file: Path) -> None:
    for scene, mode in ((scan(None, without=(1,)), "auto"), (scan(file, without=(1,)), "sensor")):
        given = with_depth(scene, mode)
        assert given.dropped == {"missing_depth": ["1"]}
        assert [frame.id for frame in given.frames] == ["0", "2", "3"]
        assert scene.dropped == {}


def test_mesh_takes_nothing_from_the_sensor(file: Path) -> None:
    given = with_depth(scan(file, without=(1,)), "mesh")
    for frame, pose in zip(given.frames, POSES.values(), strict=True):
        depth, truth = frame.depth().metres, room.render(CAMERA, pose)[1]
        assert np.abs(depth - truth)[truth > 0].max() < 1e-4
        assert prepare(frame).valid_share > 0.9


def test_large_images_get_depth_as_fine_as_patches_need(file: Path) -> None:
    """Sharing the rays of the colour image, so that it is taken pixel for pixel."""
    large = Camera(1752, 1168, 1200.0, 1201.0, 870.5, 590.25)
    frame = with_depth(scan(file, camera=large), "mesh").frames[0]
    assert frame.sensor.camera.width == 751
    assert prepare(frame).raster.shape == (frame.sensor.camera.height, 751)
    truth = room.render(frame.sensor.camera, POSES[0])[1]
    assert np.abs(frame.depth().metres - truth)[truth > 0].max() < 1e-4


@pytest.mark.parametrize(
    ("has_mesh", "mode", "word"),
    [(False, "auto", "nor a mesh"), (True, "sensor", "--depth mesh"), (False, "mesh", "no mesh")],
)
def test_a_scan_without_any_depth_is_refused(file: Path, has_mesh: bool, mode, word: str) -> None:
    scene = scan(file if has_mesh else None, without=tuple(POSES))
    with pytest.raises(ScanError, match=word):
        with_depth(scene, mode)


def test_fusion_without_open3d_names_what_to_install(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(ScanError, match=r"pip install 'hatch-spatial\[fusion\]'"):
        with_depth(scan(file), "fused")
    monkeypatch.delitem(sys.modules, "open3d")
    (tmp_path / "open3d.py").write_text("raise ImportError('libusb-1.0.so.0: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ScanError, match=r"libusb-1\.0\.so\.0.*apt install libusb-1\.0-0"):
        with_depth(scan(file), "fused")


def test_fusion_fills_holes_and_keeps_what_is_measured(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the room's mesh in place of the fused one: how it is made is Open3D's, what is done with it is ours."""
    monkeypatch.setattr("hatch_data.depth_source.fuse", lambda scene: shared_mesh(file))
    given = with_depth(scan(file, without=(3,)), "fused")
    for frame, (n, pose) in zip(given.frames, POSES.items(), strict=True):
        depth, truth = frame.depth().metres, room.render(CAMERA, pose)[1]
        hole = np.s_[6:20, 6:30]
        assert np.abs(depth - truth)[hole].max() < 1e-4
        assert (depth[40:] == MARK).all() == (n != 3)


def test_fusion_of_a_walk_through_the_room(file: Path) -> None:
    """The real thing, where Open3D is installed."""
    pytest.importorskip("open3d", reason="needs the extra hatch-spatial[fusion]", exc_type=ImportError)
    poses = room.walk(8)

    def holed(n: int) -> DepthImage:
        depth = room.render(CAMERA, poses[n])[1].astype(np.float32)
        if n == 3:
            depth[40:80, 50:110] = 0
        return DepthImage(depth)

    frames = [
        replace(scan(None).frames[0], id=str(n), world_from_camera=poses[n], read_depth=partial(holed, n))
        for n in poses
    ]
    given = with_depth(replace(scan(None), frames=frames), "fused")
    depth, truth = given.frames[3].depth().metres[40:80, 50:110], room.render(CAMERA, poses[3])[1][40:80, 50:110]
    assert (depth > 0).mean() > 0.8
    assert np.median(np.abs(depth - truth)[depth > 0]) < 0.02
