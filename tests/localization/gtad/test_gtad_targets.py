"""Label maps, windows and resampled features against golden vectors and hand-computed cases."""

import numpy as np
import pytest

from bsp_hf.features import rescale_rows
from bsp_hf.localization.gtad.targets import (
    activitynet_targets,
    thumos_targets,
    thumos_window_features,
    thumos_window_labels,
    thumos_window_starts,
)


def check_all(case, targets):
    for name in ("start", "end", "iou_map"):
        arrays = np.stack([getattr(target, name) for target in targets])
        assert arrays.dtype == np.float32
        case.check(name, arrays)


def test_activitynet_targets_match_the_reference(golden):
    case = golden("gtad/targets_anet")
    targets = []
    for video in case.meta["config"]["videos"]:
        # Targets are relative to the seconds that the features cover.
        duration_s = video["feature_frame"] / video["duration_frame"] * video["duration_second"]
        targets.append(activitynet_targets([a["segment"] for a in video["annotations"]], duration_s))
    check_all(case, targets)


def test_thumos_targets_match_the_reference(golden):
    case = golden("gtad/targets_thumos")
    options = case.meta["config"]
    stride = options["skip_videoframes"]
    targets = [
        thumos_targets(
            window["segments_frames"],
            window["first_snippet"] * stride,
            options["temporal_scale"],
            options["max_duration"],
            stride,
        )
        for window in options["windows"]
    ]
    check_all(case, targets)


def test_hand_computed_anchor_and_boundary():
    # Four steps of a second each; the instance fills the anchor that starts at 1 and lasts 2.
    targets = activitynet_targets([[1.0, 3.0]], 4.0, num_steps=4, max_duration=3)
    np.testing.assert_allclose(targets.iou_map[1], [1 / 3, 1, 1 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(targets.iou_map[0], [0, 1 / 2, 1 / 2, 0], atol=1e-6)
    # The zone is [-0.5, 2.5] s, the windows are [i - 0.5, i + 1.5] s.
    np.testing.assert_allclose(targets.start, [1, 1, 1 / 2, 0], atol=1e-6)
    np.testing.assert_allclose(targets.end, [0, 1 / 2, 1, 1], atol=1e-6)


def test_video_without_instances_has_empty_targets():
    for targets in (activitynet_targets([], 10.0), thumos_targets([], 0)):
        assert targets.iou_map.max() == targets.start.max() == targets.end.max() == 0


def test_bad_duration_and_shape_are_named():
    with pytest.raises(ValueError, match="duration_s=0"):
        activitynet_targets([[0, 1]], 0)
    with pytest.raises(ValueError, match="num_instances, 2"):
        activitynet_targets([0, 1], 5.0)


class TestResampling:
    def test_same_length_is_the_identity(self):
        features = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
        np.testing.assert_array_equal(rescale_rows(features, 7), features)

    @pytest.mark.parametrize("num_steps", [3, 20])
    def test_interpolates_between_half_pixel_centres(self, num_steps):
        features = np.random.default_rng(1).standard_normal((8, 2)).astype(np.float32)
        at = np.clip((np.arange(num_steps) + 0.5) * 8 / num_steps - 0.5, 0, 7)
        expected = np.stack([np.interp(at, np.arange(8), column) for column in features.T], axis=1)
        got = rescale_rows(features, num_steps)
        assert got.dtype == np.float32 and got.flags.c_contiguous
        np.testing.assert_allclose(got, expected, atol=1e-5)

    def test_empty_track_is_refused(self):
        with pytest.raises(ValueError, match="without a row"):
            rescale_rows(np.zeros((0, 4), np.float32), 10)


class TestThumosWindows:
    @pytest.mark.parametrize(
        ("num_snippets", "starts"),
        [
            (1, [0]),
            (256, [0]),
            (307, [0]),  # 51 snippets left over: not more than 256 // 5
            (308, [0, 52]),
            (384, [0, 128]),
            (500, [0, 128, 244]),
        ],
    )
    def test_starts(self, num_snippets, starts):
        assert thumos_window_starts(num_snippets) == starts

    def test_window_past_the_end_is_padded_with_zeros(self):
        features = np.arange(1, 11, dtype=np.float64).reshape(5, 2)
        window = thumos_window_features(features, 3, num_steps=4)
        assert window.dtype == np.float32
        assert window.tolist() == [[7, 8], [9, 10], [0, 0], [0, 0]]
        with pytest.raises(ValueError, match="first_snippet=5"):
            thumos_window_features(features, 5)

    def test_window_needs_one_instance_almost_inside_and_labels_all_that_touch(self):
        # The window of 20 steps from frame 100 covers [97.5, 197.5].
        kept = thumos_window_labels([[100, 150], [190, 290], [200, 210]], 100, num_steps=20)
        assert kept.tolist() == [[100, 150], [190, 290]]
        assert thumos_window_labels([[190, 290]], 100, num_steps=20) is None
        assert thumos_window_labels([[97.5, 97.5]], 100, num_steps=20) is None
        assert thumos_window_labels([], 100, num_steps=20) is None

    def test_video_without_snippets_is_refused(self):
        with pytest.raises(ValueError, match="num_snippets=0"):
            thumos_window_starts(0)
