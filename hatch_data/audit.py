"""What a build gives away: balance of answers, and what can be guessed from text alone, per family of questions.

The guesser of a multiple choice sees the question and its options, never an image. It scores every option by a bag of
words: the option's words, those together with the question's words, its letter, and, where options are numbers, its
rank among them; softmax over the options, fitted on the training split, tried on the splits held out. Of a fill-in the
most frequent training answer is tried; choices that came with a scan and whose options could not be told apart are
taken for fill-ins.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from scipy import sparse, stats
from scipy.optimize import minimize
from scipy.special import logsumexp

from hatch_data.errors import ShardError
from hatch_data.questions import LETTERS
from hatch_data.shards import read_manifest, read_rows
from hatch_data.terminal import table

#: Above chance by more than this, with the whole interval, text gives answers away.
TOLERATED = 0.03
#: Held-out choices after which the interval is narrower than what is tolerated.
ENOUGH = 1000
#: Letters are called uneven below this probability of the chi-square test.
UNEVEN = 0.001
_FEATURES, _MOST_TRAINING_ROWS = 1 << 15, 6000
_PENALTY = 3.0
_COLUMNS = ["task", "form", "question", "answer", "options"]
_WORD = re.compile(r"[a-z_]+|\d+(?:\.\d+)?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Guess:
    """How often the guesser is right on `tried` held-out questions: share, 95 % interval (Wilson), and chance."""

    tried: int
    right: float
    low: float
    high: float
    chance: float

    @property
    def gives_away(self) -> bool:
        """Whether text alone is right more often than chance and what is tolerated."""
        return self.low > self.chance + TOLERATED


@dataclass
class FamilyAudit:
    """One family: rows by split and form, letters, and what is guessed of its choices and fill-ins.

    `without_options`: choices among the fill-ins."""

    task: str
    rows: dict[str, int] = field(default_factory=dict)
    forms: dict[str, int] = field(default_factory=dict)
    without_options: int = 0
    letters: dict[str, int] = field(default_factory=dict)
    letters_p: float | None = None
    answers: dict[str, int] = field(default_factory=dict)
    choice: Guess | None = None
    fill: Guess | None = None

    @property
    def findings(self) -> list[str]:
        """What is wrong with the family, in words."""
        found = []
        if self.choice and self.choice.gives_away:
            found.append(f"text alone is right in {self.choice.right:.0%}, chance is {self.choice.chance:.0%}")
        if self.letters_p is not None and self.letters_p < UNEVEN:
            found.append(f"letters are uneven: {self.letters}")
        if self.rows.get("train") and not any(n for split, n in self.rows.items() if split != "train"):
            found.append("no row is held out")
        return found


@dataclass(frozen=True)
class Audit:
    """All families of a build."""

    folder: str
    families: list[FamilyAudit]

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `--json`."""
        return {"folder": self.folder, "families": [asdict(f) | {"findings": f.findings} for f in self.families]}

    def to_text(self) -> str:
        """A table for an 80-column terminal, and what is wrong."""
        counts = []
        for one in self.families:
            held = sum(one.rows.values()) - one.rows.get("train", 0)
            told = one.choice and f"{one.choice.right:.1%} ±{(one.choice.high - one.choice.low) / 2:.1%}"
            chance = f"{one.choice.chance:.1%}" if one.choice else "-"
            fill = f"{one.fill.right:.0%}" if one.fill else "-"
            name = one.task if len(one.task) <= 28 else one.task[:27] + "…"
            train, choices = one.rows.get("train", 0), one.forms.get("choice", 0)
            counts.append((name, train, held, choices, told or "-", chance, fill))
        lines = [table(("family", "train", "held", "choice", "text only", "chance", "common"), counts)]
        lines += ["", "text only: held-out choices that a bag of words gets right, 95 % interval"]
        lines += ["common: held-out fill-ins with the most frequent training answer"]
        findings = [f"{one.task}: {found}" for one in self.families for found in one.findings]
        few = sum(one.choice is None or one.choice.tried < ENOUGH for one in self.families)
        bare = {one.task: one.without_options for one in self.families if one.without_options}
        if bare:
            lines += [f"{sum(bare.values())} choices have no options and are counted as fill-ins: {', '.join(bare)}"]
        if few:
            findings.append(f"{few} families have fewer than {ENOUGH} choices held out: too few to be sure of")
        return "\n".join([*lines, "", *(findings or ["nothing is given away"])])


def audit(folder: Path) -> Audit:
    """Audit a finished build. Raises `ShardError` for what is none."""
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for split in read_manifest(folder)["totals"]["rows"]:
        for row in read_rows(folder, split, _COLUMNS):
            rows.setdefault(row["task"], {}).setdefault(split, []).append(row)
    return Audit(str(folder), [_audit_family(task, rows[task]) for task in sorted(rows)])


def _audit_family(task: str, by_split: dict[str, list[dict[str, Any]]]) -> FamilyAudit:
    everything = [row for rows in by_split.values() for row in rows]
    found = FamilyAudit(task, {split: len(rows) for split, rows in by_split.items()})
    found.forms = dict(Counter(_form(row) for row in everything))
    found.without_options = sum(_form(row) != row["form"] for row in everything)
    choices = [row for row in everything if _form(row) == "choice"]
    for row in choices:
        if row["answer"] not in list(LETTERS[: len(row["options"])]):
            raise ShardError(f"{task}: the answer '{row['answer'][:20]}' is the letter of no option; build again")
    found.letters = dict(sorted(Counter(row["answer"] for row in choices).items()))
    found.letters_p = _letters_p(choices)
    found.answers = dict(Counter(_said(row) for row in everything if row["form"] != "sentence").most_common(12))
    train = by_split.get("train", [])
    held_out = [row for split, rows in by_split.items() if split != "train" for row in rows]
    found.choice = guess_choices(*([row for row in rows if _form(row) == "choice"] for rows in (train, held_out)))
    found.fill = _guess_fill(*([row["answer"] for row in rows if _form(row) == "fill"] for rows in (train, held_out)))
    return found


def _form(row: dict[str, Any]) -> str:
    return "fill" if row["form"] == "choice" and not row["options"] else row["form"]


def _said(row: dict[str, Any]) -> str:
    """The answer, not its letter."""
    return dict(zip(LETTERS, row["options"], strict=False)).get(row["answer"], row["answer"])


def _letters_p(choices: Sequence[dict[str, Any]]) -> float | None:
    """Probability of letters as uneven as these if each were as likely as any other of its question; None: too few."""
    expected: Counter[str] = Counter()
    for row in choices:
        expected.update({letter: 1 / len(row["options"]) for letter in LETTERS[: len(row["options"])]})
    if len(expected) < 2 or min(expected.values()) < 5:
        return None
    seen = Counter(row["answer"] for row in choices)
    square = sum((seen[letter] - expected[letter]) ** 2 / expected[letter] for letter in expected)
    return float(stats.chi2.sf(square, len(expected) - 1))


def _guess_fill(train: Sequence[str], held_out: Sequence[str]) -> Guess | None:
    if not train or not held_out:
        return None
    common = Counter(train).most_common(1)[0][0]
    return _rated([answer == common for answer in held_out], 1 / len({*train, *held_out}))


def guess_choices(train: Sequence[dict[str, Any]], held_out: Sequence[dict[str, Any]]) -> Guess | None:
    """Fit the guesser on training rows and try it on others; None where either has none."""
    if not train or not held_out:
        return None
    if len(train) > _MOST_TRAINING_ROWS:
        chosen = np.random.default_rng(0).permutation(len(train))[:_MOST_TRAINING_ROWS]
        train = [train[k] for k in chosen]
    weights = _fit(train)
    scores = _features(held_out) @ weights
    hits = [
        int(np.argmax(scores[a:b])) == LETTERS.index(row["answer"])
        for row, a, b in zip(held_out, *_bounds(held_out), strict=True)
    ]
    return _rated(hits, float(np.mean([1 / len(row["options"]) for row in held_out])))


def _rated(hits: Sequence[bool], chance: float) -> Guess:
    right, tried = int(sum(hits)), len(hits)
    low, high = stats.binomtest(right, tried).proportion_ci(method="wilson")
    return Guess(tried, right / tried, float(low), float(high), chance)


def _fit(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Weights of the softmax over options, by maximum likelihood with a penalty on their square."""
    features = _features(rows)
    starts, ends = _bounds(rows)
    truth = starts + [LETTERS.index(row["answer"]) for row in rows]
    owner = np.repeat(np.arange(len(rows)), ends - starts)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = features @ weights
        total = np.array([logsumexp(scores[a:b]) for a, b in zip(starts, ends, strict=True)])
        share = np.exp(scores - total[owner])
        share[truth] -= 1
        value = float((total - scores[truth]).sum() + _PENALTY / 2 * weights @ weights)
        return value, features.T @ share + _PENALTY * weights

    return minimize(loss, np.zeros(_FEATURES), jac=True, method="L-BFGS-B", options={"maxiter": 60}).x


def _bounds(rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """First and last (exclusive) line of each row's options among those of all."""
    ends = np.cumsum([len(row["options"]) for row in rows])
    return np.concatenate([[0], ends[:-1]]), ends


def _features(rows: Sequence[dict[str, Any]]) -> sparse.csr_array:
    """(options of all rows, features) hashed counts."""
    columns: list[int] = []
    ends = [0]
    for row in rows:
        for words in _words_of_options(row):
            columns += (crc32(word.encode()) % _FEATURES for word in words)
            ends.append(len(columns))
    ones = np.ones(len(columns))
    return sparse.csr_array((ones, np.array(columns, np.int32), ends), shape=(len(ends) - 1, _FEATURES))


def _words_of_options(row: dict[str, Any]) -> Iterator[list[str]]:
    asked = set(_WORD.findall(row["question"].split("\nA. ")[0].lower()))
    numbers = [float(found[0]) for option in row["options"] if (found := _NUMBER.search(option))]
    for k, option in enumerate(row["options"]):
        told = set(_WORD.findall(option.lower()))
        words = [f"letter {k}", *told, *(f"{a} {b}" for a in told for b in asked)]
        if len(numbers) == len(row["options"]):
            rank = sum(other < numbers[k] for other in numbers)
            words += [f"rank {rank}", *(f"rank {rank} {word}" for word in asked)]
        yield words
