"""What a small head can read from a vision tower: which way and how far the camera turned, and which tokens match.

The tower is frozen. Of each pair of views the head sees one thing alone, the match matrix: cosines of all tokens of
one image with all of the other. So it says what the features of a tower are worth for motion, without a language
model, which would have to learn to compare images first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from hatch_data.motion import motion_between
from hatch_data.settings import Settings
from hatch_train.data import Item, Shards, held_out
from hatch_train.errors import TrainingError
from hatch_train.metrics import MatchFigures
from hatch_train.model import VisionLanguageModel
from hatch_train.settings import Positive, RunSettings, Share
from hatch_train.stages.alignment import LEVELS, View
from hatch_train.stages.patch_alignment import AlignmentSettings, PatchAlignment

#: Pairs whose features are computed together.
CHUNK = 16
#: Held-out evaluations of a head while it learns.
CURVE_POINTS = 10


class ReadoutSettings(Settings):
    """A head of one hidden layer of `width` learns, for `steps` of `batch` pairs, the yaw between two views in `bins`
    of `bin_deg`, the outermost open, from `pairs` pairs of training scenes; it is judged on `held_out_pairs` of
    `split`. `tau` is the temperature of the match matrix."""

    pairs: Positive = 4000
    held_out_pairs: Positive = 800
    split: str = "test"
    bins: Annotated[int, Field(ge=3)] = 13
    bin_deg: Annotated[float, Field(gt=0)] = 10.0
    tau: Annotated[float, Field(gt=0)] = 0.07
    width: Positive = 128
    dropout: Annotated[Share, Field(lt=1)] = 0.3
    steps: Positive = 800
    batch: Positive = 64
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05

    def bin_of(self, yaw_deg: NDArray[np.float64]) -> NDArray[np.int64]:
        """The bin of each yaw; the middle one is around 0, turns to the left follow it."""
        half = self.bins // 2
        return np.clip(np.round(yaw_deg / self.bin_deg), -half, half).astype(np.int64) + half

    def said(self, number: int) -> str:
        """A bin in words."""
        angle = (number - self.bins // 2) * self.bin_deg
        return f"{abs(angle):g} deg {'left' if angle > 0 else 'right'}" if angle else "ahead"


@dataclass
class Pairs:
    """Pairs of one split in their order: row id, scene and yaw of each; for each tower its match matrices, (pairs,
    tokens of X, tokens of Y) float16 cosines, and for each pair the shares of its patches that match."""

    ids: list[str] = field(default_factory=list)
    scenes: list[str] = field(default_factory=list)
    yaw_deg: list[float] = field(default_factory=list)
    cosines: dict[str, list[Tensor]] = field(default_factory=dict)
    matching: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def matrices(self, tower: str) -> Tensor:
        return torch.stack(self.cosines[tower])


def read_out(
    towers: Mapping[str, VisionLanguageModel], recipe: RunSettings, settings: ReadoutSettings
) -> dict[str, dict[str, Any]]:
    """For each tower its scores on every held-out pair, what its head said, and the head's learning curve.

    All towers see the same pairs in the same colours, and their heads begin from the same weights.
    """
    train, test = (pairs_of(towers, recipe, settings, split) for split in ("train", settings.split))
    return {tower: _judged(tower, train, test, settings, recipe.seed) for tower in towers}


@torch.no_grad()
def pairs_of(
    towers: Mapping[str, VisionLanguageModel], recipe: RunSettings, settings: ReadoutSettings, split: str
) -> Pairs:
    """The pairs of a split as the towers see them. Raises `TrainingError` for a split without pairs."""
    training = split == "train"
    processor = next(iter(towers.values())).processor
    stage = PatchAlignment("readout", AlignmentSettings(steps=1, learning_rate=1.0), recipe, processor)
    shards = Shards(recipe.data.shards, split, (*stage.small, "world_from_camera", "up"))
    items = held_out(stage.items(shards), settings.pairs if training else settings.held_out_pairs)
    if not items:
        raise TrainingError(f"readout: no pairs of views in split {split} of {', '.join(recipe.data.shards)}")
    found = Pairs(cosines={tower: [] for tower in towers}, matching={tower: [] for tower in towers})
    for start in range(0, len(items), CHUNK):
        chunk = items[start : start + CHUNK]
        _describe(found, shards, chunk)
        batch = stage.batch(shards, chunk, 0)
        for tower, model in towers.items():
            features = stage.features(batch, stage.tokens(model, batch))
            for (x, y), view in zip(features, batch.views, strict=True):
                found.cosines[tower].append((x["token"] @ y["token"].T).half().cpu())
                if not training:
                    found.matching[tower].append(_matching(x, y, view))
    if len({side for cosine in found.cosines[tower] for side in cosine.shape}) > 1:
        raise TrainingError("readout: images have different numbers of tokens; use shards with images of one size")
    return found


def _describe(found: Pairs, shards: Shards, items: list[Item]) -> None:
    for item in items:
        row = shards.rows[item.row]
        match = row["matches"][item.match]
        pose, other = (np.array(row["world_from_camera"][match[side]]).reshape(4, 4) for side in ("source", "target"))
        found.ids.append(f"{row['id']}:{match['source']}-{match['target']}")
        found.scenes.append(row["scene"])
        found.yaw_deg.append(motion_between(pose, other, np.array(row["up"])).yaw_deg)


def _matching(x: dict[str, Tensor], y: dict[str, Tensor], view: dict[str, View]) -> dict[str, float]:
    """Recall@1 of one pair at each level, by the features and by `same position`; none where no patch counts."""
    shares = {}
    for level in LEVELS:
        figures = MatchFigures(level)
        own = x[level].cpu(), y[level].cpu()
        figures.add(view[level].x_to_y, view[level].y_to_x, own, own)
        if figures.counted:
            shares[level] = figures.shares("features")[f"recall@1 {level}"]
            shares[f"{level} by position"] = figures.shares("same position")[f"recall@1 {level}"]
    return shares


class Head(nn.Module):
    """(pairs, X, Y) cosines -> (pairs, bins) logits. Sees each token's matches as a distribution, both ways."""

    def __init__(self, shape: tuple[int, int], settings: ReadoutSettings):
        super().__init__()
        self.tau = settings.tau
        values = 2 * shape[0] * shape[1]
        self.layers = nn.Sequential(
            nn.Linear(values, settings.width),
            nn.GELU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.width, settings.bins),
        )

    def forward(self, cosines: Tensor) -> Tensor:
        logits = cosines.float() / self.tau
        both = torch.stack([logits.softmax(dim=2), logits.softmax(dim=1)], dim=1)
        # Of about unit variance, whatever the number of tokens.
        return self.layers(10 * both.flatten(1))


def _judged(tower: str, train: Pairs, test: Pairs, settings: ReadoutSettings, seed: int) -> dict[str, Any]:
    yaw = np.array(test.yaw_deg)
    truth = settings.bin_of(yaw)
    curve: list[tuple[int, float]] = []
    chances = np.empty((0, settings.bins))
    for step, chances in _learn(train, tower, test.matrices(tower), settings, seed):
        curve.append((step, float((chances.argmax(1) == truth).mean())))
    half = settings.bins // 2
    left = chances[:, half + 1 :].sum(1) > chances[:, :half].sum(1)
    turned = np.abs(yaw) >= settings.bin_deg / 2
    best = chances.argmax(1)
    scores: dict[str, dict[str, float]] = {
        "yaw side": {test.ids[k]: float(left[k] == (yaw[k] > 0)) for k in np.flatnonzero(turned)},
        "yaw bin": {name: float(a == b) for name, a, b in zip(test.ids, best, truth, strict=True)},
    }
    for level in LEVELS:
        shares = zip(test.ids, test.matching[tower], strict=True)
        scores[f"{level} match recall@1"] = {name: share[level] for name, share in shares if level in share}
    return {
        "scores": scores,
        "groups": dict(zip(test.ids, test.scenes, strict=True)),
        "truth": {name: settings.said(int(k)) for name, k in zip(test.ids, truth, strict=True)},
        "said": {name: settings.said(int(k)) for name, k in zip(test.ids, best, strict=True)},
        "judged by": "yaw bin",
        "chance": {
            **{f"{level} match recall@1": _mean_of(test.matching[tower], f"{level} by position") for level in LEVELS},
            "yaw side": float(max((yaw[turned] > 0).mean(), (yaw[turned] < 0).mean())),
            "yaw bin": float(np.bincount(truth).max() / len(truth)),
        },
        "curves": {"head, yaw bin on held-out pairs": curve},
    }


def _mean_of(shares: list[dict[str, float]], name: str) -> float:
    return float(np.mean([share[name] for share in shares if name in share] or [0.0]))


def _learn(
    train: Pairs, tower: str, test: Tensor, settings: ReadoutSettings, seed: int
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """(step, (pairs, bins) probabilities of the held-out pairs), a few times while the head learns and at the end.

    Every pair is learnt from both ways: the way back has the transposed matrix and the opposite yaw.
    """
    forth = train.matrices(tower)
    yaw = np.array(train.yaw_deg)
    bins = [torch.from_numpy(settings.bin_of(turn)) for turn in (yaw, -yaw)]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = Head((forth.shape[1], forth.shape[2]), settings)
        optimiser = torch.optim.AdamW(head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
        for step in range(1, settings.steps + 1):
            drawn = torch.randint(len(forth), (settings.batch,))
            way = torch.rand(settings.batch) < 0.5
            seen = forth[drawn]
            seen = torch.where(way[:, None, None], seen.transpose(1, 2), seen)
            wanted = torch.where(way, bins[1][drawn], bins[0][drawn])
            loss = F.cross_entropy(head(seen), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % max(1, settings.steps // CURVE_POINTS) == 0 or step == settings.steps:
                head.eval()
                with torch.no_grad():
                    chances = head(test).softmax(dim=1).double().numpy()
                head.train()
                yield step, chances
