"""The shortest way to some frames of an indexed file: from the keyframe before each, skipping the rest."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .frame_index import FrameIndex, SeekableVideo

# Reading past so many packets costs less than seeking.
_NEAR_PACKETS = 64


class SeekingFailedError(Exception):
    """Seeking did not lead to the frames that the index promises; decode from the start instead."""


def check_indices(indices: Sequence[int], num_frames: int) -> list[int]:
    """Return frame numbers as plain integers.

    Args:
        indices (`Sequence[int]`): Numbers of frames in display order; any order, repeats allowed.
        num_frames (`int`): Frames of the video.

    Returns:
        `list[int]`: The same numbers.

    Raises:
        IndexError: If a number is negative or not less than `num_frames`.
        TypeError: If one is not an integer.
    """
    numbers = [operator.index(i) for i in indices]
    for number in numbers:
        if not 0 <= number < num_frames:
            raise IndexError(
                f"Frame {number} was asked for, but the video has {num_frames} frames, 0 to {num_frames - 1}."
            )
    return numbers


def read_by_seeking(
    opened: SeekableVideo, index: FrameIndex, indices: Sequence[int]
) -> dict[int, np.ndarray]:
    """Decode some frames from the nearest keyframe before each.

    Pictures that are neither wanted nor needed for a wanted one are not decoded, which changes no pixel.

    Args:
        opened (`SeekableVideo`): The file, at its beginning.
        index (`FrameIndex`): Its index.
        indices (`Sequence[int]`): Numbers of frames in display order.

    Returns:
        `dict`: uint8 `(H, W, 3)` images of these frames.

    Raises:
        SeekingFailedError: If the packets are not those of the index, or a picture is missing or damaged.
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
        if opened.losses or any(i not in images for i in wanted.values()):
            raise SeekingFailedError("; ".join(opened.losses) or "a picture did not come")
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
