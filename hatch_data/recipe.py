"""What to build: typed settings from YAML, flags and `--set`; the defaults are those of `recipes/data/default.yaml`."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field

from hatch_data.actions import ActionLanguage
from hatch_data.correspondence import STRIDE_PX
from hatch_data.settings import Settings, to_yaml


class FrameSettings(Settings):
    """Which frames of a scan are used."""

    every: int = Field(1, ge=1, description="take every n-th frame")
    least_valid_depth: float = Field(0.3, ge=0, le=1, description="share of the image with measured depth")
    least_sharpness: float | None = Field(
        None, gt=0, le=1, description="share of the median sharpness of the frames around; decodes all colour"
    )
    least_brightness: float | None = Field(None, ge=0, le=1, description="mean grey level; decodes all colour")
    greatest_clipped: float | None = Field(
        None, ge=0, le=1, description="share of black and white pixels; decodes all colour"
    )


class PairSettings(Settings):
    """Which views are asked together."""

    per_frame: float = Field(4.0, gt=0, description="pairs wanted for each frame of a scan")
    least_overlap: float = Field(0.1, ge=0, le=1)
    greatest_overlap: float = Field(0.9, ge=0, le=1)
    least_rotation_deg: float = Field(5.0, ge=0, description="pairs with less rotation and less baseline are twins")
    least_baseline_m: float = Field(0.1, ge=0)


class ImageSettings(Settings):
    """How images are stored. Unless one of these asks for it, the scan's own bytes are."""

    longest_side_px: int | None = Field(None, ge=56, description="larger images are resized to this")
    jpeg_quality: int = Field(92, ge=1, le=100, description="of images that have to be encoded again")


class GridSettings(Settings):
    """The patch grid of the stored maps: one patch per language-model token of Qwen2.5-VL."""

    token_px: int = Field(28, ge=4)
    min_pixels: int = Field(56 * 56, ge=1)
    max_pixels: int = Field(12845056, ge=1)
    stride_px: int = Field(
        STRIDE_PX, ge=1, le=16, description="pixels between samples of depth; 1 is the highest quality"
    )


class SplitSettings(Settings):
    """How samples are parted for training, validation and test."""

    by: Literal["auto", "space", "time"] = Field(
        "auto", description="space: whole places; time: stretches of each scan; auto: space where there are two or more"
    )
    validation: float = Field(0.15, ge=0, lt=1)
    test: float = Field(0.0, ge=0, lt=1)


class DataRecipe(Settings):
    """Everything that decides the bytes of a build, the scans and the version of the code apart."""

    seed: int = 0
    frames: FrameSettings = FrameSettings()
    pairs: PairSettings = PairSettings()
    rows_per_scene: int | None = Field(None, ge=1, description="at most this many rows from one scan")
    images: ImageSettings = ImageSettings()
    grid: GridSettings = GridSettings()
    actions: ActionLanguage = ActionLanguage()
    questions: dict[str, float] = Field(
        {"patch_match": 1.0, "camera_motion": 1.0, "camera_position": 1.0}, description="family: relative weight"
    )
    split: SplitSettings = SplitSettings()

    @property
    def digest(self) -> str:
        """A short hash of all settings."""
        return hashlib.sha256(to_yaml(self).encode()).hexdigest()[:16]
