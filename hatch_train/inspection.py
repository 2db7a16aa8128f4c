"""What a recipe would do, before it does it: plan, sizes, memory, one sample as the model sees it; and what it did."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from hatch_data.preview import picture
from hatch_data.settings import to_yaml
from hatch_data.shards import SCHEMA, commit, from_record
from hatch_train import flops
from hatch_train.data import Item, Plan, Shards
from hatch_train.folder import plan_of
from hatch_train.images import shown
from hatch_train.loop import learnable_texts
from hatch_train.model import Processor, load_processor, part_of, skeleton
from hatch_train.recipe import Recipe
from hatch_train.settings import TinySettings
from hatch_train.shapes import known_family
from hatch_train.stages import KINDS
from hatch_train.stages.alignment import PAIR_COLUMNS
from hatch_train.stages.supervised import IMAGE_TOKEN, Supervised

#: fp32 weight, gradient and the two moments of Adam; a frozen parameter is a weight alone. Where a divergence from
#: the weights with which a stage began is asked for, those are kept too.
BYTES_TRAINED, BYTES_FROZEN, BYTES_KEPT = 16, 4, 4


def outlook(recipe: Recipe) -> dict[str, Any]:
    """Plan, steps and memory of each stage. Needs the shards, but no weights, network or GPU."""
    model = skeleton(recipe.model)
    parameters: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        parameters[part_of(name)] += parameter.numel()
    processor, exact = _processor(recipe)
    stages = {}
    for name, settings in recipe.stages.items():
        stage = KINDS[settings.kind](name, settings, recipe, processor)
        plan = plan_of(stage)
        packs = plan.epoch(0)
        needs = flops.Flops(model, stage.trains)
        one = flops.work(stage.batch(plan.shards, [plan.items[i] for i in packs[0]], 0))
        activations = needs.activation_bytes(one, recipe.model.gradient_checkpointing)
        trained = sum(count for part, count in parameters.items() if stage.trains(part))
        seen = settings.steps * settings.accumulate
        stages[name] = {
            "kind": settings.kind,
            "items": len(plan.items),
            "dropped": len(plan.dropped),
            "packs per epoch": len(packs),
            "pack fill": round(plan.fill(packs), 3),
            "steps": settings.steps,
            "epochs": round(seen / max(len(packs), 1), 2),
            "tokens per step": round(float(plan.tokens.sum()) / max(len(packs), 1) * settings.accumulate),
            "parameters trained": trained,
            "parameters frozen": sum(parameters.values()) - trained,
            "TFLOP per step": round(needs.needed(one) * settings.accumulate / 1e12, 4),
            "memory before activations GB": round(_state_bytes(parameters, trained, "kl" in stage.weights) / 1e9, 2),
            "activations of a pack GB": round(activations / 1e9, 2),
        }
    return {"model": recipe.model.name, "exact lengths": exact, "parameters": parameters, "stages": stages}


def outlook_text(recipe: Recipe, found: dict[str, Any]) -> str:
    """What a run would do, in lines for a terminal."""
    lines = [to_yaml(recipe), f"{found['model']}: {_count(sum(found['parameters'].values()))} parameters"]
    for name, facts in found["stages"].items():
        lines += ["", f"stage {name}", *_rows({k: _count(v) if k.startswith("param") else v for k, v in facts.items()})]
    lines += [
        "",
        "Memory is 16 bytes a trained parameter, 4 more where the weights at the start",
        "are kept, and 4 a frozen one, shared by the GPUs. Activations, roughly, come",
        "on top on each: lower max_pixels, tokens or pairs, or set",
        "model.gradient_checkpointing, where they do not fit. FLOPs are those needed by",
        "the first pack, times accumulate; generation is not counted.",
    ]
    if not found["exact lengths"]:
        lines.append("Text lengths are estimated, since a dry run does not download the tokenizer.")
    return "\n".join(lines)


def check(recipe: Recipe) -> dict[str, Any]:
    """Counts, sizes, memory; one sample with its label mask, and a picture of it with its matches, which is written to
    OUTPUT-check.png, beside the output folder."""
    processor, exact = _processor(recipe)
    rows: dict[str, dict[str, int]] = {}
    for split in ("train", "validation", "test"):
        shards = Shards(recipe.data.shards, split, ("task",))
        rows[split] = dict(Counter(row["task"] for row in shards.rows))
    found: dict[str, Any] = {"rows": rows, "exact lengths": exact, "sizes": {}, "sample": None, "picture": None}
    for name, settings in recipe.stages.items():
        stage = KINDS[settings.kind](name, settings, recipe, processor)
        plan = plan_of(stage)
        found["sizes"][name] = {
            "items": len(plan.items),
            "dropped": plan.dropped,
            "tokens": _histogram(plan.tokens),
            "patches": _histogram(plan.patches),
        }
        if found["picture"] is None or (isinstance(stage, Supervised) and found["sample"] is None):
            item = _with_matches(plan)
            found["picture"] = str(_picture(plan.shards, item, Path(f"{recipe.output}-check.png")))
            found["sample"] = _sample(stage, plan.shards, item) if isinstance(stage, Supervised) else None
    return found | {"outlook": outlook(recipe)}


def check_text(found: dict[str, Any]) -> str:
    """What `check` found, for a terminal."""
    lines = ["rows"]
    for split, tasks in found["rows"].items():
        lines.append(f"  {split:12} {sum(tasks.values()):7}  {', '.join(f'{t} {n}' for t, n in sorted(tasks.items()))}")
    for name, sizes in found["sizes"].items():
        lines += ["", f"stage {name}: {sizes['items']} items, {len(sizes['dropped'])} too long for a pack"]
        lines += [f"  too long: {', '.join(sizes['dropped'][:5])} ..."] if sizes["dropped"] else []
        for what in ("tokens", "patches"):
            lines.append(f"  {what}")
            most = max((count for _, _, count in sizes[what]), default=1)
            for low, high, count in sizes[what]:
                lines.append(f"    {low:7}-{high:<7} {count:6} {'#' * round(40 * count / most)}")
    if found["sample"]:
        sample = found["sample"]
        lines += ["", f"sample {sample['id']}: {sample['tokens']} tokens, {sample['supervised']} of them supervised"]
        lines += ["--- read", sample["read"], "--- learnt", sample["learnt"], "---"]
    lines += ["", f"picture of a row, with what matches in its images: {found['picture']}"]
    lines.append("")
    for name, facts in found["outlook"]["stages"].items():
        lines.append(f"stage {name}: {facts['memory before activations GB']} GB before activations")
    return "\n".join(lines)


def _processor(recipe: Recipe) -> tuple[Processor, bool]:
    """The recipe's processor; for a model known only by its hub id one with a tokenizer learnt on the spot, and
    False: lengths are then estimates."""
    if family := known_family(recipe.model.name):
        stand_in = recipe.model.model_copy(update={"name": "tiny", "tiny": TinySettings(family=family)})
        return load_processor(stand_in, learnable_texts(recipe)), False
    return load_processor(recipe.model, learnable_texts(recipe)), True


def _with_matches(plan: Plan) -> Item:
    """The first item of a plan whose row has matches; where none has, the first."""
    return next((item for item in plan.items if plan.shards.read(item.row, PAIR_COLUMNS)["matches"]), plan.items[0])


def _picture(shards: Shards, item: Item, path: Path) -> Path:
    """Draw the row of an item, its images as they are trained on but for size and light."""
    record = shards.read(item.row, tuple(SCHEMA.names))
    record["images"] = [{**image, "bytes": data} for image, data in zip(record["images"], shown(record), strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(picture.draw(from_record(record), shards.split).png())
    commit(partial, path)
    return path


def _sample(stage: Supervised, shards: Shards, item: Item) -> dict[str, Any]:
    batch = stage.batch(shards, [item], 0)
    ids, supervised = batch.pack.ids[0], batch.pack.supervised[0]
    decode = stage.processor.tokenizer.decode
    read = decode(ids[~supervised])
    for grid in batch.pack.grids:
        count = int(grid.prod()) // stage.processor.merge**2
        read = read.replace(IMAGE_TOKEN * count, f"[{count} image tokens]", 1)
    facts = {"id": batch.ids[0], "tokens": len(ids), "supervised": int(supervised.sum())}
    return facts | {"read": read, "learnt": decode(ids[supervised])}


def _histogram(values: np.ndarray) -> list[tuple[int, int, int]]:
    """(lowest, highest, count) of up to ten bins."""
    low, high = int(values.min()), int(values.max())
    edges = np.unique(np.linspace(low, high + 1, 11).astype(int))
    counts = np.histogram(values, edges)[0]
    return [(int(a), int(b) - 1, int(n)) for a, b, n in zip(edges, edges[1:], counts, strict=False)]


def _state_bytes(parameters: dict[str, int], trained: int, kept: bool) -> int:
    return (BYTES_TRAINED + BYTES_KEPT * kept) * trained + BYTES_FROZEN * (sum(parameters.values()) - trained)


def _rows(facts: dict[str, Any]) -> list[str]:
    return [f"  {key:30} {value}" for key, value in facts.items()]


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} billion" if number >= 1e9 else f"{number / 1e6:.2f} million"
