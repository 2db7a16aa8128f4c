"""Where a build is written: a local folder, or a URL that fsspec knows (`s3://`, `gs://`, `memory://`).

Names are relative, with slashes. A local file appears whole, by a rename; an object store's objects do so by nature,
but are moved by copying.
"""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from hatch_data.errors import ShardError
from hatch_data.shards import commit, write_text

#: What a disk says that takes no more: never the fault of a scan.
NO_MORE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})


class LocalStorage:
    """A folder of this machine, or one that is mounted here."""

    def __init__(self, root: Path):
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def exists(self, name: str = "") -> bool:
        return (self.root / name).exists()

    def is_file(self, name: str = "") -> bool:
        return (self.root / name).is_file()

    def names(self, folder: str = "") -> list[str]:
        """What a folder holds, sorted; nothing where there is no such folder."""
        path = self.root / folder
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def read_text(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def write_text(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)

    def put(self, file: Path, name: str) -> None:
        """Take in a finished file from elsewhere."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        shutil.copyfile(file, partial)
        commit(partial, path)

    def move(self, source: str, target: str) -> None:
        """Rename a file or a folder; an old file at `target` is replaced."""
        path = self.root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.root / source).replace(path)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder and what it holds, if it is there."""
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


P = ParamSpec("P")
T = TypeVar("T")


def _answered(method: Callable[P, T]) -> Callable[P, T]:
    """Whatever a store's own library raises (no credentials, no such host) becomes an `OSError`, as it is of a disk."""

    @wraps(method)
    def called(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return method(*arguments, **named)
        except OSError:
            raise
        except Exception as error:
            raise OSError(" ".join(str(error).split()) or type(error).__name__) from error

    return called


class RemoteStorage:
    """A place that fsspec knows by its URL."""

    def __init__(self, url: str):
        self._url = url.rstrip("/")
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise ShardError(f'{url}: needs fsspec; pip install "hatch-spatial[ray]", or name a local folder') from None
        try:
            self._files, self._root = url_to_fs(self._url)
        except (ImportError, ValueError) as error:
            raise ShardError(
                f"{url}: cannot be opened ({error}); install what it needs, or name another --out"
            ) from None
        # What the store's library logs, tracebacks among it, is told in one line by the error that follows.
        logging.getLogger(type(self._files).__module__.partition(".")[0]).setLevel(logging.CRITICAL)

    def __str__(self) -> str:
        return self._url

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _fresh(self) -> Any:
        """The file system, without what it remembers of earlier listings."""
        self._files.invalidate_cache()
        return self._files

    @_answered
    def exists(self, name: str = "") -> bool:
        return bool(self._fresh().exists(self._at(name)))

    @_answered
    def is_file(self, name: str = "") -> bool:
        return bool(self._fresh().isfile(self._at(name)))

    @_answered
    def names(self, folder: str = "") -> list[str]:
        """What a folder holds, sorted; nothing where there is no such folder."""
        try:
            found = self._fresh().ls(self._at(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for path in found if (name := str(path).rstrip("/").rsplit("/", 1)[-1]))

    @_answered
    def read_text(self, name: str) -> str:
        return str(self._files.cat_file(self._at(name)).decode())

    @_answered
    def write_text(self, name: str, text: str) -> None:
        self._make_folder(name)
        self._files.pipe_file(self._at(name), text.encode())

    @_answered
    def put(self, file: Path, name: str) -> None:
        """Take in a finished file from this machine."""
        self._make_folder(name)
        self._files.put_file(str(file), self._at(name))

    @_answered
    def move(self, source: str, target: str) -> None:
        """Copy a file within the store, then remove the source: may be cut off in between, and repeated."""
        self._make_folder(target)
        self._files.cp_file(self._at(source), self._at(target))
        self._files.rm_file(self._at(source))

    @_answered
    def remove(self, name: str) -> None:
        """Remove a file, or a folder and what it holds, if it is there."""
        if self.exists(name):
            self._files.rm(self._at(name), recursive=True)

    def _make_folder(self, name: str) -> None:
        """For stores that have folders; to the others this is nothing."""
        self._files.makedirs(self._at(name).rsplit("/", 1)[0], exist_ok=True)


Storage = LocalStorage | RemoteStorage


def storage(out: str | Path) -> Storage:
    """The storage that a path or a URL names."""
    return RemoteStorage(str(out)) if "://" in str(out) else LocalStorage(Path(out))


@contextmanager
def writing(where: object) -> Iterator[None]:
    """Within, what the disk refuses becomes a `ShardError` that says where and why."""
    try:
        yield
    except OSError as error:
        raise ShardError(refused(where, error)) from None


def refused(where: object, error: BaseException) -> str:
    """What a user is told of an output that cannot be written."""
    why = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return f"{where}: cannot be written ({why}); put that right and run the same command again, it goes on from here"
