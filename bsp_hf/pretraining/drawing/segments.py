"""TSM's sampling of frames: one from each of equal segments of a video, or densely."""

import numpy as np

_DENSE_FRAMES = 64
_DENSE_CLIPS = 10


def sample_segments(
    num_frames: int, num_segments: int, place: str, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Return one frame from each of equal parts of a video, int64 `(num_segments,)`, not falling.

    `place` is `"random"` as in TSM's training, `"center"` as in its evaluation, or `"uniform"` as in its
    test, which knows no short videos. Of one that is too short the others take the first frame again and
    again, as published.
    """
    _check_lengths(num_frames, num_segments)
    if place == "random":
        return _random_places(num_frames, num_segments, rng)
    if place not in ("center", "uniform"):
        raise ValueError(f"place={place!r} must be 'random', 'center' or 'uniform'.")
    if place == "center" and num_frames <= num_segments:
        return np.zeros(num_segments, np.int64)
    return (num_frames / num_segments * (np.arange(num_segments) + 0.5)).astype(np.int64)


def sample_test_clips(num_frames: int, num_segments: int, mode: str) -> np.ndarray:
    """Return the frames of TSM's test clips, int64 `(num_clips, num_segments)`.

    `mode` is `"uniform"` (one clip), `"twice"` (one at the centre and one at the start of every segment) or
    `"dense"` (ten windows of 64 frames).
    """
    centers = sample_segments(num_frames, num_segments, "uniform")
    if mode == "uniform":
        return centers[None]
    if mode == "twice":
        starts = (num_frames / num_segments * np.arange(num_segments)).astype(np.int64)
        return np.stack([centers, starts])
    if mode == "dense":
        num_places = max(1, 1 + num_frames - _DENSE_FRAMES)
        starts = np.linspace(0, num_places - 1, _DENSE_CLIPS).astype(np.int64)
        steps = np.arange(num_segments) * (_DENSE_FRAMES // num_segments)
        return (starts[:, None] + steps) % num_frames
    raise ValueError(f"mode={mode!r} must be 'uniform', 'twice' or 'dense'.")


def num_test_clips(place: str) -> int:
    """Return how many clips of a video a place in `SEGMENT_PLACES` stands for."""
    return {"twice": 2, "dense": _DENSE_CLIPS}.get(place, 1)


def _random_places(num_frames: int, num_segments: int, rng: np.random.Generator | None) -> np.ndarray:
    if rng is None:
        raise ValueError("place='random' needs rng.")
    length = num_frames // num_segments
    if length > 0:
        starts = np.arange(num_segments) * length
        return starts + rng.integers(length, size=num_segments)
    return np.zeros(num_segments, np.int64)


def _check_lengths(num_frames: int, num_segments: int) -> None:
    if num_frames < 1 or num_segments < 1:
        raise ValueError(f"num_frames={num_frames} and num_segments={num_segments} must both be at least 1.")
