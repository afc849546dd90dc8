import numpy as np
import pytest

from bsp_hf.metrics import evaluate_grounding


def plain_scores(predictions, ground_truth, ranks, thresholds, strict):
    """Recall table and mean tIoU by obvious loops."""
    overlaps = []
    for moments, (first, last) in zip(predictions, ground_truth, strict=True):
        line = []
        for start, end in moments:
            shared = max(0.0, min(end, last) - max(start, first))
            line.append(shared / (max(end, last) - min(start, first)))
        overlaps.append(line)
    recall = []
    for rank in ranks:
        row = []
        for threshold in thresholds:
            hits = 0
            for line in overlaps:
                hits += any(
                    overlap > threshold if strict else overlap >= threshold for overlap in line[:rank]
                )
            row.append(hits / len(overlaps))
        recall.append(row)
    return recall, sum(line[0] if line else 0.0 for line in overlaps) / len(overlaps)


@pytest.mark.parametrize("run", [0, 1])
def test_recall_and_mean_iou_equal_the_2d_tan_golden_file(golden_json, run):
    case = golden_json("tan/evaluation")
    run = case["runs"][run]
    scores = evaluate_grounding(
        run["after_nms_top5"],
        [query["times"] for query in run["queries"]],
        ranks=run["recall_at"],
        tiou_thresholds=run["tiou"],
        rule="2d-tan",
    )
    np.testing.assert_allclose(scores.recall.T, run["recall"], **case["tolerance"])
    np.testing.assert_allclose(scores.mean_iou, run["miou"], **case["tolerance"])


def test_recall_and_mean_iou_equal_the_lgi_golden_file(golden_json):
    case = golden_json("lgi/evaluation")
    predictions = [[moment] for moment in case["predictions"]]
    scores = evaluate_grounding(
        predictions, case["ground_truths"], ranks=(1,), tiou_thresholds=case["thresholds"], rule="lgi"
    )
    np.testing.assert_allclose(scores.recall[0], case["recall_at_1"], **case["tolerance"])
    np.testing.assert_allclose(scores.mean_iou, case["mIoU"], **case["tolerance"])
    for moment, truth, expected in zip(predictions, case["ground_truths"], case["tiou"], strict=True):
        one = evaluate_grounding([moment], [truth], rule="lgi")
        np.testing.assert_allclose(one.mean_iou, expected, **case["tolerance"])


def test_the_lgi_golden_file_tells_the_two_rules_apart(golden_json):
    case = golden_json("lgi/evaluation")
    predictions = [[moment] for moment in case["predictions"]]
    recall = {
        rule: evaluate_grounding(
            predictions, case["ground_truths"], tiou_thresholds=(0.3, 0.5), rule=rule
        ).recall
        for rule in ("2d-tan", "lgi")
    }
    assert (recall["2d-tan"][0] < recall["lgi"][0]).all()


@pytest.mark.parametrize("rule", ["2d-tan", "lgi"])
@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_plain_loops(rule, seed):
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 10, size=40)
    ground_truth = np.stack([starts, starts + rng.integers(1, 10, size=40)], axis=1).astype(float)
    predictions = [rng.integers(0, 20, size=(rng.integers(0, 8), 2)).astype(float) for _ in range(40)]
    ranks, thresholds = (1, 3, 5), (0.25, 0.5, 1.0)
    scores = evaluate_grounding(predictions, ground_truth, ranks=ranks, tiou_thresholds=thresholds, rule=rule)
    recall, mean_iou = plain_scores(predictions, ground_truth, ranks, thresholds, strict=rule == "2d-tan")
    np.testing.assert_allclose(scores.recall, recall, rtol=1e-12)
    np.testing.assert_allclose(scores.mean_iou, mean_iou, rtol=1e-12)
    assert scores.num_queries_with_predictions == sum(len(moments) > 0 for moments in predictions)


def test_a_query_without_moments_is_missed_and_counted():
    scores = evaluate_grounding([[], [[0.0, 4.0]]], [[0.0, 4.0], [0.0, 4.0]])
    assert scores.recall.tolist() == [[0.5] * 3] * 2
    assert (scores.mean_iou, scores.num_queries, scores.num_queries_with_predictions) == (0.5, 2, 1)


def test_lgi_counts_reversed_annotations_and_2d_tan_refuses_them():
    truth, moments = [[8.0, 7.0], [0.0, 4.0]], [[[0.0, 10.0]], [[0.0, 4.0]]]
    assert evaluate_grounding(moments, truth, rule="lgi").recall_at(1, 0.5) == 0.5
    with pytest.raises(ValueError, match=r"ground_truth_s\[0\] is \[8.0, 7.0\]"):
        evaluate_grounding(moments, truth, rule="2d-tan")
    with pytest.raises(ValueError, match=r"Query 0.*undefined"):
        evaluate_grounding([[[5.0, 5.0]]], [[5.0, 5.0]], rule="lgi")


@pytest.mark.parametrize(
    ("predictions", "truth", "options", "message"),
    [
        ([[[0, 1]]], [[0, 1], [0, 1]], {}, "predictions for 1 queries and 2 annotated"),
        ([], [], {}, "predictions for 0 queries"),
        ([[[0, float("nan")]]], [[0, 1]], {}, r"predictions_s\[0\]\[0\] is \[0.0, nan\]"),
        ([[[0, 1]]], [[0, float("nan")]], {}, r"ground_truth_s\[0\]"),
        ([[[0, 1]]], [[0, 1]], {"rule": "tall"}, "rule is 'tall'"),
        ([[[0, 1]]], [[0, 1]], {"ranks": (0,)}, r"ranks is \(0,\)"),
        ([[[0, 1]]], [[0, 1]], {"ranks": ()}, r"ranks is \(\)"),
        ([[[0, 1]]], [[0, 1]], {"tiou_thresholds": (0.0,)}, "tiou_thresholds"),
    ],
)
def test_bad_input_is_refused(predictions, truth, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_grounding(predictions, truth, **options)


def test_a_rank_that_was_not_evaluated_is_refused():
    scores = evaluate_grounding([[[0.0, 1.0]]], [[0.0, 1.0]])
    assert scores.recall_at(5, 0.7) == 1.0
    with pytest.raises(ValueError, match="R@2 was not evaluated"):
        scores.recall_at(2, 0.5)
    with pytest.raises(ValueError, match=r"0\.4 was not evaluated"):
        scores.recall_at(1, 0.4)
