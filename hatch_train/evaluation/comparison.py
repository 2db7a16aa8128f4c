"""Is one checkpoint better than another: paired tests on the same samples.

Right or wrong is tested with McNemar's exact test, scores in between with a paired bootstrap. The bootstrap resamples
groups of dependent samples (scenes), since questions about one scene rise and fall together.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from hatch_train.errors import EvaluationError
from hatch_train.evaluation.report import shown_table

RESAMPLES = 10_000


def read_report(path: Path) -> dict[str, Any]:
    """A report by its file or its folder."""
    file = path / "report.json" if path.is_dir() else path
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{file}: no readable report ({error}); write one with hatch-train eval") from None
    if not isinstance(report, dict) or not {"benchmark", "sample_set", "scores"} <= set(report):
        raise EvaluationError(f"{file}: not a report of an evaluation; write one with hatch-train eval")
    return report


def compare(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Second less first, on the repaired score and on the native one, over all and by category.

    Raises `EvaluationError` that names the difference where the reports are not about the same samples.
    """
    _same_samples(first, second)
    other = {one["id"]: one for one in second["scores"]}
    pairs = [(one, other[one["id"]]) for one in first["scores"]]
    grouped: dict[str, list] = defaultdict(list)
    for pair in pairs:
        grouped[pair[0]["category"]].append(pair)
    categories = {name: paired(grouped[name], "repaired") for name in sorted(grouped)}
    for name, p in zip(categories, holm([c["p"] for c in categories.values()]), strict=True):
        categories[name]["p_holm"] = p
    differs = {
        key: [first.get(key), second.get(key)]
        for key in ("checkpoint", "prompt", "backend", "max_new_tokens", "max_pixels")
        if first.get(key) != second.get(key)
    }
    return {
        "benchmark": first["benchmark"],
        "differs": differs,
        "repaired": paired(pairs, "repaired"),
        "native": paired(pairs, "native"),
        "categories": categories,
    }


def _same_samples(first: dict[str, Any], second: dict[str, Any]) -> None:
    if first["benchmark"] != second["benchmark"]:
        raise EvaluationError(
            f"the reports are of {first['benchmark']} and of {second['benchmark']}: compare one benchmark"
        )
    one, other = ({s["id"] for s in report["scores"]} for report in (first, second))
    if one != other:
        only = [
            f"{len(a - b)} samples only in the {which}, such as {min(a - b)}"
            for a, b, which in ((one, other, "first"), (other, one, "second"))
            if a - b
        ]
        raise EvaluationError(
            f"the reports are of different samples: {', '.join(only)}; use the same --data and --limit"
        )
    if first["sample_set"] != second["sample_set"]:
        raise EvaluationError("the reports have the same ids but other questions or answers; use the same --data")


def paired(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], kind: str) -> dict[str, Any]:
    """Both means, their difference with a bootstrap interval, and a two-sided p-value.

    The test is `mcnemar` where all scores are 0 or 1, else `bootstrap`.
    """
    scores = np.array([[a[kind], b[kind]] for a, b in pairs], float)
    difference = scores[:, 1] - scores[:, 0]
    low, high, p = bootstrap(difference, [a.get("group", a["id"]) for a, _ in pairs])
    figures: dict[str, Any] = {
        "count": len(pairs),
        "first": float(scores[:, 0].mean()),
        "second": float(scores[:, 1].mean()),
    }
    figures |= {"difference": float(difference.mean()), "low": low, "high": high, "test": "bootstrap", "p": p}
    if np.isin(scores, (0, 1)).all():
        gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
        figures |= {"gained": gained, "lost": lost, "test": "mcnemar", "p": mcnemar(gained, lost)}
    return figures


def mcnemar(gained: int, lost: int) -> float:
    """The exact test: how likely are counts as uneven as these if a change either way is equally likely."""
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def bootstrap(difference: np.ndarray, groups: Sequence[str]) -> tuple[float, float, float]:
    """95 % interval of the mean difference, and a two-sided p-value against 0, over resampled groups."""
    names, at = np.unique(np.array(groups), return_inverse=True)
    sums, counts = np.bincount(at, difference), np.bincount(at)
    rng = np.random.default_rng(0)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, 500):
        drawn = rng.integers(len(names), size=(500, len(names)))
        means[start : start + 500] = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    tail = min((means <= 0).sum(), (means >= 0).sum())
    return float(low), float(high), float(min(1.0, 2 * (tail + 1) / (RESAMPLES + 1)))


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm's step-down)."""
    corrected, worst = [0.0] * len(ps), 0.0
    for rank, index in enumerate(np.argsort(ps).tolist()):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = worst
    return corrected


def text(found: dict[str, Any]) -> str:
    """The comparison for a terminal of 80 columns."""
    rows = []
    for name, figures in {**found["categories"], "repaired": found["repaired"], "native": found["native"]}.items():
        p = figures.get("p_holm", figures["p"])
        span = f"{100 * figures['low']:+.1f} - {100 * figures['high']:+.1f}"
        both = [f"{100 * figures[side]:.1f}" for side in ("first", "second")]
        rows.append((name, str(figures["count"]), *both, f"{100 * figures['difference']:+.1f}", span, f"{p:.3g}"))
    lines = [f"{found['benchmark']}: second less first, paired over {found['repaired']['count']} samples"]
    lines += [f"  {key}: {first} | {second}" for key, (first, second) in found["differs"].items()]
    lines.append(shown_table(("", "n", "first", "second", "change", "95 % interval", "p"), rows, last=2))
    whole = found["repaired"]
    if whole["test"] == "mcnemar":
        lines.append(f"McNemar, exact: {whole['gained']} gained, {whole['lost']} lost, p {whole['p']:.3g}")
    else:
        lines.append(f"Paired bootstrap over groups of dependent samples: p {whole['p']:.3g}")
    lines.append("p of categories is corrected for their number (Holm).")
    return "\n".join(lines)
