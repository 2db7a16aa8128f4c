"""The plan is a pure function, and reading by it does not depend on who reads."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hatch_data.errors import ShardError
from hatch_data.markers import Marker, draw
from hatch_data.shards import PlacedMarker
from hatch_train.data import Item, Plan, Shards, batches, held_out
from hatch_train.images import ImageReader, jitter
from hatch_train.model import VisionLanguageModel
from hatch_train.packing import Caps
from hatch_train.settings import AugmentSettings
from hatch_train.stages import KINDS
from hatch_train.stages.supervised import Supervised
from tests.train import rows
from tests.train.conftest import MakeRecipe

CAPS = Caps(tokens=700, patches=2000)


def plan_of(shards: Path, seed: int = 0) -> Plan:
    found = Shards([str(shards)], "train", ("task",))
    return Plan(found, [Item(n, 100 + 7 * (n % 9), 96) for n in range(len(found))], CAPS, seed)


def test_every_item_once_an_epoch_and_the_same_again(shards: Path) -> None:
    plan = plan_of(shards)
    for epoch in range(3):
        packs = plan.epoch(epoch)
        assert sorted(index for pack in packs for index in pack) == list(range(len(plan.items)))
        assert packs == plan_of(shards).epoch(epoch)
    assert plan.epoch(0) != plan.epoch(1)
    assert plan.epoch(0) != plan_of(shards, seed=1).epoch(0)
    assert plan.fingerprint != plan_of(shards, seed=1).fingerprint


def test_weights_say_how_often_a_row_comes(shards: Path, tmp_path: Path) -> None:
    other = rows.build(tmp_path / "other", train=40, validation=1)
    found = Shards({str(shards): 2.0, str(other): 0.5}, "train", ("task",))
    plan = Plan(found, [Item(n, 100, 96) for n in range(len(found))], CAPS, 0)
    for epoch in range(3):
        drawn = Counter(index for pack in plan.epoch(epoch) for index in pack)
        assert [drawn[n] for n in range(24)] == [2] * 24
        assert max(drawn[n] for n in range(24, 64)) == 1 and 10 <= sum(drawn[n] for n in range(24, 64)) <= 30
    assert set(plan.epoch(0)) != set(plan.epoch(1))


def test_a_share_of_single_images(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    rows.write(folder, "train", [rows.row(n, 1 + (n > 3)) for n in range(24)])
    found = Shards([str(folder)], "train", ("image_sizes",))
    items = [Item(n, 100, 96) for n in range(24)]
    plan = Plan(found, items, CAPS, 0, single_image_share=0.5)
    drawn = Counter(index < 4 for pack in plan.epoch(0) for index in pack)
    assert drawn == {True: 20, False: 20}
    without = Plan(found, items, CAPS, 0, single_image_share=0.0)
    assert not any(index < 4 for pack in without.epoch(0) for index in pack)
    several = Plan(found, items[4:], CAPS, 0, single_image_share=0.5)  # a stage that takes no single images
    assert sum(map(len, several.epoch(0))) == 20


def test_no_single_images_to_share(shards: Path) -> None:
    found = Shards([str(shards)], "train", ("image_sizes",))
    with pytest.raises(ShardError, match="no row in these shards has a single image"):
        Plan(found, [Item(0, 1, 1)], CAPS, 0, single_image_share=0.2)


def test_processes_share_the_packs_of_one_plan(shards: Path) -> None:
    def make(_shards: Shards, items: list[Item], epoch: int) -> tuple[int, list[int]]:
        return epoch, [item.row for item in items]

    plan = plan_of(shards)
    alone = [loaded.batch for loaded in batches(make, plan, 0, 1, 12, 0)]
    for world in (2, 3):
        dealt = [[b.batch for b in batches(make, plan, 0, 1, 12, 0, rank, world)] for rank in range(world)]
        assert [pack for step in zip(*dealt, strict=True) for pack in step] == alone


def test_tickets_go_on_from_any_place(shards: Path) -> None:
    plan = plan_of(shards)
    whole = list(plan.tickets(0, 0, 30))
    for k in (0, 1, 3, 4, 17):
        at = whole[k]
        assert list(plan.tickets(at.epoch, at.number, 30 - k)) == whole[k:]
    after = whole[len(plan.epoch(0)) - 1]
    assert next(plan.tickets(after.epoch, after.number + 1, 1)).epoch == 1


def test_what_is_too_long_is_named(shards: Path) -> None:
    found = Shards([str(shards)], "train", ("task",))
    plan = Plan(found, [Item(0, 100, 1), Item(1, 701, 1), Item(2, 1, 2001)], CAPS, 0)
    assert plan.dropped == [found.rows[1]["id"], found.rows[2]["id"]]
    assert plan.epoch(0) == [(0,)]


def test_held_out_items_are_spread() -> None:
    items = [Item(n, 1, 1) for n in range(10)]
    assert [item.row for item in held_out(items, 5)] == [1, 3, 5, 7, 9]
    assert held_out(items, 99) == items


def test_batches_do_not_depend_on_the_workers(make_recipe: MakeRecipe, tiny: VisionLanguageModel) -> None:
    recipe = make_recipe({"supervised": {"steps": 1, "learning_rate": 1e-3, "tokens": 600}})
    stage = Supervised("s", recipe.stages["supervised"], recipe, tiny.processor)
    found = Shards(recipe.data.shards, "train", stage.small)
    plan = Plan(found, stage.items(found), stage.caps, 0)
    alone, read_ahead = (list(batches(stage.batch, plan, 0, 3, 12, workers)) for workers in (0, 2))
    assert [a.ticket for a in alone] == [b.ticket for b in read_ahead]
    for a, b in zip(alone, read_ahead, strict=True):
        assert torch.equal(a.batch.pack.pixels, b.batch.pack.pixels)
        assert torch.equal(a.batch.pack.ids, b.batch.pack.ids)


def test_pixels_are_those_of_the_image_processor(each_tiny: VisionLanguageModel) -> None:
    """Decoding, resizing and normalising ourselves gives what plain transformers feeds the model."""
    one = rows.row(3)
    reader = ImageReader(each_tiny.processor, None, 16)
    for _ in range(2):  # the second time from the cache
        pixels, grids = reader.read(one.images, one.image_sizes, np.random.default_rng(0), one.id)
    plain = each_tiny.processor.images([Image.open(io.BytesIO(data)) for data in one.images], return_tensors="pt")
    assert torch.equal(plain["image_grid_thw"], torch.from_numpy(grids))
    assert torch.allclose(plain["pixel_values"], each_tiny.normalised(torch.from_numpy(pixels)), atol=1e-6)


def test_jitter_is_a_change_of_light() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    assert np.array_equal(
        jitter(image, AugmentSettings(exposure=0, colour=0, gamma=0), np.random.default_rng(1)), image
    )
    first, second = (jitter(image, AugmentSettings(), np.random.default_rng(n)) for n in (1, 2))
    assert not np.array_equal(first, second)
    order = np.argsort(image[..., 0], axis=None)
    assert (np.diff(first[..., 0].ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("kind", ["patch_alignment", "supervised"])
def test_markers_that_are_only_stored_are_drawn(
    kind: str, make_recipe: MakeRecipe, tiny: VisionLanguageModel, tmp_path: Path
) -> None:
    """A row whose marker is stored beside its image is trained on as one whose image shows it."""
    plain, box = rows.row(5), (0.25, 0.25, 0.5, 0.5)
    image, file = Image.open(io.BytesIO(plain.images[1])), io.BytesIO()
    draw(image, [Marker(box, "A", "#ff0000")])
    image.save(file, "png")
    stored = replace(plain, markers=[PlacedMarker(1, box, "A", "#ff0000", drawn=False)])
    drawn = replace(plain, images=[plain.images[0], file.getvalue()], markers=[replace(stored.markers[0], drawn=True)])
    recipe = make_recipe({"s": {"kind": kind, "steps": 1, "learning_rate": 1e-3}})
    stage = KINDS[kind]("s", recipe.stages["s"], recipe, tiny.processor)
    pixels = []
    for name, one in {"plain": plain, "stored": stored, "drawn": drawn}.items():
        rows.write(tmp_path / name, "train", [one])
        shards = Shards([str(tmp_path / name)], "train", stage.small)
        batch = stage.batch(shards, stage.items(shards)[:1], 0)
        pixels.append(getattr(batch, "pack", batch).pixels)
    assert torch.equal(pixels[1], pixels[2]) and not torch.equal(pixels[0], pixels[1])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_undecodable_image_is_one_line(
    workers: int, make_recipe: MakeRecipe, tiny: VisionLanguageModel, tmp_path: Path
) -> None:
    rows.write(tmp_path / "bad", "train", [rows.with_broken_image(rows.row(5))])
    recipe = make_recipe({"supervised": {"steps": 1, "learning_rate": 1e-3}})
    stage = Supervised("s", recipe.stages["supervised"], recipe, tiny.processor)
    found = Shards([str(tmp_path / "bad")], "train", stage.small)
    plan = Plan(found, stage.items(found), stage.caps, 0)
    with pytest.raises(ShardError, match=r"row row-0005: image 2 of 2 cannot be used \(.*\)") as caught:
        list(batches(stage.batch, plan, 0, 0, 1, workers))
    assert "\n" not in str(caught.value)


def test_an_image_of_another_size_is_named(tiny: VisionLanguageModel) -> None:
    one = rows.row(3)
    reader = ImageReader(tiny.processor, None, 16)
    with pytest.raises(ShardError, match=r"image 1 of 2 cannot be used .it is 84 x 112, the row says 112 x 84."):
        reader.read(one.images, [(112, 84)] * 2, np.random.default_rng(0), one.id)


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_damaged_file_is_named(keep: float, shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(shards, folder)
    file = folder / "train-00001-of-00002.parquet"
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ShardError, match=r"train-00001-of-00002.parquet: not a readable Parquet file"):
        Shards([str(folder)], "train", ("task",))


def test_no_shards_at_all(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="no shards"):
        Shards([str(tmp_path)], "train", ())
    with pytest.raises(ShardError, match="name folders"):
        Shards([], "train", ())
