import math

import numpy as np
import pytest

from bsp_hf.encoder.configuration_bsp import BoundaryType
from bsp_hf.metrics import BOUNDARY_TYPE_NAMES, evaluate_boundary_classification


def test_class_names_are_those_of_the_encoder():
    assert tuple(kind.label for kind in BoundaryType) == BOUNDARY_TYPE_NAMES


def test_scores_by_hand():
    scores = evaluate_boundary_classification([0, 1, 1, 1, 3, 0], [0, 0, 1, 1, 3, 3])
    assert scores.confusion.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.class_recall[[0, 1, 3]].tolist() == [0.5, 1.0, 0.5]
    assert math.isnan(scores.class_recall[2])
    assert scores.mean_class_recall == pytest.approx(2 / 3)
    assert scores.num_clips == 6


@pytest.mark.parametrize("num_classes", [1, 2, 7])
def test_any_number_of_classes_equals_plain_loops(num_classes):
    rng = np.random.default_rng(num_classes)
    told, true = rng.integers(0, num_classes, size=(2, 300))
    scores = evaluate_boundary_classification(told, true, class_names=[f"c{n}" for n in range(num_classes)])
    assert scores.accuracy == pytest.approx(sum(int(a == b) for a, b in zip(told, true, strict=True)) / 300)
    for row in range(num_classes):
        for column in range(num_classes):
            count = sum(int(b == row and a == column) for a, b in zip(told, true, strict=True))
            assert scores.confusion[row, column] == count
        mine = [int(a == b) for a, b in zip(told, true, strict=True) if b == row]
        assert scores.class_recall[row] == pytest.approx(sum(mine) / len(mine))


@pytest.mark.parametrize(
    ("told", "true", "options", "message"),
    [
        ([4], [0], {}, r"predictions\[0\] is 4; expected 0 to 3"),
        ([0], [-1], {}, r"labels\[0\] is -1"),
        ([0.0], [0], {}, "predictions has shape.*float64"),
        ([[0.1, 0.9]], [0], {}, "argmax"),
        ([0, 1], [0], {}, "2 predictions and 1 labels"),
        ([], [], {}, "0 predictions and 0 labels"),
        ([0], [0], {"class_names": ["a", "a"]}, "different names"),
        ([0], [0], {"class_names": []}, "different names"),
    ],
)
def test_bad_input_is_refused(told, true, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_boundary_classification(told, true, **options)
