"""Feature tracks as an Arrow data set: one example for each video, read with `datasets.load_from_disk`."""

import hashlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bsp_hf.features.track import FeatureTrack, TrackRecord
from bsp_hf.files import FeatureFileError, MissingFeaturesError, atomic_folder, blame_file

if TYPE_CHECKING:
    from datasets import Dataset, Features


def write_arrow(tracks: Iterable[FeatureTrack], folder: Path) -> tuple[str, ...]:
    """Write tracks as an Arrow data set, holding one of them at a time.

    Columns: `video_id`, `features` `(num_snippets, dim)`, `centers_s`, and `record`, which is JSON. A data
    set that is there is replaced. Returns the ids of the videos.
    """
    from datasets import Dataset  # slow to import, and only this format needs it
    from datasets.arrow_writer import ArrowWriter

    tracks = iter(tracks)
    first = next(tracks, None)
    if first is None:
        raise ValueError("an Arrow data set needs at least one track, for the length of its rows.")
    video_ids: dict[str, None] = {}
    fingerprint = hashlib.sha256()
    with atomic_folder(folder) as temporary:
        written = temporary / "written.arrow"
        # One example to a batch: Arrow's offsets are 32 bits wide, and a long video has 10^8 numbers.
        with ArrowWriter(features=_features(first.dim), path=str(written), writer_batch_size=1) as writer:
            for track in chain([first], tracks):
                video_id = track.record.video_id
                if video_id in video_ids:
                    raise ValueError(f"two tracks of {video_id!r}; pass each video once.")
                if track.dim != first.dim:
                    raise ValueError(
                        f"{video_id} has rows of {track.dim} numbers, the first track of {first.dim}; one "
                        "data set holds one kind of features."
                    )
                video_ids[video_id] = None
                fingerprint.update(track.record.to_json().encode())
                fingerprint.update(track.features.tobytes())
                writer.write(
                    {
                        "video_id": video_id,
                        "features": track.features,
                        "centers_s": track.centers_s,
                        "record": track.record.to_json(),
                    }
                )
            writer.finalize()
        read = Dataset.from_file(str(written))
        # By default it depends on the time of writing; so, the same tracks result in the same bytes.
        data = Dataset(read.data, info=read.info, fingerprint=fingerprint.hexdigest()[:16])
        data.save_to_disk(str(temporary / "saved"))
        del data, read  # Windows does not move a file that is mapped into memory
        written.unlink()
        for path in (temporary / "saved").iterdir():
            path.rename(temporary / path.name)
        (temporary / "saved").rmdir()
    return tuple(video_ids)


def is_arrow(path: Path) -> bool:
    """Return whether a folder has what `datasets.load_from_disk` looks for."""
    return (path / "state.json").is_file() and (path / "dataset_info.json").is_file()


class ArrowTracks:
    """The tracks of an Arrow data set by the ids of their videos; opening it reads no features."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        data = _load(folder)
        with blame_file(folder, "video_id"):
            self._rows = {video_id: row for row, video_id in enumerate(data["video_id"][:])}
        # The numpy format would cut the times to float32, plain Python would make lists of every feature.
        self._features = data.select_columns("features").with_format("numpy")
        self._others = data.remove_columns("features")

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Ids of the videos in stored order."""
        return tuple(self._rows)

    def read(self, video_id: str) -> FeatureTrack:
        """Read one track into memory of its own."""
        row = self._rows.get(video_id)
        if row is None:
            raise MissingFeaturesError(f"{self.folder} holds no features of {video_id!r}.")
        with blame_file(self.folder, f"example {video_id}"):
            example = self._others[row]
            return FeatureTrack(
                np.array(self._features[row]["features"], dtype=np.float32),
                np.array(example["centers_s"], dtype=np.float64),
                TrackRecord.from_json(example["record"]),
            )


def _features(dim: int) -> "Features":
    from datasets import Array2D, Features, List, Value

    return Features(
        {
            "video_id": Value("string"),
            "features": Array2D(shape=(None, dim), dtype="float32"),
            "centers_s": List(Value("float64")),
            "record": Value("string"),
        }
    )


def _load(folder: Path) -> "Dataset":
    from datasets import Dataset, load_from_disk

    with blame_file(folder, "Arrow data set"):
        data = load_from_disk(str(folder))
    if not isinstance(data, Dataset):
        raise FeatureFileError(folder, "Arrow data set", "holds several splits; pass the folder of one.")
    missing = {"video_id", "features", "centers_s", "record"} - set(data.column_names)
    if missing:
        raise FeatureFileError(folder, "columns", f"{', '.join(sorted(missing))} missing.")
    return data
