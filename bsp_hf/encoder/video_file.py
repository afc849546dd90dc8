"""A video file as PyAV sees it: stream, decoder, and an account of what is missing or damaged."""

import io
import os
import re
import struct
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, TypeVar

import av
import numpy as np

from .coded_pictures import VopCounter, ends_sequence
from .container_structure import (
    MOV_CONTAINER,
    count_blocks,
    count_empty_chunks,
    is_whole,
    read_flv_value,
    restarts_cleanly,
)
from .frame_times import StampOrder
from .video_records import Completeness, VideoMetadata
from .video_source import (
    GuardedFile,
    VideoDecodeError,
    VideoSource,
    begins_like_mp4,
    is_raw_mjpeg,
    resolve_source,
)

_T = TypeVar("_T")


class SeekingFailedError(Exception):
    """Seeking did not lead to the frames that were expected; decode from the start instead."""


class PacketLedger:
    """Counts packets and failures, and knows in words what is missing or damaged.

    `promised_end_s` is the second at which the container says that it ends, where it has no frame count.
    """

    def __init__(self, fps: Fraction, promised_end_s: Fraction | None) -> None:
        self.num_packets = 0
        """Packets of the video stream so far."""
        self.read_to = 0
        """Where in the file the last of them ended."""
        self.tail = b""
        """The last bytes of the stream."""
        self.num_hidden = 0
        """How many of them an edit list hides."""
        self.num_surplus = 0
        """How many more frames than packets there are, as the packets themselves say; negative for fewer."""
        self.num_gaps = 0
        """How many packets only let time pass."""
        self._fps = fps
        self._promised_end_s = promised_end_s
        self._end_s = Fraction(0)
        self._starts_with_keyframe = True
        self._has_frames = False
        self._num_damaged = 0
        self._num_lost = 0
        self._num_joins = self._num_to_join = 0
        self._last_dts: int | None = None
        self._decode_failure: str | None = None
        self._read_failure: str | None = None
        self._missing: str | None = None
        self._knows_end = True  # until all has been read

    def note_packet(self, packet: Any) -> None:  # Any: a packet of PyAV
        """Count a packet of the video stream that was read."""
        if not self.num_packets:
            self._starts_with_keyframe = packet.is_keyframe
        self.num_packets += 1
        self.read_to = (packet.pos or 0) + packet.size
        self.tail = (self.tail + bytes(memoryview(packet)[-_TAIL_BYTES:]))[-_TAIL_BYTES:]
        self.num_hidden += bool(packet.is_discard)
        self._num_damaged += bool(packet.is_corrupt)
        if self._num_to_join:
            step = (packet.dts or 0) - (self._last_dts or 0)
            is_near = step * packet.time_base * self._fps < Fraction(3, 2)
            self._num_joins += is_near and packet.is_keyframe
            self._num_to_join = self._num_to_join - 1 if is_near and not packet.is_keyframe else 0
        self._last_dts = packet.dts
        if packet.is_corrupt:
            self._num_to_join = 2  # the demuxer's parser may be a packet behind

    def note_end(self, packet: Any) -> None:  # Any: a packet of PyAV
        """Move the end of the file, as far as it is known, to the end of a packet."""
        if self._promised_end_s is not None and packet.pts is not None:
            self._end_s = max(self._end_s, (packet.pts + (packet.duration or 0)) * Fraction(packet.time_base))

    def note_frames(self, num_frames: int) -> None:
        """Count frames that were decoded."""
        self._has_frames = self._has_frames or num_frames > 0

    def note_lost_packet(self, failure: str) -> None:
        """Count a packet that does not decode."""
        # What stands before the first keyframe of a stream that was cut in can never be decoded; nothing is
        # lost.
        if self._has_frames or self._starts_with_keyframe:
            self._num_lost += 1
        self._decode_failure = self._decode_failure or failure

    def note_read_failure(self, failure: str) -> None:
        """Remember the first failure to read on."""
        self._read_failure = self._read_failure or failure

    def settle(
        self, num_frames: int, num_promised: int, is_whole: bool | None, *, states_count: bool
    ) -> None:
        """Compare what came with what was promised, when all has been read.

        `num_promised` counts the packets that the container says it holds, hidden ones included; 0 if it does
        not say. `is_whole` is what the structure of the file says, where it was asked; `states_count`
        whether the promise is one for the whole file.
        """
        self._knows_end = states_count or self.states_end or is_whole is not None
        num_shown = num_promised - self.num_hidden + self.num_surplus
        if num_frames < num_shown:
            self._missing = f"{num_frames} of {num_shown} declared frames came"
        elif self.ends_early and not is_whole:
            self._missing = (
                f"it ends at {float(self._end_s):.2f} s of {float(self._promised_end_s or 0):.2f} s"
            )
        elif is_whole is False and not self.comes_to_end:
            self._missing = "the file is cut: it ends before its own structure does"

    @property
    def awaits_join(self) -> bool:
        """Whether the next packets tell if the last one is damaged or only the last before a join."""
        return self._num_to_join > 0

    @property
    def may_be_joined(self) -> bool:
        """Whether all damaged packets so far stand before a keyframe, without a gap in time."""
        return 0 < self._num_damaged == self._num_joins

    def excuse_joins(self) -> None:
        """Note that the packets that seemed damaged are whole: it was found that files were joined there."""
        self._num_damaged -= self._num_joins
        self._num_joins = 0

    @property
    def states_end(self) -> bool:
        """Whether the container says when it ends."""
        return self._promised_end_s is not None

    @property
    def comes_to_end(self) -> bool:
        """Whether the last packet so far ends when the container says that it does, to half a frame."""
        end_s = self._promised_end_s
        return end_s is not None and self._end_s + Fraction(1, 2) / self._fps >= end_s

    @property
    def ends_early(self) -> bool:
        """Whether the last packet so far ends clearly before the container says that it does."""
        end_s = self._promised_end_s
        return end_s is not None and self._end_s + Fraction(3, 2) / self._fps < end_s

    @property
    def complete(self) -> Completeness:
        """Whether all was there, as far as it was read."""
        return False if self.losses else self._knows_end or "unknown"

    @property
    def losses(self) -> list[str]:
        """What is known to be missing or damaged so far."""
        losses = []
        if self._num_lost:
            losses.append(f"{self._num_lost} packets do not decode ({self._decode_failure})")
        if self._num_damaged:
            losses.append(f"{self._num_damaged} packets are cut or damaged")
        if self._read_failure:
            losses.append(f"reading failed ({self._read_failure})")
        if self._missing:
            losses.append(self._missing)
        return losses

    def explain_no_frames(self) -> str:
        """Return in words why there is nothing to show."""
        failure = self._decode_failure or self._read_failure
        why = f" ({failure})" if failure else ""
        if not self.num_packets:
            return f"its video stream is empty{why}"
        return f"not one frame can be decoded from {self.num_packets} packets{why}"


_TAIL_BYTES = 16
# Containers that hold moving pictures. Not among them: playlists (HLS, DASH, concat), which would open
# other files, devices, still images and text art.
_CONTAINERS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,h261,h263,h264,hevc,vvc,evc,av1,obu,ivf,gif,apng,flv,live_flv,"
    "asf,ogg,nut,mjpeg,mxf,dv,rm,wtv,vc1,vc1test,dirac,yuv4mpegpipe,amv,nsv,nuv,gxf,cavsvideo,dnxhd,swf,dhav,"
    "bink,smk,roq,vivo,ty,pva,film_cpk,flic"
)
# A header may claim any size; this is twice an 8K picture, 200 MB as RGB.
_MOST_PIXELS = 8192 * 8192
_FALLBACK_FPS = Fraction(25)
# Headers that claim more are compared with the stamps of so many packets, and believed up to the last.
_USUAL_FPS, _NUM_MEASURED, _MOST_FPS = 1000, 256, 1_000_000
# Reading goes on behind a damaged stretch, but not for ever.
_MOST_READ_FAILURES = 8
# What PyAV raises on damaged input, and what the caller's file object may raise.
_DAMAGE = (av.FFmpegError, ValueError, OverflowError, OSError)


def choose_video_stream(container: Any) -> Any:  # Any: PyAV's container and stream
    """Return the first video stream flagged as default, else the first; cover art does not count.

    Without any it is None.
    """
    picture = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    streams = [s for s in container.streams if s.type == "video" and not s.disposition & picture]
    return min(streams, key=lambda s: not s.disposition & av.stream.Disposition.default, default=None)


class VideoFile:
    """An opened file: its video stream, the decoder, and a ledger of what is missing or damaged.

    The parameters are those of `VideoReader`. A file that does not open, or has no video stream that can be
    decoded, is a `VideoDecodeError`.
    """

    def __init__(self, source: VideoSource, num_threads: int, timeout_s: float | None) -> None:
        if num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, got {num_threads}.")
        self._source = source
        self._timeout_s = timeout_s
        self.restart_timeout()
        self.name, opened = resolve_source(source)
        self._container = self._open(opened)
        try:
            self._stream = self._choose_stream()
            self._stream_index: int = self._stream.index
            self._decoder = self._stream.codec_context
            self._set_up_decoder(num_threads)
            self.container_name: str = self._container.format.name
            self.time_base: Fraction = self._stream.time_base or Fraction(1, 1_000_000)
            stamps: Any = getattr(self._stream, "index_entries", ())
            # Some cameras give every sample the duration 0: that is no time at all.
            self.has_times = len(stamps) < 2 or stamps[0].timestamp != stamps[len(stamps) - 1].timestamp
            self.fps: Fraction = self._find_fps()
            length = self._container.duration
            is_short = length is None or length * self.fps < 2_000_000  # two frames
            if self.container_name != MOV_CONTAINER and self._stream.start_time is not None and is_short:
                first = self._read_first_stamps()
                self.has_times = len(first) < 2 or min(first) != max(first)
            promised_end_s, self._streams_to_read = self._find_promised_end()
            self.ledger = PacketLedger(self.fps, promised_end_s)
            self._order = StampOrder()
            self._vops = VopCounter(self.extradata) if self.codec_name == "mpeg4" else None
        except BaseException:
            self._container.close()
            raise
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._orientation: tuple[int, bool] | None = None

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _open(self, opened: str | GuardedFile, **options: str) -> Any:  # Any: a PyAV container
        wait_s = self._timeout_s
        allowed = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
        if isinstance(opened, GuardedFile):
            opened.before_read = self._check_timeout
        try:
            return av.open(
                opened,
                format="mjpeg" if is_raw_mjpeg(opened) else None,
                container_options=allowed | options,
                metadata_errors="replace",
                timeout=(wait_s, wait_s),
            )
        except VideoDecodeError:
            raise
        except av.ExitError as error:
            raise VideoDecodeError(self.name, f"it did not open within {wait_s:g} s") from error
        except _DAMAGE as error:
            reason = "it is not a video that is read here, or its beginning is damaged"
            if begins_like_mp4(opened):
                reason = "it is cut before its index (the moov box), or the index is damaged"
            raise VideoDecodeError(self.name, f"{reason} ({_brief(error)})") from error

    def _choose_stream(self) -> Any:  # Any: a PyAV stream
        stream = choose_video_stream(self._container)
        if stream is None:
            kinds = ", ".join(sorted({s.type for s in self._container.streams})) or "no stream at all"
            reason = f"it has no video stream (cover art does not count), but {kinds}"
            raise VideoDecodeError(self.name, reason)
        return stream

    def _set_up_decoder(self, num_threads: int) -> None:
        if self._decoder is None:
            raise VideoDecodeError(self.name, "there is no decoder for its video codec")
        if self._decoder.width * self._decoder.height > _MOST_PIXELS:
            size = f"{self._decoder.width} x {self._decoder.height}"
            raise VideoDecodeError(self.name, f"its pictures claim to be {size}; the header is damaged")
        self.codec_name: str = self._decoder.codec.canonical_name
        self._decoder.options = {"max_pixels": str(_MOST_PIXELS)}
        # Frame threading can deadlock when a reader is abandoned, and delays every frame.
        self._decoder.thread_type = "NONE" if num_threads == 1 else "SLICE"
        self._decoder.thread_count = num_threads

    def _find_fps(self) -> Fraction:
        stream = self._stream
        rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
        if not self.has_times:
            rates[0] = None  # made of the times
            if stream.frames and stream.duration:
                rates[0] = Fraction(stream.frames) / (stream.duration * self.time_base)
        elif stream.start_time is None and self._container.duration is None:
            rates[:2] = rates[1::-1]  # raw streams: the demuxer's average is only its default
        likely = next((rate for rate in rates if rate and Fraction(1, 3600) <= rate <= _USUAL_FPS), None)
        # A rate of one frame a unit of time may only be the unit: browsers record so.
        is_unit = likely == 1 / self.time_base == _USUAL_FPS
        if is_unit or any(rate and rate > _USUAL_FPS for rate in rates):
            measured = self._measure_rate()
            close = [
                r for r in (*rates, self._decoder.framerate) if r and measured and _is_close(r, measured)
            ]
            likely = close[0] if close else measured or (None if is_unit else likely)
        return likely or _FALLBACK_FPS

    def _read_first_stamps(self) -> list[int]:
        """Return the stamps of the first packets; none where they cannot be read twice."""
        stamps: list[int] = []

        def read(source: VideoSource) -> None:
            with self._open(resolve_source(source)[1]) as container:
                for packet in container.demux(container.streams[self._stream_index]):
                    if packet.pts is not None:
                        stamps.append(packet.pts)
                    if len(stamps) == _NUM_MEASURED:
                        return

        with suppress(*_DAMAGE):  # what came before it counts
            self._reread(read)
        return stamps

    def _measure_rate(self) -> Fraction | None:
        """Return frames a second by the stamps of the first packets; None where they do not say."""
        stamps = self._read_first_stamps()
        span = max(stamps) - min(stamps) if stamps else 0
        if not span:
            return None
        rate = (len(stamps) - 1) / (span * self.time_base)
        whole = Fraction(round(rate))
        return (
            whole
            if abs(whole - rate) < rate / 200
            else min(rate, Fraction(_MOST_FPS)).limit_denominator(1001)
        )

    def describe(self, picture: Any) -> VideoMetadata:  # Any: a PyAV frame
        """Return what is known of the video, given its first picture."""
        rotation, mirrored = self._find_orientation(picture)
        width, height = picture.width, picture.height
        if rotation % 180:
            width, height = height, width
        return VideoMetadata(
            width=width,
            height=height,
            fps=float(self.fps),
            codec=self.codec_name,
            container=self.container_name,
            pixel_format=picture.format.name,
            rotation=rotation,
            mirrored=mirrored,
            pixel_aspect=float(self._stream.sample_aspect_ratio or 1),
            num_frames_declared=self._stream.frames or None,
            duration_declared_s=self._declared_duration_s(),
        )

    def _declared_duration_s(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self.time_base)
        return self._container.duration / 1_000_000 if self._container.duration else None

    @property
    def extradata(self) -> bytes:
        """What the container keeps for the decoder."""
        return self._decoder.extradata or b""

    @property
    def reorders_frames(self) -> bool:
        """Whether frames are shown in another order than they are coded in."""
        return bool(self._decoder.has_b_frames)

    def restart_timeout(self) -> None:
        """Count the waiting time from now: a frame came, or only now is one asked for."""
        self.waiting_since_s = time.monotonic()

    def _check_timeout(self) -> None:
        if self._timeout_s is not None and time.monotonic() - self.waiting_since_s > self._timeout_s:
            raise VideoDecodeError(self.name, f"no frame came within {self._timeout_s:g} s")

    def packets(self) -> Generator[Any, None, None]:  # Any: PyAV packets
        """Yield the packets of the video stream from here on; damage is noted and passed over."""
        failures = 0
        while failures < _MOST_READ_FAILURES:
            try:
                for packet in self._container.demux(*self._streams_to_read):
                    self._check_timeout()
                    self.ledger.note_end(packet)
                    # An empty packet would end decoding in mid-stream, and PyAV adds one at the end.
                    if packet.size and packet.stream.index == self._stream_index:
                        failures = 0
                        if self.container_name == "avi":
                            packet.pts = packet.dts  # AVI has no showing times, the demuxer guesses some
                        self.ledger.note_packet(packet)
                        if self._vops is not None:
                            count, is_gap = self._vops.count(bytes(packet))
                            self.ledger.num_surplus += count - 1
                            self.ledger.num_gaps += is_gap
                        yield packet
                return
            except IndexError:
                return  # PyAV stumbles, after the last packet, over streams that have turned up on the way
            except av.ExitError as error:
                raise VideoDecodeError(self.name, f"no data came within {self._timeout_s:g} s") from error
            except VideoDecodeError:
                raise
            except _DAMAGE as error:
                failures += 1
                self.ledger.note_read_failure(_brief(error))

    def decode(self, packet: Any, is_wanted: bool = True) -> list[Any]:  # Any: a PyAV packet, PyAV frames
        """Decode a packet, or the rest with `None`.

        An unwanted picture that no other picture needs may be left out.
        """
        self._decoder.skip_frame = "DEFAULT" if is_wanted else "NONREF"
        try:
            pictures = self._decoder.decode(packet)
        except EOFError:
            return []
        except _DAMAGE as error:
            if packet is None or packet.size > _TAIL_BYTES or not ends_sequence(packet, self.codec_name):
                self.ledger.note_lost_packet(_brief(error))
            self._order.drop_last()
            return []
        self.ledger.note_frames(len(pictures))
        return pictures

    def pictures(self) -> Iterator[tuple[Any, int | None]]:  # Any: a PyAV frame
        """Yield all pictures in display order, each with its time stamp."""
        order = self._order
        held: deque[Any] = deque()
        num_gaps = 0
        for packet in chain(self.packets(), [None]):
            if packet is not None and not packet.is_discard and self.ledger.num_gaps == num_gaps:
                order.add(packet.pts, packet.dts)
            num_gaps = self.ledger.num_gaps
            held.extend(self.decode(packet))
            while held:
                must_wait = self.reorders_frames and order.must_wait([picture.pts for picture in held])
                if must_wait and packet is not None:
                    break
                stamp = order.next_stamp(held[0].pts) if self.has_times else None
                yield held.popleft(), stamp
                self.restart_timeout()

    def seek(self, stamp: int) -> None:
        """Go to the keyframe at or before a time stamp."""
        try:
            self._container.seek(stamp, stream=self._stream)
        except _DAMAGE as error:
            raise SeekingFailedError(_brief(error)) from error

    def reset_decoder(self) -> None:
        """Forget all that was decoded, so that decoding can start at a keyframe."""
        self._decoder.flush_buffers()
        self.restart_timeout()

    def _find_orientation(self, picture: Any) -> tuple[int, bool]:  # Any: a PyAV frame
        """Return the orientation of the first picture: it holds for all, and only the first may state it."""
        if self._orientation is None:
            self._orientation = _read_orientation(picture)
        return self._orientation

    def convert(self, picture: Any, size: tuple[int, int]) -> np.ndarray:  # Any: a PyAV frame
        """Return a picture as uint8 RGB, turned as it is shown and scaled to the shown `(width, height)`."""
        rotation, mirrored = self._find_orientation(picture)
        width, height = size[::-1] if rotation % 180 else size
        reformat = self._reformatter.reformat
        try:
            try:
                rgb = reformat(picture, width, height, "rgb24", threads=1)
            except av.FFmpegError:
                # Choice: colour matrices that swscale cannot do (YCgCo, reserved values) are read as BT.601.
                matrix = av.video.reformatter.Colorspace.ITU601
                rgb = reformat(picture, width, height, "rgb24", matrix, matrix, threads=1)
        except _DAMAGE as error:
            reason = f"a picture cannot be converted to RGB ({_brief(error)})"
            raise VideoDecodeError(self.name, reason) from error
        image = rgb.to_ndarray()
        if mirrored:
            image = image[:, ::-1]
        if rotation:
            image = np.rot90(image, rotation // 90)
        # An RGB picture comes back as it is, in memory that the decoder may still read.
        return image.copy() if rgb is picture else np.ascontiguousarray(image)

    def look_for_missing(self, num_frames: int) -> None:
        """Compare the frames that came, all of them, with what the container has promised."""
        num_promised, whole = self._count_promised(), None
        # FFmpeg counts the pictures of GIF, and indexes the fragments of mp4, by reading them all.
        is_mov = self.container_name == MOV_CONTAINER
        is_fragmented = is_mov and num_promised > self._stream.frames
        states_count = bool(num_promised) and self.container_name != "gif" and not is_fragmented
        if self.container_name == "avi" and num_frames < num_promised:
            num_promised -= self._examine(partial(count_empty_chunks, stream_index=self._stream_index)) or 0
        # A file that ends early is whole if nothing changes on the screen any more.
        if not (self.ledger.comes_to_end or (is_mov and states_count)):
            check = partial(is_whole, container=self.container_name, read_to=self.ledger.read_to)
            whole = self._examine(check)
            if whole is not False and self.ledger.ends_early and self.container_name == "matroska,webm":
                videos = [s.index for s in self._container.streams if s.type == "video"]
                number = videos.index(self._stream_index)
                num_blocks = self._examine(partial(count_blocks, video_number=number))
                whole = num_blocks is not None and num_blocks <= self.ledger.num_packets
        if whole is None and ends_sequence(self.ledger.tail, self.codec_name):
            whole = True
        self.excuse_joins()
        self.ledger.settle(num_frames, num_promised, whole, states_count=states_count)

    def excuse_joins(self) -> None:
        """Find out whether transport streams were joined where packets seem to be damaged."""
        if self.container_name != "mpegts" or not self.ledger.may_be_joined:
            return
        if self._examine(partial(restarts_cleanly, stream_id=self._stream.id)):
            self.ledger.excuse_joins()

    def _examine(self, check: Callable[[BinaryIO], _T]) -> _T | None:
        """Look at the bytes of the file anew; None where they cannot be read again."""
        source = self._source
        try:
            if isinstance(source, (str, os.PathLike)):
                with open(source, "rb") as file:
                    return check(file)
            if isinstance(source, (bytes, bytearray, memoryview)):
                return check(io.BytesIO(source))
            return self._reread(lambda _: check(source))
        except (OSError, ValueError, IndexError, struct.error):
            return None

    def _reread(self, read: Callable[[VideoSource], _T]) -> _T:
        """Read the source once more, and leave an open file where it stands."""
        if isinstance(self._source, (str, os.PathLike, bytes, bytearray, memoryview)):
            return read(self._source)
        position = self._source.tell()
        try:
            return read(self._source)
        finally:
            self._source.seek(position)

    def _find_promised_end(self) -> tuple[Fraction | None, list[Any]]:  # Any: PyAV streams
        """Return where a container without a frame count says it ends, and the streams it says it of."""
        if self.container_name not in ("matroska,webm", "flv", "asf", "mxf", "rm", "gxf"):
            return None, [self._stream]
        if not self._container.duration:
            return None, [self._stream]
        if self.container_name == "flv" and not self._examine(partial(read_flv_value, name=b"duration")):
            return None, [self._stream]  # FFmpeg takes that of the last tag then
        end_s = Fraction(self._container.duration, 1_000_000)
        match = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", self._stream.metadata.get("DURATION", ""))
        if match:
            stream_end_s = int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3])
            return min(stream_end_s, end_s), [self._stream]
        return end_s, list(self._container.streams)

    def _count_promised(self) -> int:
        """Return how many frames the container says it holds, hidden ones included; 0 if it does not say."""
        stated = int(self._stream.frames)
        if self.container_name == "mxf" and self.time_base * self.fps == 1:
            return int(self._stream.duration or 0)  # which counts frames
        if self.container_name != MOV_CONTAINER:
            return stated
        # The index has the samples of all fragments and lacks those that an edit list cuts off. If it lacks
        # some without an edit list, it is damaged.
        indexed = len(getattr(self._stream, "index_entries", ()))
        if indexed < stated and self._count_without_edits() < stated:
            return stated
        return indexed or stated

    def _count_without_edits(self) -> int:
        try:
            with self._open(resolve_source(self._source)[1], ignore_editlist="1") as container:
                stream = container.streams[self._stream_index]
                return len(getattr(stream, "index_entries", ())) or int(stream.frames)
        except (VideoDecodeError, IndexError):
            return 0


def _read_orientation(picture: Any) -> tuple[int, bool]:  # Any: a PyAV frame
    """Return how a picture is shown: degrees counter-clockwise (0, 90, 180, 270), after mirroring or not.

    Choice: angles other than multiples of 90 are rounded to the next.
    """
    try:
        data = [picture.side_data[i] for i in range(len(picture.side_data))]
    except ValueError:  # PyAV does not know every kind of side data and then refuses all
        return round(picture.rotation / 90) * 90 % 360, False
    # The container's comes before that which is coded in the picture; players go by the container.
    matrix = next((item for item in data if item.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return 0, False
    # (x, y) of the coded picture is shown at (a x + c y, b x + d y), y pointing down.
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(float)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (180 if a + d < 0 else 0), bool(mirrored)
    return (90 if c > b else 270), bool(mirrored)


def _is_close(rate: Fraction, measured: Fraction) -> bool:
    return abs(rate - measured) < measured / 50


def _brief(error: BaseException) -> str:
    """Return what FFmpeg or Python says is wrong, without path and error number."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
