"""Ten faults that scans have, put into a sound one: what `hatch-data doctor` is tried on."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from hatch_data.correspondence import correspond
from hatch_data.covisibility import covisibility, summarise
from hatch_data.doctor.verdicts import Diagnosis
from hatch_data.geometry import Array, Camera, rigid, unit
from hatch_data.patches import token_grid
from hatch_data.recipe import ScanSettings
from hatch_data.repairs import planar_from_ray, repair
from hatch_data.scene import DepthImage, Frame, Scene
from hatch_data.views import prepare

#: Scale by which depth is misread: a unit of 1/1000, 1/4000 or 1/5000 m taken for another, or feet for metres.
SCALES = {"1000 as 5000": 0.2, "5000 as 1000": 5.0, "4000 as 5000": 0.8, "feet as metres": 1 / 0.3048}


@dataclass(frozen=True)
class Injected:
    """A scan with a fault, the kind of verdict that names it, and the settings that undo it (None: judged by what the
    build gives)."""

    scene: Scene
    kind: str
    fix: dict[str, object] | None


def inverted(scene: Scene) -> Injected:
    """camera_from_world where world_from_camera is promised."""
    return Injected(_repaired(scene, pose="camera_from_world"), "inverted poses", {"pose": "camera_from_world"})


def opengl(scene: Scene) -> Injected:
    """Camera axes y up, z back."""
    return Injected(_repaired(scene, camera_axes="opengl"), "opengl axes", {"camera_axes": "opengl"})


def scaled(scene: Scene, factor: float) -> Injected:
    """Depth read with another unit."""
    return Injected(_repaired(scene, depth_scale=factor), "depth scale", {"depth_scale": 1 / factor})


def along_ray(scene: Scene) -> Injected:
    """Depth is the distance to the camera's centre."""
    frames = [replace(frame, read_depth=partial(_ray_depth, frame)) for frame in scene.frames]
    return Injected(replace(scene, frames=frames), "ray distance", {"depth_is": "ray"})


def wrong_size(scene: Scene, factor: float) -> Injected:
    """Intrinsics of a larger or smaller image."""
    found = {"intrinsics_scale": 1 / factor}
    return Injected(_repaired(scene, intrinsics_scale=factor), "intrinsics", found)


def turned(scene: Scene, degrees: int) -> Injected:
    """Images, and their intrinsics, turned clockwise; poses are not."""
    return Injected(_repaired(scene, rotate=degrees), "rotated frames", {"rotate": (360 - degrees) % 360})


def shifted(scene: Scene, frames: int = 0, seconds: float = 0.0) -> Injected:
    """Poses of later frames, or of later stamps."""
    if seconds:
        faulty = _repaired(scene, time_shift_s=seconds)
        assert scene.pose_at is not None
        return Injected(
            replace(faulty, pose_at=partial(_later, scene.pose_at, seconds)),
            "shifted poses",
            {"time_shift_s": -seconds},
        )
    return Injected(_repaired(scene, pose_shift=frames), "shifted poses", {"pose_shift": -frames})


def jumping(scene: Scene, seed: int = 0) -> Injected:
    """Poses lost for two stretches: in one they stay frozen, in the other they are somewhere else."""
    rng = np.random.default_rng(seed)
    count = len(scene.frames)
    poses = [frame.world_from_camera for frame in scene.frames]
    frozen = range(count // 4, count // 4 + max(3, count // 20))
    away = range(2 * count // 3, 2 * count // 3 + max(3, count // 25))
    jump = rigid(Rotation.from_rotvec(np.radians(25) * _unit(rng)).as_matrix(), 0.6 * _unit(rng))
    for k in frozen:
        poses[k] = poses[frozen[0] - 1]
    for k in away:
        poses[k] = poses[k] @ jump
    faulty = _posed(scene, poses)
    skip = [scene.frames[k].id for k in (*frozen, *away)]
    return Injected(faulty, "lost or jumping poses", {"skip": skip})


def drifting(
    scene: Scene, m_per_m: float = 0.05, deg_per_m: float = 1.5, deg_per_turn: float = 8.0, seed: int = 0
) -> Injected:
    """Poses whose errors add up along the way: with every metre travelled and every turn of the camera."""
    rng = np.random.default_rng(seed)
    along, about = _unit(rng), _unit(rng)
    true = [frame.world_from_camera for frame in scene.frames]
    poses = [true[0]]
    for before, after in pairwise(true):
        step = np.linalg.inv(before) @ after
        metres, turn = np.linalg.norm(step[:3, 3]), Rotation.from_matrix(step[:3, :3]).magnitude()
        angle = np.radians(deg_per_m) * metres + np.radians(deg_per_turn) * turn / (2 * np.pi)
        error = rigid(Rotation.from_rotvec(angle * about).as_matrix(), m_per_m * metres * along)
        poses.append(poses[-1] @ step @ error)
    return Injected(_posed(scene, poses), "drifting poses", None)


def unregistered(scene: Scene, zoom: float = 1.12, shift_px: tuple[float, float] = (14.0, -9.0)) -> Injected:
    """Colour taken by another camera than the intrinsics say: larger by `zoom`, moved by `shift_px` (right, down)."""
    frames = [replace(frame, read_color=partial(_moved_color, frame, zoom, shift_px)) for frame in scene.frames]
    fix = {"color_zoom": zoom, "color_shift_px": shift_px}
    return Injected(replace(scene, frames=frames), "registration", fix)


def held(scene: Scene) -> Scene:
    """The same scan, every frame read once and held in memory."""
    frames = [
        replace(frame, read_color=lru_cache(frame.read_color), read_depth=lru_cache(frame.depth))
        for frame in scene.frames
    ]
    return replace(scene, frames=frames)


def some_pairs(scene: Scene, count: int, longest_gap: int | None = None) -> list[tuple[str, str]]:
    """Ids of pairs of frames as a build would choose them from the clean scan: they overlap by 0.1 to 0.9."""
    found = covisibility([summarise(prepare(frame)) for frame in scene.frames])
    wanted = (found.overlap > 0.1) & (found.overlap < 0.9) & (found.source < found.target)
    apart = found.target - found.source
    wanted &= apart <= (longest_gap or len(scene.frames))
    pairs = np.stack([found.source, found.target], axis=1)[wanted]
    chosen = np.random.default_rng(0).permutation(len(pairs))[:count]
    return [(scene.frames[i].id, scene.frames[j].id) for i, j in pairs[chosen]]


def map_difference(one: Scene, other: Scene, pairs: list[tuple[str, str]]) -> float:
    """Share of the weight of two scans' patch maps that does not lie in the same patches, over pairs that both have."""
    frames = [{frame.id: frame for frame in scene.frames} for scene in (one, other)]
    differences = []
    for pair in pairs:
        if not all(name in known for name in pair for known in frames):
            continue
        maps = []
        for known in frames:
            source, target = (known[name] for name in pair)
            grids = [token_grid(frame.camera.height, frame.camera.width) for frame in (source, target)]
            maps.append(correspond(prepare(source), prepare(target), *grids).map.dense())
        used = maps[0].sum(axis=1) + maps[1].sum(axis=1) > 0
        differences.append(np.abs(maps[0] - maps[1])[used].sum() / max(maps[0].sum() + maps[1].sum(), 1e-9))
    return float(np.mean(differences))


def ten(scene: Scene, number: int) -> list[tuple[str, Callable[[], Injected]]]:
    """The ten faults for the scan that comes as `number`: their sizes differ from scan to scan."""
    scale = list(SCALES)[number % len(SCALES)]
    by_time = scene.frames[0].timestamp_s is not None and scene.pose_at is not None
    shift = (0.2, -0.3)[number % 2] if by_time else 0.0
    sign = (1, -1)[number % 2]
    size = scene.frames[0].camera.width / 640
    return [
        ("inverted poses", partial(inverted, scene)),
        ("OpenGL axes", partial(opengl, scene)),
        (f"scale, {scale}", partial(scaled, scene, SCALES[scale])),
        ("ray distance", partial(along_ray, scene)),
        ("intrinsics of another size", partial(wrong_size, scene, (2.0, 0.5, 1.5)[number % 3])),
        ("turned by 90 degrees", partial(turned, scene, (90, 270)[number % 2])),
        (f"stamps off by {shift} s" if by_time else f"poses off by {sign * 2} frames",
         partial(shifted, scene, 0 if by_time else sign * 2, shift)),
        ("frozen and jumping", partial(jumping, scene, number)),
        ("drift", partial(drifting, scene, seed=number)),
        ("registration off", partial(unregistered, scene, (1.12, 0.9)[number % 2], (sign * 14 * size, -9 * size))),
    ]  # fmt: skip


def _repaired(scene: Scene, **settings: object) -> Scene:
    """All repairs but those of colour are faults where nothing is wrong."""
    faulty = repair(scene, ScanSettings.model_validate(settings))
    return replace(faulty, dropped={})


def _posed(scene: Scene, poses: list[Array]) -> Scene:
    frames = [replace(frame, world_from_camera=pose) for frame, pose in zip(scene.frames, poses, strict=True)]
    return replace(scene, frames=frames)


def _later(pose_at: Callable[[float], Array | None], seconds: float, stamp: float) -> Array | None:
    return pose_at(stamp + seconds)


def _ray_depth(frame: Frame) -> DepthImage:
    depth = frame.depth()
    return DepthImage((depth.values / planar_from_ray(frame.sensor.camera)).astype(np.float32), depth.metres_per_unit)


def _moved_color(frame: Frame, zoom: float, shift_px: tuple[float, float]) -> bytes:
    """The image a camera of `zoom` times the focal length, its centre moved by `shift_px`, would have taken."""
    camera: Camera = frame.camera
    with Image.open(io.BytesIO(frame.read_color())) as image:
        # Output pixel -> input pixel, in Pillow's coordinates with pixel centres at one half.
        a = 1 / zoom
        c = camera.cx + 0.5 - a * (camera.cx + 0.5 + shift_px[0])
        f = camera.cy + 0.5 - a * (camera.cy + 0.5 + shift_px[1])
        moved = image.convert("RGB").transform(
            image.size, Image.Transform.AFFINE, (a, 0, c, 0, a, f), Image.Resampling.BILINEAR
        )
    buffer = io.BytesIO()
    moved.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _unit(rng: np.random.Generator) -> Array:
    return unit(rng.normal(size=3))


def undoes(found: Diagnosis, injected: Injected) -> bool:
    """Whether the proposed settings are those that undo the fault, as near as they can be known."""
    settings, fix = found.settings, injected.fix
    if injected.kind == "drifting poses":
        return settings.longest_gap is not None
    assert fix is not None
    if "skip" in fix:
        left = {frame.id for frame in repair(injected.scene, settings).frames}
        wrong = set(fix["skip"])
        return not left & wrong and len(left) >= len(injected.scene.frames) - len(wrong) - 2
    undecided = any("undecided" in fault.text for fault in found.faults)
    for key, value in fix.items():
        got = getattr(settings, key)
        if key == "time_shift_s" and abs(got - value) > 0.05:
            return False
        if key == "color_zoom" and abs(got / value - 1) > 0.015:
            return False
        if key == "color_shift_px":
            width = injected.scene.frames[0].camera.width
            if max(abs(a - b) for a, b in zip(got, value, strict=True)) > 0.006 * width:
                return False
        if key in ("depth_scale", "intrinsics_scale") and abs(got / value - 1) > 0.02 and not undecided:
            return False
        if key in ("pose", "camera_axes", "rotate", "pose_shift", "depth_is") and got != value:
            return False
    return True
