"""The features of a data set by video id, in this package's formats or another tool's layout."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bsp_hf.features.resampling import concatenate_tracks
from bsp_hf.features.storage.arrow import ArrowTracks, is_arrow
from bsp_hf.features.storage.formats import read_track
from bsp_hf.features.storage.h5 import list_h5_keys
from bsp_hf.features.storage.sidecar import sidecar_path
from bsp_hf.features.storage.suffixes import BARE_SUFFIXES, H5_SUFFIXES, TRACK_SUFFIXES
from bsp_hf.features.track import FeatureTrack, TrackRecord, check_finite
from bsp_hf.files import FeatureFileError, blame_file, path_in_folder

from .layouts import LAYOUTS, check_layout
from .reading import find_missing_videos, read_foreign_features

TRACKS = "tracks"
SOURCE_LAYOUTS = (TRACKS, *LAYOUTS)


@dataclass(frozen=True, eq=False)
class VideoFeatures:
    """The features of one video.

    Args:
        video_id (`str`): The video, as the annotations call it.
        features (`np.ndarray`): float32 `(num_rows, dim)`, time first.
        centers_s (`np.ndarray`, *optional*): float64 `(num_rows,)`, centre of each row in seconds; none if
            that was not recorded.
        record (`TrackRecord`, *optional*): How the rows were made, if this package made them.
    """

    video_id: str
    features: np.ndarray
    centers_s: np.ndarray | None = None
    record: TrackRecord | None = None

    @property
    def duration_s(self) -> float | None:
        """Duration of the video in seconds, if it was recorded."""
        return None if self.record is None or not self.record.duration_s else self.record.duration_s

    def row_centers_s(self, duration_s: float) -> np.ndarray:
        """Return the centre of every row as recorded; rows of unknown times share the duration evenly."""
        if self.centers_s is not None:
            return self.centers_s
        num_rows = len(self.features)
        return (np.arange(num_rows) + 0.5) * duration_s / max(1, num_rows)


class FeatureSource:
    """Looks features up by video id.

    Args:
        paths (`str`, `Path` or a sequence of them): Where the features are: a folder, an HDF5 file or an
            Arrow data set. The rows of several places are joined along the channels (two-stream fusion).
        layout (`str`, *optional*, defaults to `"tracks"`): `"tracks"` for what this package wrote, in any
            format; else the name of a layout in `LAYOUTS`, read as that tool's own loader would.
        prefix (`str`, *optional*, defaults to `""`): What stands in front of an id in names, like `"v_"`.
        file_format (`str`, *optional*): Format of the files, for `opentad`.

    Raises:
        FileNotFoundError: If there is nothing at a path.
        ValueError: If there is no path, or the layout is unknown.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        layout: str = TRACKS,
        *,
        prefix: str = "",
        file_format: str | None = None,
    ) -> None:
        self.paths = tuple(Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths))
        if not self.paths:
            raise ValueError("pass at least one folder or file of features.")
        absent = [path for path in self.paths if not path.exists()]
        if absent:
            raise FileNotFoundError(f"there are no features at {', '.join(map(str, absent))}.")
        if layout != TRACKS:
            check_layout(layout)
        self.layout, self.prefix, self.file_format = layout, prefix, file_format
        is_own = layout == TRACKS
        self._data_sets = {path: ArrowTracks(path) for path in self.paths if is_own and is_arrow(path)}
        self._keys = {path: frozenset(data.video_ids) for path, data in self._data_sets.items()}

    def missing(self, video_ids: Iterable[str]) -> tuple[str, ...]:
        """Return the videos that lack features in one place or more; files are looked for, not read."""
        wanted = list(video_ids)
        absent: set[str] = set()
        for path in self.paths:
            if self.layout == TRACKS:
                absent |= {video_id for video_id in wanted if not self._has_track(path, video_id)}
            else:
                absent |= set(
                    find_missing_videos(
                        path, self.layout, wanted, prefix=self.prefix, file_format=self.file_format
                    )
                )
        return tuple(video_id for video_id in wanted if video_id in absent)

    def read(self, video_id: str) -> VideoFeatures:
        """Read the features of one video, at least one row and finite.

        Raises:
            FeatureFileError: If a file is damaged, holds no row or numbers that are not finite.
            MissingFeaturesError: If the video has no features.
            ValueError: If the places do not fit together.
        """
        if self.layout == TRACKS:
            track = self.read_track(video_id)
            found = VideoFeatures(video_id, track.features, track.centers_s, track.record)
            with blame_file(self.paths[0], "features"):
                check_finite(found.features, video_id)
        else:
            rows = read_foreign_features(
                self.paths[0] if len(self.paths) == 1 else self.paths,
                self.layout,
                video_id,
                prefix=self.prefix,
                file_format=self.file_format,
            )
            # The loader of CrossTask's layout holds a row for each second; the others do not define times.
            centers_s = np.arange(len(rows.features)) + 0.5 if self.layout == "crosstask" else None
            found = VideoFeatures(video_id, rows.features, centers_s, rows.record)
        if not len(found.features):
            raise FeatureFileError(self.paths[0], f"features of {video_id}", "there is no row; leave it out.")
        return found

    def read_track(self, video_id: str) -> FeatureTrack:
        """Read one video of this package's tracks; joined along the channels where there are several paths.

        Raises:
            MissingFeaturesError: If the video has no features.
            ValueError: If the layout is another one, or the places do not fit together.
        """
        if self.layout != TRACKS:
            raise ValueError(f"layout {self.layout!r} holds no tracks with records; use read().")
        name = self.prefix + video_id
        tracks = [
            self._data_sets[path].read(name) if path in self._data_sets else read_track(path, name)
            for path in self.paths
        ]
        return tracks[0] if len(tracks) == 1 else concatenate_tracks(tracks)

    def _has_track(self, path: Path, video_id: str) -> bool:
        name = self.prefix + video_id
        if path.is_file() and path.suffix not in H5_SUFFIXES:
            return read_track(path).record.video_id == name
        if path.is_file() and path not in self._keys:
            self._keys[path] = frozenset(list_h5_keys(path))
        if path in self._keys:
            return name in self._keys[path]
        files = (path_in_folder(path, name, suffix) for suffix in TRACK_SUFFIXES)
        return any(
            file.is_file() and (file.suffix not in BARE_SUFFIXES or sidecar_path(file).is_file())
            for file in files
        )
