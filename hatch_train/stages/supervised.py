"""Questions to answers, with or without the actions between the views before the answer (arXiv:2602.08735).

The reply is `<action>[...]</action><answer>...</answer>`, or `<answer>...</answer>` alone; only the reply is
supervised. Its tokens are known by construction: prompt and reply are encoded apart, as in generation, so no search
for a token id decides where the reply begins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from hatch_data.actions import format_pairs, parse_json
from hatch_data.errors import ActionError, ShardError
from hatch_train import metrics
from hatch_train.data import Item, Loaded, Shards
from hatch_train.model import VisionLanguageModel
from hatch_train.packing import Caps, Pack, Sample, pack, supervised_logits
from hatch_train.recipe import Positive, StageSettings
from hatch_train.stages.base import Batch, Stage

IMAGE_MARK = "<image>"
IMAGE_TOKEN = "<|image_pad|>"
#: Held-out samples that are answered together.
REPLIES_AT_ONCE = 32


class SupervisedSettings(StageSettings):
    """A pack holds at most `tokens` tokens and `patches` vision patches. `instruction` follows the question where the
    reply starts with actions. `replies` held-out samples are answered by greedy generation."""

    kind: Literal["supervised"] = "supervised"
    tokens: Positive = 8192
    patches: Positive = 32768
    with_actions: bool = True
    instruction: str = (
        "First write the actions that lead from each view to each later one in <action></action>, "
        "then the answer in <answer></answer>."
    )
    train_vision: bool = False
    replies: Annotated[int, Field(ge=0)] = 64
    max_new_tokens: Positive = 512


class Chat(NamedTuple):
    """The text of a sample, with one image token an image, and the vocabulary of its actions."""

    prompt: str
    reply: str
    target: str
    vocabulary: str


@dataclass(frozen=True)
class Chats(Batch):
    """A pack of chats; what each should reply, in which vocabulary of actions, and its task."""

    pack: Pack
    targets: list[str]
    vocabularies: list[str]
    tasks: list[str]


class Supervised(Stage[SupervisedSettings, Chats]):
    Settings = SupervisedSettings
    small = ("image_sizes", "task", "answer", "actions", "messages")

    def trains(self, part: str) -> bool:
        language = "adapter" if self.recipe.model.lora else "language"
        return part == language or (self.settings.train_vision and part in ("vision", "deepstack"))

    @property
    def caps(self) -> Caps:
        return Caps(tokens=self.settings.tokens, patches=self.settings.patches)

    @property
    def weights(self) -> dict[str, float]:
        return {"text": 1.0}

    def items(self, shards: Shards) -> list[Item]:
        chats = [self.chat(row) for row in shards.rows]
        texts = [text for chat in chats for text in (chat.prompt, chat.reply)]
        encoded = self.processor.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        items = []
        for index, row in enumerate(shards.rows):
            text = len(encoded[2 * index]) + len(encoded[2 * index + 1])
            tokens = [self.images.tokens(size) for size in row["image_sizes"]]
            items.append(Item(index, text - len(tokens) + sum(tokens), sum(tokens) * self.processor.merge**2))
        return items

    def chat(self, row: dict[str, Any]) -> Chat:
        """Prompt and reply of a row. Raises `ShardError` for a row with nothing to learn from."""
        if not row["answer"].strip():
            raise ShardError(f"row {row['id']}: its answer is empty: no token to supervise; rebuild its shards")
        *asked, _ = row["messages"]
        target, vocabulary = self.target(row)
        turns = [{"role": turn["role"], "content": _parts(turn["content"])} for turn in asked]
        if target.startswith("<action>"):
            turns[-1]["content"].append({"type": "text", "text": f"\n{self.settings.instruction}"})
        template = self.processor.tokenizer.apply_chat_template
        prompt = template(turns, tokenize=False, add_generation_prompt=True)
        whole = template([*turns, {"role": "assistant", "content": target}], tokenize=False)
        if not whole.startswith(prompt):
            raise ShardError(f"row {row['id']}: the chat template does not put the reply behind the prompt")
        return Chat(prompt, whole.removeprefix(prompt).rstrip("\n"), target, vocabulary)

    def target(self, row: dict[str, Any]) -> tuple[str, str]:
        """What the assistant should say, and the vocabulary of its actions."""
        answer = f"<answer>{row['answer']}</answer>"
        if not (self.settings.with_actions and row["actions"]):
            return answer, "full"
        labels = sorted(row["actions"], key=lambda label: (label["source"], label["target"]))
        vocabulary = labels[0]["vocabulary"]
        try:
            pairs = [(a["source"], a["target"], parse_json(a["json"], a["vocabulary"])) for a in labels]
        except ActionError as error:
            raise ShardError(f"row {row['id']}: {error}; rebuild its shards") from None
        return f"<action>{format_pairs(pairs)}</action>{answer}", vocabulary

    def batch(self, shards: Shards, items: list[Item], epoch: int) -> Chats:
        samples, targets, vocabularies, tasks = [], [], [], []
        for item in items:
            row = shards.read(item.row, ("id", "images", *self.small))
            chat = self.chat(row)
            samples.append(self._sample(row, chat, self.generator(item, epoch)))
            targets.append(chat.target)
            vocabularies.append(chat.vocabulary)
            tasks.append(row["task"])
        packed = pack(samples, self.processor.token_id(IMAGE_TOKEN))
        counts = {"text": int(packed.supervised.sum())}
        return Chats([s.id for s in samples], counts, packed.ids.numel(), packed, targets, vocabularies, tasks)

    def _sample(self, row: dict[str, Any], chat: Chat, rng: np.random.Generator) -> Sample:
        sizes = [tuple(size) for size in row["image_sizes"]]
        pixels, grids = self.images.read([image["bytes"] for image in row["images"]], sizes, rng, row["id"])
        prompt, reply = (self._encode(text) for text in (chat.prompt, chat.reply))
        marks = prompt == self.processor.token_id(IMAGE_TOKEN)
        if marks.sum() != len(grids):
            raise ShardError(f"row {row['id']}: {marks.sum()} image marks in its messages, {len(grids)} images")
        copies = np.ones(len(prompt), np.int64)
        copies[marks] = grids.prod(axis=1) // self.processor.merge**2
        prompt = prompt.repeat(copies)
        supervised = np.arange(len(prompt) + len(reply)) >= len(prompt)
        return Sample(row["id"], np.concatenate([prompt, reply]), supervised, len(prompt), pixels, grids)

    def _encode(self, text: str) -> NDArray[np.int64]:
        return np.array(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"], np.int64)

    def losses(self, model: VisionLanguageModel, batch: Chats) -> dict[str, Tensor]:
        logits, targets = supervised_logits(model, batch.pack)
        return {"text": F.cross_entropy(logits.float(), targets, reduction="sum")}

    @torch.no_grad()
    def evaluate(self, model: VisionLanguageModel, held_out: Iterator[Loaded[Chats]]) -> dict[str, Any]:
        loss, tokens, samples = 0.0, 0, 0
        said: list[str] = []
        waiting: list[Prompt] = []
        targets: list[tuple[str, str, str]] = []
        for loaded in held_out:
            batch = loaded.batch
            loss += float(self.losses(model, batch)["text"])
            tokens += batch.counts["text"]
            samples += len(batch.ids)
            room = self.settings.replies - len(targets)
            waiting += prompts(batch.pack)[:room]
            targets += list(zip(batch.targets, batch.vocabularies, batch.tasks, strict=True))[:room]
            while len(waiting) >= REPLIES_AT_ONCE:
                said += self.replies(model, waiting[:REPLIES_AT_ONCE])
                del waiting[:REPLIES_AT_ONCE]
        if waiting:
            said += self.replies(model, waiting)
        if not samples:
            return {}
        figures: dict[str, Any] = {"samples": samples, "loss": loss / tokens}
        if said:
            wanted, vocabularies, tasks = map(list, zip(*targets, strict=True))
            figures |= {"replies": len(said), **metrics.reply_figures(said, wanted, vocabularies)}
            constant = best_constant(wanted, tasks)
            figures["baselines"] = {"best constant": metrics.reply_figures(constant, wanted, vocabularies)}
        return figures

    def replies(self, model: VisionLanguageModel, asked: list[Prompt]) -> list[str]:
        """What the model says to each prompt, greedily."""
        length = max(len(prompt.ids) for prompt in asked)
        tokenizer = self.processor.tokenizer
        ids = torch.full((len(asked), length), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(asked):
            ids[row, length - len(prompt.ids) :], mask[row, length - len(prompt.ids) :] = prompt.ids, 1
        said = model.generate(
            ids,
            mask,
            (ids == self.processor.token_id(IMAGE_TOKEN)).int(),
            torch.cat([prompt.pixels for prompt in asked]),
            torch.cat([prompt.grids for prompt in asked]),
            # A reply much longer than any that is wanted is wrong however it goes on.
            min(self.settings.max_new_tokens, max(prompt.reply for prompt in asked) + 16),
        )
        return tokenizer.batch_decode(said[:, length:], skip_special_tokens=True)


class Prompt(NamedTuple):
    """What a model is asked: ids and images of one sample; `reply` is the length of the reply that is wanted."""

    ids: Tensor
    pixels: Tensor
    grids: Tensor
    reply: int


def prompts(packed: Pack) -> list[Prompt]:
    """The prompts of the samples of a pack."""
    grids = packed.grids.split(packed.images)
    pixels = packed.pixels.split([int(grid.prod(dim=1).sum()) for grid in grids])
    ids = packed.ids[0].split(packed.lengths)
    parts = zip(ids, packed.prompts, pixels, grids, strict=True)
    return [Prompt(i[:n], p, g, len(i) - n) for i, n, p, g in parts]


def _parts(content: str) -> list[dict[str, str]]:
    """`<image>` marks and the text between them as the parts that a chat template takes."""
    parts: list[dict[str, str]] = []
    for number, text in enumerate(content.split(IMAGE_MARK)):
        parts += [{"type": "image"}] if number else []
        parts += [{"type": "text", "text": text}] if text else []
    return parts


def best_constant(targets: list[str], tasks: list[str]) -> list[str]:
    """The reply that is right most often for its task, as the same guess for every sample of it: the actions and the
    answer each the most frequent among `targets` themselves, so no constant guess does better."""
    best: dict[str, str] = {}
    for task in set(tasks):
        replies = [metrics.read_reply(target) for target, kind in zip(targets, tasks, strict=True) if kind == task]
        actions = Counter(reply.actions for reply in replies if reply and reply.actions is not None).most_common(1)
        answer = Counter(reply.answer for reply in replies if reply).most_common(1)[0][0]
        block = f"<action>{actions[0][0]}</action>" if actions else ""
        best[task] = f"{block}<answer>{answer}</answer>"
    return [best[task] for task in tasks]
