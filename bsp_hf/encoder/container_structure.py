"""What the structure of a file says of its extent, where the demuxer does not say: is all of it there?"""

import re
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

# Elements of Matroska that hold others, of those on the way to the blocks.
_SEGMENT, _CLUSTER, _BLOCK_GROUP, _TRACKS, _TRACK = 0x18538067, 0x1F43B675, 0xA0, 0x1654AE6B, 0xAE
_SIMPLE_BLOCK, _BLOCK, _TRACK_NUMBER, _TRACK_TYPE = 0xA3, 0xA1, 0xD7, 0x83
_VIDEO_TRACK = 1
_TS_SYNC = 0x47
# What may follow the last picture.
_MOST_PADDING = 32
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
MOV_CONTAINER = "mov,mp4,m4a,3gp,3g2,mj2"
_MXF_INDEX = bytes.fromhex("060e2b34020501010d01020101110100")
_NUT_INDEX = bytes.fromhex("4e58dd672f23e64e")


def is_whole(file: BinaryIO, container: str, read_to: int) -> bool | None:
    """Return whether a file is as long as its own structure has it; None if it does not say.

    `container` is FFmpeg's name of the format, `read_to` where the last packet ended.
    """
    size = file.seek(0, 2)
    if container == "yuv4mpegpipe":  # nothing but pictures
        return None if size - read_to < _MOST_PADDING else False
    check = _CHECKS.get(container)
    return check(file, size) if check else None


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _check_asf(file: BinaryIO, size: int) -> bool | None:
    header_size = int.from_bytes(_read(file, 16, 8), "little")
    header = _read(file, 0, min(header_size, 1 << 20))
    at = header.index(_ASF_PROPERTIES)
    num_packets, flags, packet_size = struct.unpack_from("<56xQ24xII", header, at)
    is_broadcast = flags & 1
    data = _read(file, header_size, 24)
    if is_broadcast or data[:16] != _ASF_DATA:
        return None
    data_size = int.from_bytes(data[16:], "little")
    return header_size + data_size <= size and 50 + num_packets * packet_size <= data_size


def _check_matroska(file: BinaryIO, size: int) -> bool | None:
    for kind, start, length in _matroska_elements(file, size):
        if kind == _SEGMENT:
            if length is not None:
                return start + length <= size
        elif length is not None and start + length > size:
            return False  # of a recording, whose length is not known when it begins
    return None


def _check_flv(file: BinaryIO, size: int) -> bool | None:
    stated = read_flv_value(file, b"filesize")
    if stated > 0:
        return stated <= size
    length = int.from_bytes(_read(file, max(size - 4, 0), 4), "big")  # of the last tag
    tag = _read(file, max(size - 4 - length, 0), 13)
    ends = tag[:1] == b"\x09" and tag[11] & 0xF == 7 and tag[12] == 2  # video, H.264, end of sequence
    return ends or None


def read_flv_value(file: BinaryIO, name: bytes) -> float:
    """Return a number of an FLV file's metadata; 0 if it is not there."""
    head, key = _read(file, 0, 4096), bytes([0, len(name)]) + name + b"\0"
    at = head.find(key)
    return float(struct.unpack_from(">d", head, at + len(key))[0]) if at >= 0 else 0.0


def _check_mov(file: BinaryIO, size: int) -> bool | None:
    """Check a fragmented file, which ends with an index of its fragments or begins with their sizes."""
    position, num_indices, end, kind = 0, 0, 0, b""
    while position + 8 <= size:
        length, kind = struct.unpack(">I4s", _read(file, position, 8))
        if length == 1:
            length = int.from_bytes(_read(file, position + 8, 8), "big")
        length = max(length, 8) if length else size - position
        if kind == b"sidx":
            num_indices += 1
            end = position + length + _sum_references(_read(file, position + 8, length - 8))
        position += length
    if position != size:
        return False
    return True if kind == b"mfra" else end <= size if num_indices == 1 else None


def _sum_references(box: bytes) -> int:
    """Return how far the fragments reach that a segment index names, from its own end."""
    at = 28 if box[0] else 20
    first = int.from_bytes(box[20:28] if box[0] else box[16:20], "big")
    (count,) = struct.unpack_from(">2xH", box, at)
    references = struct.unpack_from(">" + "I8x" * count, box, at + 4)
    return first + sum(reference & 0x7FFFFFFF for reference in references)


def _check_program_stream(file: BinaryIO, size: int) -> bool | None:
    """Walk the packets at the end of an MPEG program stream, from the first pack where that succeeds."""
    start = max(size - (1 << 18), 0)
    data = _read(file, start, 1 << 18)
    for match in re.finditer(b"\0\0\1\xba", data):
        position = match.start()
        while data[position : position + 3] == b"\0\0\1":
            kind = data[position + 3]
            if kind == 0xB9:  # the end
                return True
            if kind == 0xBA:
                is_mpeg2 = data[position + 4] >> 6 == 1
                position += 14 + (data[position + 13] & 7) if is_mpeg2 else 12
            else:
                position += 6 + int.from_bytes(data[position + 4 : position + 6], "big")
        if position >= len(data):
            return None if position == len(data) else False
    return None


def _check_ogg(file: BinaryIO, size: int) -> bool | None:
    data = _read(file, max(size - (1 << 17), 0), 1 << 17)
    at = data.rindex(b"OggS")
    lengths = data[at + 27 : at + 27 + data[at + 26]]
    if at + 27 + len(lengths) + sum(lengths) != len(data):
        return False
    return data[at + 5] & 4 > 0 or None  # the end of a stream


def _check_nut(file: BinaryIO, size: int) -> bool | None:
    length = int.from_bytes(_read(file, max(size - 12, 0), 8), "big")
    return _read(file, max(size - length, 0), 8) == _NUT_INDEX or None


def _check_swf(file: BinaryIO, size: int) -> bool | None:
    head = _read(file, 0, 8)
    return int.from_bytes(head[4:], "little") <= size if head[:1] == b"F" else None  # others are compressed


def _check_mxf(file: BinaryIO, size: int) -> bool | None:
    length = int.from_bytes(_read(file, max(size - 4, 0), 4), "big")
    return (length <= size and _read(file, size - length, 16) == _MXF_INDEX) or None


def _check_gif(file: BinaryIO, size: int) -> bool:
    return _read(file, max(size - 64, 0), 64).rstrip(b"\x00").endswith(b";")


def _check_dv(file: BinaryIO, size: int) -> bool | None:
    is_50_hz = _read(file, 3, 1)[0] & 0x80
    return None if size % (144000 if is_50_hz else 120000) < _MOST_PADDING else False


def _check_apng(file: BinaryIO, size: int) -> bool:
    return _read(file, max(size - 64, 0), 64).rstrip(b"\x00").endswith(b"IEND\xae\x42\x60\x82")


def _check_ts(file: BinaryIO, size: int) -> bool | None:
    packet_size = _ts_packet_size(file)
    return False if packet_size and size % packet_size else None


def _ts_packet_size(file: BinaryIO) -> int | None:
    head = _read(file, 0, 1024)
    sizes = [s for s in (188, 192, 204) if len(head) > 4 * s and set(head[s % 188 % 16 :: s]) == {_TS_SYNC}]
    return sizes[0] if sizes else None


def _check_mjpeg(file: BinaryIO, size: int) -> bool | None:
    return None if _read(file, max(size - 64, 0), 64).rstrip(b"\x00").endswith(b"\xff\xd9") else False


_CHECKS: dict[str, Callable[[BinaryIO, int], bool | None]] = {
    "asf": _check_asf,
    "matroska,webm": _check_matroska,
    "flv": _check_flv,
    "mxf": _check_mxf,
    "gif": _check_gif,
    "mjpeg": _check_mjpeg,
    "apng": _check_apng,
    "dv": _check_dv,
    "mpegts": _check_ts,
    "mpeg": _check_program_stream,
    "ogg": _check_ogg,
    "nut": _check_nut,
    "swf": _check_swf,
    MOV_CONTAINER: _check_mov,
}


def count_empty_chunks(file: BinaryIO, stream_index: int) -> int:
    """Return how many chunks of a stream of an AVI file are empty: the picture before is shown on."""
    size, position, num_empty, was_empty = file.seek(0, 2), 0, 0, False
    name = re.compile(rb"%02d[a-z]{2}" % stream_index)
    while position + 8 <= size:
        kind, length, form = struct.unpack("<4sI4s", _read(file, position, 12).ljust(12, b"\0"))
        if not re.fullmatch(rb"[ -~]{4}", kind):
            return num_empty - was_empty  # the length before was wrong: that chunk was not empty
        was_empty = length == 0 and name.fullmatch(kind) is not None
        num_empty += was_empty
        is_list = kind == b"RIFF" or (kind == b"LIST" and form in (b"movi", b"rec "))
        position += 12 if is_list else 8 + length + length % 2
    return num_empty


def restarts_cleanly(file: BinaryIO, stream_id: int) -> bool:
    """Return whether the packet counter of a transport stream breaks off only between two pictures.

    So it does where files were joined. The last packet of a picture is filled up, and the next one begins a
    picture; had a packet been lost, one of the two would be missing. `stream_id` is the packets' identifier.
    """
    size = _ts_packet_size(file)
    if size is None:
        return False
    file.seek(0)
    last = np.empty((0, 188), np.uint8)
    while block := file.read(size * 8192):
        packets = np.frombuffer(block[: len(block) // size * size], np.uint8).reshape(-1, size)
        packets = packets[:, size % 188 % 16 :][:, :188]
        own = packets[(packets[:, 1] & 0x1F == stream_id >> 8) & (packets[:, 2] == stream_id & 0xFF)]
        own = np.concatenate([last, own[own[:, 3] & 0x10 > 0]])  # those with payload are counted
        is_break = (own[1:, 3] - own[:-1, 3]) & 0xF != 1
        is_clean = _fills_up(own[:-1]) & (own[1:, 1] & 0x40 > 0)
        if (packets[:, 0] != _TS_SYNC).any() or (own[:, 1] & 0x80).any() or (is_break & ~is_clean).any():
            return False
        last = own[-1:]
    return True


def _fills_up(packets: np.ndarray) -> np.ndarray:
    """Return which packets of a transport stream have more in their adaptation field than it needs."""
    length, flags = packets[:, 4].astype(int), packets[:, 5]
    needed = 1 + 6 * (flags >> 4 & 1) + 6 * (flags >> 3 & 1) + (flags >> 2 & 1)
    return (packets[:, 3] & 0x20 > 0) & ((length == 0) | ((flags & 3 == 0) & (length > needed)))


def count_blocks(file: BinaryIO, video_number: int) -> int | None:
    """Return how many frames a video track of a Matroska file holds; None if the file is not whole.

    `video_number` counts the video tracks from 0.
    """
    size = file.seek(0, 2)
    track, tracks, counts = 0, [], dict[int, int]()
    position = 0
    for kind, start, length in _matroska_elements(file, size):
        position = start if kind in _MASTERS or length is None else start + length
        if kind == _SEGMENT and length is not None and start + length != size:
            return None
        if kind == _TRACK_NUMBER:
            track = int.from_bytes(_read(file, start, length or 0), "big")
        elif kind == _TRACK_TYPE and _read(file, start, length or 0)[-1:] == bytes([_VIDEO_TRACK]):
            tracks.append(track)
        elif kind in (_SIMPLE_BLOCK, _BLOCK):
            head = _read(file, start, 16)
            number, used = _read_vint(head, 0)
            is_laced = head[used + 2] & 0x06
            has_data = (length or 0) > used + 3
            counts[number] = counts.get(number, 0) + (head[used + 3] + 1 if is_laced else has_data)
    if position != size or video_number >= len(tracks):
        return None
    return counts.get(tracks[video_number], 0)


_MASTERS = (_SEGMENT, _CLUSTER, _BLOCK_GROUP, _TRACKS, _TRACK)


def _matroska_elements(file: BinaryIO, size: int) -> Iterator[tuple[int, int, int | None]]:
    """Yield kind, start of the content, and its length (None: unknown) of each element, up to the blocks."""
    position = 0
    while position < size:
        head = _read(file, position, 12)
        num_id = 9 - head[0].bit_length()
        if num_id > 4:
            return
        length, used = _read_vint(head, num_id)
        start = position + num_id + used
        is_unknown = length == (1 << 7 * used) - 1
        kind = int.from_bytes(head[:num_id], "big")
        yield kind, start, None if is_unknown else length
        position = start if kind in _MASTERS or is_unknown else start + length


def _read_vint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, without the bits that mark it, and its length in bytes."""
    length = 9 - data[at].bit_length() if data[at] else 8
    return int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1), length
