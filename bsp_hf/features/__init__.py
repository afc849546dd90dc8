"""An encoder and a folder of videos in, feature tracks out."""

from bsp_hf.features.extraction.failures import FailedVideo
from bsp_hf.features.extraction.job import extract_features
from bsp_hf.features.extraction.report import ExtractionReport
from bsp_hf.features.extraction.resume import JobConflictError
from bsp_hf.features.other_tools.export import export_tracks
from bsp_hf.features.other_tools.export_report import ExportReport, LeftOut
from bsp_hf.features.other_tools.layouts import LAYOUTS, Layout, LocalizerSettings
from bsp_hf.features.other_tools.reading import ForeignFeatures, find_missing_videos, read_foreign_features
from bsp_hf.features.other_tools.source import SOURCE_LAYOUTS, FeatureSource, VideoFeatures
from bsp_hf.features.storage.folders import TRACK_FORMATS, read_tracks, write_tracks
from bsp_hf.features.storage.formats import read_track, write_track
from bsp_hf.files import FeatureFileError, MissingFeaturesError, OutputError
from bsp_hf.videos.items import InputCollisionError, UnusableVideo, VideoItem
from bsp_hf.videos.listing import FoundVideos, find_videos

from .encoder_record import EncoderMismatchError, EncoderRecord
from .resampling import concatenate_tracks, rescale, rescale_rows, rows_at
from .track import FORMAT_VERSION, FeatureTrack, TrackRecord, check_same_encoder

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
