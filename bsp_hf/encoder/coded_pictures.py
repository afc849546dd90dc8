"""What packets of common codecs say of their pictures, as far as it shows without decoding them."""

import re
from collections.abc import Iterator
from typing import Any

# Codecs whose every picture stands for itself.
_INTRA_CODECS = "mjpeg prores dnxhd huffyuv ffvhuff utvideo rawvideo png"
_VOP = b"\x00\x00\x01\xb6"


class VopCounter:
    """Counts the pictures in the packets of MPEG-4 Part 2, which need not hold one each.

    A picture that is not coded shows the one before on. A packet of DivX may hold two pictures; one that is
    not coded follows it then as a placeholder.
    """

    def __init__(self, extradata: bytes) -> None:
        self._num_time_bits: int | None = None
        self._num_ahead = 0
        self._note_header(extradata)

    def count(self, data: bytes) -> tuple[int, bool]:
        """Return how many pictures come of a packet, 1 where in doubt, and whether it only lets time pass."""
        self._note_header(data)
        starts = [match.end() for match in re.finditer(_VOP, data)]
        # A single byte is how DivX and Xvid leave out a picture.
        count = sum(self._is_coded(data, start) for start in starts) if starts else int(len(data) > 1)
        is_gap = count == 0 and not self._num_ahead
        self._num_ahead = max(self._num_ahead + count - 1, 0)
        return count, is_gap

    def _is_coded(self, data: bytes, start: int) -> bool:
        if self._num_time_bits is None:
            return True
        bits = _bits(data[start : start + 16])[2:]  # behind vop_coding_type
        marker = bits.find("0") + 1  # modulo_time_base is ones and a zero
        return bits[marker + 1 + self._num_time_bits + 1 :][:1] != "0"

    def _note_header(self, data: bytes) -> None:
        """Find in the header of a video object layer how many bits a time has."""
        found = re.search(rb"\x00\x00\x01[\x20-\x2f]", data)
        if not found:
            return
        bits = _bits(data[found.end() : found.end() + 32])
        at = 9  # random_accessible_vol, video_object_type_indication
        at += 8 if bits[at : at + 1] == "1" else 1  # is_object_layer_identifier, verid, priority
        at += 20 if bits[at : at + 4] == "1111" else 4  # aspect_ratio_info
        if bits[at : at + 1] == "1":  # vol_control_parameters: chroma_format, low_delay, vbv_parameters
            at += 79 if bits[at + 4 : at + 5] == "1" else 0
            at += 4
        at += 1 + 2 + 1  # video_object_layer_shape, of which only rectangles are used, and a marker
        resolution = int(bits[at : at + 16] or "0", 2)
        self._num_time_bits = max((resolution - 1).bit_length(), 1) if resolution else None


def _bits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def starts_anew(data: bytes, codec: str, nal_length_size: int) -> bool:
    """Return whether nothing from this packet on, but what is shown before it, needs an earlier packet.

    The coded picture itself says so. The container's flag for it may stand at recovery points (H.264 with
    intra refresh), at every packet (careless muxers), or at pictures that leave a part as it was.
    """
    if codec in _INTRA_CODECS.split():
        return True
    if codec in ("h264", "hevc"):
        header = next((h for h in _nal_headers(data, nal_length_size) if _is_picture(h, codec)), 0)
        return header & 0x1F == 5 if codec == "h264" else 16 <= header >> 1 <= 21
    if codec == "mpeg4":
        at = data.find(b"\x00\x00\x01\xb6")
        return 0 <= at < len(data) - 4 and data[at + 4] >> 6 == 0  # vop_coding_type
    if codec == "vp9":
        # frame_marker, profile (3 has one more bit), show_existing_frame, frame_type
        bits = data[0] << 1 if data[0] >> 4 == 0b1011 else data[0]
        return data[0] >> 6 == 0b10 and bits & 0b1100 == 0
    if codec == "av1":
        return _starts_with_av1_key(data)
    return codec == "ffv1"  # its decoder refuses to start elsewhere


def _nal_headers(data: bytes, length_size: int) -> Iterator[int]:
    """Yield the first byte of each NAL unit, which has a length (of so many bytes) or a start code before."""
    if length_size:
        position = 0
        while position + length_size < len(data):
            yield data[position + length_size]
            position += length_size + int.from_bytes(data[position : position + length_size], "big")
        return
    position = data.find(b"\x00\x00\x01")
    while 0 <= position < len(data) - 3:
        yield data[position + 3]
        position = data.find(b"\x00\x00\x01", position + 3)


def _is_picture(header: int, codec: str) -> bool:
    return header & 0x1F in (1, 2, 5) if codec == "h264" else header >> 1 < 32


def _starts_with_av1_key(data: bytes) -> bool:
    """Return whether the first frame header of AV1's units is that of a key frame which is shown."""
    position = 0
    while position < len(data):
        header = data[position]
        position += 2 if header & 4 else 1  # obu_extension_flag
        size, shift = len(data) - position, 0
        if header & 2:  # obu_has_size_field: seven bits a byte, the lowest first
            size = 0
            while position < len(data):
                size |= (data[position] & 0x7F) << shift
                shift += 7
                position += 1
                if not data[position - 1] & 0x80:
                    break
        if header >> 3 & 0xF in (3, 6) and position < len(data):  # a frame header, a frame
            return data[position] >> 4 & 0b1111 == 0b0001  # show_existing_frame, frame_type, show_frame
        position += size
    return False


_END_CODES = {
    "mpeg1video": (b"\xb7",),
    "mpeg2video": (b"\xb7",),
    "mpeg4": (b"\xb1",),
    "vc1": (b"\x0a",),
    "h264": (b"\x0a", b"\x0b"),
    "hevc": (b"\x48\x01", b"\x4a\x01"),
}


def ends_sequence(tail: Any, codec: str) -> bool:  # Any: bytes or a packet of PyAV
    """Return whether the last bytes of a stream are the code that ends a sequence of pictures."""
    return bytes(tail).rstrip(b"\0").endswith(tuple(b"\0\0\1" + code for code in _END_CODES.get(codec, ())))


def find_nal_length_size(codec: str, extradata: bytes) -> int:
    """Return the bytes of the length before each NAL unit in H.264 and HEVC of mp4 and Matroska; else 0."""
    size_at = {"h264": 4, "hevc": 21}.get(codec, len(extradata))
    return (extradata[size_at] & 3) + 1 if len(extradata) > size_at and extradata[0] == 1 else 0


def holds_picture(data: bytes, length_size: int, codec: str) -> bool:
    """Return whether NAL units with lengths fill the packet exactly, and one of them is of a picture."""
    position = 0
    has_picture = False
    while position + length_size < len(data):
        header = data[position + length_size]
        if header & 0x80:  # forbidden_zero_bit
            return False
        has_picture |= _is_picture(header, codec)
        position += length_size + int.from_bytes(data[position : position + length_size], "big")
    return has_picture and position == len(data)
