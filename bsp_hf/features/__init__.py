"""An encoder and a folder of videos in, feature tracks out; nothing is imported before it is used."""

from typing import TYPE_CHECKING

from bsp_hf.lazy import lazy_names

_HOMES = {
    "EncoderMismatchError": "features.encoder_record",
    "EncoderRecord": "features.encoder_record",
    "FailedVideo": "features.extraction.failures",
    "extract_features": "features.extraction.job",
    "ExtractionReport": "features.extraction.report",
    "JobConflictError": "features.extraction.resume",
    "ExtractionSettings": "features.extraction.settings",
    "export_tracks": "features.other_tools.export",
    "ExportReport": "features.other_tools.export_report",
    "LeftOut": "features.other_tools.export_report",
    "LAYOUTS": "features.other_tools.layouts",
    "Layout": "features.other_tools.layouts",
    "LocalizerSettings": "features.other_tools.layouts",
    "ForeignFeatures": "features.other_tools.reading",
    "find_missing_videos": "features.other_tools.reading",
    "read_foreign_features": "features.other_tools.reading",
    "FeatureSource": "features.other_tools.source",
    "SOURCE_LAYOUTS": "features.other_tools.source",
    "VideoFeatures": "features.other_tools.source",
    "concatenate_tracks": "features.resampling",
    "rescale": "features.resampling",
    "rescale_rows": "features.resampling",
    "rows_at": "features.resampling",
    "read_tracks": "features.storage.folders",
    "write_tracks": "features.storage.folders",
    "read_track": "features.storage.formats",
    "write_track": "features.storage.formats",
    "TRACK_FORMATS": "features.storage.suffixes",
    "FORMAT_VERSION": "features.track",
    "FeatureTrack": "features.track",
    "TrackRecord": "features.track",
    "check_same_encoder": "features.track",
    "FeatureFileError": "files",
    "MissingFeaturesError": "files",
    "OutputError": "files",
    "InputCollisionError": "videos.items",
    "UnusableVideo": "videos.items",
    "VideoItem": "videos.items",
    "FoundVideos": "videos.listing",
    "find_videos": "videos.listing",
}

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
