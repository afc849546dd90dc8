"""`bsp-hf suggest`: segments for an annotator to correct, in the file of an annotation tool."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from bsp_hf.pretrained import DEFAULT_DETECTOR

from ..application import SOME_FAILED, list_failures, report_errors
from ..early_checks import check_inputs, find_model, refuse_existing
from ..progress import show_progress


def suggest(
    videos: Annotated[list[str], Argument(help="Videos, folders, patterns, lists or tables as of extract.")],
    output: Annotated[
        Path, Option("--output", "-o", help="File to write; a folder for cvat or elan of several videos.")
    ],
    file_format: Annotated[
        str, Option("--format", help="boris, elan, cvat, via, fiftyone or activitynet.")
    ] = "boris",
    corrected: Annotated[
        Path | None,
        Option(help="Annotations of about ten corrected segments, from which the rest is learned."),
    ] = None,
    fps: Annotated[
        float | None, Option(min=0.001, help="Frame rate of --corrected, for cvat and fiftyone.")
    ] = None,
    model: Annotated[
        str | None, Option(help="Boundary classifier: a folder or a Hub id; default: the packaged encoder.")
    ] = None,
    threshold: Annotated[float | None, Option(min=0, max=1, help="Smallest response of a boundary.")] = None,
    min_gap_s: Annotated[float | None, Option(min=0, help="Seconds between two boundaries.")] = None,
    batch_size: Annotated[int, Option(min=1, help="Windows that go through the encoder together.")] = 8,
    device: Annotated[str | None, Option(help="cpu, cuda, cuda:1, mps; default: what there is.")] = None,
    force: Annotated[bool, Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    r"""Propose segments of videos as a project of an annotation tool, to be corrected there.

    With --corrected, a linear head learns from the corrected segments and proposes the rest: of these videos
    behind the last corrected segment, and of all others. Corrected segments stay as they are.

    \b
    Examples:
      bsp-hf suggest recordings/ --format boris --output recordings.boris
      bsp-hf suggest recordings/ --corrected recordings.boris --output rest.boris
    """
    with report_errors(registers=False):
        from bsp_hf.localization.annotations.writing import ANNOTATION_WRITERS, write_annotations

        if file_format not in ANNOTATION_WRITERS:
            raise ValueError(f"--format {file_format} is none of {', '.join(ANNOTATION_WRITERS)}.")
        check_inputs(videos)
        refuse_existing(output, force)
        model = find_model(model, DEFAULT_DETECTOR)
        from bsp_hf.localization.annotations.layouts import read_annotations

        known = None if corrected is None else read_annotations(corrected, fps=fps, strict=True)
    with report_errors():
        from bsp_hf.encoder.video_source import PartialVideoWarning, VideoDecodeError
        from bsp_hf.features.engine.fast_encoder import check_device
        from bsp_hf.localization.annotations.types import AnnotationSet
        from bsp_hf.localization.segments import suggesting
        from bsp_hf.localization.segments.segmenting import load_detector, segment_video
        from bsp_hf.malloc import keep_freed_memory
        from bsp_hf.videos.listing import find_videos

        keep_freed_memory()
        check_device(device)
        found = find_videos(videos)
        failures = [(one.name, one.reason) for one in found.unusable]
        media = {
            item.video_id: item.name if "://" in item.name else str(Path(item.name).absolute())
            for item in found.items
        }
        learns_from = None if known is None else suggesting.match_corrected(known.videos, media)
        detector = load_detector(model, device)
        gap: dict[str, Any] = {} if min_gap_s is None else {"min_gap_s": min_gap_s}
        least: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
        proposed, evidence = [], {}
        for item in found.items:
            part: dict[str, Any] = {"start_s": item.start_s, "end_s": item.end_s, "batch_size": batch_size}
            try:
                with (
                    item.origin.open() as source,
                    show_progress(item.name, source) as progress,
                    warnings.catch_warnings(),
                ):
                    warnings.simplefilter("ignore", PartialVideoWarning)  # the error below says the same
                    part["progress"] = progress
                    if learns_from is None:
                        divided = segment_video(source, detector, **part, **least, **gap)
                        proposed.append(suggesting.to_annotations(replace(divided, video_id=item.video_id)))
                        error = divided.error
                    else:
                        one = suggesting.read_evidence(source, item.video_id, detector, **part)
                        evidence[item.video_id], error = one, one.track.record.error
            except (VideoDecodeError, OSError, ValueError) as reason:
                # Each on its own, because a broken video stops no other.
                failures.append((item.name, str(reason)))
                continue
            if error:
                failures.append((item.name, error))
        if learns_from is not None:
            readable = {video_id: one for video_id, one in learns_from.items() if video_id in evidence}
            if not readable:
                raise ValueError(f"no corrected video could be read; the first failure: {failures[0][1]}")
            proposed = suggesting.suggest_rest(evidence, readable, **least, **gap)
        if not proposed:
            raise ValueError(f"no video could be read; the first: {failures[0][1]}")
        for file in write_annotations(AnnotationSet(tuple(proposed)), output, file_format, media):
            typer.echo(f"{file}: {sum(len(one.segments) for one in proposed)} segments, {file_format}")
    list_failures(failures)
    if failures:
        raise typer.Exit(SOME_FAILED)
