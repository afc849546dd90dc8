"""Write frames as an H.264 file without sound; clips of videos are written in `localization/segments`."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np

from bsp_hf.files import atomic_file

_CODEC: Final = "libx264"


def write_h264_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: int | Fraction = 25,
    crf: int = 23,
    options: Mapping[str, str] | None = None,
) -> int:
    """Encode frames into an H.264 mp4 file with a keyframe at least every second; return their number.

    The frames are uint8 `(height, width, 3)`, RGB, all of one even size. `crf` is the constant rate factor of
    x264; lower is better and larger. `options` are further ones of FFmpeg's libx264. The file appears under
    its name only when it is whole.
    """
    with atomic_file(path) as temporary:
        num_frames = _encode(temporary, frames, fps, crf, options or {})
        if num_frames == 0:
            raise ValueError(f"{path} would hold no frame; pass at least one.")
    return num_frames


def _encode(
    path: Path, frames: Iterable[np.ndarray], fps: int | Fraction, crf: int, further: Mapping[str, str]
) -> int:
    num_frames = 0
    # One thread, because x264's output depends on their number and frames this small gain nothing from more.
    # No macroblock tree, because with it one input gave several outputs at a width of 48 pixels.
    options = {
        "crf": str(crf),
        "preset": "veryfast",
        "g": str(max(1, round(fps))),
        "threads": "1",
        "x264-params": "mbtree=0",
        **further,
    }
    with av.open(str(path), "w", format="mp4") as container:
        try:
            stream = container.add_stream(_CODEC, rate=fps, options=options)
        except ValueError as error:  # PyAV's UnknownCodecError
            raise RuntimeError(
                f"This PyAV has no {_CODEC}; install the wheel of PyPI: pip install av"
            ) from error
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            height, width = frame.shape[:2]
            if num_frames == 0:
                if height % 2 or width % 2:
                    raise ValueError(f"H.264 needs an even width and height, got {width}x{height} px.")
                stream.width, stream.height = width, height
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            num_frames += 1
        if num_frames:
            container.mux(stream.encode())
    return num_frames
