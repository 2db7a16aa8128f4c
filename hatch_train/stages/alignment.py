"""The loss that draws together the features of patches that show the same surface: PaStA and its variants.

Each image is cut into n x n regions; `S = (M[X->Y] + M[Y->X]^T) / 2` holds the share of pixels that two regions have in
common. The similarity of region features, `q = softmax(cos / tau2)`, is drawn to `p = softmax(S / tau1)` by
cross-entropy, in both directions (arXiv:2602.08735). Beside it stands a term between language-model tokens, whose
target is each row of S divided by its sum: at that many columns a softmax of shares is close to uniform.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from hatch_data.errors import ShardError
from hatch_data.patches import FlowField, Grid, PatchMap, rebin, symmetric
from hatch_data.settings import Settings
from hatch_data.tracks import hard_negatives, look
from hatch_train.images import ImageReader
from hatch_train.settings import Positive, Share

LEVELS = ("region", "token")
MATCH_COLUMNS = tuple(f"matches.list.element.{name}" for name in ("source", "target", "flow_size", "flow"))
#: Columns of `matches` from which the pairs are known.
PAIR_COLUMNS = MATCH_COLUMNS[:2]


class AlignmentTerm(Settings):
    """Rows of S with a sum below `min_row` see nothing of the other image and are left out, unless `unmatched` adds an
    outcome of their own, with a learnt logit, whose target is the share of a patch's valid area that is not seen.
    `token_loss: info_nce` takes the strongest patch with a share of `positive` as the match and ignores all others that
    hold a part of it. `hard_negatives` patches that look most like a token, but are elsewhere, count `hard_weight`
    times. `projection` is the width of a head between the tower and the loss, dropped after training; `control:
    shuffled` permutes the correspondences, from which nothing can be learnt."""

    regions: Positive = 4
    tau1: Annotated[float, Field(gt=0)] = 0.1
    tau2: Annotated[float, Field(gt=0)] = 0.07
    min_row: Annotated[float, Field(ge=0)] = 0.02
    region_weight: Annotated[float, Field(ge=0)] = 1.0
    token_weight: Annotated[float, Field(ge=0)] = 0.0
    token_loss: Literal["cross_entropy", "info_nce"] = "cross_entropy"
    positive: Annotated[Share, Field(gt=0)] = 0.25
    unmatched: bool = False
    hard_negatives: Annotated[int, Field(ge=0)] = 0
    hard_weight: Annotated[float, Field(ge=1)] = 4.0
    projection: Positive | None = None
    control: Literal["shuffled"] | None = None

    @model_validator(mode="after")
    def _learns_something(self) -> Self:
        if self.region_weight == self.token_weight == 0:
            raise ValueError("region_weight and token_weight are both 0")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Level -> its weight, of those that count."""
        weights = {"region": self.region_weight, "token": self.token_weight}
        return {level: weight for level, weight in weights.items() if weight > 0}


@dataclass(frozen=True)
class Side:
    """What the patches of one image should say about those of the other: `share`, the rows of S; which of them are
    `seen`, that is trained; `unmatched`, the share of each patch's valid area that the other image does not show, or
    None; `hard` (patches, other patches) the look-alikes elsewhere, or None."""

    share: NDArray[np.float32]
    seen: NDArray[np.bool_]
    unmatched: NDArray[np.float32] | None = None
    hard: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class View:
    """A pair of images at one grid: the maps both ways, and what is wanted of X and of Y."""

    x_to_y: PatchMap
    y_to_x: PatchMap
    sides: tuple[Side, Side]

    @property
    def rows(self) -> int:
        """How many patches are trained, of both images."""
        return sum(int(side.seen.sum()) for side in self.sides)


def views(
    row: dict[str, Any], pair: tuple[int, int], images: ImageReader, term: AlignmentTerm, rng: np.random.Generator
) -> dict[str, View]:
    """The pair of images of a row at each level."""
    forth, back = (_flow(row, *way) for way in (pair, pair[::-1]))
    sizes = [tuple(row["image_sizes"][i]) for i in pair]
    n = term.regions
    grids: dict[str, tuple[Grid, Grid]] = {
        "region": ((n, n), (n, n)),
        "token": (images.grid(sizes[0]), images.grid(sizes[1])),
    }
    found = {}
    for level, (x, y) in grids.items():
        maps = rebin(forth, x, y), rebin(back, y, x)
        target = symmetric(*maps)
        if term.control == "shuffled":
            target = target[:, rng.permutation(target.shape[1])]
        looks = None
        if level == "token" and term.hard_negatives:
            pictures = [Image.open(io.BytesIO(row["images"][i]["bytes"])) for i in pair]
            looks = look(pictures[0], x), look(pictures[1], y)
        own = _side(target, maps[0], level, term, looks)
        other = _side(target.T, maps[1], level, term, looks and (looks[1], looks[0]))
        found[level] = View(*maps, (own, other))
    return found


def _side(
    share: NDArray[np.float32],
    found: PatchMap,
    level: str,
    term: AlignmentTerm,
    looks: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
) -> Side:
    one_match = level == "token" and term.token_loss == "info_nce"
    seen = share.max(1) >= term.positive if one_match else share.sum(1) >= term.min_row
    unmatched = hard = None
    if term.unmatched:
        # Half the area has to be measured, or not seeing the rest says nothing.
        known = found.valid >= 0.5
        unmatched = np.where(known, 1 - found.dense().sum(1), 0).clip(0, 1).astype(np.float32)
        seen = seen | (known & (unmatched >= 0.5))
    if looks is not None:
        hard = np.zeros(share.shape, bool)
        alike = hard_negatives(found, looks[0], looks[1], term.hard_negatives)
        rows, columns = np.nonzero(alike >= 0)
        hard[rows, alike[rows, columns]] = True
    return Side(share, seen, unmatched, hard)


def _flow(row: dict[str, Any], source: int, target: int) -> FlowField:
    match = next(m for m in row["matches"] if (m["source"], m["target"]) == (source, target))
    try:
        return FlowField.from_bytes(match["flow"], (match["flow_size"][0], match["flow_size"][1]))
    except ValueError as error:
        raise ShardError(f"row {row['id']}: its flow field is damaged ({error}); rebuild its shards") from None


class Heads(nn.ModuleDict):
    """What is learnt beside the tower: the projection, and the logit of `unmatched` at each level."""

    def __init__(self, term: AlignmentTerm, width: int):
        super().__init__()
        if term.projection:
            self["projection"] = nn.Sequential(
                nn.Linear(width, width), nn.GELU(), nn.Linear(width, term.projection, bias=False)
            )
        for level in term.weights if term.unmatched else ():
            logit = nn.Linear(1, 1, bias=False)
            nn.init.zeros_(logit.weight)
            self[f"unmatched_{level}"] = logit

    def project(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        return [_fp32(self["projection"], token) for token in tokens] if "projection" in self else list(tokens)

    def unmatched(self, level: str, like: Tensor) -> Tensor | None:
        """(1,) the logit."""
        # A layer on a one, as sharded parameters are only there while their module runs.
        name = f"unmatched_{level}"
        return _fp32(self[name], like.new_ones(1)) if name in self else None


def _fp32(layers: nn.Module, values: Tensor) -> Tensor:
    """What layers make of fp32 values, in fp32; their weights are bf16 where several GPUs share them."""
    return layers(values.to(next(layers.parameters()).dtype)).float()


@contextmanager
def watched(module: nn.Module) -> Iterator[list[Any]]:
    """What the module puts out while this lasts, one entry for each time that it runs."""
    seen: list[Any] = []
    hook = module.register_forward_hook(lambda _module, _given, out: seen.append(out))
    try:
        yield seen
    finally:
        hook.remove()


def levels(
    tokens: Sequence[Tensor], merged: Sequence[tuple[int, int]], n: int, finish: Callable[[Tensor], Tensor]
) -> list[dict[str, Tensor]]:
    """What every token of each image has -> what its tokens, and its regions, have."""
    regions = [area_pooling(*grid, n, t.device) @ t for grid, t in zip(merged, tokens, strict=True)]
    return [{"region": finish(r), "token": finish(t)} for r, t in zip(regions, tokens, strict=True)]


def unit(patches: Tensor) -> Tensor:
    return F.normalize(patches, dim=-1)


def alignment_sums(
    features: Sequence[tuple[dict[str, Tensor], dict[str, Tensor]]],
    pairs: Sequence[dict[str, View]],
    term: AlignmentTerm,
    heads: Heads | None = None,
) -> dict[str, Tensor]:
    """Sums over pairs of the loss at each level, and of the KL and mean cosine of regions."""
    sums: dict[str, Tensor] = {}
    for (x, y), view in zip(features, pairs, strict=True):
        for level in term.weights:
            cosine = x[level] @ y[level].T
            logit = heads.unmatched(level, cosine) if heads is not None else None
            loss, entropy = alignment_loss(cosine, view[level].sides, term, level, logit)
            terms = {level: loss}
            if level == "region":
                terms |= {"kl": (loss - entropy).detach(), "cosine": cosine.detach().mean()}
            for name, value in terms.items():
                sums[name] = sums[name] + value if name in sums else value
    return sums


def alignment_counts(pairs: Sequence[dict[str, View]], term: AlignmentTerm) -> dict[str, int]:
    """How many things each of `alignment_sums` is over."""
    counts = {level: sum(view[level].rows for view in pairs) for level in term.weights}
    if "region" in counts:
        counts |= {"kl": counts["region"], "cosine": len(pairs)}
    return counts


def alignment_loss(
    cosine: Tensor, sides: tuple[Side, Side], term: AlignmentTerm, level: str, logit: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and the target's entropy, both summed over the trained patches of X and of Y.

    `cosine` is (patches of X, patches of Y), fp32; `logit` (1,) that of the outcome `unmatched`.
    """
    loss = entropy = cosine.new_zeros(())
    for similarity, side in ((cosine, sides[0]), (cosine.T, sides[1])):
        # Chosen on the CPU, where their number is known: a GPU would be waited for.
        seen = np.flatnonzero(side.seen)
        share = torch.from_numpy(side.share[seen]).to(cosine)
        logits = similarity.index_select(0, torch.from_numpy(seen).to(cosine.device)) / term.tau2
        if side.hard is not None:
            logits = logits + np.log(term.hard_weight) * torch.from_numpy(side.hard[seen]).to(logits)
        if level == "region":
            p = F.softmax(share / term.tau1, dim=1)
        elif term.token_loss == "cross_entropy":
            p = F.normalize(share, p=1, dim=1)
        else:
            match = F.one_hot(share.argmax(1), share.shape[1]) * (share >= term.positive)
            logits = logits.masked_fill((share > 0) & (match == 0), -1e9)
            p = match.to(logits)
        if logit is not None and side.unmatched is not None:
            lost = torch.from_numpy(side.unmatched[seen, None]).to(p)
            # Where no patch holds a part of it, it has nothing to say but that.
            lost = torch.where(share.sum(1, keepdim=True) < term.min_row, 1.0, lost)
            p = torch.cat([p * (1 - lost), lost], dim=1)
            p = p / p.sum(1, keepdim=True)
            logits = torch.cat([logits, logit.expand(len(logits), 1)], dim=1)
        loss = loss - (p * F.log_softmax(logits, dim=1)).sum()
        entropy = entropy - torch.xlogy(p, p).sum()
    return loss, entropy


@lru_cache(maxsize=256)
def area_pooling(rows: int, columns: int, n: int, device: torch.device) -> Tensor:
    """(n * n, rows * columns): mean over each of n x n regions of a grid of cells, a cell counting by shared area."""
    return torch.kron(_overlap(rows, n), _overlap(columns, n)).to(device)


def _overlap(cells: int, n: int) -> Tensor:
    """(n, cells) share of each of n equal stretches that each of `cells` equal cells covers."""
    stretch, cell = torch.arange(n)[:, None] / n, torch.arange(cells)[None] / cells
    shared = torch.minimum(stretch + 1 / n, cell + 1 / cells) - torch.maximum(stretch, cell)
    return shared.clamp(min=0) * n
