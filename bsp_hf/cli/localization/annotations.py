"""`bsp-hf annotations`: annotations of one tool or benchmark as those of another."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ..application import report_errors
from ..early_checks import refuse_existing


def annotations(
    source: Annotated[
        Path,
        Argument(help="Annotations in any layout that training reads: a file, or a folder of documents."),
    ],
    output: Annotated[
        Path, Option("--output", "-o", help="File to write; a folder for cvat or elan of several videos.")
    ],
    file_format: Annotated[
        str, Option("--format", help="boris, elan, cvat, via, fiftyone or activitynet.")
    ] = "activitynet",
    layout: Annotated[str | None, Option(help="Layout of the source; default: by its content.")] = None,
    fps: Annotated[float | None, Option(min=0.001, help="Frame rate, where the file counts frames.")] = None,
    force: Annotated[bool, Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    r"""Convert annotations of segments: BORIS, ELAN, CVAT, VIA, FiftyOne and the layouts of benchmarks.

    Ids, frame rates and durations are kept where the format has a place for them.

    \b
    Examples:
      bsp-hf annotations corrected.boris --output annotations.json
      bsp-hf annotations activity_net.v1-3.min.json --format via --output activitynet.via.json
    """
    with report_errors(registers=False):
        from dataclasses import replace

        from bsp_hf.localization.annotations.layouts import read_annotations
        from bsp_hf.localization.annotations.types import AnnotationSet
        from bsp_hf.localization.annotations.writing import write_annotations

        refuse_existing(output, force)
        read = read_annotations(source, layout, fps=fps)
        if fps is not None:
            videos = tuple(replace(one, fps=one.fps or fps) for one in read.videos)
            read = AnnotationSet(videos, read.problems, read.layout)
        for file in write_annotations(read, output, file_format):
            typer.echo(f"{file}: {file_format}")
        typer.echo(f"{len(read)} videos, {read.num_segments} segments, {len(read.problems)} rows left out")
