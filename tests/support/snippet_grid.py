"""The snippets of a video of known length, computed at once: what streaming must agree with."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SnippetGrid:
    """Where the snippets of a video lie, by the rule of `iter_snippets`."""

    num_frames: int
    snippet_frames: int = 8
    stride_frames: int = 8
    padding: str = "repeat"

    @property
    def num_snippets(self) -> int:
        num_complete = max(0, (self.num_frames - self.snippet_frames) // self.stride_frames + 1)
        if self.padding == "drop":
            return num_complete
        next_start = num_complete * self.stride_frames
        covered = next_start - self.stride_frames + self.snippet_frames if num_complete else 0
        return num_complete + (next_start < self.num_frames and covered < self.num_frames)

    def windows(self) -> np.ndarray:
        """The real frames of each snippet, `(num_snippets, 2)`, half-open; repeats are not counted."""
        starts = np.arange(self.num_snippets, dtype=np.int64) * self.stride_frames
        return np.stack([starts, np.minimum(starts + self.snippet_frames, self.num_frames)], axis=1)

    def frame_indices(self) -> np.ndarray:
        """The frame at each place of each snippet, `(num_snippets, snippet_frames)`, repeats included."""
        windows = self.windows()
        indices = windows[:, :1] + np.arange(self.snippet_frames, dtype=np.int64)
        return np.minimum(indices, windows[:, 1:] - 1)

    def spans_s(self, times_s: np.ndarray, frame_duration_s: float) -> np.ndarray:
        """The seconds that each snippet covers, `(num_snippets, 2)`, half-open."""
        if self.num_frames == 0:
            return np.empty((0, 2))
        return np.append(times_s, times_s[-1] + frame_duration_s)[self.windows()]

    def centers_s(self, times_s: np.ndarray, frame_duration_s: float) -> np.ndarray:
        """The middle of each span."""
        return self.spans_s(times_s, frame_duration_s).mean(axis=1)
