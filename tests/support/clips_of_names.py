"""A folder of tiny videos that differ in length, as a fixture."""

from pathlib import Path

import pytest

from bsp_hf.encoder.video import VideoReader
from support.rendered import render_video


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """Three videos of 20, 12 and 5 frames, one of them in a folder, and one file that is no video."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "kitchen").mkdir()
    lossless = {"size": (48, 40), "codec": "ffv1"}
    render_video(folder / "b.mkv", 20, **lossless)
    render_video(folder / "kitchen" / "a.mkv", 12, **lossless)
    render_video(folder / "c.mkv", 5, **lossless)
    (folder / "broken.mp4").write_bytes(b"this is no video " * 50)
    (folder / "notes.txt").write_text("not a video, and not named like one")
    return folder


def count_frames(item) -> int:
    """Return the number of frames of a video wherever its bytes are."""
    with item.origin.open() as source, VideoReader(source) as video:
        return sum(1 for _ in video)
