"""The synthetic rooms: the truth that other tests lean on, so it is checked against itself by independent sums."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hatch_data.errors import ScanError
from hatch_data.geometry import Camera, inverse, is_rigid, transform
from hatch_data.scans.rooms.furniture import chair
from hatch_data.scans.rooms.pieces import Style
from hatch_data.scans.rooms.raycast import Boxes, BoxTree
from hatch_data.scans.synthetic import SyntheticScene, make, paths, read


@pytest.fixture(scope="module")
def rooms() -> SyntheticScene:
    return make(0)


def digest() -> str:
    """A hash of everything a scene gives: poses, colour, depth, objects."""
    scene = read("synthetic/0002")
    parts = [frame.world_from_camera.tobytes() for frame in scene.frames]
    for frame in scene.frames[::25]:
        parts += [frame.read_color(), frame.read_depth().values.tobytes()]
    parts += [i.id.encode() + i.world_from_box.tobytes() + i.size_m.tobytes() for i in scene.instances]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def pixel_grid(camera: Camera) -> np.ndarray:
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    return np.stack([u, v], axis=-1).astype(np.float64)


def spread_pixels(camera: Camera, across: int = 24) -> np.ndarray:
    """Subpixel positions (n, 2) all over an image."""
    u, v = np.meshgrid(
        np.linspace(-0.49, camera.width - 0.51, across), np.linspace(-0.49, camera.height - 0.51, across)
    )
    return np.stack([u.ravel(), v.ravel()], axis=-1)


def distance_to_boxes(points: np.ndarray, boxes: Boxes) -> np.ndarray:
    """Distance (points, boxes) from points (n, 3) to each box, 0 inside."""
    offset = points[:, None] - boxes.center
    rotations = boxes.world_from_local(np.arange(len(boxes.center)))
    local = np.einsum("nbi,bij->nbj", offset, rotations)
    return np.linalg.norm(np.maximum(np.abs(local) - boxes.half, 0.0), axis=-1)


def test_same_index_same_bits_here_and_in_another_process():
    first = digest()
    assert digest() == first
    code = "from tests.test_synthetic import digest; print(digest())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == first


def test_scene_is_what_readers_give(rooms):
    scene = rooms.scene()
    assert (scene.id, scene.space, scene.layout, scene.up_source) == (
        "synthetic-0000", "synthetic-0000", "synthetic", "layout",
    )  # fmt: skip
    np.testing.assert_array_equal(scene.up, (0, 0, 1))
    assert len(scene.frames) == 60 and len({frame.id for frame in scene.frames}) == 60
    assert all(is_rigid(frame.world_from_camera, 1e-12) for frame in scene.frames)
    frame = scene.frames[7]
    image = Image.open(io.BytesIO(frame.read_color()))
    depth = frame.read_depth().metres
    assert image.size == (320, 240) and depth.shape == (240, 320) and depth.dtype == np.float32
    assert np.abs(np.asarray(image).astype(int) - rooms.render(7).color).mean() < 4
    assert 65 <= 2 * np.degrees(np.arctan(160 / frame.camera.fx)) <= 75


@pytest.mark.parametrize("name", ["synthetic:0", "synthetic:-1", "synthetic:x", "synthetic:", "synthetic:1.5", "4"])
def test_bad_count_is_one_line(name):
    with pytest.raises(ScanError) as caught:
        paths(name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_paths_lead_to_scenes():
    assert paths("synthetic:3") == ["synthetic/0000", "synthetic/0001", "synthetic/0002"]
    assert read("synthetic/0001").id == "synthetic-0001"
    for wrong in ("synthetic/1", "elsewhere/0001"):
        with pytest.raises(ScanError):
            read(wrong)
    with pytest.raises(ScanError, match="0 frames"):
        make(0, frames=0)


def test_rays_against_brute_force():
    rng = np.random.default_rng(5)
    turn = rng.uniform(0, 2 * np.pi, 300)
    boxes = Boxes(
        rng.uniform(-5, 5, (300, 3)), rng.uniform(0.05, 0.6, (300, 3)), np.stack([np.cos(turn), np.sin(turn)], axis=1)
    )
    origin, directions = np.array([0.1, -0.2, 0.3]), rng.normal(size=(400, 3))
    directions[:3] = np.eye(3)
    hits = BoxTree(boxes).cast(origin, directions)
    rotations = boxes.world_from_local(np.arange(300))
    start = np.einsum("bi,bij->bj", origin - boxes.center, rotations)
    way = np.einsum("ni,bij->nbj", directions, rotations)
    with np.errstate(divide="ignore"):
        ends = np.stack([(-boxes.half - start) / way, (boxes.half - start) / way])
    near, far = ends.min(axis=0).max(axis=-1), ends.max(axis=0).min(axis=-1)
    entered = np.where((near <= far) & (near > 0), near, np.inf)
    np.testing.assert_allclose(hits.distance, entered.min(axis=1), rtol=1e-12)
    met = np.isfinite(hits.distance)
    assert 0.2 < met.mean() < 1
    np.testing.assert_array_equal(hits.box[met], entered.argmin(axis=1)[met])
    assert (hits.box[~met] == -1).all()
    np.testing.assert_array_equal(BoxTree(boxes).blocked(origin, directions, 2.0), hits.distance < 2.0)
    facing = np.einsum("ni,ni->n", boxes.normals(hits.box, hits.face), directions)
    assert (facing[met] < 0).all()


def test_depth_is_the_distance_to_the_surface(rooms):
    for k in (0, 20, 41):
        depth = rooms.scene().frames[k].read_depth().metres
        assert (depth > 0.2).all() and (depth < 40).all()
        surface = rooms.surface(k, pixel_grid(rooms.camera))
        np.testing.assert_allclose(depth, surface.depth, atol=1e-5)
        np.testing.assert_array_equal(rooms.render(k).box, surface.box)
        camera_from_world = inverse(rooms.world_from_camera[k])
        np.testing.assert_allclose(transform(camera_from_world, surface.points)[..., 2], depth, atol=1e-5)


def test_surface_points_lie_on_their_box_and_project_to_their_pixel(rooms):
    boxes = rooms.furnished.boxes
    for k in (3, 33):
        pixels = spread_pixels(rooms.camera)
        surface = rooms.surface(k, pixels)
        world_from_camera = rooms.world_from_camera[k]
        projected, z = rooms.camera.project(transform(inverse(world_from_camera), surface.points))
        np.testing.assert_allclose(projected, pixels, atol=1e-9)
        np.testing.assert_allclose(z, surface.depth, rtol=1e-12)
        local = np.einsum("ni,nij->nj", surface.points - boxes.center[surface.box], boxes.world_from_local(surface.box))
        axis, positive = surface.face // 2, surface.face % 2
        on_face = np.take_along_axis(local / boxes.half[surface.box], axis[:, None], axis=1)[:, 0]
        np.testing.assert_allclose(on_face, 2.0 * positive - 1.0, atol=1e-9)
        assert (np.abs(local) <= boxes.half[surface.box] + 1e-9).all()
        assert (np.einsum("ni,ni->n", surface.normals, surface.points - world_from_camera[:3, 3]) < 0).all()
        assert rooms.visible_from(surface.points, world_from_camera, rooms.camera).all()


def test_points_behind_surfaces_and_outside_the_image_are_not_visible(rooms):
    world_from_camera, camera = rooms.world_from_camera[12], rooms.camera
    surface = rooms.surface(12, spread_pixels(camera))
    origin = world_from_camera[:3, 3]
    behind = origin + (surface.points - origin) * 1.001
    assert not rooms.visible_from(behind, world_from_camera, camera).any()
    before = origin + (surface.points - origin) * 0.999
    assert rooms.visible_from(before, world_from_camera, camera).all()
    mirrored = 2 * origin - before
    assert not rooms.visible_from(mirrored, world_from_camera, camera).any()
    outside = rooms.surface(12, np.array([[-0.6, 100.0], [camera.width - 0.4, 100.0], [50.0, camera.height - 0.4]]))
    assert not rooms.visible_from(outside.points, world_from_camera, camera).any()


def test_two_cameras_that_see_each_other_agree(rooms):
    """Free sight between two places is the same both ways: camera centres of frames seen from other frames."""
    wide = Camera(2000, 2000, 1e-3, 1e-3, 999.5, 999.5)
    centres = np.array([pose[:3, 3] for pose in rooms.world_from_camera[::6]])
    sees = np.zeros((len(centres), len(centres)), dtype=bool)
    for k, centre in enumerate(centres):
        for away in (0.0, np.pi):
            turned = np.eye(4)
            # A camera of almost 180 degrees looking along +-x: two of them see all around.
            turned[:3, 2], turned[:3, 1] = (np.cos(away), np.sin(away), 0), (0, 0, -1)
            turned[:3, 0] = np.cross(turned[:3, 1], turned[:3, 2])
            turned[:3, 3] = centre
            sees[k] |= rooms.visible_from(centres, turned, wide)
    apart = ~np.eye(len(centres), dtype=bool)
    np.testing.assert_array_equal(sees[apart], sees.T[apart])
    assert 0.1 < sees[apart].mean() < 0.9


@pytest.mark.parametrize("index", range(4))
def test_the_walk_keeps_clear_and_looks_about(index):
    scene = make(index)
    poses = np.array(scene.world_from_camera)
    assert distance_to_boxes(poses[:, :3, 3], scene.furnished.boxes).min() >= 0.3
    # Nobody walks across a table either: furniture below eye height counts as a column.
    boxes = scene.furnished.boxes
    stands = (scene.furnished.instance >= 0) & (boxes.center[:, 2] > 0.05) & (boxes.center[:, 2] < 1.9)
    columns = Boxes(boxes.center[stands] * (1, 1, 0), boxes.half[stands], boxes.turn[stands])
    assert distance_to_boxes(poses[:, :3, 3] * (1, 1, 0), columns).min() >= 0.3
    assert ((poses[:, 2, 3] > 1.4) & (poses[:, 2, 3] < 1.7)).all()
    pitch = np.degrees(np.arcsin(poses[:, 2, 2]))
    assert np.abs(pitch).max() <= 25.001 and np.ptp(pitch) > 10
    assert np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).max() < 0.6


@pytest.mark.parametrize("index", range(3))
def test_the_walk_stays_inside_and_goes_through_doorways(index):
    scene = make(index, frames=200)
    inside = np.array(
        [
            [(pose[:2, 3] > room.lower).all() and (pose[:2, 3] < room.upper).all() for room in scene.furnished.rooms]
            for pose in scene.world_from_camera
        ]
    )
    assert 2 <= inside.shape[1] <= 4
    assert inside.any(axis=0).all(), "every room is walked into"
    # Out of every room means in a doorway, a step of the way.
    assert inside.any(axis=1).mean() > 0.9
    for pose in scene.world_from_camera:
        surface = scene.surface((pose, scene.camera), spread_pixels(scene.camera, 12))
        assert (surface.box >= 0).all()


@pytest.mark.parametrize("index", range(3))
def test_neighbouring_frames_overlap(index):
    scene = make(index)
    shares = []
    for k in range(len(scene.world_from_camera) - 1):
        points = scene.surface(k, spread_pixels(scene.camera, 16)).points
        shares.append(scene.visible_from(points, scene.world_from_camera[k + 1], scene.camera).mean())
    assert min(shares) > 0.25 and np.mean(shares) > 0.5


def test_more_frames_are_denser_in_the_same_rooms():
    few, many = make(1), make(1, frames=1000, width=640, height=480)
    np.testing.assert_array_equal(few.furnished.boxes.center, many.furnished.boxes.center)
    np.testing.assert_allclose(few.camera.resized(640, 480).matrix, many.camera.matrix)
    steps = [
        np.linalg.norm(np.diff([pose[:3, 3] for pose in scene.world_from_camera], axis=0), axis=1).max()
        for scene in (few, many)
    ]
    assert steps[1] < 0.5 * steps[0]
    assert many.render(999).color.shape == (480, 640, 3)


def test_a_chain_of_many_rooms():
    scene = make(0, frames=900, rooms=30)
    rooms = scene.furnished.rooms
    assert len(rooms) == 30
    for k, room in enumerate(rooms):
        for other in rooms[:k]:
            apart = (room.lower >= other.upper + 0.1) | (other.lower >= room.upper + 0.1)
            assert apart.any(), "rooms do not overlap"
    poses = scene.world_from_camera
    assert distance_to_boxes(np.array([pose[:3, 3] for pose in poses[::7]]), scene.furnished.boxes).min() >= 0.3
    visited = {
        k
        for pose in poses
        for k, r in enumerate(rooms)
        if (pose[:2, 3] > r.lower).all() and (pose[:2, 3] < r.upper).all()
    }
    assert len(visited) == 30


def test_instances_lie_in_rooms_and_their_boxes_are_tight(rooms):
    boxes, numbers = rooms.furnished.boxes, rooms.furnished.instance
    assert len({instance.id for instance in rooms.instances}) == len(rooms.instances)
    assert len({instance.label for instance in rooms.instances}) >= 10
    signs = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T
    for number, instance in enumerate(rooms.instances):
        mine = np.flatnonzero(numbers == number)
        corners = (
            boxes.center[mine][:, None]
            + np.einsum("bij,bcj->bci", boxes.world_from_local(mine), signs * boxes.half[mine][:, None])
        ).reshape(-1, 3)
        local = transform(inverse(instance.world_from_box), corners)
        np.testing.assert_allclose(local.max(axis=0), instance.size_m / 2, atol=1e-9)
        np.testing.assert_allclose(local.min(axis=0), -instance.size_m / 2, atol=1e-9)
        assert any(
            (corners[:, :2] > room.lower - 1e-6).all()
            and (corners[:, :2] < room.upper + 1e-6).all()
            and (corners[:, 2] > -1e-6).all()
            and (corners[:, 2] < room.height + 1e-6).all()
            for room in rooms.furnished.rooms
        )


def test_rendered_pixels_of_an_object_lie_in_its_box(rooms):
    seen = set()
    for k in range(0, 60, 6):
        surface = rooms.surface(k, pixel_grid(rooms.camera)[::4, ::4])
        of_instance = rooms.furnished.instance[surface.box]
        for number in np.unique(of_instance[of_instance >= 0]):
            instance = rooms.instances[number]
            local = transform(inverse(instance.world_from_box), surface.points[of_instance == number])
            assert (np.abs(local) <= instance.size_m / 2 + 1e-9).all()
            seen.add(instance.label)
    assert len(seen) >= 8


def test_a_table_of_many_boxes_is_one_instance(rooms):
    parts = np.bincount(rooms.furnished.instance[rooms.furnished.instance >= 0])
    assert len(parts) == len(rooms.instances) and parts.min() >= 1
    made = chair(Style(np.random.default_rng(0)))
    assert len(made.parts) == 6
    for instance, count in zip(rooms.instances, parts, strict=True):
        if instance.label == "chair":
            assert count == 6


def test_places_differ_in_texture_not_only_in_colour(rooms):
    """Grey patches of different surfaces do not correlate, and nearly none is flat."""
    patches, boxes = [], []
    for k in range(0, 60, 2):
        rendering = rooms.render(k)
        for v, u in ((60, 80), (60, 240), (180, 160)):
            box = rendering.box[v - 16 : v + 16, u - 16 : u + 16]
            if (box == box[0, 0]).all():
                grey = rendering.color[v - 16 : v + 16, u - 16 : u + 16].astype(float).mean(axis=2)
                patches.append(grey)
                boxes.append(box[0, 0])
    flat = np.array([patch.std() < 1.5 for patch in patches])
    assert len(patches) > 20 and flat.mean() < 0.15
    standard = np.array([(patch - patch.mean()).ravel() / patch.std() for patch in patches])[~flat]
    correlation = standard @ standard.T / standard.shape[1]
    different = np.not_equal.outer(np.array(boxes)[~flat], np.array(boxes)[~flat])
    assert np.abs(correlation[different]).mean() < 0.3
    assert np.mean(np.abs(correlation[different]) > 0.9) < 0.005


def test_scenes_differ():
    scenes = [make(index, frames=1) for index in range(6)]
    views = np.array([scene.render(0).color.astype(float).mean(axis=2).ravel() for scene in scenes])
    correlation = np.corrcoef(views)
    assert correlation[~np.eye(6, dtype=bool)].max() < 0.8
    sizes = {tuple(room.upper - room.lower) for scene in scenes for room in scene.furnished.rooms}
    assert len(sizes) == sum(len(scene.furnished.rooms) for scene in scenes)
