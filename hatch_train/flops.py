"""What a step has to compute, against what the GPU could: the model FLOPs utilisation (arXiv:2204.02311, appendix B).

Counted is what is needed, not what is done: a weight costs 2 FLOPs for each token in the forward pass, 2 more where a
gradient passes through it, and 2 more where it is trained; attention twice its forward pass again. Activations that
are computed a second time count once, causal attention half, the head at the supervised positions alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hatch_train.model import part_of
from hatch_train.packing import LOSS_CHUNK

#: Dense bf16 FLOP/s by a part of the name that the driver gives, more special names first: NVIDIA's data sheets.
PEAKS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "A10G": 70e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
}


def peak(device: torch.device) -> float | None:
    """Of one GPU; None for a CPU and for GPUs not in the list."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((value for key, value in PEAKS.items() if key in name), None)


@dataclass(frozen=True)
class Work:
    """Of a pack: tokens of each sample, none where the language model is not run; supervised tokens; (t, h, w) patches
    of each image."""

    lengths: Sequence[int]
    supervised: int
    grids: Sequence[tuple[int, int, int]]


def work(batch: Any) -> Work:
    """Of a batch with a `pack` of chats, or with `grids` of images alone."""
    pack = getattr(batch, "pack", None)
    grids = [tuple(grid) for grid in (batch if pack is None else pack).grids.tolist()]
    return Work([], 0, grids) if pack is None else Work(pack.lengths, int(pack.supervised.sum()), grids)


class Flops:
    """Of a model of which some parts are trained, as `part_of` names them."""

    def __init__(self, model: Any, trains: Callable[[str], bool]):
        self.text, self.vision = model.config.text_config, model.config.vision_config
        parts = {"vision", "deepstack", "language", "adapter"}
        sees = trains("vision") or trains("deepstack")
        speaks = sees or trains("language") or trains("adapter")
        per_weight = {
            part: 6 if trains(part) else 4 if part in ("language", "adapter") and speaks else 2 for part in parts
        }
        self.attention = {"vision": 3 if sees else 1, "language": 3 if speaks else 1}
        #: FLOPs of the weights for each patch, each token of an image, each token, each supervised token.
        self.each: Counter[str] = Counter()
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and (unit := _unit(name)) is not None:
                self.each[unit] += per_weight[part_of(name)] * parameter.numel()
        self.each["supervised"] = per_weight["language"] * self.text.vocab_size * self.text.hidden_size

    def needed(self, done: Work) -> float:
        """FLOPs of the forward and backward passes over a pack."""
        patches = sum(t * h * w for t, h, w in done.grids)
        counts = {
            "patch": patches,
            "image token": patches / self.vision.spatial_merge_size**2,
            "token": sum(done.lengths),
            "supervised": done.supervised,
        }
        weights = sum(count * self.each[unit] for unit, count in counts.items())
        return weights + self._text_attention(done.lengths) + self._vision_attention(done.grids)

    def _text_attention(self, lengths: Sequence[int]) -> float:
        """Two products of length x length x width, of which causality needs half."""
        heads = self.text.num_attention_heads
        head = getattr(self.text, "head_dim", None) or self.text.hidden_size // heads
        squares = sum(length**2 for length in lengths)
        return self.attention["language"] * 2 * squares * heads * head * self.text.num_hidden_layers

    def _vision_attention(self, grids: Sequence[tuple[int, int, int]]) -> float:
        """Two products of patches x span x width: a span is the image, or a window in most layers of Qwen2.5-VL."""
        vision = self.vision
        full = len(getattr(vision, "fullatt_block_indexes", range(vision.depth)))
        window = (getattr(vision, "window_size", 0) // vision.patch_size) ** 2
        spans = sum(t * h * w * (full * h * w + (vision.depth - full) * min(h * w, window)) for t, h, w in grids)
        return self.attention["vision"] * 4 * spans * vision.hidden_size

    def activation_bytes(self, done: Work, checkpointing: bool) -> float:
        """A rough count of what the forward pass over a pack leaves for the backward pass, in bf16: of each layer its
        input and about 10 more of its width and 4 of its inner width, or with checkpointing the input, and all of one
        layer; the fp32 logits and their gradients of a chunk of the supervised positions."""
        patches = sum(t * h * w for t, h, w in done.grids)
        total = 10.0 * min(done.supervised, LOSS_CHUNK) * self.text.vocab_size
        vision, text = (self.vision, self.vision.depth), (self.text, self.text.num_hidden_layers)
        for (part, depth), units, kind in ((vision, patches, "vision"), (text, sum(done.lengths), "language")):
            layer = 2 * units * (10 * part.hidden_size + 4 * part.intermediate_size)
            kept = 2 * units * part.hidden_size if checkpointing else layer
            total += layer + (depth - 1) * kept * (self.attention[kind] > 1)
        return total


def _unit(name: str) -> str | None:
    """What a weight is applied to; None for look-up tables, for the head, which may be one, and for what is beside the
    model."""
    if "language_model.layers." in name:
        return "token"
    if ".visual." not in f".{name}" or "pos_embed" in name:
        return None
    return "image token" if "merger" in name else "patch"
