"""The classifier slid over a video answers where the video changes, in seconds."""

from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from bsp_hf import BSPFeatureExtractor
from bsp_hf.encoder.snippets import iter_snippets
from bsp_hf.encoder.video_records import Frame
from bsp_hf.localization.boundaries.response import (
    BoundaryResponse,
    boundary_response,
    calibrate_threshold,
    pick_boundaries,
)
from bsp_hf.localization.boundaries.sliding import QuietWindows
from bsp_hf.localization.boundaries.transitions import SeenTransitions, TransitionFinder, classify_transition


def render_steps(path, levels, frames_each, fps=25):
    """Write a video whose brightness steps through `levels`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in np.repeat(levels, frames_each):
            picture = np.full((48, 64, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


class CutDetector:
    """Knows one thing: whether the two halves of a window differ in brightness."""

    config = SimpleNamespace(label2id={"diff-class": 0, "same-speed": 1})
    device = torch.device("cpu")
    dtype = torch.float32

    def eval(self):
        return self

    def __call__(self, pixel_values, return_dict):
        brightness = pixel_values.mean((2, 3, 4))
        half = brightness.shape[1] // 2
        change = (brightness[:, :half].mean(1) - brightness[:, half:].mean(1)).abs()
        return SimpleNamespace(logits=torch.stack([20 * change - 2, 2 - 20 * change], dim=1))


def response_of(values, step_s=0.04, window_s=0.32):
    values = np.array(values, np.float32)
    times_s = np.arange(len(values)) * step_s
    return BoundaryResponse(
        times_s, np.stack([values, 1 - values], 1), values, window_s, len(values) * step_s
    )


def test_the_middle_of_a_plateau_is_the_boundary():
    values = np.zeros(100)
    values[47:54] = 1.0
    assert pick_boundaries(response_of(values)).tolist() == [50 * 0.04]


def test_a_plateau_is_judged_by_its_highest_window_and_lies_there():
    values = np.full(60, 0.1)
    values[26:34] = 0.85
    values[31] = 0.945
    assert pick_boundaries(response_of(values), threshold=0.9).tolist() == pytest.approx([31 * 0.04])
    values[40:48], values[45] = 0.9, 0.94  # too near, and lower
    assert pick_boundaries(response_of(values), threshold=0.9, min_gap_s=1).tolist() == [31 * 0.04]


def test_every_boundary_lies_on_a_top_of_the_response():
    values = np.random.default_rng(0).random(400).astype(np.float32)
    values = np.convolve(values, np.ones(5) / 5, mode="same")
    response = response_of(values)
    found = pick_boundaries(response, threshold=0.5, min_gap_s=0)
    rows = np.searchsorted(response.times_s, found)
    assert len(found) > 20 and len(set(found)) == len(found)
    for row in rows:
        assert values[row] >= values[max(0, row - 1) : row + 2].max() - 0.011


def test_a_slope_is_no_boundary_however_high_it_is():
    values = np.zeros(150)
    values[20:120] = np.linspace(0.55, 1, 100)  # four seconds
    assert len(pick_boundaries(response_of(values), threshold=0.5, min_gap_s=0.5)) == 1


def test_of_two_near_peaks_the_higher_one_stays():
    values = np.zeros(100)
    values[40], values[48] = 0.7, 0.9
    found = pick_boundaries(response_of(values), min_gap_s=0.5)
    assert found.tolist() == [48 * 0.04]


def test_a_broad_hump_does_not_suppress_a_sharp_peak_beside_it():
    values = np.full(60, 0.1)
    values[10:30] = 0.9  # smoothed, the highest
    values[37:41] = 0.99
    assert pick_boundaries(response_of(values), min_gap_s=1.0) == pytest.approx([38.5 * 0.04], abs=0.03)


def test_the_threshold_is_what_one_unchanged_clip_in_a_hundred_exceeds():
    assert calibrate_threshold(np.linspace(0, 1, 101)) == pytest.approx(0.99)
    assert calibrate_threshold(np.array([0.1, 0.2])) == 0.5
    assert calibrate_threshold(np.array([])) == 0.5


def test_where_windows_were_skipped_there_is_no_peak():
    values = np.zeros(100)
    values[20:27], values[50:54] = 0.9, np.linspace(0.6, 0.9, 4)
    dense = pick_boundaries(response_of(values), min_gap_s=0)
    values[:10] = values[40:50] = values[54:80] = np.nan  # behind the second, it may go on rising
    response = response_of(values)
    assert len(dense) == 2 and pick_boundaries(response, min_gap_s=0).tolist() == dense[:1].tolist()
    assert len(pick_boundaries(response_of(np.full(9, np.nan)))) == 0
    values[-1] = 0.9  # at the end of the video nothing goes on
    assert pick_boundaries(response_of(values), min_gap_s=0)[-1] == pytest.approx(99 * 0.04)


def test_nothing_below_the_threshold_is_a_boundary():
    assert len(pick_boundaries(response_of(np.full(50, 0.4)))) == 0


def test_a_single_window_is_enough():
    assert pick_boundaries(response_of([0.8])).tolist() == [0.0]


def test_a_model_without_same_speed_is_refused():
    model = CutDetector()
    model.config = SimpleNamespace(label2id={"forward": 0, "backward": 1})
    with pytest.raises(ValueError, match="same-speed"):
        boundary_response(model, BSPFeatureExtractor(), "unused.mp4")


@pytest.mark.parametrize("stride_frames", [1, 2])
def test_cuts_of_a_video_are_found_in_seconds(tmp_path, stride_frames):
    video = render_steps(tmp_path / "steps.mp4", levels=[40, 200, 90, 160], frames_each=30)
    extractor = BSPFeatureExtractor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    response = boundary_response(CutDetector(), extractor, video, stride_frames)
    assert response.duration_s == pytest.approx(120 / 25)
    assert response.response.shape == response.times_s.shape == (len(response.probabilities),)
    found = pick_boundaries(response, threshold=0.5, min_gap_s=0.3)
    assert found == pytest.approx([30 / 25, 60 / 25, 90 / 25], abs=stride_frames / 25)


def test_a_video_shorter_than_a_window_is_refused(tmp_path):
    video = render_steps(tmp_path / "short.mp4", levels=[40], frames_each=5)
    extractor = BSPFeatureExtractor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    with pytest.raises(ValueError, match=r"short\.mp4 is shorter than one window of 8 frames"):
        boundary_response(CutDetector(), extractor, video)


class BlindDetector(CutDetector):
    """A classifier that never sees a boundary."""

    def __call__(self, pixel_values, return_dict):
        return SimpleNamespace(logits=torch.tensor([[0.0, 9.0]]).expand(len(pixel_values), 2))


def test_cuts_are_seen_in_the_pictures_where_the_encoder_sees_nothing(tmp_path):
    levels = [40, 200, 90, 160]
    video = render_steps(tmp_path / "steps.mp4", levels=levels, frames_each=30)
    extractor = BSPFeatureExtractor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    response = boundary_response(BlindDetector(), extractor, video)
    # The middle of a window of 8 frames that is nearest to the first frame behind each cut.
    assert response.times_s[response.cuts] == pytest.approx([30 / 25, 60 / 25, 90 / 25], abs=0.51 / 25)
    assert response.response[response.cuts].tolist() == [1, 1, 1]
    assert np.delete(response.response, response.cuts).max() < 0.01
    assert pick_boundaries(response, 0.9).tolist() == response.times_s[response.cuts].tolist()
    alone = boundary_response(BlindDetector(), extractor, video, find_cuts=False)
    assert alone.response.max() < 0.01 and len(alone.cuts) == 0


@pytest.mark.parametrize("cut", [1, 5, 9, 17, 30, 38, 39])
def test_a_cut_finder_finds_a_cut_wherever_it_lies_as_the_whole_video_would(cut):
    rng = np.random.default_rng(cut)
    pictures = rng.integers(0, 40, (40, 24, 32, 3)).astype(np.uint8)
    pictures[cut:] += 120
    finder = TransitionFinder()
    for number, picture in enumerate(pictures):
        finder.add(picture, number / 10)
    small = [np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BOX)) for one in pictures]
    shown = np.stack(small[max(0, cut - 9) : cut + 9])
    expected = classify_transition(shown, cut - max(0, cut - 9))
    seen = finder.finish()
    assert seen.cuts_s == ((cut / 10,) if expected.kind == "cut" else ())
    assert not (seen.cuts_s and seen.gradual_s)  # the frames near a cut lead nowhere gradually
    assert expected.kind == "cut" or cut in (1, 39)


def test_nothing_is_a_cut_in_noise_and_slow_change():
    rng = np.random.default_rng(0)
    finder = TransitionFinder()
    for number in range(60):
        noise = rng.integers(0, 40, (24, 32, 3))
        finder.add((noise + 3 * number).astype(np.uint8), number / 10)
    assert finder.finish().cuts_s == ()
    assert TransitionFinder().finish() == SeenTransitions()


@pytest.mark.parametrize("length", [4, 8, 16])
def test_a_cross_fade_is_seen_around_its_middle_as_in_the_whole_video(length):
    rng = np.random.default_rng(length)
    ends = np.kron(rng.integers(0, 256, (2, 8, 8, 3)), np.ones((1, 4, 4, 1)))
    weights = np.clip((np.arange(50) - 25 + length / 2 + 0.5) / length, 0, 1)[:, None, None, None]
    pictures = (ends[0] * (1 - weights) + ends[1] * weights).astype(np.uint8)
    finder = TransitionFinder()
    for number, picture in enumerate(pictures):
        finder.add(picture, number / 10)
    kinds = [classify_transition(pictures[max(0, f - 9) : f + 9], min(f, 9)).kind for f in range(50)]
    expected = [number / 10 for number in range(1, 50) if kinds[number] == "gradual"]
    assert finder.finish() == SeenTransitions(gradual_s=tuple(expected)) and 2.5 in expected


@pytest.mark.parametrize("stride_frames", [1, 3, 10])
def test_windows_that_share_a_frame_with_a_change_keep_their_pictures(stride_frames):
    pictures = np.full((60, 32, 32, 3), 90, np.uint8)
    pictures += np.random.default_rng(0).integers(0, 6, pictures.shape).astype(np.uint8)  # noise is none
    pictures[34:, 8:12, 20:24] += 40  # one field of 64
    quiet = QuietWindows()

    def frames():
        for number, picture in enumerate(pictures):
            quiet.add_small(picture)
            yield Frame(picture, number / 10, number)

    given = list(quiet.skim(iter_snippets(frames(), 8, stride_frames, frame_duration_s=0.1)))
    assert [window.start_frame for window in given] == [k * stride_frames for k in range(len(given))]

    def changes(window):  # between its halves, by 16 and more
        inside = pictures[window.start_frame : window.end_frame, 8:12, 20:24].astype(float)
        half = len(inside) // 2
        return abs(inside[:half].mean() - inside[-half:].mean()) >= 16

    loud = [window for window in given if changes(window)]
    for window in given:
        near = any(abs(window.start_frame - other.start_frame) < 8 for other in loud)
        assert bool(window.images) == near
    assert loud and not all(window.images for window in given)


def test_coarse_to_fine_encodes_only_around_changes_and_finds_the_same(tmp_path):
    levels = [40, 200, 90, 160]
    video = render_steps(tmp_path / "steps.mp4", levels=levels, frames_each=60)
    extractor = BSPFeatureExtractor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    seen = []

    class Counting(CutDetector):
        def __call__(self, pixel_values, return_dict):
            seen.append(len(pixel_values))
            return super().__call__(pixel_values, return_dict)

    dense = boundary_response(Counting(), extractor, video)
    assert sum(seen) == len(dense.times_s) == 233 and np.isfinite(dense.response).all()
    seen.clear()
    coarse = boundary_response(Counting(), extractor, video, coarse_to_fine=True)
    is_encoded = np.isfinite(coarse.response)
    assert 3 * 8 <= sum(seen) == is_encoded.sum() < 3 * 24
    np.testing.assert_array_equal(coarse.times_s, dense.times_s)
    np.testing.assert_allclose(coarse.probabilities[is_encoded], dense.probabilities[is_encoded], atol=1e-6)
    assert np.isnan(coarse.probabilities[~is_encoded]).all() and coarse.cuts.tolist() == dense.cuts.tolist()
    for threshold in (0.5, 0.99):
        found = pick_boundaries(coarse, threshold)
        assert len(found) == 3 and found.tolist() == pick_boundaries(dense, threshold).tolist()
