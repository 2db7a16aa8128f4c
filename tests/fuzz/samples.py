"""A small sound scan for every form of every layout, and a small sound build: what is spoilt."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from hatch_data.geometry import Camera
from hatch_data.scans.lens import Lens
from tests.builds import build_small
from tests.layouts import (
    arkitscenes,
    colmap,
    hypersim,
    matterport,
    mesh,
    nerfstudio,
    record3d,
    redwood,
    replica,
    room,
    scannet_extracted,
    scannet_frames_25k,
    scannet_posed_images,
    scannet_sens,
    scannetpp,
    seven_scenes,
    spar,
    spar_questions,
    stray,
    three_r_scan,
    tum,
)
from tests.scans import reading
from tests.scans.test_matterport import HOUSE
from tests.scans.test_scannet import write_annotations
from tests.scans.test_three_r_scan import annotate

#: Writes something sound into a folder; returns what of it is to be read.
Write = Callable[[Path], Path]

POSES = room.walk(3)
LYING = reading.lying(POSES)
IN_ARKIT = reading.in_world(reading.ARKIT_FROM_ROOM, POSES)
SMALL = Camera(160, 120, 130.0, 130.5, 79.0, 60.5)
STRAIGHT = Lens(scannetpp.PHONE.camera)
NAME = "scene0000_00"


def _scan(write: Callable[[Path], object], *more: Callable[[Path], object]) -> Write:
    """A scan some folders down: layouts have files beside and above it, and paths that lead up lead nowhere."""

    def written(root: Path) -> Path:
        folder = root / "data" / "scans" / NAME
        folder.parent.mkdir(parents=True)
        for one in (write, *more):
            one(folder)
        return folder

    return written


def _scannet(write: Callable[[Path], object]) -> Write:
    return _scan(write, partial(write_annotations, name=NAME))


def _house(folder: Path) -> None:
    segmented = folder / "house_segmentations" / NAME / "house_segmentations"
    segmented.mkdir(parents=True)
    (segmented / f"{NAME}.house").write_text(HOUSE)


def _arkit(raw: bool) -> Callable[[Path], object]:
    walk = arkitscenes.Walk({n: LYING[n] for n in range(3)})
    return lambda folder: arkitscenes.write(folder, walk, [0, 6, 12], raw)


def _zipped(folder: Path) -> None:
    three_r_scan.zip_sequence(folder)


def _mesh(*writers: Callable[[Path], object]) -> Write:
    def write(folder: Path) -> None:
        mesh.write_instances(mesh.write(folder, table=True))
        for one in writers:
            one(folder)

    return _scan(write)


def _spar_questions(root: Path) -> Path:
    spar_questions.write_scene(root, NAME, POSES)
    for number, task in enumerate(("depth_prediction_oo_mv", "spatial_imagination_oc_mv")):
        for form in ("fill", "select"):
            entries = [spar_questions.entry(NAME, number, task, form, [0, 1, 2])]
            spar_questions.write_questions(root, task, form, entries)
    return root


#: Layout (or what else is read) -> its forms. `imported` are the questions that come with SPAR-7M.
SCANS: dict[str, tuple[Write, ...]] = {
    "3rscan": (
        _scan(lambda f: three_r_scan.write(f, POSES), annotate),
        _scan(lambda f: three_r_scan.write(f, POSES), _zipped, annotate),
    ),
    "7scenes": (
        _scan(lambda f: seven_scenes.write(f, POSES)),
        _scan(lambda f: seven_scenes.write_sequences(f, room.walk(4))),
    ),
    "arkitscenes": (_scan(_arkit(raw=False)), _scan(_arkit(raw=True))),
    "colmap": (
        _scan(lambda f: colmap.write(f, POSES, Lens(colmap.CAMERA))),
        _scan(lambda f: colmap.write(f, POSES, Lens(colmap.CAMERA), binary=True)),
        _scan(lambda f: colmap.write(f, POSES, colmap.OPENCV, depth="png", binary=True)),
    ),
    "hypersim": (_scan(lambda f: hypersim.write(f, {n: room.walk(8)[n] for n in range(4, 8)})),),
    "imported": (_spar_questions,),
    "matterport": (
        _scan(lambda f: matterport.write_undistorted(f, POSES), _house),
        _scan(lambda f: matterport.write_as_taken(f, POSES), _house),
    ),
    "mesh": (
        _mesh(lambda f: mesh.write_transforms(f, POSES, SMALL)),
        _mesh(lambda f: mesh.write_rows(f, POSES), lambda f: mesh.write_intrinsics(f, SMALL)),
        _mesh(lambda f: mesh.write_log(f, POSES), lambda f: mesh.write_intrinsics(f, SMALL)),
        _mesh(lambda f: mesh.write_tum(f, POSES), lambda f: mesh.write_intrinsics(f, SMALL)),
    ),
    "nerfstudio": (
        _scan(lambda f: nerfstudio.write(f, POSES, masks=True, applied=True)),
        _scan(lambda f: nerfstudio.write(f, POSES, nerfstudio.OPENCV, per_frame=True)),
        _scan(lambda f: nerfstudio.write(f, POSES, depth="npy", unit_m=1.0)),
        _scan(lambda f: nerfstudio.write(f, POSES, depth="tiff")),
    ),
    "record3d": (
        _scan(lambda f: record3d.write(f, IN_ARKIT, reading.ROOM_FROM_ARKIT)),
        _scan(lambda f: record3d.write(f, IN_ARKIT, reading.ROOM_FROM_ARKIT, raw=True, per_frame=True)),
    ),
    "redwood": (_scan(lambda f: redwood.write(f, POSES)),),
    "replica": (_scan(lambda f: replica.write(f, POSES)),),
    "scannet": (_scannet(lambda f: scannet_extracted.write(f, POSES)),),
    "scannet-frames-25k": (_scannet(lambda f: scannet_frames_25k.write(f, POSES)),),
    "scannet-posed-images": (_scannet(lambda f: scannet_posed_images.write(f, POSES)),),
    "scannet-sens": (_scannet(lambda f: scannet_sens.write(f, POSES)),),
    "scannetpp-dslr": (
        _scan(scannetpp.write_scan, lambda f: scannetpp.write_dslr(f, POSES)),
        _scan(lambda f: scannetpp.write_dslr(f, POSES, render_depth=True)),
        _scan(scannetpp.write_scan, lambda f: scannetpp.write_dslr(f, POSES, undistorted=True)),
    ),
    "scannetpp-iphone": (
        _scan(scannetpp.write_scan, lambda f: scannetpp.write_phone(f, POSES, scannetpp.PHONE, "lz4", "video/")),
        _scan(lambda f: scannetpp.write_phone(f, LYING, STRAIGHT, "frames", None)),
        _scan(lambda f: scannetpp.write_phone(f, LYING, STRAIGHT, "stream", None)),
        _scan(lambda f: scannetpp.write_phone(f, LYING, STRAIGHT, "png", None)),
    ),
    "spar": (
        _scan(lambda f: spar.write(f, POSES)),
        _scan(lambda f: spar.write_with_own_intrinsics(f, POSES)),
    ),
    "stray": (
        _scan(lambda f: stray.write(f, reading.lying(IN_ARKIT), reading.ROOM_FROM_ARKIT)),
        _scan(lambda f: stray.write(f, reading.lying(IN_ARKIT), reading.ROOM_FROM_ARKIT, per_frame=True)),
    ),
    "tum": (_scan(lambda f: tum.write(f, POSES)),),
}  # fmt: skip


def write_build(root: Path) -> Path:
    """A build of two scenes with all columns filled, two splits, few rows."""
    asked = "questions={patch_match: 1, camera_motion: 1, point_depth: 1, view_order: 1}"
    out = root / "data" / "built"
    out.parent.mkdir(parents=True)
    small = ("frames.every=12", "pairs.per_frame=1", "groups.sizes={2: 2, 3: 1}", "rows_per_scene=4")
    build_small(out, "synthetic:2", asked, "images.longest_side_px=112", "images.markers=stored", *small)
    return out
