"""Readers: one module a layout, each turning what lies on disk into a `Scene`.

A reader module has four names: `LAYOUT` (its name on the command line), `evidence(path) -> str | None` (what in the
folder speaks for this layout, or None), `read(path) -> Scene`, and `space(path) -> str`
(the physical place that the scan shows, known without reading it).
"""

from __future__ import annotations

import glob
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType

from hatch_data.errors import ScanError
from hatch_data.scene import Scene

#: Layout name -> module. Order matters to nothing: a folder that two readers claim is an error.
LAYOUTS = {
    "3rscan": "three_r_scan",
    "7scenes": "seven_scenes",
    "arkitscenes": "arkitscenes",
    "colmap": "colmap",
    "hypersim": "hypersim",
    "matterport": "matterport",
    "mesh": "textured_mesh",
    "nerfstudio": "nerfstudio",
    "record3d": "record3d",
    "redwood": "redwood",
    "replica": "replica",
    "scannet": "scannet_extracted",
    "scannet-frames-25k": "scannet_frames_25k",
    "scannet-posed-images": "scannet_posed_images",
    "scannet-sens": "scannet_sens",
    "scannetpp-dslr": "scannetpp_dslr",
    "scannetpp-iphone": "scannetpp_iphone",
    "spar": "spar",
    "stray": "stray",
    "tum": "tum",
}
SYNTHETIC = "synthetic"


def reader(layout: str) -> ModuleType:
    """The module that reads `layout`."""
    if layout not in LAYOUTS:
        raise ScanError(f"unknown layout '{layout}'; known layouts: {', '.join(sorted(LAYOUTS))}")
    return import_module(f"hatch_data.scans.{LAYOUTS[layout]}")


@dataclass(frozen=True)
class ScanRef:
    """Where a scan lies and what reads it: small enough to be sent to another process.

    `questions` are the (file, offset) of questions that came with it (`imported`).
    """

    layout: str
    path: str
    scene: str
    space: str
    questions: tuple[tuple[str, int], ...] = field(default=(), kw_only=True)

    def load(self) -> Scene:
        """Read the scan. Raises `ScanError` where it cannot be used."""
        if self.layout == SYNTHETIC:
            from hatch_data.scans import synthetic

            return synthetic.read(self.path)
        scene = reader(self.layout).read(Path(self.path))
        names = (scene.id, scene.space, *(frame.id for frame in scene.frames), *(one.label for one in scene.instances))
        try:
            "".join(names).encode()
        except UnicodeEncodeError as error:
            part = ascii(error.object[max(error.start - 20, 0) : error.end])
            raise ScanError(f"{self.path}: a name with {part} is no text in UTF-8; rename it") from None
        return scene


def detect(path: Path, layout: str | None = None) -> str | None:
    """The layout of the scan in `path`, None where nothing speaks for any; doubt is an error naming the candidates."""
    names = [layout] if layout else list(LAYOUTS)
    evidence = {name: found for name in names if (found := reader(name).evidence(path))}
    if len(evidence) > 1:
        told = "; ".join(f"{name} ({found})" for name, found in evidence.items())
        raise ScanError(f"{path}: could be {told}; say which with --layout")
    return next(iter(evidence), None)


def find(scenes: list[str], layout: str | None = None) -> list[ScanRef]:
    """Scans named by `--scenes`: one scan, a folder of scans, a glob, or `synthetic:N`, sorted and without repeats.

    Raises `ScanError` where a name leads to no scan.
    """
    refs: dict[str, ScanRef] = {}
    for name in scenes:
        for ref in _find_one(name, layout):
            refs.setdefault(ref.path, ref)
    ordered = sorted(refs.values(), key=lambda ref: (ref.scene, ref.path))
    by_scene: dict[str, str] = {}
    for ref in ordered:
        if (other := by_scene.setdefault(ref.scene, ref.path)) != ref.path:
            raise ScanError(f"two scans are called '{ref.scene}': {other} and {ref.path}; build them into two folders")
    return ordered


def _find_one(name: str, layout: str | None) -> list[ScanRef]:
    if name.startswith(f"{SYNTHETIC}:"):
        from hatch_data.scans import synthetic

        return [
            ScanRef(SYNTHETIC, path, path.replace("/", "-"), path.replace("/", "-")) for path in synthetic.paths(name)
        ]
    anchor = Path(name).anchor
    folders = sorted(Path(anchor).glob(name[len(anchor) :])) if glob.has_magic(name) else [Path(name)]
    if not folders:
        raise ScanError(f"{name}: no folder matches; check the pattern")
    refs = []
    for folder in folders:
        if not folder.exists():
            raise ScanError(f"{folder}: no such file or folder")
        found = detect(folder, layout)
        if found:
            refs.append(_ref(found, folder))
            continue
        inside = [(d, detect(d, layout)) for d in sorted(folder.iterdir()) if d.is_dir()] if folder.is_dir() else []
        refs += [_ref(kind, d) for d, kind in inside if kind]
    if not refs:
        known = layout or ", ".join(sorted(LAYOUTS))
        raise ScanError(f"{name}: no scan found here or one level below (looked for: {known}); see --layout")
    return refs


def _ref(layout: str, folder: Path) -> ScanRef:
    resolved = folder.resolve()
    name = resolved.stem if resolved.is_file() else resolved.name
    return ScanRef(layout, str(resolved), name, reader(layout).space(resolved))
