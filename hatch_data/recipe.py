"""What to build: typed settings from YAML, flags and `--set`; the defaults are those of `recipes/data/default.yaml`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from hatch_data.actions import ActionLanguage
from hatch_data.depth_source import DepthMode
from hatch_data.errors import SettingsError
from hatch_data.questions import FAMILIES, Form
from hatch_data.settings import Settings, to_yaml

#: How a group of views is grown (`sampling.grow_groups`).
GroupKind = Literal["walk", "turn", "orbit", "route"]


def _weigh(weights: Mapping[Any, float]) -> bool:
    """Whether these are relative weights: none below 0, and some above."""
    return all(0 <= weight < math.inf for weight in weights.values()) and sum(weights.values()) > 0


class ScanSettings(Settings):
    """How a scan departs from what its layout promises: `hatch-data doctor` says which of these to set, and to what.

    Applied in this order by `hatch_data.repairs`.
    """

    check: bool = Field(True, description="refuse a scan whose frames contradict each other")
    pose: Literal["world_from_camera", "camera_from_world"] = Field("world_from_camera", description="poses as read")
    camera_axes: Literal["opencv", "opengl"] = Field("opencv", description="y down and z forward, or y up and z back")
    pose_shift: int = Field(0, description="frame n takes the pose of frame n + pose_shift")
    time_shift_s: float = Field(0.0, description="a frame of stamp t takes the pose at t + time_shift_s")
    rotate: Literal[0, 90, 180, 270] = Field(0, description="degrees by which images are turned clockwise")
    intrinsics_scale: float = Field(1.0, gt=0, description="intrinsics are for another size: pixels times this")
    focal_scale: float = Field(1.0, gt=0, description="focal lengths times this")
    depth_is: Literal["planar", "ray"] = Field("planar", description="depth along the optical axis, or along each ray")
    depth_scale: float = Field(1.0, gt=0, description="metres of depth times this")
    color_zoom: float = Field(1.0, gt=0, description="focal lengths of the colour camera alone times this")
    color_shift_px: tuple[float, float] = Field((0.0, 0.0), description="added to its principal point")
    skip: tuple[str, ...] = Field((), description="ids of frames to leave out, or first..last")
    longest_gap: int | None = Field(None, ge=1, description="frames further apart are not asked together: poses drift")


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
    least_overlap: float = Field(0.1, ge=0, le=1, description="mean share of surface that both views see")
    greatest_overlap: float = Field(0.9, ge=0, le=1, description="the same, at most")
    least_rotation_deg: float = Field(5.0, ge=0, description="pairs with less rotation and less baseline are twins")
    least_baseline_m: float = Field(0.1, ge=0, description="see least_rotation_deg")

    @model_validator(mode="after")
    def _leaves_overlaps(self) -> PairSettings:
        if self.least_overlap > self.greatest_overlap:
            raise SettingsError(
                f"pairs: no overlap lies between least_overlap {self.least_overlap} and greatest_overlap "
                f"{self.greatest_overlap}; set least_overlap to the smaller"
            )
        return self


class GroupSettings(Settings):
    """How many views are asked about together: pairs are grown by further views."""

    sizes: dict[int, float] = Field(
        {2: 0.5, 3: 0.2, 4: 0.2, 6: 0.06, 8: 0.04}, description="number of views: relative weight"
    )
    kinds: dict[GroupKind, float] = Field(
        {"walk": 3.0, "turn": 1.0, "orbit": 1.0, "route": 1.0},
        description="three views or more: any that overlap; turned on one spot; of one place from several sides; "
        "from one view to another that hardly overlaps, by way of those between",
    )

    @model_validator(mode="after")
    def _two_to_eight(self) -> GroupSettings:
        wrong = [size for size in self.sizes if not 2 <= size <= 8]
        if wrong or not _weigh(self.sizes):
            raise SettingsError("groups.sizes: weigh numbers of views from 2 to 8, as in {2: 3, 4: 1}")
        if not _weigh(self.kinds):
            raise SettingsError("groups.kinds: weigh kinds of groups, as in {walk: 3, turn: 1}")
        return self


class ImageSettings(Settings):
    """How images are stored. Unless one of these asks for it, the scan's own bytes are."""

    longest_side_px: int | None = Field(None, ge=56, description="larger images are resized to this")
    jpeg_quality: int = Field(92, ge=1, le=100, description="of images that have to be encoded again")
    markers: Literal["drawn", "stored"] = Field(
        "drawn", description="drawn into the stored image, or stored beside it and drawn when it is loaded"
    )


class GridSettings(Settings):
    """The patch grid of the stored maps: one patch per language-model token of Qwen2.5-VL."""

    token_px: int = Field(28, ge=4, description="side of a token in the resized image; 32 for Qwen3-VL")
    min_pixels: int = Field(56 * 56, ge=1, description="area to which a smaller image is enlarged")
    max_pixels: int = Field(12845056, ge=1, description="area to which a larger image is shrunk")
    stride_px: int | None = Field(
        None, ge=1, le=16, description="pixels of depth between samples; 1: highest quality; none: the flow field's"
    )

    @model_validator(mode="after")
    def _leaves_sizes(self) -> GridSettings:
        if self.min_pixels > self.max_pixels:
            raise SettingsError(
                f"grid: no size lies between min_pixels {self.min_pixels} and max_pixels {self.max_pixels}; "
                "set min_pixels to the smaller"
            )
        return self


class SplitSettings(Settings):
    """How samples are parted for training, validation and test."""

    by: Literal["auto", "space", "time"] = Field(
        "auto", description="space: whole places; time: stretches of each scan; auto: space where there are two or more"
    )
    validation: float = Field(0.15, ge=0, lt=1, description="share of the places, or of each scan's time")
    test: float = Field(0.0, ge=0, lt=1, description="the same, for test")
    benchmark_scans: Literal["test", "any"] = Field(
        "test",
        description="validation and test scans of ScanNet, ScanNet++, ARKitScenes: kept for test, or as any other",
    )
    files: tuple[str, ...] = Field(
        (),
        description="lists of scans kept for test, whatever their layout; official ones above the scans are found",
    )

    @model_validator(mode="after")
    def _leaves_training(self) -> SplitSettings:
        if self.validation + self.test >= 1:
            raise SettingsError(
                f"split: validation {self.validation} and test {self.test} leave nothing for training; "
                "their sum must be below 1"
            )
        return self


class DataRecipe(Settings):
    """Everything that decides the bytes of a build, the scans and the version of the code apart."""

    seed: int = Field(0, description="of all choices")
    scan: ScanSettings = ScanSettings()
    scans: dict[str, ScanSettings] = Field({}, description="for the scans named here, instead of `scan`")
    depth: DepthMode = Field(
        "auto", description="sensor; mesh: rendered; fused: sensor, holes filled; auto: sensor, else mesh"
    )
    frames: FrameSettings = FrameSettings()
    pairs: PairSettings = PairSettings()
    rows_per_scene: int | None = Field(None, ge=1, description="at most this many rows from one scan")
    groups: GroupSettings = GroupSettings()
    images: ImageSettings = ImageSettings()
    grid: GridSettings = GridSettings()
    actions: ActionLanguage = ActionLanguage()
    questions_from: Literal["families", "spar"] = Field(
        "families", description="ask the families below, or the multi-image questions that come with SPAR-7M-RGBD"
    )
    questions: dict[str, float] = Field(
        dict.fromkeys(FAMILIES, 1.0), description="family: relative weight; all families unless told otherwise"
    )
    forms: dict[Form, float] = Field(
        {"choice": 2.0, "fill": 1.0, "sentence": 1.0}, description="form of a question: relative weight"
    )
    split: SplitSettings = SplitSettings()

    @model_validator(mode="after")
    def _asks_something(self) -> DataRecipe:
        if not _weigh(self.questions):
            raise SettingsError("questions: weigh families, none below 0, as in {camera_motion: 2, overlap: 1}")
        if not _weigh(self.forms):
            raise SettingsError("forms: weigh forms of questions, none below 0, as in {choice: 2, fill: 1}")
        return self

    @model_validator(mode="after")
    def _keeps_what_questions_show(self) -> DataRecipe:
        if self.questions_from == "spar" and self.frames.every > 1:
            raise SettingsError(
                f"frames.every is {self.frames.every}: questions that come with SPAR-7M-RGBD need the frames that they "
                "show; leave it at 1, and take fewer questions with --limit"
            )
        return self

    def of_scan(self, scene: str) -> ScanSettings:
        """The repairs of one scan."""
        return self.scans.get(scene, self.scan)

    @property
    def digest(self) -> str:
        """A short hash of all settings."""
        return hashlib.sha256(to_yaml(self).encode()).hexdigest()[:16]
