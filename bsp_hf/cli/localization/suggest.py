"""`bsp-hf suggest`: segments for an annotator to correct, in the file of an annotation tool."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from bsp_hf.pretrained import DEFAULT_DETECTOR

from ..application import SOME_FAILED, list_failures, report_errors
from ..early_checks import check_inputs, find_model, refuse_existing


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
        from bsp_hf.encoder.video_source import VideoDecodeError
        from bsp_hf.features.engine.fast_encoder import check_device
        from bsp_hf.localization.annotations.types import AnnotationSet
        from bsp_hf.localization.segments.segmenting import load_detector, segment_video
        from bsp_hf.localization.segments.suggesting import suggest_rest, to_annotations
        from bsp_hf.videos.listing import find_videos

        check_device(device)
        found = find_videos(videos)
        failures = [(one.name, one.reason) for one in found.unusable]
        detector = load_detector(model, device)
        media = {
            item.video_id: item.name if "://" in item.name else str(Path(item.name).absolute())
            for item in found.items
        }
        gap: dict[str, Any] = {} if min_gap_s is None else {"min_gap_s": min_gap_s}
        proposed = []
        if known is not None:
            with ExitStack() as opened:
                sources = {one.video_id: opened.enter_context(one.origin.open()) for one in found.items}
                proposed = suggest_rest(
                    sources,
                    known.videos,
                    detector,
                    threshold=0.5 if threshold is None else threshold,
                    batch_size=batch_size,
                    **gap,
                )
        for item in found.items if known is None else ():
            given: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
            try:
                with item.origin.open() as source:
                    divided = segment_video(source, detector, batch_size=batch_size, **given, **gap)
            except (VideoDecodeError, OSError) as error:
                failures.append((item.name, str(error)))
                continue
            proposed.append(to_annotations(replace(divided, video_id=item.video_id)))
        if not proposed:
            raise ValueError(f"no video could be read; the first: {failures[0][1]}")
        for file in write_annotations(AnnotationSet(tuple(proposed)), output, file_format, media):
            typer.echo(f"{file}: {sum(len(one.segments) for one in proposed)} segments, {file_format}")
    list_failures(failures)
    if failures:
        raise typer.Exit(SOME_FAILED)
