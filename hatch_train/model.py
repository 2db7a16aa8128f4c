"""Families of vision-language models behind one small face: weights, tokenizer, image processor.

The families: Qwen2.5-VL, by hub id, by folder, or `tiny`, a small random model of the same architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils.logging import disable_progress_bar

from hatch_train.errors import ModelError
from hatch_train.recipe import ModelSettings, TinySettings
from hatch_train.tokenizer import train_tokenizer

#: model_type -> class of the model.
FAMILIES = {"qwen2_5_vl": Qwen2_5_VLForConditionalGeneration}
#: Hub id -> parameters of (vision tower, whole model), so that a dry run needs no network.
KNOWN_SIZES = {
    "Qwen/Qwen2.5-VL-3B-Instruct": (668_684_288, 3_754_622_976),
    "Qwen/Qwen2.5-VL-7B-Instruct": (676_550_144, 8_292_166_656),
}


@dataclass(frozen=True)
class Processor:
    """Text and images to numbers, as the model expects them. Small, and sent to the data workers."""

    tokenizer: Any
    images: Any

    @property
    def token_px(self) -> int:
        """Side of the square of the resized image that one language-model token covers."""
        return self.images.patch_size * self.images.merge_size

    @property
    def merge(self) -> int:
        """Patches a side that the merger joins into one token."""
        return self.images.merge_size

    @property
    def pixel_bounds(self) -> tuple[int, int]:
        """Least and greatest area of a resized image, pixels."""
        size = self.images.size
        return size["shortest_edge"], size["longest_edge"]

    def token_id(self, token: str) -> int:
        return self.tokenizer.convert_tokens_to_ids(token)

    def save(self, folder: Path) -> None:
        self.tokenizer.save_pretrained(folder)
        self.images.save_pretrained(folder)


class VisionLanguageModel:
    """A model and its processor, as the stages use them."""

    def __init__(self, model: nn.Module, processor: Processor):
        self.model: Any = model
        self.processor = processor
        scale = torch.tensor(processor.images.image_std) * 255
        shift = torch.tensor(processor.images.image_mean) * 255
        self._scale, self._shift = scale[None, :, None], shift[None, :, None]

    @property
    def device(self) -> torch.device:
        return self.model.device

    def normalised(self, pixels: Tensor) -> Tensor:
        """(patches, 3 * values) uint8 as the workers send them -> float32 as the image processor normalises them."""
        values = pixels.to(self.device).view(len(pixels), 3, -1).float()
        return ((values - self._shift.to(self.device)) / self._scale.to(self.device)).flatten(1)

    def image_features(self, pixels: Tensor, grids: Tensor) -> tuple[Tensor, ...]:
        """For each image (tokens, width) features after the merger, in raster order."""
        # `pooler_output`, since the last hidden state is in window order for Qwen2.5-VL.
        with self._bf16():
            return self.model.get_image_features(self.normalised(pixels), grids.to(self.device)).pooler_output

    def hidden_states(self, inputs: dict[str, Tensor], pixels: Tensor, grids: Tensor) -> Tensor:
        """(batch, length, width) of the last layer. `inputs`: ids, positions and types of tokens."""
        with self._bf16():
            outputs = self.model.model(
                **{key: value.to(self.device) for key, value in inputs.items()},
                pixel_values=self.normalised(pixels),
                image_grid_thw=grids.to(self.device),
                use_cache=False,
            )
        return outputs.last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        with self._bf16():
            return self.model.lm_head(hidden)

    def _bf16(self) -> torch.autocast:
        """The model itself computes in bf16 on a GPU; losses, outside of it, in fp32."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda")

    def generate(
        self, ids: Tensor, mask: Tensor, types: Tensor, pixels: Tensor, grids: Tensor, max_new_tokens: int
    ) -> Tensor:
        """(batch, length + new) greedy continuation of left-padded prompts."""
        tokenizer = self.processor.tokenizer
        inputs = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": types, "image_grid_thw": grids}
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        with self._bf16():
            return self.model.generate(
                **{key: value.to(self.device) for key, value in inputs.items()},
                pixel_values=self.normalised(pixels),
                generation_config=config,
            )

    def rope_index(self, ids: Tensor, types: Tensor, grids: Tensor) -> Tensor:
        """(3, 1, length) positions (time, height, width) of one sample."""
        return self.model.model.get_rope_index(ids, mm_token_type_ids=types, image_grid_thw=grids)[0]

    def train_only(self, wanted: Callable[[str], bool]) -> None:
        """Parameters whose part (`vision` or `language`) is wanted are trained, the others frozen."""
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(wanted(part_of(name)))

    def save(self, folder: Path, dtype: str) -> None:
        """A plain Hugging Face folder: weights, config, tokenizer, image processor."""
        kind = getattr(torch, dtype)
        before = self.model.dtype
        self.model.to(kind).save_pretrained(folder)
        self.model.to(before)
        self.processor.save(folder)


def part_of(parameter: str) -> str:
    """`vision` for parameters of the tower and its merger, else `language`."""
    return "vision" if ".visual." in f".{parameter}" else "language"


def load(
    settings: ModelSettings, texts: Iterable[str], seed: int, processor_folder: Path | None = None
) -> VisionLanguageModel:
    """The model with fp32 weights on the CPU.

    `texts` are what the tokenizer of a `tiny` model is learnt from, unless `processor_folder` holds one already.
    """
    disable_progress_bar()
    processor = load_processor(settings, texts, processor_folder)
    if settings.name == "tiny":
        torch.manual_seed(seed)
        config = tiny_config(settings.tiny, processor.tokenizer)
        model = Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation=settings.attention)
        model.generation_config = GenerationConfig(
            eos_token_id=processor.tokenizer.eos_token_id, pad_token_id=processor.tokenizer.pad_token_id
        )
    else:
        config = read_config(settings.name)
        if config.model_type not in FAMILIES:
            known = ", ".join(FAMILIES)
            raise ModelError(f"model {settings.name}: family '{config.model_type}' is not supported; known: {known}")
        model = _from_pretrained(
            FAMILIES[config.model_type], settings.name, dtype=torch.float32, attn_implementation=settings.attention
        )
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return VisionLanguageModel(model, processor)


def load_processor(settings: ModelSettings, texts: Iterable[str], folder: Path | None = None) -> Processor:
    """The processor that goes with the model, its image sizes bounded as the settings say."""
    size = {"shortest_edge": settings.min_pixels, "longest_edge": settings.max_pixels}
    if folder is not None and folder.is_dir():
        return Processor(_from_pretrained(AutoTokenizer, str(folder)), Qwen2VLImageProcessorPil(size=size))
    if settings.name == "tiny":
        tokenizer = train_tokenizer(texts, settings.tiny.vocabulary)
        return Processor(tokenizer, Qwen2VLImageProcessorPil(size=size))
    # Not `size`: a preprocessor config of Qwen holds min_pixels and max_pixels, and those win over it.
    bounds = {"min_pixels": settings.min_pixels, "max_pixels": settings.max_pixels}
    images = _from_pretrained(Qwen2VLImageProcessorPil, settings.name, **bounds)
    return Processor(_from_pretrained(AutoTokenizer, settings.name), images)


def read_config(name: str) -> Any:
    """The config of a hub id or folder."""
    return _from_pretrained(AutoConfig, name)


def _from_pretrained(kind: Any, name: str, **options: Any) -> Any:
    try:
        return kind.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"model {name}: {kind.__name__} cannot open it ({reason}); give a hub id or a folder as model.name"
        ) from None


def tiny_config(sizes: TinySettings, tokenizer: Any) -> Qwen2_5_VLConfig:
    """Qwen2.5-VL's config at toy sizes; ties its embeddings as the 3B model does."""
    half_head = sizes.text_width // sizes.text_heads // 2
    side = 3 * half_head // 8
    vision = {
        "depth": sizes.vision_depth,
        "hidden_size": sizes.vision_width,
        "intermediate_size": sizes.vision_mlp,
        "num_heads": sizes.vision_heads,
        "out_hidden_size": sizes.text_width,
        # Images this small need every layer to see the whole of them: windows of 112 px cost recall.
        "fullatt_block_indexes": list(range(sizes.vision_depth)),
        "tokens_per_second": 2,
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": sizes.text_width,
        "intermediate_size": sizes.text_mlp,
        "num_hidden_layers": sizes.text_depth,
        "num_attention_heads": sizes.text_heads,
        "num_key_value_heads": sizes.text_kv_heads,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 32768,
        # Qwen's own shares of the rotary frequencies: 1/4 time, 3/8 height, 3/8 width.
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [half_head - 2 * side, side, side],
        },
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    ids = {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}
    return Qwen2_5_VLConfig(vision_config=vision, text_config=text, tie_word_embeddings=True, **ids)


def count_parameters(settings: ModelSettings) -> dict[str, int]:
    """Parameters of the parts `vision` and `language`, without loading weights."""
    if settings.name in KNOWN_SIZES:
        vision, total = KNOWN_SIZES[settings.name]
        return {"vision": vision, "language": total - vision}
    if settings.name == "tiny":
        config = tiny_config(settings.tiny, train_tokenizer([], settings.tiny.vocabulary))
        config.text_config.vocab_size = settings.tiny.vocabulary
    else:
        config = read_config(settings.name)
    with torch.device("meta"):
        model = FAMILIES[config.model_type](config)
    counts = {"vision": 0, "language": 0}
    for name, parameter in cast(nn.Module, model).named_parameters():
        counts[part_of(name)] += parameter.numel()
    return counts
