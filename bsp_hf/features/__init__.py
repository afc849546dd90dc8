"""An encoder and a folder of videos in, feature tracks out."""

from .concatenation import concatenate_tracks
from .encoders import EncoderMismatchError, EncoderRecord, check_same_encoder
from .export import export_tracks
from .export_report import ExportReport, LeftOut
from .extraction import extract_features
from .extraction_report import ExtractionReport
from .failures import FailedVideo
from .feature_source import SOURCE_LAYOUTS, FeatureSource, VideoFeatures
from .files import FeatureFileError, MissingFeaturesError
from .foreign import ForeignFeatures, find_missing_videos, read_foreign_features
from .formats import read_track, write_track
from .inputs import FoundVideos, find_videos
from .job_settings import JobConflictError
from .layouts import LAYOUTS, Layout
from .localizer_settings import LocalizerSettings
from .output_errors import OutputError
from .rescale import rescale, rescale_rows, rows_at
from .track import FORMAT_VERSION, FeatureTrack, TrackRecord
from .track_sets import TRACK_FORMATS, read_tracks, write_tracks
from .video_items import InputCollisionError, UnusableVideo, VideoItem

__all__ = [
    "FORMAT_VERSION",
    "LAYOUTS",
    "SOURCE_LAYOUTS",
    "TRACK_FORMATS",
    "EncoderMismatchError",
    "EncoderRecord",
    "ExportReport",
    "ExtractionReport",
    "FailedVideo",
    "FeatureFileError",
    "FeatureSource",
    "FeatureTrack",
    "ForeignFeatures",
    "FoundVideos",
    "InputCollisionError",
    "JobConflictError",
    "Layout",
    "LeftOut",
    "LocalizerSettings",
    "MissingFeaturesError",
    "OutputError",
    "TrackRecord",
    "UnusableVideo",
    "VideoFeatures",
    "VideoItem",
    "check_same_encoder",
    "concatenate_tracks",
    "export_tracks",
    "extract_features",
    "find_missing_videos",
    "find_videos",
    "read_foreign_features",
    "read_track",
    "read_tracks",
    "rescale",
    "rescale_rows",
    "rows_at",
    "write_track",
    "write_tracks",
]
