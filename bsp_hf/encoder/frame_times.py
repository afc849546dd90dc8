"""Time stamps to seconds: the time of each frame of a real file, and frames at a rate of one's choice."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush
from typing import TypeVar

_T = TypeVar("_T")

# A longer step from one frame to the next is a broken time stamp, not a still picture: the 33-bit
# clock of MPEG streams jumps by 26 hours.
_LONGEST_GAP_S = 3600


# A picture comes at most so many packets after its own: codecs put at most 16 in another order.
_MOST_DELAY = 17
# Packets that are waited for in vain so often have no picture (second fields), which is no reason to wait.
_MOST_DOUBTS = 8


class StampOrder:
    """Find the time stamp of each shown picture, where the packets may carry them in coded order.

    AVI and careless muxers write no showing times: what the packets carry then rises from packet to packet,
    while the pictures are shown in another order. The k-th shown picture gets the k-th smallest stamp there.
    A picture is seen to be stamped so when one with a lower stamp comes after it; where none comes, the
    packets with the lower stamps have been lost.
    """

    def __init__(self) -> None:
        self._num_packets = self._part = self._num_doubts = 0
        self._last_dts: int | None = None
        # Part of the file, stamp and number of each packet whose picture has not come; a part starts where
        # decoding times go back.
        self._pending: list[tuple[int, int, int]] = []
        # The stamps that no picture has got, once they are known to be in coded order.
        self._free: list[tuple[int, int]] | None = None

    def add(self, pts: int | None, dts: int | None) -> None:
        """Note the stamps of the next packet."""
        self._num_packets += 1
        self._part += dts is not None and self._last_dts is not None and dts < self._last_dts
        self._last_dts = self._last_dts if dts is None else dts
        if pts is not None:
            self._pending.append((self._part, pts, self._num_packets))
            if self._free is not None:
                heappush(self._free, (self._part, pts))

    def drop_last(self) -> None:
        """Forget the last packet, of which no picture comes."""
        if self._pending and self._pending[-1][2] == self._num_packets:
            part, stamp, _ = self._pending.pop()
            if self._free and (part, stamp) in self._free:
                self._free.remove((part, stamp))
                heapify(self._free)

    def must_wait(self, shown: Sequence[int | None]) -> bool:
        """Return whether the stamp of a picture is known only when more have come.

        `shown` are the stamps of this picture's packet and of those that came after it.
        """
        own = self._find(shown[0])
        if self._free is not None or own is None or self._num_doubts >= _MOST_DOUBTS:
            return False
        earlier = [packet for packet in self._pending if packet < own]
        if not earlier:
            return False
        if any((other := self._find(stamp)) is not None and other < own for stamp in shown[1:]):
            self._free = sorted((part, stamp) for part, stamp, _ in self._pending)
            return False
        return self._num_packets - max(number for _, _, number in earlier) <= _MOST_DELAY

    def next_stamp(self, pts: int | None) -> int | None:
        """Return the stamp of the next shown picture, whose packet has the stamp `pts`."""
        own = self._find(pts)
        oldest = self._num_packets - _MOST_DELAY
        if self._free is None:
            self._num_doubts += own is not None and any(packet < own for packet in self._pending)
            self._pending = [p for p in self._pending if p[2] >= oldest and (own is None or p > own)]
            return pts
        if own is not None:
            self._pending.remove(own)
        while self._pending and self._pending[0][2] < oldest:
            self._pending.pop(0)  # its picture was lost, and with it the place in the order
            if len(self._free) > 1:
                heappop(self._free)
        return heappop(self._free)[1] if self._free else pts

    def _find(self, stamp: int | None) -> tuple[int, int, int] | None:
        return next((packet for packet in self._pending if packet[1] == stamp), None)


class FrameClock:
    """Turn the time stamps of frames, taken in display order, into exact seconds since the first.

    Time stamps are taken as real files have them:

    - A frame without any comes one frame duration after the frame before it, so a stream without any runs
      at `index / fps`.
    - One that lies back by less than a frame (a duplicate, rounding) takes the time of the frame before it.
    - One that lies further back, or more than an hour ahead, starts a new time line (a wrap-around, joined
      files): it comes one frame duration after the frame before it, and the following ones keep their
      distance to it.

    Times never decrease. `time_base` is the seconds of one unit of the time stamps, `frame_duration_s` one
    over the frame rate.
    """

    def __init__(self, time_base: Fraction, frame_duration_s: Fraction) -> None:
        self.time_base = time_base
        self.frame_duration_s = frame_duration_s
        self.num_repaired = 0
        """Frames so far whose time is not what their time stamp says, or that have none."""
        # In units of the time base, which are whole numbers until something has to be repaired.
        self._frame_duration = frame_duration_s / time_base
        self._longest_gap = int(_LONGEST_GAP_S / time_base)
        self._origin: int | Fraction | None = None
        self._last: int | Fraction | None = None

    def read(self, stamp: int | None, is_repaired: bool = False) -> Fraction:
        """Return the second at which the next frame is shown, counted from the first.

        `stamp` is its time stamp in units of `time_base`; `is_repaired` where it is not the frame's own.
        """
        is_repaired = is_repaired or stamp is None
        self.num_repaired += is_repaired
        previous = self._last
        if stamp is None:
            self._last = 0 if previous is None else previous + self._frame_duration
            return self._last * self.time_base
        if self._origin is None:
            self._origin = stamp if previous is None else stamp - previous - self._frame_duration
        time = stamp - self._origin
        if previous is not None and not previous <= time <= previous + self._longest_gap:
            self.num_repaired += not is_repaired
            if previous - self._frame_duration < time < previous:
                time = previous
            else:
                time = previous + self._frame_duration
                self._origin = stamp - time
        self._last = time
        return time * self.time_base


# A frame in a day; and a second of more frames than that takes minutes.
LEAST_FPS, MOST_FPS = 1e-5, 10_000


def exact_rate(fps: float | Fraction) -> Fraction:
    """Return a frame rate as the fraction that was meant: 29.97002997 is 30000/1001, 12.5 is 25/2."""
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps must be a positive number, got {fps}.")
    if not LEAST_FPS <= fps <= MOST_FPS:
        raise ValueError(f"fps must be between {LEAST_FPS} and {MOST_FPS}, got {fps}.")
    if isinstance(fps, Fraction):
        return fps
    written = exact_seconds(fps)
    simple = written.limit_denominator(1001)
    return simple if abs(simple - written) <= written * Fraction(1, 10**8) else written


def exact_seconds(time_s: float) -> Fraction:
    """Return a number of seconds as it is written: 0.2 is 1/5, not the binary number next to it."""
    return Fraction(repr(float(time_s)))


def check_range(start_s: float, end_s: float | None) -> None:
    """Raise a `ValueError` if there is nothing between two seconds of a video."""
    if not start_s >= 0 or (end_s is not None and not end_s > start_s):
        raise ValueError(f"start_s must not be negative and end_s must be later, got {start_s} and {end_s}.")


def choose_frames(
    frames: Iterable[tuple[Fraction, _T]],
    fps: Fraction | None,
    frame_duration_s: Fraction,
    start_s: float,
    end_s: float | None,
) -> Iterator[tuple[Fraction, _T]]:
    """Yield the `(time_s, frame)` of a range: each once, or resampled to `fps` by [`resample_nearest`]."""
    if fps is not None:
        end = None if end_s is None else exact_seconds(end_s)
        yield from resample_nearest(frames, fps, frame_duration_s, exact_seconds(start_s), end)
        return
    for time_s, frame in frames:
        if end_s is not None and float(time_s) >= end_s:
            return
        if float(time_s) >= start_s:
            yield time_s, frame


def resample_nearest(
    frames: Iterable[tuple[Fraction, _T]],
    fps: Fraction,
    frame_duration_s: Fraction,
    start_s: Fraction = Fraction(0),
    end_s: Fraction | None = None,
) -> Iterator[tuple[Fraction, _T]]:
    """Bring a stream of `(time_s, frame)` of any timing to a constant rate, holding two frames at a time.

    Choice: output `k` stands at `start_s + k / fps` and is the frame whose time is nearest to it; of two
    equally near the earlier. Frames repeat where the new rate is higher. Outputs end where the last frame
    does: at `frame_duration_s` after it is shown, less half of that or half an output step, whichever is
    smaller, so that rounded time stamps do not add a frame. They are earlier than `end_s`, and no frame is
    taken that none of them needs.
    """
    step = 1 / fps
    output_s = start_s
    k = 0
    held: tuple[Fraction, _T] | None = None
    for time_s, frame in frames:
        if held is not None:
            turn_s = (held[0] + time_s) / 2  # up to and with this time, the held frame is the nearest
            while output_s <= turn_s:
                if end_s is not None and output_s >= end_s:
                    return
                yield output_s, held[1]
                k += 1
                output_s = start_s + k * step
            if end_s is not None and output_s >= end_s:
                return
        held = time_s, frame
    if held is None:
        return
    last_s = held[0] + frame_duration_s - min(frame_duration_s, step) / 2
    while output_s < last_s and (end_s is None or output_s < end_s):
        yield output_s, held[1]
        k += 1
        output_s = start_s + k * step
