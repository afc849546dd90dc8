"""Segments as clips of their own: packets copied from a keyframe on, or frames encoded anew."""

import io
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from bsp_hf.encoder.container_structure import MOV_CONTAINER
from bsp_hf.encoder.frame_index import FrameIndex
from bsp_hf.encoder.video import VideoReader, index_frames
from bsp_hf.encoder.video_file import VideoFile, choose_video_stream
from bsp_hf.encoder.video_records import Frame
from bsp_hf.files import atomic_file, path_in_folder

from .types import SegmentedVideo, VideoSegment

CutMode = Literal["copy", "exact"]
CUT_MODES = ("copy", "exact")
# What packets are copied into, by what they come from: suffix and muxer.
_COPIES = {MOV_CONTAINER: (".mp4", "mp4"), "matroska,webm": (".mkv", "matroska"), "avi": (".avi", "avi")}
_TICKS_A_SECOND = 90_000
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def write_clips(
    video: Any, divided: SegmentedVideo, folder: str | Path, mode: CutMode = "exact"
) -> list[Path]:
    """Write a clip of each segment, `folder/VIDEO_ID-001.mp4` and so on, each of which appears whole.

    Args:
        video: The video that was divided: a path, bytes, or an open file, which is read whole.
        divided (`SegmentedVideo`): Its segments.
        folder (`str` or `Path`): Where to write; files of the same names are replaced.
        mode (`str`, *optional*, defaults to `"exact"`): `"exact"` encodes the frames of the segment, and no
            other, as H.264, and sound as AAC. `"copy"` copies packets, which loses no quality and takes no
            time, from the last keyframe up to the start, so that a clip may begin before its segment.

    Returns:
        `list[Path]`: The clips in their order.

    Raises:
        ValueError: If the mode is unknown, or packets of this file cannot be copied from the middle.
        VideoDecodeError: If the video cannot be read.
    """
    if mode not in CUT_MODES:
        raise ValueError(f"mode {mode!r} is none of {', '.join(CUT_MODES)}.")
    if not isinstance(video, (str, Path, bytes)):
        video.seek(0)
        video = video.read()  # pictures and sound are read side by side
    if mode == "exact":
        paths = clip_paths(divided, Path(folder), ".mp4")
        _encode_clips(video, divided, paths)
        return paths
    index = index_frames(video)
    suffix, muxer = copy_format(video, divided, index)
    paths = clip_paths(divided, Path(folder), suffix)
    for path, segment in zip(paths, divided.segments, strict=True):
        with atomic_file(path) as temporary:
            _copy_clip(video, divided, index, segment, temporary, muxer)
    return paths


def clip_paths(divided: SegmentedVideo, folder: Path, suffix: str) -> list[Path]:
    """Return the files of the clips of a video."""
    digits = max(3, len(str(len(divided.segments))))
    numbers = range(1, len(divided.segments) + 1)
    return [path_in_folder(folder, f"{divided.video_id}-{number:0{digits}d}", suffix) for number in numbers]


def copy_format(video: Any, divided: SegmentedVideo, index: FrameIndex) -> tuple[str, str]:
    """Return suffix and muxer of copied clips; raise where the file cannot be cut at keyframes."""
    with VideoFile(video, num_threads=1, timeout_s=60.0) as opened:
        container = opened.container_name
    if not index.is_seekable or container not in _COPIES:
        raise ValueError(
            f"{divided.path or divided.video_id} cannot be cut by copying: its packets do not tell its "
            "frames and keyframes without doubt. Cut it exactly (--cut exact)."
        )
    if container == MOV_CONTAINER and str(divided.path or "").lower().endswith(".mov"):
        return ".mov", "mov"
    return _COPIES[container]


def _copy_clip(
    video: Any, divided: SegmentedVideo, index: FrameIndex, segment: VideoSegment, target: Path, muxer: str
) -> None:
    positions = index.positions
    first = positions[segment.start_frame]
    keyframe = int(np.searchsorted(index.keyframe_positions, first, side="right")) - 1
    position = index.keyframe_positions[keyframe]
    stamp = int(index.pts[positions == position][0])
    num_packets = int(positions[segment.start_frame : segment.end_frame].max() + 1 - position)
    with av.open(_reopen(video)) as source, av.open(str(target), "w", format=muxer) as clip:
        stream = choose_video_stream(source)
        streams = (stream, *source.streams.audio)
        copied = {one.index: clip.add_stream_from_template(one) for one in streams}
        source.seek(int(index.keyframe_stamps[keyframe]), stream=stream)
        start_s = stamp * stream.time_base
        end_s = Fraction(segment.end_s) + int(index.pts[0]) * stream.time_base
        num_copied, sound_is_over = 0, len(streams) == 1
        for packet in source.demux(*streams):
            if packet.dts is None or not packet.size:
                continue
            if packet.stream.index == stream.index:
                # Seeking may lead to an earlier keyframe.
                is_wanted = num_copied < num_packets and (num_copied > 0 or packet.pts == stamp)
                num_copied += is_wanted
            else:
                is_wanted = start_s <= packet.pts * packet.time_base < end_s
                sound_is_over = sound_is_over or packet.pts * packet.time_base >= end_s
            if num_copied == num_packets and sound_is_over and not is_wanted:
                break
            if is_wanted:
                shift = round(start_s / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copied[packet.stream.index]
                clip.mux(packet)
        if num_copied < num_packets:
            raise ValueError(
                f"{divided.path or divided.video_id}: {num_copied} of {num_packets} packets came from a "
                "keyframe on; cut it exactly (--cut exact)."
            )


def _encode_clips(video: Any, divided: SegmentedVideo, paths: list[Path]) -> None:
    """Read the video once and write its clips one after the other."""
    first, last = divided.segments[0].start_frame, divided.segments[-1].end_frame
    with VideoReader(video) as reader:
        frames = (frame for frame in takewhile(lambda one: one.index < last, reader) if frame.index >= first)
        for path, segment in zip(paths, divided.segments, strict=True):
            with atomic_file(path) as temporary, av.open(str(temporary), "w", format="mp4") as clip:
                _encode_clip(video, divided, segment, frames, clip)


def _encode_clip(
    video: Any,
    divided: SegmentedVideo,
    segment: VideoSegment,
    frames: Iterator[Frame],
    clip: Any,  # Any: a container of PyAV
) -> None:
    rate = divided.frame_rate
    unit_s = 1 / rate if divided.has_constant_rate else Fraction(1, _TICKS_A_SECOND)
    stream = clip.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "fast"})
    # x264 wants even sizes: of an odd one the last row or column is left out.
    width, height = divided.width // 2 * 2, divided.height // 2 * 2
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.codec_context.time_base = unit_s
    stream.codec_context.colorspace, stream.codec_context.color_range = Colorspace.ITU601, ColorRange.MPEG
    with av.open(_reopen(video)) as source:
        sounds = [(one, _add_sound(clip, one)) for one in source.streams.audio[:1]]
        for frame in islice(frames, segment.end_frame - segment.start_frame):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image[:height, :width]), "rgb24")
            time_s = Fraction(frame.time_s) - Fraction(segment.start_s)
            picture.pts, picture.time_base = round(time_s / unit_s), unit_s
            clip.mux(stream.encode(picture))
        clip.mux(stream.encode())
        for one, sound in sounds:
            zero_s = _start_of(choose_video_stream(source))
            span_s = (zero_s + Fraction(segment.start_s), zero_s + Fraction(segment.end_s))
            for samples in _samples_between(source, one, span_s):
                clip.mux(sound.encode(samples))
            clip.mux(sound.encode())


def _add_sound(clip: Any, stream: Any) -> Any:  # Any: PyAV
    sound = clip.add_stream("aac", rate=stream.rate if stream.rate in _AAC_RATES else 48_000)
    sound.layout = "mono" if stream.channels == 1 else "stereo"
    return sound


def _samples_between(source: Any, stream: Any, span_s: tuple[Fraction, Fraction]) -> Iterator[Any]:
    """Yield the sound of a range of the file's own seconds, from its first sample on."""
    unit_s = stream.time_base
    source.seek(max(0, int((span_s[0] - 1) / unit_s)), stream=stream)
    num_sent = 0
    for samples in source.decode(stream):
        if samples.pts is None:
            continue
        rate = samples.sample_rate
        start = round((span_s[0] - samples.pts * unit_s) * rate)
        end = round((span_s[1] - samples.pts * unit_s) * rate)
        if end <= 0:
            return
        if start >= samples.samples:
            continue
        kept = _slice_samples(samples, max(start, 0), min(end, samples.samples))
        # Sound that begins behind the picture keeps its distance.
        kept.pts = num_sent = num_sent or max(-start, 0)
        kept.time_base = Fraction(1, rate)
        num_sent += kept.samples
        yield kept


def _slice_samples(samples: Any, start: int, end: int) -> Any:
    if (start, end) == (0, samples.samples):
        return samples
    width = 1 if samples.format.is_planar else samples.layout.nb_channels
    kept = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples.to_ndarray()[:, start * width : end * width]),
        format=samples.format.name,
        layout=samples.layout.name,
    )
    kept.sample_rate = samples.sample_rate
    return kept


def _reopen(video: Any) -> Any:
    return io.BytesIO(video) if isinstance(video, bytes) else str(Path(video).absolute())


def _start_of(stream: Any) -> Fraction:
    return Fraction(stream.start_time or 0) * stream.time_base
