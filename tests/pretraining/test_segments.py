"""TSM's sampling of frames against what the original code gave, and what must hold for any length."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clip_folder import small_extractor, unknown_videos

from bsp_hf import PretextClips, SynthesisConfig
from bsp_hf.pretraining.drawing.segments import sample_segments, sample_test_clips
from bsp_hf.pretraining.pretexts import make_pretext

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "tsm" / "frame_indices.json"
ROWS = json.loads(GOLDEN.read_text(encoding="utf-8"))["rows"]


class LegacyGenerator:
    """Draws integers as the original code does, with numpy's legacy generator."""

    def __init__(self, seed: int):
        self.state = np.random.RandomState(seed)

    def integers(self, high: int, size: int) -> np.ndarray:
        return self.state.randint(high, size=size)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['num_frames']}x{row['segments']}")
def test_every_mode_takes_the_frames_of_the_original(row):
    length, segments = row["num_frames"], row["segments"]
    one_based = {
        "train_uniform_numpy_seed_5": sample_segments(length, segments, "random", LegacyGenerator(5)),
        "validation_uniform": sample_segments(length, segments, "center"),
        "test_uniform": sample_test_clips(length, segments, "uniform"),
        "test_twice": sample_test_clips(length, segments, "twice"),
        "test_dense_10_clips": sample_test_clips(length, segments, "dense"),
    }
    assert set(one_based) == set(row) - {"num_frames", "segments"}
    for name, frames in one_based.items():
        assert frames.dtype == np.int64
        assert (frames.ravel() + 1).tolist() == row[name], name


def test_the_original_was_asked_for_many_lengths():
    assert len(ROWS) >= 10 and min(row["num_frames"] for row in ROWS) < 8


@given(length=st.integers(1, 400), segments=st.integers(1, 16), seed=st.integers(0, 99))
def test_random_places_lie_each_in_its_own_segment(length, segments, seed):
    frames = sample_segments(length, segments, "random", np.random.default_rng(seed))
    if length < segments:
        assert (frames == 0).all()
    else:
        assert (frames // (length // segments) == np.arange(segments)).all()
    for mode, num_clips in (("uniform", 1), ("twice", 2), ("dense", 10)):
        clips = sample_test_clips(length, segments, mode)
        assert clips.shape == (num_clips, segments)
        assert clips.min() >= 0 and clips.max() < length


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(ValueError, match="num_frames=0"):
        sample_segments(0, 8, "center")
    with pytest.raises(ValueError, match="place='middle'"):
        sample_segments(9, 8, "middle")
    with pytest.raises(ValueError, match="needs rng"):
        sample_segments(9, 8, "random")
    with pytest.raises(ValueError, match="mode='thrice'"):
        sample_test_clips(9, 8, "thrice")


# Action classification


def action_clips(place: str) -> PretextClips:
    config = SynthesisConfig(action_sampling="segments", segment_place=place)
    pretext = make_pretext("action", config, ("a", "b"))
    return PretextClips(unknown_videos(65, 8, 9, 130, labels="aabb"), pretext, small_extractor())


def test_an_action_clip_spans_its_whole_video():
    clips = action_clips("random")
    # 8 frames are no more than there are segments.
    assert clips.left_out == 1 and len(clips) == 3
    for epoch in range(5):
        clips.set_epoch(epoch)
        for index, length in enumerate((65, 9, 130)):
            (frames,) = clips.plan(index).plan.frames
            assert (frames // (length // 8) == np.arange(8)).all()


@pytest.mark.parametrize(("place", "num_clips"), [("center", 1), ("uniform", 1), ("twice", 2), ("dense", 10)])
def test_every_test_clip_of_a_video_is_a_case(place, num_clips):
    clips = action_clips(place)
    assert len(clips) == 3 * num_clips
    assert clips.pretext.averages_cases == (num_clips > 1)
    expected = next(row for row in ROWS if row["num_frames"] == 65 and row["segments"] == 8)
    name = {"center": "validation_uniform", "dense": "test_dense_10_clips"}.get(place, f"test_{place}")
    shown = [clips.plan(3 * case).plan.frames[0] + 1 for case in range(num_clips)]
    assert np.concatenate(shown).tolist() == expected[name]


def test_held_out_clips_have_fixed_places():
    config = SynthesisConfig(class_sampling="segments", ramp_epochs=3)
    held_out = config.for_evaluation()
    assert (held_out.segment_place, held_out.ramp_epochs) == ("center", 0)
    assert config.for_evaluation("dense").segment_place == "dense"
