"""What is annotated in untrimmed videos: segments with a class, and moments with a sentence."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from bsp_hf.metrics import SegmentTable, StepAnnotation

SHOWN_PROBLEMS = 10


@dataclass(frozen=True)
class Segment:
    """A stretch of a video, in seconds, in which something happens; `label` is its class or step of a task.

    The end lies after the start and may lie past the end of the video, as it does in several public files.
    """

    start_s: float
    end_s: float
    label: str = ""


@dataclass(frozen=True)
class MomentQuery:
    """A sentence and the moments that it describes."""

    query_id: str  # as in the file, or its number in it, bad rows counted; unique within a video alone
    sentence: str
    # start and end in seconds; one in most data sets, several in QVHighlights
    windows_s: tuple[tuple[float, float], ...]
    # number of each clip of 2 s that raters scored, and their scores, 0 to 4 (QVHighlights)
    saliency: tuple[tuple[int, tuple[float, ...]], ...] = ()

    @property
    def start_s(self) -> float:
        """Start of the first moment in seconds."""
        return self.windows_s[0][0]

    @property
    def end_s(self) -> float:
        """End of the first moment in seconds."""
        return self.windows_s[0][1]


@dataclass(frozen=True)
class AnnotatedVideo:
    """One video and what is known about it; what the file does not say is `None` or empty.

    Segments and queries are in file order. `subset` is the part of the data set in the file's own words,
    `task` what the video shows (CrossTask, COIN).
    """

    video_id: str
    duration_s: float | None = None
    subset: str = ""
    segments: tuple[Segment, ...] = ()
    queries: tuple[MomentQuery, ...] = ()
    task: str = ""
    fps: float | None = None
    num_frames: int | None = None


@dataclass(frozen=True)
class AnnotationProblem:
    """A row of an annotation file that cannot be used, and what is wrong with it.

    Its line is counted from 1; in a JSON file it is that on which the video's record begins.
    """

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.text}"


class AnnotationError(ValueError):
    """An annotation file with bad rows, one or more, read strictly."""

    def __init__(self, problems: tuple[AnnotationProblem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        shown = [str(problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        more = len(self.problems) - len(shown)
        end = [f"... and {more} more"] if more else []
        head = f"{len(self.problems)} bad rows; correct them, or read with strict=False to leave them out."
        return "\n".join([head, *shown, *end])


@dataclass(frozen=True)
class AnnotationSet:
    """The annotations of many videos, each once and in file order, and the rows that were left out.

    `layout` is that of the file, one of `ANNOTATION_LAYOUTS`, if they were read from one.
    """

    videos: tuple[AnnotatedVideo, ...]
    problems: tuple[AnnotationProblem, ...] = field(default=())
    layout: str | None = None

    def __len__(self) -> int:
        return len(self.videos)

    @cached_property
    def by_id(self) -> dict[str, AnnotatedVideo]:
        """The videos by their id."""
        return {video.video_id: video for video in self.videos}

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels of the segments, each once, sorted."""
        return tuple(sorted({segment.label for video in self.videos for segment in video.segments}))

    @cached_property
    def subsets(self) -> tuple[str, ...]:
        """The subsets that occur, sorted."""
        return tuple(sorted({video.subset for video in self.videos}))

    @property
    def num_segments(self) -> int:
        """Segments of all videos."""
        return sum(len(video.segments) for video in self.videos)

    @property
    def num_queries(self) -> int:
        """Queries of all videos."""
        return sum(len(video.queries) for video in self.videos)

    def of_subset(self, subset: str | None) -> "AnnotationSet":
        """Return the videos of one subset, or all of them with `None`; an unknown one is a `ValueError`."""
        if subset is None:
            return self
        videos = tuple(video for video in self.videos if video.subset == subset)
        if not videos:
            raise ValueError(f"no video is in subset {subset!r}; the annotations have {list(self.subsets)}.")
        return replace(self, videos=videos)

    def without_videos(self, video_ids: Iterable[str]) -> "AnnotationSet":
        """Return the set less some videos, for instance those without features."""
        out = set(video_ids)
        return replace(self, videos=tuple(video for video in self.videos if video.video_id not in out))

    def with_durations(self, durations_s: dict[str, float]) -> "AnnotationSet":
        """Return the set with durations in seconds where the file says none."""
        videos = tuple(
            replace(video, duration_s=durations_s.get(video.video_id)) if video.duration_s is None else video
            for video in self.videos
        )
        return replace(self, videos=videos)

    def cut_to_videos(self) -> "AnnotationSet":
        """Return the set with every moment cut at the end of its video, as 2D-TAN's loader does.

        Moments that start at the end or later are left out, and so are queries without another. Where the
        duration is unknown, moments stay.
        """
        return replace(self, videos=tuple(_cut_to_video(video) for video in self.videos))

    def segment_table(self, one_label: str | None = None) -> SegmentTable:
        """Return the segments for the detection metrics, all under `one_label` if it is given.

        Videos without a segment are in the table too.
        """
        rows = [(video.video_id, segment) for video in self.videos for segment in video.segments]
        return SegmentTable.from_columns(
            [video_id for video_id, _ in rows],
            [segment.label if one_label is None else one_label for _, segment in rows],
            [[segment.start_s, segment.end_s] for _, segment in rows],
            all_video_ids=[video.video_id for video in self.videos],
        )

    def step_annotations(self) -> dict[str, StepAnnotation]:
        """Return duration and steps by video id, for the actionness metric; all durations must be known."""
        unknown = [video.video_id for video in self.videos if video.duration_s is None]
        if unknown:
            raise ValueError(
                f"the duration of {len(unknown)} videos is unknown, first {unknown[0]!r}; give features that "
                "record it, or a file of durations."
            )
        return {
            video.video_id: StepAnnotation(
                float(video.duration_s or 0), [[s.start_s, s.end_s] for s in video.segments]
            )
            for video in self.videos
        }


def _cut_to_video(video: AnnotatedVideo) -> AnnotatedVideo:
    if video.duration_s is None:
        return video
    queries = []
    for query in video.queries:
        cut_s = [(start_s, min(end_s, video.duration_s)) for start_s, end_s in query.windows_s]
        inside_s = tuple((start_s, end_s) for start_s, end_s in cut_s if start_s < end_s)
        if inside_s:
            queries.append(replace(query, windows_s=inside_s))
    return replace(video, queries=tuple(queries))
