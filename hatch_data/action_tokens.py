"""Actions as added tokens: one for each verb, its value digit by digit.

    move_forward 1.2m, turn_left 30deg   <->   <|move_forward|><|1|><|.|><|2|><|turn_left|><|3|><|0|>

The tokens depend neither on the vocabulary nor on the steps: any list of actions is written, exactly, with the same
`TOKENS`. The unit follows from the verb.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hatch_data.actions import UNITS, VERBS, Actions, ActionStep, checked_step, decimal
from hatch_data.errors import ActionError

STAY = "<|stay|>"
#: Every token of this form: what a tokenizer has to be given, each as one token that is never split.
TOKENS = (*(f"<|{verb}|>" for verb in VERBS), STAY, *(f"<|{character}|>" for character in "0123456789."))

_TOKEN = re.compile("|".join(map(re.escape, TOKENS)))
_VALUE = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def to_tokens(actions: Sequence[ActionStep]) -> str:
    """The actions as tokens, nothing between them; no action is `<|stay|>`."""
    words = ([verb, *decimal(value)] for verb, value in actions)
    return "".join(f"<|{word}|>" for action in words for word in action) or STAY


def parse_tokens(text: str, vocabulary: str = "full") -> Actions:
    """The actions that `to_tokens` wrote; blanks between tokens, which some tokenizers put there, do no harm.

    Raises ActionError that names the part that is wrong.
    """
    found = _TOKEN.findall(text)
    if rest := _TOKEN.sub("", text).split():
        raise ActionError(f"actions as tokens: {rest[0][:60]!r} is no token of the action language")
    if found == [STAY]:
        return ()
    actions: list[tuple[str, str]] = []
    for token in found:
        word = token[2:-2]
        if word in VERBS:
            actions.append((word, ""))
        elif token == STAY or not actions:
            raise ActionError(f"actions as tokens: {token} must not stand here; begin with a verb, or say {STAY} alone")
        else:
            actions[-1] = actions[-1][0], actions[-1][1] + word
    if not actions:
        raise ActionError(f"actions as tokens: nothing stands there; no motion is {STAY}")
    return tuple(_step(number, verb, value, vocabulary) for number, (verb, value) in enumerate(actions, 1))


def _step(number: int, verb: str, value: str, vocabulary: str) -> ActionStep:
    where = f"action {number} ({verb} {value})"
    if not _VALUE.fullmatch(value):
        raise ActionError(f"{where}: expected the digits of a number after the verb")
    return checked_step(verb, UNITS[verb], float(value), vocabulary, where)
