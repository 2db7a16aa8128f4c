"""Rays against meshes, their colours, and the layout `mesh`: a mesh with poses, or one that is walked through."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from hatch_data.correspondence import correspond
from hatch_data.errors import ScanError
from hatch_data.geometry import Array, Camera, heading_pitch_roll, inverse, rotation_from_heading_pitch_roll, transform
from hatch_data.patches import Visibility
from hatch_data.scans import LAYOUTS, find, reader
from hatch_data.scans.mesh import Mesh
from hatch_data.scans.textured import TexturedMesh
from hatch_data.scans.textured_mesh import labels_of
from hatch_data.scene import Frame
from hatch_data.views import prepare
from tests.layouts import mesh, nerfstudio, room
from tests.scans.reading import maps_agree, one_line, shown

CAMERA = Camera(160, 120, 110.3, 111.7, 81.2, 58.9)
POSES = room.walk(6)


def box_mesh(offset: float = 0.0) -> Mesh:
    box = trimesh.creation.box(room.SIZE_M)
    return Mesh(np.array(box.vertices) + room.SIZE_M / 2 + offset, np.array(box.faces, np.int32))


@pytest.mark.parametrize("offset", [0.0, 2e5])
def test_depth_is_planar_and_through_pixel_centres(offset: float) -> None:
    """Also where the world begins far away, as in survey coordinates."""
    solid = box_mesh(offset)
    for pose in POSES.values():
        truth = room.render(CAMERA, pose)[1]
        moved = pose.copy()
        moved[:3, 3] += offset
        depth = solid.depth(CAMERA, moved)
        assert depth.dtype == np.float32
        known = truth > 0
        assert np.abs(depth - truth)[known].max() < 2e-5


def test_a_ray_that_meets_nothing_has_no_depth() -> None:
    triangle = Mesh(np.array([[-1.0, -1, 2], [1, -1, 2], [-1, 1, 2]]), np.array([[0, 1, 2]], np.int32))
    depth = triangle.depth(Camera(8, 8, 4.0, 4.0, 3.5, 3.5), np.eye(4))
    assert set(np.unique(depth)) == {0.0, 2.0}
    assert (depth > 0).sum() < depth.size / 2
    hits = triangle.cast(np.zeros(3), np.array([[-0.25, -0.25, 1.0], [5, 5, 1]]))
    assert hits.triangle.tolist() == [0, -1]
    assert np.isinf(hits.distance[1])
    assert np.allclose(hits.weights[0] @ triangle.vertices[[0, 1, 2]], [-0.5, -0.5, 2.0], atol=1e-6)
    assert triangle.blocked(np.zeros((1, 3)), np.array([[0.0, 0, 1]]), up_to=1.9).tolist() == [False]
    assert triangle.blocked(np.zeros((1, 3)), np.array([[-0.1, -0.1, 1]]), up_to=2.1).tolist() == [True]


@pytest.mark.parametrize("name", ["room.glb", "room.obj", "room.ply"])
def test_meshes_of_several_formats(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    mesh.scene(table=True).to_geometry().export(file)
    solid = Mesh.load(file)
    assert len(solid.triangles) == 24
    assert np.allclose(solid.bounds, [np.zeros(3), room.SIZE_M], atol=1e-6)


def test_broken_meshes_are_told_in_a_line(tmp_path: Path) -> None:
    broken, points, gone = tmp_path / "broken.glb", tmp_path / "points.ply", tmp_path / "gone.ply"
    broken.write_bytes(mesh.write(tmp_path / "whole").read_bytes()[:700])
    trimesh.PointCloud(np.random.default_rng(0).uniform(size=(50, 3))).export(points)
    for file, word in ((broken, "copy it again"), (points, "no triangles"), (gone, "gone.ply")):
        with pytest.raises(ScanError) as error:
            Mesh.load(file)
        one_line(error, file, word)


@pytest.mark.parametrize("kind", [AssertionError, MemoryError])
def test_whatever_a_parser_runs_into_is_told(tmp_path: Path, kind: type[Exception], monkeypatch) -> None:
    """Sizes in a GLB that are absurd end so."""

    def load(*_: object, **__: object) -> None:
        raise kind

    file = mesh.write(tmp_path)
    monkeypatch.setattr(trimesh, "load_scene", load)
    with pytest.raises(ScanError) as error:
        Mesh.load(file)
    one_line(error, file.name, "copy it again")


def test_a_mesh_without_colours_is_no_scan(tmp_path: Path) -> None:
    trimesh.creation.box(room.SIZE_M).export(tmp_path / "grey.stl")
    with pytest.raises(ScanError) as error:
        reader("mesh").read(tmp_path)
    one_line(error, "grey.stl", "without texture")


@pytest.mark.parametrize("number", [np.nan, 1e30])
def test_texture_coordinates_that_are_nowhere_are_told(tmp_path: Path, number: float) -> None:
    file = mesh.write(tmp_path)
    scene = trimesh.load_scene(file, process=False)
    next(iter(scene.geometry.values())).visual.uv[3] = number
    scene.export(file)
    with pytest.raises(ScanError) as error:
        TexturedMesh.load(file)
    one_line(error, file, "texture coordinates")


def test_texture_is_the_right_way_round(tmp_path: Path) -> None:
    """A poster one metre square: red at its top left, green at its top right, blue below."""
    poster = Image.new("RGB", (64, 64), (0, 0, 200))
    poster.paste((200, 0, 0), (0, 0, 32, 32))
    poster.paste((0, 200, 0), (32, 0, 64, 32))
    corners = [[-0.5, 0, 1.0], [0.5, 0, 1.0], [0.5, 0, 0.0], [-0.5, 0, 0.0]]
    visual = trimesh.visual.TextureVisuals(
        [[0, 1], [1, 1], [1, 0], [0, 0]], material=trimesh.visual.material.PBRMaterial(baseColorTexture=poster)
    )
    trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False).export(tmp_path / "poster.glb")
    seen = TexturedMesh.load(tmp_path / "poster.glb")
    pose = np.eye(4)  # from the south, looking north
    pose[:3, :3] = rotation_from_heading_pitch_roll(180, 0, 0, room.UP)
    assert np.allclose(pose[:3, 2], [0, 1, 0], atol=1e-9)
    pose[:3, 3] = 0, -1.0, 0.5
    color, depth = seen.render(Camera(65, 65, 40.0, 40.0, 32.0, 32.0), pose, room.UP)
    assert depth[32, 32] == pytest.approx(1.0, abs=1e-6)
    top_left, top_right, below = color[18, 18], color[18, 46], color[46, 32]
    assert [int(np.argmax(one)) for one in (top_left, top_right, below)] == [0, 1, 2]
    assert all(np.sort(one)[1] < 5 and one.max() > 90 for one in (top_left, top_right, below))


def test_a_surface_looks_the_same_from_everywhere(tmp_path: Path) -> None:
    """Light and shadow stand still, so that what corresponds looks alike; and nothing is too dark to see."""
    seen = TexturedMesh.load(mesh.write(tmp_path, table=True))
    (first, z), (second, z_second) = (seen.render(CAMERA, POSES[n], room.UP) for n in (1, 2))
    v, u = np.nonzero(z)
    world = transform(POSES[1], CAMERA.unproject(np.stack([u, v], axis=-1), z[v, u]))
    there, z_there = CAMERA.project(transform(inverse(POSES[2]), world))
    x, y = np.rint(there).astype(int).T
    inside = (z_there > 0) & (x >= 0) & (x < CAMERA.width) & (y >= 0) & (y < CAMERA.height)
    x, y, v, u, z_there = x[inside], y[inside], v[inside], u[inside], z_there[inside]
    same = np.abs(z_second[y, x] - z_there) < 0.02
    off = np.abs(first[v, u].astype(int) - second[y, x]).max(axis=1)[same]
    assert same.sum() > 2000
    assert np.median(off) <= 4
    assert first.mean() > 60


@pytest.mark.parametrize("kind", ["vertex", "face"])
def test_colours_without_textures(tmp_path: Path, kind: str) -> None:
    box = trimesh.creation.box((2.0, 2.0, 2.0))
    if kind == "vertex":
        box.visual = trimesh.visual.ColorVisuals(box, vertex_colors=np.tile([200, 20, 20, 255], (8, 1)))
    else:
        box.visual = trimesh.visual.ColorVisuals(box, face_colors=np.tile([200, 20, 20, 255], (12, 1)))
    box.export(tmp_path / "box.ply")
    color, depth = TexturedMesh.load(tmp_path / "box.ply").render(CAMERA, np.eye(4), room.UP)
    assert (depth > 0).all()
    assert (color[..., 0] > 90).all()
    assert (color[..., 1:] < 30).all()


WRITERS: dict[str, Callable[[Path, dict[int, Array]], None]] = {
    "tum": mesh.write_tum,
    "rows": mesh.write_rows,
    "short rows": mesh.write_short_rows,
    "log": mesh.write_log,
    "transforms": partial(mesh.write_transforms, camera=CAMERA),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_mesh_with_poses_is_rendered_from_them(tmp_path: Path, kind: str) -> None:
    file = mesh.write(tmp_path)
    WRITERS[kind](tmp_path, POSES)
    if kind in ("rows", "log"):
        mesh.write_intrinsics(tmp_path, CAMERA)
    (ref,) = find([str(tmp_path)])
    scene = ref.load()
    camera = CAMERA if kind in ("rows", "log", "transforms") else mesh.PRIMESENSE
    ids = {"tum": "{}.5", "transforms": "{:04d}"}.get(kind, "{:06d}")
    assert (scene.layout, scene.dropped, scene.mesh) == ("mesh", {}, file)
    assert (scene.up.tolist(), scene.up_source) == (room.UP.tolist(), "estimated")
    assert [frame.id for frame in scene.frames] == [ids.format(n) for n in POSES]
    exact = [
        shown(frame, pose, pose, camera, frame.sensor, 1e-4, color_error=256, least_depth=0.0)
        for frame, pose in zip(scene.frames, POSES.values(), strict=True)
    ]
    if camera == CAMERA:
        maps_agree(scene.frames, exact)


def test_poses_that_are_none_are_counted(tmp_path: Path) -> None:
    mesh.write(tmp_path)
    poses = {n: pose.copy() for n, pose in room.walk(8).items()}
    poses[2][:] = -np.inf
    poses[3][:] = 0
    poses[4] = np.eye(4)
    poses[5][:3, :3] *= 2
    mesh.write_rows(tmp_path, poses)
    scene = reader("mesh").read(tmp_path)
    assert scene.dropped == {
        "lost_pose": ["000002"],
        "zero_pose": ["000003"],
        "identity_pose": ["000004"],
        "bad_pose": ["000005"],
    }
    assert [frame.id for frame in scene.frames] == ["000000", "000001", "000006", "000007"]


def test_pose_lists_that_are_none_are_refused(tmp_path: Path) -> None:
    file = mesh.write(tmp_path)
    (tmp_path / "traj.txt").write_text("1 2 3\n")
    with pytest.raises(ScanError) as error:
        reader("mesh").read(tmp_path)
    one_line(error, "traj.txt", "3 words")
    (tmp_path / "traj.txt").write_text(" ".join(["x"] * 16))
    with pytest.raises(ScanError) as error:
        reader("mesh").read(file)
    one_line(error, "traj.txt", "restore")
    mesh.write_log(tmp_path, POSES)
    with pytest.raises(ScanError) as error:
        reader("mesh").read(tmp_path)
    one_line(error, "several pose lists", "trajectory.log")
    for name in ("traj.txt", "trajectory.log"):
        (tmp_path / name).unlink()
    mesh.write_transforms(tmp_path, POSES, CAMERA)
    told = json.loads((tmp_path / "transforms.json").read_text())
    for key in ("w", "h", "fl_x", "fl_y"):
        (tmp_path / "transforms.json").write_text(json.dumps({**told, key: 0}))
        with pytest.raises(ScanError) as error:
            reader("mesh").read(tmp_path)
        one_line(error, "transforms.json", "frame 0 has no 4x4 transform_matrix, or no w, h and fl_x of a camera")


def test_what_is_a_mesh_scan_and_what_is_not(tmp_path: Path) -> None:
    def claims(path: Path) -> list[str]:
        return [name for name in LAYOUTS if reader(name).evidence(path)]

    file = mesh.write(tmp_path / "alone")
    assert claims(file) == claims(file.parent) == ["mesh"]
    mesh.write_transforms(file.parent, POSES, CAMERA)
    assert claims(file.parent) == ["mesh"]
    photographed = tmp_path / "photographed"
    nerfstudio.write(photographed, POSES)
    mesh.write(photographed, name="mesh.glb")
    assert claims(photographed) == ["nerfstudio"]
    mesh.write(tmp_path / "parent", name="a_mesh.ply")
    (tmp_path / "parent" / "a" / "results").mkdir(parents=True)
    assert claims(tmp_path / "parent") == []
    two = mesh.write(tmp_path / "two").parent
    mesh.write(two, name="other.glb")
    with pytest.raises(ScanError) as error:
        reader("mesh").read(two)
    one_line(error, "other.glb, room.glb")
    (two / "other.glb").rename(two / "room.labels.glb")
    assert len(find([str(two)])) == 1


@pytest.mark.parametrize("world_from_room", [np.eye(4), mesh.Y_UP_FROM_ROOM], ids=["z", "y"])
def test_a_mesh_alone_is_walked_through(tmp_path: Path, world_from_room: Array) -> None:
    """Upright, at eye height, clear of walls and of the table, in steps that leave overlap, the same every time."""
    mesh.write(tmp_path, table=True, world_from_room=world_from_room)
    scene = reader("mesh").read(tmp_path)
    up = world_from_room[:3, 2]
    assert scene.up_source == "estimated"
    assert np.array_equal(scene.up, up)
    assert len(scene.frames) > 60
    room_from_world = inverse(world_from_room)
    poses = np.stack([room_from_world @ frame.world_from_camera for frame in scene.frames])
    position = poses[:, :3, 3]
    assert (np.minimum(position, room.SIZE_M - position)[:, :2] > 0.3).all()
    away = np.abs(position - mesh.TABLE_CENTER)[:, :2] - mesh.TABLE_SIZE[:2] / 2
    assert (np.linalg.norm(np.maximum(away, 0), axis=1) > 0.25).all()
    assert (np.abs(position[:, 2] - 1.55) < 0.2).all()
    assert np.ptp(position[:, :2], axis=0).min() > 2  # the whole room, not a corner
    angles = np.array([heading_pitch_roll(pose, room.UP) for pose in poses])
    assert (np.abs(angles[:, 1]) < 30).all()
    assert (np.abs(angles[:, 2]) < 6).all()
    assert np.ptp(np.unwrap(angles[:, 0], period=360)) > 180
    again = reader("mesh").read(tmp_path)
    assert all(
        np.array_equal(a.world_from_camera, b.world_from_camera)
        for a, b in zip(again.frames, scene.frames, strict=True)
    )
    assert _bytes(again.frames[7]) == _bytes(pickle.loads(pickle.dumps(scene.frames[7])))


def _bytes(frame: Frame) -> tuple[bytes, bytes]:
    return frame.read_color(), frame.depth().values.tobytes()


def test_the_sides_of_a_thin_wall_are_two_surfaces(tmp_path: Path) -> None:
    """Each camera sees one side of a wall of 10 cm from 9 m away, where a sensor's tolerance would be 18 cm."""
    wall = trimesh.creation.box((8.0, 0.1, 8.0))
    wall.visual = trimesh.visual.ColorVisuals(wall, vertex_colors=[200, 100, 50, 255])
    wall.export(tmp_path / "wall.ply")
    ahead, back = np.eye(4), np.eye(4)
    ahead[:3] = [[1, 0, 0, 0], [0, 0, 1, -9], [0, -1, 0, 0]]
    back[:3] = [[-1, 0, 0, 0], [0, 0, -1, 9], [0, -1, 0, 0]]
    mesh.write_tum(tmp_path, {0: ahead, 1: back})
    one, other = map(prepare, reader("mesh").read(tmp_path).frames)
    for found in (correspond(one, other, (4, 4), (4, 4)), correspond(other, one, (4, 4), (4, 4))):
        assert found.map.valid.max() == 1
        assert found.map.overlap == 0
        assert Visibility.OCCLUDED in found.map.visibility


def test_gravity_that_is_stated_holds(tmp_path: Path) -> None:
    file = mesh.write(tmp_path, world_from_room=mesh.Y_UP_FROM_ROOM)
    mesh.write_instances(file, frame="Y-up, metres")
    scene = reader("mesh").read(tmp_path)
    assert (scene.up.tolist(), scene.up_source) == ([0, 1, 0], "layout")


def test_objects_have_fitted_boxes(tmp_path: Path) -> None:
    """Parts of the mesh that bear an object's name tell its box, turned with it; else the stated one holds."""
    cosine, sine = np.cos(0.6), np.sin(0.6)
    turned = np.array([[cosine, -sine, 0, 1.0], [sine, cosine, 0, 2.0], [0, 0, 1, 0], [0, 0, 0, 1]])
    file = mesh.write(tmp_path, table=True, world_from_room=turned)
    mesh.write_instances(file)
    mesh.write_rows(tmp_path, {n: turned @ pose for n, pose in POSES.items()})
    table, lamp = reader("mesh").read(tmp_path).instances
    assert (table.id, table.label, lamp.label) == ("TableA_01_001", "table", "desk lamp")
    assert np.allclose(table.size_m, mesh.TABLE_SIZE, atol=1e-5)
    assert np.allclose(table.world_from_box[:3, 3], transform(turned, mesh.TABLE_CENTER), atol=1e-5)
    assert abs(table.world_from_box[:3, 0] @ turned[:3, 0]) > 0.9999
    assert np.allclose(lamp.size_m, [0.2, 0.2, 0.5])
    assert np.allclose(lamp.world_from_box[:3, 3], [1.1, 1.1, 1.25])
    file.with_name("room.instances.json").write_text('{"instances": [{"name": "x", "aabb_min": [0, 0]}]}')
    with pytest.raises(ScanError) as error:
        reader("mesh").read(tmp_path)
    one_line(error, "room.instances.json", "instance 0")
    file.with_name("room.instances.json").write_text("[1]")
    with pytest.raises(ScanError) as error:
        reader("mesh").read(tmp_path)
    one_line(error, "room.instances.json", "no object with 'instances'")


def test_labels_are_words() -> None:
    names = ["shop_ChairA_01", "shop_TVCabinet_01", "shop_NightStand_02", "shop_TV_01", "shop_air_fan_3"]
    assert labels_of(names) == ["chair", "tv cabinet", "night stand", "tv", "air fan"]
    assert labels_of(["armchair"]) == ["armchair"]
    assert labels_of(["17"]) == ["17"]


def test_a_mesh_with_nowhere_to_stand_is_refused(tmp_path: Path) -> None:
    scene = mesh.scene()
    scene.apply_scale(0.1)
    scene.export(tmp_path / "dolls.glb")
    with pytest.raises(ScanError) as error:
        reader("mesh").read(tmp_path)
    one_line(error, "dolls.glb", "no floor")
    scene.apply_scale(10_000)
    scene.export(tmp_path / "millimetres.glb")
    with pytest.raises(ScanError) as error:
        reader("mesh").read(tmp_path / "millimetres.glb")
    one_line(error, "millimetres.glb", "in metres")


def test_the_house(shared: Path) -> None:
    """Rendered views agree with each other, are well lit, stand clear, and show its objects."""
    (ref,) = find([str(shared / "scans" / "small-house-mesh")])
    scene = ref.load()
    assert (scene.up.tolist(), scene.up_source) == ([0, 0, 1], "layout")
    assert len(scene.frames) > 600
    assert len(scene.instances) == 85
    assert {"sofa", "night stand", "tv cabinet", "kitchen table"} <= {one.label for one in scene.instances}
    errors = []
    for first, second in ((40, 50), (300, 310), (700, 705)):
        a, b = scene.frames[first], scene.frames[second]
        z, there = a.depth().metres, b.depth().metres
        assert ((z > 0) & (z < 0.25)).mean() < 0.05
        assert (z > 0).mean() > 0.4
        image = np.asarray(Image.open(io.BytesIO(a.read_color())))
        assert 90 < image.mean() < 225
        v, u = np.nonzero(z[::4, ::4] > 0)
        v, u = 4 * v, 4 * u
        points = transform(
            inverse(b.world_from_camera) @ a.world_from_camera, a.camera.unproject(np.stack([u, v], -1), z[v, u])
        )
        pixels, z_there = b.camera.project(points)
        x, y = np.rint(pixels).astype(int).T
        inside = (z_there > 0) & (x >= 0) & (x < 640) & (y >= 0) & (y < 480)
        off = z_there[inside] - there[y[inside], x[inside]]
        errors.append(np.abs(off[(there[y[inside], x[inside]] > 0) & (off < 0.15)]))
    assert np.median(np.concatenate(errors)) < 0.006
    assert (np.concatenate(errors) < 0.05).mean() > 0.94
