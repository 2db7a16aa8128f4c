"""What a stage is to the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from torch import Tensor, nn

from hatch_train.data import Item, Loaded, Shards
from hatch_train.images import ImageReader
from hatch_train.model import Processor, VisionLanguageModel
from hatch_train.packing import Caps
from hatch_train.settings import RunSettings, StageSettings


@dataclass(frozen=True)
class Batch:
    """What every stage's batch holds: row ids, and for each term of the loss the number of things it sums over."""

    ids: list[str]
    counts: dict[str, int]
    tokens: int


#: Attribute of the model that holds the heads of all stages, by name.
HEADS = "alignment_heads"

B = TypeVar("B", bound=Batch)
S = TypeVar("S", bound=StageSettings)


class Stage(ABC, Generic[S, B]):
    """What is trained, on what, with which loss.

    A loss is a weighted sum of terms, each a sum over things (regions, tokens) divided by their number in the whole
    step, over all its packs: so `losses` returns sums, and the batch says how many things they are over.
    """

    Settings: ClassVar[type[StageSettings]]
    #: Small columns from which the items and their sizes are known.
    small: ClassVar[tuple[str, ...]]

    def __init__(self, name: str, settings: S, recipe: RunSettings, processor: Processor):
        self.name, self.settings, self.recipe, self.processor = name, settings, recipe, processor
        self.images = ImageReader(processor, recipe.data.augment, recipe.data.image_cache_mb)

    @abstractmethod
    def trains(self, part: str) -> bool:
        """Whether a part of the model, as `hatch_train.model.part_of` names it, is trained."""

    @classmethod
    def heads(cls, settings: S, vision: Any) -> nn.ModuleDict:
        """What is learnt beside the model and dropped after training, given the config of the vision tower."""
        return nn.ModuleDict()

    def heads_of(self, model: VisionLanguageModel) -> Any:
        """The stage's heads, as `hatch_train.stages.attach_heads` put them beside the model; None without any."""
        heads = getattr(model.model, HEADS, None)
        return heads[self.name] if heads is not None and self.name in heads else None

    @property
    @abstractmethod
    def caps(self) -> Caps:
        """How much a pack may hold."""

    @property
    @abstractmethod
    def weights(self) -> dict[str, float]:
        """Term -> its weight in the loss. Terms that `losses` returns beside these are only logged."""

    @abstractmethod
    def items(self, shards: Shards) -> list[Item]:
        """What there is to train on."""

    def generator(self, item: Item, epoch: int) -> np.random.Generator:
        """The random numbers of an item in an epoch: the same whoever reads it, and when."""
        return np.random.default_rng([self.recipe.seed, epoch, item.row, item.match])

    @abstractmethod
    def batch(self, shards: Shards, items: list[Item], epoch: int) -> B:
        """Read and preprocess the items of a pack. Runs in a worker."""

    @property
    def updates(self) -> int:
        """Optimiser's steps on what `prepare` gives, within one step of training."""
        return 1

    def prepare(self, model: VisionLanguageModel, batch: B, step: int) -> list[Any]:
        """What a step is taken on: the batch itself, or batches made from it by the model as it now is. As many on
        every rank."""
        return [batch]

    @abstractmethod
    def losses(self, model: VisionLanguageModel, batch: B) -> dict[str, Tensor]:
        """Sums, fp32, of each term over the batch; each name stands in `batch.counts`."""

    @abstractmethod
    def evaluate(self, model: VisionLanguageModel, held_out: Iterator[Loaded[B]]) -> dict[str, Any]:
        """Figures on held-out batches; what needs no model stands under `baselines`."""
