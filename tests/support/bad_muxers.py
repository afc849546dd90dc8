"""Write videos as careless muxers, screen recorders and cameras do: whole, but not by the book."""

import struct
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av


def write_packets(
    source: Path,
    target: Path,
    edit: Callable[[list[av.Packet]], Iterable[tuple[bytes, int]]],
    container_format: str | None = None,
) -> Path:
    """Write the video of a file anew: the packets that `edit` makes of its own, as data and decoding time."""
    with av.open(str(source)) as opened:
        stream = opened.streams.video[0]
        packets = [packet for packet in opened.demux(stream) if packet.size]
        frame = int(1 / (stream.average_rate * stream.time_base))
        keys = {bytes(packet) for packet in packets if packet.is_keyframe}
        options = {"use_editlist": "0"} if target.suffix in (".mp4", ".mov") else {}
        with av.open(str(target), "w", format=container_format, options=options) as copy:
            written = copy.add_stream_from_template(stream, opaque=True)
            for data, number in edit(packets):
                packet = av.Packet(data)
                packet.stream, packet.time_base = written, Fraction(stream.time_base)
                packet.pts = packet.dts = number * frame
                packet.duration = frame
                packet.is_keyframe = any(data.startswith(key) for key in keys)
                copy.mux(packet)
    return target


def in_coded_order(packets: list[av.Packet]) -> Iterator[tuple[bytes, int]]:
    """Leave out the showing times: each packet is one frame later than the one before."""
    for number, packet in enumerate(packets):
        yield bytes(packet), number


VOP = b"\x00\x00\x01\xb6"


def not_coded_vop(num_time_bits: int = 5) -> bytes:
    """Return a picture of MPEG-4 Part 2, at 25 frames a second, that is not coded (`vop_coded` is 0)."""
    bits = "01" + "0" + "1" + "0" * num_time_bits + "1" + "0" + "0"
    bits += "1" * (-len(bits) % 8)
    return VOP + int(bits, 2).to_bytes(len(bits) // 8, "big")


def packed_bitstream(packets: list[av.Packet]) -> Iterator[tuple[bytes, int]]:
    """Pack each B-picture of MPEG-4 into the packet before it, as DivX does, with a placeholder after it."""
    number = 0
    while number < len(packets):
        data = bytes(packets[number])
        if packets[number].is_keyframe:
            at = data.index(VOP)
            data = data[:at] + b"\x00\x00\x01\xb2DivX503b1393p" + data[at:]
        follower = bytes(packets[number + 1]) if number + 1 < len(packets) else b""
        if follower and follower[follower.index(VOP) + 4] >> 6 == 2:
            yield data + follower, number
            yield not_coded_vop(), number + 1
            number += 2
        else:
            yield data, number
            number += 1


def with_gaps(
    numbers: set[int], fill: Callable[[], bytes] | None = None
) -> Callable[..., Iterator[tuple[bytes, int]]]:
    """Leave out these frame numbers: without a packet, or with what `fill` returns as their packet."""

    def edit(packets: list[av.Packet]) -> Iterator[tuple[bytes, int]]:
        number = 0
        for packet in packets:
            while number in numbers:
                if fill is not None:
                    yield fill(), number
                number += 1
            yield bytes(packet), number
            number += 1
        if fill is not None:
            yield from ((fill(), left) for left in sorted(numbers) if left >= number)

    return edit


def set_duration(path: Path, duration_s: float) -> None:
    """Overwrite the duration in the header of a Matroska, WMV or FLV file, and of its first stream."""
    data = bytearray(path.read_bytes())
    if data[:4] == b"\x1a\x45\xdf\xa3":
        at = data.index(b"\x44\x89\x88") + 3  # element Duration of 8 bytes
        struct.pack_into(">d", data, at, duration_s * 1000)
        at = data.index(b"\x44\x87", data.index(b"DURATION")) + 3  # TagString
        written = f"00:00:{duration_s:012.9f}".encode()
        data[at : at + len(written)] = written
    elif data[:3] == b"FLV":
        struct.pack_into(">d", data, data.index(b"\x00\x08duration\x00") + 11, duration_s)
    else:
        at = data.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")) + 64  # File Properties
        preroll_ms = struct.unpack_from("<Q", data, at + 16)[0]
        struct.pack_into("<Q", data, at, round(duration_s * 1e7) + preroll_ms * 10000)
    path.write_bytes(data)


def split_transport_stream(source: Path, folder: Path) -> list[bytes]:
    """Mux a video anew as one transport stream for each group of pictures, as recorders do that cut files."""
    segments = []
    with av.open(str(source)) as opened:
        stream = opened.streams.video[0]
        packets = [packet for packet in opened.demux(stream) if packet.size]
        starts = [k for k, packet in enumerate(packets) if packet.is_keyframe]
        for start, end in pairwise([*starts, len(packets)]):
            target = folder / f"{start}.ts"
            with av.open(str(target), "w") as copy:
                written = copy.add_stream_from_template(stream, opaque=True)
                for packet in packets[start:end]:
                    packet.stream = written
                    later = int(10 / packet.time_base)  # no time is negative, so the muxer moves none
                    packet.pts, packet.dts = packet.pts + later, packet.dts + later
                    copy.mux(packet)
            segments.append(target.read_bytes())
    return segments


def set_sample_durations_to_zero(path: Path) -> None:
    """Overwrite the table of sample durations (`stts`) of an mp4 or QuickTime file that has one stream."""
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") + 8
    for entry in range(int.from_bytes(data[at : at + 4], "big")):
        start = at + 4 + 8 * entry + 4
        data[start : start + 4] = bytes(4)
    path.write_bytes(data)


def drop_default_duration(path: Path) -> None:
    """Blank out the frame rate in a WebM file: browsers write none."""
    data = path.read_bytes()
    at = data.index(b"\x23\xe3\x83")  # element DefaultDuration
    size = 4 + (data[at + 3] & 0x7F)
    void = b"\xec" + bytes([0x80 | size - 2]) + bytes(size - 2)
    path.write_bytes(data[:at] + void + data[at + size :])


PACK_HEADER, VIDEO_PACKET, PROGRAM_END = (
    bytes.fromhex(code) for code in ("000001ba2100010001800001", "000001e0", "000001b9")
)


def program_stream(raw: Path) -> bytes:
    """Return a raw MPEG video as an MPEG-1 program stream with a pack for each picture and no end code."""
    with av.open(str(raw)) as container:
        pictures = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    return b"".join(
        PACK_HEADER + VIDEO_PACKET + (len(data) + 1).to_bytes(2, "big") + b"\x0f" + data for data in pictures
    )
