"""What a reply says: the part behind its last `<answer>`, the option it names, the number it gives."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

_ANSWER = re.compile(r"<answer>", re.IGNORECASE)
_ANSWER_END = re.compile(r"</answer>", re.IGNORECASE)
_ASIDE = re.compile(r"<(action|think)>.*?(?:</\1>|$)", re.DOTALL)


def cut(reply: str) -> str:
    """What stands in the last `<answer>`, closed or not; the whole reply where there is none."""
    return _ANSWER_END.split(_ANSWER.split(reply)[-1])[0].strip()


def without_asides(text: str) -> str:
    """A reply without the actions and thoughts that lead to its answer."""
    return _ASIDE.sub(" ", text).strip()


_DECORATION = re.compile(r"\\boxed|[`*{}\[\]\"“”]")
_ALONE = re.compile(r"(?:(?:the )?(?:answer|option)(?: is)?:? *)?\(? *([A-Za-z]) *\)?[.:,;)]?", re.IGNORECASE)
_LEADING = re.compile(r"\(?([A-Z])(?:\)|[.:]|\n)")
_MARKED = re.compile(r"[`*{\[(]\s*([A-Z])\s*[`*}\])]")
# A capital alone, but not the article of "A chair".
_CAPITAL = r"(A(?! (?!or |and )[a-z])|[B-Z])(?![\w'])"
_SAID = re.compile(rf"(?i:answer|option|choice)(?i: is|:)*\s*\(?{_CAPITAL}")
_LONE = re.compile(rf"(?<![\w']){_CAPITAL}")


def letter(text: str, letters: str, choices: Sequence[str] = ()) -> str | None:
    """The option that a text names: the letter alone, the text of one of `choices`, `B. left`, the only one in
    brackets, `the answer is B`, or the only capital that stands alone. None where it names none, or several."""
    text = without_asides(text)
    plain = _DECORATION.sub(" ", text).strip()
    if (match := _ALONE.fullmatch(plain)) and match[1].upper() in letters:
        return match[1].upper()
    said = plain.casefold().strip(" .")
    if (named := [choice.casefold().strip(" .") for choice in choices]).count(said) == 1:
        return letters[named.index(said)]
    if (match := _LEADING.match(plain)) and match[1] in letters:
        return match[1]
    for pattern, where in ((_MARKED, text), (_SAID, plain), (_LONE, plain)):
        found = {name for name in pattern.findall(where) if name in letters}
        if len(found) == 1:
            return found.pop()
    return None


_VIEW = re.compile(r"\b(?:image|picture|frame|view)[\s#-]*\d+", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def number(text: str) -> float | None:
    """The last number of a text, the numbers of images apart; a word up to twelve if it is all there is."""
    plain = _VIEW.sub(" ", without_asides(text))
    if found := _NUMBER.findall(plain):
        return float(found[-1].replace(",", ""))
    word = plain.casefold().strip(" .")
    return float(_WORDS.index(word)) if word in _WORDS else None


def mean_relative_accuracy(said: float, truth: float) -> float:
    """Share of the thresholds 0.5, 0.55 ... 0.95 for which the relative error is at most 1 - threshold
    (arXiv:2412.14171). The published `int((.95 - .5) / .05 + 2)` is 10, not 11, in floating point."""
    error = abs(said - truth) / abs(truth) if truth else abs(said - truth)
    return float((error <= 1 - np.linspace(0.5, 0.95, 10)).mean())


def right_letter(said: str | None, answer: str) -> float:
    """1 where the option is that of an answer such as `B`, `(B)` or `B. left`."""
    return float(said is not None and answer.strip("( ")[:1].upper() == said)
