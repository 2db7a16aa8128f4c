"""What transformers computes slowly on a GPU, computed otherwise: attention within segments, the cutting of patches.

Its `sdpa` calls a kernel for every window of Qwen2.5-VL's tower, about 30 an image and layer, whose lengths it asks the
GPU for; and it keeps the samples of a pack apart by a mask of length x length, with which torch has no flash kernel. So
torch's flash kernel for sequences of various lengths is called here, the one that nested tensors use: for each image,
window and sample by itself. On a CPU, and on GPUs without it, the segments are taken one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

#: Its name in a model's config. transformers hands the bounds of images and windows to names with `flash` in them.
SEGMENTS = "hatch_flash"


class Segments(NamedTuple):
    """(n + 1,) int32 bounds of the samples of a pack, and the length of the longest."""

    bounds: Tensor
    longest: int


def segments_of(lengths: Sequence[int], device: torch.device) -> Segments:
    return Segments(torch.tensor([0, *accumulate(lengths)], dtype=torch.int32).to(device), max(lengths))


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    segments: Segments | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int = 0,
    **others: Any,
) -> tuple[Tensor, None]:
    """transformers' form: (1, heads, length, width) in, (1, length, heads, width) out.

    The bounds of a tower's images or windows are `cu_seq_lens_q`; those of a pack's samples `segments`. Without either,
    as in generation, it is `sdpa` with the mask.
    """
    if cu_seq_lens_q is not None:
        segments = Segments(cu_seq_lens_q, int(max_length_q))
    if segments is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    causal: Any = module.is_causal
    if value.dtype.itemsize == 2 and _has_flash(value.device):
        # Of autocast's own: rotary angles in fp32 make queries and keys so, but not values.
        flat = [states[0].transpose(0, 1).to(value.dtype) for states in (query, key, value)]
        bounds, longest = segments
        sizes = (bounds, bounds, longest, longest)
        # No dropout, no debug mask.
        out = torch.ops.aten._flash_attention_forward(*flat, *sizes, 0.0, causal, False, scale=scaling)[0]
        return out[None], None
    parts = zip(*(states.split(segments.bounds.diff().tolist(), dim=2) for states in (query, key, value)), strict=True)
    outs = [sdpa_attention_forward(module, *part, None, scaling=scaling, is_causal=causal)[0] for part in parts]
    return torch.cat(outs, dim=1), None


@lru_cache
def _has_flash(device: torch.device) -> bool:
    return (
        device.type == "cuda"
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


class _PatchProjection(nn.Conv3d):
    """A convolution over patches of its own size is a matrix product. cuDNN may take seconds for it in bf16
    (huggingface/transformers#45750)."""

    def forward(self, patches: Tensor) -> Tensor:
        return F.linear(patches.flatten(1), self.weight.flatten(1), self.bias)


def put_into(model: Any) -> None:
    """Let a model compute so, in place: its patches, and its attention where that is `sdpa`."""
    model.model.visual.patch_embed.proj.__class__ = _PatchProjection
    if model.config._attn_implementation == "sdpa":
        model.config._attn_implementation = SEGMENTS


ALL_ATTENTION_FUNCTIONS.register(SEGMENTS, attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(SEGMENTS, sdpa_mask)
