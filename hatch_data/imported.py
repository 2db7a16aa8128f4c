"""Questions that came with a data set: SPAR-7M's, which get maps and actions from its depth, poses and intrinsics.

    ROOT/**/images/<scene>/image_color/...            scenes (`scans.spar` reads them)
    ROOT/**/<task>/<fill|select|sentence>/*.jsonl     a question a line

A line has `id`, `conversations` [{from, value}], `image` [.../<scene>/image_color/<name>.jpg], `type` and marks:
`red_point` [[x, y]], `blue_bbox` [[left, top, right, bottom]] ... in thousandths of the image, and `point_img_idx` or
`bbox_img_idx` [[image, ...]], which says on which image each lies. Questions about a single image or a video are left.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tqdm import tqdm

from hatch_data.asking import Posed
from hatch_data.errors import ScanError
from hatch_data.markers import Marker
from hatch_data.questions import LETTERS, Form
from hatch_data.scans import ScanRef, spar
from hatch_data.scans.files import MALFORMED

MOST_IMAGES = 8
FORMS: dict[str, Form] = {"fill": "fill", "select": "choice", "sentence": "sentence"}
#: In which order a task's image indices speak of its marks; all others go red, blue, green, yellow.
MARK_ORDER = {
    "distance_infer_center_oo_mv": ("red", "green", "blue"),
    "spatial_imagination_oc_mv": ("green", "blue", "red"),
    "spatial_imagination_oo_mv": ("green", "blue", "red", "yellow"),
}
_COLORS = ("red", "blue", "green", "yellow")
_SCENE_FOLDERS = ("images/*/image_color", "*/images/*/image_color", "*/*/images/*/image_color")
_OPTION = re.compile(r"(?:^|[\s,;])\(?([A-H])[.:)]\s*(.+?)(?=[\s,;]+\(?[A-H][.:)]\s|\n|$)")


@dataclass(frozen=True)
class Imported:
    """A question about the frames with these ids."""

    frames: tuple[str, ...]
    posed: Posed


def sample(roots: list[str], limit: int | None, seed: int) -> list[ScanRef]:
    """Scans below the roots with the multi-image questions to be asked of each: all, or `limit` of them at random.

    Which are drawn follows from `seed` and the questions' ids alone. Raises `ScanError` where there are none.
    """
    scenes = _scenes(roots)
    keyed = (
        (hashlib.sha256(f"{seed} {name}".encode(errors="surrogatepass")).digest(), str(file), offset, scene)
        for file, offset, name, scene in tqdm(_multi_image(roots), unit="question", desc="index", mininterval=1.0)
        if scene in scenes
    )
    chosen = sorted(keyed) if limit is None else heapq.nsmallest(limit, keyed)
    if not chosen:
        raise ScanError(
            f"{', '.join(roots)}: no question about several images of a scene that is here; SPAR-7M-RGBD holds "
            "images/<scene>/image_color and qa_jsonl/**/<task>/<fill|select|sentence>/*.jsonl"
        )
    of_scene: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for _, file, offset, scene in chosen:
        of_scene[scene].append((file, offset))
    return [replace(scenes[scene], questions=tuple(of_scene[scene])) for scene in sorted(of_scene)]


def _scenes(roots: list[str]) -> dict[str, ScanRef]:
    found: dict[str, ScanRef] = {}
    for root in map(Path, roots):
        for folder in sorted({inside.parent for pattern in _SCENE_FOLDERS for inside in root.glob(pattern)}):
            path = folder.resolve()
            ref = ScanRef(spar.LAYOUT, str(path), path.name, spar.space(path))
            if (other := found.setdefault(ref.scene, ref)) != ref:
                raise ScanError(f"two scenes are called '{ref.scene}': {other.path} and {ref.path}; give one root")
    return found


def _multi_image(roots: list[str]) -> Iterator[tuple[Path, int, str, str]]:
    """(file, offset of the line, the question's name, scene) of all questions about several images of one scene."""
    for root in map(Path, roots):
        for file in sorted(root.rglob("*.jsonl")):
            if file.parent.name not in FORMS:
                continue
            with _opened(file) as lines:
                offset = 0
                for line in lines:
                    entry = _parsed(line, file, offset)
                    images = _images(entry, file, offset)
                    stills = all(len(p.parts) >= 3 and p.parts[-2] == "image_color" for p in images)
                    if 2 <= len(images) <= MOST_IMAGES and stills and len({p.parts[-3] for p in images}) == 1:
                        name = f"{entry.get('type')} {file.parent.name} {entry.get('id')}"
                        yield file.resolve(), offset, name, images[0].parts[-3]
                    offset += len(line)


def _images(entry: dict[str, Any], file: Path, offset: int) -> list[PurePosixPath]:
    names = entry.get("image") or []
    if not isinstance(names, list):
        raise ScanError(f"{file}: the question at byte {offset} has no list of images; restore the file")
    return [PurePosixPath(str(name)) for name in names]


def _opened(file: Path) -> IO[bytes]:
    try:
        return file.open("rb")
    except OSError as error:
        raise ScanError(f"{file}: cannot be read ({error.strerror}); restore the file") from None


def read(places: tuple[tuple[str, int], ...]) -> list[Imported]:
    """The questions at (file, offset). Raises `ScanError` for a line that is none."""
    return [_read(Path(file), offset) for file, offset in places]


def _read(file: Path, offset: int) -> Imported:
    with _opened(file) as lines:
        lines.seek(offset)
        entry = _parsed(lines.readline(), file, offset)
    try:
        said = {turn["from"]: str(turn["value"]) for turn in entry["conversations"]}
        text, answer = said["human"].replace("<image>", "").strip(), said["gpt"].strip()
        frames = tuple(PurePosixPath(name).stem for name in entry["image"])
        task, form = str(entry["type"]), FORMS[file.parent.name]
        markers = _markers(entry, task, len(frames))
        " ".join((text, answer, task, *frames)).encode()  # What is no text in UTF-8 fits into no shard.
    except MALFORMED as error:
        raise ScanError(f"{file}: the question at byte {offset} lacks or garbles {error}; restore the file") from None
    options = _options(text, answer) if form == "choice" else []
    return Imported(frames, Posed(task, form, text, answer, options, markers))


def _parsed(line: bytes, file: Path, offset: int) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ScanError(f"{file}: the line at byte {offset} is not JSON ({error}); restore the file") from None
    if not isinstance(entry, dict):
        raise ScanError(f"{file}: the line at byte {offset} is no question; restore the file")
    return entry


def _markers(entry: dict[str, Any], task: str, images: int) -> dict[int, list[Marker]]:
    """Marks by image; their labels are their colours, which the question names."""
    found: dict[int, list[Marker]] = defaultdict(list)
    for kind, numbers in (("point", 2), ("bbox", 4)):
        where = (entry.get(f"{kind}_img_idx") or [[]])[0]
        colors = [c for c in MARK_ORDER.get(task, _COLORS) if entry.get(f"{c}_{kind}")]
        for k, color in enumerate(colors):
            shares = [float(v) / 1000 for v in entry[f"{color}_{kind}"][0]]
            if len(shares) != numbers or not all(map(isfinite, shares)):
                raise ValueError(f"{color}_{kind}")
            # All marks of one object's task stand on the one image that is named.
            image = int(where[min(k, len(where) - 1)]) if where else 0
            if not 0 <= image < images:
                raise ValueError(f"{kind}_img_idx")
            x0, y0, x1, y1 = (min(max(v, 0.0), 1.0) for v in (shares if numbers == 4 else shares * 2))
            found[image].append(Marker((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), "", color))
    return dict(found)


def _options(text: str, answer: str) -> list[str]:
    """The options that a question lists by letter; none where they are not all to be found or hold no answer."""
    found = [(match[1], match[2].strip().rstrip(",;")) for match in _OPTION.finditer(text)]
    letters = "".join(letter for letter, _ in found)
    complete = len(found) >= 2 and letters == LETTERS[: len(found)] and answer in letters
    return [option for _, option in found] if complete else []
