"""An encoder and a folder of videos in, feature tracks out."""

from .concatenation import concatenate_tracks
from .encoders import EncoderMismatchError, EncoderRecord, check_same_encoder
from .export import export_tracks
from .export_report import ExportReport, LeftOut
from .feature_source import SOURCE_LAYOUTS, FeatureSource, VideoFeatures
from .files import FeatureFileError, MissingFeaturesError
from .foreign import ForeignFeatures, find_missing_videos, read_foreign_features
from .formats import read_track, write_track
from .layouts import LAYOUTS, Layout
from .localizer_settings import LocalizerSettings
from .rescale import rescale, rescale_rows, rows_at
from .track import FORMAT_VERSION, FeatureTrack, TrackRecord
from .track_sets import TRACK_FORMATS, read_tracks, write_tracks

__all__ = [
    "FORMAT_VERSION",
    "LAYOUTS",
    "SOURCE_LAYOUTS",
    "TRACK_FORMATS",
    "EncoderMismatchError",
    "EncoderRecord",
    "ExportReport",
    "FeatureFileError",
    "FeatureSource",
    "FeatureTrack",
    "ForeignFeatures",
    "Layout",
    "LeftOut",
    "LocalizerSettings",
    "MissingFeaturesError",
    "TrackRecord",
    "VideoFeatures",
    "check_same_encoder",
    "concatenate_tracks",
    "export_tracks",
    "find_missing_videos",
    "read_foreign_features",
    "read_track",
    "read_tracks",
    "rescale",
    "rescale_rows",
    "rows_at",
    "write_track",
    "write_tracks",
]
