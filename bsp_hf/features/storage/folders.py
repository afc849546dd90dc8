"""Many feature tracks at once: folders of files, one HDF5 file, or an Arrow data set."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from bsp_hf.features.track import FeatureTrack
from bsp_hf.files import MissingFeaturesError, path_in_folder

from .arrow import ArrowTracks, is_arrow, write_arrow
from .formats import read_track, write_track
from .h5 import list_h5_keys, write_h5
from .sidecar import sidecar_path
from .suffixes import BARE_SUFFIXES, H5_SUFFIXES, TRACK_FORMATS, TRACK_SUFFIXES


def write_tracks(
    tracks: Iterable[FeatureTrack], path: str | Path, file_format: str | None = None
) -> tuple[str, ...]:
    """Write several tracks, holding one of them at a time.

    Args:
        tracks (`Iterable[FeatureTrack]`): The tracks; each video once.
        path (`str` or `Path`): A name that ends in `.h5` or `.hdf5` means one file of all of them; else a
            folder, with one file for each video, or of an Arrow data set.
        file_format (`str`, *optional*): One of `TRACK_FORMATS`; by default `"npz"` in a folder.

    Returns:
        `tuple[str, ...]`: Ids of the videos written.

    Raises:
        ImportError: If an HDF5 file is asked for and h5py is not installed.
        ValueError: If the format is unknown or does not go with the path, or a video comes twice.
    """
    path = Path(path)
    one_h5 = path.suffix in H5_SUFFIXES
    file_format = file_format or ("h5" if one_h5 else "npz")
    if file_format not in TRACK_FORMATS or (one_h5 and file_format != "h5"):
        raise ValueError(
            f"file_format={file_format!r} at {path}: pass one of {', '.join(TRACK_FORMATS)}, and a folder "
            "unless it is h5."
        )
    if file_format == "arrow":
        return write_arrow(tracks, path)
    video_ids: dict[str, None] = {}
    if one_h5:
        with write_h5(path) as file:
            for track in tracks:
                file.add(track)
                video_ids[track.record.video_id] = None
        return tuple(video_ids)
    for track in tracks:
        video_id = track.record.video_id
        if video_id in video_ids:
            raise ValueError(f"two tracks of {video_id!r}; the second would replace the first.")
        write_track(track, path_in_folder(path, video_id, f".{file_format}"))
        video_ids[video_id] = None
    return tuple(video_ids)


def read_tracks(path: str | Path, file_format: str | None = None) -> Iterator[FeatureTrack]:
    """Read all tracks of a file, folder or data set, one at a time.

    Args:
        path (`str` or `Path`): What `write_tracks` wrote. Other files in a folder are passed over, and so is
            an array whose record is missing, which is what an interrupted write leaves.
        file_format (`str`, *optional*): Which files of a folder to read; needed if it holds several formats.

    Yields:
        `FeatureTrack`: The tracks, in the order of their names.

    Raises:
        FeatureFileError: If a file is damaged.
        MissingFeaturesError: If there is nothing at `path`.
        ValueError: If a folder holds several formats and `file_format` is not given.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFeaturesError(f"there are no features at {path}.")
    if path.is_dir() and is_arrow(path):
        data = ArrowTracks(path)
        yield from map(data.read, data.video_ids)
    elif path.suffix in H5_SUFFIXES and path.is_file():
        for key in list_h5_keys(path):
            yield read_track(path, key)
    elif path.is_file():
        yield read_track(path)
    else:
        files = _files_of_tracks(path, file_format)
        formats = {file.suffix for file in files}
        if len(formats) > 1:
            raise ValueError(f"{path} holds {', '.join(sorted(formats))} files; pass file_format=.")
        for file in files:
            yield from read_tracks(file)


def _files_of_tracks(folder: Path, file_format: str | None) -> list[Path]:
    wanted = TRACK_SUFFIXES if file_format is None else (f".{file_format}",)
    # What is hidden is unfinished, or belongs to an extraction job.
    visible = (file for file in folder.rglob("*") if not _is_hidden(file.relative_to(folder)))
    found = (file for file in visible if file.suffix in wanted)
    return sorted(file for file in found if file.suffix not in BARE_SUFFIXES or sidecar_path(file).is_file())


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
