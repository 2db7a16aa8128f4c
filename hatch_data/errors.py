"""Errors that reach a user: one line that says what is wrong, where, and what to do.

The command line prints `str(error)` and exits with 2. Anything that is not a `HatchError` is a bug.
"""

from __future__ import annotations


class HatchError(Exception):
    """Wrong use or unusable input, told in one line."""


class ScanError(HatchError):
    """A scan that cannot be used as a whole: no known layout, no poses, contradictory files."""


class FrameError(HatchError):
    """One frame that cannot be used. The build drops the frame and counts it under `reason`.

    `reason` is a short snake_case word such as `unreadable_depth`.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(reason, message)  # Both, or it could not be sent to another process.
        self.reason = reason

    def __str__(self) -> str:
        return self.args[1]


class SettingsError(HatchError):
    """A recipe or `--set` that says something unknown or impossible."""


class ShardError(HatchError):
    """A shard folder that cannot be read, or must not be written."""


class ActionError(HatchError):
    """An action text that cannot be parsed, with the part that is wrong."""
