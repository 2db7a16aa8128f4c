"""Question families, one module each.

A family looks at a group of views and everything known about how they relate, and either asks something whose answer
is clear or says why it does not:

    VIEWS = (2, 2)                                    the least and the most views it asks about
    ask(group, rng) -> Question | Rejection

A `Question` holds what is asked and its answer in a word and in a sentence; `hatch_data.asking` puts it as a multiple
choice, a fill-in or a sentence. Every module of this package is a family that a recipe may weigh by its name.
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from hatch_data.errors import SettingsError
from hatch_data.markers import Marker

if TYPE_CHECKING:
    from hatch_data.group import ViewGroup

FAMILIES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_"))
LETTERS = "ABCDEFGH"
#: How a question is put.
Form = Literal["choice", "fill", "sentence"]


@dataclass(frozen=True)
class Question:
    """What is asked, before it is put in a form.

    `answer` is short ("front-left", "1.2 m"), `sentence` says the same in a whole sentence, `instruction` says what a
    short answer looks like. `markers[k]` are drawn on view k.

    `options` are the alternatives where they belong to the question (marked boxes, images), in the order in which they
    are listed; the family sees to it that each is as often right as any other. Without them, the `choices - 1` wrong
    options of a multiple choice are what is true elsewhere in the scene, of questions with the same `key`. `place`
    says where the answer lies, one unit being a clear difference (metres over a margin, say), so that options differ
    clearly; it is empty where answers are the same or not, such as directions.
    """

    text: str
    answer: str
    sentence: str
    instruction: str = ""
    options: tuple[str, ...] = ()
    choices: int = 4
    key: str = ""
    place: tuple[float, ...] = ()
    markers: dict[int, list[Marker]] = field(default_factory=dict)


@dataclass(frozen=True)
class Rejection:
    """Why nothing was asked: a short snake_case reason that the build counts."""

    reason: str


class Family(Protocol):
    """A module of this package."""

    VIEWS: tuple[int, int]

    def ask(self, group: ViewGroup, rng: np.random.Generator) -> Question | Rejection: ...


def family(name: str) -> Family:
    """The module of a family. Raises `SettingsError` naming the nearest where there is none."""
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"families: {', '.join(FAMILIES)}"
        raise SettingsError(f"questions: unknown family '{name}'; {hint}")
    return import_module(f"hatch_data.questions.{name}")


def choose(phrasings: Sequence[str], rng: np.random.Generator) -> str:
    """One of several ways to say the same."""
    return phrasings[int(rng.integers(len(phrasings)))]
