"""What an ablation found: means and standard errors over seeds, paired tests, learning curves, examples; as JSON,
Markdown and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import ttest_rel

from hatch_data.shards import write_text
from hatch_train.ablation_pictures import draw_curves, draw_examples, draw_scores
from hatch_train.evaluation.comparison import bootstrap, holm

if TYPE_CHECKING:
    from hatch_train.ablation import Ablation

#: Differences are called so below this p, over seeds and over scenes both.
SIGNIFICANT = 0.05
#: Seed -> arm -> kind of judgement -> what was found.
Results = Mapping[int, Mapping[str, Mapping[str, dict[str, Any]]]]


def write_report(ablation: Ablation, results: Results, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The report; also `report.json`, `report.md` and pictures in the output folder."""
    output = Path(ablation.output)
    kinds = [kind for kind in ("readout", "questions") if getattr(ablation, kind) is not None]
    judged = {
        kind: judgement({s: {a: r[kind] for a, r in arms.items()} for s, arms in results.items()}, ablation.against)
        for kind in kinds
    }
    report = {
        "output": ablation.output,
        "seeds": ablation.seed_numbers,
        "arms": {name: {"stages": list(arm.stages), "prompt": arm.prompt} for name, arm in ablation.arms.items()},
        "runs": runs,
        "judged": judged,
    }
    write_text(output / "report.json", json.dumps(report, indent=1))
    pictures = {}
    for kind in kinds:
        draw_scores(judged[kind], output / f"{kind}.png")
        pictures[kind] = [f"{kind}.png"]
        curves = head_curves(results, kind)
        if curves:
            draw_curves(curves, output / f"{kind}-curves.png", "share right")
            pictures[kind].append(f"{kind}-curves.png")
        if draw_examples(ablation, kind, results, output / f"{kind}-examples.png"):
            pictures[kind].append(f"{kind}-examples.png")
    if runs:
        by_stage: dict[str, dict[str, Any]] = {}
        for run in runs:
            stage = run["stages"][-1]
            rewarded = ablation.stages[stage].kind == "action_then_answer"
            title = f"{stage}: {'reward' if rewarded else 'loss'}"
            by_stage.setdefault(title, {})[", ".join(run["arms"])] = run["curves"]
        draw_curves(by_stage, output / "training.png", "")
    write_text(output / "report.md", markdown(report, pictures))
    return report


def judgement(results: Mapping[int, Mapping[str, dict[str, Any]]], against: Sequence[str]) -> dict[str, Any]:
    """For each measure the arms' means over seeds with standard errors, the level of chance, and how each arm compares
    with those in `against`, paired; two of those are compared once.

    `p seeds` is of a paired t-test over seeds; `p scenes` of a bootstrap over scenes of the rows' differences, each the
    mean over seeds, corrected after Holm for the arms compared with the same one.
    """
    first = next(iter(next(iter(results.values())).values()))
    arms = list(next(iter(results.values())))
    measures = [*first["scores"], *first.get("figures", {})]
    table: dict[str, Any] = {}
    for measure in measures:
        means = {arm: [_mean(found[arm], measure) for found in results.values()] for arm in arms}
        compared = {
            base: _against(results, measure, means, base, [arm for arm in arms if arm not in against[: number + 1]])
            for number, base in enumerate(against)
        }
        table[measure] = {
            "rows": len(first["scores"].get(measure, ())),
            "chance": first["chance"].get(measure),
            "arms": {
                arm: {"seeds": own, "mean": float(np.mean(own)), "se": standard_error(own)}
                for arm, own in means.items()
            },
            "against": compared,
        }
    return table


def _mean(found: dict[str, Any], measure: str) -> float:
    if measure in found["scores"]:
        return float(np.mean(list(found["scores"][measure].values())))
    return float(found["figures"][measure])


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean; None of fewer than two."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def _against(
    results: Mapping[int, Mapping[str, dict[str, Any]]],
    measure: str,
    means: Mapping[str, Sequence[float]],
    base: str,
    others: Sequence[str],
) -> dict[str, Any]:
    compared = {}
    for arm in others:
        change = np.subtract(means[arm], means[base])
        figures: dict[str, Any] = {"difference": float(change.mean()), "se": standard_error(change.tolist())}
        figures["p seeds"] = over_seeds(means[base], means[arm])
        own = next(iter(results.values()))[arm]
        if measure in own["scores"]:
            rows, groups = _row_differences(results, measure, arm, base)
            figures["low"], figures["high"], figures["p scenes"] = bootstrap(rows, groups)
        compared[arm] = figures
    tested = [arm for arm in others if "p scenes" in compared[arm]]
    for arm, p in zip(tested, holm([compared[arm]["p scenes"] for arm in tested]), strict=True):
        compared[arm]["p scenes"] = p
    return compared


def over_seeds(first: Sequence[float], second: Sequence[float]) -> float | None:
    """p of a paired t-test, two-sided; None of fewer than two seeds."""
    if len(first) < 2:
        return None
    change = np.subtract(second, first)
    # Where all seeds differ by the same, but for rounding, there is no spread to test against.
    return float(ttest_rel(second, first).pvalue) if np.ptp(change) > 1e-9 else float(abs(change[0]) < 1e-9)


def _row_differences(
    results: Mapping[int, Mapping[str, dict[str, Any]]], measure: str, arm: str, base: str
) -> tuple[np.ndarray, list[str]]:
    """For each row the mean over seeds of how much better the arm is, and the row's scene."""
    found = list(results.values())
    ids = sorted(set.intersection(*(set(r[name]["scores"][measure]) for r in found for name in (arm, base))))
    change = [np.mean([r[arm]["scores"][measure][i] - r[base]["scores"][measure][i] for r in found]) for i in ids]
    return np.array(change), [found[0][arm]["groups"][i] for i in ids]


def head_curves(results: Results, kind: str) -> dict[str, dict[str, dict[int, list]]]:
    """Curve -> arm -> seed -> points."""
    curves: dict[str, dict[str, dict[int, list]]] = {}
    for seed, arms in results.items():
        for arm, found in arms.items():
            for name, points in found[kind]["curves"].items():
                curves.setdefault(name, {}).setdefault(arm, {})[seed] = points
    return curves


# Words


def verdicts(table: Mapping[str, Any]) -> list[str]:
    """A sentence for each arm and measure: is it better than each arm that it is held against."""
    lines = []
    for measure, found in table.items():
        for base, others in found["against"].items():
            for arm, figures in others.items():
                tests = [p for p in (figures["p seeds"], figures.get("p scenes")) if p is not None]
                sure = bool(tests) and all(p < SIGNIFICANT for p in tests)
                word = ("better" if figures["difference"] > 0 else "worse") if sure else "no difference shown"
                lines.append(f"{measure}: {arm} against {base}: {word} ({_points(figures)})")
    return lines


def _points(figures: Mapping[str, Any]) -> str:
    parts = [f"{100 * figures['difference']:+.1f}"]
    if figures["se"] is not None:
        parts[0] += f" ± {100 * figures['se']:.1f}"
    parts += [f"{name} {figures[name]:.2g}" for name in ("p seeds", "p scenes") if figures.get(name) is not None]
    return ", ".join(parts)


def markdown(report: Mapping[str, Any], pictures: Mapping[str, Sequence[str]]) -> str:
    """The report as Markdown; `pictures` names the files of each section."""
    seeds = report["seeds"]
    lines = [
        "# Ablation",
        "",
        f"{len(seeds)} seeds ({', '.join(map(str, seeds))}); rooms never trained on. Percent, "
        "mean ± standard error over seeds.",
        "",
    ]
    for kind, table in report["judged"].items():
        lines += [f"## {kind.capitalize()}", "", *_score_table(table), ""]
        lines += [f"![{name}]({name})" for name in pictures[kind]]
        for base in next(iter(table.values()))["against"]:
            lines += ["", f"### Less {base}", "", *_difference_table(table, base)]
        lines += ["", "In words, a difference being one that both tests show at 0.05:", ""]
        lines += [f"- {line}" for line in verdicts(table)] + [""]
    lines += [
        "## What was trained",
        "",
        "A run starts from the model of the run before it; figures are of one seed.",
        "",
    ]
    lines += ["| stages | in arms | samples | tokens |", "| --- | --- | ---: | ---: |"]
    lines += [
        f"| {' + '.join(run['stages'])} | {', '.join(run['arms'])} | {run['samples']:,} | {run['tokens']:,} |"
        for run in report["runs"]
    ]
    if report["runs"]:
        lines += ["", "![training](training.png)"]
    return "\n".join(lines) + "\n"


def _score_table(table: Mapping[str, Any]) -> list[str]:
    arms = list(next(iter(table.values()))["arms"])
    lines = [f"| | rows | no model | {' | '.join(arms)} |", f"| --- | ---: | ---: |{' ---: |' * len(arms)}"]
    for measure, found in table.items():
        chance = "" if found["chance"] is None else f"{100 * found['chance']:.1f}"
        cells = [
            f"{100 * f['mean']:.1f}" + ("" if f["se"] is None else f" ± {100 * f['se']:.1f}")
            for f in found["arms"].values()
        ]
        lines.append(f"| {measure} | {found['rows'] or ''} | {chance} | {' | '.join(cells)} |")
    return lines


def _difference_table(table: Mapping[str, Any], base: str) -> list[str]:
    lines = [
        "| | arm | difference | 95 % over scenes | p, seeds | p, scenes |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for measure, found in table.items():
        for arm, f in found["against"][base].items():
            se = "" if f["se"] is None else f" ± {100 * f['se']:.1f}"
            span = f"{100 * f['low']:+.1f} to {100 * f['high']:+.1f}" if "low" in f else ""
            ps = ["" if f.get(name) is None else f"{f[name]:.2g}" for name in ("p seeds", "p scenes")]
            lines.append(f"| {measure} | {arm} | {100 * f['difference']:+.1f}{se} | {span} | {' | '.join(ps)} |")
    return lines


def text(report: Mapping[str, Any]) -> str:
    """The verdicts for a terminal."""
    lines = [line for table in report["judged"].values() for line in verdicts(table)]
    return "\n".join([*lines, str(Path(report["output"]) / "report.md")])
