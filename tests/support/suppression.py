"""Greedy suppression of one video, by the batched function of the package."""

import numpy as np

from bsp_hf.localization.suppression import ABSENT, temporal_nms_batch


def temporal_nms(segments, scores, iou_threshold, max_num=None):
    """Positions of the kept candidates, best first."""
    kept = temporal_nms_batch(np.asarray(segments)[None], np.asarray(scores)[None], iou_threshold, max_num)[0]
    return kept[kept != ABSENT]
