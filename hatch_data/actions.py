"""The action language: the motion from one view to another as a short list of things to do.

    world_from_i, world_from_j --motion_between--> Motion --encode--> Actions --to_text, to_json--> str
    world_from_j <----apply---- Motion <--execute-- Actions <--parse_text, parse_json, parse_lenient-- str

A `Motion` is exact (`hatch_data.motion`), `Actions` are whole steps of an `ActionLanguage`. Images are counted
from 0 in code, as in a row, and from 1 in text. The language on one page, with its bounds: docs/actions.md.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from itertools import zip_longest
from math import atan2, cos, degrees, hypot, inf, isfinite, radians, sin
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import ValidationInfo, field_validator

from hatch_data.errors import ActionError, SettingsError
from hatch_data.motion import Motion, compose, wrap_degrees
from hatch_data.settings import Settings

Vocabulary = Literal["full", "hatch"]

#: Component of the motion -> the verbs that increase and decrease it, in the order in which `full` says them.
AXES = {
    "forward_m": ("move_forward", "move_backward"),
    "left_m": ("move_left", "move_right"),
    "up_m": ("move_up", "move_down"),
    "yaw_deg": ("turn_left", "turn_right"),
    "pitch_deg": ("turn_up", "turn_down"),
    "roll_deg": ("roll_left", "roll_right"),
}
#: Verb -> (component of the motion that it changes, sign).
VERBS = {verb: (axis, sign) for axis, verbs in AXES.items() for verb, sign in zip(verbs, (1, -1), strict=True)}
#: Verb -> unit of its value.
UNITS = {verb: axis.rpartition("_")[2] for verb, (axis, _) in VERBS.items()}
#: What each vocabulary may say; `hatch` is the published one.
VOCABULARIES: dict[str, tuple[str, ...]] = {
    "full": tuple(VERBS),
    "hatch": ("move_forward", "move_up", "move_down", "turn_left", "turn_right", "turn_up", "turn_down"),
}

#: Steps and values have at most this many decimals, so that a printed number is the number.
DECIMALS = 6
#: Slack for rounding in float64 when a deviation is held against its bound, metres or degrees.
BOUND_SLACK = 1e-6


class ActionStep(NamedTuple):
    """One action: a verb of `VERBS` and a positive value, metres or degrees as `UNITS` says."""

    verb: str
    value: float


Actions = tuple[ActionStep, ...]
#: (source, target, actions): indices of two images, from 0, and what leads from the first to the second.
Pair = tuple[int, int, Actions]


class ActionLanguage(Settings):
    """Vocabulary and step sizes. A component of half a step or less is not said: that is the dead band."""

    vocabulary: Vocabulary = "full"
    rotation_step_deg: float = 5.0
    translation_step_m: float = 0.1

    @field_validator("rotation_step_deg", "translation_step_m")
    @classmethod
    def _printable(cls, step: float, info: ValidationInfo) -> float:
        if not (isfinite(step) and step > 0 and round(step, DECIMALS) == step):
            raise SettingsError(f"{info.field_name} is {step}: use a positive number of at most {DECIMALS} decimals")
        return step

    @field_validator("rotation_step_deg")
    @classmethod
    def _divides_half_a_turn(cls, step: float) -> float:
        if abs(round(180 / step) * step - 180) > 1e-9:
            raise SettingsError(f"rotation_step_deg is {step}: use a step that divides 180, such as 5 or 10")
        return step

    @property
    def half_turn(self) -> int:
        """Rotation steps in 180 degrees."""
        return round(180 / self.rotation_step_deg)


# Motions <-> actions


def encode(motion: Motion, language: ActionLanguage) -> Actions:
    """The actions of `language` that end nearest to `motion`; how near, says `bound`.

    Ties go to the even step, so a component of exactly half a step stays unsaid. Half a turn goes left.
    Raises ActionError for numbers that are not finite.
    """
    if not all(map(isfinite, vars(motion).values())):
        raise ActionError(f"{motion} cannot be said in actions: every number must be finite")
    turn, move = language.rotation_step_deg, language.translation_step_m
    half = language.half_turn
    yaw = round(motion.yaw_deg / turn)
    vertical = ("up_m", round(motion.up_m / move), move)
    pitch = ("pitch_deg", min(max(round(motion.pitch_deg / turn), -half), half), turn)
    if language.vocabulary == "full":
        return _steps(
            ("forward_m", round(motion.forward_m / move), move),
            ("left_m", round(motion.left_m / move), move),
            vertical,
            ("yaw_deg", _cyclic(yaw, half), turn),
            pitch,
            ("roll_deg", _cyclic(round(motion.roll_deg / turn), half), turn),
        )
    bearing = _cyclic(round(degrees(atan2(motion.left_m, motion.forward_m)) / turn), half)
    walked = radians(bearing * turn)
    # What the rounded bearing leaves is not walked: the distance is that along the direction really taken.
    distance = round((cos(walked) * motion.forward_m + sin(walked) * motion.left_m) / move)
    if distance == 0:
        bearing = 0
    return _steps(
        ("yaw_deg", bearing, turn),
        ("forward_m", distance, move),
        vertical,
        ("yaw_deg", _cyclic(yaw - bearing, half), turn),
        pitch,
    )


def execute(actions: Iterable[ActionStep]) -> Motion:
    """The motion that the actions make when done one after the other."""
    motion = Motion()
    for verb, value in actions:
        axis, sign = VERBS[verb]
        motion = compose(motion, Motion(**{axis: sign * value}))
    return motion


def _steps(*counts: tuple[str, int, float]) -> Actions:
    """(component, signed number of steps, step) -> actions; what is zero is left out."""
    return tuple(
        ActionStep(AXES[axis][count < 0], round(abs(count) * step, DECIMALS)) for axis, count, step in counts if count
    )


def _cyclic(count: int, half: int) -> int:
    """Steps of a turn, the shorter way round, where `half` steps are half a turn, which goes left."""
    return (count + half - 1) % (2 * half) - half + 1


# How far actions may end from the motion that they say


@dataclass(frozen=True)
class Deviation:
    """How far one motion ends from another, or may: absolute values.

    `along` and `across` are horizontal. `full` measures them on the forward and left axes of the first view;
    `hatch` along the direction walked and across it.
    """

    along_m: float
    across_m: float
    up_m: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float

    @property
    def horizontal_m(self) -> float:
        return hypot(self.along_m, self.across_m)

    def within(self, limit: Deviation) -> bool:
        """Whether every component is within that of `limit`, but for rounding in float64."""
        return all(mine <= its + BOUND_SLACK for mine, its in zip(astuple(self), astuple(limit), strict=True))


def bound(motion: Motion, language: ActionLanguage) -> Deviation:
    """How far `execute(encode(motion, language))` may end from `motion`. Roll is unbounded in `hatch`."""
    move, turn = language.translation_step_m / 2, language.rotation_step_deg / 2
    if language.vocabulary == "full":
        return Deviation(move, move, move, turn, turn, turn)
    drift = hypot(motion.forward_m, motion.left_m) * sin(radians(turn))
    return Deviation(move, drift + move, move, turn, turn, inf)


def chain_bound(motions: Sequence[Motion], language: ActionLanguage) -> Deviation:
    """How far the actions of several motions, done one after the other, may end from where the motions do.

    The bounds of the parts add, and the heading error of all parts before it swings the length of each. Where the
    parts point is not known, so `along` and `across` both hold the radius within which the end lies.
    """
    radius = up = yaw = pitch = roll = 0.0
    for motion in motions:
        part = bound(motion, language)
        radius += part.horizontal_m + radians(yaw) * hypot(motion.forward_m, motion.left_m)
        up, yaw, pitch, roll = up + part.up_m, yaw + part.yaw_deg, pitch + part.pitch_deg, roll + part.roll_deg
    return Deviation(radius, radius, up, yaw, pitch, roll)


def error(motion: Motion, executed: Motion, language: ActionLanguage) -> Deviation:
    """How far `executed` ends from `motion`, in the axes in which `bound` is stated."""
    direction = 0.0
    if language.vocabulary == "hatch":
        walked = hypot(executed.forward_m, executed.left_m) > language.translation_step_m / 2
        end = executed if walked else motion
        direction = atan2(end.left_m, end.forward_m)
        if not walked:  # measured in the direction that would have been taken
            turn = radians(language.rotation_step_deg)
            direction = round(direction / turn) * turn
    forward, left = executed.forward_m - motion.forward_m, executed.left_m - motion.left_m
    return Deviation(
        abs(cos(direction) * forward + sin(direction) * left),
        abs(cos(direction) * left - sin(direction) * forward),
        abs(executed.up_m - motion.up_m),
        abs(wrap_degrees(executed.yaw_deg - motion.yaw_deg)),
        abs(executed.pitch_deg - motion.pitch_deg),
        abs(wrap_degrees(executed.roll_deg - motion.roll_deg)),
    )


def within_bound(motion: Motion, executed: Motion, language: ActionLanguage) -> bool:
    """Whether `executed` ends where the language promises for `motion`."""
    return error(motion, executed, language).within(bound(motion, language))


# Actions -> text


def to_text(actions: Sequence[ActionStep]) -> str:
    """`move_forward 1.2m, turn_left 30deg`; no action is `stay`."""
    return ", ".join(f"{verb} {decimal(value)}{UNITS[verb]}" for verb, value in actions) or "stay"


def to_json(actions: Sequence[ActionStep]) -> str:
    """`[{"move_forward_m": 1.2}, {"turn_left_deg": 30}]`; no action is `[]`."""
    return "[" + ", ".join(f'{{"{verb}_{UNITS[verb]}": {decimal(value)}}}' for verb, value in actions) + "]"


def format_pairs(pairs: Iterable[Pair]) -> str:
    """What stands inside `<action>`: one JSON object for every pair of images, counted from 1 in the text."""
    items = (f'{{"from": {i + 1}, "to": {j + 1}, "actions": {to_json(actions)}}}' for i, j, actions in pairs)
    return "[" + ", ".join(items) + "]"


def decimal(value: float) -> str:
    """The shortest decimal that reads back as the same float."""
    return np.format_float_positional(value, trim="-")


# Text -> actions, strict: exactly the language

_PART = re.compile(r"(\w+) (\d+(?:\.\d+)?)(m|deg)", re.ASCII)


def parse_text(text: str, vocabulary: str = "full") -> Actions:
    """The actions that `to_text` wrote. Raises ActionError that names the part that is wrong."""
    if text.strip() == "stay":
        return ()
    steps = []
    for number, part in enumerate(text.split(","), 1):
        where = f"action {number} ({_shown(part.strip())})"
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ActionError(f"{where}: expected a verb, a number and a unit, as in 'turn_left 30deg'")
        steps.append(checked_step(match[1], match[3], float(match[2]), vocabulary, where))
    return tuple(steps)


def parse_json(text: str, vocabulary: str = "full") -> Actions:
    """The actions that `to_json` wrote. Raises ActionError that names the part that is wrong."""
    return _steps_of_json(_load_json(text), vocabulary, "")


def parse_pairs(text: str, strict: bool = True, vocabulary: str = "full") -> list[Pair]:
    """What `format_pairs` wrote. Not strict: the pairs that can be found in what a model wrote, perhaps none.

    Strict raises ActionError that names the part that is wrong; every pair stands there at most once.
    """
    if not strict:
        return _find_pairs(text)
    items = _load_json(text)
    if not isinstance(items, list):
        raise ActionError(f"action pairs must be a JSON list, not {_shown(items)}")
    pairs: dict[tuple[int, int], Actions] = {}
    for number, item in enumerate(items, 1):
        where = f"pair {number}"
        if not (isinstance(item, dict) and set(item) == {"from", "to", "actions"}):
            raise ActionError(f'{where} ({_shown(item)}): expected {{"from": 1, "to": 2, "actions": [...]}}')
        first, second = item["from"], item["to"]
        if not (type(first) is type(second) is int and 1 <= first < second):
            raise ActionError(f'{where}: "from" and "to" are image numbers from 1, the smaller one first')
        if (first - 1, second - 1) in pairs:
            raise ActionError(f"{where}: images {first} and {second} stand there twice")
        pairs[first - 1, second - 1] = _steps_of_json(item["actions"], vocabulary, f"{where}, ")
    return [(source, target, actions) for (source, target), actions in pairs.items()]


def _steps_of_json(items: Any, vocabulary: str, where: str) -> Actions:
    if not isinstance(items, list):
        raise ActionError(f"{where}actions must be a JSON list, not {_shown(items)}")
    steps = []
    for number, item in enumerate(items, 1):
        here = f"{where}action {number} ({_shown(item)})"
        if not (isinstance(item, dict) and len(item) == 1):
            raise ActionError(f'{here}: expected an object with one key, as in {{"turn_left_deg": 30}}')
        key, value = next(iter(item.items()))
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ActionError(f"{here}: the value must be a number")
        verb, _, suffix = key.rpartition("_")
        steps.append(checked_step(verb, suffix, value, vocabulary, here))
    return tuple(steps)


def checked_step(verb: str, suffix: str, value: float, vocabulary: str, where: str) -> ActionStep:
    """The action that these parts make. Raises ActionError that begins with `where` and says what is wrong."""
    if vocabulary not in VOCABULARIES:
        raise ActionError(f"{where}: no vocabulary is called {vocabulary!r}; use 'full' or 'hatch'")
    if verb not in VOCABULARIES[vocabulary]:
        nearest = difflib.get_close_matches(verb, VOCABULARIES[vocabulary], 1, 0.0)[0]
        raise ActionError(f"{where}: {verb!r} is no verb of {vocabulary!r}; the nearest is {nearest!r}")
    if suffix != UNITS[verb]:
        raise ActionError(f"{where}: {verb} is measured in {UNITS[verb]}, not {suffix!r}")
    if not 0 < value <= sys.float_info.max:
        raise ActionError(f"{where}: the value must be positive and finite; what does not move is left out")
    if suffix == "deg" and value > 180:
        raise ActionError(f"{where}: a turn is at most 180 degrees; turn the other way")
    return ActionStep(verb, float(value))


def _load_json(text: str) -> Any:
    def unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(items)) < len(items):
            raise ActionError(f"actions as JSON: a key stands twice in {_shown(dict(items))}")
        return dict(items)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as problem:
        raise ActionError(f"actions are not JSON ({problem}): {_shown(text)}") from problem


def _shown(part: Any) -> str:
    text = part if isinstance(part, str) else json.dumps(part)
    return repr(text if len(text) <= 60 else text[:57] + "...")


# What a model wrote -> the actions in it

_TO_UNIT = {
    **dict.fromkeys(("m", "meter", "metre"), ("m", 1.0)),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), ("m", 0.01)),
    **dict.fromkeys(("deg", "degree", "°"), ("deg", 1.0)),
    # Known, so that they are not taken for a missing unit.
    **dict.fromkeys(("rad", "radian", "ft", "feet"), ("", 1.0)),
}
_VERB_WORDS = {"rotate": "turn", "walk": "move", "go": "move", "back": "backward"}
_UNIT = "(" + "|".join(_TO_UNIT) + r")s?(?![a-z])"
_VALUE = rf"([-+]?(?:\d+(?:\.\d+)?|\.\d+))(?:\s{{0,3}}{_UNIT})?"
_WORD = r"\b(turn|rotate|move|walk|go|roll)"
_WAY = r"(?:to\s(?:the|your)\s)?(left|right|up|down|forward|backward|back)(?:ward)?s?"
_FILL = r"[\s\"'`*:=(~]{0,6}(?:(?:by|for|about|around|approximately|roughly)\s){0,2}"
_STEP = re.compile(rf"{_WORD}[\s_*-]{{0,3}}(?:{_WAY}(?:_{_UNIT})?{_FILL}{_VALUE}|{_FILL}{_VALUE}\s{{0,3}}{_WAY})")
_LIST = re.compile(r"\[[^\[\]]*\]")
_STAY = re.compile(r"\bstay\b|\[\s*\]")
_PAIR = re.compile(r"\bfrom\W{1,6}(?:image\s)?(\d{1,3})\W{1,6}to\W{1,6}(?:image\s)?(\d{1,3})\b")
_ASIDE = re.compile(r"<(think|answer)>.*?(?:</\1>|$)", re.DOTALL)


def parse_lenient(text: str) -> Actions | None:
    """The actions of one pair in what a model wrote; None where there is nothing to read.

    Looks into the last `<action>` block, else everywhere but in `<think>` and `<answer>`; there into the last
    list in brackets that holds an action, else into the whole. Capital letters, missing units, other words
    and broken JSON do no harm; a negative value is the opposite action; what makes no sense (a turn in
    metres) is skipped.
    """
    return _find_actions(_action_block(text))


def _find_pairs(text: str) -> list[Pair]:
    block = _action_block(text)
    heads = list(_PAIR.finditer(block))
    pairs: dict[tuple[int, int], Actions] = {}
    for head, following in zip_longest(heads, heads[1:]):
        source, target = int(head[1]) - 1, int(head[2]) - 1
        actions = _find_actions(block[head.end() : following.start() if following else len(block)])
        if 0 <= source < target and actions is not None:
            pairs[source, target] = actions
    return [(source, target, actions) for (source, target), actions in pairs.items()]


def _action_block(text: str) -> str:
    text = _ASIDE.sub(" ", text.lower())
    return text.rpartition("<action>")[2].partition("</action>")[0] if "<action>" in text else text


def _find_actions(text: str) -> Actions | None:
    for block in [*reversed(_LIST.findall(text)), text]:
        if steps := tuple(step for match in _STEP.finditer(block) if (step := _read_step(match))):
            return steps
    return () if _STAY.search(text) else None


def _read_step(match: re.Match[str]) -> ActionStep | None:
    word, way_before, key_unit, value_before, unit_before, value_after, unit_after, way_after = match.groups()
    way, number = way_before or way_after, value_before or value_after
    verb = f"{_VERB_WORDS.get(word, word)}_{_VERB_WORDS.get(way, way)}"
    if verb not in VERBS:
        return None
    suffix, factor = _TO_UNIT[key_unit or unit_before or unit_after or UNITS[verb]]
    value = float(number) * factor
    if suffix != UNITS[verb] or not 0 < abs(value) < inf:
        return None
    axis, _ = VERBS[verb]
    opposite = AXES[axis][AXES[axis][0] == verb]
    return ActionStep(opposite if value < 0 else verb, abs(value))
