"""Frames of a video by number."""

from __future__ import annotations

import pickle
from pathlib import Path

import av
import numpy as np
import pytest

from hatch_data.errors import FrameError, ScanError
from hatch_data.scans import video
from hatch_data.scans.video import VideoFrame, frame_count
from tests.layouts.film import write_video

COUNT = 50


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each frame has its own grey; a key frame every 12, B-frames between."""
    path = tmp_path_factory.mktemp("video") / "rgb.mp4"
    write_video(path, [np.full((64, 96, 3), 5 * n, np.uint8) for n in range(COUNT)], key_every=12, b_frames=2)
    return path


def grey(path: Path, number: int) -> float:
    return float(VideoFrame(path, number).pixels().mean())


def test_every_frame_in_order_and_at_random(film: Path) -> None:
    assert frame_count(film) == COUNT
    assert VideoFrame(film, 0).size() == (96, 64)
    rng = np.random.default_rng(0)
    for number in [*range(COUNT), *rng.integers(0, COUNT, 40).tolist(), 49, 0, 13, 11, 12, 12]:
        assert abs(grey(film, number) - 5 * number) < 3
    assert pickle.loads(pickle.dumps(VideoFrame(film, 7))).read().startswith(b"\xff\xd8")


def test_frames_in_order_are_decoded_once_and_others_from_their_key_frame(
    film: Path, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "rgb.mp4"
    path.write_bytes(film.read_bytes())
    decoder = video._opened(path)
    seeks: list[int] = []

    class Watched:
        def __init__(self, container):
            self.container = container

        def seek(self, stamp, stream):
            seeks.append(stamp)
            self.container.seek(stamp, stream=stream)

        def decode(self, stream):
            return self.container.decode(stream)

    monkeypatch.setattr(decoder, "_container", Watched(decoder._container))
    for number in range(COUNT):
        decoder.frame(number)
    assert len(seeks) == 1
    decoder.frame(10)
    assert len(seeks) == 2
    decoder.frame(11)
    assert len(seeks) == 2
    decoder.frame(40)  # a key frame lies between: nearer than decoding on
    assert len(seeks) == 3


def test_a_frame_that_is_not_there_or_is_damaged_is_told(film: Path, tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=f"frame {COUNT} of {COUNT}") as error:
        VideoFrame(film, COUNT).pixels()
    assert error.value.reason == "unreadable_color"
    with av.open(str(film)) as container:
        packets = [p for p in container.demux(video=0) if p.pts is not None]
        place, size = packets[24].pos, packets[24].size
    data = bytearray(film.read_bytes())
    data[place : place + size] = bytes(size)
    spoiled = tmp_path / "rgb.mp4"
    spoiled.write_bytes(data)
    assert abs(grey(spoiled, 3) - 15) < 3
    lost = 0
    for number in range(20, 40):
        try:
            VideoFrame(spoiled, number).pixels()
        except FrameError as damaged:
            assert damaged.reason == "unreadable_color"
            lost += 1
    assert lost
    assert abs(grey(spoiled, 48) - 240) < 3


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rgb.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(ScanError, match=r"rgb\.mp4: cannot be opened[^\n]*$"):
        frame_count(path)


def test_what_a_video_says_of_itself_need_not_be_text(film: Path, tmp_path: Path) -> None:
    data = bytearray(film.read_bytes())
    data[24:28] = b"\xff" * 4  # a compatible brand
    spoilt = tmp_path / "rgb.mp4"
    spoilt.write_bytes(data)
    assert frame_count(spoilt) == COUNT
