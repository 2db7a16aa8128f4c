"""Pictures of an ablation: scores with the seeds as points, learning curves, examples right and wrong."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hatch_train.data import Shards
from hatch_train.evaluation.held_out import open_shards

if TYPE_CHECKING:
    from hatch_train.ablation import Ablation

COLOURS = ("#9a9a9a", "#c2410c", "#1f6fb4", "#15803d", "#7c3aed", "#b45309", "#0e7490")
#: Panels of curves beside one another.
PANELS = 3
#: Examples of each sort.
EXAMPLES = 3


def draw_scores(table: Mapping[str, Any], path: Path) -> None:
    """A panel a measure: the mean of each arm, its standard error, each seed, and what needs no model as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * len(table) + 0.6, 3.4), layout="constrained")
    for axes, (measure, found) in zip(np.atleast_1d(figure.subplots(1, len(table))), table.items(), strict=True):
        for at, ((_, own), colour) in enumerate(zip(found["arms"].items(), _colours(), strict=False)):
            error = None if own["se"] is None else 100 * own["se"]
            axes.bar(at, 100 * own["mean"], yerr=error, color=colour, alpha=0.55, width=0.7, capsize=3)
            seeds = 100 * np.array(own["seeds"])
            axes.scatter(at + np.linspace(-0.2, 0.2, len(seeds)), seeds, s=9, color="#222222", zorder=3)
        if found["chance"] is not None:
            axes.axhline(100 * found["chance"], color="#111111", linestyle=":", linewidth=1)
        axes.set_xticks(range(len(found["arms"])), list(found["arms"]), rotation=35, ha="right", fontsize=8)
        axes.set_title(measure, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supylabel("percent; dotted: no model", fontsize=9)
    figure.savefig(path, dpi=110)


def draw_curves(curves: Mapping[str, Mapping[str, Mapping[Any, Sequence]]], path: Path, label: str) -> None:
    """A panel a curve: for each arm or run the mean over seeds and the range of the seeds."""
    from matplotlib.figure import Figure

    columns = min(PANELS, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(curves) :]:
        axes.axis("off")
    for axes, (name, lines) in zip(panels, curves.items(), strict=False):
        for (arm, seeds), colour in zip(lines.items(), _colours(), strict=False):
            points = [np.array(own, float).reshape(-1, 2) for own in seeds.values()]
            length = min(len(own) for own in points)
            if not length:
                continue
            steps, values = points[0][:length, 0], np.stack([_smooth(own[:length, 1]) for own in points])
            axes.plot(steps, values.mean(0), color=colour, label=arm, linewidth=1.4)
            axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
        axes.set_title(name, fontsize=9)
        axes.set(xlabel="step", ylabel=label)
        axes.legend(fontsize=7, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _smooth(values: np.ndarray) -> np.ndarray:
    """A running mean over a fortieth of the curve."""
    width = max(1, len(values) // 40)
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def draw_examples(
    ablation: Ablation, kind: str, results: Mapping[int, Mapping[str, Mapping[str, dict[str, Any]]]], path: Path
) -> bool:
    """Rows that the last arm has right and the first has not, the other way round, and that no arm has right, with what
    each arm said in the first seed; whether there are any."""
    from matplotlib.figure import Figure

    arms = {name: found[kind] for name, found in next(iter(results.values())).items()}
    chosen = list(_chosen(results, kind, list(arms)))
    if not chosen:
        return False
    shown = _rows(ablation, kind, [name for _, name in chosen])
    figure = Figure(figsize=(9, 2.3 * len(chosen)), layout="constrained")
    for axes, (what, name) in zip(np.atleast_1d(figure.subplots(len(chosen), 1)), chosen, strict=True):
        question, images = shown[name]
        axes.imshow(_side_by_side(images))
        axes.axis("off")
        first = next(iter(arms.values()))
        said = [
            f"{arm}: {found['said'][name]} ({'right' if _right(found, name) else 'wrong'})"
            for arm, found in arms.items()
        ]
        lines = [what, question, f"truth: {first['truth'][name]}", *said]
        axes.text(1.02, 1, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=7, wrap=True)
    figure.savefig(path, dpi=80)
    return True


def _right(found: Mapping[str, Any], name: str) -> bool:
    return found["scores"][found["judged by"]][name] >= 0.5


def _chosen(
    results: Mapping[int, Mapping[str, Mapping[str, dict[str, Any]]]], kind: str, arms: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """(what it is an example of, row)."""
    found = [{arm: own[kind] for arm, own in seed.items()} for seed in results.values()]
    measure = found[0][arms[0]]["judged by"]
    ids = sorted(found[0][arms[0]]["scores"][measure])
    ids = [ids[k] for k in np.random.default_rng(0).permutation(len(ids))]
    shares = {arm: [np.mean([seed[arm]["scores"][measure][i] for seed in found]) for i in ids] for arm in arms}
    here = {arm: [_right(found[0][arm], i) for i in ids] for arm in arms}
    first, last = arms[0], arms[-1]
    gain = np.subtract(shares[last], shares[first])
    sorts = {
        f"right with {last}, wrong with {first}": [
            here[last][k] and not here[first][k] and gain[k] > 0.3 for k in range(len(ids))
        ],
        f"wrong with {last}, right with {first}": [
            here[first][k] and not here[last][k] and gain[k] < 0 for k in range(len(ids))
        ],
        "wrong with all": [not any(here[arm][k] for arm in arms) for k in range(len(ids))],
    }
    for what, fits in sorts.items():
        for k in np.flatnonzero(fits)[:EXAMPLES]:
            yield what, ids[k]


def _rows(ablation: Ablation, kind: str, names: Sequence[str]) -> dict[str, tuple[str, list[Image.Image]]]:
    """Row of an example -> its question and its images."""
    if kind == "readout":
        assert ablation.readout is not None
        shards = Shards(ablation.data.shards, ablation.readout.split, ("question",))
    else:
        assert ablation.questions is not None
        variant = ablation.questions.benchmark.removeprefix("held_out").strip("_")
        shards = open_shards(Path(ablation.questions.data), variant)
    places = {row["id"]: number for number, row in enumerate(shards.rows)}
    found = {}
    for name in names:
        row, _, views = name.partition(":")
        data = shards.read(places[row], ("images", "question"))
        wanted = [int(view) for view in views.split("-")] if views else range(len(data["images"]))
        images = [Image.open(io.BytesIO(data["images"][k]["bytes"])).convert("RGB") for k in wanted]
        found[name] = ("How did the camera turn?" if views else data["question"], images)
    return found


def _side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    gap = 6
    width, height = sum(i.width for i in images) + gap * (len(images) - 1), max(i.height for i in images)
    whole = Image.new("RGB", (width, height), "white")
    at = 0
    for image in images:
        whole.paste(image, (at, 0))
        at += image.width + gap
    return whole


def _colours() -> Iterator[str]:
    while True:
        yield from COLOURS
