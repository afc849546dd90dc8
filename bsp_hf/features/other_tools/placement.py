"""Which files a layout keeps a video in when it is written, and the rows it keeps there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bsp_hf.features.resampling import rescale, rows_at, spread_evenly
from bsp_hf.features.track import FeatureTrack
from bsp_hf.files import path_in_folder

from .layouts import (
    BMN_FOLDER,
    BMN_ROWS,
    TAN_FILES,
    THUMOS_SUBSETS,
    UNTIMED,
    UNTIMED_IF_RESCALED,
    LocalizerSettings,
    describe_grid,
    thumos_subset,
)


@dataclass(frozen=True, eq=False)
class Part:
    """One array to write: `rows`, by default those of the track, under `key` if it is an HDF5 file."""

    path: Path
    track: FeatureTrack
    key: str | None = None
    rows: np.ndarray | None = None


@dataclass(frozen=True)
class Placement:
    """Places the tracks of one export; the fields are arguments of `export_tracks`."""

    layout: str
    output: Path
    file_format: str
    prefix: str = ""
    feature_type: str = "bsp"
    subsets: Mapping[str, str] | None = None
    annotation_fps: float | None = None

    @property
    def root(self) -> Path:
        """`Path`: What the tool's configuration names."""
        if self.layout == "actionformer" and self.file_format == "hdf5":
            return self.output if self.output.suffix == ".hdf5" else self.output / "features.hdf5"
        return self.output

    def common_files(self) -> tuple[Path, ...]:
        """Return the HDF5 files that hold many videos."""
        if self.layout == "actionformer" and self.file_format == "hdf5":
            return (self.root,)
        if self.layout in ("2dtan", *TAN_FILES):
            name = TAN_FILES.get(self.layout, (f"{self.feature_type}_features", None))[0]
            return (path_in_folder(self.output, name, ".hdf5"),)
        if self.layout == "tsp":
            subsets = [None] if self.subsets is None else sorted(set(self.subsets.values()))
            return tuple(self._tsp_file(subset) for subset in subsets)
        if self.layout == "gtad-thumos":  # the loader opens all four at once
            return tuple(
                self.output / f"{stream}_{subset}.h5"
                for stream in ("rgb", "flow")
                for subset in THUMOS_SUBSETS
            )
        return ()

    def why_not(self, video_id: str) -> str | None:
        """Return why a video has no place in this layout, if it has none."""
        if self.layout == "gtad-thumos" and thumos_subset(video_id) is None:
            return "its id holds neither 'val' nor 'test', by which the loader chooses a file."
        if self.layout == "tsp" and self.subsets is not None and video_id not in self.subsets:
            return "it is not in subsets."
        return None

    def settings(self, track: FeatureTrack) -> LocalizerSettings:
        """Return where the rows lie that are written of a track."""
        settings = describe_grid(track)
        if self.layout == "bmn":
            return replace(settings, feat_stride=None)
        if self.layout == "gtad-thumos":
            fps = self.annotation_fps or track.record.fps
            return replace(settings, feat_stride=1, offset_frames=0.0, fps=fps)
        return settings

    def arrange(self, track: FeatureTrack) -> FeatureTrack:
        """Return a track with its rows where the loader takes them to be, if it knows no times."""
        is_rescaled = track.record.rescaled_from is not None
        if self.layout in UNTIMED or (is_rescaled and self.layout in UNTIMED_IF_RESCALED):
            return spread_evenly(track)
        return track

    def place(self, track: FeatureTrack) -> tuple[Part, ...]:
        """Return what to write of a track, as the rows that are read there."""
        name = self.prefix + track.record.video_id
        if self.layout == "gtad-thumos":
            return self._place_thumos(track, name)
        if self.layout == "bmn":
            track = rescale(track, BMN_ROWS)
        if self.layout == "lgi" and track.num_snippets == 1:
            # The loader squeezes the array: a single row would lose its time axis.
            track = rescale(track, 2)
        if self.layout == "gtad":
            return (Part(path_in_folder(self.output, name, ".h5"), track, name),)
        if self.layout == "tsp":
            subset = None if self.subsets is None else self.subsets[track.record.video_id]
            return (Part(self._tsp_file(subset), track, name),)
        if self.file_format == "hdf5":
            dataset = TAN_FILES.get(self.layout, (None, None))[1]
            return (Part(self.common_files()[0], track, f"{name}/{dataset}" if dataset else name),)
        folder = self.output / BMN_FOLDER if self.layout == "bmn" else self.output
        return (Part(path_in_folder(folder, name, f".{self.file_format}"), track),)

    def _tsp_file(self, subset: str | None) -> Path:
        middle = "" if subset is None else f"-{subset}"
        return path_in_folder(self.output, f"{self.feature_type}{middle}_features", ".h5")

    def _place_thumos(self, track: FeatureTrack, name: str) -> tuple[Part, ...]:
        fps = self.annotation_fps or track.record.fps
        num_frames = max(1, round(track.record.duration_s * fps))
        frames = rows_at(track, np.arange(num_frames) / fps)
        subset = thumos_subset(track.record.video_id)
        # The loader joins flow and rgb. There is no flow, so its rows hold no numbers.
        nothing = np.empty((num_frames, 0), dtype=np.float32)
        return (
            Part(self.output / f"rgb_{subset}.h5", frames, name),
            Part(self.output / f"flow_{subset}.h5", frames, name, nothing),
        )
