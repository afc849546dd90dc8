"""Pictures: they hold what they promise, nothing is cut off, and nothing touches pyplot's global state."""

import builtins
import sys
from itertools import pairwise

import numpy as np
import pytest

from bsp_hf.visualization import (
    plot_boundary_clips,
    plot_boundary_response,
    plot_confusion_matrix,
    plot_consecutive_differences,
    plot_feature_track,
    plot_training_curves,
    separation_statistic,
)
from bsp_hf.visualization.differences import _fold_channels, _pairs_at_boundaries
from bsp_hf.visualization.style import format_time, time_edges
from bsp_hf.visualization.tracks import _cosine_similarity, _order_channels, _pool_time

pytest.importorskip("matplotlib")

RNG_SEED = 11


def check_picture(figure, num_axes: int) -> None:
    """Draw, and require the number of axes and that no artist reaches over the edge of the figure."""
    assert len(figure.axes) == num_axes
    figure.draw_without_rendering()
    box = figure.get_tightbbox(figure.canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert box.x0 >= -0.01 and box.y0 >= -0.01, box
    assert box.x1 <= width + 0.01 and box.y1 <= height + 0.01, (box, width, height)
    for axes in figure.axes:
        left, right = sorted(axes.get_xlim())
        ticks = [tick for tick in axes.xaxis.get_major_ticks() if left <= tick.get_loc() <= right]
        if all(not tick.label1.get_rotation() for tick in ticks):
            extents = [tick.label1.get_window_extent() for tick in ticks if tick.label1.get_visible()]
            assert all(one.x1 < other.x0 for one, other in pairwise(extents)), axes.get_title()
    labels = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
    for text in [*labels, *figure.texts, *[t for legend in figure.legends for t in legend.get_texts()]]:
        if text.get_visible() and text.get_text():
            extent = text.get_window_extent()
            assert figure.bbox.x0 - 1 <= extent.x0 and extent.x1 <= figure.bbox.x1 + 1, text
            assert figure.bbox.y0 - 1 <= extent.y0 and extent.y1 <= figure.bbox.y1 + 1, text


def legend_texts(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def make_clip(num_frames: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Frame k is all of value k."""
    clip = np.zeros((num_frames, height, width, 3), np.uint8)
    return clip + np.arange(num_frames, dtype=np.uint8)[:, None, None, None]


def make_track(num_snippets: int = 120, dim: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Features that jump every 30 snippets; snippets are 0.4 s apart."""
    rng = np.random.default_rng(RNG_SEED)
    features = np.repeat(rng.normal(size=(num_snippets // 30, dim)), 30, axis=0)
    return features + 0.1 * rng.normal(size=features.shape), 0.16 + 0.4 * np.arange(num_snippets)


def test_pictures_leave_pyplot_alone():
    plot_boundary_clips([make_clip(4)], ["same-speed"], [0])
    plot_confusion_matrix(np.eye(2), ["a", "b"])
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_missing_matplotlib_names_the_extra(monkeypatch):
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r'pip install .*\[plot\]"'):
        plot_confusion_matrix(np.eye(2), ["a", "b"])


# Clips


def test_clips_show_frames_numbers_titles_and_boundaries():
    clips = [make_clip(8) for _ in range(4)]
    titles = ["diff-class", "same-class", "diff-speed", "same-speed"]
    figure = plot_boundary_clips(clips, titles, [4, 4, 3, None], [1, 0, 0, 0])
    check_picture(figure, num_axes=4)
    assert legend_texts(figure) == ["boundary", "cross-fade"]
    for axes, title, boundary in zip(figure.axes, titles, [4, 4, 3, None], strict=True):
        assert axes.get_title(loc="left") == title
        assert [label.get_text() for label in axes.get_xticklabels()] == [str(k) for k in range(8)]
        assert [image.get_array()[0, 0, 0] for image in axes.images] == list(range(8))
        triangles = [line for line in axes.lines if line.get_marker() == "v"]
        assert [line.get_xdata()[0] for line in triangles] == ([] if boundary is None else [boundary])
    bars = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2 and line.get_ydata()[0] > 1]
    assert [list(bar.get_xdata()) for bar in bars] == [[3, 5]]


def test_long_clip_is_thinned_and_its_boundary_stays_between_the_right_frames():
    figure = plot_boundary_clips([make_clip(33)], ["long"], [10], max_frames=9)
    check_picture(figure, num_axes=1)
    axes = figure.axes[0]
    # 9 of 33 frames: 0, 4, ..., 32; frame 10 lies between the shown frames 8 and 12.
    assert [int(label.get_text()) for label in axes.get_xticklabels()] == list(range(0, 33, 4))
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "v"] == [3]


def test_clips_of_different_lengths_and_shapes_share_a_picture():
    figure = plot_boundary_clips([make_clip(16), make_clip(5, 40, 30)], ["a", "b"], [8, 0])
    check_picture(figure, num_axes=2)
    assert [len(axes.images) for axes in figure.axes] == [16, 5]
    assert legend_texts(figure) == ["boundary"]


@pytest.mark.parametrize(
    ("clips", "titles", "message"),
    [
        ([], [], "at least one"),
        ([make_clip(4)], ["a", "b"], "1 clips, 2 titles"),
        ([make_clip(4).astype(float)], ["a"], "got float64"),
        ([make_clip(4)[..., 0]], ["a"], r"got uint8 \(4, 24, 32\)"),
    ],
)
def test_wrong_clips_are_refused(clips, titles, message):
    with pytest.raises(ValueError, match=message):
        plot_boundary_clips(clips, titles, [0] * len(clips))


# Response


def test_response_shows_curve_strip_boundaries_and_picks():
    times_s = np.arange(0, 20, 0.1)
    response = np.exp(-((times_s - 5) ** 2)) + np.exp(-((times_s - 12) ** 2))
    frames, frame_times_s = make_clip(200), np.arange(200) / 10
    figure = plot_boundary_response(
        times_s,
        response,
        [5.0, 12.0, 15.0],
        frames,
        frame_times_s,
        [5.1],
        ["cut", "cut", "speed"],
        0.5,
        "Title",
    )
    check_picture(figure, num_axes=2)
    curve, strip = figure.axes
    assert legend_texts(figure) == ["boundary response", "cut", "speed", "picked", "threshold"]
    marks = [line.get_xdata()[0] for line in curve.lines if line.get_label() in ("cut", "speed")]
    assert marks == [5.0, 12.0, 15.0]
    (picked,) = [line for line in curve.lines if line.get_label() == "picked"]
    assert picked.get_xdata() == pytest.approx([5.1])
    assert picked.get_ydata() == pytest.approx([np.exp(-0.01)], abs=1e-6)
    assert strip.get_xlabel() == "time (s)" and figure._suptitle.get_text() == "Title"
    # Every thumbnail is the frame (of value k at k / 10 s) nearest to the middle of its place in time.
    assert len(strip.images) >= 8
    for image in strip.images:
        left_s, right_s = image.get_extent()[:2]
        assert image.get_array()[0, 0, 0] / 10 == pytest.approx((left_s + right_s) / 2, abs=0.051)


def test_response_without_frames_or_truth_is_one_curve():
    figure = plot_boundary_response(np.arange(5.0), np.zeros(5))
    check_picture(figure, num_axes=1)
    assert legend_texts(figure) == ["boundary response"]
    check_picture(plot_boundary_response(np.array([3.0]), np.array([0.4])), num_axes=1)


@pytest.mark.parametrize(
    ("duration_s", "label", "ticks"),
    [(60.0, "time (s)", None), (600.0, "time (min:s)", "4:00"), (7200.0, "time (h:mm:ss)", "1:00:00")],
)
def test_time_axis_suits_the_duration(duration_s, label, ticks):
    figure = plot_boundary_response(np.linspace(0, duration_s, 200), np.zeros(200))
    check_picture(figure, num_axes=1)
    assert figure.axes[0].get_xlabel() == label
    if ticks:
        assert ticks in [text.get_text() for text in figure.axes[0].get_xticklabels()]


def test_format_time_rounds_to_seconds():
    assert format_time(59.6, 200) == "1:00"
    assert format_time(125, 200) == "2:05"
    assert format_time(3725.2, 4000) == "1:02:05"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"response": np.zeros(4)}, "pass one for each"),
        ({"frames": make_clip(3)}, "need frame_times_s"),
        ({"frames": make_clip(3), "frame_times_s": np.zeros(2)}, "need frame_times_s"),
        ({"boundaries_s": [1.0], "kinds": ["a", "b"]}, "2 kinds for 1 boundaries"),
    ],
)
def test_wrong_responses_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        plot_boundary_response(**{"centers_s": np.arange(5.0), "response": np.zeros(5), **given})


# Training


def test_confusion_matrix_shows_counts_shares_and_names():
    names = ["diff-class", "same-class", "diff-speed", "same-speed"]
    counts = np.array([[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 1, 4]])
    figure = plot_confusion_matrix(counts, names)
    check_picture(figure, num_axes=2)
    axes = figure.axes[0]
    cells = [text.get_text() for text in axes.texts]
    assert cells[:6] == ["6\n75 %", "2\n25 %", "0\n0 %", "0\n0 %", "1\n25 %", "3\n75 %"]
    assert cells[8:12] == ["0"] * 4  # a class that never occurred has no shares
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    np.testing.assert_allclose(axes.images[0].get_array()[3], [0, 0, 0.2, 0.8])


@pytest.mark.parametrize("size", [1, 2, 10])
def test_confusion_matrix_of_any_size_keeps_its_long_names_inside(size):
    names = [f"a rather long class name {index}" for index in range(size)]
    check_picture(plot_confusion_matrix(np.eye(size, dtype=int) * 100, names), num_axes=2)


def test_wrong_confusion_matrices_are_refused():
    with pytest.raises(ValueError, match=r"matrix \(2, 2\) for 2 labels, got \(2, 3\)"):
        plot_confusion_matrix(np.zeros((2, 3)), ["a", "b"])
    with pytest.raises(ValueError, match="cannot be negative"):
        plot_confusion_matrix(-np.eye(2), ["a", "b"])


def test_training_curves_have_a_panel_for_losses_metrics_and_rate():
    records = [
        {"step": step, "loss": 1 / step, "learning_rate": 0.1, "clips_per_s": 9.0} for step in range(1, 11)
    ]
    records += [
        {
            "step": step,
            "eval_loss": 0.5,
            "eval_accuracy": step / 20,
            "eval_recall": 0.4,
            "eval_confusion": [[1]],
        }
        for step in (5, 10)
    ]
    figure = plot_training_curves(records, chance=0.25)
    check_picture(figure, num_axes=3)
    losses, metrics, rate = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "held-out metric", "learning rate"]
    assert [line.get_label() for line in losses.lines] == ["loss", "held-out loss"]
    assert [line.get_label() for line in metrics.lines] == ["accuracy", "recall", "chance"]
    np.testing.assert_allclose(metrics.lines[0].get_xydata(), [[5, 0.25], [10, 0.5]])
    np.testing.assert_allclose(rate.lines[0].get_ydata(), 0.1)


def test_training_curves_take_chosen_metrics_and_skip_what_is_not_finite():
    records = [
        {"step": 2, "loss": float("nan"), "map": 0.3},
        {"step": 1, "loss": 2.0, "map": 0.1, "name": "x"},
    ]
    figure = plot_training_curves(records, metrics=["map"])
    check_picture(figure, num_axes=2)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xydata(), [[1, 2.0]])
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_xydata(), [[1, 0.1], [2, 0.3]])


def test_long_noisy_curve_gets_its_running_mean():
    figure = plot_training_curves([{"step": step, "loss": float(step % 2)} for step in range(400)])
    noisy, smooth = figure.axes[0].lines
    assert set(noisy.get_ydata()) == {0.0, 1.0}
    np.testing.assert_allclose(smooth.get_ydata()[20:-20], 0.5)  # mean of an even number of neighbours
    assert len(smooth.get_xdata()) == 400


def test_records_that_hold_nothing_to_show_are_refused():
    with pytest.raises(ValueError, match="step"):
        plot_training_curves([{"loss": 1.0}])
    with pytest.raises(ValueError, match="nothing to show"):
        plot_training_curves([{"step": 1, "clips_per_s": 5.0}])
    with pytest.raises(ValueError, match=r"No record holds \['f1'\]"):
        plot_training_curves([{"step": 1, "loss": 1.0}], metrics=["f1"])


# Tracks


@pytest.mark.parametrize("channel_order", ["variance", "similarity"])
def test_feature_track_shows_heat_map_differences_and_similarity(channel_order):
    features, centers_s = make_track()
    figure = plot_feature_track(
        features,
        centers_s,
        [12.0, 24.0, 36.0],
        ["cut", "speed", "cut"],
        channel_order=channel_order,
        max_channels=20,
    )
    check_picture(figure, num_axes=4)
    heat, curve, similarity, _ = figure.axes
    assert heat.images[0].get_array().shape == (20, 120)
    assert similarity.images[0].get_array().shape == (120, 120)
    line = curve.lines[0]
    np.testing.assert_allclose(line.get_ydata(), np.sqrt((np.diff(features, axis=0) ** 2).sum(axis=1)))
    # The four scenes of 30 snippets change between snippets 29 and 30, and so on.
    assert sorted(np.argsort(line.get_ydata())[-3:]) == [29, 59, 89]
    assert "20 of 32 channels" in heat.get_title()
    assert legend_texts(figure) == ["cut", "speed"]


def test_feature_track_of_hours_stays_small():
    rng = np.random.default_rng(RNG_SEED)
    figure = plot_feature_track(rng.normal(size=(9000, 8)), np.arange(9000) * 0.8, max_columns=300)
    check_picture(figure, num_axes=4)
    assert figure.axes[0].images[0].get_array().shape == (8, 300)
    assert figure.axes[2].images[0].get_array().shape == (300, 300)
    assert figure.axes[1].get_xlabel() == "time (h:mm:ss)"


def test_constant_and_tiny_tracks_are_drawn():
    check_picture(plot_feature_track(np.ones((5, 3)), np.arange(5.0)), num_axes=4)
    check_picture(plot_feature_track(np.eye(2)[:, :1], np.arange(2.0)), num_axes=4)


def test_pooling_averages_groups_and_keeps_the_rest():
    features, centers_s = np.arange(7.0)[:, None], np.arange(7.0)
    pooled, pooled_s = _pool_time(features, centers_s, max_columns=3)
    np.testing.assert_allclose(pooled[:, 0], [1, 4, 6])
    np.testing.assert_allclose(pooled_s, [1, 4, 6])
    assert _pool_time(features, centers_s, max_columns=7)[0] is features


def test_channels_are_sorted_by_variance_or_put_beside_their_likes():
    time = np.linspace(0, 4 * np.pi, 50)
    features = np.stack([np.sin(time), np.cos(time), 3 * np.sin(time), 2 * np.cos(time)], axis=1)
    by_variance = _order_channels(features, "variance", 3)
    for row, channel in zip(by_variance, (2, 3, 1), strict=True):
        assert np.corrcoef(row, features[:, channel])[0, 1] == pytest.approx(1)
    rows = _order_channels(features, "similarity", 4)
    correlation = np.corrcoef(rows)
    assert correlation[0, 1] == pytest.approx(1) and correlation[2, 3] == pytest.approx(1)
    np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(rows.std(axis=1), 1)


def test_similarity_is_the_cosine_after_the_mean_is_subtracted():
    features = np.array([[2.0, 1.0], [0.0, 1.0], [1.0, 3.0], [1.0, -1.0]])  # mean (1, 1)
    expected = [[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1]]
    np.testing.assert_allclose(_cosine_similarity(features), expected, atol=1e-12)


def test_time_edges_lie_between_uneven_centres():
    np.testing.assert_allclose(time_edges(np.array([1.0, 2.0, 4.0])), [0.5, 1.5, 3.0, 5.0])


@pytest.mark.parametrize(
    ("features", "centers_s", "message"),
    [
        (np.zeros((1, 3)), np.zeros(1), "at least 2 snippets"),
        (np.zeros((4, 3)), np.arange(3.0), "num_snippets"),
        (np.full((4, 3), np.nan), np.arange(4.0), "NaN"),
        (np.zeros((4, 3)), np.zeros(4), "must rise"),
    ],
)
def test_malformed_tracks_are_refused_by_both_pictures(features, centers_s, message):
    with pytest.raises(ValueError, match=message):
        plot_feature_track(features, centers_s)
    with pytest.raises(ValueError, match=message):
        plot_consecutive_differences({"BSP": (features, centers_s)}, [1.0])


def test_unknown_channel_order_is_refused():
    with pytest.raises(ValueError, match="channel_order must be one of"):
        plot_feature_track(*make_track(), channel_order="alphabet")


# Differences


def test_separation_statistic_equals_brute_force():
    rng = np.random.default_rng(RNG_SEED)
    inside, outside = rng.integers(0, 6, 17).astype(float), rng.integers(0, 5, 40).astype(float)
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in inside for b in outside]
    found = separation_statistic(inside, outside)
    assert found.auc == pytest.approx(np.mean(wins))
    pooled = np.sqrt((16 * inside.var(ddof=1) + 39 * outside.var(ddof=1)) / 55)
    assert found.cohens_d == pytest.approx((inside.mean() - outside.mean()) / pooled)


def test_separation_statistic_at_its_limits():
    assert separation_statistic([3, 4], [1, 2]).auc == 1.0
    assert separation_statistic([1, 2], [3, 4]).auc == 0.0
    same = separation_statistic([1.0, 1.0], [1.0])
    assert same.auc == 0.5 and np.isnan(same.cohens_d)
    assert np.isnan(separation_statistic([2.0], [1.0]).cohens_d)
    with pytest.raises(ValueError, match="0 values at boundaries and 1 elsewhere"):
        separation_statistic([], [1.0])


def test_pairs_belong_to_the_boundary_between_their_centres():
    centers_s = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(_pairs_at_boundaries(centers_s, np.array([2.5]), 0.0), [0, 0, 1, 0])
    np.testing.assert_array_equal(_pairs_at_boundaries(centers_s, np.array([2.0]), 0.0), [0, 0, 1, 0])
    # With half a step on either side a boundary next to a centre belongs to both pairs of that snippet.
    np.testing.assert_array_equal(_pairs_at_boundaries(centers_s, np.array([2.1]), None), [0, 1, 1, 0])
    np.testing.assert_array_equal(_pairs_at_boundaries(centers_s, np.array([9.0]), None), [0, 0, 0, 0])


@pytest.mark.parametrize(
    ("dim", "shape"),
    [(1024, (32, 32)), (2048, (32, 64)), (512, (16, 32)), (7, (3, 3)), (251, (16, 16)), (1, (1, 1))],
)
def test_channels_fold_into_a_rectangle(dim, shape):
    matrix = _fold_channels(np.arange(dim))
    assert matrix.shape == shape
    np.testing.assert_array_equal(matrix.ravel()[:dim], np.arange(dim))
    assert np.isnan(matrix.ravel()[dim:]).all()


def test_differences_compare_encoders_by_their_separation():
    features, centers_s = make_track()
    blind = np.random.default_rng(0).normal(size=(len(features), 512))
    boundaries_s = [12.0, 24.0, 36.0]
    figure = plot_consecutive_differences(
        {"BSP": (features, centers_s), "vanilla": (blind, centers_s)}, boundaries_s, 0.0
    )
    check_picture(figure, num_axes=7)
    inside, outside, histogram = figure.axes[:3]
    assert (inside.get_title(), outside.get_title()) == ("BSP, at boundaries", "BSP, elsewhere")
    assert histogram.get_title().startswith("BSP: AUC 1.00, Cohen's d ")
    assert [text.get_text() for text in histogram.get_legend().get_texts()] == [
        "elsewhere (116 pairs)",
        "at boundaries (3 pairs)",
    ]
    differences = np.abs(np.diff(features, axis=0))
    at_boundary = np.isin(np.arange(119), [29, 59, 89])
    expected = differences[at_boundary].mean(axis=0) / differences[~at_boundary].mean()
    np.testing.assert_allclose(inside.images[0].get_array().ravel(), expected)
    auc = float(figure.axes[5].get_title().split("AUC ")[1].split(",")[0])
    assert auc < 0.9
    # Shares of the pairs of one kind sum to one.
    assert sum(bar.get_height() for bar in histogram.containers[0]) == pytest.approx(1)
    assert sum(bar.get_height() for bar in histogram.containers[1]) == pytest.approx(1)


def test_differences_need_both_kinds_of_pair():
    with pytest.raises(ValueError, match="BSP: 0 of 119 pairs"):
        plot_consecutive_differences({"BSP": make_track()}, [900.0])
    with pytest.raises(ValueError, match="at least one encoder"):
        plot_consecutive_differences({}, [1.0])
