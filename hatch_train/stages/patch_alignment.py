"""PaStA: patches of two views that show the same surface get similar features. Trains the vision encoder alone.

Each image is cut into n x n regions; `S = (M[X->Y] + M[Y->X]^T) / 2` holds the share of pixels that two regions have in
common. The similarity of region features, `q = softmax(cos / tau2)`, is drawn to `p = softmax(S / tau1)` by
cross-entropy, in both directions (arXiv:2602.08735). Beside it stands a term between language-model tokens, whose
target is each row of S divided by its sum: at that many columns a softmax of shares is close to uniform.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from hatch_data.errors import ShardError
from hatch_data.patches import FlowField, Grid, PatchMap, rebin, symmetric
from hatch_train import metrics
from hatch_train.data import Item, Loaded, Shards
from hatch_train.model import VisionLanguageModel
from hatch_train.packing import Caps
from hatch_train.recipe import Positive, StageSettings
from hatch_train.stages.base import Batch, Stage

_MATCH = "matches.list.element."


class AlignmentSettings(StageSettings):
    """`pairs` image pairs a pack, at most `patches` vision patches. Rows of S with a sum below `min_row` see nothing of
    the other image and are left out. `shuffled` permutes the correspondences: a control that must learn nothing."""

    kind: Literal["patch_alignment"] = "patch_alignment"
    pairs: Positive = 8
    patches: Positive = 65536
    regions: Positive = 4
    tau1: Annotated[float, Field(gt=0)] = 0.1
    tau2: Annotated[float, Field(gt=0)] = 0.07
    min_row: Annotated[float, Field(ge=0)] = 0.02
    region_weight: Annotated[float, Field(ge=0)] = 1.0
    token_weight: Annotated[float, Field(ge=0)] = 0.0
    shuffled: bool = False

    @model_validator(mode="after")
    def _learns_something(self) -> Self:
        if self.region_weight == self.token_weight == 0:
            raise ValueError("region_weight and token_weight are both 0")
        return self


@dataclass(frozen=True)
class View:
    """A pair of images at one grid: the maps both ways and S."""

    x_to_y: PatchMap
    y_to_x: PatchMap
    target: NDArray[np.float32]


@dataclass(frozen=True)
class Pairs(Batch):
    """Image pairs, X and Y in turn: pixels, grids, and each pair's view at the levels `region` and `token`."""

    pixels: Tensor
    grids: Tensor
    views: list[dict[str, View]]


class PatchAlignment(Stage[AlignmentSettings, Pairs]):
    Settings = AlignmentSettings
    small = ("scene", "frames", "image_sizes", _MATCH + "source", _MATCH + "target")

    def trains(self, part: str) -> bool:
        # Not `deepstack`: the loss does not reach those mergers.
        return part == "vision"

    @property
    def caps(self) -> Caps:
        return Caps(tokens=1 << 40, patches=self.settings.patches, samples=self.settings.pairs)

    @property
    def weights(self) -> dict[str, float]:
        weights = {"region": self.settings.region_weight, "token": self.settings.token_weight}
        return {level: weight for level, weight in weights.items() if weight > 0}

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
        columns = ("id", "images", "image_sizes", *(_MATCH + c for c in ("source", "target", "flow_size", "flow")))
        ids, pixels, grids, views = [], [], [], []
        counts = dict.fromkeys(("region", "kl", "token", "cosine"), 0)
        for item in items:
            row, rng = shards.read(item.row, columns), self.generator(item, epoch)
            match = row["matches"][item.match]
            pair = (match["source"], match["target"])
            back = next(m for m in row["matches"] if (m["target"], m["source"]) == pair)
            sizes = [tuple(row["image_sizes"][i]) for i in pair]
            data = [row["images"][i]["bytes"] for i in pair]
            patches, grid = self.images.read(data, sizes, rng, row["id"])
            flows = _flow(match, row["id"]), _flow(back, row["id"])
            n = self.settings.regions
            levels = {"region": ((n, n), (n, n)), "token": (self.images.grid(sizes[0]), self.images.grid(sizes[1]))}
            view = {level: self._view(*flows, *pair_of_grids, rng) for level, pair_of_grids in levels.items()}
            for level in view:
                counts[level] += sum(int(seen.sum()) for seen in seen_rows(view[level].target, self.settings.min_row))
            ids.append(row["id"])
            pixels.append(patches)
            grids.append(grid)
            views.append(view)
        counts["kl"], counts["cosine"] = counts["region"], len(items)
        tokens = sum(item.tokens for item in items)
        joined = torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(np.concatenate(grids))
        return Pairs(ids, counts, tokens, *joined, views)

    def _view(self, forth: FlowField, back: FlowField, x_grid: Grid, y_grid: Grid, rng: np.random.Generator) -> View:
        x_to_y, y_to_x = rebin(forth, x_grid, y_grid), rebin(back, y_grid, x_grid)
        target = symmetric(x_to_y, y_to_x)
        if self.settings.shuffled:
            target = target[:, rng.permutation(target.shape[1])]
        return View(x_to_y, y_to_x, target)

    def features(self, model: VisionLanguageModel, batch: Pairs) -> list[dict[str, tuple[Tensor, Tensor]]]:
        """Unit vectors, fp32, of X and Y of each pair: (regions, width) and (tokens, width)."""
        tokens = [feature.float() for feature in model.image_features(batch.pixels, batch.grids)]
        return self._levels(tokens, batch, lambda patches: F.normalize(patches, dim=-1))

    def _levels(
        self, tokens: Sequence[Tensor], batch: Pairs, finish: Callable[[Tensor], Tensor]
    ) -> list[dict[str, tuple[Tensor, Tensor]]]:
        """What every token of every image has -> what the tokens, and the regions, of each pair have."""
        merged = (batch.grids[:, 1:] // self.processor.merge).tolist()
        n = self.settings.regions
        regions = [area_pooling(*grid, n).to(t.device) @ t for grid, t in zip(merged, tokens, strict=True)]
        levels = {"region": list(map(finish, regions)), "token": list(map(finish, tokens))}
        return [{level: (own[i], own[i + 1]) for level, own in levels.items()} for i in range(0, len(tokens), 2)]

    def losses(self, model: VisionLanguageModel, batch: Pairs) -> dict[str, Tensor]:
        return self._losses(self.features(model, batch), batch)

    def _losses(self, features: list[dict[str, tuple[Tensor, Tensor]]], batch: Pairs) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        for pair, view in zip(features, batch.views, strict=True):
            for level in self.weights:
                x, y = pair[level]
                cosine, target = x @ y.T, torch.from_numpy(view[level].target).to(x.device)
                loss, entropy = alignment_loss(cosine, target, self.settings, level)
                terms = {level: loss}
                if level == "region":
                    terms |= {"kl": (loss - entropy).detach(), "cosine": cosine.detach().mean()}
                for name, value in terms.items():
                    sums[name] = sums[name] + value if name in sums else value
        return sums

    @torch.no_grad()
    def evaluate(self, model: VisionLanguageModel, held_out: Iterator[Loaded[Pairs]]) -> dict[str, Any]:
        matching = [metrics.MatchFigures(level) for level in ("region", "token")]
        sums: dict[str, float] = defaultdict(float)
        counts: dict[str, int] = Counter()
        for loaded in held_out:
            batch, features = loaded.batch, self.features(model, loaded.batch)
            counts.update(batch.counts)
            for name, value in self._losses(features, batch).items():
                sums[name] += float(value)
            for pair, colour, view in zip(features, self._colours(batch), batch.views, strict=True):
                for at in matching:
                    at.add(view[at.level].x_to_y, view[at.level].y_to_x, pair[at.level], colour[at.level])
        if not counts:
            return {}
        figures: dict[str, Any] = {"pairs": counts["cosine"]}
        figures |= {name: total / max(counts[name], 1) for name, total in sums.items()}
        shares = {
            name: {key: share for at in matching for key, share in at.shares(name).items()}
            for name in ("features", "same position", "mean colour")
        }
        return figures | shares.pop("features") | {"baselines": shares}

    def _colours(self, batch: Pairs) -> list[dict[str, tuple[Tensor, Tensor]]]:
        """Mean colour of each region and token, as the model sees it: what matching by colour alone has to go by."""
        merge = self.processor.merge
        per_token = batch.pixels.view(-1, merge**2, 3, batch.pixels.shape[1] // 3).float().mean(dim=(1, 3))
        images = per_token.split((batch.grids.prod(dim=1) // merge**2).tolist())
        return self._levels(images, batch, lambda colours: colours)


def _flow(match: dict[str, Any], row: str) -> FlowField:
    try:
        return FlowField.from_bytes(match["flow"], (match["flow_size"][0], match["flow_size"][1]))
    except ValueError as error:
        raise ShardError(f"row {row}: its flow field is damaged ({error}); rebuild its shards") from None


def seen_rows(target: Any, min_row: float) -> tuple[Any, Any]:
    """Which rows, and which columns, of S see enough of the other image to be trained."""
    return target.sum(1) >= min_row, target.sum(0) >= min_row


def alignment_loss(cosine: Tensor, target: Tensor, settings: AlignmentSettings, level: str) -> tuple[Tensor, Tensor]:
    """Cross-entropy and the target's entropy, both summed over the seen rows of X and the seen columns (rows of Y).

    `cosine` and `target`, S, are (patches of X, patches of Y), fp32.
    """
    loss = entropy = cosine.new_zeros(())
    for similarity, share in ((cosine, target), (cosine.T, target.T)):
        share, similarity = (a[share.sum(1) >= settings.min_row] for a in (share, similarity))
        p = F.softmax(share / settings.tau1, dim=1) if level == "region" else F.normalize(share, p=1, dim=1)
        loss = loss - (p * F.log_softmax(similarity / settings.tau2, dim=1)).sum()
        entropy = entropy - torch.xlogy(p, p).sum()
    return loss, entropy


@lru_cache(maxsize=256)
def area_pooling(rows: int, columns: int, n: int) -> Tensor:
    """(n * n, rows * columns): mean over each of n x n regions of a grid of cells, a cell counting by shared area."""
    return torch.kron(_overlap(rows, n), _overlap(columns, n))


def _overlap(cells: int, n: int) -> Tensor:
    """(n, cells) share of each of n equal stretches that each of `cells` equal cells covers."""
    stretch, cell = torch.arange(n)[:, None] / n, torch.arange(cells)[None] / cells
    shared = torch.minimum(stretch + 1 / n, cell + 1 / cells) - torch.maximum(stretch, cell)
    return shared.clamp(min=0) * n
