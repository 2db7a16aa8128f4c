"""LoRA: low-rank adapters beside the linear layers of the language model (arXiv:2106.09685), by peft."""

from __future__ import annotations

from torch import nn

from hatch_train.settings import LoraSettings

#: Every linear layer of the language model's blocks; the vision tower has layers of the same names.
_LAYERS = r".*\blanguage_model\.layers\.\d+\.(self_attn|mlp)\.[a-z]+_proj"


def add(model: nn.Module, settings: LoraSettings) -> None:
    """Put adapters beside the layers, in place. They start at zero: the model says what it said."""
    from peft import LoraConfig, inject_adapter_in_model

    # No dropout: its random state would have to be resumed too.
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, lora_dropout=0.0, target_modules=_LAYERS)
    inject_adapter_in_model(config, model)


def merge(model: nn.Module) -> None:
    """Add the adapters to the weights that they stand beside and take them away, in place."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            model.set_submodule(name, layer.get_base_layer())
