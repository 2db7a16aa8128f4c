"""Files of a scan inside a zip archive, read where they lie and never extracted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import BadZipFile, ZipFile

from hatch_data.errors import ScanError

#: No file of a scan that is read whole is larger: what says so is broken, or made to fill memory.
LARGEST_BYTES = 64 << 20


@dataclass(frozen=True)
class ZipMember:
    """One file of an archive. Small and pickles: the archive is opened once a process, when first read."""

    archive: Path
    member: str

    def __str__(self) -> str:
        return f"{self.archive}/{self.member}"

    @property
    def name(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.member).name

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Its bytes as a stream; only `rb`."""
        if mode != "rb":
            raise ValueError(f"a member of an archive is opened with 'rb', not '{mode}'")
        try:
            return _opened(self.archive).open(self.member)
        except KeyError as error:
            raise OSError(f"no {self.member} in the archive") from error

    def read_bytes(self) -> bytes:
        """All of it; its checksum is tested. Raises `OSError` where it is larger than `LARGEST_BYTES`."""
        with self.open() as file:
            data = file.read(LARGEST_BYTES + 1)
        if len(data) > LARGEST_BYTES:
            raise OSError(f"larger than {LARGEST_BYTES >> 20} MiB")
        return data


def members(archive: Path) -> list[ZipMember]:
    """The files of an archive by name. Raises `ScanError` where it is no whole zip archive."""
    try:
        return [ZipMember(archive, name) for name in sorted(_opened(archive).namelist()) if not name.endswith("/")]
    except (OSError, BadZipFile) as error:
        raise ScanError(f"{archive}: no whole zip archive ({error}); copy it again") from error


@lru_cache(maxsize=4)
def _opened(archive: Path) -> ZipFile:
    return ZipFile(archive)
