"""The alignment loss against its formula, and what it is computed from."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hatch_data.patches import symmetric
from hatch_train.data import Loaded, Plan, Shards, Ticket
from hatch_train.errors import TrainingError
from hatch_train.model import VisionLanguageModel, load
from hatch_train.shapes import FAMILIES
from hatch_train.stages import attach_heads
from hatch_train.stages.alignment import AlignmentTerm, Side, alignment_loss, area_pooling, watched
from hatch_train.stages.patch_alignment import PatchAlignment, block_features
from tests.train import rows
from tests.train.conftest import MakeRecipe, model_of

TERM = AlignmentTerm()
INFO_NCE = AlignmentTerm(token_loss="info_nce", token_weight=1.0)


def sides(share: np.ndarray, term: AlignmentTerm, lost: bool = False, hard: bool = False) -> tuple[Side, Side]:
    """Both sides of S, with random shares that are not seen and random look-alikes, if asked for."""
    found = []
    for number, s in enumerate((share, share.T)):
        rng = np.random.default_rng(number)
        alike = (rng.uniform(0, 1, s.shape) < 0.3) & (s == 0) if hard else None
        unmatched = (rng.uniform(0, 1, len(s)) * (1 - s.sum(1).clip(0, 1))) if lost else None
        seen = s.max(1) >= term.positive if term.token_loss == "info_nce" else s.sum(1) >= term.min_row
        if unmatched is not None:
            seen = seen | (unmatched >= 0.5)
        found.append(Side(s, seen, unmatched, alike))
    return tuple(found)


def by_loops(
    x: np.ndarray, y: np.ndarray, both: tuple[Side, Side], term: AlignmentTerm, level: str, logit: float | None = None
) -> float:
    """The sum of the cross-entropies over trained rows, both ways, one number at a time."""
    total = 0.0
    for a, b, side in ((x, y, both[0]), (y, x, both[1])):
        for i in range(len(a)):
            if not side.seen[i]:
                continue
            s = side.share[i]
            columns = range(len(b))
            cosines = [sum(a[i] * b[j]) / math.sqrt(sum(a[i] ** 2) * sum(b[j] ** 2)) for j in columns]
            q = [math.exp(c / term.tau2) for c in cosines]
            if side.hard is not None:
                q = [v * term.hard_weight if side.hard[i, j] else v for j, v in enumerate(q)]
            if level == "region":
                p = [math.exp(v / term.tau1) for v in s]
            elif term.token_loss == "cross_entropy":
                p = list(s)
            else:
                match = max(columns, key=lambda j: s[j])
                p = [float(j == match and s[j] >= term.positive) for j in columns]
                q = [0.0 if s[j] > 0 and not p[j] else q[j] for j in columns]
            p = [v / sum(p) if sum(p) else 0.0 for v in p]
            if logit is not None:
                lost = 1.0 if sum(s) < term.min_row else side.unmatched[i]
                p = [v * (1 - lost) for v in p] + [lost]
                p = [v / sum(p) for v in p]
                q = [*q, math.exp(logit)]
            total -= sum(p[j] * math.log(q[j] / sum(q)) for j in range(len(p)) if p[j] > 0)
    return total


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    share = rng.uniform(0, 1, (6, 9)) * (rng.uniform(0, 1, (6, 9)) < 0.2)
    share[2] = 0
    share[:, 4] = 0.001
    return rng.normal(size=(6, 5)), rng.normal(size=(9, 5)), share


VARIANTS = {
    "region": (TERM, "region", False, False),
    "token": (TERM, "token", False, False),
    "region with an outcome of its own for no match": (TERM, "region", True, False),
    "token with an outcome of its own for no match": (TERM, "token", True, False),
    "InfoNCE with an ignored band": (INFO_NCE, "token", False, False),
    "InfoNCE with both": (INFO_NCE, "token", True, True),
    "token with hard negatives": (TERM, "token", False, True),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("seed", range(4))
def test_loss_is_the_formula(variant: str, seed: int) -> None:
    term, level, lost, hard = VARIANTS[variant]
    x, y, share = random_case(seed)
    both = sides(share, term, lost, hard)
    cosine = F.normalize(torch.tensor(x)) @ F.normalize(torch.tensor(y)).T
    logit = torch.tensor([1.5], dtype=torch.float64) if lost else None
    loss, _ = alignment_loss(cosine, both, term, level, logit)
    assert float(loss) == pytest.approx(by_loops(x, y, both, term, level, 1.5 if lost else None), rel=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_by_finite_differences(variant: str) -> None:
    term, level, lost, hard = VARIANTS[variant]
    x, y, share = random_case(7)
    both = sides(share, term, lost, hard)

    def loss(features: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
        cosine = F.normalize(features) @ F.normalize(torch.tensor(y)).T
        return alignment_loss(cosine, both, term, level, logit if lost else None)[0]

    logit = torch.tensor([0.7], dtype=torch.float64, requires_grad=lost)
    assert torch.autograd.gradcheck(loss, (torch.tensor(x, requires_grad=True), logit))


def test_entropy_is_the_least_that_the_loss_can_be() -> None:
    _, _, share = random_case(3)
    # At the cosine whose softmax is the target both are equal; one direction, as both cannot hold at once.
    cosine = torch.tensor(share) / TERM.tau1 * TERM.tau2
    loss, entropy = alignment_loss(cosine, sides(share, TERM), TERM, "region")
    assert float(loss) == pytest.approx(float(entropy), rel=1e-9)


def test_a_pair_without_overlap_costs_nothing() -> None:
    nothing = sides(np.zeros((4, 4), np.float32), TERM)
    loss, entropy = alignment_loss(torch.randn(4, 4, requires_grad=True), nothing, TERM, "token")
    loss.backward()
    assert loss.item() == entropy.item() == 0.0


@pytest.mark.parametrize("rows, columns, n", [(6, 8, 4), (3, 4, 4), (5, 7, 4), (12, 17, 3), (4, 4, 1)])
def test_pooling_is_a_mean_over_area(rows: int, columns: int, n: int) -> None:
    pooled = area_pooling(rows, columns, n, torch.device("cpu"))
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
            target = symmetric(level.x_to_y, level.y_to_x)
            for side, share in zip(level.sides, (target, target.T), strict=True):
                assert np.array_equal(side.share, share)
                assert np.array_equal(side.seen, share.sum(1) >= 0.02)
            assert level.x_to_y.overlap > 0.3
    rows = sum(view["region"].rows for view in batch.views)
    assert batch.counts == {"region": rows, "kl": rows, "cosine": 3}


def test_features_stand_alone(make_recipe: MakeRecipe, each_tiny: VisionLanguageModel) -> None:
    recipe = make_recipe({"patch_alignment": {"steps": 1, "learning_rate": 1e-3}})
    stage = PatchAlignment("a", recipe.stages["patch_alignment"], recipe, each_tiny.processor)
    shards = Shards(recipe.data.shards, "train", stage.small)
    both = stage.batch(shards, stage.items(shards)[:2], 0)
    first = stage.batch(shards, stage.items(shards)[:1], 0)
    with torch.no_grad():
        together, alone = (stage.features(b, stage.tokens(each_tiny, b))[0] for b in (both, first))
    for one, other in zip(together, alone, strict=True):
        for level in ("region", "token"):
            assert torch.allclose(one[level], other[level], atol=1e-5)
            assert torch.allclose(one[level].norm(dim=1), torch.ones(len(one[level])), atol=1e-5)


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


def stage_with(make_recipe: MakeRecipe, model: VisionLanguageModel, **settings: object) -> PatchAlignment:
    recipe = make_recipe({"patch_alignment": {"steps": 1, "learning_rate": 1e-3, **settings}})
    stage = PatchAlignment("patch_alignment", recipe.stages["patch_alignment"], recipe, model.processor)
    attach_heads(model, recipe.stages, recipe.seed)
    return stage


def test_shuffled_targets_keep_their_columns(make_recipe: MakeRecipe, tiny: VisionLanguageModel) -> None:
    shares = []
    for control in (None, "shuffled"):
        stage = stage_with(make_recipe, tiny, control=control)
        shards = Shards(stage.recipe.data.shards, "train", stage.small)
        shares.append(stage.batch(shards, stage.items(shards)[:1], 0).views[0]["region"].sides[0].share)
    assert not np.array_equal(*shares)
    assert np.allclose(*(np.sort(s.sum(0)) for s in shares), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_is_in_raster_order_and_trains_what_is_below_it(family: str, make_recipe: MakeRecipe) -> None:
    """Qwen2.5-VL's tower works in windows; here of two by two tokens, so that the order within differs."""
    recipe = make_recipe({"patch_alignment": {"steps": 1, "learning_rate": 1e-3}}, model=model_of(family))
    model = load(recipe.model, ["text"], seed=0)
    tower, processor = model.model.model.visual, model.processor
    if family == "qwen2_5_vl":
        tower.window_size = 2 * processor.token_px
    last = len(tower.blocks) - 1
    grids = torch.tensor([[1, 6, 8], [1, 4, 4]])
    pixels = torch.randint(0, 256, (64, 3 * 2 * processor.images.patch_size**2), dtype=torch.uint8)
    merged = torch.cat(model.image_features(pixels, grids)).detach()
    # Where the merger is a mean over its patches too, it puts out what the last layer is.
    with watched(tower.merger) as seen:
        tokens = torch.cat(block_features(model, pixels, grids, last))
    in_tower_order = seen[0].detach()
    order = [int((in_tower_order - one).norm(dim=1).argmin()) for one in merged]
    with watched(tower.blocks[last]) as seen:
        model.image_features(pixels, grids)
    assert torch.allclose(tokens, seen[0].unflatten(0, (-1, 4)).mean(1)[order], atol=1e-5)
    assert (order != sorted(order)) == (family == "qwen2_5_vl")
    tower.zero_grad()
    torch.cat(block_features(model, pixels, grids, 0)).square().sum().backward()
    reached = {name.split(".")[1] for name, p in tower.named_parameters() if p.grad is not None and "blocks." in name}
    assert reached == {"0"}


def test_a_layer_that_is_not_there_is_named(make_recipe: MakeRecipe, tiny: VisionLanguageModel) -> None:
    stage = stage_with(make_recipe, tiny, layer=7)
    shards = Shards(stage.recipe.data.shards, "train", stage.small)
    with pytest.raises(TrainingError, match="layer is 7, but the vision tower has 2 blocks"):
        stage.losses(tiny, stage.batch(shards, stage.items(shards)[:1], 0))


VARIANT_SETTINGS = [
    {"token_weight": 1.0, "token_loss": "info_nce"},
    {"unmatched": True, "token_weight": 1.0},
    {"projection": 8, "layer": 1},
    {"hard_negatives": 3, "token_weight": 1.0, "region_weight": 0.0},
]


@pytest.mark.parametrize("settings", VARIANT_SETTINGS, ids=lambda s: "-".join(s))
def test_variants_can_be_trained(settings: dict[str, object], make_recipe: MakeRecipe) -> None:
    """Every head gets a gradient, a few steps lower the loss, and evaluation prints it."""
    recipe = make_recipe({"patch_alignment": {"steps": 1, "learning_rate": 1e-3}})
    model = load(recipe.model, ["text"], seed=0)
    stage = stage_with(make_recipe, model, **settings)
    shards = Shards(stage.recipe.data.shards, "train", stage.small)
    batch = stage.batch(shards, stage.items(shards)[:3], 0)
    model.train_only(stage.trains)
    optimiser = torch.optim.Adam([p for p in model.model.parameters() if p.requires_grad], 1e-3)
    losses = []
    for _ in range(4):
        sums = stage.losses(model, batch)
        loss = sum(sums[level] / batch.counts[level] for level in stage.weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    heads = stage.heads_of(model)
    assert (heads is not None) == bool({"unmatched", "projection"} & settings.keys())
    assert all(p.grad is not None for p in (heads.parameters() if heads is not None else ()))
    figures = stage.evaluate(model, iter([Loaded(Ticket(0, 0, (0, 1, 2)), batch)]))
    assert set(stage.weights) <= figures.keys() and "recall@1 region" in figures


def test_every_pair_of_a_row_of_many_images(make_recipe: MakeRecipe, tiny: VisionLanguageModel, tmp_path: Path) -> None:
    rows.write(tmp_path / "four", "train", [rows.row(0, images=4)])
    stage = stage_with(make_recipe, tiny)
    shards = Shards([str(tmp_path / "four")], "train", stage.small)
    items = stage.items(shards)
    assert len(items) == 6
    batch = stage.batch(shards, items, 0)
    assert len(batch.views) == 6 and len(batch.grids) == 12
