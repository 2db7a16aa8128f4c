"""A textured mesh as a scan: rendered from a pose list beside it, else from a walk through its free space.

A mesh file, or a folder with one and nothing else but its textures, a pose list (see `pose_list`), and the objects in
`<mesh>.instances.json`: `instances` with `name`, a box `aabb_min` and `aabb_max` in the mesh's world, perhaps `label`
or `model`, and `frame`, which says which way is up ("z up", "y up"). Without that, up is the axis (y or z, as all mesh
formats have it) across which the largest flat layer of the mesh lies: a floor is larger than any wall. With poses it is
the axis that the cameras' tops point to.
"""

from __future__ import annotations

import io
import re
from collections import OrderedDict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, Camera, nearest_rigid
from hatch_data.scans import files, nerfstudio, pose_list
from hatch_data.scans.annotations import upright_box
from hatch_data.scans.explore import explore
from hatch_data.scans.gravity import up_from_level_cameras
from hatch_data.scans.mesh import SUFFIXES, Mesh
from hatch_data.scans.pose_list import ListedPose
from hatch_data.scans.posed import pose_fault
from hatch_data.scans.textured import Rendering, TexturedMesh
from hatch_data.scene import RENDERED, DepthImage, DepthSensor, Frame, Instance, Scene

LAYOUT = "mesh"
WANTED = f"a textured mesh ({', '.join(SUFFIXES)})"
#: The camera of a walk: 70 degrees across.
WIDTH, HEIGHT, FOCAL_PX = 640, 480, 457.0
JPEG_QUALITY = 95
#: A build reads the depth of all frames first and the colour of some later: encoded colour is kept up to this size.
KEPT_BYTES = 160 << 20
#: What may lie beside a mesh that is a scan of its own: anything else belongs to some other layout.
BESIDE = (*SUFFIXES, ".mtl", ".bin", ".json", ".txt", ".log", ".tum", ".md", "")
TEXTURES = (".png", ".jpg", ".jpeg", ".tga", ".bmp")
TEXTURE_FOLDERS = ("texture", "textures", "material", "materials", "maps")
#: Meshes that show labels, not colours.
LABELS = re.compile(r"label|semantic|seg(ment)?s?\b", re.IGNORECASE)
AXES = {"y": np.array([0.0, 1.0, 0.0]), "z": np.array([0.0, 0.0, 1.0])}
#: Cameras tell the up axis where their mean top is nearer to it than this.
UP_WITHIN_DEG = 30.0
#: Layers in which flat surface is collected, to find the floor.
LAYER_M = 0.05
#: No scan is larger than this.
LARGEST_M = 500.0


def evidence(path: Path) -> str | None:
    """What speaks for a mesh that is a scan of its own."""
    if path.is_file():
        return "a mesh file" if path.suffix.lower() in SUFFIXES else None
    meshes = _meshes(path)
    if not meshes or nerfstudio.evidence(path):
        return None
    allowed = BESIDE + (TEXTURES if any(mesh.suffix in (".obj", ".gltf") for mesh in meshes) else ())
    for entry in path.iterdir():
        if entry.is_dir() and entry.name.lower() not in TEXTURE_FOLDERS:
            return None
        if entry.is_file() and entry.suffix.lower() not in allowed:
            return None
    return f"mesh {meshes[0].name} and no images"


def read(path: Path) -> Scene:
    """The scan; ids are those of the pose list, or numbers along the walk. Raises `ScanError` where nothing is seen."""
    file = _only_mesh(path)
    textured = _textured(file)
    _check_size(textured.mesh, file)
    poses_file = pose_list.find(file.parent)
    annotations = file.with_name(f"{file.stem}.instances.json")
    told = files.read_json(annotations) if annotations.is_file() else {}
    if not isinstance(told, dict):
        raise ScanError(f"{annotations}: no object with 'instances'; restore the file or remove it")
    listed, dropped = _sound(pose_list.read(poses_file), poses_file) if poses_file else ([], {})
    up, up_source = _up(textured.mesh, told, listed)
    if not poses_file:
        camera = Camera(WIDTH, HEIGHT, FOCAL_PX, FOCAL_PX, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
        listed = [
            ListedPose(f"{n:06d}", pose, camera)
            for n, pose in enumerate(explore(textured.mesh, up, np.random.default_rng(0)))
        ]
    if not listed:
        raise ScanError(f"{file}: no floor free and enclosed enough to walk on (units not metres?); give a pose list")
    renderer = _renderer(file, tuple(up.tolist()))
    frames = [
        Frame(
            id=one.id,
            world_from_camera=one.world_from_camera,
            camera=one.camera,
            read_color=partial(renderer.color, one.id, one.camera, one.world_from_camera),
            sensor=DepthSensor(one.camera, tolerance=RENDERED),
            read_depth=partial(renderer.depth, one.id, one.camera, one.world_from_camera),
            timestamp_s=one.timestamp_s,
        )
        for one in listed
    ]
    instances = _instances(told, annotations, textured, up)
    return Scene(path.name, LAYOUT, space(path), frames, up, up_source, instances, dropped, mesh=file)


def space(path: Path) -> str:
    """The place: each mesh is one of its own."""
    return path.name


class _Renderer:
    """Renders the frames of one mesh under one light, each once for colour and depth. Pickles as the mesh's name."""

    def __init__(self, file: Path, up: tuple[float, ...]):
        self._file, self._up = file, up
        # The last rendered frame: colour and depth of one frame are asked for one after the other.
        self._last: tuple[str, Rendering] | None = None
        self._encoded: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _renderer, (self._file, self._up)

    def color(self, frame_id: str, camera: Camera, world_from_camera: Array) -> bytes:
        """JPEG bytes at full colour resolution."""
        if frame_id not in self._encoded:
            out = io.BytesIO()
            color = self._render(frame_id, camera, world_from_camera).color
            Image.fromarray(color).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
            self._encoded[frame_id] = out.getvalue()
            self._bytes += len(self._encoded[frame_id])
            while self._bytes > KEPT_BYTES and len(self._encoded) > 1:
                self._bytes -= len(self._encoded.popitem(last=False)[1])
        return self._encoded[frame_id]

    def depth(self, frame_id: str, camera: Camera, world_from_camera: Array) -> DepthImage:
        """Planar depth; the colour that comes with it is kept encoded."""
        depth = self._render(frame_id, camera, world_from_camera).depth
        self.color(frame_id, camera, world_from_camera)
        return DepthImage(depth)

    def _render(self, frame_id: str, camera: Camera, world_from_camera: Array) -> Rendering:
        if self._last is None or self._last[0] != frame_id:
            rendering = _textured(self._file).render(camera, world_from_camera, np.array(self._up))
            self._last = (frame_id, rendering)
        return self._last[1]


@lru_cache(maxsize=1)
def _renderer(file: Path, up: tuple[float, ...]) -> _Renderer:
    return _Renderer(file, up)


@lru_cache(maxsize=1)
def _textured(file: Path) -> TexturedMesh:
    return TexturedMesh.load(file)


def _meshes(folder: Path) -> list[Path]:
    """Mesh files of the folder that show colours; all of them where none does by its name."""
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    return [file for file in found if not LABELS.search(file.stem)] or found


def _only_mesh(path: Path) -> Path:
    if path.is_file():
        return path
    found = _meshes(path)
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "no mesh"
        raise ScanError(f"{path}: needs {WANTED}, one, but holds {names}; give the file itself")
    return found[0]


def _check_size(mesh: Mesh, file: Path) -> None:
    size = np.ptp(mesh.bounds, axis=0).max()
    if size > LARGEST_M:
        raise ScanError(f"{file}: {size:.0f} m across; export the mesh in metres")


def _sound(listed: list[ListedPose], file: Path) -> tuple[list[ListedPose], dict[str, list[str]]]:
    """Poses that can be used, and the ids of the others by reason, as in `posed_frames`."""
    sound: list[ListedPose] = []
    dropped: dict[str, list[str]] = {}
    for n, one in enumerate(listed):
        pose = one.world_from_camera
        fault = pose_fault(pose) or ("identity_pose" if n and np.array_equal(pose, np.eye(4)) else None)
        if fault:
            dropped.setdefault(fault, []).append(one.id)
        else:
            sound.append(one._replace(world_from_camera=nearest_rigid(pose)))
    if not sound:
        raise ScanError(
            f"{file}: none of its {len(listed)} poses is a rigid camera-to-world transform; restore the file"
        )
    return sound, dropped


def _up(mesh: Mesh, told: dict[str, Any], listed: list[ListedPose]) -> tuple[Array, str]:
    """The up direction, unit (3,), and whether the layout states it or it was estimated."""
    if stated := re.search(r"\b([yz])[ -]?up\b", str(told.get("frame", "")), re.IGNORECASE):
        return AXES[stated[1].lower()], "layout"
    if listed:
        up = up_from_level_cameras(np.stack([one.world_from_camera[:3, :3] for one in listed]))
        axis = np.eye(3)[int(np.argmax(np.abs(up)))] * np.sign(up[int(np.argmax(np.abs(up)))])
        return (axis if axis @ up > np.cos(np.radians(UP_WITHIN_DEG)) else up), "estimated"
    layers = {name: _largest_layer_m2(mesh, axis) for name, axis in AXES.items()}
    return AXES[max(layers, key=lambda name: layers[name])], "estimated"


def _largest_layer_m2(mesh: Mesh, axis: Array) -> float:
    """The most surface that lies in one layer across an axis, facing along it."""
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    flat = np.abs(mesh.normals @ axis) > 0.95
    layer = np.floor((a + b + c)[flat] @ axis / 3 / LAYER_M).astype(int)
    return float(np.bincount(layer - layer.min(), area[flat]).max()) if len(layer) else 0.0


def _instances(told: dict[str, Any], file: Path, textured: TexturedMesh, up: Array) -> list[Instance]:
    """The named objects. Where parts of the mesh bear an object's name, its box is fitted to them."""
    found = []
    try:
        entries = told.get("instances", [])
        kinds = [str(entry.get("label") or entry.get("model") or entry["name"]) for entry in entries]
        for entry, label in zip(entries, labels_of(kinds), strict=True):
            points = _points_of(str(entry["name"]), textured)
            if len(points):
                world_from_box, size_m = upright_box(points, up)
            else:
                lower, upper = (np.array(entry[side], dtype=np.float64).reshape(3) for side in ("aabb_min", "aabb_max"))
                world_from_box, size_m = np.eye(4), upper - lower
                world_from_box[:3, 3] = (lower + upper) / 2
            found.append(Instance(str(entry["name"]), label, world_from_box, size_m))
    except files.MALFORMED as error:
        raise ScanError(
            f"{file}: instance {len(found)} lacks a name, or aabb_min and aabb_max ({error}); restore the file"
        ) from error
    return found


def _points_of(name: str, textured: TexturedMesh) -> NDArray:
    """Corners (n, 3) of the parts called `name` or `name/...`."""
    numbers = [k for k, part in enumerate(textured.part_names) if part == name or part.startswith(f"{name}/")]
    triangles = textured.mesh.triangles[np.isin(textured.part, numbers)]
    return textured.mesh.vertices[np.unique(triangles)]


def labels_of(names: list[str]) -> list[str]:
    """Words for models: `maker_ChairA_01` -> `chair`, without a beginning that all share, numbers and variants."""
    parts = [name.split("_") for name in names]
    while len(parts) > 1 and min(map(len, parts)) > 1 and len({part[0] for part in parts}) == 1:
        parts = [part[1:] for part in parts]
    labels = []
    for name, part in zip(names, parts, strict=True):
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", " ".join(part))
        kept = [word for word in words if len(word) > 1] or words
        labels.append(" ".join(kept).lower() or name)
    return labels
