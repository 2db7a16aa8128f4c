"""Which pixels show which object."""

from __future__ import annotations

import numpy as np
import pytest

from hatch_data.geometry import Array, Camera, rigid, rotation_from_heading_pitch_roll, transform
from hatch_data.instances import projected_box, sightings
from hatch_data.scans import synthetic
from hatch_data.scans.mesh import Mesh
from hatch_data.scene import DepthTolerance, Instance
from hatch_data.views import View, prepare

CAMERA = Camera(160, 120, 120.0, 120.0, 79.5, 59.5)
UP = np.array([0.0, 0.0, 1.0])


def box(name: str, center: tuple[float, float, float], size: tuple[float, float, float]) -> Instance:
    return Instance(name, name, rigid(np.eye(3), center), np.array(size))


TABLE = box("table", (3.0, 0.0, 0.4), (1.0, 1.0, 0.8))
CUP = box("cup", (2.9, 0.1, 0.9), (0.2, 0.2, 0.2))
ROOM = box("room", (2.0, 0.0, 1.2), (8.0, 6.0, 2.6))
RUG = box("rug", (1.6, 0.0, 0.0), (0.8, 2.0, 0.01))


def looking_ahead(heading: float = 90.0, pitch: float = -15.0) -> Array:
    """A camera at the origin, at eye height, looking along +x."""
    return rigid(rotation_from_heading_pitch_roll(heading, pitch, 0.0, UP), (0.0, 0.0, 1.5))


def view(pose: Array, *solids: Instance) -> View:
    """What a camera measures of solids on a floor."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    sides = np.array([[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]])
    floor = np.array([[-20.0, -20, 0], [20, -20, 0], [20, 20, 0], [-20, 20, 0]])
    vertices, quads = [floor], [np.arange(4)[None]]
    for k, one in enumerate(solids):
        vertices.append(corners * one.size_m @ one.world_from_box[:3, :3].T + one.world_from_box[:3, 3])
        quads.append(sides + 4 + 8 * k)
    four = np.concatenate(quads)
    solid = Mesh(np.concatenate(vertices), np.concatenate([four[:, :3], four[:, [0, 2, 3]]]).astype(np.int32))
    raster = np.rint(solid.depth(CAMERA, pose) * 1000).astype(np.int16)
    return View(raster, 1e-3, CAMERA, pose, DepthTolerance())


def test_pixels_belong_to_the_smallest_object_that_holds_them() -> None:
    seen = view(looking_ahead(), TABLE, CUP)
    instances = [ROOM, CUP, TABLE]
    found, owner = sightings(seen, instances, UP)
    assert [one.index for one in found] == [1, 2]  # the camera stands in the room
    cup, table = found
    assert cup.share * owner.size == (owner == 1).sum() > 20
    assert table.share * owner.size == (owner == 2).sum() > 1000
    assert table.distance_m == pytest.approx(2.9, abs=0.3)
    assert not cup.truncated
    assert not table.truncated
    floor = np.abs(seen.raster[-1].astype(float)) > 0
    assert (owner[-1][floor] == -1).all()


def test_the_floor_under_an_object_is_not_the_object() -> None:
    """A box of which nothing is there claims no floor, but a rug, as flat as its box is, is seen."""
    empty = view(looking_ahead())
    assert sightings(empty, [TABLE], UP)[0] == []
    (rug,) = sightings(empty, [RUG], UP)[0]
    assert rug.share > 0.06


def test_projected_boxes_hold_the_pixels_and_tell_truncation() -> None:
    for heading, cut in ((90.0, False), (60.0, True)):
        seen = view(looking_ahead(heading), TABLE)
        (table,) = sightings(seen, [TABLE], UP)[0]
        assert table.truncated is cut
        left, top, right, bottom = table.box
        assert left - 3 <= table.seen_box[0]
        assert top - 3 <= table.seen_box[1]
        assert table.seen_box[2] <= right + 3
        assert table.seen_box[3] <= bottom + 3
        if not cut:
            assert np.allclose(table.seen_box, table.box, atol=4)


def test_boxes_behind_and_around_the_camera() -> None:
    pose = looking_ahead()
    assert projected_box(view(pose), box("behind", (-3, 0, 1), (1, 1, 1))) is None
    long = projected_box(view(pose, TABLE), box("counter", (1.0, 0.6, 0.5), (4.0, 0.4, 1.0)))
    assert long is not None
    assert np.isfinite(long).all()
    assert long[0] < -0.5


def test_a_turned_box_leaves_out_what_only_its_bounds_hold() -> None:
    world_from_box = np.eye(4)
    world_from_box[:2, :2] = [[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]]
    world_from_box[:3, 3] = 3.0, 0.0, 0.5
    shelf = Instance("shelf", "shelf", world_from_box, np.array([2.0, 0.2, 1.0]))
    beside = box("stool", (2.5, 0.5, 0.3), (0.3, 0.3, 0.6))
    seen = view(looking_ahead(), shelf, beside)
    owner = sightings(seen, [shelf], UP)[1]
    assert (owner == 0).mean() > 0.05
    pixels = np.stack(np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height)), axis=-1)
    points = transform(seen.world_from_camera, CAMERA.unproject(pixels, seen.raster * seen.metres_per_unit))
    on_stool = (np.abs(points - beside.world_from_box[:3, 3]) < beside.size_m / 2 + 0.01).all(axis=-1)
    assert on_stool.sum() > 100
    assert (owner[on_stool] == -1).all()


def test_objects_of_a_synthetic_room_are_found_where_they_are() -> None:
    """Against the renderer's own record of which box each pixel shows."""
    made = synthetic.make(0)
    scene = made.scene()
    right = wrong = missed = 0
    for k in (5, 20, 35, 50):
        owner = sightings(prepare(scene.frames[k]), scene.instances, scene.up)[1]
        truth = made.furnished.instance[made.render(k).box]
        known = (owner >= 0) & (truth >= 0)
        right += int((owner == truth)[known].sum())
        wrong += int((owner != truth)[known].sum() + ((owner >= 0) & (truth < 0)).sum())
        missed += int(((owner < 0) & (truth >= 0)).sum())
    assert right > 10_000
    assert wrong < 0.12 * right
    assert missed < 0.12 * right


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e30])
def test_an_object_that_is_nowhere_is_none(number: float) -> None:
    far = np.eye(4)
    far[0, 3] = number
    with pytest.raises(ValueError, match="the box of object a is nowhere"):
        Instance("a", "chair", far, np.ones(3))
    with pytest.raises(ValueError, match="the box of object a is nowhere"):
        Instance("a", "chair", np.eye(4), np.array([1, number, 1]))
