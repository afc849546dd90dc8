"""Greedy matching of detections to instances, exact and vectorised over videos, classes and thresholds."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .segment_table import SegmentTable
from .segments import tiou

_PAIRS_AT_ONCE = 2**20  # bounds the working memory, not the result


def match_detections(
    ground_truth: SegmentTable,
    video_index: np.ndarray,
    label_index: np.ndarray,
    segments_s: np.ndarray,
    tiou_thresholds: np.ndarray,
) -> np.ndarray:
    """Return which detections are true positives under the rules of [`activitynet_map`].

    The greedy walk of the protocol only couples predictions of one class in one video, a group. So all groups
    are walked at once, one prediction of each a round: as many rounds as the largest group has predictions
    that reach the lowest threshold, where a plain loop takes one step a prediction.

    Indices are places in the table's `video_ids` (-1 where absent) and `labels`; predictions are given with
    the highest score of a class first. The result is bool `(num_predictions, num_thresholds)`.
    """
    is_match = np.zeros((len(segments_s), len(tiou_thresholds)), dtype=bool)
    num_labels = len(ground_truth.labels)
    instance_key = ground_truth.video_index * num_labels + ground_truth.label_index
    by_group = np.argsort(instance_key, kind="stable")  # keeps file order inside a group
    keys, first, counts = np.unique(instance_key[by_group], return_index=True, return_counts=True)

    prediction_key = np.where(video_index >= 0, video_index * num_labels + label_index, -1)
    place = np.minimum(np.searchsorted(keys, prediction_key), len(keys) - 1)
    rows = np.flatnonzero(keys[place] == prediction_key)
    # Groups are numbered by their instances, fewest first, so that those padded together are alike.
    by_count = np.argsort(counts, kind="stable")
    first, counts = first[by_count], counts[by_count]
    group = np.argsort(by_count)[place]
    rows = rows[np.argsort(group[rows], kind="stable")]  # keeps the highest score first inside a group
    for batch in _batches(group[rows], counts):
        slots = np.arange(batch.num_slots)
        of_group = counts[batch.groups]
        instances = by_group[first[batch.groups, None] + np.minimum(slots, of_group[:, None] - 1)]
        batch_rows = rows[batch.rows]
        local_group = np.searchsorted(batch.groups, group[batch_rows])
        overlap = tiou(ground_truth.segments_s[instances[local_group]], segments_s[batch_rows, None, :])
        overlap[slots >= of_group[local_group, None]] = -1.0  # padding: below every threshold
        is_match[batch_rows] = _walk_groups(local_group, overlap, tiou_thresholds)
    return is_match


class _Batch(NamedTuple):
    """Groups that are walked together."""

    groups: np.ndarray  # (num_groups,), ascending
    rows: slice  # their predictions, in the order sorted by group
    num_slots: int  # instances of the largest group


def _batches(group_of_row: np.ndarray, counts: np.ndarray) -> Iterator[_Batch]:
    """Cut the groups so that predictions x slots stay bounded; both arguments ascend."""
    groups, first, num_rows = np.unique(group_of_row, return_index=True, return_counts=True)
    start = 0
    while start < len(groups):
        pairs = np.cumsum(num_rows[start:]) * counts[groups[start:]]
        last = start + max(1, int(np.searchsorted(pairs, _PAIRS_AT_ONCE, side="right"))) - 1
        rows = slice(int(first[start]), int(first[last] + num_rows[last]))
        yield _Batch(groups[start : last + 1], rows, int(counts[groups[last]]))
        start = last + 1


def _walk_groups(group: np.ndarray, overlap: np.ndarray, tiou_thresholds: np.ndarray) -> np.ndarray:
    """Match each prediction to its best free instance, all groups in step.

    `group` ascends from 0, highest score first inside a group; `overlap` is `(num_predictions,
    num_slots)`, the tIoU with each instance of the group, where NaN matches. The result is bool
    `(num_predictions, num_thresholds)`.
    """
    num_slots, num_thresholds = overlap.shape[1], len(tiou_thresholds)
    is_match = np.zeros((len(group), num_thresholds), dtype=bool)
    # "Not below" and not "at or above": NaN is never below.
    can_match = np.flatnonzero((~(overlap < tiou_thresholds.min())).any(axis=1))
    group, overlap = group[can_match], overlap[can_match]
    # Ascending, reversed: NaN first, then the best, of equals the later instance.
    slot_order = np.argsort(overlap, axis=1, kind="stable")[:, ::-1]
    overlap = np.take_along_axis(overlap, slot_order, axis=1)

    round_of = np.arange(len(group)) - np.searchsorted(group, group)
    by_round = np.argsort(round_of, kind="stable")
    free = np.ones((int(group[-1]) + 1 if len(group) else 0, num_slots, num_thresholds), dtype=bool)
    for rows in np.split(by_round, np.cumsum(np.bincount(round_of)))[:-1]:
        order = slot_order[rows]
        eligible = ~(overlap[rows, :, None] < tiou_thresholds)
        eligible &= free[group[rows, None], order]
        best = eligible.argmax(axis=1)
        matched, threshold = np.nonzero(eligible.any(axis=1))
        free[group[rows[matched]], order[matched, best[matched, threshold]], threshold] = False
        is_match[can_match[rows[matched]], threshold] = True
    return is_match
