"""Figures with intervals, as numbers, as a table of 80 columns and as a picture."""

from __future__ import annotations

import hashlib
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist, median_low
from typing import Any

from rich.console import Console
from rich.table import Table

from hatch_train.evaluation.answers import number
from hatch_train.evaluation.samples import Benchmark, Sample, mean

CONFIDENCE = 0.95


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval of a share, 95 %. For means of scores in [0, 1], whose variance is smaller, it is too wide
    rather than too narrow."""
    if count == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(max(share * (1 - share), 0) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def category_figures(bench: Benchmark, scored: Sequence[tuple[Sample, dict[str, Any]]]) -> dict[str, Any]:
    """Count, both scores with their intervals, and what the best constant reply would score."""
    samples = [sample for sample, _ in scored]
    constant = _constant(samples)
    share = mean(bench.repaired(sample, constant) for sample in samples)
    return {"measure": samples[0].measure} | figures([one for _, one in scored]) | {"constant": share}


def overall_figures(scores: Sequence[dict[str, Any]], categories: dict[str, Any]) -> dict[str, Any]:
    """The same over all samples; a constant reply is one for each category."""
    constant = sum(f["constant"] * f["count"] for f in categories.values()) / len(scores)
    return figures(scores) | {"constant": constant}


def figures(scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count, and the mean of each score with its interval."""
    found: dict[str, Any] = {"count": len(scores)}
    for kind in ("native", "repaired"):
        value = mean(one[kind] for one in scores)
        low, high = wilson(value, len(scores))
        found[kind] = {"mean": value, "low": low, "high": high}
    return found


def _constant(samples: Sequence[Sample]) -> str:
    """The answer given most often, of numbers their median: a guess that needs no images."""
    if samples[0].measure == "MRA" and all(number(s.answer) is not None and ":" not in s.answer for s in samples):
        return str(median_low([number(s.answer) or 0.0 for s in samples]))
    return Counter(sample.answer for sample in samples).most_common(1)[0][0]


def sample_set(samples: Sequence[Sample]) -> str:
    """A name for the questions: the same for the same ids, prompts and answers."""
    told = sorted(f"{sample.key} {sample.answer}" for sample in samples)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def text(report: dict[str, Any]) -> str:
    """The report for a terminal of 80 columns."""
    rows = [
        (name, str(f["count"]), _share(f["native"]["mean"]), *_with_interval(f["repaired"]), _share(f["constant"]))
        for name, f in [*report["categories"].items(), ("all samples", report["overall"])]
    ]
    native, repaired = report["averages"]["native"], report["averages"]["repaired"]
    rows += [(name, "", _share(native[name]), _share(repaired[name]), "", "") for name in native]
    head = ("", "n", "native", "repaired", "95 % interval", "constant")
    lines = [
        f"{report['title']}: {report['checkpoint']}, prompt {report['prompt']}, {report['samples']} samples",
        shown_table(head, rows, last=len(native) + 1),
        f"{report['empty']} empty replies, {report['cut_off']} cut off at {report['max_new_tokens']} new tokens, "
        f"{report['without_answer_tag']} without <answer>",
    ]
    for title, probe in report.get("probes", {}).items():
        names = list(dict.fromkeys(key for figures in probe.values() for key in figures if key != "count"))
        rows = [(name, str(f["count"]), *(_figure(n, f[n]) for n in names)) for name, f in probe.items()]
        lines += ["", title, shown_table(("", "n", *names), rows)]
    return "\n".join(lines)


def shown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], last: int = 0) -> str:
    """A table of at most 80 columns, the `last` rows set apart."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        least = min(30, max(len(row[0]) for row in rows)) if not column else None
        table.add_column(column, justify="right" if column else "left", overflow="fold", min_width=least)
    for number_of, row in enumerate(rows):
        if last and number_of == len(rows) - last:
            table.add_row()
        table.add_row(*row)
    printed = io.StringIO()
    Console(width=80, file=printed, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in printed.getvalue().rstrip("\n").split("\n"))


def _share(value: float) -> str:
    return f"{100 * value:.1f}"


def _with_interval(figures: dict[str, float]) -> tuple[str, str]:
    return _share(figures["mean"]), f"{_share(figures['low'])} - {_share(figures['high'])}"


def _figure(name: str, value: float) -> str:
    if name == "patches":
        return str(value)
    return f"{value:.2f}" if name.endswith((" m", " deg")) else _share(value)


def picture(report: dict[str, Any], path: Path) -> None:
    """Bars of the repaired score with their intervals, the native score and the best constant reply as marks."""
    from matplotlib.figure import Figure

    categories = report["categories"]
    names = list(categories)
    figure = Figure(figsize=(8, 1.6 + 0.34 * len(names)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(names))
    values = [100 * categories[n]["repaired"]["mean"] for n in names]
    errors = [
        [100 * abs(categories[n]["repaired"][side] - categories[n]["repaired"]["mean"]) for n in names]
        for side in ("low", "high")
    ]
    axes.barh(rows, values, xerr=errors, height=0.62, color="#8fb4d9", ecolor="#333333", capsize=2.5, label="repaired")
    natives = [100 * categories[n]["native"]["mean"] for n in names]
    axes.scatter(natives, rows, s=22, zorder=3, facecolors="white", edgecolors="#c2410c", label="native")
    constants = [100 * categories[n]["constant"] for n in names]
    axes.scatter(constants, rows, marker="|", s=120, zorder=3, color="#111111", label="best constant")
    axes.set_yticks(rows, [f"{n}  ({categories[n]['count']})" for n in names])
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="score in percent, 95 % Wilson interval")
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.grid(True, color="#dddddd")
    axes.set_axisbelow(True)
    average = 100 * report["averages"]["repaired"]["average"]
    name = Path(report["checkpoint"]).name
    figure.suptitle(f"{report['title']}, {name}, prompt {report['prompt']}: {average:.1f}", fontsize=11)
    figure.legend(loc="outside lower right", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)
