"""What is read, what is learnt, and that the mask lies exactly between."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hatch_data.errors import SettingsError, ShardError
from hatch_train.data import Shards
from hatch_train.model import VisionLanguageModel, load
from hatch_train.optimisation import backward
from hatch_train.stages import attach_heads
from hatch_train.stages.alignment import alignment_sums, levels, unit
from hatch_train.stages.supervised import Chats, Supervised, prompts
from tests.train import rows
from tests.train.conftest import MakeRecipe


def stage_of(make_recipe: MakeRecipe, tiny: VisionLanguageModel, **settings: object) -> Supervised:
    recipe = make_recipe({"supervised": {"steps": 1, "learning_rate": 1e-3, **settings}})
    return Supervised("s", recipe.stages["supervised"], recipe, tiny.processor)


def batch_of(stage: Supervised, folder: Path, count: int = 3) -> Chats:
    shards = Shards([str(folder)], "train", stage.small)
    return stage.batch(shards, stage.items(shards)[:count], 0)


def split_texts(stage: Supervised, batch: Chats) -> list[tuple[str, str]]:
    """(read, learnt) text of each sample of a pack."""
    texts = []
    pack = batch.pack
    for ids, mask in zip(pack.ids[0].split(pack.lengths), pack.supervised[0].split(pack.lengths), strict=True):
        texts.append(tuple(stage.processor.tokenizer.decode(part) for part in (ids[~mask], ids[mask])))
    return texts


def test_the_mask_covers_exactly_the_reply(make_recipe: MakeRecipe, tiny: VisionLanguageModel, shards: Path) -> None:
    stage = stage_of(make_recipe, tiny)
    batch = batch_of(stage, shards)
    targets = [rows.row(int(name.removeprefix("row-"))).messages[-1]["content"] for name in batch.ids]
    for (read, learnt), target in zip(split_texts(stage, batch), targets, strict=True):
        assert learnt == target + "<|im_end|>"
        assert read.endswith("<|im_start|>assistant\n") and target not in read
        assert read.count("<|image_pad|>") == 2 * 3 * 4
    assert batch.counts["text"] == int(batch.pack.supervised.sum())


def test_actions_stand_before_the_answer_or_not_at_all(
    make_recipe: MakeRecipe, tiny: VisionLanguageModel, shards: Path
) -> None:
    expected = rows.row(0)
    stage = stage_of(make_recipe, tiny)
    assert split_texts(stage, batch_of(stage, shards, 1))[0][1] == f"{expected.messages[-1]['content']}<|im_end|>"
    stage = stage_of(make_recipe, tiny, with_actions=False)
    batch = batch_of(stage, shards, 1)
    read, learnt = split_texts(stage, batch)[0]
    assert learnt == f"<answer>{expected.answer}</answer><|im_end|>" and "<action>" not in read


def test_lengths_are_known_before_anything_is_decoded(
    make_recipe: MakeRecipe, tiny: VisionLanguageModel, shards: Path
) -> None:
    stage = stage_of(make_recipe, tiny)
    known = Shards([str(shards)], "train", stage.small)
    for item in stage.items(known)[:5]:
        pack = stage.batch(known, [item], 0).pack
        assert (item.tokens, item.patches) == (pack.ids.numel(), len(pack.pixels))


def test_three_images_give_three_pairs(make_recipe: MakeRecipe, tiny: VisionLanguageModel, tmp_path: Path) -> None:
    rows.write(tmp_path / "three", "train", [rows.row(0, images=3)])
    stage = stage_of(make_recipe, tiny)
    batch = batch_of(stage, tmp_path / "three")
    assert split_texts(stage, batch)[0][1].count('"from"') == 3
    assert batch.pack.images == [3]


def test_loss_is_the_mean_over_supervised_tokens(
    make_recipe: MakeRecipe, tiny: VisionLanguageModel, shards: Path
) -> None:
    """Against plain transformers, one sample at a time, with labels."""
    stage = stage_of(make_recipe, tiny)
    batch = batch_of(stage, shards, 1)
    pack = batch.pack
    with torch.no_grad():
        plain = tiny.model(
            input_ids=pack.ids,
            attention_mask=torch.ones_like(pack.ids),
            mm_token_type_ids=pack.types,
            pixel_values=tiny.normalised(pack.pixels),
            image_grid_thw=pack.grids,
            labels=torch.where(pack.supervised, pack.ids, -100),
        ).loss
        ours = stage.losses(tiny, batch)["text"] / batch.counts["text"]
    assert float(ours) == pytest.approx(float(plain), rel=1e-5)


def test_replies_do_not_depend_on_what_is_beside_them(
    make_recipe: MakeRecipe, tiny: VisionLanguageModel, shards: Path
) -> None:
    stage = stage_of(make_recipe, tiny, max_new_tokens=12)
    together = stage.replies(tiny, prompts(batch_of(stage, shards, 3).pack))
    known = Shards([str(shards)], "train", stage.small)
    alone = [stage.replies(tiny, prompts(stage.batch(known, [item], 0).pack))[0] for item in stage.items(known)[:3]]
    assert together == alone


@pytest.mark.parametrize(
    "spoil, message",
    [
        (rows.without_answer, "row row-0000: its answer is empty: no token to supervise"),
        (
            lambda one: replace(one, messages=[{"role": "user", "content": "<image>?"}, one.messages[1]]),
            "1 image marks",
        ),
        (lambda one: replace(one, messages=one.messages[:1]), "its messages hold no question and reply"),
        (lambda one: replace(one, messages=[]), "its messages hold no question and reply"),
    ],
)
def test_unusable_rows_are_named(
    spoil, message: str, make_recipe: MakeRecipe, tiny: VisionLanguageModel, tmp_path: Path
) -> None:
    rows.write(tmp_path / "bad", "train", [spoil(rows.row(0))])
    with pytest.raises(ShardError, match=message):
        batch_of(stage_of(make_recipe, tiny), tmp_path / "bad")


def test_a_share_of_the_rows_is_drawn_by_the_seed(
    make_recipe: MakeRecipe, tiny: VisionLanguageModel, shards: Path
) -> None:
    """Of what is trained on; held-out rows stay as they are."""
    known = {split: Shards([str(shards)], split, Supervised.small) for split in ("train", "validation")}
    stage = stage_of(make_recipe, tiny, share=0.25)
    drawn = [item.row for item in stage.items(known["train"])]
    assert len(drawn) == 6 and drawn == sorted(set(drawn))
    assert drawn == [item.row for item in stage_of(make_recipe, tiny, share=0.25).items(known["train"])]
    stage.recipe = stage.recipe.model_copy(update={"seed": 1})
    assert drawn != [item.row for item in stage.items(known["train"])]
    assert len(stage.items(known["validation"])) == 6


def test_alignment_beside_the_answers(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    """All pairs of a row of three images and of one of two; the terms are those of the alignment stage."""
    rows.write(tmp_path / "mixed", "train", [rows.row(0, images=3), rows.row(1)])
    term = {"token_weight": 0.5, "unmatched": True, "projection": 8}
    recipe = make_recipe(
        {"supervised": {"steps": 1, "learning_rate": 1e-3, "train_vision": True, "alignment": term}},
        data={"shards": [str(tmp_path / "mixed")], "workers": 0},
    )
    model = load(recipe.model, ["text"], seed=0)
    attach_heads(model, recipe.stages, recipe.seed)
    stage = Supervised("supervised", recipe.stages["supervised"], recipe, model.processor)
    batch = batch_of(stage, tmp_path / "mixed", 2)
    assert list(batch.views) == [(0, 1), (0, 2), (1, 2), (3, 4)] and batch.counts["cosine"] == 4
    assert stage.weights == {"text": 1.0, "region": 0.5, "token": 0.25}
    model.train_only(stage.trains)
    sums = stage.losses(model, batch)
    assert sums.keys() == batch.counts.keys()
    tokens = [t.float() for t in model.image_features(batch.pack.pixels, batch.pack.grids)]
    heads = stage.heads_of(model)
    images = levels(heads.project(tokens), [(3, 4)] * 5, 4, unit)
    pairs = [(images[i], images[j]) for i, j in batch.views]
    expected = alignment_sums(pairs, list(batch.views.values()), recipe.stages["supervised"].alignment, heads)
    for name, value in expected.items():
        assert sums[name].item() == pytest.approx(value.item(), rel=1e-5)
    sums["region"].backward()
    assert all(
        p.grad is not None for p in (heads["projection"][0].weight, model.model.model.visual.blocks[0].norm1.weight)
    )


def test_alignment_asks_for_a_tower_that_is_trained(make_recipe: MakeRecipe, tiny: VisionLanguageModel) -> None:
    with pytest.raises(SettingsError, match="alignment trains the vision tower, so train_vision must be true"):
        stage_of(make_recipe, tiny, alignment={})


def test_packs_without_pairs_have_gradients_of_all_that_is_trained(
    make_recipe: MakeRecipe, tiny: VisionLanguageModel, shards: Path
) -> None:
    """Where another process's packs have pairs, it would wait for these gradients."""
    term = {"regions": 2, "token_weight": 0.5, "unmatched": True, "projection": 8}
    recipe = make_recipe({"supervised": {"steps": 1, "learning_rate": 1e-3, "train_vision": True, "alignment": term}})
    model = VisionLanguageModel(copy.deepcopy(tiny.model), tiny.processor)
    attach_heads(model, recipe.stages, 0)
    stage = Supervised("supervised", recipe.stages["supervised"], recipe, tiny.processor)
    model.train_only(stage.trains)
    batch = batch_of(stage, shards)
    with_pairs = backward(stage, model, [batch])
    alone = replace(batch, views={}, counts=batch.counts | dict.fromkeys(("region", "token", "kl", "cosine"), 0))
    model.model.zero_grad()
    without = backward(stage, model, [alone])
    assert with_pairs.keys() == without.keys()
    assert without["region"] == without["token"] == 0 and without["loss"] == pytest.approx(without["text"])
    assert all(p.grad is not None for p in model.model.parameters() if p.requires_grad)
