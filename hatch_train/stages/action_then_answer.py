"""ActoR: reinforcement of replies that say the right actions, then the right answer (arXiv:2602.08735).

GRPO (arXiv:2402.03300): several replies are drawn to each prompt; a reply's advantage is its reward less the mean of
its group, over the group's standard deviation. The loss is a clipped ratio to the policy that drew the replies, summed
over tokens and divided by all tokens of the step, and a KL divergence to the weights with which the stage began.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from hatch_data.settings import Settings
from hatch_train.data import Loaded
from hatch_train.metrics import REWARDS
from hatch_train.model import VisionLanguageModel
from hatch_train.packing import Caps, Pack, Sample, pack
from hatch_train.rewards import Rewards, judge
from hatch_train.rollouts import Reference, log_probabilities, seed_of, until
from hatch_train.settings import Positive
from hatch_train.stages.base import Batch
from hatch_train.stages.supervised import IMAGE_TOKEN, SLACK, Answers, Chats, ChatSettings, Supervised, prompts

#: A group whose rewards differ by less than this says nothing about which reply is better.
FLAT = 1e-6


class RewardWeights(Settings):
    """Weights of the three rewards, each of them in [0, 1], in their sum."""

    action: Annotated[float, Field(ge=0)] = 1.0
    answer: Annotated[float, Field(ge=0)] = 1.0
    format: Annotated[float, Field(ge=0)] = 0.5

    def total(self, rewards: Rewards) -> float:
        return self.action * (rewards.action or 0.0) + self.answer * rewards.answer + self.format * rewards.format


class ActionSettings(ChatSettings):
    """A step draws `group` replies at `temperature` to each of at most `prompts` prompts a pack, then takes `updates`
    steps of the optimiser on them. Ratios beyond `clip_ratio` of 1 are clipped; `kl` weighs the divergence from the
    weights with which the stage began."""

    kind: Literal["action_then_answer"] = "action_then_answer"
    prompts: Positive = 8
    group: Annotated[int, Field(ge=2)] = 8
    updates: Positive = 1
    temperature: Annotated[float, Field(gt=0)] = 1.0
    clip_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.2
    kl: Annotated[float, Field(ge=0)] = 0.02
    rewards: RewardWeights = RewardWeights()

    @model_validator(mode="after")
    def _trained_by_rewards_alone(self) -> Self:
        if self.alignment is not None:
            raise ValueError("alignment belongs to a stage of kind supervised or patch_alignment")
        return self


@dataclass(frozen=True)
class Rollouts(Batch):
    """Drawn replies in one pack. Of every token of them: its reply's advantage, and its log-probability by the policy
    that drew it, none where that is the one that is trained, and by the reference. `rewards` holds sums of figures that
    are only logged."""

    pack: Pack
    advantages: Tensor
    old: Tensor | None
    reference: Tensor | None
    rewards: dict[str, float]


class ActionThenAnswer(Supervised):
    Settings = ActionSettings
    settings: ActionSettings
    _reference: Reference | None = None

    @property
    def caps(self) -> Caps:
        return Caps(tokens=self.settings.tokens, patches=self.settings.patches, samples=self.settings.prompts)

    @property
    def weights(self) -> dict[str, float]:
        return {"policy": 1.0, "kl": self.settings.kl} if self.settings.kl else {"policy": 1.0}

    @property
    def updates(self) -> int:
        return self.settings.updates

    def reply_tokens(self, reply: list[int]) -> int:
        return self._most(len(reply))

    def _most(self, wanted: int) -> int:
        """How long a drawn reply may be where one of `wanted` tokens is wanted."""
        return min(self.settings.max_new_tokens, wanted + SLACK)

    @torch.no_grad()
    def prepare(self, model: VisionLanguageModel, batch: Chats, step: int) -> list[Rollouts]:
        """Draw replies, judge them, and ask the policy and the reference how likely they are.

        The k-th part holds the k-th reply to each prompt: within the caps, as many parts whatever is drawn. The draw
        depends on the seed, the stage, the step and the rows alone.
        """
        settings = self.settings
        if settings.kl and self._reference is None:
            folder = Path(self.recipe.output) / "references" / self.name
            self._reference = Reference(model, self.trains, folder, fresh=step == 0)
        model.model.eval()
        replies = self.draw(model, batch, seed_of(self.recipe.seed, self.name, step, batch.ids))
        texts = [self.processor.tokenizer.batch_decode(own, skip_special_tokens=True) for own in replies]
        rewards = [[judge(text, what) for text in own] for own, what in zip(texts, batch.wanted, strict=True)]
        advantages, flat = group_advantages(np.array([[settings.rewards.total(r) for r in own] for own in rewards]))
        parts = []
        for k in range(settings.group):
            samples = [with_reply(batch, number, own[k]) for number, own in enumerate(replies)]
            parts.append(self._part(samples, advantages[:, k], [own[k] for own in rewards], flat))
        if settings.updates > 1:
            parts = [replace(part, old=log_probabilities(model, part.pack, settings.temperature)) for part in parts]
        if self._reference is not None:
            with self._reference.in_place():
                thought = [log_probabilities(model, part.pack, settings.temperature) for part in parts]
            parts = [replace(part, reference=own) for part, own in zip(parts, thought, strict=True)]
        model.model.train()
        return parts

    def draw(self, model: VisionLanguageModel, batch: Chats, seed: int) -> list[list[list[int]]]:
        """Tokens of `group` replies to each prompt."""
        asked, group = prompts(batch.pack), self.settings.group
        # Of this GPU alone: to ask the others would take memory on each of them.
        with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
            torch.manual_seed(seed)
            said = self.generated(model, asked, self.settings.temperature, group).tolist()
        end = self.processor.tokenizer.eos_token_id
        return [
            [until(tokens, end)[: self._most(one.reply)] for tokens in said[number * group : (number + 1) * group]]
            for number, one in enumerate(asked)
        ]

    def _part(
        self, samples: list[Sample], advantages: NDArray[np.float64], rewards: list[Rewards], flat: NDArray[np.bool_]
    ) -> Rollouts:
        packed = pack(samples, self.processor.token_id(IMAGE_TOKEN))
        lengths = [int(sample.supervised.sum()) for sample in samples]
        tokens, replies = sum(lengths), len(samples)
        totals = [self.settings.rewards.total(one) for one in rewards]
        sums = {"reward": float(sum(totals)), "length": float(tokens), "flat": float(flat.sum())}
        counts = {"policy": tokens, "kl": tokens, "clipped": tokens, "reward": replies, "length": replies}
        counts["flat"] = replies
        for name in REWARDS:
            own = [value for one in rewards if (value := getattr(one, name)) is not None]
            sums[name], counts[name] = float(sum(own)), len(own)
        per_token = torch.from_numpy(advantages.repeat(lengths)).float()
        ids = [sample.id for sample in samples]
        return Rollouts(ids, counts, packed.ids.numel(), packed, per_token, None, None, sums)

    def losses(self, model: VisionLanguageModel, batch: Any) -> dict[str, Tensor]:
        new = log_probabilities(model, batch.pack, self.settings.temperature)
        clip, advantages = self.settings.clip_ratio, batch.advantages.to(new.device)
        old = new.detach() if batch.old is None else batch.old.to(new.device)
        policy, clipped = policy_loss(new, old, advantages, clip)
        sums = {name: new.new_full((), value) for name, value in batch.rewards.items()}
        sums |= {"policy": policy, "clipped": clipped}
        if batch.reference is not None:
            sums["kl"] = divergence(new, batch.reference.to(new.device))
        return sums

    @torch.no_grad()
    def evaluate(self, model: VisionLanguageModel, held_out: Iterator[Loaded[Chats]]) -> dict[str, Any]:
        samples, answers = 0, Answers(self, model)
        for loaded in held_out:
            samples += len(loaded.batch.ids)
            answers.ask(loaded.batch)
        return {"samples": samples, **answers.figures()} if samples else {}


def with_reply(batch: Chats, number: int, reply: list[int]) -> Sample:
    """A sample of a batch with another reply, all of which is supervised."""
    prompt = prompts(batch.pack)[number]
    ids = np.concatenate([prompt.ids.numpy(), np.array(reply, np.int64)])
    supervised = np.arange(len(ids)) >= len(prompt.ids)
    return Sample(batch.ids[number], ids, supervised, len(prompt.ids), prompt.pixels.numpy(), prompt.grids.numpy())


def group_advantages(totals: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(groups, replies) rewards -> (groups, replies) advantages, and which groups are flat: their advantages are 0."""
    apart, spread = totals - totals.mean(1, keepdims=True), totals.std(1, keepdims=True)
    flat = spread < FLAT
    return np.where(flat, 0.0, apart / np.where(flat, 1.0, spread)), flat[:, 0]


def policy_loss(new: Tensor, old: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """PPO's clipped objective (arXiv:1707.06347), negative and summed over tokens; and how many tokens it clips."""
    ratio = (new - old).exp()
    free, bound = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return -torch.minimum(free, bound).sum(), (bound < free).sum()


def divergence(new: Tensor, reference: Tensor) -> Tensor:
    """Estimate of KL(new || reference) from tokens that new drew, summed over them: never negative, unbiased
    (Schulman's k3)."""
    apart = reference - new
    return (apart.exp() - apart - 1).sum()
