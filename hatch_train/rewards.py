"""What a reply is worth: three rewards in [0, 1], for its actions, its answer and its format.

The paper (arXiv:2602.08735) has R = l1 R_action + l2 R_answer + l3 R_format, the first two continuous, and does not say
how. Here actions are worth how well the motions they make agree with those that are wanted; nothing in that asks for
the right format, so the two rewards can be told apart. Replies are read leniently but for the format.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import hypot, isfinite

import numpy as np

from hatch_data.actions import Actions, Pair, execute, parse_lenient, parse_pairs, parse_text
from hatch_data.errors import ActionError
from hatch_data.motion import Motion, wrap_degrees

#: Slack in an agreement: what is off by this beside no motion at all still earns half.
SLACK_M, SLACK_DEG = 0.2, 10.0
#: Relative accuracies at which an answer that is a number is held against the truth (VSI-Bench, arXiv:2412.14171).
ACCURACIES = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True)
class Wanted:
    """What a reply should hold: the actions of every pair of images, none for a row without, and the answer, which is
    one letter of as many `options` if there are any."""

    pairs: list[Pair]
    answer: str
    options: list[str] = field(default_factory=list)
    vocabulary: str = "full"


@dataclass(frozen=True)
class Rewards:
    """Each in [0, 1]; `action` is None where none are wanted."""

    action: float | None
    answer: float
    format: float


@dataclass(frozen=True)
class Reply:
    """What an assistant says: the text of its `<action>` block, None where there is none, and its answer."""

    actions: str | None
    answer: str


_REPLY = re.compile(r"\s*(?:<action>(.*?)</action>\s*)?<answer>(.*?)</answer>\s*", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_QUANTITY = re.compile(rf"({_NUMBER.pattern})\s*(?:[a-z°%]+)?", re.IGNORECASE)


def judge(text: str, wanted: Wanted) -> Rewards:
    """The rewards of a reply."""
    action = action_reward(text, wanted.pairs) if wanted.pairs else None
    found = _ANSWER.findall(text)
    answer = answer_reward(found[-1], wanted.answer, wanted.options) if found else 0.0
    return Rewards(action, answer, float(is_well_formed(text, wanted)))


def action_reward(text: str, wanted: Sequence[Pair]) -> float:
    """Mean over the wanted pairs of how well the motion that the reply's actions make agrees; a missing pair earns 0,
    and a pair that nobody asked for nothing."""
    said = {(source, target): actions for source, target, actions in parse_pairs(text, strict=False)}
    total = 0.0
    for source, target, actions in wanted:
        if (source, target) in said:
            total += _worth(said[source, target], execute(actions))
    return total / len(wanted)


def agreement(said: Motion, wanted: Motion) -> float:
    """How well two motions agree, in [0, 1]: the mean of that of their translations and that of their rotations.

    For vectors a and b it is 1 - |a - b| / (|a| + |b| + slack): 1 where they are equal, near 0 where they are opposite
    or one of them is not there, the same for large and small motions, and continuous. Rotations are (yaw, pitch, roll)
    differences, taken the shorter way round.
    """
    moves = [(m.forward_m, m.left_m, m.up_m) for m in (said, wanted)]
    turns = [tuple(map(wrap_degrees, (m.yaw_deg, m.pitch_deg, m.roll_deg))) for m in (said, wanted)]
    apart_m = hypot(*(a - b for a, b in zip(*moves, strict=True)))
    apart_deg = hypot(*(wrap_degrees(a - b) for a, b in zip(*turns, strict=True)))
    move = 1 - apart_m / (sum(hypot(*v) for v in moves) + SLACK_M)
    turn = 1 - apart_deg / (sum(hypot(*v) for v in turns) + SLACK_DEG)
    return (move + turn) / 2


def _worth(said: Actions, wanted: Motion) -> float:
    """The agreement of actions with a motion; 0 for those that lead further than a float can hold."""
    try:
        worth = agreement(execute(said), wanted)
    except (OverflowError, ValueError):
        return 0.0
    return worth if isfinite(worth) else 0.0


def answer_reward(said: str, wanted: str, options: Sequence[str] = ()) -> float:
    """A choice or a word is right or wrong; a number earns its mean relative accuracy, a list of actions the agreement
    of the motions."""
    said, wanted = (text.strip().casefold() for text in (said, wanted))
    if said == wanted:
        return 1.0
    if options:
        return float(re.fullmatch(rf"\(?{re.escape(wanted)}(?:\)|[.):,]\s.*|\.)?", said, re.DOTALL) is not None)
    if quantity := _QUANTITY.fullmatch(wanted):
        number = _NUMBER.search(said)
        return relative_accuracy(float(number[0]), float(quantity[1])) if number else 0.0
    try:
        motion = execute(parse_text(wanted))
    except ActionError:
        return 0.0
    actions = parse_lenient(said)
    return _worth(actions, motion) if actions is not None else 0.0


def relative_accuracy(said: float, wanted: float) -> float:
    """Mean over `ACCURACIES` of whether the relative error is at most one less it; a wanted 0 must be met exactly."""
    if wanted == 0:
        return float(said == 0)
    return float((abs(said - wanted) / abs(wanted) <= 1 - ACCURACIES + 1e-9).mean())


def is_well_formed(text: str, wanted: Wanted) -> bool:
    """Whether a reply is `<action>[...]</action><answer>...</answer>`, or the answer alone where no actions are wanted,
    and its actions are in the language, for exactly the pairs that are wanted."""
    said = read_reply(text)
    if said is None or not said.answer or (said.actions is None) == bool(wanted.pairs):
        return False
    if said.actions is None:
        return True
    pairs = read_actions(said.actions, wanted.vocabulary)
    return pairs is not None and sorted(p[:2] for p in pairs) == sorted(p[:2] for p in wanted.pairs)


def read_reply(text: str) -> Reply | None:
    """The parts of a reply in the format `<action>...</action><answer>...</answer>`; None for another format."""
    match = _REPLY.fullmatch(text)
    return Reply(match[1], match[2].strip()) if match else None


def read_actions(block: str, vocabulary: str) -> list[Pair] | None:
    """The pairs of an `<action>` block; None where it does not say exactly what the language allows."""
    try:
        return parse_pairs(block, vocabulary=vocabulary)
    except ActionError:
        return None
