"""Images tagged with how the camera was held, as phones tag them; pixels stay as they are."""

from __future__ import annotations

import zlib

from PIL import ExifTags, Image

PNG_HEADER_END = 8 + 12 + 13
PNG_TRAILER = 12


def tagged(data: bytes, orientation: int) -> bytes:
    """In EXIF: right behind the signature of a JPEG or the header of a PNG."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if data.startswith(b"\x89PNG"):
        return _inserted(data, PNG_HEADER_END, _chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    return _inserted(data, 2, _segment(exif.tobytes()))


def tagged_xmp(data: bytes, orientation: int) -> bytes:
    """In XMP."""
    text = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'
    if data.startswith(b"\x89PNG"):
        return _inserted(data, PNG_HEADER_END, _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text.encode()))
    return _inserted(data, 2, _segment(b"http://ns.adobe.com/xap/1.0/\0" + text.encode()))


def tagged_behind(data: bytes, orientation: int) -> bytes:
    """In EXIF, as late as the format allows: behind the pixels of a PNG, behind the tables of a JPEG, after fill."""
    piece = tagged(data, orientation)
    if data.startswith(b"\x89PNG"):
        chunk = piece[PNG_HEADER_END : PNG_HEADER_END + len(piece) - len(data)]
        return _inserted(data, len(data) - PNG_TRAILER, chunk)
    return _inserted(data, data.index(b"\xff\xda"), b"\xff" + piece[2 : 2 + len(piece) - len(data)])


def _inserted(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _segment(body: bytes) -> bytes:
    return b"\xff\xe1" + (2 + len(body)).to_bytes(2, "big") + body
