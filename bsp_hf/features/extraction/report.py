"""Progress and outcome of a folder job: counts, rates, the table of failures, and the exit status."""

import logging
import sys
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tqdm import tqdm

from bsp_hf.files import escape_controls

from .failures import FailedVideo

logger = logging.getLogger(__name__)

ALL_DONE, SOME_FAILED, NOTHING_DONE = 0, 1, 2
_MOST_ROWS = 50
_SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True)
class ExtractionReport:
    """What a process did of a folder job; `str` of it is meant to be printed.

    Args:
        output (`Path`): Where the features are.
        done (`tuple[str, ...]`): Ids of the videos extracted now, whole.
        skipped (`tuple[str, ...]`): Ids of those that were there, read back and found up to date.
        partial (`tuple[FailedVideo, ...]`): Videos that could be read in part; their features were written
            only if that was asked for.
        failed (`tuple[FailedVideo, ...]`): Videos that gave nothing.
        seconds (`float`): Wall time, without loading the model.
        num_snippets (`int`): Rows made.
        video_s (`float`): Seconds of video read.
        failures_file (`Path`): `failures.csv`, which has the failures of all processes; not there without
            any.
        waits_for_others (`bool`, *optional*, defaults to `False`): Whether the one file of all videos is
            still to be written, by whichever shard ends last.
        replaced (`tuple[str, ...]`, *optional*, defaults to `()`): Ids of those of `done` whose features
            replace those of another file, or of an earlier version of theirs.
        unknown (`tuple[str, ...]`, *optional*, defaults to `()`): Ids of those of `done` whose format says
            neither how long they are nor where they end: a cut file would look the same.
    """

    output: Path
    done: tuple[str, ...]
    skipped: tuple[str, ...]
    partial: tuple[FailedVideo, ...]
    failed: tuple[FailedVideo, ...]
    seconds: float
    num_snippets: int
    video_s: float
    failures_file: Path
    waits_for_others: bool = False
    replaced: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def snippets_per_s(self) -> float:
        """Rows made in a second of wall time."""
        return self.num_snippets / self.seconds if self.seconds else 0.0

    @property
    def times_realtime(self) -> float:
        """Seconds of video read in a second of wall time."""
        return self.video_s / self.seconds if self.seconds else 0.0

    @property
    def exit_status(self) -> int:
        """0 if every video is done, 1 if some failed or are partial, 2 if nothing is done."""
        if not self.partial and not self.failed:
            return ALL_DONE
        has_some = self.done or self.skipped or any(video.is_kept for video in self.partial)
        return SOME_FAILED if has_some else NOTHING_DONE

    def __repr__(self) -> str:
        return f"<ExtractionReport {str(self).splitlines()[0]}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def __str__(self) -> str:
        counts = [f"{len(self.done)} done"]
        for name, videos in (
            ("already there", self.skipped),
            ("partial", self.partial),
            ("failed", self.failed),
        ):
            if videos:
                counts.append(f"{len(videos)} {name}")
        lines = [f"{self.output}: {', '.join(counts)}, {self.seconds:.1f} s"]
        if self.num_snippets:
            lines[0] += f" ({self.snippets_per_s:.1f} snippets/s, {self.times_realtime:.1f} x real time)"
        if self.waits_for_others:
            lines.append("the file of all videos is written by the shard that ends last")
        if self.unknown:
            names = ", ".join(map(escape_controls, self.unknown[:_MOST_ROWS]))
            lines.append(f"{len(self.unknown)} in formats that do not state their end may be cut: {names}")
        if self.replaced:
            names = ", ".join(map(escape_controls, self.replaced[:_MOST_ROWS]))
            lines.append(f"features of {len(self.replaced)} files that have changed were replaced: {names}")
        return "\n".join([*lines, *self._table()])

    def _table(self) -> list[str]:
        """Return the failures, a row each, with the reasons below each other."""
        rows = [(video.file, "failed", video.reason) for video in self.failed]
        rows += [
            (
                video.file,
                "partial, kept" if video.is_kept else "partial",
                video.reason.removeprefix("partial: "),
            )
            for video in self.partial
        ]
        rows = sorted((escape_controls(file), what, escape_controls(reason)) for file, what, reason in rows)
        if not rows:
            return []
        shown = [("file", "outcome", "reason"), *rows[:_MOST_ROWS]]
        widths = [max(len(row[column]) for row in shown) for column in (0, 1)]
        table = [f"  {file:{widths[0]}}  {what:{widths[1]}}  {reason}" for file, what, reason in shown]
        more = [f"  and {len(rows) - _MOST_ROWS} more"] if len(rows) > _MOST_ROWS else []
        is_dropped = any(not video.is_kept for video in self.partial)
        hint = ["what can be read of partial ones is written with keep_partial (--keep-partial)"] * is_dropped
        return [*table, *more, f"all in {self.failures_file}", *hint]


class JobProgress:
    """Shows how many videos are settled, the rates, and, where the total is known, the time left."""

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
        """Count a video that is done or has failed, the rows made of it and its seconds that were read."""
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
        """Return the progress of the job as a line."""
        of_all = "" if self._total is None else f" of {self._total}"
        left = ""
        if self._total is not None and self._num_worked:
            # What was there already took no time and is no measure of what is left.
            left_s = self.seconds / self._num_worked * (self._total - self._num_settled)
            left = f", about {_duration(left_s)} left"
        return f"{self._num_settled}{of_all} videos in {_duration(self.seconds)}, {self._rates()}{left}"

    def note(self, text: str) -> None:
        """Show a line above the bar, such as the name of a video that failed."""
        text = escape_controls(text)
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif self._is_shown:
            logger.warning("%s", text)

    def close(self) -> None:
        """Close the bar."""
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
