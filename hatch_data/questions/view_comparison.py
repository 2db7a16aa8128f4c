"""Which image was taken highest, furthest to one side as image 1 looks, or looking most steeply up or down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._directions import looks_steeply
from hatch_data.questions._images import INSTRUCTION, among, draw_candidates, label, listed, options

VIEWS = (2, 8)


@dataclass(frozen=True)
class Comparison:
    """What is compared: the image with the greatest `value` is ahead of the next by `margin`, and of image 1 by
    `from_first` where image 1 is what the others are seen from."""

    value: Callable[[ViewGroup, int], float]
    margin: float
    superlative: str
    phrasings: tuple[str, ...]
    said: str
    from_first: float | None = None


def _height(sign: int) -> Callable[[ViewGroup, int], float]:
    return lambda group, k: sign * group.stance(k).up_m


def _pitch(sign: int) -> Callable[[ViewGroup, int], float]:
    return lambda group, k: sign * group.stance(k).pitch_deg


def _aside(axis: str, sign: int) -> Callable[[ViewGroup, int], float]:
    return lambda group, k: sign * getattr(group.motion(0, k), axis)


def _side(axis: str, sign: int, where: str) -> Comparison:
    phrasings = (
        f"Seen from image 1, which of {{images}} was taken {{most}} {where}?",
        f"You stand where image 1 was taken and look the same way. Of {{images}}, whose camera stood {{most}} {where}?",
        f"Relative to the heading of image 1, which of {{images}} has its viewpoint {{most}} {where}?",
    )
    said = f"was taken {{most}} {where}, seen from image 1"
    return Comparison(_aside(axis, sign), 0.4, "furthest", phrasings, said, 0.3)


def _level(sign: int, word: str) -> Comparison:
    phrasings = (
        "Which of {images} was taken from the {most} place?",
        "The camera was not always held at the same height. In which of {images} was it {most}?",
        "Of {images}, which has the {most} camera position above the floor?",
    )
    return Comparison(_height(sign), 0.15, word, phrasings, "was taken from the {most} place")


def _tilt(sign: int, way: str) -> Comparison:
    phrasings = (
        f"In which of {{images}} does the camera look {{most}} {way}?",
        f"For which of {{images}} was the camera tilted {{most}} {way}?",
        f"Of {{images}}, which was taken with the optical axis pointing {{most}} {way}?",
    )
    return Comparison(_pitch(sign), 8.0, "furthest", phrasings, f"looks {{most}} {way}")


COMPARISONS = (
    _level(1, "highest"),
    _level(-1, "lowest"),
    _side("left_m", 1, "to the left"),
    _side("left_m", -1, "to the right"),
    _side("forward_m", 1, "ahead"),
    _side("forward_m", -1, "back"),
    _tilt(1, "up"),
    _tilt(-1, "down"),
)


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of up to four images.

    Rejected: `looks_steeply` (image 1 is pitched by more than 60 degrees), `no_clear_difference` (0.15 m of height,
    8 degrees of pitch, 0.4 m to the side, of which 0.3 m lie beyond the camera of image 1).
    """
    from_first = len(group) > 2 and bool(rng.random() < 0.5)
    if from_first and looks_steeply(group, 0):
        return Rejection("looks_steeply")
    candidates = draw_candidates(range(from_first, len(group)), rng)
    # One or the other kind, drawn beforehand: what may be asked as image 1 looks tells of image 1 against the others.
    comparisons = [one for one in COMPARISONS if (one.from_first is not None) == from_first]
    for number in rng.permutation(len(comparisons)).tolist():
        comparison = comparisons[number]
        values = np.array([comparison.value(group, k) for k in candidates])
        second, best = np.sort(values)[-2:]
        if best - second < comparison.margin or best < (comparison.from_first or -np.inf):
            continue
        truth = label(candidates[int(values.argmax())])
        most = among(len(candidates), comparison.superlative)
        text = choose(comparison.phrasings, rng).format(images=listed(candidates), most=most)
        sentence = f"{truth.capitalize()} {comparison.said.format(most=most)}."
        return Question(text, truth, sentence, INSTRUCTION, options(candidates))
    return Rejection("no_clear_difference")
