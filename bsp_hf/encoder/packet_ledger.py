"""An account of a video file while it is read: what came, what was lost, and what had been promised."""

from fractions import Fraction
from typing import Any


class PacketLedger:
    """Keep count of packets and failures, and say in words what is known to be missing or damaged.

    Args:
        fps (`Fraction`): Average frames per second.
        promised_end_s (`Fraction` or `None`): Second at which the container says that it ends, where that
            and no frame count is what it says.
    """

    def __init__(self, fps: Fraction, promised_end_s: Fraction | None) -> None:
        self.num_packets = 0
        """Packets of the video stream so far."""
        self.num_hidden = 0
        """How many of them an edit list hides."""
        self._fps = fps
        self._promised_end_s = promised_end_s
        self._end_s = Fraction(0)
        self._starts_with_keyframe = True
        self._has_frames = False
        self._num_damaged = 0
        self._num_lost = 0
        self._decode_failure: str | None = None
        self._read_failure: str | None = None
        self._missing: str | None = None

    def note_packet(self, packet: Any) -> None:  # Any: a packet of PyAV
        """Count a packet of the video stream that was read."""
        if not self.num_packets:
            self._starts_with_keyframe = packet.is_keyframe
        self.num_packets += 1
        self.num_hidden += bool(packet.is_discard)
        self._num_damaged += bool(packet.is_corrupt)

    def note_end(self, packet: Any) -> None:  # Any: a packet of PyAV
        """Take the end of a packet for the end of the file so far."""
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

    def settle(self, num_frames: int, num_promised: int) -> None:
        """Compare what came with what was promised, when all has been read.

        Args:
            num_frames (`int`): Frames that were decoded.
            num_promised (`int`): Frames that the container says it holds, hidden ones included; 0 if it
                does not say.
        """
        num_shown = num_promised - self.num_hidden
        if num_frames < num_shown:
            self._missing = f"{num_frames} of {num_shown} declared frames came"
        elif (
            self._promised_end_s is not None
            and self._end_s + Fraction(3, 2) / self._fps < self._promised_end_s
        ):
            self._missing = f"it ends at {float(self._end_s):.2f} s of {float(self._promised_end_s):.2f} s"

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
        """Say why there is nothing to show."""
        failure = self._decode_failure or self._read_failure
        why = f" ({failure})" if failure else ""
        if not self.num_packets:
            return f"its video stream is empty{why}"
        return f"not one frame can be decoded from {self.num_packets} packets{why}"
