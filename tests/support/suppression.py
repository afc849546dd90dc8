"""Suppression of one video, by the functions of the package that take several."""

import numpy as np

from bsp_hf.localization import suppression
from bsp_hf.localization.suppression import ABSENT, temporal_nms_batch


def temporal_nms(segments, scores, iou_threshold, max_num=None):
    """Positions of the kept candidates, best first."""
    kept = temporal_nms_batch(np.asarray(segments)[None], np.asarray(scores)[None], iou_threshold, max_num)[0]
    return kept[kept != ABSENT]


def soft_nms(segments, scores, sigma, max_num, zero_length=None):
    """Positions in the order they were picked, and decayed scores."""
    (kept,) = suppression.soft_nms([segments], [scores], sigma, max_num, zero_length)
    return kept.indices, kept.scores
