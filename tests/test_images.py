"""What a row stores as image: the scan's own bytes, or a copy with the marker where the question says."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor, ImageOps

from hatch_data.errors import FrameError
from hatch_data.geometry import Camera
from hatch_data.images import stored_camera, stored_image, tagged_to_turn
from hatch_data.markers import Marker, draw
from hatch_data.recipe import ImageSettings
from hatch_data.scene import DepthImage, DepthSensor, Frame
from tests.tags import tagged, tagged_behind, tagged_xmp

CAMERA = Camera(320, 240, 250.0, 252.0, 158.0, 121.0)
RED = "#e6194b"


def encoded(kind: str, camera: Camera = CAMERA) -> bytes:
    """A smooth ramp of greys, none of them near a marker's colour."""
    ramp = np.linspace(90, 160, camera.width)[None, :, None] + np.zeros((camera.height, 1, 3))
    buffer = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def frame(data: bytes, camera: Camera = CAMERA) -> Frame:
    no_depth = DepthImage(np.zeros((camera.height, camera.width), np.uint16))
    return Frame("seq-01/frame-7", np.eye(4), camera, lambda: data, DepthSensor(camera), lambda: no_depth)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def colored(image: np.ndarray, color: str) -> np.ndarray:
    """(height, width): which pixels have a colour, but for JPEG."""
    return np.abs(image - ImageColor.getrgb(color)).max(axis=-1) < 48


@pytest.mark.parametrize(("kind", "ending"), [("PNG", "png"), ("JPEG", "jpg")])
def test_the_own_bytes_are_kept(kind, ending):
    data = encoded(kind)
    image = stored_image(frame(data), ImageSettings())
    assert image.data == data
    assert image.path == f"seq-01-frame-7.{ending}"
    assert image.camera == CAMERA
    assert stored_image(frame(data), ImageSettings(longest_side_px=320)).data == data


@pytest.mark.parametrize("tag", [tagged, tagged_xmp, tagged_behind])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_nobody_turns_what_is_stored(kind, orientation, tag):
    data = tag(encoded(kind), orientation)
    assert tagged_to_turn(data) == (orientation != 1)
    image = stored_image(frame(data), ImageSettings()).data
    assert (image == data) == (orientation == 1)
    assert np.array_equal(pixels(image), pixels(data))
    with Image.open(io.BytesIO(image)) as shown:
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(shown).convert("RGB")), pixels(data))


def test_tags_that_cannot_be_read_are_dropped():
    data = tagged(encoded("JPEG"), 6).replace(b"Exif\0\0MM\0*", b"Exif\0\0no tag")
    image = stored_image(frame(data), ImageSettings()).data
    assert not Image.open(io.BytesIO(image)).getexif()
    assert np.array_equal(pixels(image), pixels(data))


def test_what_is_no_image_is_no_image_of_a_row():
    with pytest.raises(FrameError, match=r"^frame seq-01/frame-7: the image does not decode \("):
        stored_image(frame(b"\xff\xd8 no image \xff\xd9"), ImageSettings())


@settings(deadline=None)
@given(st.integers(56, 400), st.integers(60, 400), st.integers(60, 400))
def test_a_limited_side_keeps_every_ray(limit, width, height):
    camera = Camera(width, height, 200.0, 210.0, 0.45 * width, 0.55 * height)
    small = stored_camera(camera, ImageSettings(longest_side_px=limit))
    assert max(small.width, small.height) == min(limit, max(width, height))
    for share in ((0.0, 0.0), (0.3, 0.8), (1.0, 1.0)):
        rays = [c.unproject(np.multiply(share, (c.width, c.height)) - 0.5, 1.0) for c in (camera, small)]
        assert np.allclose(*rays)


def test_a_limited_image_is_encoded_at_its_size():
    image = stored_image(frame(encoded("PNG")), ImageSettings(longest_side_px=100))
    assert pixels(image.data).shape == (75, 100, 3)
    assert (image.camera.width, image.camera.height) == (100, 75)
    assert image.path.endswith(".jpg")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10), st.integers(0, 7), st.booleans(), st.sampled_from([None, 200]))
def test_a_marker_surrounds_its_patch(column, row, labelled, limit):
    box = (column / 11, row / 8, (column + 1) / 11, (row + 1) / 8)
    marker = Marker(box, "B" if labelled else "", RED)
    image = pixels(stored_image(frame(encoded("JPEG")), ImageSettings(longest_side_px=limit), [marker]).data)
    height, width = image.shape[:2]
    left, top, right, bottom = np.multiply(box, (width, height, width, height)).round().astype(int)
    here = colored(image, RED)
    rim = max(2, round(width / 220)) + 2
    assert not here[top + rim + 1 : bottom - rim - 1, left + rim + 1 : right - rim - 1].any()
    # On each side of the patch stands the line: just outside, or just inside at the border of the image.
    middle_row, middle_column = (top + bottom) // 2, (left + right) // 2
    assert here[middle_row, max(left - rim, 0) : left + rim].any()
    assert here[middle_row, right - rim : right + rim].any()
    assert here[max(top - rim, 0) : top + rim, middle_column].any()
    assert here[bottom - rim : bottom + rim, middle_column].any()
    if not labelled:
        outside = here.copy()
        outside[max(top - rim, 0) : bottom + rim + 1, max(left - rim, 0) : right + rim + 1] = False
        assert not outside.any()


def test_a_label_stands_beside_its_box_and_inside_the_image():
    for box in ((0.0, 0.0, 0.1, 0.1), (0.9, 0.9, 1.0, 1.0), (0.4, 0.5, 0.5, 0.6), (0.9, 0.0, 1.0, 0.1)):
        with_label, without = (
            colored(pixels(stored_image(frame(encoded("PNG")), ImageSettings(), [Marker(box, label, RED)]).data), RED)
            for label in ("A", "")
        )
        assert with_label.sum() > without.sum() + 60
        assert (with_label[without]).mean() > 0.9


def test_markers_of_several_colours_are_all_there():
    colors = ("#f58231", "#3cb44b", "#4363d8", "#911eb4")
    markers = [Marker((k / 4 + 0.05, 0.4, k / 4 + 0.15, 0.5), "ABCD"[k], color) for k, color in enumerate(colors)]
    image = pixels(stored_image(frame(encoded("PNG")), ImageSettings(), markers).data)
    for k, color in enumerate(colors):
        columns = np.nonzero(colored(image, color).any(axis=0))[0]
        assert k * 80 <= columns.min() < columns.max() < (k + 1) * 80


@pytest.mark.parametrize(
    "box", [(1, 0.5, 1, 0.6), (0, 0, 0, 0.1), (0.999, 0.999, 1, 1), (1, 1, 1, 1), (0, 0.3, 1, 0.3)]
)
@pytest.mark.parametrize("size", [(320, 240), (9, 7), (2, 1)])
def test_a_mark_at_the_border_is_drawn_as_far_as_there_is_room(box, size):
    image = Image.new("RGB", size, "white")
    draw(image, [Marker(box, "", RED)])
    assert image.getextrema() != ((255, 255),) * 3
    if size[0] > 9:
        assert colored(np.asarray(image).astype(int), RED).any()


def inked(markers: list[Marker], color: str) -> int:
    """Pixels of a colour where these markers are drawn."""
    image = Image.new("RGB", (640, 480), "white")
    draw(image, markers)
    return int((np.asarray(image) == ImageColor.getrgb(color)).all(axis=-1).sum())


def bare(marker: Marker) -> Marker:
    return replace(marker, label="")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 3)] * 2), min_size=2, max_size=2, unique=True))
def test_labels_of_neighbours_can_all_be_read(places):
    colors, labels = ("#e6194b", "#4363d8"), ("folding door: 5.0 m", "kitchen cabinet")
    boxes = [(x / 10, y / 10, (x + width) / 10, (y + height) / 10) for x, y, width, height in places]
    markers = [Marker(*of) for of in zip(boxes, labels, colors, strict=True)]
    for marker in markers:
        alone = inked([marker], marker.color) - inked([bare(marker)], marker.color)
        together = inked(markers, marker.color) - inked([bare(one) for one in markers], marker.color)
        assert together > 0.75 * alone  # a label may hide a piece of a line
