"""Which objects are clear, and unique, and how they are named."""

from __future__ import annotations

import numpy as np
import pytest

from hatch_data.questions import _objects
from hatch_data.questions._objects import LEAST_SHARE, clear, is_object, offset, offset_facing, pick, unique
from tests.questions.asked import Asked, groups
from tests.questions.exact_objects import extent, overlap, shown


@pytest.fixture(scope="module")
def some() -> list[Asked]:
    """Groups with the exact scenes beside them."""
    return [Asked(exact, group, None) for _, (exact, group) in zip(range(60), groups(2, 4, seed=1), strict=False)]


def test_clear_objects_are_whole_and_mostly_seen(some):
    """All corners of their boxes lie inside the image, and the box is around the pixels whose rays meet them."""
    seen = 0
    signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    for one in some:
        camera = one.scene.camera
        for found in clear(one.group, 0):
            instance = one.scene.instances[found.index]
            corners = instance.world_from_box[:3, 3] + (signs * instance.size_m) @ instance.world_from_box[:3, :3].T
            local = (corners - one.pose(0)[:3, 3]) @ one.pose(0)[:3, :3]
            u = local[:, 0] / local[:, 2] * camera.fx + camera.cx
            v = local[:, 1] / local[:, 2] * camera.fy + camera.cy
            assert (local[:, 2] > 0).all()
            assert (u > -0.51).all() and (u < camera.width - 0.49).all()
            assert (v > -0.51).all() and (v < camera.height - 0.49).all()
            assert overlap(np.array(found.box), extent(shown(one, 0) == found.index)) > 0.5
            left, top, right, bottom = np.rint(np.multiply(found.box, (camera.width, camera.height) * 2)).astype(int)
            within = shown(one, 0)[top:bottom, left:right]
            assert (within == found.index).sum() > 0.6 * ((within >= 0) & (within != found.index)).sum()
            seen += 1
    assert seen > 50


def test_unique_objects_have_no_namesake_in_any_view(some):
    met = {True: 0, False: 0}
    for one in some:
        for found in clear(one.group, 0):
            alone = unique(one.group, found)
            pixels = [shown(one, k) for k in range(len(one.group))]
            namesakes = [
                i
                for i, instance in enumerate(one.scene.instances)
                if i != found.index and instance.label == found.label
            ]
            most = max([(owner == i).mean() for i in namesakes for owner in pixels], default=0.0)
            # One that hardly shows may be missed; one that is taken to show costs a question, no answer.
            assert not (alone and most > 10 * LEAST_SHARE)
            met[alone] += 1
    assert min(met.values()) > 10


@pytest.mark.parametrize(
    "label", ["wall", "Walls", "kitchen floor", "object", "otherfurniture", "", "  ", "misc", "SPLIT"]
)
def test_parts_of_the_building_are_no_objects(label):
    assert not is_object(label)


@pytest.mark.parametrize("label", ["chair", "glass", "picture frame", "wall clock", "floor_lamp", "door"])
def test_things_are_objects(label):
    assert is_object(label)


def test_offsets_agree_with_standing_there(some):
    """What view k faces is what one faces who stands there and looks at a point on its axis."""
    for one in some[:10]:
        pose, point = one.pose(1), np.array([1.0, 2.0, 0.5])
        facing = pose[:3, 3] + pose[:3, 2]
        there = offset_facing(pose[:3, 3], facing, one.group.up, point)
        assert np.allclose(offset(one.group, 1, point), there, atol=1e-9)


def test_picked_objects_are_different_and_their_boxes_apart(some):
    rng = np.random.default_rng(0)
    picked = 0
    for one in some:
        chosen = pick(one.group, [0, 0, 1], rng)
        if chosen is None:
            continue
        assert [found.view for found in chosen] == [0, 0, 1]
        assert len({found.index for found in chosen}) == 3
        assert overlap(np.array(chosen[0].box), np.array(chosen[1].box)) <= 0.2
        picked += 1
    assert picked > 10


def test_boxes_in_thousandths():
    assert _objects.box_1000((0.0, 0.25, 0.5004, 1.0)) == (0, 250, 500, 1000)
