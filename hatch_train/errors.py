"""Errors of training that reach a user, beside those of `hatch_data.errors`."""

from __future__ import annotations

from hatch_data.errors import HatchError


class Stopped(HatchError):
    """A run that was asked to stop and has saved: the same command continues it. Exit code 1."""


class ModelError(HatchError):
    """A model that cannot be opened, or not trained here."""


class TrainingError(HatchError):
    """A run that cannot start or go on, with the rows or the folder that it is about."""


class EvaluationError(HatchError):
    """A benchmark, a report or a checkpoint that cannot be evaluated, with the file and what to do."""
