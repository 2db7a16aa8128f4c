"""Packed against unpacked: gradients, not losses, since wrong packing hardly moves the loss."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from hatch_train import kernels
from hatch_train.kernels import segments_of
from hatch_train.model import VisionLanguageModel
from hatch_train.packing import Caps, Sample, first_fit, pack, position_ids, token_losses


def sample(model: VisionLanguageModel, number: int, grids: list[tuple[int, int]]) -> Sample:
    """A chat with images of these token grids, random pixels and text."""
    rng = np.random.default_rng(number)
    token = model.processor.token_id
    ids: list[int] = [token("<|im_start|>")]
    for rows, columns in grids:
        ids += [token("<|vision_start|>"), *[token("<|image_pad|>")] * (rows * columns), token("<|vision_end|>")]
    prompt = len(ids) + 5
    ids += rng.integers(20, 300, 5 + int(rng.integers(3, 12))).tolist()
    patches = 4 * sum(rows * columns for rows, columns in grids)
    pixels = rng.integers(0, 256, (patches, 3 * 2 * model.processor.images.patch_size**2)).astype(np.uint8)
    thw = np.array([(1, 2 * rows, 2 * columns) for rows, columns in grids])
    return Sample(str(number), np.array(ids), np.arange(len(ids)) >= prompt, prompt, pixels, thw)


GRIDS = ([(2, 3), (3, 2)], [(1, 4)], [(2, 2), (4, 1), (3, 3)], [(5, 2), (1, 1)])


def gradients(model: VisionLanguageModel, packs: list[list[Sample]]) -> torch.Tensor:
    """Of the sum of the losses, all parameters in one vector."""
    model.model.zero_grad()
    image_token = model.processor.token_id("<|image_pad|>")
    for samples in packs:
        token_losses(model, pack(samples, image_token)).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.model.parameters() if p.grad is not None])


@pytest.fixture
def model(each_tiny: VisionLanguageModel) -> VisionLanguageModel:
    own = VisionLanguageModel(copy.deepcopy(each_tiny.model), each_tiny.processor)
    own.train_only(lambda part: True)
    # Weights of the usual scale leave a random model's attention flat: leaks between samples would hardly show.
    with torch.no_grad():
        for parameter in own.model.parameters():
            parameter.mul_(3.0)
    return own


@pytest.mark.parametrize("attention", [kernels.SEGMENTS, "sdpa"])
def test_packed_gradients_equal_unpacked_ones(model: VisionLanguageModel, attention: str) -> None:
    assert model.model.config._attn_implementation == kernels.SEGMENTS
    model.model.config._attn_implementation = attention
    samples = [sample(model, number, grids) for number, grids in enumerate(GRIDS)]
    apart, together = gradients(model, [[s] for s in samples]), gradients(model, [samples])
    assert float((apart - together).norm() / apart.norm()) <= 1e-5
    assert all(p.grad is not None for p in model.model.parameters())


def test_losses_in_chunks_are_those_of_all_logits(model: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack(
        [sample(model, number, grids) for number, grids in enumerate(GRIDS)], model.processor.token_id("<|image_pad|>")
    )
    inputs = {"input_ids": packed.ids, "position_ids": position_ids(model, packed), "mm_token_type_ids": packed.types}
    logits = model.logits(model.hidden_states(inputs, packed.pixels, packed.grids))[0, :-1] / 0.7
    expected = F.cross_entropy(logits, packed.ids[0, 1:], reduction="none")[packed.supervised[0, 1:]]
    found = []
    for chunk in (1024, 5):
        monkeypatch.setattr("hatch_train.packing.LOSS_CHUNK", chunk)
        model.model.zero_grad()
        losses = token_losses(model, packed, 0.7)
        assert torch.allclose(losses, expected, atol=1e-5)
        losses.sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.model.parameters() if p.grad is not None]))
    assert float((found[0] - found[1]).norm() / found[0].norm()) <= 1e-5


def test_packed_gradients_notice_a_leak(model: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [sample(model, number, grids) for number, grids in enumerate(GRIDS)]
    right = gradients(model, [samples])
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "segments_of", lambda lengths, device: segments_of([sum(lengths)], device))
        assert float((gradients(model, [samples]) - right).norm() / right.norm()) > 1e-2
    # Without segments it is the positions that keep samples apart.
    model.model.config._attn_implementation = "sdpa"
    monkeypatch.setattr("hatch_train.packing.position_ids", lambda *given: position_ids(*given)[1:])
    assert float((gradients(model, [samples]) - right).norm() / right.norm()) > 1e-2


def test_text_positions_restart_in_every_sample(model: VisionLanguageModel) -> None:
    samples = [sample(model, number, grids) for number, grids in enumerate(GRIDS)]
    packed = pack(samples, model.processor.token_id("<|image_pad|>"))
    positions = position_ids(model, packed)
    assert positions.shape == (4, 1, sum(len(s.ids) for s in samples))
    assert positions[0, 0].tolist() == [k for s in samples for k in range(len(s.ids))]


@given(
    st.lists(st.tuples(st.integers(1, 100), st.integers(1, 50)), max_size=60),
    st.integers(1, 8),
)
def test_first_fit_loses_nothing_and_keeps_the_caps(sizes: list[tuple[int, int]], samples: int) -> None:
    tokens, patches = (np.array([s[k] for s in sizes], np.int64) for k in (0, 1))
    packs = first_fit(tokens, patches, Caps(tokens=100, patches=60, samples=samples))
    assert sorted(index for one in packs for index in one) == list(range(len(sizes)))
    for one in packs:
        assert tokens[one].sum() <= 100 and patches[one].sum() <= 60 and len(one) <= samples


def test_first_fit_fills_packs() -> None:
    tokens = np.random.default_rng(0).integers(200, 900, 2000)
    packs = first_fit(tokens, tokens, Caps(tokens=8192, patches=1 << 30))
    assert tokens.sum() / (8192 * len(packs)) >= 0.97
