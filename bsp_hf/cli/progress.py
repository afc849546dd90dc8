"""Shows how far the reading of one video is."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def show_progress(name: str, source: Any) -> Iterator[Callable[[float], None]]:
    """Yield what to call with the second that was reached; a bar shows it where standard error is a terminal.

    `source` is the video as the decoder takes it; that of a path says how long it is.
    """
    from pathlib import Path

    from tqdm import tqdm

    from bsp_hf.encoder.video import open_video
    from bsp_hf.encoder.video_source import VideoDecodeError

    layout = "{desc}: {n:.1f} of {total:.1f} s, {remaining} left" if sys.stderr.isatty() else None
    total = None
    if layout and isinstance(source, str | Path):
        try:
            with open_video(source) as video:
                total = video.metadata.duration_declared_s
        except (VideoDecodeError, OSError):
            pass  # reading it will say so
    if total is None:
        layout = "{desc}: {n:.1f} s"
    with tqdm(total=total, desc=name, bar_format=layout, leave=False, disable=None) as bar:

        def reach(time_s: float) -> None:
            bar.update(max(0.0, time_s - bar.n))

        yield reach
