"""Segments and ground truth in, numbers out: the official protocols in pure numpy.

Nothing here imports more than numpy; `bsp_hf.metrics.hub` wraps the same functions for the `evaluate`
library.
"""

from .actionness import (
    ActionnessScores,
    StepAnnotation,
    average_precision,
    evaluate_actionness,
    label_segments,
)
from .boundary_classification import (
    BOUNDARY_TYPE_NAMES,
    BoundaryClassificationScores,
    evaluate_boundary_classification,
)
from .detection import (
    ACTIVITYNET_TIOU_THRESHOLDS,
    THUMOS_TIOU_THRESHOLDS,
    DetectionScores,
    activitynet_map,
    interpolated_average_precision,
    thumos_map,
)
from .generic_boundaries import (
    GEBD_RELATIVE_DISTANCES,
    BoundaryAnnotation,
    BoundaryScores,
    evaluate_boundaries,
    read_boundary_annotations,
)
from .grounding import GroundingScores, evaluate_grounding
from .proposals import ProposalScores, proposal_recall
from .qvhighlights import (
    HighlightScores,
    MomentRetrievalScores,
    evaluate_highlights,
    evaluate_moment_retrieval,
)
from .segment_table import SegmentTable, read_ground_truth, read_results
from .segments import pairwise_tiou, tiou

__all__ = [
    "ACTIVITYNET_TIOU_THRESHOLDS",
    "BOUNDARY_TYPE_NAMES",
    "GEBD_RELATIVE_DISTANCES",
    "THUMOS_TIOU_THRESHOLDS",
    "ActionnessScores",
    "BoundaryAnnotation",
    "BoundaryClassificationScores",
    "BoundaryScores",
    "DetectionScores",
    "GroundingScores",
    "HighlightScores",
    "MomentRetrievalScores",
    "ProposalScores",
    "SegmentTable",
    "StepAnnotation",
    "activitynet_map",
    "average_precision",
    "evaluate_actionness",
    "evaluate_boundaries",
    "evaluate_boundary_classification",
    "evaluate_grounding",
    "evaluate_highlights",
    "evaluate_moment_retrieval",
    "interpolated_average_precision",
    "label_segments",
    "pairwise_tiou",
    "proposal_recall",
    "read_boundary_annotations",
    "read_ground_truth",
    "read_results",
    "thumos_map",
    "tiou",
]
