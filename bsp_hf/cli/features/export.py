"""`bsp-hf export`: feature tracks as the loaders of other localizers read them."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ..application import SOME_FAILED, report_errors


def export(
    tracks: Annotated[Path, Argument(help="What `bsp-hf extract` wrote: a folder, a file or a data set.")],
    output: Annotated[Path, Argument(help="Folder to write; for actionformer also a .hdf5.")],
    layout: Annotated[
        str,
        Option(
            "--for",
            help="Whose loader reads it: actionformer, opentad, gtad, gtad-thumos, 2dtan, 2dtan-activitynet, "
            "2dtan-tacos, lgi, bmn or tsp.",
        ),
    ],
    file_format: Annotated[
        str | None, Option(help="Format of the files, where the layout has several.")
    ] = None,
    rescale_to: Annotated[
        int | None, Option(help="Interpolate every track over time to so many rows, like 100.")
    ] = None,
    prefix: Annotated[str, Option(help="Prefix of the id in file names, like v_.")] = "",
    feature_type: Annotated[str, Option(help="Names the features in files of 2dtan and tsp.")] = "bsp",
    subsets: Annotated[Path | None, Option(help="JSON object of the subset of each id, for tsp.")] = None,
    annotation_fps: Annotated[
        float | None, Option(help="Frame rate that the annotations of gtad-thumos count in.")
    ] = None,
    input_format: Annotated[
        str | None, Option(help="Which files of the folder to read, if it holds several formats.")
    ] = None,
) -> None:
    r"""Write features as another tool reads them, and print the settings that it needs.

    \b
    Examples:
      bsp-hf export --for actionformer features/ actionformer-features/ --prefix v_
      bsp-hf export --for opentad features/ opentad-features/ --file-format npz
      bsp-hf export --for gtad features/ gtad-features/ --rescale-to 100
      bsp-hf export --for bmn features/ csv/
    """
    with report_errors(registers=False):
        from bsp_hf.features import LAYOUTS, export_tracks, read_tracks, rescale

        if layout not in LAYOUTS:
            raise ValueError(f"--for {layout} is none of {', '.join(LAYOUTS)}.")
        found = read_tracks(tracks, input_format)
        if rescale_to is not None:
            # A track without a row is named in the report.
            found = (rescale(track, rescale_to) if track.num_snippets else track for track in found)
        report = export_tracks(
            found,
            layout,
            output,
            file_format=file_format,
            prefix=prefix,
            feature_type=feature_type,
            subsets=None if subsets is None else json.loads(subsets.read_text(encoding="utf-8")),
            annotation_fps=annotation_fps,
        )
    typer.echo(str(report))
    if report.left_out:
        raise typer.Exit(SOME_FAILED)
