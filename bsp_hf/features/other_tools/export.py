"""Writes feature tracks as the loaders of other localizers read them."""

import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from bsp_hf.features.encoder_record import EncoderRecord
from bsp_hf.features.storage.formats import write_track
from bsp_hf.features.storage.h5 import H5TrackWriter, write_h5
from bsp_hf.features.track import FeatureTrack, check_finite, check_same_encoder
from bsp_hf.files import atomic_write_text

from .export_report import TIMED_BY_ANNOTATION, TIMING_FILE, ExportReport, LeftOut
from .layouts import LocalizerSettings, check_layout, find_off_grid_row
from .placement import Part, Placement

logger = logging.getLogger(__name__)

# What an export into a folder was, where no loader looks.
_RECORD_FILE = ".bsp_hf_export.json"


def export_tracks(
    tracks: Iterable[FeatureTrack],
    layout: str,
    output: str | Path,
    *,
    file_format: str | None = None,
    prefix: str = "",
    feature_type: str = "bsp",
    subsets: Mapping[str, str] | None = None,
    annotation_fps: float | None = None,
) -> ExportReport:
    """Write tracks in a layout of `LAYOUTS`, holding one of them at a time.

    Every file also carries its record, where no loader looks: in attributes, in further arrays of an npz, or
    in a JSON file beside it. A track that is incomplete, has no row, or whose rows do not lie where their
    numbers imply, is left out and named in the report.

    Args:
        tracks (`Iterable[FeatureTrack]`): The tracks, of one encoder and one grid; each video once.
        layout (`str`): Name of the layout.
        output (`str` or `Path`): The folder to write to; for `actionformer` a name that ends in `.hdf5` gives
            one file.
        file_format (`str`, *optional*): One of the layout's `export_formats`; the first by default.
        prefix (`str`, *optional*, defaults to `""`): What stands in front of an id in names, like `"v_"`.
        feature_type (`str`, *optional*, defaults to `"bsp"`): Names the features in the files of `2dtan` and
            `tsp`.
        subsets (`Mapping[str, str]`, *optional*): Subset of each video, for `tsp`.
        annotation_fps (`float`, *optional*): Frames per second that the annotations of `gtad-thumos` count
            in; by default those of the track.

    Returns:
        `ExportReport`: What was written and how its reader is configured; `str` of it is meant to be printed.

    Raises:
        EncoderMismatchError: If the tracks come from several encoders.
        ImportError: If the layout needs h5py and it is not installed.
        ValueError: If the layout cannot be written so, the tracks differ in their grid, a video comes twice,
            or no track could be written.
    """
    output = Path(output)
    formats = check_layout(layout).export_formats
    file_format = file_format or ("hdf5" if output.suffix == ".hdf5" else next(iter(formats), "none"))
    if file_format not in formats:
        raise ValueError(
            f"layout {layout!r} cannot be written as {file_format!r}: "
            f"{'choose ' + ' or '.join(formats) if formats else 'it is only read'}."
        )
    if annotation_fps is not None and not annotation_fps > 0:
        raise ValueError(f"annotation_fps must be positive, got {annotation_fps}.")
    placement = Placement(layout, output, file_format, prefix, feature_type, subsets, annotation_fps)
    own = {"layout": layout, "file_format": file_format, "prefix": prefix, "feature_type": feature_type}
    _check_place(placement.root, own)
    encoder: EncoderRecord | None = None
    settings: LocalizerSettings | None = None
    timing: dict[str, dict[str, Any]] = {}
    left_out: list[LeftOut] = []
    num_arranged = 0
    with ExitStack() as stack:
        shared = {path: stack.enter_context(write_h5(path)) for path in placement.common_files()}
        for track in tracks:
            video_id = track.record.video_id
            reason = _why_not(track, layout) or placement.why_not(video_id)
            if reason:
                logger.warning("%s is left out: %s", video_id, reason)
                left_out.append(LeftOut(video_id, reason))
                continue
            if video_id in timing:
                raise ValueError(f"two tracks of {video_id!r}; pass each video once.")
            encoder = encoder or track.record.encoder
            check_same_encoder(track, encoder)
            settings = _merge(settings, placement.settings(track), video_id)
            timing[video_id] = _timing(track)
            arranged = placement.arrange(track)
            num_arranged += arranged is not track
            for part in placement.place(arranged):
                _write(part, shared)
            if len(timing) == 1 and placement.root.is_dir():
                atomic_write_text(placement.root / _RECORD_FILE, json.dumps(own) + "\n")
        if settings is None:  # raised here, so that files of many videos are not left behind empty
            first = f"{left_out[0].video_id}: {left_out[0].reason}" if left_out else "there is no track."
            raise ValueError(f"nothing was exported: {first}")
    if layout in TIMED_BY_ANNOTATION:
        atomic_write_text(output / TIMING_FILE, json.dumps(timing, indent=1) + "\n")
    return ExportReport(
        layout,
        placement.root,
        file_format,
        prefix,
        feature_type,
        tuple(timing),
        tuple(left_out),
        settings,
        num_arranged,
    )


def _check_place(folder: Path, own: dict[str, str]) -> None:
    """Raise if a folder holds an export of other settings, whose files would lie among the new ones."""
    try:
        before = json.loads((folder / _RECORD_FILE).read_text(encoding="utf-8"))
    except OSError:  # there is none, or the export is one file
        return
    changes = [
        f"{name} {before[name]!r} there, {value!r} now"
        for name, value in own.items()
        if before.get(name, value) != value
    ]
    if changes:
        raise ValueError(
            f"{folder} holds another export ({'; '.join(changes)}); pass another folder, or delete it."
        )


def _write(part: Part, shared: Mapping[Path, H5TrackWriter]) -> None:
    if part.key is None:
        write_track(part.track, part.path)
    elif part.path in shared:
        shared[part.path].add(part.track, part.key, part.rows)
    else:
        with write_h5(part.path) as file:
            file.add(part.track, part.key, part.rows)


def _why_not(track: FeatureTrack, layout: str) -> str | None:
    if not track.record.complete:
        return f"the video could not be read to its end: {track.record.error or 'no reason is recorded'}"
    if not track.num_snippets:
        return "it has no row."
    try:
        check_finite(track.features, track.record.video_id)
    except ValueError as error:
        return str(error)
    if layout == "gtad-thumos" or track.record.rescaled_from is not None:
        return None
    row = find_off_grid_row(track)
    if row is None:
        return None
    return (
        f"row {row} is centred at {track.centers_s[row]:.3f} s, not where its number implies. Extract the "
        "whole video, with fps= if its frame rate varies."
    )


def _merge(known: LocalizerSettings | None, new: LocalizerSettings, video_id: str) -> LocalizerSettings:
    if known is None:
        return new
    for name in ("feat_stride", "num_frames", "input_dim", "num_rows"):
        values = getattr(known, name), getattr(new, name)
        if values[0] != values[1]:
            raise ValueError(
                f"{video_id} has {name} {values[1]}, the tracks before it {values[0]}; export tracks of one "
                "kind."
            )
    return known if known.fps == new.fps else replace(known, fps=None)


def _timing(track: FeatureTrack) -> dict[str, Any]:
    record = track.record
    num_snippets = record.rescaled_from or track.num_snippets
    return {
        "duration_second": record.duration_s,
        "duration_frame": record.num_frames,
        "feature_frame": num_snippets * record.stride_frames,
    }
