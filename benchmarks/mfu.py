"""Tokens a second and model FLOPs utilisation of a training step, on a model of the real shape with random weights.

    python benchmarks/mfu.py --model Qwen/Qwen2.5-VL-3B-Instruct --profile
    python benchmarks/mfu.py --model Qwen/Qwen2.5-VL-7B-Instruct --lora 32 --profile
    torchrun --nproc-per-node 8 benchmarks/mfu.py --model Qwen/Qwen2.5-VL-7B-Instruct
    python benchmarks/mfu.py --model tiny --tokens 512 --size 112,84

A step is one pack a process: chats of `--images` images of `--size` pixels and `--text` other tokens, a quarter of them
supervised, until no other fits `--tokens`. The vision tower is trained unless `--frozen-vision` is given.
"""

from __future__ import annotations

import time

import click
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.profiler import ProfilerActivity, profile

from hatch_data.patches import token_grid
from hatch_train import adapters, flops, kernels, parallel
from hatch_train.model import VisionLanguageModel, checkpoint_activations, load_processor, part_of
from hatch_train.optimisation import optimiser
from hatch_train.packing import Pack, Sample, pack, token_losses
from hatch_train.settings import LoraSettings, ModelSettings, StageSettings, TinySettings
from hatch_train.shapes import FAMILIES, known_config, known_family, tiny_config


def model_of(name: str, lora: int, attention: str, checkpointing: bool, device: torch.device) -> VisionLanguageModel:
    """A model of this shape with random weights, on the device; the processor is a stand-in."""
    family = known_family(name) or "qwen2_5_vl"
    processor = load_processor(ModelSettings(tiny=TinySettings(family=family)), ["a text"])
    config = known_config(name) if known_family(name) else tiny_config(TinySettings(), processor.tokenizer)
    torch.manual_seed(0)
    with device:
        model = FAMILIES[family].model._from_config(config, attn_implementation=attention)
    kernels.put_into(model)
    if lora:
        adapters.add(model, LoraSettings(rank=lora, alpha=2 * lora))
    if checkpointing:
        checkpoint_activations(model)
    found = VisionLanguageModel(model.train(), processor, lora > 0)
    parallel.shard(found.shell, found.blocks, device)
    return found


def pack_of(model: VisionLanguageModel, tokens: int, size: tuple[int, int], images: int, text: int, seed: int) -> Pack:
    """Random chats that fill a pack."""
    config, rng = model.model.config, np.random.default_rng(seed)
    px, merge = model.processor.token_px, model.processor.merge
    rows, columns = token_grid(size[1], size[0], px, *model.processor.pixel_bounds)
    image = [config.vision_start_token_id, *[config.image_token_id] * (rows * columns), config.vision_end_token_id]
    words = rng.integers(20, 200, text)
    ids = np.array([*image * images, *words])
    supervised = np.arange(len(ids)) >= len(ids) - text // 4
    values = 3 * 2 * model.processor.images.patch_size**2
    grids = np.array([(1, rows * merge, columns * merge)] * images)
    samples = []
    for number in range(max(1, tokens // len(ids))):
        pixels = rng.integers(0, 256, (images * rows * columns * merge**2, values)).astype(np.uint8)
        samples.append(Sample(str(number), ids, supervised, len(ids) - text // 4, pixels, grids))
    return pack(samples, config.image_token_id)


@click.command()
@click.option("--model", "name", default="Qwen/Qwen2.5-VL-3B-Instruct", show_default=True)
@click.option("--lora", default=0, show_default=True, help="Rank of adapters; 0 trains all weights.")
@click.option("--tokens", default=8192, show_default=True, help="Most tokens of a pack.")
@click.option("--size", default="640,480", show_default=True, help="Width and height of the images, pixels.")
@click.option("--images", default=2, show_default=True, help="Of each chat.")
@click.option("--text", default=200, show_default=True, help="Tokens of each chat that are no image.")
@click.option("--steps", default=10, show_default=True, help="Timed, after two that are not.")
@click.option("--attention", default="sdpa", show_default=True)
@click.option("--checkpointing/--no-checkpointing", default=True, show_default=True)
@click.option("--frozen-vision", is_flag=True)
@click.option("--profile", "profiled", is_flag=True, help="Print where the time of one more step goes.")
def main(
    name: str,
    lora: int,
    tokens: int,
    size: str,
    images: int,
    text: int,
    steps: int,
    attention: str,
    checkpointing: bool,
    frozen_vision: bool,
    profiled: bool,
) -> None:
    """Take a few steps and print how fast they were."""
    device = torch.device("cuda", parallel.local_rank()) if torch.cuda.is_available() else torch.device("cpu")

    def trains(part: str) -> bool:
        return part == ("adapter" if lora else "language") or (not frozen_vision and part in ("vision", "deepstack"))

    with parallel.joined(device):
        model = model_of(name, lora, attention, checkpointing, device)
        model.train_only(trains)
        adam = optimiser(model, StageSettings(kind="benchmark", steps=1, learning_rate=1e-5))
        width, height = map(int, size.split(","))
        packed = pack_of(model, tokens, (width, height), images, text, parallel.rank())
        counted = flops.Work(packed.lengths, int(packed.supervised.sum()), list(map(tuple, packed.grids.tolist())))
        needed = flops.Flops(model.model, trains).needed(counted)

        def step() -> Tensor:
            loss = model.shell(lambda: token_losses(model, packed).mean())
            loss.backward()
            clip_grad_norm_([p for p in model.model.parameters() if p.requires_grad], 1.0)
            adam.step()
            adam.zero_grad()
            return loss.detach()

        seconds = []
        for _ in range(2 + steps):
            began = time.perf_counter()
            float(step())  # waits for the GPU
            seconds.append(time.perf_counter() - began)
        each = float(np.median(seconds[2:]))
        table = _profile(step, device) if profiled else ""
    if parallel.rank() == 0:
        trained = sum(p.numel() for n, p in model.model.named_parameters() if trains(part_of(n)))
        peak = flops.peak(device)
        print(
            f"{name}, {trained / 1e9:.3f} billion weights trained, {parallel.world()} process(es) on {_named(device)}"
        )
        print(f"a pack: {len(packed.lengths)} chats, {sum(packed.lengths)} tokens, {len(packed.pixels)} patches")
        print(f"a step: {each:.3f} s, {sum(packed.lengths) / each:.0f} tokens/s and {needed / each / 1e12:.3g} TFLOP/s")
        print(f"MFU: {needed / each / peak:.1%}" if peak else "MFU: the peak of this device is not known")
        if device.type == "cuda":
            print(f"peak memory: {torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB")
        print(table)


def _profile(step, device: torch.device) -> str:
    """The operations of a step that take the longest, as torch's profiler counts them."""
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * cuda]) as found:
        float(step())
    by = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    return found.key_averages().table(sort_by=by, row_limit=25, max_name_column_width=60)


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"


if __name__ == "__main__":
    main()
