"""`bsp-hf prepare`: videos written once as training reads them many times."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from bsp_hf.pretraining.preparation.settings import PreparationSettings

from ..application import SOME_FAILED, report_errors
from ..settings_options import with_settings


@with_settings(PreparationSettings)
def prepare(
    *,
    video_dir: Annotated[Path, Argument(help="Folder of CLASS/clip.mp4, or of SPLIT/CLASS/clip.mp4.")],
    output: Annotated[Path, Argument(help="Folder of the store: a new one, or one to go on with.")],
    settings: PreparationSettings,
    metadata: Annotated[
        list[Path] | None,
        Option(
            help="CSV: file, class, and optionally split and group; or a list of Kinetics as published. May "
            "be given several times."
        ),
    ] = None,
    quiet: Annotated[bool, Option("--quiet", help="No progress.")] = False,
) -> None:
    r"""Prepare trimmed videos for pre-training: small, and quick to read at random.

    Classes, groups and splits are kept; pretrain reads the store in place of the originals. Started again, it
    continues where it was stopped. A video that cannot be read stops no other: it is named in failures.csv.

    \b
    Examples:
      bsp-hf prepare clips/ store/ --num-workers 8
      bsp-hf prepare kinetics400/ store/ --metadata train.csv --metadata validate.csv --num-workers 32
      bsp-hf prepare clips/ frames/ --form jpeg --short-side 128
      bsp-hf pretrain --video-dir store/ --output-dir my-encoder
    """
    with report_errors(registers=False):
        if not video_dir.is_dir():
            raise ValueError(f"{video_dir} is not a folder; pass the one that holds CLASS/clip.mp4.")

        from bsp_hf.pretraining.preparation.job import prepare_videos
        from bsp_hf.pretraining.prepared_store import is_prepared
        from bsp_hf.pretraining.sources import scan_video_folder

        if is_prepared(video_dir):
            raise ValueError(f"{video_dir} was prepared already; pass the folder of the originals.")
        tables: list[Path | None] = [*metadata] if metadata else [None]
        sources = [source for table in tables for source in scan_video_folder(video_dir, table)]
        report = prepare_videos(sources, output, settings, root=video_dir, show_progress=not quiet)
    typer.echo(str(report))
    if report.failures:
        raise typer.Exit(SOME_FAILED)
