"""The pipeline for one scene.

    ScanRef -> Scene -> Views -> Covisibility -> groups -> correspondence, actions, questions -> rows -> shards

Bytes depend on the scan, the recipe and the version, not on what else is built or by whom. `hatch_data.folder` keeps
the output of many scenes together, `hatch_data.engines` run this over them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hatch_data.actions import format_pairs, to_json, to_text
from hatch_data.asking import Asker, Posed
from hatch_data.covisibility import LEAST_OVERLAP, Covisibility, Summary, covisibility, summarise, within
from hatch_data.depth_source import with_depth
from hatch_data.doctor import refusal
from hatch_data.errors import FrameError, HatchError, ScanError
from hatch_data.group import SceneViews, ViewGroup
from hatch_data.images import stored_image
from hatch_data.imported import Imported
from hatch_data.imported import read as read_imported
from hatch_data.quality import blurred, color_quality, texture
from hatch_data.recipe import DataRecipe, FrameSettings
from hatch_data.repairs import repair
from hatch_data.sampling import grow_groups, select_pairs
from hatch_data.scans import ScanRef
from hatch_data.scene import Frame, Scene
from hatch_data.shards import SPLITS, ActionLabel, Match, PlacedMarker, Row, ShardWriter, row_id, write_text
from hatch_data.splits import splits_by_time
from hatch_data.spread import Spread, of_table, total
from hatch_data.views import ViewStore, prepare


@dataclass
class SceneReport:
    """What became of one scan: the part of `build.json` that is about it. One that is not `needed`, the limit on rows
    being less than the number of scans, is not read."""

    scene: str
    layout: str
    path: str
    space: str = ""
    up_source: str = ""
    frames: int = 0
    used_frames: int = 0
    groups: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)
    dropped_frames: dict[str, int] = field(default_factory=dict)
    left_out_pairs: dict[str, int] = field(default_factory=dict)
    smaller_groups: dict[str, int] = field(default_factory=dict)
    rejected_questions: dict[str, int] = field(default_factory=dict)
    shards: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None
    needed: bool = True


@dataclass(frozen=True)
class SceneJob:
    """One scan to be built, with all that decides its bytes: small enough to be sent to another process.

    `split` is the split of the whole scan, or None where it is parted by time.
    """

    ref: ScanRef
    recipe: DataRecipe
    split: str | None
    limit: int | None
    staging: str


#: Is told how far a scan has come: (what, done, of how many).
Watch = Callable[[Literal["frames", "rows"], int, int], object]


def build_scene(job: SceneJob, watch: Watch = lambda what, done, of: None) -> SceneReport:
    """Build one scan into shards below `job.staging`. A scan that cannot be used is reported, not raised.

    `watch` is told of every frame that is read, then of every row that is made.
    """
    report = SceneReport(job.ref.scene, job.ref.layout, job.ref.path, job.ref.space, needed=job.limit != 0)
    folder = Path(job.staging) / job.ref.scene
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        if report.needed:
            _write_scene(job, report, folder, watch)
    except HatchError as error:
        report.failure = str(error)
        shutil.rmtree(folder)
        return report
    write_text(folder / "report.json", json.dumps(asdict(report)))
    return report


def _write_scene(job: SceneJob, report: SceneReport, folder: Path, watch: Watch) -> None:
    scene = open_scene(job.ref, job.recipe)
    report.space, report.up_source, report.frames = scene.space, scene.up_source, len(scene.frames)
    came_with = read_imported(job.ref.questions)
    if came_with:
        wanted = {frame for question in came_with for frame in question.frames}
        scene.frames = [frame for frame in scene.frames if frame.id in wanted]
    scene = with_depth(scene, job.recipe.depth)
    frames, views, summaries = _read_views(scene, job.recipe, watch)
    report.dropped_frames = {reason: len(ids) for reason, ids in sorted(scene.dropped.items())}
    report.used_frames = len(frames)
    if len(frames) < 2:
        raise ScanError(
            f"{job.ref.path}: {len(frames)} usable frames of {report.frames} (dropped: "
            f"{report.dropped_frames or 'none'}); at least 2 are needed"
        )
    repairs = job.recipe.of_scan(job.ref.scene)
    if repairs.check and (why := refusal(scene, frames, views)):
        raise ScanError(why)
    split_of_frame = [job.split] * len(frames) if job.split else splits_by_time(len(frames), job.recipe.split)
    scene_views = SceneViews(scene, frames, views, job.recipe)
    covisible = within(covisibility(summaries), np.array(scene_views.capture_order), repairs.longest_gap)
    maker = RowMaker(scene_views, covisible)
    part = np.array([SPLITS.index(split) for split in split_of_frame])
    if came_with:
        rows = _rows_that_came_with(maker, came_with, part, watch)
    else:
        rows = _rows_of_families(job, report, maker, part, watch)
    writers: dict[str, ShardSeries] = {}
    place = {frame.id: k for k, frame in enumerate(frames)}
    for row in rows:
        split = split_of_frame[place[row.frames[0]]] or "train"
        writers.setdefault(split, ShardSeries(folder, split)).write(row)
        report.rows[split] = report.rows.get(split, 0) + 1
    report.tasks = dict(sorted((+maker.asked).items()))
    report.rejected_questions = dict(sorted(maker.rejected.items()))
    for split in sorted(writers, key=SPLITS.index):
        report.shards += writers[split].close()


def _rows_of_families(
    job: SceneJob, report: SceneReport, maker: RowMaker, part: NDArray, watch: Watch
) -> Iterator[Row]:
    """Ask groups of views, drawn over strata, what the recipe's families can ask, up to the limit on rows."""
    scene, recipe = maker.scene, job.recipe
    seed = [recipe.seed, _stable_number(scene.scene.id)]
    rng = np.random.default_rng(seed)
    poses = np.stack([frame.world_from_camera for frame in scene.frames])
    pairs, left_out = select_pairs(maker.covisible, poses, part, recipe.pairs, rng, texture(scene.frames))
    settings, longest_gap = (recipe.pairs, recipe.groups), recipe.of_scan(scene.scene.id).longest_gap
    order = np.array(scene.capture_order)
    groups, smaller = grow_groups(pairs, maker.covisible, poses, part, settings, rng, order, longest_gap)
    report.groups, report.left_out_pairs = len(groups), dict(sorted(left_out.items()))
    report.smaller_groups = dict(smaller)
    limit = min((n for n in (job.limit, recipe.rows_per_scene) if n is not None), default=len(groups))
    if limit < len(groups):
        # Spare groups stand in for those about which nothing can be asked.
        groups = [groups[k] for k in rng.permutation(len(groups))]
    asker = Asker(scene, groups, recipe.questions, recipe.forms, seed, maker.asked, maker.rejected, part)
    made = 0
    for group in groups:
        if made == limit:
            break
        posed = asker.ask(group)
        row = maker.row(group, posed) if posed else None
        if row is not None:
            made += 1
            watch("rows", made, limit)
            yield row


def _rows_that_came_with(maker: RowMaker, questions: list[Imported], part: NDArray, watch: Watch) -> Iterator[Row]:
    """Rows of the questions that came with the scan, up to the limit on rows; one about a frame that is not usable, or
    about frames of two splits, is counted by its reason."""
    scene = maker.scene
    number = {frame.id: k for k, frame in enumerate(scene.frames)}
    why = {frame: reason for reason, frames in scene.scene.dropped.items() for frame in frames}
    limit, made = scene.recipe.rows_per_scene or len(questions), 0
    for read, question in enumerate(questions):
        if made == limit:
            break
        watch("rows", read, len(questions))
        missing = [frame for frame in question.frames if frame not in number]
        if missing:
            maker.rejected[f"{question.posed.task}: {why.get(missing[0], 'no_such_image')}"] += 1
            continue
        views = tuple(number[frame] for frame in question.frames)
        if len(set(part[list(views)])) > 1:
            maker.rejected[f"{question.posed.task}: across_splits"] += 1
            continue
        maker.asked[question.posed.task] += 1
        row = maker.row(views, question.posed)
        if row is not None:
            made += 1
            yield row


def open_scene(ref: ScanRef, recipe: DataRecipe) -> Scene:
    """The scan as a build sees it: read, and repaired as the recipe says. Raises `ScanError`."""
    return repair(ref.load(), recipe.of_scan(ref.scene))


def _read_views(scene: Scene, recipe: DataRecipe, watch: Watch) -> tuple[list[Frame], ViewStore, list[Summary]]:
    """Decode the depth of every frame once. What cannot be used is recorded in `scene.dropped`."""
    frames, views, summaries = [], ViewStore(), []
    good = _good_colors(scene, recipe.frames)
    for read, frame in enumerate(good):
        watch("frames", read, len(good))
        try:
            view = prepare(frame)
        except FrameError as error:
            scene.drop(error.reason, frame.id)
            continue
        if view.valid_share < recipe.frames.least_valid_depth:
            scene.drop("too_little_depth", frame.id)
            continue
        frames.append(frame)
        views.append(view)
        summaries.append(summarise(view))
    return frames, views, summaries


def _good_colors(scene: Scene, settings: FrameSettings) -> list[Frame]:
    """Every n-th frame, less those whose colour is not good enough. Colour is decoded only where a setting asks."""
    frames = scene.frames[:: settings.every]
    if settings.least_sharpness is None and settings.least_brightness is None and settings.greatest_clipped is None:
        return frames
    read, qualities = [], []
    for frame in frames:
        try:
            qualities.append(color_quality(frame.read_color(), frame.id))
            read.append(frame)
        except FrameError as error:
            scene.drop(error.reason, frame.id)
    blurs = blurred(np.array([q.sharpness for q in qualities]), settings.least_sharpness or 0.0)
    good = []
    for frame, quality, blur in zip(read, qualities, blurs, strict=True):
        if blur:
            scene.drop("blurred", frame.id)
        elif settings.least_brightness is not None and quality.brightness < settings.least_brightness:
            scene.drop("too_dark", frame.id)
        elif settings.greatest_clipped is not None and quality.clipped > settings.greatest_clipped:
            scene.drop("clipped", frame.id)
        else:
            good.append(frame)
    return good


class RowMaker:
    """Turns groups of views of one scene into rows."""

    def __init__(self, scene: SceneViews, covisible: Covisibility):
        self.scene, self.recipe, self.covisible = scene, scene.recipe, covisible
        self.asked: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self._digest = self.recipe.digest

    def row(self, indices: tuple[int, ...], posed: Posed) -> Row | None:
        """The row of a question about a group, or None where an image cannot be read (counted)."""
        frames = [self.scene.frames[k] for k in indices]
        drawn = self.recipe.images.markers == "drawn"
        try:
            images = [
                stored_image(frame, self.recipe.images, posed.markers.get(k) if drawn else None)
                for k, frame in enumerate(frames)
            ]
        except FrameError as error:
            self.asked[posed.task] -= 1
            self.rejected[f"{posed.task}: {error.reason}"] += 1
            return None
        group = self.scene.group(indices)
        ids, markers = [frame.id for frame in frames], _placed(posed, drawn)
        actions = [(i, j, group.actions(i, j)) for i in range(len(group)) for j in range(i + 1, len(group))]
        reply = f"<action>{format_pairs(actions)}</action><answer>{posed.answer}</answer>"
        return Row(
            id=row_id(self.scene.scene.id, ids, posed.task, posed.form, posed.text, markers, self._digest),
            scene=self.scene.scene.id,
            layout=self.scene.scene.layout,
            frames=ids,
            images=[image.data for image in images],
            image_paths=[image.path for image in images],
            image_sizes=[(image.camera.height, image.camera.width) for image in images],
            intrinsics=[(c.fx, c.fy, c.cx, c.cy) for c in (image.camera for image in images)],
            world_from_camera=[frame.world_from_camera for frame in frames],
            up=self.scene.scene.up,
            task=posed.task,
            form=posed.form,
            question=posed.text,
            answer=posed.answer,
            options=posed.options,
            actions=[
                ActionLabel(i, j, self.recipe.actions.vocabulary, to_text(steps), to_json(steps))
                for i, j, steps in actions
            ],
            matches=self._matches(group),
            markers=markers,
            messages=[
                {"role": "user", "content": "<image>" * len(images) + "\n" + posed.text},
                {"role": "assistant", "content": reply},
            ],
        )

    def _matches(self, group: ViewGroup) -> list[Match]:
        """Maps both ways between the views of the group that share surface."""
        order, longest_gap = group.capture_order, self.recipe.of_scan(self.scene.scene.id).longest_gap
        found = []
        for i, j in combinations(range(len(group)), 2):
            if longest_gap is not None and abs(order[i] - order[j]) > longest_gap:
                continue
            there, back = group.correspondence(i, j), group.correspondence(j, i)
            # Measured, not looked up: co-visibility leaves out most neighbours of a view that has many.
            if max(there.map.overlap, back.map.overlap) >= LEAST_OVERLAP:
                found += [Match(i, j, there.map, there.flow), Match(j, i, back.map, back.flow)]
        return found


def _placed(posed: Posed, drawn: bool) -> list[PlacedMarker]:
    return [
        PlacedMarker(k, marker.box, marker.label, marker.color, drawn)
        for k in sorted(posed.markers)
        for marker in posed.markers[k]
    ]


class ShardSeries:
    """The shards of one split of one scene: a new one is begun once the last is large enough."""

    SHARD_BYTES = 480 << 20

    def __init__(self, folder: Path, split: str):
        self._folder, self._split = folder, split
        self._done: list[dict[str, Any]] = []
        self._writer: ShardWriter | None = None
        self._spreads: list[Spread] = []
        self._bytes = 0

    def write(self, row: Row) -> None:
        """Add a row."""
        if self._writer is None:
            path = self._folder / f"{self._split}-{len(self._done):05d}.parquet"
            self._writer = ShardWriter(path, lambda table: self._spreads.append(of_table(table)))
        self._writer.write(row)
        self._bytes += sum(map(len, row.images))
        if self._bytes >= self.SHARD_BYTES:
            self._finish()

    def close(self) -> list[dict[str, Any]]:
        """Finish the last shard; all shards as {split, file, rows, bytes, sha256, spread}."""
        self._finish()
        return self._done

    def _finish(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        path = self._writer.path
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._done.append(
            {
                "split": self._split,
                "file": path.name,
                "rows": self._writer.rows,
                "bytes": path.stat().st_size,
                "sha256": digest,
                "spread": total(self._spreads),
            }
        )
        self._writer, self._spreads, self._bytes = None, [], 0


def _stable_number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)
