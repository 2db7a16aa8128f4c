"""The settings of a run, and of every stage whatever its kind; those of each kind live beside the stage's code."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from hatch_data.settings import Settings

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class TinySettings(Settings):
    """Family and sizes of the small random model that `model.name: tiny` makes."""

    family: Literal["qwen2_5_vl", "qwen3_vl"] = "qwen2_5_vl"
    vision_width: Positive = 96
    vision_depth: Positive = 4
    vision_heads: Positive = 4
    vision_mlp: Positive = 256
    text_width: Positive = 128
    text_depth: Positive = 4
    text_heads: Positive = 4
    text_kv_heads: Positive = 2
    text_mlp: Positive = 384
    vocabulary: Positive = 1024


class LoraSettings(Settings):
    """Low-rank adapters beside every linear layer of the language model's blocks, trained in place of its own weights
    (arXiv:2106.09685); an export has them merged. They add `alpha / rank` times their output."""

    rank: Positive = 32
    alpha: Annotated[float, Field(gt=0)] = 64


class ModelSettings(Settings):
    """`name` is `tiny`, the id of a model on the Hugging Face hub, or a folder that `save_pretrained` wrote.

    `max_pixels` and `min_pixels` bound the area of a resized image and so its number of tokens: the main lever on
    memory. `attention: sdpa` is torch's own, by its flash kernel on a GPU, and needs no package. `saved_dtype` is that
    of the exported weights; training keeps fp32 masters.
    """

    name: str = "tiny"
    min_pixels: Positive = 56 * 56
    max_pixels: Positive = 1280 * 28 * 28
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    gradient_checkpointing: bool = False
    saved_dtype: Literal["float32", "bfloat16"] = "float32"
    lora: LoraSettings | None = None
    tiny: TinySettings = TinySettings()

    @model_serializer(mode="wrap")
    def _without_what_does_not_matter(self, tree_of: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree = tree_of(self)
        return tree if self.name == "tiny" else {key: value for key, value in tree.items() if key != "tiny"}


class AugmentSettings(Settings):
    """Exposure and colour drawn for each image on its own: without it colour alone solves the matching.

    Each number is the half width of a uniform distribution, of the logarithm of: all channels together, each
    channel, and the exponent of the tone curve.
    """

    exposure: Annotated[float, Field(ge=0)] = 0.4
    colour: Annotated[float, Field(ge=0)] = 0.2
    gamma: Annotated[float, Field(ge=0)] = 0.3


class DataSettings(Settings):
    """`shards` are folders that hatch-data wrote, or a group of folders and their weights: `{out/a: 2, out/b: 0.5}` has
    each row of a twice an epoch and a new half of b. `single_image_share` is the share that rows of one image are made
    to have in an epoch, by repeating or thinning them out; none leaves them as they are. `workers` read for each
    process; `image_cache_mb` bounds the decoded images that each of them keeps."""

    shards: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    single_image_share: Annotated[float, Field(ge=0, lt=1)] | None = None
    workers: Annotated[int, Field(ge=0)] = 2
    image_cache_mb: Annotated[int, Field(ge=0)] = 256
    augment: AugmentSettings | None = None

    @field_validator("shards", mode="before")
    @classmethod
    def _one_or_several(cls, shards: Any) -> Any:
        shards = [shards] if isinstance(shards, str) else shards
        return shards if isinstance(shards, dict) else dict.fromkeys(shards, 1.0)


class StageSettings(Settings):
    """What every stage has. A step is `accumulate` packs, which the processes share; `warmup` is a share of the steps;
    the learning rate then falls along a cosine to `final_rate` of its peak. `validation` held-out samples are evaluated
    before and after. A step whose loss is not a number, or more than `spike` times the median of the 32 before it,
    stops the run, or is skipped if `on_bad_loss` says so; its rows are named."""

    kind: str
    steps: Positive
    accumulate: Positive = 1
    learning_rate: Annotated[float, Field(gt=0)]
    warmup: Share = 0.05
    final_rate: Share = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    betas: tuple[float, float] = (0.9, 0.95)
    clip: Annotated[float, Field(gt=0)] = 1.0
    validation: Annotated[int, Field(ge=0)] = 200
    spike: Annotated[float, Field(gt=1)] | None = None
    on_bad_loss: Literal["stop", "skip"] = "stop"


class CheckpointSettings(Settings):
    """A checkpoint every so many steps and at the end of each stage; the newest `keep` stay."""

    every: Positive = 200
    keep: Positive = 2


class RunSettings(Settings):
    """A whole run, its stages apart. `processes` on this machine train together; none is one for each GPU that torch
    sees."""

    output: str
    seed: int = 0
    processes: Positive | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
