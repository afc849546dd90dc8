import numpy as np
import pytest

from bsp_hf.metrics import SegmentTable, proposal_recall


def plain_proposal_curve(instances, proposals, allowance, thresholds):
    """AR@AN and AUC by obvious loops; rows are (video, start, end[, score])."""
    videos = list(dict.fromkeys(row[0] for row in instances))
    ratio = allowance * float(len(videos)) / len(proposals)
    overlap_of = {}
    num_kept = 0
    for video in videos:
        mine = [row for row in proposals if row[0] == video]
        ranked = sorted(mine, key=lambda row: row[3])[::-1]
        ranked = ranked[: min(int(len(ranked) * ratio), len(ranked))]
        num_kept += len(ranked)
        table = []
        for other, first, last in instances:
            if other != video:
                continue
            line = []
            for _, start, end, _ in ranked:
                shared = max(0.0, min(end, last) - max(start, first))
                union = (last - first) + (end - start) - shared
                line.append(-1.0 if union == 0 else shared / union)
            table.append(line)
        overlap_of[video] = table
    curve, per_video = [], []
    for point in range(1, 101):
        share = point / 100.0 * (allowance * float(len(videos)) / num_kept)
        recalls = []
        for threshold in thresholds:
            hits = 0
            for video in videos:
                for line in overlap_of[video]:
                    used = min(int(len(line) * share), len(line))
                    hits += any(overlap >= threshold for overlap in line[:used])
            recalls.append(hits / len(instances))
        curve.append(sum(recalls) / len(recalls))
        per_video.append(share * num_kept / len(videos))
    area = sum(
        (per_video[place] - per_video[place - 1]) * (curve[place] + curve[place - 1]) / 2
        for place in range(1, 100)
    )
    return curve, per_video, 100.0 * area / per_video[-1]


def as_tables(instances, proposals):
    truth = SegmentTable.from_columns(
        [row[0] for row in instances], ["any"] * len(instances), [row[1:3] for row in instances]
    )
    found = SegmentTable.from_columns(
        [row[0] for row in proposals],
        None,
        [row[1:3] for row in proposals],
        [row[3] for row in proposals],
    )
    return truth, found


@pytest.mark.parametrize("allowance", [1, 10, 37.5, 100, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_curve_and_area_equal_plain_loops(allowance, seed):
    rng = np.random.default_rng(seed)
    instances, proposals = [], []
    for video in range(8):
        for _ in range(rng.integers(1, 4)):
            start = float(rng.integers(0, 20))
            instances.append((f"v{video}", start, start + float(rng.integers(0, 10))))
    for video in (*range(1, 8), "outside"):
        for _ in range(rng.integers(1, 60)):
            start = float(rng.integers(0, 20))
            proposals.append((f"v{video}", start, start + float(rng.integers(0, 10)), round(rng.random(), 1)))
    thresholds = (0.3, 0.5, 0.95)
    curve, per_video, area = plain_proposal_curve(instances, proposals, allowance, thresholds)
    scores = proposal_recall(
        *as_tables(instances, proposals), max_proposals_per_video=allowance, tiou_thresholds=thresholds
    )
    np.testing.assert_allclose(scores.average_recall, curve, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scores.proposals_per_video, per_video, rtol=1e-12)
    np.testing.assert_allclose(scores.auc, area, rtol=1e-12, atol=1e-12)
    assert (scores.num_videos, scores.num_videos_with_proposals) == (8, 7)
    assert scores.num_proposals == len(proposals)


def test_perfect_proposals_reach_99_because_the_curve_starts_at_one():
    instances = [(f"v{video}", 0.0, 10.0) for video in range(3)]
    proposals = [
        (f"v{video}", 0.0, 10.0 if rank == 0 else 1.0, 100.0 - rank)
        for video in range(3)
        for rank in range(100)
    ]
    scores = proposal_recall(*as_tables(instances, proposals))
    assert scores.average_recall.tolist() == [1.0] * 100
    assert scores.auc == pytest.approx(99.0, abs=1e-9)
    np.testing.assert_allclose(scores.proposals_per_video, np.arange(1, 101))


def test_recall_is_read_off_the_curve():
    # One video, four proposals; only the third finds the instance.
    proposals = [("v", 0.0, 10.0 if rank == 2 else 1.0, 1.0 - rank / 10) for rank in range(4)]
    scores = proposal_recall(*as_tables([("v", 0.0, 10.0)], proposals), max_proposals_per_video=4)
    assert scores.average_recall_at(2) == 0.0
    assert scores.average_recall_at(3) == scores.average_recall_at(4) == 1.0
    for outside in (0.01, 5):
        with pytest.raises(ValueError, match="not on the curve"):
            scores.average_recall_at(outside)


def test_a_cut_product_may_use_one_proposal_less():
    # 100 proposals at point 29: 100 * 0.29 is 28.999999999999996 in floats, so 28 are used.
    proposals = [("v", 0.0, 10.0 if rank == 28 else 1.0, 100.0 - rank) for rank in range(100)]
    scores = proposal_recall(*as_tables([("v", 0.0, 10.0)], proposals))
    assert scores.average_recall[28] == 0.0 and scores.average_recall[29] == 1.0


def test_an_undefined_overlap_finds_nothing():
    scores = proposal_recall(*as_tables([("v", 5.0, 5.0)], [("v", 7.0, 7.0, 0.9)]), max_proposals_per_video=1)
    assert scores.average_recall[-1] == 0.0


def test_no_proposals_score_zero_and_bad_input_is_refused():
    instances = [("v", 0.0, 10.0)]
    scores = proposal_recall(*as_tables(instances, []))
    assert (scores.auc, scores.num_videos_with_proposals, scores.proposals_per_video[-1]) == (0.0, 0, 100.0)
    with pytest.raises(ValueError, match="max_proposals_per_video is 0"):
        proposal_recall(*as_tables(instances, []), max_proposals_per_video=0)
    with pytest.raises(ValueError, match="no segment to find"):
        proposal_recall(*as_tables([], []))


def test_official_layout_is_read_without_labels_in_the_proposals():
    truth = {"database": {"v": {"subset": "validation", "annotations": [{"label": "a", "segment": [0, 10]}]}}}
    found = {"results": {"v": [{"segment": [0, 8], "score": 0.5}]}}
    scores = proposal_recall(truth, found, max_proposals_per_video=1)
    assert scores.average_recall_at(1) == pytest.approx(0.7)
    assert proposal_recall(
        truth, found, excluded_video_ids=["other"], max_proposals_per_video=1
    ).auc == pytest.approx(scores.auc)
