"""The picture of segments: what overlaps lies in lanes, the surest on top."""

import pytest

pytest.importorskip("matplotlib")

from bsp_hf.visualization import SegmentRow, plot_segments


def test_overlapping_segments_lie_in_lanes_by_their_scores():
    found = SegmentRow("found", [[0, 4], [3, 9], [4, 6], [9, 9.2]], list("abab"), [0.3, 0.9, 0.5, 0.1])
    axes = plot_segments([SegmentRow("true", [[1, 4]], ["a"]), found], 10.0).axes[0]
    places = {tuple(round(float(x), 3) for x in (bar.get_x(), bar.get_x() + bar.get_width())): bar.get_y()
              for bar in axes.patches}  # fmt: skip
    first = places[3, 9]
    assert places[9, 9.2] == first  # touches, does not overlap
    assert places[4, 6] == pytest.approx(first + 1) and places[0, 4] == pytest.approx(first + 1)
    assert places[1, 4] < first
    # A score stands in what has room for it, and the rows are named beside their middles.
    assert sorted(text.get_text() for text in axes.texts) == ["0.30", "0.50", "0.90"]
    middle = axes.get_yticks()[1]
    assert middle == pytest.approx(first + 0.44 + 0.5)


def test_curves_of_a_training_share_their_steps():
    from bsp_hf.visualization import plot_training_curves

    records = [{"step": step, "loss": 1 / step, "lr": 0.1} for step in range(1, 9)]
    figure = plot_training_curves([*records, {"step": 8, "eval_accuracy": 0.4}])
    assert [axes.get_xlim() for axes in figure.axes] == [(0, pytest.approx(8.24))] * 3


def test_figures_show_themselves_in_notebooks():
    from bsp_hf.visualization.style import new_figure

    assert new_figure(2, 1)._repr_png_().startswith(b"\x89PNG")
