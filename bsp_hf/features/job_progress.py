"""Progress of a folder job: a bar where someone looks on, a line now and then where a log is written."""

import logging
import sys
import time

from tqdm import tqdm

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0


class JobProgress:
    """Shows how many videos are settled, the rates, and the time left.

    Args:
        total (`int`, *optional*): Number of videos; none where a stream does not say.
        is_shown (`bool`): Whether to show anything.
    """

    def __init__(self, total: int | None, is_shown: bool) -> None:
        self.started_s = time.monotonic()
        self.num_snippets, self.video_s = 0, 0.0
        self._total, self._num_settled, self._num_failed, self._num_worked = total, 0, 0, 0
        self._is_shown = is_shown
        self._last_line_s = self.started_s
        is_watched = is_shown and sys.stderr.isatty()
        self._bar = tqdm(total=total, unit="video", dynamic_ncols=True) if is_watched else None

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.monotonic() - self.started_s

    def settle(self, num_snippets: int = 0, video_s: float = 0.0, has_failed: bool = False) -> None:
        """Count a video that is done, or is known not to be.

        Args:
            num_snippets (`int`, *optional*, defaults to 0): Rows made of it.
            video_s (`float`, *optional*, defaults to 0.0): Seconds of it that were read.
            has_failed (`bool`, *optional*, defaults to `False`): Whether it failed.
        """
        self.num_snippets += num_snippets
        self.video_s += video_s
        self._num_settled += 1
        self._num_failed += has_failed
        self._num_worked += bool(num_snippets) or has_failed
        if self._bar is not None:
            self._bar.set_postfix_str(self._rates(), refresh=False)
            self._bar.update()
        elif self._is_shown and time.monotonic() - self._last_line_s > _SECONDS_BETWEEN_LINES:
            self._last_line_s = time.monotonic()
            logger.info("%s", self.line())

    def line(self) -> str:
        """Say where the job stands in one line."""
        of_all = "" if self._total is None else f" of {self._total}"
        left = ""
        if self._total is not None and self._num_worked:
            # What was there already took no time and is no measure of what is left.
            left_s = self.seconds / self._num_worked * (self._total - self._num_settled)
            left = f", about {_duration(left_s)} left"
        return f"{self._num_settled}{of_all} videos in {_duration(self.seconds)}, {self._rates()}{left}"

    def note(self, text: str) -> None:
        """Show a line above the bar, such as the name of a video that failed.

        Args:
            text (`str`): The line.
        """
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif self._is_shown:
            logger.warning("%s", text)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _rates(self) -> str:
        seconds = max(self.seconds, 1e-9)
        rates = f"{self.num_snippets / seconds:.1f} snippets/s, {self.video_s / seconds:.1f} x real time"
        return f"{rates}, {self._num_failed} failed" if self._num_failed else rates


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


__all__ = ["JobProgress"]
