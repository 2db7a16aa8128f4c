"""What a row says, against itself: id, images, cameras, poses, actions, chat."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hatch_data.actions import (
    ActionStep,
    encode,
    error,
    execute,
    parse_json,
    parse_pairs,
    parse_text,
    to_json,
    to_text,
    within_bound,
)
from hatch_data.errors import ActionError, FrameError
from hatch_data.geometry import Array
from hatch_data.images import decode, tagged_to_turn
from hatch_data.motion import motion_between
from hatch_data.questions import LETTERS
from hatch_data.recipe import DataRecipe
from hatch_data.shards import Row, row_id


@dataclass(frozen=True)
class Terms:
    """What a build promised: its recipe, and the recipe's digest as it went into the ids."""

    recipe: DataRecipe
    digest: str


Check = Callable[[Row, Terms], Iterator[str]]

#: How far a stored rotation may be from orthonormal.
RIGID = 1e-6
#: Plausible fields of view: focal length as a share of the image's width or height (164 to 11 degrees).
FOCAL_SHARES = (0.07, 5.0)
#: Pixels are square to this share.
GREATEST_STRETCH = 0.1


def expected_id(row: Row, digest: str) -> str:
    """The id of a row under the recipe with this digest."""
    return row_id(row.scene, row.frames, row.task, row.form, row.question, row.markers, digest)


def id_fits(row: Row, terms: Terms) -> Iterator[str]:
    """The id is the hash of what it names."""
    expected = expected_id(row, terms.digest)
    if row.id != expected:
        yield f"scene, frames, task, form, question, markers and recipe give {expected}"


def images_decode(row: Row, terms: Terms) -> Iterator[str]:
    """Every image decodes to the size that is told, whoever shows it, within the limit of the recipe."""
    limit = terms.recipe.images.longest_side_px
    for k, (data, size) in enumerate(zip(row.images, row.image_sizes, strict=True), 1):
        image = decoded(data)
        if image is None:
            yield f"image {k} does not decode"
        elif (found := image.shape[:2]) != tuple(size):
            yield f"image {k} is {found[0]} x {found[1]}, image_sizes says {size[0]} x {size[1]} (height x width)"
        elif tagged_to_turn(data):
            yield f"image {k} has an orientation tag: who heeds it sees another image than poses and maps describe"
        if limit and max(size) > limit:
            yield f"image {k} is {max(size)} px long, the recipe allows {limit}"


@lru_cache(maxsize=8)
def decoded(data: bytes) -> NDArray[np.uint8] | None:
    """(height, width, 3) RGB, or None where the bytes do not decode."""
    try:
        return np.asarray(decode(data, ""))
    except FrameError:
        return None


def intrinsics_plausible(row: Row, terms: Terms) -> Iterator[str]:
    """Focal lengths of a real lens, square pixels, the principal point inside the image."""
    for k, ((height, width), (fx, fy, cx, cy)) in enumerate(zip(row.image_sizes, row.intrinsics, strict=True), 1):
        told = f"image {k}: fx {fx:.1f}, fy {fy:.1f}, cx {cx:.1f}, cy {cy:.1f} in {width} x {height}"
        if not np.isfinite([fx, fy, cx, cy]).all():
            yield f"{told}: not finite"
        elif not all(FOCAL_SHARES[0] < f / side < FOCAL_SHARES[1] for f, side in ((fx, width), (fy, height))):
            yield f"{told}: no lens has this field of view"
        elif abs(fx / fy - 1) > GREATEST_STRETCH:
            yield f"{told}: pixels are not square"
        elif not (0 < cx < width - 1 and 0 < cy < height - 1):
            yield f"{told}: the principal point lies outside"


def poses_rigid(row: Row, terms: Terms) -> Iterator[str]:
    """Poses are rotations and translations, `up` is a unit vector."""
    for k, pose in enumerate(row.world_from_camera, 1):
        rotation = pose[:3, :3]
        if not np.isfinite(pose).all():
            yield f"pose {k} is not finite"
        elif (off := float(np.abs(rotation.T @ rotation - np.eye(3)).max())) > RIGID or np.linalg.det(rotation) < 0:
            yield f"pose {k} is no rotation: off by {off:.2g}, determinant {np.linalg.det(rotation):.3f}"
        elif not np.array_equal(pose[3], (0, 0, 0, 1)):
            yield f"pose {k} ends in {pose[3].tolist()}, not in 0 0 0 1"
    if not abs(float(np.linalg.norm(row.up)) - 1) < RIGID:
        yield f"up has length {np.linalg.norm(row.up):.6f}"


def actions_lead_there(row: Row, terms: Terms) -> Iterator[str]:
    """For every pair i < j the actions, walked step by step from pose i, end in pose j within the language's bound.

    The walk turns and shifts a camera in the world and knows nothing of headings as numbers.
    """
    language = terms.recipe.actions
    pairs = list(combinations(range(len(row.frames)), 2))
    if (found := [(label.source, label.target) for label in row.actions]) != pairs:
        yield f"actions for the pairs {found}, not for {pairs}"
        return
    for label in row.actions:
        pair = f"{label.source} -> {label.target}"
        if label.vocabulary != language.vocabulary:
            yield f"{pair}: vocabulary {label.vocabulary}, the recipe says {language.vocabulary}"
            continue
        try:
            actions = parse_text(label.text, label.vocabulary)
        except ActionError as problem:
            yield f"{pair}: {problem}"
            continue
        start, goal = row.world_from_camera[label.source], row.world_from_camera[label.target]
        motion = motion_between(start, goal, row.up)
        walked = motion_between(start, walk(start, actions, row.up), row.up)
        if not within_bound(motion, walked, language):
            off = error(motion, walked, language)
            yield (
                f"{pair}: '{label.text}' ends {off.horizontal_m:.2f} m beside and {off.up_m:.2f} m above or below, "
                f"{off.yaw_deg:.1f} deg yaw, {off.pitch_deg:.1f} deg pitch, {off.roll_deg:.1f} deg roll off"
            )


def walk(world_from_camera: Array, actions: tuple[ActionStep, ...], up: Array) -> Array:
    """The pose (4, 4) in which a camera ends that does the actions one by one."""
    pose = world_from_camera.copy()
    for verb, value in actions:
        kind, way = verb.split("_")
        forward = _level_forward(pose, up)
        right = np.cross(forward, up)
        if kind == "move":
            axis = {"forward": forward, "backward": -forward, "left": -right, "right": right, "up": up, "down": -up}[
                way
            ]
            pose[:3, 3] += value * axis
            continue
        angle = value if way in ("left", "up") else -value
        if kind == "turn" and way in ("up", "down"):
            # No optical axis is raised beyond the vertical.
            pitch = np.degrees(np.arcsin(np.clip(pose[:3, 2] @ up, -1, 1)))
            angle = float(np.clip(pitch + angle, -90, 90) - pitch)
            axis = right
        else:
            # Counter-clockwise from behind the camera is clockwise about the axis that points forward.
            axis = up if kind == "turn" else -pose[:3, 2]
        pose[:3, :3] = Rotation.from_rotvec(np.radians(angle) * axis).as_matrix() @ pose[:3, :3]
    return pose


def _level_forward(pose: Array, up: Array) -> Array:
    """Unit (3,): where the camera heads, gravity-levelled; along the image's vertical where it looks straight up or
    down."""
    forward = pose[:3, 2]
    level = forward - (forward @ up) * up
    if np.linalg.norm(level) < 1e-6:
        level = np.sign(forward @ up) * pose[:3, 1]
    return level / np.linalg.norm(level)


def actions_canonical(row: Row, terms: Terms) -> Iterator[str]:
    """Text and JSON say the same, each as the language writes it, and there is no other way to say it."""
    for label in row.actions:
        pair = f"{label.source} -> {label.target}"
        try:
            actions = parse_text(label.text, label.vocabulary)
            from_json = parse_json(label.json, label.vocabulary)
        except ActionError as problem:
            yield f"{pair}: {problem}"
            continue
        if actions != from_json:
            yield f"{pair}: text says {label.text}, json says {label.json}"
        elif to_text(actions) != label.text or to_json(actions) != label.json:
            yield f"{pair}: not written as the language writes it: {label.text}; {label.json}"
        elif (again := encode(execute(actions), terms.recipe.actions)) != actions:
            yield f"{pair}: '{label.text}' is the motion that is said as '{to_text(again)}'"


_REPLY = re.compile(r"<action>(.*)</action><answer>(.*)</answer>", re.DOTALL)


def messages_consistent(row: Row, terms: Terms) -> Iterator[str]:
    """The chat has an image mark for each image, the question, the actions of all pairs and the answer."""
    if (roles := [message["role"] for message in row.messages]) != ["user", "assistant"]:
        yield f"roles are {roles}, not user and assistant"
        return
    asked, replied = (message["content"] for message in row.messages)
    if (marks := asked.count("<image>")) != len(row.images):
        yield f"{marks} <image> marks for {len(row.images)} images"
    if asked.replace("<image>", "").strip() != row.question.strip():
        yield "the user asks something else than the question"
    reply = _REPLY.fullmatch(replied)
    if reply is None:
        yield "the reply is not <action>...</action><answer>...</answer>"
        return
    if reply[2] != row.answer:
        yield f"the reply answers {reply[2]!r}, the row {row.answer!r}"
    try:
        pairs = parse_pairs(reply[1], vocabulary=terms.recipe.actions.vocabulary)
        stored = [(a.source, a.target, parse_json(a.json, a.vocabulary)) for a in row.actions]
    except ActionError as problem:
        yield str(problem)
        return
    if pairs != stored:
        yield f"the <action> block says {reply[1]}, the row has {[a.text for a in row.actions]}"


def form_fits(row: Row, terms: Terms) -> Iterator[str]:
    """A choice is answered by the letter of one of its options, all different and all in the question; of one that came
    with the scan the options may not have been told apart."""
    unparsed = row.form == "choice" and not row.options and terms.recipe.questions_from == "spar"
    if row.form in ("fill", "sentence") or unparsed:
        if row.options or not row.answer:
            yield f"{len(row.options)} options and the answer {row.answer!r} for a question of form {row.form}"
        return
    if row.form != "choice":
        yield f"unknown form {row.form!r}"
        return
    letters = LETTERS[: len(row.options)]
    if not row.answer or row.answer not in list(letters):
        yield f"the answer {row.answer!r} is none of the letters {letters}"
    if len(row.options) < 2 or len(set(row.options)) < len(row.options):
        yield f"options {row.options} are not different"
    lines = row.question.splitlines()
    missing = [f"{a}. {b}" for a, b in zip(letters, row.options, strict=True) if f"{a}. {b}" not in lines]
    if missing:
        yield f"the question has no line '{missing[0]}'"


TEXT_CHECKS: dict[str, Check] = {
    "id": id_fits,
    "images": images_decode,
    "form": form_fits,
    "messages": messages_consistent,
    "actions canonical": actions_canonical,
}
#: These have to hold for checks of geometry to be asked.
FORM_CHECKS: dict[str, Check] = {"intrinsics": intrinsics_plausible, "poses": poses_rigid}
POSE_CHECKS: dict[str, Check] = {"actions lead there": actions_lead_there}
