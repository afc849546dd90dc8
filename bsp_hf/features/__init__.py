"""An encoder and a folder of videos in, feature tracks out; nothing is imported before it is used."""

from typing import TYPE_CHECKING

from bsp_hf.lazy import lazy_names

_NAMES = {
    "features.encoder_record": ("EncoderMismatchError", "EncoderRecord"),
    "features.extraction.failures": ("FailedVideo",),
    "features.extraction.job": ("extract_features",),
    "features.extraction.report": ("ExtractionReport",),
    "features.extraction.resume": ("JobConflictError",),
    "features.extraction.settings": ("ExtractionSettings",),
    "features.other_tools.export": ("export_tracks",),
    "features.other_tools.export_report": ("ExportReport", "LeftOut"),
    "features.other_tools.layouts": ("LAYOUTS", "Layout", "LocalizerSettings"),
    "features.other_tools.reading": ("ForeignFeatures", "find_missing_videos", "read_foreign_features"),
    "features.other_tools.source": ("FeatureSource", "SOURCE_LAYOUTS", "VideoFeatures"),
    "features.resampling": ("concatenate_tracks", "rescale", "rescale_rows", "rows_at"),
    "features.storage.folders": ("read_tracks", "write_tracks"),
    "features.storage.formats": ("read_track", "write_track"),
    "features.storage.suffixes": ("TRACK_FORMATS",),
    "features.track": ("FORMAT_VERSION", "FeatureTrack", "TrackRecord", "check_same_encoder"),
    "files": ("FeatureFileError", "MissingFeaturesError", "OutputError"),
    "videos.items": ("InputCollisionError", "UnusableVideo", "VideoItem"),
    "videos.listing": ("FoundVideos", "find_videos"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

# Written out, because type checkers read it.
__all__ = [
    "FORMAT_VERSION",
    "LAYOUTS",
    "SOURCE_LAYOUTS",
    "TRACK_FORMATS",
    "EncoderMismatchError",
    "EncoderRecord",
    "ExportReport",
    "ExtractionReport",
    "ExtractionSettings",
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

if TYPE_CHECKING:
    from bsp_hf.features.encoder_record import EncoderMismatchError, EncoderRecord
    from bsp_hf.features.extraction.failures import FailedVideo
    from bsp_hf.features.extraction.job import extract_features
    from bsp_hf.features.extraction.report import ExtractionReport
    from bsp_hf.features.extraction.resume import JobConflictError
    from bsp_hf.features.extraction.settings import ExtractionSettings
    from bsp_hf.features.other_tools.export import export_tracks
    from bsp_hf.features.other_tools.export_report import ExportReport, LeftOut
    from bsp_hf.features.other_tools.layouts import LAYOUTS, Layout, LocalizerSettings
    from bsp_hf.features.other_tools.reading import (
        ForeignFeatures,
        find_missing_videos,
        read_foreign_features,
    )
    from bsp_hf.features.other_tools.source import SOURCE_LAYOUTS, FeatureSource, VideoFeatures
    from bsp_hf.features.resampling import concatenate_tracks, rescale, rescale_rows, rows_at
    from bsp_hf.features.storage.folders import read_tracks, write_tracks
    from bsp_hf.features.storage.formats import read_track, write_track
    from bsp_hf.features.storage.suffixes import TRACK_FORMATS
    from bsp_hf.features.track import FORMAT_VERSION, FeatureTrack, TrackRecord, check_same_encoder
    from bsp_hf.files import FeatureFileError, MissingFeaturesError, OutputError
    from bsp_hf.videos.items import InputCollisionError, UnusableVideo, VideoItem
    from bsp_hf.videos.listing import FoundVideos, find_videos

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
