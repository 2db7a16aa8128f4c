"""Which family is asked of a group of views, and in which form.

Families and forms are kept in the balance of the recipe: the one that lags most is asked first, and where it declines
the next. Text alone must not give the answer away: the wrong options of a multiple choice are drawn, independently,
from what is true of other groups of the same scene, and the question is dropped where any two options are alike. Then
each option of a set is equally likely to be the right one: with p(o) the share of truths, a question with the truth o
and the others d is asked with probability p(o) prod p(d), in which all options stand alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import dist
from typing import get_args

import numpy as np

from hatch_data.group import SceneViews
from hatch_data.markers import Marker
from hatch_data.questions import LETTERS, Form, Question, Rejection, family

FORMS: tuple[Form, ...] = get_args(Form)
#: Other groups of the scene that a family is asked about for alternatives, and how many of its answers are enough.
_GROUPS_FOR_ALTERNATIVES, _ENOUGH_ALTERNATIVES = 64, 24
#: Options are as many as differ in this share of a number of trial draws.
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
    """Asks groups of one scene. `asked` and `rejected` are counters by family, and by family and reason."""

    def __init__(
        self,
        scene: SceneViews,
        groups: Sequence[tuple[int, ...]],
        families: dict[str, float],
        forms: dict[Form, float],
        seed: Sequence[int],
        asked: Counter[str],
        rejected: Counter[str],
    ):
        self._scene, self._groups, self._seed = scene, groups, list(seed)
        self._families = {name: weight for name, weight in families.items() if weight > 0}
        self._forms = {form: weight for form, weight in forms.items() if weight > 0}
        self.asked, self.rejected = asked, rejected
        self._formed: Counter[tuple[str, Form]] = Counter()
        self._truths: dict[str, list[tuple[tuple[int, ...], Question]]] = {}

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
        pool = [q for where, q in self._truths_of(name) if where != indices and q.key == question.key]
        drawn = draw(question, pool, rng)
        return drawn if isinstance(drawn, Rejection) else pose(name, question, form, drawn, rng)

    def _truths_of(self, name: str) -> list[tuple[tuple[int, ...], Question]]:
        """What the family asks of other groups, the same sample for all its questions."""
        if name not in self._truths:
            least, most = family(name).VIEWS
            fitting = [group for group in self._groups if least <= len(group) <= most]
            rng = np.random.default_rng([*self._seed, len(self._groups)])
            sample = [fitting[k] for k in rng.permutation(len(fitting))[:_GROUPS_FOR_ALTERNATIVES]]
            found: list[tuple[tuple[int, ...], Question]] = []
            for indices in sample:
                question = family(name).ask(self._scene.group(indices), np.random.default_rng([*self._seed, *indices]))
                if isinstance(question, Question):
                    found.append((indices, question))
                if len(found) == _ENOUGH_ALTERNATIVES:
                    break
            self._truths[name] = found
        return self._truths[name]


def draw(question: Question, pool: Sequence[Question], rng: np.random.Generator) -> list[Question] | Rejection:
    """Wrong options for a question, from what is true elsewhere: as many as the question asks for, fewer where that
    many different ones are seldom drawn from the pool, whatever the truth is.

    Rejected: `too_few_alternatives`, `alternatives_alike` (drawing again would favour rare answers: see above).
    """
    if len({other.answer for other in pool} | {question.answer}) < 2 or not pool:
        return Rejection("too_few_alternatives")
    trials = rng.integers(len(pool), size=(_TRIALS, question.choices))
    count = question.choices
    while count > 2 and np.mean([_differ([pool[k] for k in trial[:count]]) for trial in trials]) < _OFTEN_ENOUGH:
        count -= 1
    drawn = [pool[k] for k in rng.integers(len(pool), size=count - 1)]
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
