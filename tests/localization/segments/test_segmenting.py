"""Segments of videos: their kinds by frames and encoder, their exact frames, and which changes stay."""

from fractions import Fraction

import numpy as np
import pytest
from support.rendered import render_video
from support.tiny_localizers import boundary_classifier, render_levels, tiny_extractor
from transformers import pipeline

import bsp_hf
from bsp_hf.encoder.video import index_frames
from bsp_hf.localization.boundaries.transitions import classify_transition
from bsp_hf.localization.localizer.segments import LocalizedSegments
from bsp_hf.localization.segments.segmenting import divide_video, find_changes
from bsp_hf.localization.segments.types import Change


def shot(num_frames, seed):
    """Smooth textures that drift a little."""
    rng = np.random.default_rng(seed)
    base = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((4, 4, 1)))
    return np.stack([np.roll(base, number // 2, axis=1) for number in range(num_frames)]).astype(np.float32)


@pytest.mark.parametrize("offset", [-4, -1, 0, 2, 5])
def test_a_cut_is_found_at_its_first_frame(offset):
    pictures = np.concatenate([shot(9 + offset, 1), shot(9 - offset, 2)]).astype(np.uint8)
    found = classify_transition(pictures, 9)
    assert (found.kind, found.frame) == ("cut", 9 + offset)


@pytest.mark.parametrize("length", [4, 8, 12])
def test_a_cross_fade_is_a_gradual_transition(length):
    weights = np.clip((np.arange(18) - 9 + length / 2 + 0.5) / length, 0, 1)[:, None, None, None]
    still = np.repeat(shot(1, 1), 18, axis=0) * (1 - weights) + np.repeat(shot(1, 2), 18, axis=0) * weights
    assert classify_transition(still.astype(np.uint8), 9).kind == "gradual"


def test_a_wipe_is_gradual_and_motion_and_a_flash_are_neither():
    first, second = shot(1, 1)[0], shot(1, 2)[0]
    wipe = np.stack([np.where(np.arange(32)[None, :, None] < 2 * n, second, first) for n in range(18)])
    assert classify_transition(wipe.astype(np.uint8), 9).kind == "gradual"
    moving = np.stack([np.roll(first, 3 * n, axis=1) for n in range(18)])
    assert classify_transition(moving.astype(np.uint8), 9).kind is None
    flash = np.repeat(first[None], 18, axis=0)
    flash[9] = 255
    assert classify_transition(flash.astype(np.uint8), 9).kind is None
    assert classify_transition(shot(3, 1).astype(np.uint8), 1).kind is None


def found_at(times_s, labels, scores):
    return LocalizedSegments(
        {"label": label, "score": score, "time_s": time_s}
        for time_s, label, score in zip(times_s, labels, scores, strict=True)
    )


def test_boundaries_are_changes_at_frames_and_keep_their_kinds(tmp_path):
    path = render_levels(tmp_path / "levels.mp4", [20, 200, 60])
    found = found_at([1.0, 1.01, 1.52, 2.0], ["action", "cut", "pace", "cut"], [0.7, 0.9, 0.6, 0.8])
    assert [(one.frame, one.kind, one.score) for one in find_changes(index_frames(path), found)] == [
        (25, "cut", 0.9),  # two boundaries at one frame are one change
        (38, "pace", 0.6),
        (50, "cut", 0.8),
    ]


def test_short_segments_and_many_lose_their_weakest_changes(tmp_path):
    path = render_video(tmp_path / "v.mp4", 100)
    index = index_frames(path)
    scores = {10: 0.9, 20: 0.6, 26: 0.7, 60: 0.8, 95: 0.95}
    changes = [Change(frame, "cut" if frame != 60 else "action", s) for frame, s in scores.items()]

    def starts(**options):
        return [one.start_frame for one in divide_video(path, index, changes, **options).segments]

    assert starts() == [0, 10, 20, 26, 60, 95]
    # The last segment is too short whatever stays; of 20 and 26 the weaker one is left out.
    assert starts(min_segment_s=0.3) == [0, 10, 26, 60]
    assert starts(max_segments=3) == [0, 10, 95]
    assert starts(max_segments=1) == [0] and starts(min_segment_s=9) == [0]
    assert starts(kinds=["action"]) == [0, 60]
    assert starts(start_s=0.8, end_s=2.4) == [20, 26]
    last = divide_video(path, index, changes, start_s=0.8, end_s=2.4).segments[-1]
    assert (last.end_frame, last.end_s) == (60, pytest.approx(2.4))
    with pytest.raises(ValueError, match="no frame there"):
        starts(start_s=4.5)


@pytest.fixture(scope="module")
def detector():
    model = boundary_classifier()
    return pipeline("video-boundary-detection", model=model, feature_extractor=tiny_extractor())


def test_a_video_is_divided_at_the_boundaries_of_the_pipeline(tmp_path, detector):
    path = render_levels(tmp_path / "levels.mp4", [20, 200, 20])
    found = detector(path, threshold=0.0)
    video = bsp_hf.segment_video(path, detector, threshold=0.0, thumbnails=True)
    assert len(found) >= 1 and 1 < len(video.segments) <= len(found) + 1
    assert video.frame_rate == Fraction(25) and video.has_constant_rate and video.video_id == "levels"
    edges = [one.start_frame for one in video.segments] + [video.segments[-1].end_frame]
    assert edges == sorted(set(edges)) and edges[0] == 0 and edges[-1] == 75
    assert [one.end_s for one in video.segments[:-1]] == [one.start_s for one in video.segments[1:]]
    np.testing.assert_array_equal(video.scores, found.scores)
    assert len(video.thumbnails) == len(video.segments)
    assert all(picture[:2] == b"\xff\xd8" for picture in video.thumbnails)
    same = bsp_hf.segment_video(path.read_bytes(), detector, threshold=0.0)
    assert same.segments == video.segments and same.path is None


def test_a_video_shorter_than_a_window_is_one_segment(tmp_path, detector):
    path = render_video(tmp_path / "short.mp4", 3)
    video = bsp_hf.segment_video(path, detector)
    assert [(one.start_frame, one.end_frame, one.kind) for one in video.segments] == [(0, 3, None)]
    assert video.error is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kinds": ["jump"]}, "cut, gradual, action, pace"),
        ({"kinds": []}, "at least one of"),
        ({"min_segment_s": -1}, "at least 0"),
        ({"min_segment_s": float("nan")}, "number of seconds"),
        ({"max_segments": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_the_video_is_read(options, said, detector):
    with pytest.raises(ValueError, match=said):
        bsp_hf.segment_video("nowhere.mp4", detector, **options)
