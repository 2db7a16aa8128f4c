"""The alignment loss against its formula, and what it is computed from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hatch_data.patches import symmetric
from hatch_train.data import Plan, Shards
from hatch_train.model import VisionLanguageModel, load
from hatch_train.shapes import FAMILIES
from hatch_train.stages.patch_alignment import AlignmentSettings, PatchAlignment, alignment_loss, area_pooling
from tests.train.conftest import MakeRecipe, model_of

SETTINGS = AlignmentSettings(steps=1, learning_rate=1e-3)


def by_loops(x: np.ndarray, y: np.ndarray, share: np.ndarray, settings: AlignmentSettings, level: str) -> float:
    """The sum of the cross-entropies over seen rows, both ways, one number at a time."""
    total = 0.0
    for a, b, s in ((x, y, share), (y, x, share.T)):
        for i in range(len(a)):
            if sum(s[i]) < settings.min_row:
                continue
            cosines = [sum(a[i] * b[j]) / math.sqrt(sum(a[i] ** 2) * sum(b[j] ** 2)) for j in range(len(b))]
            q = [math.exp(c / settings.tau2) for c in cosines]
            p = [math.exp(v / settings.tau1) for v in s[i]] if level == "region" else list(s[i])
            for j in range(len(b)):
                total -= p[j] / sum(p) * math.log(q[j] / sum(q))
    return total


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    share = rng.uniform(0, 1, (6, 9)) * (rng.uniform(0, 1, (6, 9)) < 0.2)
    share[2] = 0
    share[:, 4] = 0.001
    return rng.normal(size=(6, 5)), rng.normal(size=(9, 5)), share


@pytest.mark.parametrize("level", ["region", "token"])
@pytest.mark.parametrize("seed", range(4))
def test_loss_is_the_formula(level: str, seed: int) -> None:
    x, y, share = random_case(seed)
    cosine = F.normalize(torch.tensor(x)) @ F.normalize(torch.tensor(y)).T
    loss, _ = alignment_loss(cosine, torch.tensor(share), SETTINGS, level)
    assert float(loss) == pytest.approx(by_loops(x, y, share, SETTINGS, level), rel=1e-9)


@pytest.mark.parametrize("level", ["region", "token"])
def test_gradient_by_finite_differences(level: str) -> None:
    x, y, share = random_case(7)

    def loss(features: torch.Tensor) -> torch.Tensor:
        cosine = F.normalize(features) @ F.normalize(torch.tensor(y)).T
        return alignment_loss(cosine, torch.tensor(share), SETTINGS, level)[0]

    assert torch.autograd.gradcheck(loss, torch.tensor(x, requires_grad=True))


def test_entropy_is_the_least_that_the_loss_can_be() -> None:
    _, _, share = random_case(3)
    target = torch.tensor(share)
    # At the cosine whose softmax is the target both are equal; one direction, as both cannot hold at once.
    loss, entropy = alignment_loss(target / SETTINGS.tau1 * SETTINGS.tau2, target, SETTINGS, "region")
    assert float(loss) == pytest.approx(float(entropy), rel=1e-9)


def test_a_pair_without_overlap_costs_nothing() -> None:
    loss, entropy = alignment_loss(torch.randn(4, 4, requires_grad=True), torch.zeros(4, 4), SETTINGS, "token")
    loss.backward()
    assert loss.item() == entropy.item() == 0.0


@pytest.mark.parametrize("rows, columns, n", [(6, 8, 4), (3, 4, 4), (5, 7, 4), (12, 17, 3), (4, 4, 1)])
def test_pooling_is_a_mean_over_area(rows: int, columns: int, n: int) -> None:
    pooled = area_pooling(rows, columns, n)
    assert pooled.shape == (n * n, rows * columns)
    assert torch.allclose(pooled.sum(1), torch.ones(n * n), atol=1e-6)
    fine = torch.arange(rows * columns).view(rows, 1, columns, 1).expand(rows, n, columns, n).reshape(rows * n, -1)
    for region in range(n * n):
        r, c = divmod(region, n)
        cells = fine[r * rows : (r + 1) * rows, c * columns : (c + 1) * columns].flatten()
        share = torch.bincount(cells, minlength=rows * columns) / cells.numel()
        assert torch.allclose(pooled[region], share, atol=1e-6)


def test_a_batch_holds_what_the_shards_say(make_recipe: MakeRecipe, tiny: VisionLanguageModel) -> None:
    recipe = make_recipe({"patch_alignment": {"steps": 1, "learning_rate": 1e-3, "pairs": 3}})
    stage = PatchAlignment("a", recipe.stages["patch_alignment"], recipe, tiny.processor)
    shards = Shards(recipe.data.shards, "train", stage.small)
    items = stage.items(shards)
    assert len(items) == len(shards) == 24
    plan = Plan(shards, items, stage.caps, 0)
    batch = stage.batch(shards, plan.items[:3], 0)
    assert batch.pixels.shape == (3 * 2 * 6 * 8, 1176) and batch.pixels.dtype == torch.uint8
    for view in batch.views:
        assert view["token"].x_to_y.source_grid == (3, 4) and view["region"].x_to_y.source_grid == (4, 4)
        for level in view.values():
            assert np.array_equal(level.target, symmetric(level.x_to_y, level.y_to_x))
            assert level.x_to_y.overlap > 0.3
    rows = sum(int((v["region"].target.sum(axis) >= 0.02).sum()) for v in batch.views for axis in (0, 1))
    assert batch.counts == {"region": rows, "kl": rows, "token": batch.counts["token"], "cosine": 3}


def test_features_stand_alone(make_recipe: MakeRecipe, each_tiny: VisionLanguageModel) -> None:
    recipe = make_recipe({"patch_alignment": {"steps": 1, "learning_rate": 1e-3}})
    stage = PatchAlignment("a", recipe.stages["patch_alignment"], recipe, each_tiny.processor)
    shards = Shards(recipe.data.shards, "train", stage.small)
    both = stage.batch(shards, stage.items(shards)[:2], 0)
    first = stage.batch(shards, stage.items(shards)[:1], 0)
    with torch.no_grad():
        together, alone = stage.features(each_tiny, both)[0], stage.features(each_tiny, first)[0]
    for level in ("region", "token"):
        for a, b in zip(together[level], alone[level], strict=True):
            assert torch.allclose(a, b, atol=1e-5)
            assert torch.allclose(a.norm(dim=1), torch.ones(len(a)), atol=1e-5)


def test_features_are_in_raster_order(each_tiny: VisionLanguageModel) -> None:
    """A change of one token's patches changes, most of all, that token's feature."""
    processor = each_tiny.processor
    generator = torch.Generator().manual_seed(0)
    rows, columns = 6, 8
    image = torch.randint(0, 256, (3, rows * processor.token_px, columns * processor.token_px), generator=generator)
    options = {"do_resize": False, "do_rescale": False, "do_normalize": False, "return_tensors": "pt"}

    def features(pixels: torch.Tensor) -> torch.Tensor:
        cut = processor.images([pixels.to(torch.uint8).numpy()], input_data_format="channels_first", **options)
        return each_tiny.image_features(cut["pixel_values"].to(torch.uint8), cut["image_grid_thw"])[0]

    with torch.no_grad():
        plain = features(image)
        for row, column in ((0, 1), (2, 5), (5, 3)):
            changed, px = image.clone(), processor.token_px
            changed[:, row * px : (row + 1) * px, column * px : (column + 1) * px] = 0
            moved = (features(changed) - plain).norm(dim=1)
            assert int(moved.argmax()) == row * columns + column


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_that_is_trained_is_reached(family: str, make_recipe: MakeRecipe) -> None:
    """Qwen3-VL's mergers of inner layers are not: only its language model sees them."""
    recipe = make_recipe({"patch_alignment": {"steps": 1, "learning_rate": 1e-3}}, model=model_of(family))
    model = load(recipe.model, ["text"], seed=0)
    stage = PatchAlignment("a", recipe.stages["patch_alignment"], recipe, model.processor)
    shards = Shards(recipe.data.shards, "train", stage.small)
    model.train_only(stage.trains)
    stage.losses(model, stage.batch(shards, stage.items(shards)[:2], 0))["region"].backward()
    for name, parameter in model.model.named_parameters():
        trained = ".visual." in name and ".deepstack_merger_list." not in name
        assert (parameter.grad is not None) == trained, name


def test_shuffled_targets_keep_their_columns(make_recipe: MakeRecipe, tiny: VisionLanguageModel) -> None:
    settings = {"steps": 1, "learning_rate": 1e-3}
    targets = []
    for shuffled in (False, True):
        recipe = make_recipe({"patch_alignment": {**settings, "shuffled": shuffled}})
        stage = PatchAlignment("a", recipe.stages["patch_alignment"], recipe, tiny.processor)
        shards = Shards(recipe.data.shards, "train", stage.small)
        targets.append(stage.batch(shards, stage.items(shards)[:1], 0).views[0]["region"].target)
    assert not np.array_equal(*targets)
    assert np.allclose(*(np.sort(t.sum(0)) for t in targets), atol=1e-6)
