"""`bsp-hf segment`: videos to segments without labels, in the formats of players and editing programs."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from bsp_hf.pretrained import DEFAULT_DETECTOR

from ..application import NOTHING_DONE, SOME_FAILED, list_failures, report_errors
from ..boundary_options import CoarseToFine, Kinds, MinGap, split_kinds
from ..early_checks import check_inputs, find_model, refuse_existing
from ..progress import show_progress

if TYPE_CHECKING:
    from bsp_hf import SegmentedVideo

_SHOWN_ROWS = 20


def segment(
    videos: Annotated[list[str], Argument(help="Videos, folders, patterns, lists or tables as of extract.")],
    output: Annotated[
        Path | None,
        Option("--output", "-o", help="Folder for VIDEO.json and so on; or one file, as .vtt, of one video."),
    ] = None,
    file_format: Annotated[
        list[str] | None,
        Option(
            "--format",
            help="json, csv, webvtt, chapters (of FFmpeg), otio, edl or html; may be given several times.",
        ),
    ] = None,
    cut: Annotated[
        str | None,
        Option(help="Write clips, too: copy (of packets, from keyframes on) or exact (encoded anew)."),
    ] = None,
    kinds: Kinds = None,
    min_segment: Annotated[float, Option(min=0, help="Fewest seconds of a segment.")] = 0.0,
    max_segments: Annotated[int | None, Option(min=1, help="Most segments of a video.")] = None,
    model: Annotated[
        str | None, Option(help="Boundary classifier: a folder or a Hub id; default: the packaged encoder.")
    ] = None,
    threshold: Annotated[
        float | None, Option(min=0, max=1, help="Smallest response of a change; default: the encoder's own.")
    ] = None,
    min_gap_s: MinGap = None,
    stride_frames: Annotated[int | None, Option(min=1, help="Frames between windows of the encoder.")] = None,
    coarse_to_fine: CoarseToFine = False,
    batch_size: Annotated[int, Option(min=1, help="Windows that go through the encoder together.")] = 8,
    camera: Annotated[str | None, Option(help="Camera of a LeRobot data set; default: its first.")] = None,
    device: Annotated[str | None, Option(help="cpu, cuda, cuda:1, mps; default: what there is.")] = None,
    force: Annotated[bool, Option("--force", help="Write over files that exist.")] = False,
) -> None:
    r"""Divide videos into segments at their cuts, transitions, changes of action and changes of pace.

    No labels are needed: the packaged encoder finds the changes. Without --output they are printed only.
    The folder of a LeRobot v3 data set becomes one with a proposed subtask for every frame.

    Exit status: 0 all done, 1 some videos failed, 2 nothing done.

    \b
    Examples:
      bsp-hf segment match.mp4
      bsp-hf segment match.mp4 --output match.html
      bsp-hf segment videos/ --output segments/ --format json --format edl
      bsp-hf segment match.mp4 --output clips/ --cut copy --min-segment 2
      bsp-hf segment pusht/ --output pusht-subtasks/ --max-segments 5
    """
    with report_errors(registers=False):
        outputs = _settle_outputs(output, file_format, cut)
        check_inputs(videos)
        model = find_model(model, DEFAULT_DETECTOR)
    with report_errors():
        from bsp_hf.encoder.video_source import PartialVideoWarning, VideoDecodeError
        from bsp_hf.features.engine.fast_encoder import check_device
        from bsp_hf.localization.segments.lerobot import is_lerobot
        from bsp_hf.localization.segments.segmenting import check_choice, load_detector, segment_video
        from bsp_hf.malloc import keep_freed_memory
        from bsp_hf.videos.listing import find_videos

        keep_freed_memory()
        check_device(device)
        chosen = split_kinds(kinds)
        check_choice(chosen, min_segment, max_segments)
        given: dict[str, Any] = {
            "threshold": threshold,
            "min_gap_s": min_gap_s,
            "stride_frames": stride_frames,
            "coarse_to_fine": coarse_to_fine or None,
        }
        given = {name: value for name, value in given.items() if value is not None}
        given |= {"kinds": chosen, "min_segment_s": min_segment, "max_segments": max_segments}
        given["batch_size"] = batch_size
        if len(videos) == 1 and is_lerobot(Path(videos[0])):
            if file_format or cut or outputs.file:
                raise ValueError(
                    "a LeRobot data set is written in its own layout; pass a folder as --output."
                )
            _segment_lerobot(Path(videos[0]), camera, output, force, model, device, given)
            return
        found = find_videos(videos)
        if outputs.file is not None and len(found.items) > 1:
            raise ValueError(f"{outputs.file} is one file for {len(found.items)} videos; pass a folder.")
        if not force:
            outputs.check_free([item.video_id for item in found.items])
        failures = [(one.name, one.reason) for one in found.unusable]
        detector = load_detector(model, device)
        num_done = 0
        for item in found.items:
            try:
                with item.origin.open() as source, warnings.catch_warnings():
                    warnings.simplefilter("ignore", PartialVideoWarning)  # the error below says the same
                    with show_progress(item.name, source) as progress:
                        divided = segment_video(
                            source,
                            detector,
                            start_s=item.start_s,
                            end_s=item.end_s,
                            thumbnails="html" in outputs.formats,
                            progress=progress,
                            **given,
                        )
                    divided = replace(divided, video_id=item.video_id, path=item.name)
                    _show(divided)
                    for line in outputs.write(divided, source):
                        typer.echo(line)
            except (VideoDecodeError, OSError, ValueError) as error:
                # Each on its own, because a broken video stops no other.
                failures.append((item.name, str(error)))
                continue
            num_done += 1
            if divided.error:
                failures.append((item.name, divided.error))
    list_failures(failures)
    if failures:
        raise typer.Exit(SOME_FAILED if num_done else NOTHING_DONE)


def _segment_lerobot(
    folder: Path,
    camera: str | None,
    output: Path | None,
    force: bool,
    model: str,
    device: str | None,
    parameters: dict[str, Any],
) -> None:
    from bsp_hf.localization.segments.lerobot import read_lerobot, segment_episodes, write_subtasks
    from bsp_hf.localization.segments.segmenting import load_detector

    data = read_lerobot(folder, camera)
    if output is not None:
        refuse_existing(output, force)
    segments = {}
    for episode, divided in segment_episodes(data, load_detector(model, device), **parameters):
        segments[episode.index] = replace(divided, video_id=f"episode {episode.index}")
        _show(segments[episode.index])
    if output is not None:
        count = write_subtasks(data, segments, output)
        typer.echo(f"{output}: {len(segments)} episodes, subtask_index of {count} subtasks, by {data.camera}")


@dataclass(frozen=True)
class _Outputs:
    """What is written of each video, and where."""

    folder: Path | None
    file: Path | None
    formats: tuple[str, ...]
    cut: str | None

    def paths_of(self, video_id: str) -> dict[str, Path]:
        """Return the file of each format."""
        from bsp_hf.files import path_in_folder
        from bsp_hf.localization.segments.writing import SEGMENT_FORMATS

        if self.file is not None:
            return {self.formats[0]: self.file}
        if self.folder is None:
            return {}
        return {
            name: path_in_folder(self.folder, video_id, SEGMENT_FORMATS[name].suffix) for name in self.formats
        }

    def check_free(self, video_ids: list[str]) -> None:
        """Raise if a file exists that would be written over."""
        for video_id in video_ids:
            taken = [path for path in self.paths_of(video_id).values() if path.exists()]
            if self.cut and self.folder is not None:
                place = self.folder / video_id
                taken += sorted(
                    path for path in place.parent.glob("*-*.*") if path.name.startswith(f"{place.name}-0")
                )
            if taken:
                refuse_existing(taken[0], force=False)

    def write(self, divided: "SegmentedVideo", source: Any) -> Iterator[str]:  # Any: what the decoder reads
        """Write the files of a video; yield a line about each."""
        from bsp_hf import write_clips, write_segments
        from bsp_hf.localization.segments.timelines import edl_rate

        for name, path in self.paths_of(divided.video_id).items():
            yield f"{write_segments(divided, path, name)}: {len(divided.segments)} segments, {name}"
        if not divided.has_constant_rate and {"otio", "edl"} & set(self.formats):
            rate = f"{float(divided.frame_rate):.5g}"
            yield f"  the frame rate varies: timelines count the nearest frame at {rate} frames a second"
        if "edl" in self.formats and (rate_of_edl := edl_rate(divided.frame_rate)) != divided.frame_rate:
            yield f"  timecode counts {float(rate_of_edl):.5g} frames a second: read the EDL at that rate"
        if self.cut and self.folder is not None:
            mode: Any = self.cut  # Any: checked to be a CutMode
            clips = write_clips(source, divided, self.folder, mode)
            yield f"{clips[0]} and on: {len(clips)} clips"


def _settle_outputs(output: Path | None, formats: list[str] | None, cut: str | None) -> _Outputs:
    from bsp_hf.localization.segments.writing import SEGMENT_FORMATS, check_format, format_of

    for name in formats or ():
        check_format(name)
    if cut not in (None, "copy", "exact"):
        raise ValueError(f"--cut {cut} is neither copy nor exact.")
    if output is None:
        if formats or cut:
            raise ValueError("--format and --cut are of files; pass --output too.")
        return _Outputs(None, None, (), None)
    is_file = not output.is_dir() and output.suffix in {known.suffix for known in SEGMENT_FORMATS.values()}
    if is_file and (cut or len(formats or ()) > 1):
        raise ValueError(f"{output} is one file; pass a folder for several formats or for clips.")
    if is_file:
        return _Outputs(None, output, (formats[0] if formats else format_of(output),), None)
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file; pass a folder, or a name that ends as a format does.")
    wanted = tuple(dict.fromkeys(formats or ([] if cut else ["json"])))
    if {"otio", "edl"} & set(wanted):
        from bsp_hf.localization.segments.timelines import import_otio

        import_otio()
    return _Outputs(output, None, wanted, cut)


def _show(divided: "SegmentedVideo") -> None:
    from bsp_hf.localization.segments.text_files import describe_kind

    count = len(divided.segments)
    typer.echo(f"{divided.video_id} ({divided.duration_s:.2f} s): {count} segment{'s' if count > 1 else ''}")
    for one in divided.segments[:_SHOWN_ROWS]:
        score = "" if one.score is None else f"  {one.score:.3f}"
        typer.echo(f"  {one.start_s:9.2f} s {one.end_s:9.2f} s  {describe_kind(one.kind)}{score}")
    if count > _SHOWN_ROWS:
        typer.echo(f"  and {count - _SHOWN_ROWS} more; --output writes all")
