"""Which frames a file holds, as far as its packets tell, and the way to them by seeking."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .coded_pictures import find_nal_length_size, holds_picture, starts_anew
from .container_structure import MOV_CONTAINER
from .frame_times import FrameClock
from .video_file import SeekingFailedError, VideoFile
from .video_records import Completeness, VideoMetadata, VideoReport
from .video_source import VideoDecodeError

# Codecs whose every packet is one shown frame. Not among them: VP8, which has packets that are never shown.
_PLAIN_CODECS = "h264 hevc mpeg4 vp9 av1 mjpeg ffv1 prores dnxhd huffyuv ffvhuff utvideo rawvideo png qtrle"
# An MPEG-4 packet of so few bytes may say "not coded": no frame comes of it.
_SMALLEST_MPEG4_PACKET = 12
# Frames that are decoded to see whether they come as the packets promise.
_NUM_PROBED = 12
# Encoders hold back no more frames than this to put them in order; files of those that do are decoded.
_MOST_DELAY = 6
# Reading past so many packets costs less than seeking.
_NEAR_PACKETS = 64


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """The frames of one file in display order. Picklable; `index_frames` makes it.

    Args:
        num_frames (`int`): Frames that are shown.
        times_s (`np.ndarray`): float64 `(num_frames,)`, the second at which each is first shown.
        fps (`float`): Average frames per second.
        width (`int`): Width of the frames as shown, in pixels.
        height (`int`): Height of the frames as shown.
        complete (`bool` or `"unknown"`): Whether nothing is known to be missing or damaged, as for
            `VideoReport`. Damage inside a picture is seen only by decoding it.
        reason (`str` or `None`): Why it is not complete.
        pts (`np.ndarray`): int64 `(num_frames,)`, the time stamps; empty where the frames were counted by
            decoding, and then `read_frames` decodes from the start.
        positions (`np.ndarray`): int64, as long as `pts`: the place of each frame's packet in the file.
        keyframe_positions (`np.ndarray`): int64 `(num_keyframes,)`, rising: the packets at which decoding
            can start.
        keyframe_stamps (`np.ndarray`): int64 `(num_keyframes,)`: the time stamps by which to seek them.
    """

    num_frames: int
    times_s: np.ndarray
    fps: float
    width: int
    height: int
    complete: Completeness
    reason: str | None
    pts: np.ndarray
    positions: np.ndarray
    keyframe_positions: np.ndarray
    keyframe_stamps: np.ndarray

    @property
    def is_seekable(self) -> bool:
        """Whether `read_frames` can go straight to a frame."""
        return bool(self.pts.size)

    @classmethod
    def of_decoded(cls, times_s: np.ndarray, metadata: VideoMetadata, report: VideoReport) -> "FrameIndex":
        """Return the index, which is not seekable, of a file whose frames were counted by decoding them."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(
            num_frames=report.num_frames,
            times_s=times_s,
            fps=metadata.fps,
            width=metadata.width,
            height=metadata.height,
            complete=report.complete,
            reason=report.reason,
            pts=nothing,
            positions=nothing,
            keyframe_positions=nothing,
            keyframe_stamps=nothing,
        )


def index_packets(opened: VideoFile) -> FrameIndex | str:
    """Index a video, opened at its beginning, by its packets; only the first dozen frames are decoded.

    Where the packets cannot be trusted to tell the frames, returns in words why. If not one frame can be
    decoded, that is a `VideoDecodeError`.
    """
    pts: list[int] = []
    dts: list[int | None] = []
    keyframes: list[int] = []
    shown: list[Any] = []  # Any: the first pictures, of PyAV
    doubt = _doubt_container(opened)
    nal_length_size = find_nal_length_size(opened.codec_name, opened.extradata)
    for packet in opened.packets():
        opened.restart_timeout()
        doubt = doubt or _doubt_packet(packet, opened, nal_length_size, is_first=not pts)
        if len(shown) < _NUM_PROBED:
            shown += opened.decode(packet)
        if doubt is not None and shown:
            return doubt
        if not pts or (packet.is_keyframe and starts_anew(bytes(packet), opened.codec_name, nal_length_size)):
            keyframes.append(len(pts))
        pts.append(packet.pts)
        dts.append(packet.dts)
    if len(shown) < _NUM_PROBED:
        shown += opened.decode(None)
    if not shown:
        raise VideoDecodeError(opened.name, opened.ledger.explain_no_frames())
    if doubt is None:
        opened.look_for_missing(len(pts))
        doubt = _doubt_order(pts, dts, opened) or _doubt_pictures(shown, sorted(pts))
        doubt = doubt or "; ".join(opened.ledger.losses)
    if doubt:
        return doubt
    # mp4 is sought by the time at which a frame is decoded, the others by that at which it is shown.
    stamps = dts if opened.container_name == MOV_CONTAINER else pts
    metadata = opened.describe(shown[0])
    clock = FrameClock(opened.time_base, 1 / opened.fps)
    positions = np.argsort(np.array(pts, dtype=np.int64))
    return FrameIndex(
        num_frames=len(pts),
        times_s=np.array([float(clock.read(stamp)) for stamp in sorted(pts)]),
        fps=metadata.fps,
        width=metadata.width,
        height=metadata.height,
        complete=opened.ledger.complete,
        reason=None,
        pts=np.array(pts, dtype=np.int64)[positions],
        positions=positions,
        keyframe_positions=np.array(keyframes, dtype=np.int64),
        keyframe_stamps=np.array([stamps[i] for i in keyframes], dtype=np.int64),
    )


def _doubt_container(opened: VideoFile) -> str | None:
    if opened.container_name not in (MOV_CONTAINER, "matroska,webm", "avi"):
        return f"{opened.container_name} has no index to seek by"
    if not opened.has_times:
        return "its frames have no times"
    if opened.codec_name not in _PLAIN_CODECS.split():
        return f"a packet of {opened.codec_name} need not be a frame"
    if opened.container_name == "avi" and opened.reorders_frames:
        return "AVI has no time stamps for reordered frames"
    return None


def _doubt_packet(
    packet: Any,  # Any: a packet of PyAV
    opened: VideoFile,
    nal_length_size: int,
    is_first: bool,
) -> str | None:
    if packet.pts is None:
        return "a frame has no time stamp"
    if packet.is_discard:
        return "an edit list hides frames"
    if packet.is_corrupt:
        return "a packet is damaged"
    if is_first and not packet.is_keyframe:
        return "it does not start with a keyframe"
    if opened.codec_name == "mpeg4" and (packet.size < _SMALLEST_MPEG4_PACKET or opened.ledger.num_surplus):
        return "a packet may hold no frame, or two"
    if nal_length_size and not holds_picture(bytes(packet), nal_length_size, opened.codec_name):
        return "a packet is damaged or holds no frame"
    return None


def _doubt_order(pts: list[int], dts: list[int | None], opened: VideoFile) -> str | None:
    """Return why the time stamps may not give the order in which the decoder will show the frames."""
    shown = np.sort(np.array(pts, dtype=np.int64))
    if (np.diff(shown) <= 0).any():
        return "two frames have the same time stamp"
    if shown[0] < pts[0]:
        return "it has frames before its first keyframe"
    if None in dts:
        return "a frame has no decoding time"
    if opened.reorders_frames and len(pts) > 1 and (np.diff(np.array(pts, dtype=np.int64)) > 0).all():
        return "the decoder reorders frames, but their time stamps are in coded order"
    # In a sound file, the decoding times are the showing times in order, shifted by a few frames.
    decoded = np.array(dts, dtype=np.int64)
    slack = float(1 / opened.fps / opened.time_base) / 4
    for delay in range(min(_MOST_DELAY, len(pts))):
        if np.ptp(decoded[delay:] - shown[: len(pts) - delay]) <= slack:
            return None
    return "its time stamps contradict each other"


def _doubt_pictures(shown: list[Any], sorted_pts: list[int]) -> str | None:  # Any: pictures of PyAV
    if [picture.pts for picture in shown] != sorted_pts[: len(shown)]:
        return "its frames do not come in the order of their time stamps"
    if any(picture.interlaced_frame for picture in shown):
        return "it is interlaced"
    if any(picture.rotation != shown[0].rotation for picture in shown):
        return "not every picture states its orientation"
    return None


def read_by_seeking(opened: VideoFile, index: FrameIndex, indices: Sequence[int]) -> dict[int, np.ndarray]:
    """Decode frames, by their numbers, from the nearest keyframe before each; returns their images.

    Pictures that are neither wanted nor needed for a wanted one are not decoded, which changes no pixel. If
    the packets are not those of the index, or a picture is missing or damaged, seeking has failed.
    """
    images: dict[int, np.ndarray] = {}

    def keep(pictures: list[Any], wanted: dict[int, int]) -> None:  # Any: pictures of PyAV
        for picture in pictures:
            if picture.is_corrupt:
                raise SeekingFailedError("a picture is damaged")
            if picture.pts in wanted:
                images[wanted[picture.pts]] = opened.convert(picture, (index.width, index.height))

    file_pts = np.empty_like(index.pts)
    file_pts[index.positions] = index.pts
    packets = opened.packets()
    position = 0  # of the next packet; -1 after seeking, until the first packet tells
    for start, stamp, wanted in _plan(index, indices):
        if not 0 <= start - position <= _NEAR_PACKETS:
            packets.close()
            opened.seek(stamp)
            packets = opened.packets()
            position = -1
        last = max(index.positions[i] for i in wanted.values())
        while position <= last:
            packet = next(packets, None)
            if packet is None or packet.pts is None:
                raise SeekingFailedError("the packets end early")
            if position < 0:
                position = _position_of(packet.pts, index)
                if position > start:
                    raise SeekingFailedError(f"seeking led to packet {position}, behind {start}")
            if packet.pts != file_pts[position]:
                raise SeekingFailedError(f"packet {position} has the time stamp {packet.pts}")
            if position >= start:
                keep(opened.decode(packet, is_wanted=packet.pts in wanted), wanted)
            position += 1
        keep(opened.decode(None), wanted)
        opened.reset_decoder()
        if opened.ledger.losses or any(i not in images for i in wanted.values()):
            raise SeekingFailedError("; ".join(opened.ledger.losses) or "a picture did not come")
    packets.close()
    return images


def _plan(index: FrameIndex, indices: Sequence[int]) -> list[tuple[int, int, dict[int, int]]]:
    """Group frames by the keyframe to start from: its position, its stamp, and which frame has which pts."""
    keyframe_pts = index.pts[np.argsort(index.positions)][index.keyframe_positions]
    groups: dict[int, dict[int, int]] = {}
    for i in sorted(set(indices)):
        key = int(np.searchsorted(index.keyframe_positions, index.positions[i], side="right")) - 1
        # A frame shown before the keyframe that it follows in the file leans on the group before (open GOP).
        while key >= 0 and keyframe_pts[key] > index.pts[i]:
            key -= 1
        if key < 0:
            raise SeekingFailedError(f"no keyframe leads to frame {i}")
        groups.setdefault(key, {})[int(index.pts[i])] = i
    return [
        (int(index.keyframe_positions[key]), int(index.keyframe_stamps[key]), groups[key])
        for key in sorted(groups)
    ]


def _position_of(pts: int, index: FrameIndex) -> int:
    i = int(np.searchsorted(index.pts, pts))
    if i == len(index.pts) or index.pts[i] != pts:
        raise SeekingFailedError(f"seeking led to a packet with the unknown time stamp {pts}")
    return int(index.positions[i])
