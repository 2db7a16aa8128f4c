"""Question families, one module each.

A family has `ask(views, rng) -> Question | Rejection`: it looks at two views, everything known about how they relate,
and either asks something whose answer is clear or says why it does not. `FAMILIES` names those that a recipe may weigh.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

import numpy as np

from hatch_data.correspondence import Correspondence
from hatch_data.errors import SettingsError
from hatch_data.motion import Motion

FAMILIES = ("patch_match", "camera_motion", "camera_position")
LETTERS = "ABCDEFGH"


@dataclass(frozen=True)
class Marker:
    """A box drawn on an image, in shares of its width and height: (left, top, right, bottom), with a label or ""."""

    box: tuple[float, float, float, float]
    label: str
    color: str


@dataclass(frozen=True)
class Question:
    """What is asked and answered. `markers[k]` are drawn on image k; `options` are empty unless `form` is "choice"."""

    form: str
    text: str
    answer: str
    options: list[str] = field(default_factory=list)
    markers: dict[int, list[Marker]] = field(default_factory=dict)


@dataclass(frozen=True)
class Rejection:
    """Why nothing was asked: a short snake_case reason that the build counts."""

    reason: str


@dataclass(frozen=True)
class ViewPair:
    """Two views and how they relate: what a family asks about."""

    first_to_second: Correspondence
    second_to_first: Correspondence
    motion: Motion
    actions: str


class Family(Protocol):
    """A module of this package."""

    def ask(self, views: ViewPair, rng: np.random.Generator) -> Question | Rejection: ...


def family(name: str) -> Family:
    """The module of a family. Raises `SettingsError` naming the nearest where there is none."""
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"families: {', '.join(FAMILIES)}"
        raise SettingsError(f"questions: unknown family '{name}'; {hint}")
    return import_module(f"hatch_data.questions.{name}")


def choose(phrasings: tuple[str, ...], rng: np.random.Generator) -> str:
    """One of several ways to say the same."""
    return phrasings[int(rng.integers(len(phrasings)))]


def choice(text: str, truth: str, others: list[str], rng: np.random.Generator) -> Question:
    """A multiple-choice question whose answer is a letter, each letter as likely as any other."""
    place = int(rng.integers(len(others) + 1))
    options = [*others[:place], truth, *others[place:]]
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return Question("choice", "\n".join([text, *lines, _LETTER_ONLY]), LETTERS[place], options)


_LETTER_ONLY = "Answer with the letter of the right option."
