"""Render small videos whose pictures carry their frame number, so that frame accuracy is asserted exactly."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

NUMBER_BITS = 12
CHECK_BITS = 4
COLUMNS, ROWS = 4, 4
DARK, BRIGHT = 30, 220


def _check(number: int) -> int:
    """Four check bits; a wrong, mirrored or turned picture fails them, and black or white never passes."""
    return (number ^ (number >> 4) ^ (number >> 8) ^ 0b1001) & 0b1111


def numbered_picture(number: int, width: int, height: int) -> np.ndarray:
    """Paint `number` as a `(height, width, 3)` uint8 picture of 4 x 4 dark and bright blocks.

    Twelve blocks hold the number, four a check. The left block column is tinted, so that colour planes and
    mirroring show as well.
    """
    if not 0 <= number < 1 << NUMBER_BITS:
        raise ValueError(f"number must be in [0, {1 << NUMBER_BITS}), got {number}")
    code = number << CHECK_BITS | _check(number)
    picture = np.empty((height, width, 3), np.uint8)
    for block in range(COLUMNS * ROWS):
        row, column = divmod(block, COLUMNS)
        rows = slice(row * height // ROWS, (row + 1) * height // ROWS)
        columns = slice(column * width // COLUMNS, (column + 1) * width // COLUMNS)
        picture[rows, columns] = BRIGHT if code >> block & 1 else DARK
    # A slow gradient gives the encoder something to predict between pictures; far weaker than the blocks.
    picture += ((np.arange(width) + 3 * number) % 32 // 2).astype(np.uint8)[None, :, None]
    return picture


def read_number(picture: np.ndarray) -> int:
    """Read the number of a decoded `(height, width, 3)` picture of any size; -1 where there is none."""
    height, width = picture.shape[:2]
    code = 0
    for block in range(COLUMNS * ROWS):
        row, column = divmod(block, COLUMNS)
        y, x = (2 * row + 1) * height // (2 * ROWS), (2 * column + 1) * width // (2 * COLUMNS)
        dy, dx = max(height // (4 * ROWS), 1), max(width // (4 * COLUMNS), 1)
        code |= int(picture[y - dy : y + dy, x - dx : x + dx].mean() > 128) << block
    number, check = code >> CHECK_BITS, code & (1 << CHECK_BITS) - 1
    return number if check == _check(number) else -1


def read_numbers(pictures: Iterable[np.ndarray]) -> list[int]:
    """Numbers of several pictures, in their order."""
    return [read_number(picture) for picture in pictures]


def need_encoder(codec: str) -> None:
    """Skip the test where this PyAV was built without an encoder."""
    try:
        av.codec.Codec(codec, "w")
    except ValueError:  # UnknownCodecError
        pytest.skip(f"this PyAV has no {codec} encoder")


def render_video(
    path: Path,
    num_frames: int = 30,
    *,
    size: tuple[int, int] = (96, 64),
    fps: float | Fraction = 25,
    times_s: Sequence[float] | None = None,
    codec: str = "libx264",
    gop: int = 12,
    b_frames: int = 2,
    pixel_format: str | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    audio: str | None = None,
    audio_s: float | None = None,
    cover_art: bool = False,
    codec_options: dict[str, str] | None = None,
    format_options: dict[str, str] | None = None,
    container_format: str | None = None,
) -> Path:
    """Write a video whose frame k carries the number k.

    Args:
        path: File to write; its extension chooses the container.
        num_frames: Frames; numbers run from 0.
        size: `(width, height)` of the coded picture.
        fps: Constant frame rate, unless `times_s` is given.
        times_s: Time of each frame in seconds (variable frame rate, late start); `num_frames` is its length
            then.
        codec: Encoder name, such as `libx264`, `mpeg4`, `libvpx-vp9`, `ffv1`, `mjpeg`.
        gop: Most frames between two keyframes; 1 is all-intra.
        b_frames: Most consecutive B-frames.
        pixel_format: Coded pixel format; None takes the usual one of the codec.
        rotation: Degrees counter-clockwise by which a player must turn the picture.
        mirrored: A player must mirror the picture left to right after turning it.
        audio: `"first"` or `"last"` adds a silent audio stream before or after the video.
        audio_s: Length of the audio in seconds; None takes that of the video.
        cover_art: Add an attached picture as a second, earlier-listed video stream (Matroska has none; use
            mp4).
        codec_options: Options for the encoder.
        format_options: Options for the muxer, such as `{"movflags": "faststart"}`.
        container_format: Muxer name where the extension does not tell.
    """
    need_encoder(codec)
    rate = Fraction(fps).limit_denominator(100000)
    times = [Fraction(repr(float(t))) for t in times_s] if times_s is not None else None
    num_frames = len(times) if times is not None else num_frames
    pixel_format = pixel_format or {"ffv1": "bgr0", "mjpeg": "yuvj420p", "qtrle": "argb", "gif": "rgb8"}.get(
        codec, "yuv420p"
    )
    options = dict(codec_options or {})
    if codec == "libx264":
        # One thread and no scene cuts: keyframes lie where `gop` puts them, and the file is the same on any
        # machine.
        options = {
            "preset": "veryfast",
            "crf": "20",
            "threads": "1",
            "sc_threshold": "0",
            "keyint_min": str(gop),
        } | options
    elif codec == "libvpx-vp9":
        options = {"cpu-used": "8", "deadline": "realtime", "threads": "1"} | options

    with av.open(str(path), "w", format=container_format, options=format_options or {}) as container:
        sound = container.add_stream("aac", rate=16000, layout="mono") if audio == "first" else None
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.codec_context.gop_size = gop
        if codec in ("libx264", "libx265", "mpeg4", "mpeg2video"):
            stream.codec_context.max_b_frames = b_frames
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 12800)
        if rotation or mirrored:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a display matrix")
            stream.set_display_rotation(rotation, hflip=mirrored)
        if audio == "last":
            sound = container.add_stream("aac", rate=16000, layout="mono")
        if cover_art:
            cover = container.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic.value
            container.start_encoding()
            blank = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 255, np.uint8), "rgb24")
            container.mux(cover.encode(blank) + cover.encode())

        end_s = float(times[-1] if times else num_frames / rate)
        num_audio = round((audio_s if audio_s is not None else end_s) * 16000 / 1024) if sound else 0
        sent = 0
        for k in range(num_frames):
            frame = av.VideoFrame.from_ndarray(numbered_picture(k, *size), "rgb24")
            if times is not None:
                frame.time_base = Fraction(1, 12800)
                frame.pts = round(times[k] * 12800)
            else:
                frame.time_base = 1 / rate
                frame.pts = k
            container.mux(stream.encode(frame))
            while sent < min(num_audio, (k + 1) * num_audio // num_frames):
                container.mux(sound.encode(_silence(sent)))
                sent += 1
        container.mux(stream.encode())
        if sound:
            container.mux(sound.encode())
    return Path(path)


def _silence(index: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 16000, index * 1024, Fraction(1, 16000)
    return frame


def remux(
    path: Path,
    target: Path,
    edit: Callable[[av.Packet], object] = lambda packet: None,
    container_format: str | None = None,
    format_options: dict[str, str] | None = None,
) -> Path:
    """Copy the video stream of a file packet by packet, each as `edit` has left it; False leaves it out."""
    with (
        av.open(str(path)) as source,
        av.open(str(target), "w", format=container_format, options=format_options or {}) as copy,
    ):
        stream = copy.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size and edit(packet) is not False:
                packet.stream = stream
                copy.mux(packet)
    return target


def read_all(source, **options):
    """Frames, report and metadata of a video, by the reader under test."""
    from bsp_hf.encoder.video import VideoReader

    with VideoReader(source, **options) as video:
        frames = list(video)
    return frames, video.report, video.metadata


# One video of each kind: its name and how it is rendered.
CODECS = {
    "h264": ("a.mp4", {}),
    "h264 all intra": ("a.mp4", {"gop": 1, "b_frames": 0}),
    "h264 one keyframe": ("a.mp4", {"gop": 250, "b_frames": 3}),
    "h264 open gop": ("a.mkv", {"codec_options": {"x264-params": "open-gop=1:bframes=2"}}),
    "h264 fragmented": ("a.mp4", {"format_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "h264 index first": ("a.mp4", {"format_options": {"movflags": "faststart"}}),
    "h264 transport stream": ("a.ts", {}),
    "h264 raw": ("a.h264", {}),
    "h264 flv": ("a.flv", {}),
    "h264 10 bit": ("a.mp4", {"pixel_format": "yuv420p10le"}),
    "mpeg4 b-frames": ("a.mp4", {"codec": "mpeg4"}),
    "mpeg4 avi": ("a.avi", {"codec": "mpeg4", "b_frames": 0}),
    "mpeg4 avi b-frames": ("a.avi", {"codec": "mpeg4"}),
    "mpeg2": ("a.ts", {"codec": "mpeg2video"}),
    "vp9": ("a.webm", {"codec": "libvpx-vp9"}),
    "vp8": ("a.webm", {"codec": "libvpx"}),
    "ffv1": ("a.mkv", {"codec": "ffv1"}),
    "mjpeg": ("a.avi", {"codec": "mjpeg"}),
    "qtrle": ("a.mov", {"codec": "qtrle"}),
    "gif": ("a.gif", {"codec": "gif", "fps": 20}),
    "audio first": ("a.mp4", {"audio": "first"}),
    "audio longer": ("a.mkv", {"audio": "last", "audio_s": 6}),
    "cover art": ("a.mp4", {"cover_art": True}),
}


def skip_avi_of_old_muxers() -> None:
    """Skip a test of an AVI file where PyAV writes it with another frame rate than it was told."""
    if int(av.__version__.split(".")[0]) < 18:
        pytest.skip("PyAV 17 writes AVI at 600 frames a second")
