"""Architectures without weights: the small random models, and the real ones that a dry run counts without a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from hatch_train.settings import TinySettings


@dataclass(frozen=True)
class Family:
    """Classes of config and model, and how its image processor differs from Qwen2-VL's."""

    config: Any
    model: Any
    images: dict[str, Any] = field(default_factory=dict)


_HALF = [0.5, 0.5, 0.5]
#: model_type -> family.
FAMILIES = {
    "qwen2_5_vl": Family(Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration),
    "qwen3_vl": Family(
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        {"patch_size": 16, "image_mean": _HALF, "image_std": _HALF},
    ),
}

#: Hub id -> config as its config.json has it, as far as it decides the number of parameters.
_KNOWN: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": {
        "model_type": "qwen2_5_vl",
        "tie_word_embeddings": True,
        "vision": (32, 1280, 3420, 16, 2048),
        "text": (151936, 2048, 11008, 36, 16, 2, 128),
    },
    "Qwen/Qwen2.5-VL-7B-Instruct": {
        "model_type": "qwen2_5_vl",
        "tie_word_embeddings": False,
        "vision": (32, 1280, 3420, 16, 3584),
        "text": (152064, 3584, 18944, 28, 28, 4, 128),
    },
    "Qwen/Qwen3-VL-4B-Instruct": {
        "model_type": "qwen3_vl",
        "tie_word_embeddings": True,
        "vision": (24, 1024, 4096, 16, 2560),
        "text": (151936, 2560, 9728, 36, 32, 8, 128),
    },
    "Qwen/Qwen3-VL-8B-Instruct": {
        "model_type": "qwen3_vl",
        "tie_word_embeddings": False,
        "vision": (27, 1152, 4304, 16, 4096),
        "text": (151936, 4096, 12288, 36, 32, 8, 128),
    },
}
_VISION = ("depth", "hidden_size", "intermediate_size", "num_heads", "out_hidden_size")
_TEXT = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "num_key_value_heads", "head_dim"),
)


def known_family(name: str) -> str | None:
    """The model_type of a model on the hub whose shape is known here."""
    return _KNOWN[name]["model_type"] if name in _KNOWN else None


def known_config(name: str) -> Any:
    """The config of such a model: right in all sizes."""
    shape = _KNOWN[name]
    vision, text = (dict(zip(keys, shape[part], strict=True)) for keys, part in ((_VISION, "vision"), (_TEXT, "text")))
    if shape["model_type"] == "qwen2_5_vl":
        del text["head_dim"]  # hidden_size / num_attention_heads there
    config = FAMILIES[shape["model_type"]].config
    return config(vision_config=vision, text_config=text, tie_word_embeddings=shape["tie_word_embeddings"])


def tiny_config(sizes: TinySettings, tokenizer: Any) -> Any:
    """A family's config at toy sizes; ties its embeddings as the smaller models of both families do."""
    head = sizes.text_width // sizes.text_heads
    vision: dict[str, Any] = {
        "depth": sizes.vision_depth,
        "hidden_size": sizes.vision_width,
        "intermediate_size": sizes.vision_mlp,
        "num_heads": sizes.vision_heads,
        "out_hidden_size": sizes.text_width,
    }
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": sizes.text_width,
        "intermediate_size": sizes.text_mlp,
        "num_hidden_layers": sizes.text_depth,
        "num_attention_heads": sizes.text_heads,
        "num_key_value_heads": sizes.text_kv_heads,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 32768,
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e6}
    # Qwen's own shares of the rotary frequencies for height and width, the rest for time.
    if sizes.family == "qwen2_5_vl":
        side = 3 * (head // 2) // 8
        # Images this small need every layer to see the whole of them: windows of 112 px cost recall.
        vision |= {"fullatt_block_indexes": list(range(sizes.vision_depth)), "tokens_per_second": 2}
    else:
        side = 5 * (head // 2) // 16
        rope["mrope_interleaved"] = True
        text["head_dim"] = head
        # After each quarter of the tower but the last, as in the real ones.
        quarters = {max(0, sizes.vision_depth * k // 4 - 1) for k in (1, 2, 3)}
        vision |= {"deepstack_visual_indexes": sorted(quarters), "num_position_embeddings": 256}
    text["rope_parameters"] = rope | {"mrope_section": [head // 2 - 2 * side, side, side]}
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    ids = {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}
    return FAMILIES[sizes.family].config(vision_config=vision, text_config=text, tie_word_embeddings=True, **ids)
