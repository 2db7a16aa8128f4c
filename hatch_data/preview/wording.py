"""What a row asks, answers and does, in lines of text for the picture and the page."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from hatch_data.questions import LETTERS
from hatch_data.shards import ActionLabel, Row


@dataclass(frozen=True)
class Line:
    """A line of text; `mark` is "", "head" (a heading), "right" (a right answer) or "rest" (where one goes on)."""

    text: str
    mark: str = ""


def question_lines(row: Row) -> list[Line]:
    """The question as the model reads it, the right option marked; options that it does not spell out; the answer."""
    lines = [Line("Question", "head")]
    options = [f"{letter}. {option}" for letter, option in zip(LETTERS, row.options, strict=False)]
    asked = row.question.splitlines()
    for text in asked + [option for option in options if option not in asked]:
        is_right = text in options and row.answer in (text[0], text[3:])
        lines.append(Line(text, "right" if is_right else ""))
    return [*lines, Line(""), Line("Answer", "head"), Line(row.answer, "right")]


def action_lines(row: Row, labels: list[ActionLabel]) -> list[Line]:
    """These of the row's action labels, and how many more it has."""
    if not row.actions:
        return []
    more = len(row.actions) - len(labels)
    return [
        Line(f"Actions (vocabulary {row.actions[0].vocabulary})", "head"),
        *(Line(f"{label.source + 1} to {label.target + 1}: {label.text}") for label in labels),
        *([Line(f"and those of {more} more pairs of images")] if more else []),
    ]


def wrapped(lines: list[Line], letters: int) -> list[Line]:
    """The lines, none longer than so many letters; right answers are bold, so wider, and get fewer."""
    parts = []
    for line in lines:
        room = letters * 5 // 6 if line.mark == "right" else letters
        first, *more = textwrap.wrap(line.text, room) or [""]
        parts += [Line(first, line.mark), *(Line(part, "rest" if line.mark == "right" else line.mark) for part in more)]
    return parts
