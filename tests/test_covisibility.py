"""Who sees what of whom, against exact rays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hatch_data.covisibility import covisibility, summarise
from hatch_data.errors import FrameError
from hatch_data.geometry import inverse, transform
from hatch_data.group import SceneViews
from hatch_data.quality import texture
from hatch_data.recipe import DataRecipe
from hatch_data.scans import reader, synthetic
from hatch_data.scans.recoded import Recoded
from hatch_data.scans.synthetic import SyntheticScene
from hatch_data.scans.upright import turned
from hatch_data.views import ViewStore, prepare
from tests.layouts import nerfstudio, room

RAYS = 60, 80


def exact_shares(exact: SyntheticScene, source: int, target: int) -> tuple[float, float]:
    """Shares of what the rays of one view meet that another sees, and that lie in its image and are hidden from it."""
    camera, pose = exact.camera, exact.world_from_camera[target]
    rows, columns = (np.arange(n) + 0.5 for n in RAYS)
    u, v = np.meshgrid(columns * camera.width / RAYS[1] - 0.5, rows * camera.height / RAYS[0] - 0.5)
    points = exact.surface(source, np.stack([u, v], axis=-1)).points
    pixels, z = camera.project(transform(inverse(pose), points))
    u, v = pixels[..., 0], pixels[..., 1]
    inside = (z > 0) & (u >= -0.5) & (u < camera.width - 0.5) & (v >= -0.5) & (v < camera.height - 0.5)
    seen = exact.visible_from(points, pose, camera)
    return float(seen.mean()), float((inside & ~seen).mean())


def test_overlap_and_hidden_share_are_those_of_exact_rays():
    errors, hidden = [], []
    for index in range(2):
        exact = synthetic.make(index, frames=25, width=224, height=168)
        found = covisibility([summarise(prepare(frame)) for frame in exact.scene().frames])
        for k in np.random.default_rng(index).choice(len(found.source), 40, replace=False):
            truth = exact_shares(exact, found.source[k], found.target[k])
            errors.append(np.abs([found.overlap[k] - truth[0], found.hidden[k] - truth[1]]))
            hidden.append(truth[1])
    assert max(hidden) > 0.3
    assert (np.mean(errors, axis=0) < 0.02).all()
    # The standard error of a share of 300 points is up to 0.03.
    assert (np.quantile(errors, 0.95, axis=0) < 0.05).all()
    assert np.max(errors) < 0.1


def test_pairs_are_the_means_of_both_ways():
    frames = synthetic.make(3, frames=12, width=64, height=48).scene().frames
    found = covisibility([summarise(prepare(frame)) for frame in frames])
    dense = np.zeros((2, 12, 12))
    dense[:, found.source, found.target] = found.overlap, found.hidden
    first, second, overlap, hidden = found.pairs()
    assert len(first) == len(found.source) / 2 > 10
    assert (np.diff(first * 12 + second) > 0).all()
    assert (first < second).all()
    expected = ((dense + dense.transpose(0, 2, 1)) / 2)[:, first, second]
    assert np.allclose([overlap, hidden], expected)


def test_texture_is_what_an_encoder_spends():
    frames = synthetic.make(0, frames=3, width=64, height=48).scene().frames
    lengths = np.array([len(frame.read_color()) for frame in frames])
    assert np.allclose(texture(frames), lengths / np.median(lengths))

    def unreadable() -> bytes:
        raise FrameError("missing_color", "no such file")

    broken = [*frames, replace(frames[0], read_color=unreadable)]
    assert np.allclose(texture(broken), [*(lengths / np.median(lengths)), 1])
    assert texture(broken[3:]) == 1


def test_texture_of_straightened_and_turned_images_is_that_of_their_files(tmp_path, monkeypatch):
    nerfstudio.write(tmp_path, room.walk(4), nerfstudio.OPENCV)
    scene = reader("nerfstudio").read(tmp_path)
    scene.frames = [turned(frame, k % 3) for k, frame in enumerate(scene.frames)]
    lengths = np.array([file.stat().st_size for file in sorted((tmp_path / "images").iterdir())])

    def encode(self: Recoded) -> bytes:
        raise AssertionError("an image is encoded")

    monkeypatch.setattr(Recoded, "__call__", encode)
    as_asked = SceneViews(scene, scene.frames, ViewStore(), DataRecipe()).frames
    for frames in (scene.frames, as_asked):
        assert np.allclose(texture(frames), lengths / np.median(lengths))
