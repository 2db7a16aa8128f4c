"""The stages of training: each says what it trains, how it reads a row, and what its loss is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hatch_train.stages.base import Stage


def kinds() -> dict[str, type[Stage]]:
    """Kind -> stage."""
    from hatch_train.stages.patch_alignment import PatchAlignment
    from hatch_train.stages.supervised import Supervised

    return {"patch_alignment": PatchAlignment, "supervised": Supervised}
