"""PaStA: patches of two views that show the same surface get similar features. Trains the vision encoder alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from hatch_train import metrics
from hatch_train.data import Item, Loaded, Shards
from hatch_train.errors import TrainingError
from hatch_train.images import IMAGE_COLUMNS, shown
from hatch_train.model import VisionLanguageModel
from hatch_train.packing import Caps
from hatch_train.settings import Positive, StageSettings
from hatch_train.stages.alignment import (
    LEVELS,
    MATCH_COLUMNS,
    PAIR_COLUMNS,
    AlignmentTerm,
    Heads,
    View,
    alignment_counts,
    alignment_sums,
    levels,
    unit,
    views,
    watched,
)
from hatch_train.stages.base import Batch, Stage

PairFeatures = tuple[dict[str, Tensor], dict[str, Tensor]]


class AlignmentSettings(StageSettings, AlignmentTerm):
    """`pairs` image pairs a pack, at most `patches` vision patches. `layer` is the block of the vision tower, from 0,
    whose output is aligned, the mean over the patches that make one token; without it that of the merger."""

    kind: Literal["patch_alignment"] = "patch_alignment"
    pairs: Positive = 8
    patches: Positive = 65536
    layer: Annotated[int, Field(ge=0)] | None = None


@dataclass(frozen=True)
class Pairs(Batch):
    """Image pairs, X and Y in turn: pixels, grids, and each pair's view at the levels `region` and `token`."""

    pixels: Tensor
    grids: Tensor
    views: list[dict[str, View]]


class PatchAlignment(Stage[AlignmentSettings, Pairs]):
    Settings = AlignmentSettings
    small = ("scene", "frames", "image_sizes", *PAIR_COLUMNS)

    def trains(self, part: str) -> bool:
        # Not `deepstack`: the loss does not reach those mergers.
        return part in ("vision", "head")

    @classmethod
    def heads(cls, settings: AlignmentSettings, vision: Any) -> nn.ModuleDict:
        return Heads(settings, vision.out_hidden_size if settings.layer is None else vision.hidden_size)

    @property
    def caps(self) -> Caps:
        return Caps(tokens=1 << 40, patches=self.settings.patches, samples=self.settings.pairs)

    @property
    def weights(self) -> dict[str, float]:
        return self.settings.weights

    def items(self, shards: Shards) -> list[Item]:
        """Every pair of frames once, however many questions are asked about it."""
        found: dict[tuple[str, frozenset[str]], Item] = {}
        for index, row in enumerate(shards.rows):
            ways = {(match["source"], match["target"]) for match in row["matches"]}
            for number, match in enumerate(row["matches"]):
                source, target = match["source"], match["target"]
                if source < target and (target, source) in ways:
                    tokens = sum(self.images.tokens(row["image_sizes"][i]) for i in (source, target))
                    frames = frozenset((row["frames"][source], row["frames"][target]))
                    item = Item(index, tokens, tokens * self.processor.merge**2, number)
                    found.setdefault((row["scene"], frames), item)
        return list(found.values())

    def batch(self, shards: Shards, items: list[Item], epoch: int) -> Pairs:
        """Pairs of images, each in colours of its own, and which of their patches match."""
        columns = (*IMAGE_COLUMNS, "image_sizes", *MATCH_COLUMNS)
        ids, pixels, grids, pairs = [], [], [], []
        for item in items:
            row, rng = shards.read(item.row, columns), self.generator(item, epoch)
            pair = (row["matches"][item.match]["source"], row["matches"][item.match]["target"])
            sizes = [tuple(row["image_sizes"][i]) for i in pair]
            images = shown(row)
            patches, grid = self.images.read([images[i] for i in pair], sizes, rng, row["id"])
            ids.append(row["id"])
            pixels.append(patches)
            grids.append(grid)
            pairs.append(views(row, pair, self.images, self.settings, rng))
        counts = alignment_counts(pairs, self.settings)
        joined = torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(np.concatenate(grids))
        return Pairs(ids, counts, sum(item.tokens for item in items), *joined, pairs)

    def tokens(self, model: VisionLanguageModel, batch: Pairs) -> list[Tensor]:
        """For each image (tokens, width) fp32 features, of the merger or of the layer."""
        if self.settings.layer is None:
            found = model.image_features(batch.pixels, batch.grids)
        else:
            found = block_features(model, batch.pixels, batch.grids, self.settings.layer)
        return [feature.float() for feature in found]

    def features(self, batch: Pairs, tokens: list[Tensor]) -> list[PairFeatures]:
        """Unit vectors of X and Y of each pair, from those of the tokens of every image."""
        return _paired(levels(tokens, self._merged(batch), self.settings.regions, unit))

    def _merged(self, batch: Pairs) -> list[tuple[int, int]]:
        return (batch.grids[:, 1:] // self.processor.merge).tolist()

    def losses(self, model: VisionLanguageModel, batch: Pairs) -> dict[str, Tensor]:
        return self._losses(model, batch, self.tokens(model, batch))

    def _losses(self, model: VisionLanguageModel, batch: Pairs, tokens: list[Tensor]) -> dict[str, Tensor]:
        heads = self.heads_of(model)
        projected = heads.project(tokens) if heads is not None else tokens
        return alignment_sums(self.features(batch, projected), batch.views, self.settings, heads)

    @torch.no_grad()
    def evaluate(self, model: VisionLanguageModel, held_out: Iterator[Loaded[Pairs]]) -> dict[str, Any]:
        """Loss and matching; matching by the tower's own features, as a projection does not stay."""
        matching = [metrics.MatchFigures(level) for level in LEVELS]
        sums: dict[str, float] = defaultdict(float)
        counts: dict[str, int] = Counter()
        pairs = 0
        for loaded in held_out:
            batch = loaded.batch
            tokens = self.tokens(model, batch)
            counts.update(batch.counts)
            pairs += len(batch.views)
            for name, value in self._losses(model, batch, tokens).items():
                sums[name] += float(value)
            features, colours = self.features(batch, tokens), self._colours(batch)
            for own, colour, view in zip(features, colours, batch.views, strict=True):
                for at in matching:
                    x, y = ((side[0][at.level], side[1][at.level]) for side in (own, colour))
                    at.add(view[at.level].x_to_y, view[at.level].y_to_x, x, y)
        if not pairs:
            return {}
        figures: dict[str, Any] = {"pairs": pairs}
        figures |= {name: total / max(counts[name], 1) for name, total in sums.items()}
        shares = {
            name: {key: share for at in matching for key, share in at.shares(name).items()}
            for name in ("features", "same position", "mean colour")
        }
        return figures | shares.pop("features") | {"baselines": shares}

    def _colours(self, batch: Pairs) -> list[PairFeatures]:
        """Mean colour of each region and token, as the model sees it: what matching by colour alone has to go by."""
        merge = self.processor.merge
        per_token = batch.pixels.view(-1, merge**2, 3, batch.pixels.shape[1] // 3).float().mean(dim=(1, 3))
        images = per_token.split((batch.grids.prod(dim=1) // merge**2).tolist())
        return _paired(levels(images, self._merged(batch), self.settings.regions, lambda colours: colours))


def _paired(images: list[dict[str, Tensor]]) -> list[PairFeatures]:
    return list(zip(images[::2], images[1::2], strict=True))


def block_features(model: VisionLanguageModel, pixels: Tensor, grids: Tensor, layer: int) -> tuple[Tensor, ...]:
    """For each image (tokens, width), in raster order: what a block of the tower puts out, the mean over the patches
    that the merger would join into a token."""
    tower = model.model.model.visual
    if layer >= len(tower.blocks):
        raise TrainingError(f"layer is {layer}, but the vision tower has {len(tower.blocks)} blocks, from 0")
    with watched(tower.blocks[layer]) as seen:
        model.image_features(pixels, grids)
    merge = model.processor.merge
    tokens = seen[0].unflatten(0, (-1, merge**2)).mean(1)
    if hasattr(tower, "window_size"):
        from transformers.vision_utils import get_vision_window_index

        order, _ = get_vision_window_index(grids, merge, tower.window_size, tower.patch_size)
        tokens = tokens[torch.argsort(order).to(tokens.device)]
    return tokens.split((grids.prod(dim=1) // merge**2).tolist())
