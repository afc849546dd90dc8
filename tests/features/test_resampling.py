import numpy as np
import pytest
import torch
from support.made_tracks import make_track

from bsp_hf.features import FeatureTrack, rescale, rescale_rows, rows_at


def interpolate_by_hand(rows, num_rows):
    """Half-pixel linear interpolation in float64, one row after the other (SPEC 4.6)."""
    count = len(rows)
    made = []
    for index in range(num_rows):
        place = min(max((index + 0.5) * count / num_rows - 0.5, 0.0), count - 1.0)
        low = int(np.floor(place))
        high = min(low + 1, count - 1)
        made.append((1 - (place - low)) * rows[low].astype(float) + (place - low) * rows[high].astype(float))
    return np.array(made)


def plain_track(num_snippets, dim=3, **kwargs):
    track = make_track(num_snippets=num_snippets, dim=dim, **kwargs)
    features = np.random.default_rng(num_snippets).standard_normal((num_snippets, dim))
    return FeatureTrack(features, track.centers_s, track.record)


@pytest.mark.parametrize(("count", "num_rows"), [(1, 100), (2, 5), (37, 100), (100, 7), (250, 100), (3, 1)])
def test_rescaling_is_half_pixel_linear_over_time_only(count, num_rows):
    track = plain_track(count)
    scaled = rescale(track, num_rows)
    assert scaled.features.shape == (num_rows, 3)
    assert scaled.features.flags.c_contiguous
    np.testing.assert_allclose(scaled.features, interpolate_by_hand(track.features, num_rows), atol=2e-5)
    np.testing.assert_allclose(
        scaled.centers_s, interpolate_by_hand(track.centers_s[:, None], num_rows)[:, 0], rtol=1e-12
    )


def test_rescaling_equals_what_gtad_does():
    track = plain_track(63, dim=8)
    channels_first = torch.from_numpy(track.features).T[None]
    expected = torch.nn.functional.interpolate(channels_first, size=100, mode="linear", align_corners=False)
    assert (rescale(track, 100).features == expected[0].T.numpy()).all()


def test_hand_computed_rows():
    rows = np.array([[0.0], [4.0]], dtype=np.float32)
    np.testing.assert_array_equal(rescale_rows(rows, 4)[:, 0], [0.0, 1.0, 3.0, 4.0])
    np.testing.assert_array_equal(rescale_rows(rows, 1)[:, 0], [2.0])


def test_rescaling_to_the_same_length_is_the_identity():
    track = plain_track(100)
    assert rescale(track, 100) is track


def test_record_says_from_how_many_rows():
    scaled = rescale(plain_track(37), 100)
    assert scaled.record.rescaled_from == 37
    assert rescale(scaled, 50).record.rescaled_from == 37
    assert scaled.record.stride_frames == 8


def test_rescaled_centres_are_those_of_an_even_grid_over_the_covered_time():
    track = plain_track(50)  # 50 windows of 8 frames at 25 a second: 16 s
    middle = rescale(track, 20).centers_s
    np.testing.assert_allclose(middle, (np.arange(20) + 0.5) * 16 / 20)


def test_track_without_rows_cannot_be_rescaled():
    with pytest.raises(ValueError, match="without a row"):
        rescale(make_track(num_snippets=0), 100)
    with pytest.raises(ValueError, match="at least 1"):
        rescale(make_track(), 0)


def test_rows_at_given_seconds_lie_between_the_neighbours():
    record = make_track().record
    track = FeatureTrack(np.array([[0.0], [10.0], [30.0]]), [1.0, 2.0, 4.0], record)
    made = rows_at(track, [0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 9.0])
    np.testing.assert_allclose(made.features[:, 0], [0, 0, 5, 10, 20, 30, 30])
    np.testing.assert_array_equal(made.centers_s, [0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 9.0])
    assert made.record.rescaled_from == 3


def test_rows_at_given_seconds_agree_with_numpy():
    track = plain_track(11)
    times_s = np.sort(np.random.default_rng(0).uniform(-1, 5, 40))
    expected = np.stack(
        [np.interp(times_s, track.centers_s, track.features[:, channel]) for channel in range(track.dim)],
        axis=1,
    )
    np.testing.assert_allclose(rows_at(track, times_s).features, expected, atol=1e-5)


def test_single_row_holds_at_every_second():
    track = plain_track(1)
    np.testing.assert_array_equal(rows_at(track, [0.0, 5.0]).features, np.repeat(track.features, 2, axis=0))
