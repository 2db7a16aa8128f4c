"""Questions to answers, with or without the actions between the views before the answer (arXiv:2602.08735).

The reply is `<action>[...]</action><answer>...</answer>`, or `<answer>...</answer>` alone; only the reply is
supervised. Its tokens are known by construction: prompt and reply are encoded apart, as in generation, so no search
for a token id decides where the reply begins.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from hatch_data.actions import format_pairs, parse_json
from hatch_data.errors import ActionError, ShardError
from hatch_train import metrics
from hatch_train.data import Item, Loaded, Shards
from hatch_train.images import IMAGE_COLUMNS, shown
from hatch_train.model import VisionLanguageModel
from hatch_train.packing import Caps, Pack, Sample, pack, token_losses
from hatch_train.rewards import Wanted, judge
from hatch_train.settings import Positive, Share, StageSettings
from hatch_train.stages.alignment import (
    MATCH_COLUMNS,
    AlignmentTerm,
    Heads,
    View,
    alignment_counts,
    alignment_sums,
    levels,
    unit,
    views,
    watched,
)
from hatch_train.stages.base import Batch, Stage

IMAGE_MARK = "<image>"
IMAGE_TOKEN = "<|image_pad|>"
#: Held-out samples that are answered together.
REPLIES_AT_ONCE = 32
#: A reply that is longer than the one wanted by more tokens than this is wrong however it goes on.
SLACK = 16


class ChatSettings(StageSettings):
    """Of a stage that trains on questions and their replies. A pack holds at most `tokens` tokens and `patches` vision
    patches. `share` of the rows, drawn by the seed, are trained on, of those of the `tasks` named or of all.
    `instruction` follows the question where the reply starts with actions. `alignment`, a group of the settings of a
    patch_alignment's loss, adds it for all pairs of a row's images, `alignment_weight` times. `replies` held-out
    samples are answered by greedy generation."""

    tokens: Positive = 8192
    patches: Positive = 32768
    share: Annotated[Share, Field(gt=0)] = 1.0
    tasks: tuple[str, ...] = ()
    with_actions: bool = True
    instruction: str = (
        "First write the actions that lead from each view to each later one in <action></action>, "
        "then the answer in <answer></answer>."
    )
    train_vision: bool = False
    alignment: AlignmentTerm | None = None
    alignment_weight: Annotated[float, Field(gt=0)] = 0.5
    replies: Annotated[int, Field(ge=0)] = 64
    max_new_tokens: Positive = 512

    @model_validator(mode="after")
    def _alignment_reaches_the_tower(self) -> Self:
        if self.alignment is not None and not self.train_vision:
            raise ValueError("alignment trains the vision tower, so train_vision must be true")
        return self


class SupervisedSettings(ChatSettings):
    kind: Literal["supervised"] = "supervised"


class Chat(NamedTuple):
    """The text of a sample, with one image token an image; what is wanted of the reply."""

    prompt: str
    reply: str
    wanted: Wanted


@dataclass(frozen=True)
class Chats(Batch):
    """A pack of chats; what each should reply, in parts, and its task. `views` are those of the pairs of
    images, by their places in the pack, that are aligned."""

    pack: Pack
    wanted: list[Wanted]
    tasks: list[str]
    views: dict[tuple[int, int], dict[str, View]]


class Supervised(Stage[ChatSettings, Chats]):
    Settings: ClassVar[type[ChatSettings]] = SupervisedSettings
    small = ("image_sizes", "task", "answer", "options", "actions", "messages")

    def trains(self, part: str) -> bool:
        language = "adapter" if self.recipe.model.lora else "language"
        return part == language or (self.settings.train_vision and part in ("vision", "deepstack", "head"))

    @classmethod
    def heads(cls, settings: ChatSettings, vision: Any) -> nn.ModuleDict:
        term = settings.alignment
        return Heads(term, vision.out_hidden_size) if term is not None else nn.ModuleDict()

    @property
    def caps(self) -> Caps:
        return Caps(tokens=self.settings.tokens, patches=self.settings.patches)

    @property
    def weights(self) -> dict[str, float]:
        term, weight = self.settings.alignment, self.settings.alignment_weight
        aligned = {level: weight * own for level, own in term.weights.items()} if term else {}
        return {"text": 1.0, **aligned}

    def items(self, shards: Shards) -> list[Item]:
        """The rows of the tasks asked for, of training rows the share asked for, with their number of tokens."""
        tasks = self.settings.tasks
        drawn = np.array([k for k, row in enumerate(shards.rows) if not tasks or row["task"] in tasks], np.int64)
        if self.settings.share < 1 and shards.split == "train":
            count = max(1, round(self.settings.share * len(drawn)))
            drawn = np.sort(np.random.default_rng(self.recipe.seed).permutation(drawn)[:count])
        rows = [shards.rows[index] for index in drawn.tolist()]
        chats = [self.chat(row) for row in rows]
        texts = [text for chat in chats for text in (chat.prompt, chat.reply)]
        encoded = self.processor.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        items = []
        for number, (index, row) in enumerate(zip(drawn.tolist(), rows, strict=True)):
            text = len(encoded[2 * number]) + self.reply_tokens(encoded[2 * number + 1])
            tokens = [self.images.tokens(size) for size in row["image_sizes"]]
            items.append(Item(index, text - len(tokens) + sum(tokens), sum(tokens) * self.processor.merge**2))
        return items

    def reply_tokens(self, reply: list[int]) -> int:
        """Room that a reply takes, whose target is encoded so."""
        return len(reply)

    def chat(self, row: dict[str, Any]) -> Chat:
        """Prompt and reply of a row. Raises `ShardError` for a row with nothing to learn from."""
        if not row["answer"].strip():
            raise ShardError(f"row {row['id']}: its answer is empty: no token to supervise; rebuild its shards")
        *asked, _ = row["messages"] or [None]
        if not asked:
            raise ShardError(f"row {row['id']}: its messages hold no question and reply; rebuild its shards")
        target, wanted = self.target(row)
        turns = [{"role": turn["role"], "content": _parts(turn["content"])} for turn in asked]
        if target.startswith("<action>"):
            turns[-1]["content"].append({"type": "text", "text": f"\n{self.settings.instruction}"})
        template = self.processor.tokenizer.apply_chat_template
        prompt = template(turns, tokenize=False, add_generation_prompt=True)
        whole = template([*turns, {"role": "assistant", "content": target}], tokenize=False)
        if not whole.startswith(prompt):
            raise ShardError(f"row {row['id']}: the chat template does not put the reply behind the prompt")
        return Chat(prompt, whole.removeprefix(prompt).rstrip("\n"), wanted)

    def target(self, row: dict[str, Any]) -> tuple[str, Wanted]:
        """What the assistant should say, as text and in parts."""
        answer = f"<answer>{row['answer']}</answer>"
        if not (self.settings.with_actions and row["actions"]):
            return answer, Wanted([], row["answer"], row["options"] or [])
        labels = sorted(row["actions"], key=lambda label: (label["source"], label["target"]))
        vocabulary = labels[0]["vocabulary"]
        try:
            pairs = [(a["source"], a["target"], parse_json(a["json"], a["vocabulary"])) for a in labels]
        except ActionError as error:
            raise ShardError(f"row {row['id']}: {error}; rebuild its shards") from None
        wanted = Wanted(pairs, row["answer"], row["options"] or [], vocabulary)
        return f"<action>{format_pairs(pairs)}</action>{answer}", wanted

    def batch(self, shards: Shards, items: list[Item], epoch: int) -> Chats:
        """Rows as chats in one pack, with the pairs of their images that are aligned beside."""
        term = self.settings.alignment
        samples: list[Sample] = []
        chats, tasks = [], []
        aligned: dict[tuple[int, int], dict[str, View]] = {}
        images = 0
        for item in items:
            row = shards.read(item.row, (*IMAGE_COLUMNS, *self.small, *(MATCH_COLUMNS if term else ())))
            chat, rng = self.chat(row), self.generator(item, epoch)
            samples.append(self._sample(row, chat, rng))
            chats.append(chat)
            tasks.append(row["task"])
            if term is not None:
                for i, j in image_pairs(row):
                    aligned[images + i, images + j] = views(row, (i, j), self.images, term, rng)
            images += len(row["image_sizes"])
        packed = pack(samples, self.processor.token_id(IMAGE_TOKEN))
        counts = {"text": int(packed.supervised.sum())}
        if term is not None:
            counts |= alignment_counts(list(aligned.values()), term)
        wanted = [chat.wanted for chat in chats]
        return Chats([s.id for s in samples], counts, packed.ids.numel(), packed, wanted, tasks, aligned)

    def _sample(self, row: dict[str, Any], chat: Chat, rng: np.random.Generator) -> Sample:
        sizes = [tuple(size) for size in row["image_sizes"]]
        pixels, grids = self.images.read(shown(row), sizes, rng, row["id"])
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
        term = self.settings.alignment
        with watched(model.model.model.visual) as seen:
            sums = {"text": token_losses(model, batch.pack).sum()}
        # Taken on its way into the language model, so that the tower runs once.
        return sums if term is None else sums | self._alignment(term, model, batch, seen[0].pooler_output)

    def _alignment(
        self, term: AlignmentTerm, model: VisionLanguageModel, batch: Chats, features: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        merge, heads = self.processor.merge, self.heads_of(model)
        tokens = [feature.float() for feature in features]
        projected = heads.project(tokens) if heads is not None else tokens
        if not batch.views:
            # Every process must have gradients of the same weights, whatever its packs hold.
            used = [*projected, *(heads.unmatched(level, projected[0]) for level in term.weights if heads is not None)]
            nothing = sum(part.sum() for part in used if part is not None) * 0.0
            return dict.fromkeys(alignment_counts([], term), nothing)
        images = levels(projected, (batch.pack.grids[:, 1:] // merge).tolist(), term.regions, unit)
        pairs = [(images[i], images[j]) for i, j in batch.views]
        return alignment_sums(pairs, list(batch.views.values()), term, heads)

    @torch.no_grad()
    def evaluate(self, model: VisionLanguageModel, held_out: Iterator[Loaded[Chats]]) -> dict[str, Any]:
        """The mean of each term, and how good the replies are that it writes itself."""
        sums: dict[str, float] = defaultdict(float)
        counts: Counter[str] = Counter()
        samples, answers = 0, Answers(self, model)
        for loaded in held_out:
            for name, value in self.losses(model, loaded.batch).items():
                sums[name] += float(value)
            counts.update(loaded.batch.counts)
            samples += len(loaded.batch.ids)
            answers.ask(loaded.batch)
        if not samples:
            return {}
        means = {name: total / max(counts[name], 1) for name, total in sums.items()}
        return {"samples": samples, "loss": means.pop("text"), **means, **answers.figures()}

    def replies(self, model: VisionLanguageModel, asked: list[Prompt]) -> list[str]:
        """What the model says to each prompt, greedily."""
        return self.processor.tokenizer.batch_decode(self.generated(model, asked), skip_special_tokens=True)

    def generated(
        self, model: VisionLanguageModel, asked: list[Prompt], temperature: float = 0.0, copies: int = 1
    ) -> Tensor:
        """(prompts * copies, longest) tokens of replies, as `VisionLanguageModel.generate` makes them."""
        return model.generate(
            [prompt.ids for prompt in asked],
            torch.cat([prompt.pixels for prompt in asked]),
            torch.cat([prompt.grids for prompt in asked]),
            min(self.settings.max_new_tokens, max(prompt.reply for prompt in asked) + SLACK),
            temperature,
            copies,
        )


class Answers:
    """The model's replies to the first held-out samples that it is asked, and what they are worth."""

    def __init__(self, stage: Supervised, model: VisionLanguageModel):
        self.stage, self.model = stage, model
        self.said: list[str] = []
        self.asked: list[tuple[str, Wanted, str]] = []
        self._waiting: list[Prompt] = []

    def ask(self, batch: Chats) -> None:
        room = self.stage.settings.replies - len(self.asked)
        self._waiting += prompts(batch.pack)[:room]
        self.asked += list(zip(batch.ids, batch.wanted, batch.tasks, strict=True))[:room]
        while len(self._waiting) >= REPLIES_AT_ONCE:
            self._answer()

    def _answer(self) -> None:
        self.said += self.stage.replies(self.model, self._waiting[:REPLIES_AT_ONCE])
        del self._waiting[:REPLIES_AT_ONCE]

    def figures(self) -> dict[str, Any]:
        """Shares and mean rewards, those of each row, and the same of replies that never look."""
        if self._waiting:
            self._answer()
        if not self.asked:
            return {}
        ids, wanted, tasks = map(list, zip(*self.asked, strict=True))
        rewards = [judge(text, what) for text, what in zip(self.said, wanted, strict=True)]
        baselines = {"most frequent": metrics.most_frequent(wanted, tasks), "central": metrics.central(wanted, tasks)}
        return {
            "replies": len(self.said),
            **metrics.reply_figures(self.said, wanted),
            "rows": {"id": ids} | {name: [getattr(r, name) for r in rewards] for name in metrics.REWARDS},
            "baselines": {name: metrics.reply_figures(replies, wanted) for name, replies in baselines.items()},
        }


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


def image_pairs(row: dict[str, Any]) -> list[tuple[int, int]]:
    """The pairs of a row's images that have a map both ways, the smaller number first."""
    ways = {(match["source"], match["target"]) for match in row["matches"]}
    return sorted((i, j) for i, j in ways if i < j and (j, i) in ways)
