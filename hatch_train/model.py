"""Families of vision-language models behind one small face: weights, tokenizer, image processor.

The families: Qwen2.5-VL and Qwen3-VL, by hub id, by folder, or `tiny`, a small random model of the same architecture.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer, GenerationConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils import VIDEO_PROCESSOR_NAME, cached_file
from transformers.utils.logging import disable_progress_bar

from hatch_train import adapters, kernels
from hatch_train.errors import ModelError
from hatch_train.parallel import Shell
from hatch_train.settings import ModelSettings
from hatch_train.shapes import FAMILIES, known_config, known_family, tiny_config
from hatch_train.tokenizer import train_tokenizer


@dataclass(frozen=True)
class Processor:
    """Text and images to numbers, as the model expects them. Small, and sent to the data workers.

    `video` is the base model's video_preprocessor_config.json, unused here, which others ask of an export.
    """

    tokenizer: Any
    images: Any
    video: str | None = None

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
        if self.video is not None:
            (folder / VIDEO_PROCESSOR_NAME).write_text(self.video, encoding="utf-8")


class VisionLanguageModel:
    """A model and its processor, as the stages use them."""

    def __init__(self, model: nn.Module, processor: Processor, lora: bool = False):
        self.model: Any = model
        self.shell = Shell(model)
        self.processor, self.lora = processor, lora
        scale = torch.tensor(processor.images.image_std) * 255
        shift = torch.tensor(processor.images.image_mean) * 255
        self._scale, self._shift = scale[None, :, None], shift[None, :, None]

    @property
    def blocks(self) -> list[nn.Module]:
        """The layers of the vision tower and of the language model, in the order in which they run."""
        return [*self.model.model.visual.blocks, *self.model.model.language_model.layers]

    @property
    def device(self) -> torch.device:
        return self.model.device

    def normalised(self, pixels: Tensor) -> Tensor:
        """(patches, 3 * values) uint8 as the workers send them -> float32 as the image processor normalises them."""
        self._shift, self._scale = self._shift.to(self.device), self._scale.to(self.device)
        values = pixels.to(self.device).view(len(pixels), 3, -1).float()
        return values.sub_(self._shift).div_(self._scale).flatten(1)

    def image_features(self, pixels: Tensor, grids: Tensor) -> tuple[Tensor, ...]:
        """For each image (tokens, width) features after the merger, in raster order."""
        # `pooler_output`, since the last hidden state is in window order for Qwen2.5-VL and not merged for Qwen3-VL.
        with self._bf16():
            return self.model.get_image_features(self.normalised(pixels), grids.to(self.device)).pooler_output

    def hidden_states(
        self, inputs: dict[str, Tensor], pixels: Tensor, grids: Tensor, lengths: Sequence[int] = ()
    ) -> Tensor:
        """(batch, length, width) of the last layer. `inputs`: ids, positions and types of tokens; `lengths` those of
        the samples of a pack."""
        apart: dict[str, Any] = {}
        if lengths and self.model.config._attn_implementation == kernels.SEGMENTS:
            apart["segments"] = kernels.segments_of(lengths, self.device)
            # Not looked at: of four dimensions, so that no mask of length x length is made.
            apart["attention_mask"] = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.device)
        with self._bf16():
            outputs = self.model.model(
                **{key: value.to(self.device) for key, value in inputs.items()},
                pixel_values=self.normalised(pixels),
                image_grid_thw=grids.to(self.device),
                use_cache=False,
                **apart,
            )
        return outputs.last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        with self._bf16():
            return self.model.lm_head(hidden)

    def _bf16(self) -> torch.autocast:
        """The model itself computes in bf16 on a GPU; losses, outside of it, in fp32."""
        # Without a cache, which would hold a bf16 copy of all weights; each is used once.
        cuda = self.device.type == "cuda"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=cuda, cache_enabled=False)

    def generate(
        self,
        prompts: Sequence[Tensor],
        pixels: Tensor,
        grids: Tensor,
        max_new_tokens: int,
        temperature: float = 0.0,
        copies: int = 1,
    ) -> Tensor:
        """(prompts * copies, longest) tokens of replies to prompts of any lengths, whose images are one after the
        other: the likeliest tokens, or at a temperature tokens drawn with torch's own random numbers, `copies` times
        for each prompt."""
        tokenizer = self.processor.tokenizer
        length = max(map(len, prompts))
        ids = torch.full((len(prompts), length), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, length - len(prompt) :], mask[row, length - len(prompt) :] = prompt, 1
        # What is drawn is trained on, and an image token there would be one without an image.
        images = [self.processor.token_id(token) for token in ("<|image_pad|>", "<|video_pad|>")]
        types = (ids == images[0]).int()
        inputs = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": types, "image_grid_thw": grids}
        sampling: dict[str, Any] = {"temperature": temperature, "top_k": 0, "top_p": 1.0, "suppress_tokens": images}
        config = GenerationConfig(
            do_sample=temperature > 0,
            num_return_sequences=copies,
            max_new_tokens=max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **(sampling if temperature else {}),
        )
        with self._bf16():
            said = self.model.generate(
                **{key: value.to(self.device) for key, value in inputs.items()},
                pixel_values=self.normalised(pixels),
                generation_config=config,
                # Each process by itself, with whole weights: see `parallel.whole`.
                synced_gpus=False,
            )
        return said[:, length:]

    def rope_index(self, ids: Tensor, types: Tensor, grids: Tensor) -> Tensor:
        """(3, 1, length) positions (time, height, width) of one sample."""
        return self.model.model.get_rope_index(ids, mm_token_type_ids=types, image_grid_thw=grids)[0]

    def train_only(self, wanted: Callable[[str], bool]) -> None:
        """Parameters whose part is wanted are trained, the others frozen."""
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(wanted(part_of(name)))

    def round(self, dtype: torch.dtype) -> None:
        """Round the weights in place, and them alone: `nn.Module.to` would round the frequencies of the rotary
        positions too, and bf16 turns distant positions by radians."""
        for parameter in self.model.parameters():
            parameter.data = parameter.data.to(dtype)

    def save(self, folder: Path, dtype: str) -> None:
        """A plain Hugging Face folder: weights, config, tokenizer, image processor.

        The last that is done with a model: its adapters are merged and its weights are rounded to `dtype` in place.
        """
        if self.lora:
            adapters.merge(self.model)
        self.round(getattr(torch, dtype))
        self.model.save_pretrained(folder)
        self.processor.save(folder)


def part_of(parameter: str) -> str:
    """`vision` for parameters of the tower and its merger, `deepstack` for Qwen3-VL's mergers of inner layers, which
    only the language model sees, `adapter` for those that LoRA adds, else `language`."""
    if "alignment_heads." in parameter:
        return "head"
    if ".lora_" in parameter:
        return "adapter"
    if ".deepstack_merger_list." in parameter:
        return "deepstack"
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
        with _installed(settings):
            model = FAMILIES[settings.tiny.family].model._from_config(config, attn_implementation=settings.attention)
        model.generation_config = GenerationConfig(
            eos_token_id=processor.tokenizer.eos_token_id, pad_token_id=processor.tokenizer.pad_token_id
        )
    else:
        config = read_config(settings.name)
        if config.model_type not in FAMILIES:
            known = ", ".join(FAMILIES)
            raise ModelError(f"model {settings.name}: family '{config.model_type}' is not supported; known: {known}")
        kind = FAMILIES[config.model_type].model
        with _installed(settings):
            model = _from_pretrained(kind, settings.name, dtype=torch.float32, attn_implementation=settings.attention)
    kernels.put_into(model)
    if settings.lora:
        torch.manual_seed(seed)
        adapters.add(model, settings.lora)
    if settings.gradient_checkpointing:
        checkpoint_activations(model)
    return VisionLanguageModel(model, processor, settings.lora is not None)


@contextmanager
def _installed(settings: ModelSettings) -> Iterator[None]:
    """A kernel of attention that is not there is told with the way out."""
    try:
        yield
    except ImportError as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ModelError(
            f"model.attention {settings.attention}: {reason}; or use --set model.attention=sdpa, which needs no package"
        ) from None


def checkpoint_activations(model: Any) -> None:
    """Keep of each layer its input alone, and compute the rest again in the backward pass."""
    with warnings.catch_warnings():
        # Renamed in transformers 5; the old name is there in all versions that this package allows.
        warnings.filterwarnings("ignore", "`gradient_checkpointing_enable` is deprecated", FutureWarning)
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def load_processor(settings: ModelSettings, texts: Iterable[str], folder: Path | None = None) -> Processor:
    """The processor that goes with the model, its image sizes bounded as the settings say."""
    # Not `size`: a preprocessor config of Qwen may hold min_pixels and max_pixels, and those win over it.
    bounds = {"min_pixels": settings.min_pixels, "max_pixels": settings.max_pixels}
    saved = folder is not None and folder.is_dir()
    if settings.name == "tiny" and not saved:
        images = Qwen2VLImageProcessorPil(**bounds, **FAMILIES[settings.tiny.family].images)
        return Processor(train_tokenizer(texts, settings.tiny.vocabulary), images)
    name = str(folder) if saved else settings.name
    images = _from_pretrained(Qwen2VLImageProcessorPil, name, **bounds)
    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    video = cached_file(name, VIDEO_PROCESSOR_NAME, **quiet)
    text = Path(video).read_text(encoding="utf-8") if video else None
    return Processor(_from_pretrained(AutoTokenizer, name), images, text)


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


def skeleton(settings: ModelSettings) -> Any:
    """The model without its weights."""
    if known_family(settings.name):
        config = known_config(settings.name)
    elif settings.name == "tiny":
        config = tiny_config(settings.tiny, train_tokenizer([], settings.tiny.vocabulary))
        config.text_config.vocab_size = settings.tiny.vocabulary
    else:
        config = read_config(settings.name)
    with torch.device("meta"):
        model = FAMILIES[config.model_type].model(config)
        if settings.lora:
            adapters.add(model, settings.lora)
    return model


def count_parameters(settings: ModelSettings) -> Counter[str]:
    """Parameters of each part, without loading weights."""
    counts: Counter[str] = Counter()
    for name, parameter in cast(nn.Module, skeleton(settings)).named_parameters():
        counts[part_of(name)] += parameter.numel()
    return counts
