"""Several multi-image samples in one sequence, without one seeing the other.

Exactly one form of input equals the unpacked run: position ids of shape (4, 1, length), row 0 restarting at 0 in every
sample and rows 1-3 from `get_rope_index` of each sample, together with no attention mask. An all-ones mask, three
rows, or none are silently wrong: the loss hardly moves while the gradients are off by a third and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hatch_data.settings import Settings
from hatch_train.model import VisionLanguageModel

#: Supervised positions whose logits are in memory at once.
LOSS_CHUNK = 1024


class Caps(Settings):
    """How much a pack may hold: language-model tokens, vision patches, samples."""

    tokens: int
    patches: int
    samples: int = 1 << 30


@dataclass(frozen=True)
class Sample:
    """One chat: token ids with the image tokens in place, which of them are supervised, and the images.

    `pixels` (patches, values) uint8 and `grids` (images, 3) as the image processor gives them; `prompt` is the number
    of tokens before the assistant speaks.
    """

    id: str
    ids: NDArray[np.int64]
    supervised: NDArray[np.bool_]
    prompt: int
    pixels: NDArray[np.uint8]
    grids: NDArray[np.int64]


@dataclass(frozen=True)
class Pack:
    """Samples one after the other: (1, length) ids, image-token types and supervised mask; (patches, values) pixels;
    (images, 3) grids; tokens, prompt tokens and images of each sample."""

    ids: Tensor
    types: Tensor
    supervised: Tensor
    pixels: Tensor
    grids: Tensor
    lengths: list[int]
    prompts: list[int]
    images: list[int]


def pack(samples: Sequence[Sample], image_token: int) -> Pack:
    """Join samples. No padding, no mask."""
    ids = torch.from_numpy(np.concatenate([s.ids for s in samples]))[None]
    return Pack(
        ids,
        (ids == image_token).int(),
        torch.from_numpy(np.concatenate([s.supervised for s in samples]))[None],
        torch.from_numpy(np.concatenate([s.pixels for s in samples])),
        torch.from_numpy(np.concatenate([s.grids for s in samples])),
        [len(s.ids) for s in samples],
        [s.prompt for s in samples],
        [len(s.grids) for s in samples],
    )


def position_ids(model: VisionLanguageModel, packed: Pack) -> Tensor:
    """(4, 1, length): text position, then time, height and width, all restarting in every sample."""
    parts = []
    ids, types = packed.ids.split(packed.lengths, dim=1), packed.types.split(packed.lengths, dim=1)
    for sample_ids, sample_types, grids in zip(ids, types, packed.grids.split(packed.images), strict=True):
        text = torch.arange(sample_ids.shape[1])[None, None]
        parts.append(torch.cat([text, model.rope_index(sample_ids, sample_types, grids)]))
    return torch.cat(parts, dim=2)


def token_losses(model: VisionLanguageModel, packed: Pack, temperature: float = 1.0) -> Tensor:
    """(n,) fp32 cross-entropy of each supervised token. Of long replies only a chunk of the logits is in memory."""
    hidden, targets = _before_supervised(model, packed)

    def losses(some: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(model.logits(some).float() / temperature, wanted, reduction="none")

    chunks = list(zip(hidden.split(LOSS_CHUNK), targets.split(LOSS_CHUNK), strict=True))
    if len(chunks) <= 1:
        return losses(hidden, targets)
    return torch.cat([checkpoint(losses, *chunk, use_reentrant=False) for chunk in chunks])


def _before_supervised(model: VisionLanguageModel, packed: Pack) -> tuple[Tensor, Tensor]:
    """(n, width) hidden states from which the supervised tokens are predicted, and those (n,) tokens."""
    inputs = {
        "input_ids": packed.ids,
        "position_ids": position_ids(model, packed),
        "mm_token_type_ids": packed.types,
    }
    hidden = model.hidden_states(inputs, packed.pixels, packed.grids, packed.lengths)
    targets = packed.supervised[0].nonzero()[:, 0]
    return hidden[0, (targets - 1).to(hidden.device)], packed.ids[0, targets].to(hidden.device)


def first_fit(tokens: NDArray[np.int64], patches: NDArray[np.int64], caps: Caps) -> list[list[int]]:
    """Samples to packs, the longest first, each into the first pack that has room; indices into the arrays.

    Every sample alone must fit the caps.
    """
    packs: list[list[int]] = []
    room = np.empty((len(tokens), 3), np.int64)
    for index in np.lexsort((-patches, -tokens)):
        need = np.array([tokens[index], patches[index], 1])
        fits = (room[: len(packs)] >= need).all(axis=1)
        place = int(fits.argmax()) if fits.any() else len(packs)
        if place == len(packs):
            packs.append([])
            room[place] = caps.tokens, caps.patches, caps.samples
        packs[place].append(int(index))
        room[place] -= need
    return packs
