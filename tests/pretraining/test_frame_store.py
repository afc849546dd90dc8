"""Frames on demand: what is kept decoded equals what is decoded, and belongs to the file as it is now."""

import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from support.clip_folder import read_numbers, render_video

from bsp_hf.encoder.video_source import VideoDecodeError
from bsp_hf.pretraining import frame_store as frame_store_module
from bsp_hf.pretraining.frame_store import FrameStore
from bsp_hf.pretraining.sources import TrimmedVideo
from bsp_hf.videos.items import VideoBytes


@dataclass(frozen=True)
class Named(VideoBytes):
    """A video in memory whose stamp is a name."""

    name: str = ""

    def stamp(self) -> str:
        return self.name


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> TrimmedVideo:
    path = render_video(tmp_path_factory.mktemp("videos") / "clip.mp4", 30, size=(96, 64), gop=8)
    return TrimmedVideo(path, "run", "clip")


FRAMES = np.array([3, 4, 5, 17, 17, 29, 0])


def test_frames_come_in_the_order_asked_for(video):
    frames = FrameStore().read(video, FRAMES)
    assert frames.shape == (7, 64, 96, 3) and frames.dtype == np.uint8
    assert read_numbers(frames) == FRAMES.tolist()


def test_kept_frames_equal_decoded_ones_where_nothing_is_resized(video, tmp_path):
    direct = FrameStore().read(video, FRAMES)
    for short_side in (64, 128):
        store = FrameStore(tmp_path, short_side)
        for _ in range(2):
            kept = store.read(video, FRAMES)
            np.testing.assert_array_equal(kept, direct)
            assert kept.flags.writeable and kept.flags.owndata


def test_kept_frames_are_shrunk_to_the_short_side_and_decoded_once(video, tmp_path, monkeypatch):
    store = FrameStore(tmp_path, short_side=32)
    first = store.read(video, FRAMES)
    assert first.shape == (7, 32, 48, 3)
    assert read_numbers(first) == FRAMES.tolist()
    monkeypatch.setattr(frame_store_module, "VideoReader", None)
    np.testing.assert_array_equal(FrameStore(tmp_path, short_side=32).read(video, FRAMES), first)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]


def test_a_video_is_shrunk_while_it_is_decoded(tmp_path):
    """At full size, only a few frames are in memory at any moment."""
    path = render_video(tmp_path / "clip.mp4", 120, size=(320, 240))
    store, video = FrameStore(tmp_path / "kept", short_side=24), TrimmedVideo(path, "run", "clip")
    frame_bytes = 320 * 240 * 3
    tracemalloc.start()
    try:
        kept = store.read(video, np.arange(120))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept.shape == (120, 24, 32, 3) and read_numbers(kept) == list(range(120))
    assert peak_bytes < 40 * frame_bytes


def test_a_changed_file_is_decoded_anew(tmp_path):
    path = tmp_path / "clip.mp4"
    video = TrimmedVideo(path, "run", "clip")
    for folder in (None, tmp_path / "kept"):
        store = FrameStore(folder)
        render_video(path, 12, size=(48, 48))
        assert store.read(video, np.array([11])).shape == (1, 48, 48, 3)
        render_video(path, 20, size=(64, 64))
        assert store.read(video, np.array([19])).shape == (1, 64, 64, 3)


@pytest.mark.parametrize("frames", [[30], [0, -1]])
def test_frames_that_do_not_exist_are_an_error_either_way(video, tmp_path, frames):
    for store in (FrameStore(), FrameStore(tmp_path)):
        with pytest.raises(IndexError):
            store.read(video, np.array(frames))


def test_videos_without_a_file_give_the_same_frames(video, tmp_path):
    stored = replace(video, path=Path("cell.mp4"), origin=VideoBytes(video.path.read_bytes()))
    expected = FrameStore().read(video, FRAMES)
    for store in (FrameStore(), FrameStore(tmp_path)):
        np.testing.assert_array_equal(store.read(stored, FRAMES), expected)
        assert store.index(stored).fps == 25


def test_unreadable_video_is_an_error_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video at all")
    broken = TrimmedVideo(path, "run", "clip")
    for store in (FrameStore(), FrameStore(tmp_path / "kept")):
        with pytest.raises(VideoDecodeError, match=r"broken.mp4"):
            store.read(broken, np.array([0]))
    assert not (tmp_path / "kept").exists()


def test_indices_are_made_once_and_the_oldest_are_dropped(video, monkeypatch):
    made = []
    index_frames = frame_store_module.index_frames
    monkeypatch.setattr(
        frame_store_module, "index_frames", lambda path: made.append(path) or index_frames(path)
    )
    monkeypatch.setattr(frame_store_module, "_MOST_INDICES", 2)
    store = FrameStore()
    data = video.path.read_bytes()
    videos = [replace(video, origin=Named(data, stamp)) for stamp in "abc"]
    for source in (videos[0], videos[0], videos[1], videos[0]):
        store.index(source)
    assert len(made) == 2
    store.index(videos[2])  # drops the first
    store.index(videos[1])
    assert len(made) == 3
    store.index(videos[0])
    assert len(made) == 4
