"""Ways in which files of a scan or a build are spoilt. Each is given a file and a random generator, and changes it.

Files are replaced, never written in place: a folder of hard links may be spoilt without harm to what it links to.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
from PIL import Image

Mutation = Callable[[Path, Random], str]

NUMBERS = (
    "nan", "inf", "-inf", "-1", "0", "1", "-0.0", "1e308", "-1e308", "1e-320", "1e19", "1e999", "65536", "4294967296",
    "2147483647", "-2147483648", "9" * 23, "0x10", "1,5", "1_0", "٣", "abc", "00", ".", "-", "1e", "--1",
)  # fmt: skip
PATHS = (
    "../../../../escaped.txt", "/etc/passwd", "/dev/zero", "/dev/null", "/proc/self/mem", "..", ".", "", "/", "a\0b",
    "x" * 5000, "x/" * 2500, "~/x", "C:\\x\\y", "file:///etc/passwd", "\udcff", "a\nb", "é/ü.jpg", "images/../images",
    "*",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, [], {}, "", -1, 0, 1, 2**31, 2**63, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"), True, "x",
    [[]], [1], {"a": 1}, [None] * 3, [0.0] * 16, [[0.0] * 4] * 4, "1e999", -(2**63),
)  # fmt: skip
INTEGERS = (0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
TEXTS = frozenset({".txt", ".csv", ".json", ".jsonl", ".traj", ".log", ".pincam", ".conf", ".house", ".md", ""})
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".pgm"})
ARRAYS = frozenset({".hdf5", ".h5"})


def spoil(root: Path, seed: int) -> str:
    """Spoil a folder in one to three places; what was done, in words."""
    rng = Random(seed)
    told = []
    for _ in range(rng.choices((1, 2, 3), (8, 2, 1))[0]):
        files = sorted(
            path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and path != root / "place.txt"
        )
        # Each kind of file comes equally often, though a scan has many images and one list of poses.
        kinds = sorted({(file.parent, file.suffix) for file in files}, key=str)
        if not kinds:
            break
        kind = rng.choice(kinds)
        file = rng.choice([file for file in files if (file.parent, file.suffix) == kind])
        mutation = rng.choice([*_of(file), *ANY])
        try:
            what = mutation(file, rng)
        except (MemoryError, OSError, ValueError):  # what an earlier one has spoilt is not always to be opened
            what = "left as it is"
        told.append(f"{file.relative_to(root)}: {what}")
    return "; ".join(told)


def _of(file: Path) -> list[Mutation]:
    """Mutations that know the form of a file, the more often the less others reach."""
    found: list[Mutation] = []
    if file.suffix == ".json":
        found += [json_value] * 8 + [json_path] * 5 + [json_nested]
    elif file.suffix == ".jsonl":
        found += [json_line] * 12
    if file.suffix in TEXTS:
        found += [text_number] * 6 + [text_line, text_encoding]
    if file.suffix in IMAGES:
        found += [image_header] * 5 + [image_other] * 5
    if file.suffix in ARRAYS:
        found += [hdf5_dataset] * 10
    if file.suffix == ".zip":
        found += [zip_member] * 10
    if file.suffix == ".npy":
        found += [array] * 8
    if file.suffix == ".glb":
        found += [glb_json] * 8
    if file.suffix == ".ply":
        found += [ply_header] * 6
    if file.suffix in (".sens", ".bin"):
        found += [deflate_bomb]
    if file.suffix == ".parquet":
        found += [parquet_value] * 16
    return found


def put(file: Path, data: bytes) -> None:
    """Replace a file."""
    file.unlink()
    file.write_bytes(data)


# --- any file ---


def truncated(file: Path, rng: Random) -> str:
    data = file.read_bytes()
    length = rng.choice((0, 1, min(16, len(data)), max(len(data) - 1, 0), rng.randrange(len(data) + 1)))
    put(file, data[:length])
    return f"cut to {length} bytes"


def flipped(file: Path, rng: Random) -> str:
    data = bytearray(file.read_bytes())
    count = rng.choice((1, 1, 4, 32))
    reach = len(data) if rng.random() < 0.5 else min(len(data), 256)
    for _ in range(count if reach else 0):
        data[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    put(file, bytes(data))
    return f"{count} bits flipped in the first {reach} bytes"


def overwritten(file: Path, rng: Random) -> str:
    data = bytearray(file.read_bytes())
    start, length = rng.randrange(len(data) + 1), rng.choice((1, 16, 300, 20000))
    filling = rng.choice((bytes([rng.choice((0, 255))]) * length, rng.randbytes(length)))
    data[start : start + length] = filling[: max(0, len(data) - start)]
    put(file, bytes(data))
    return f"{length} bytes overwritten from {start}"


def spliced(file: Path, rng: Random) -> str:
    data = file.read_bytes()
    start, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    kind = rng.choice(("removed", "doubled", "appended"))
    put(file, {"removed": data[:start] + data[end:], "doubled": data[:end] + data[start:], "appended": data * 2}[kind])
    return f"bytes {start} to {end} {kind}"


def integer(file: Path, rng: Random) -> str:
    """An absurd count or size, most often where a header would have it."""
    data = bytearray(file.read_bytes())
    size = rng.choice((2, 4, 8))
    reach = len(data) - size if rng.random() < 0.3 else min(len(data) - size, 600)
    if reach < 0:
        return "left as it is"
    value, at = rng.choice(INTEGERS) & ((1 << 8 * size) - 1), rng.randrange(reach + 1) // 2 * 2
    data[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))
    put(file, bytes(data))
    return f"{value} written at {at}"


def swapped(file: Path, rng: Random) -> str:
    """Another file's bytes under this name."""
    others = sorted(path for path in file.parent.parent.rglob("*") if path.is_file() and path != file)
    if not others:
        return "left as it is"
    other = rng.choice(others)
    put(file, other.read_bytes())
    return f"now holds {other.name}"


def missing(file: Path, rng: Random) -> str:
    """No file, or something else of its name."""
    kind = rng.choice(("gone", "gone", "a folder", "a link to nothing", "a link to itself"))
    file.unlink()
    if kind == "a folder":
        file.mkdir()
    elif kind != "gone":
        file.symlink_to("nothing" if kind == "a link to nothing" else file.name)
    return kind


def renamed(file: Path, rng: Random) -> str:
    """Another number, ending or case in its name."""
    stem, suffix = file.stem, file.suffix
    name = rng.choice(
        (f"{stem}9{suffix}", f"{stem}{suffix.upper()}", f"0{stem}{suffix}", f"{'9' * 30}{suffix}", suffix)
    )
    name = re.sub(r"\d+", rng.choice(("-1", "9" * 40, "٣", "")), file.name) if rng.random() < 0.3 else name
    if not name or (file.parent / name).exists():
        return "left as it is"
    file.rename(file.with_name(name))
    return f"renamed to {name}"


ANY: tuple[Mutation, ...] = (truncated, flipped, overwritten, spliced, integer, swapped, missing, renamed)


# --- text and JSON ---


def text_number(file: Path, rng: Random) -> str:
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    found = [match.span() for match in re.finditer(r"[-+]?\d[\d.eE+-]*", text)]
    if not found:
        return "left as it is"
    start, end = rng.choice(found if rng.random() < 0.5 else found[:30])
    number = rng.choice((*NUMBERS, "", "-" + text[start:end], text[start:end] + "0" * 8))
    put(file, (text[:start] + number + text[end:]).encode("utf-8", "surrogateescape"))
    return f"number {text[start:end]} at {start} is now '{number}'"


def text_line(file: Path, rng: Random) -> str:
    lines = file.read_bytes().splitlines(keepends=True)
    if not lines:
        return "left as it is"
    k = rng.randrange(len(lines))
    kind = rng.choice(("removed", "doubled", "moved to the front", "blank", "without its end", "half", "very long"))
    line = lines.pop(k)
    half = line[: len(line) // 2] + b"\n"
    put_in = {
        "doubled": line * 2,
        "blank": b"\n",
        "without its end": line.rstrip(),
        "half": half,
        "very long": line * 400,
    }
    if kind == "moved to the front":
        lines.insert(0, line)
    elif kind != "removed":
        lines.insert(k, put_in[kind] if kind != "very long" else put_in[kind].replace(b"\n", b" "))
    put(file, b"".join(lines))
    return f"line {k} {kind}"


def text_encoding(file: Path, rng: Random) -> str:
    data = file.read_bytes()
    kind = rng.choice(("utf-16", "byte order mark", "NUL", "latin-1", "CR"))
    text = data.decode("utf-8", "replace")
    put(
        file,
        {
            "utf-16": text.encode("utf-16"),
            "byte order mark": b"\xef\xbb\xbf" + data,
            "NUL": data[: len(data) // 2] + b"\0" + data[len(data) // 2 :],
            "latin-1": data + b"\xe4\xf6\n",
            "CR": data.replace(b"\n", b"\r"),
        }[kind],
    )
    return kind


def json_value(file: Path, rng: Random) -> str:
    told = _parsed(file)
    changed, what = _changed(told, rng, VALUES)
    put(file, json.dumps(changed).encode())
    return what


def json_path(file: Path, rng: Random) -> str:
    """A name of a file, or any other text or key, that leads elsewhere."""
    told = _parsed(file)
    changed, what = _changed(told, rng, PATHS, strings=True)
    put(file, json.dumps(changed).encode())
    return what


def json_line(file: Path, rng: Random) -> str:
    lines = file.read_bytes().splitlines()
    if not lines:
        return "left as it is"
    k = rng.randrange(len(lines))
    try:
        told = json.loads(lines[k])
    except ValueError:
        return "left as it is"
    paths = rng.random() < 0.3
    changed, what = _changed(told, rng, PATHS if paths else VALUES, strings=paths)
    lines[k] = json.dumps(changed).encode()
    put(file, b"\n".join(lines) + b"\n")
    return f"line {k}: {what}"


def json_nested(file: Path, rng: Random) -> str:
    mark, closing = rng.choice((("[", "]"), ('{"a":', "}")))
    put(file, (mark * 100_000 + "1" + closing * 100_000).encode())
    return "a hundred thousand brackets"


def _parsed(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return {}


def _changed(told: Any, rng: Random, values: tuple[Any, ...], strings: bool = False) -> tuple[Any, str]:
    """`told` with one value, key or element of it replaced, removed or doubled; what was done."""
    value = rng.choice(values)
    holders = [(holder, key) for holder, key in _places(told) if not strings or isinstance(holder[key], str)]
    if not holders:
        return value, f"all of it is {value!r:.40}"
    # Values near the root are few and decide more than numbers in long lists.
    holder, key = rng.choice(holders if rng.random() < 0.5 else holders[:20])
    kind = rng.choice(("replaced", "replaced", "replaced", "removed", "doubled", "renamed"))
    what = f"{key!r:.40} {kind}"
    if kind == "removed":
        del holder[key]
    elif kind == "doubled" and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif kind == "renamed" and isinstance(holder, dict):
        holder[str(rng.choice(PATHS))] = holder.pop(key)
    else:
        what = f"{key!r:.40}: {holder[key]!r:.40} is now {value!r:.40}"
        holder[key] = value
    return told, what


def _places(told: Any, most: int = 3000) -> list[tuple[Any, Any]]:
    """(holder, key) of the values in nested lists and dicts, those near the root first."""
    found: list[tuple[Any, Any]] = []
    level = [told]
    while level and len(found) < most:
        here = [
            (holder, key)
            for holder in level
            if isinstance(holder, dict | list)
            for key in (holder if isinstance(holder, dict) else range(len(holder)))
        ]
        found += here
        level = [holder[key] for holder, key in here]
    return found[:most]


# --- images and arrays ---


def image_header(file: Path, rng: Random) -> str:
    """Another size in the header, its checksum put right."""
    data = bytearray(file.read_bytes())
    width, height = (rng.choice((0, 1, 7, 4000, 20000, 65535, 2**31 - 1, 2**32 - 1)) for _ in range(2))
    if data.startswith(b"\x89PNG") and len(data) > 33:
        kind = (
            bytes(data[24:26]) if rng.random() < 0.7 else bytes((rng.choice((1, 8, 16)), rng.choice((0, 2, 3, 4, 6))))
        )
        head = b"IHDR" + struct.pack(">II", width, height) + kind + bytes(data[26:29])
        data[12:33] = head + struct.pack(">I", zlib.crc32(head))
    elif data.startswith(b"P5"):
        data = bytearray(re.sub(rb"^P5\s+\d+\s+\d+", f"P5\n{width} {height}".encode(), bytes(data)))
    elif (at := _jpeg_frame(data)) is not None:
        data[at + 5 : at + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    put(file, bytes(data))
    return f"said to be {width}x{height}"


def _jpeg_frame(data: bytearray) -> int | None:
    return next((at for mark in (b"\xff\xc0", b"\xff\xc2") if (at := data.find(mark)) >= 0), None)


def image_other(file: Path, rng: Random) -> str:
    """A sound image of another size, mode or format."""
    try:
        with Image.open(file) as image:
            size = image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        size = (64, 48)
    size = rng.choice((size, size, size[::-1], (1, 1), (size[0] * 2, size[1] * 2), (3000, 2)))
    mode = rng.choice(("L", "RGB", "RGBA", "P", "1", "I;16", "I", "CMYK", "LA"))
    kind = {"CMYK": "JPEG", "I": "TIFF"}.get(mode, "PNG")
    kind = rng.choice((kind, kind, "GIF", "WEBP", "TIFF", "JPEG")) if mode in ("L", "RGB") else kind
    image = Image.new(mode, size, rng.choice((0, 1)))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    put(file, buffer.getvalue())
    return f"{kind} {mode} {size[0]}x{size[1]}"


ODD_ARRAYS: tuple[Callable[[], np.ndarray], ...] = (
    lambda: np.zeros(0),
    lambda: np.array(1.0),
    lambda: np.zeros((0, 0)),
    lambda: np.full((48, 64), np.nan),
    lambda: np.full((48, 64), np.inf, np.float16),
    lambda: np.full((3, 3, 3), 1e308),
    lambda: np.ones((4, 4), complex),
    lambda: np.full((4, 4), b"text"),
    lambda: np.ones((4, 4), bool),
    lambda: np.full((12, 3), 2**63, np.uint64),
    lambda: np.full((12,), -(2**63), np.int64),
    lambda: np.zeros((3, 3), [("a", "f4"), ("b", "i2")]),
    lambda: np.ones((1, 2, 3, 4, 5)),
)


def hdf5_dataset(file: Path, rng: Random) -> str:
    data = io.BytesIO(file.read_bytes())
    try:
        with h5py.File(data, "r+") as hdf5:
            what = _spoilt_hdf5(hdf5, rng)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError):
        return "left as it is"
    put(file, data.getvalue())
    return what


def _spoilt_hdf5(hdf5: Any, rng: Random) -> str:
    name = next(iter(hdf5))
    values = hdf5[name][()] if isinstance(hdf5[name], h5py.Dataset) else np.zeros(3)
    kind = rng.choice(("renamed", "group", "huge", "odd", "odd", "value", "value", "linked"))
    if kind == "renamed":
        hdf5.move(name, rng.choice(("data", "../x", "Dataset")))
        return "dataset renamed"
    del hdf5[name]
    if kind == "group":
        hdf5.create_group(name)
    elif kind == "huge":
        shape = tuple(rng.choice((3, 50_000, 2_000_000)) for _ in range(max(1, values.ndim)))
        hdf5.create_dataset(name, shape, "f4", chunks=True)
        return f"a dataset of {shape}"
    elif kind == "linked":
        hdf5[name] = rng.choice((h5py.SoftLink("/nowhere"), h5py.ExternalLink("../../other.h5", "/x")))
    elif kind == "value" and values.size:
        flat = np.array(values).reshape(-1)
        absurd = rng.choice((np.nan, np.inf, -1, 0, 60000))
        flat[rng.randrange(flat.size)] = (
            absurd if flat.dtype.kind == "f" else int(np.nan_to_num(absurd, posinf=2**31 - 1))
        )
        hdf5[name] = flat.reshape(values.shape)
    else:
        hdf5[name] = rng.choice(ODD_ARRAYS)()
    return f"dataset: {kind}"


def array(file: Path, rng: Random) -> str:
    data = file.read_bytes()
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        np.save(buffer, rng.choice((*ODD_ARRAYS, lambda: np.array([{}, []], object)))())
        put(file, buffer.getvalue())
        return "another array"
    shape = rng.choice((b"(1000000, 1000000)", b"(-1, 5)", b"(0, 0)", b"(9,)", b"(2**99, 1)", b"[3, 4]", b"('a',)"))
    put(file, re.sub(rb"\([^)]*\)", shape, data, count=1))
    return f"shape {shape.decode()}"


# --- archives, meshes, streams ---


def zip_member(file: Path, rng: Random) -> str:
    """Write an archive again with one member's name, method or sizes changed."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, zlib.error, struct.error):
        return "left as it is"
    if not entries:
        return "left as it is"
    kind = rng.choice(("name", "name", "name", "removed", "twice", "encrypted", "method", "bomb", "content"))
    k = rng.randrange(len(entries))
    name, data = entries[k]
    if kind == "name":
        last = name.rsplit("/", 1)[-1]
        name = rng.choice(
            (f"../../{last}", f"/{last}", f"a/../{last}", f"..\\{last}", last.upper(), "", f"{last}/", "x" * 3000)
        )
    elif kind == "content":
        data = rng.choice((b"", data[: len(data) // 2], rng.randbytes(100)))
    elif kind == "bomb":
        data = bytes(200 << 20)
    entries[k] = name, data
    entries = entries[:k] + entries[k + 1 :] if kind == "removed" else entries + [entries[k]] * (kind == "twice")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for entry, content in entries:
            archive.writestr(zipfile.ZipInfo(entry or "empty"), content, zipfile.ZIP_DEFLATED)
    put(file, _marked(buffer.getvalue(), k, kind))
    return f"member {entries[min(k, len(entries) - 1)][0]:.40}: {kind}"


def _marked(data: bytes, member: int, kind: str) -> bytes:
    """Flags and method of a member in its central directory entry and its own header."""
    if kind not in ("encrypted", "method"):
        return data
    spoilt = bytearray(data)
    for mark, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = -1
        for _ in range(member + 1):
            at = spoilt.find(mark, at + 1)
        if at >= 0:
            spoilt[at + flags] |= 1 if kind == "encrypted" else 0
            spoilt[at + flags + 2] = 99 if kind == "method" else spoilt[at + flags + 2]
    return bytes(spoilt)


def glb_json(file: Path, rng: Random) -> str:
    """One value of the JSON part of a glTF file, lengths put right."""
    data = file.read_bytes()
    if data[:4] != b"glTF" or len(data) < 20:
        return "left as it is"
    length = struct.unpack_from("<I", data, 12)[0]
    try:
        told = json.loads(data[20 : 20 + length])
    except ValueError:
        return "left as it is"
    changed, what = _changed(told, rng, PATHS if rng.random() < 0.2 else VALUES)
    text = json.dumps(changed).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    put(file, struct.pack("<4sIII", b"glTF", 2, 20 + len(text) + len(rest), len(text)) + b"JSON" + text + rest)
    return what


def ply_header(file: Path, rng: Random) -> str:
    head, mark, body = file.read_bytes().partition(b"end_header\n")
    lines = head.splitlines(keepends=True)
    if len(lines) < 3 or not mark:
        return "left as it is"
    k = rng.randrange(1, len(lines))
    number = rng.choice((b"0", b"-1", b"4000000000", b"99999999999999999999", b"x"))
    line = lines[k]
    lines[k] = rng.choice((re.sub(rb"\d+\s*$", number + b"\n", line), b"", line * 2, line.replace(b"float", b"double")))
    put(file, b"".join(lines) + mark + body)
    return f"header line {line!r} is now {lines[k]!r:.60}"


def deflate_bomb(file: Path, rng: Random) -> str:
    """A deflated part that holds four gigabytes of nothing, in place of the first there is; or the file as a whole."""
    data = file.read_bytes()
    raw = file.name == "depth.bin"
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS if raw else zlib.MAX_WBITS)
    first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = first + block * 4095
    if raw:
        put(file, rng.choice((bomb, len(bomb).to_bytes(4, "little") + bomb)))
    elif (at := data.find(b"\x78\x01")) > 8:
        # A frame of a .sens file says how long its parts are before its colour, the first part.
        color = data.rfind(b"\xff\xd8\xff", 0, at)
        put(file, data[: color - 8] + struct.pack("<Q", len(bomb)) + data[color:at] + bomb)
    else:
        put(file, bomb)
    return "deflated zeros"


# --- shards ---


def parquet_value(file: Path, rng: Random) -> str:
    """One value of one row, within the schema or, where it does not fit, null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from hatch_data.shards import SCHEMA

    try:
        records = pq.read_table(file).to_pylist()
    except (pa.ArrowException, OSError, UnicodeError):  # it has been spoilt before
        return "left as it is"
    if not records:
        return "left as it is"
    record = rng.choice(records)
    name = rng.choice(SCHEMA.names)
    values = PATHS if name in ("id", "scene", "task", "frames", "layout", "form") and rng.random() < 0.7 else VALUES
    before = {name: record[name]}
    changed, what = _changed(before, rng, (*values, b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"))
    record.update({name: changed.get(name)})
    kind = SCHEMA.field(name).type
    try:
        column = pa.array([r[name] for r in records], kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, UnicodeError):
        record[name] = None
        column, what = pa.array([r[name] for r in records], kind), "null"
    # Other columns are as they were; a file without one, or with one of another type, is another form of damage.
    table = pq.read_table(file)
    at = table.schema.get_field_index(name)
    if rng.random() < 0.05:
        table = table.remove_column(at)
        what = "column gone"
    elif rng.random() < 0.05:
        table = table.set_column(at, name, pa.array(["x"] * len(records)))
        what = "a column of text"
    else:
        table = table.set_column(at, SCHEMA.field(name), column)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    put(file, buffer.getvalue())
    return f"{name}: {what}"
