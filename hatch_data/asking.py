"""Which family is asked of a group of views, and in which form.

Families and forms are kept in the balance of the recipe: the one that lags most is asked first, and where it declines
the next. Text alone must not give the answer away: the wrong options of a multiple choice are drawn, independently,
from what is true of all other groups of the same scene and split, and the question is dropped where any two options
are alike. Then each option of a set is equally likely to be the right one: with p(o) the share of truths, a question
with the truth o and the others d is asked with probability p(o) prod p(d), in which all options stand alike. (Drawn
from a few groups, over and over, they would give away the truth as the one that is never wrong.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from math import dist
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from hatch_data.group import SceneViews
from hatch_data.markers import Marker
from hatch_data.questions import LETTERS, Form, Question, Rejection, family

FORMS: tuple[Form, ...] = get_args(Form)
#: Other groups that a family is asked about for the alternatives of one question.
_GROUPS_FOR_ALTERNATIVES = 64
#: Options are as many as differ in this share of a number of trial draws from that many truths.
_TYPICAL = 24
_OFTEN_ENOUGH, _TRIALS = 0.3, 20
_LETTER_ONLY = "Answer with the letter of the right option."
_IN_A_SENTENCE = "Answer in one sentence."


@dataclass(frozen=True)
class Posed:
    """A question in its form: `text` as a model reads it, `options` empty unless the form is "choice"."""

    task: str
    form: Form
    text: str
    answer: str
    options: list[str] = field(default_factory=list)
    markers: dict[int, list[Marker]] = field(default_factory=dict)


class Asker:
    """Asks groups of one scene. `asked` and `rejected` are counters by family, and by family and reason. `part` says of
    each view which split it belongs to; groups lie in one, and learn nothing of another."""

    def __init__(
        self,
        scene: SceneViews,
        groups: Sequence[tuple[int, ...]],
        families: dict[str, float],
        forms: dict[Form, float],
        seed: Sequence[int],
        asked: Counter[str],
        rejected: Counter[str],
        part: Sequence[int] | NDArray | None = None,
    ):
        self._scene, self._seed = scene, list(seed)
        self._families = {name: weight for name, weight in families.items() if weight > 0}
        self._forms = {form: weight for form, weight in forms.items() if weight > 0}
        self.asked, self.rejected = asked, rejected
        self._formed: Counter[tuple[str, Form]] = Counter()
        self._all, self._part = groups, part
        self._groups: dict[tuple[int, int, int], list[tuple[int, ...]]] = {}
        self._truths: dict[tuple[str, tuple[int, ...]], Question | Rejection] = {}
        self._typical: dict[tuple[str, int, str], list[Question]] = {}

    def ask(self, indices: tuple[int, ...]) -> Posed | None:
        """A question about the views with these numbers, or None where no family has a clear one."""
        rng = np.random.default_rng([*self._seed, *indices])
        group = self._scene.group(indices)
        for name in sorted(self._families, key=lambda name: ((self.asked[name] + 1) / self._families[name], name)):
            least, most = family(name).VIEWS
            if not least <= len(indices) <= most:
                continue
            question = family(name).ask(group, rng)
            posed = question if isinstance(question, Rejection) else self._pose(name, question, indices, rng)
            if isinstance(posed, Rejection):
                self.rejected[f"{name}: {posed.reason}"] += 1
                continue
            self.asked[name] += 1
            self._formed[name, posed.form] += 1
            return posed
        return None

    def _pose(
        self, name: str, question: Question, indices: tuple[int, ...], rng: np.random.Generator
    ) -> Posed | Rejection:
        form = min(self._forms, key=lambda form: (self._formed[name, form] + 1) / self._forms[form])
        # A fill-in answer that is one of few classes is balanced like a choice among them.
        if question.options or (form != "choice" and question.place):
            return pose(name, question, form, (), rng)
        part = self._part_of(indices)
        others = (truth for where, truth in self._others(name, part, question.key, rng) if where != indices)
        drawn = draw(question, self._typical_of(name, part, question.key), others, rng)
        return drawn if isinstance(drawn, Rejection) else pose(name, question, form, drawn, rng)

    def _part_of(self, indices: tuple[int, ...]) -> int:
        return 0 if self._part is None else int(self._part[indices[0]])

    def _others(
        self, name: str, part: int, key: str, rng: np.random.Generator
    ) -> Iterator[tuple[tuple[int, ...], Question]]:
        """What the family asks, with this key, of groups of a split drawn at random."""
        groups = self._fitting(name, part)
        for k in rng.integers(len(groups), size=_GROUPS_FOR_ALTERNATIVES):
            truth = self._truth(name, groups[k])
            if isinstance(truth, Question) and truth.key == key:
                yield groups[k], truth

    def _fitting(self, name: str, part: int) -> list[tuple[int, ...]]:
        """The groups of a split that the family may be asked about."""
        least, most = family(name).VIEWS
        if (least, most, part) not in self._groups:
            of_part = [group for group in self._all if self._part_of(group) == part]
            self._groups[least, most, part] = [group for group in of_part if least <= len(group) <= most]
        return self._groups[least, most, part]

    def _truth(self, name: str, indices: tuple[int, ...]) -> Question | Rejection:
        """What the family asks of a group, the same whenever it is wanted."""
        if (name, indices) not in self._truths:
            rng = np.random.default_rng([*self._seed, *indices])
            self._truths[name, indices] = family(name).ask(self._scene.group(indices), rng)
        return self._truths[name, indices]

    def _typical_of(self, name: str, part: int, key: str) -> list[Question]:
        """Some of what the family asks with this key in a split, the same for all its questions."""
        if (name, part, key) not in self._typical:
            others = self._others(name, part, key, np.random.default_rng([*self._seed, part]))
            self._typical[name, part, key] = [truth for _, truth in islice(others, _TYPICAL)]
        return self._typical[name, part, key]


def draw(
    question: Question, typical: Sequence[Question], others: Iterator[Question], rng: np.random.Generator
) -> list[Question] | Rejection:
    """Wrong options for a question, from what is true elsewhere: as many as the question asks for, fewer where that
    many different ones are seldom found among `typical` truths, whatever the truth is. `others` are drawn afresh.

    Rejected: `too_few_alternatives`, `alternatives_alike` (drawing again would favour rare answers: see above).
    """
    if not typical:
        return Rejection("too_few_alternatives")
    trials = rng.integers(len(typical), size=(_TRIALS, question.choices))
    count = question.choices
    while count > 2 and np.mean([_differ([typical[k] for k in trial[:count]]) for trial in trials]) < _OFTEN_ENOUGH:
        count -= 1
    drawn = list(islice(others, count - 1))
    if len(drawn) < count - 1:
        return Rejection("too_few_alternatives")
    return drawn if _differ([question, *drawn]) else Rejection("alternatives_alike")


def _differ(questions: Sequence[Question]) -> bool:
    return not any(alike(a, b) for a, b in combinations(questions, 2))


def alike(a: Question, b: Question) -> bool:
    """Whether two answers are too near each other to be told apart."""
    return a.answer == b.answer or bool(a.place and b.place and dist(a.place, b.place) < 1)


def pose(task: str, question: Question, form: Form, others: Sequence[Question], rng: np.random.Generator) -> Posed:
    """Put a question in a form; `others` are the wrong options of a choice unless the question has its own."""
    if form == "choice":
        options = list(question.options) or [question.answer, *(other.answer for other in others)]
        if not question.options:
            options = [options[k] for k in rng.permutation(len(options))]
        lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
        text = "\n".join([question.text, *lines, _LETTER_ONLY])
        return Posed(task, form, text, LETTERS[options.index(question.answer)], options, question.markers)
    wanted, answer = {
        "fill": (question.instruction, question.answer),
        "sentence": (_IN_A_SENTENCE, question.sentence),
    }[form]
    return Posed(task, form, "\n".join(filter(None, [question.text, wanted])), answer, [], question.markers)
