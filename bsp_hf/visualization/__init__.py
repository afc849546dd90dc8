"""Pictures of clips, responses, training and features, as matplotlib figures (the extra `plot`)."""

from .clips import plot_boundary_clips, plot_boundary_response
from .differences import Separation, plot_consecutive_differences, separation_statistic
from .segments import SegmentRow, plot_segments
from .tracks import plot_feature_track
from .training import plot_confusion_matrix, plot_training_curves

__all__ = [
    "SegmentRow",
    "Separation",
    "plot_boundary_clips",
    "plot_boundary_response",
    "plot_confusion_matrix",
    "plot_consecutive_differences",
    "plot_feature_track",
    "plot_segments",
    "plot_training_curves",
    "separation_statistic",
]
