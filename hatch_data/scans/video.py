"""Frames of a video by number, in order of presentation, through PyAV (FFmpeg).

A video is indexed once, without decoding. Frames asked for in order are decoded once each; any other is reached from
the key frame before it. Decoders stay open per process, a few at a time.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hatch_data.errors import FrameError, ScanError
from hatch_data.scans import files
from hatch_data.scans.recoded import Pixels, Recoded

#: Videos kept open in a process.
OPEN_VIDEOS = 4


@dataclass(frozen=True)
class VideoFrame:
    """Frame `number`, from 0, of a video; small, and pickles."""

    path: Path
    number: int

    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, without decoding."""
        return _opened(self.path).size

    def pixels(self) -> Pixels:
        """(height, width, 3) uint8. Raises `FrameError` `unreadable_color` where the video does not decode there."""
        return _opened(self.path).frame(self.number)

    def read(self) -> bytes:
        """The frame as JPEG."""
        return Recoded(self.pixels)()


def frame_count(path: Path) -> int:
    """How many frames the video shows. Raises `ScanError` where it cannot be opened."""
    return len(_opened(path).stamps)


def _opened(path: Path) -> _Decoder:
    # A decoder must not be shared with a forked child: both would move one file position.
    return _decoder(path, os.getpid())


@lru_cache(maxsize=OPEN_VIDEOS)
def _decoder(path: Path, process: int) -> _Decoder:
    return _Decoder(path)


class _Decoder:
    """One open video. `stamps` are the presentation times of its frames in units of its time base, in order."""

    def __init__(self, path: Path):
        av = files.needs("av")
        self._path, self._error = path, av.error.FFmpegError
        self._lock = threading.Lock()
        try:
            # What a file says of itself need not be text.
            self._container: Any = av.open(str(path), metadata_errors="replace")
            self._stream = self._container.streams.video[0]
            if self._stream.codec_context is None:
                raise ScanError(f"{path}: a video in a code that is not known; copy the file again, or convert it")
            packets = [p for p in self._container.demux(self._stream) if p.pts is not None and not p.is_discard]
        except (self._error, IndexError, OSError) as error:
            raise ScanError(f"{path}: cannot be opened as a video ({error}); copy the file again") from error
        self._stream.thread_type = "AUTO"
        self.size = (self._stream.codec_context.width, self._stream.codec_context.height)
        self.stamps: NDArray[np.int64] = np.unique(np.array([p.pts for p in packets], np.int64))
        self._keys: NDArray[np.int64] = np.unique(np.array([p.pts for p in packets if p.is_keyframe], np.int64))
        if not len(self._keys):
            raise ScanError(f"{path}: a video without frames; copy the file again")
        self._frames: Any = None
        self._next_stamp = 0

    def frame(self, number: int) -> Pixels:
        """Frame `number`, (height, width, 3). Raises `FrameError` where there is none or it does not decode."""
        if not 0 <= number < len(self.stamps):
            raise FrameError("unreadable_color", f"{self._path}: frame {number} of {len(self.stamps)}")
        stamp = int(self.stamps[number])
        with self._lock:
            try:
                self._approach(stamp)
                for decoded in self._frames:
                    self._next_stamp = decoded.pts + 1
                    if decoded.pts >= stamp:
                        break
                else:
                    decoded = None
            except (self._error, OSError) as error:
                self._frames = None
                raise FrameError(
                    "unreadable_color", f"{self._path}: frame {number} does not decode ({error}); copy the file again"
                ) from error
            if decoded is None or decoded.pts != stamp:
                self._frames = None
                raise FrameError("unreadable_color", f"{self._path}: frame {number} is damaged; copy the file again")
            return np.asarray(decoded.to_ndarray(format="rgb24"))

    def _approach(self, stamp: int) -> None:
        """Stand so that the decoder comes upon `stamp` soonest: go on, or start at the key frame before it."""
        key = self._keys[max(int(np.searchsorted(self._keys, stamp, side="right")) - 1, 0)]
        coming = self.stamps[int(np.searchsorted(self.stamps, self._next_stamp)) :][:1]
        if self._frames is None or not len(coming) or not key <= coming[0] <= stamp:
            self._container.seek(int(key), stream=self._stream)
            self._frames = self._container.decode(self._stream)
            self._next_stamp = int(key)
