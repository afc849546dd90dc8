"""`bsp-hf convert`: checkpoints of other code bases into folders that `AutoModel` reads, and back."""

from pathlib import Path
from typing import Annotated

import typer

from .application import report_errors


def convert(
    source: Annotated[
        Path, typer.Argument(help="Checkpoint file or folder; with --to, an encoder's folder.")
    ],
    output: Annotated[Path, typer.Argument(help="Folder to write; with --to, the file.")],
    to: Annotated[
        str | None, typer.Option(help="Write for another code base: mit-han-lab or mmaction2.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="mit-han-lab, mmaction2, torchvision, timm, transformers, efficientnet-lite-pytorch."
        ),
    ] = None,
    num_frames: Annotated[int | None, typer.Option(help="Frames of a snippet.")] = None,
    shift_div: Annotated[int | None, typer.Option(help="One channel in so many moves each way.")] = None,
    shift_place: Annotated[str | None, typer.Option(help="blockres, block or none.")] = None,
    kind: Annotated[str | None, typer.Option(help="A localizer's checkpoint: gtad, tan or lgi.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Its published setting, e.g. thumos14 or charades; default: detected."),
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="Of LGI: the words of its embedding, one a line, in their order.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Names of the classes: one a line, or a JSON file.")
    ] = None,
    keep_classifier: Annotated[
        bool, typer.Option("--keep-classifier/--encoder-only", help="Take the classifier along.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Write over an output that exists.")] = False,
) -> None:
    r"""Convert checkpoints: TSM, mmaction2, torchvision, timm, EfficientNet-Lite in; TSM and mmaction2 out.

    Settings that are not given come from the keys and the file's name; the report says which.

    No code in a checkpoint is run, and nothing is written unless every tensor fits.

    \b
    Examples:
      bsp-hf convert TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth bsp-tsm-r50
      bsp-hf convert resnet50-11ad3fa6.pth tsm-r50 --encoder-only --num-frames 16
      bsp-hf convert efficientnet-lite0-57934424.pth bsp-tsm-lite0 --encoder-only
      bsp-hf convert checkpoint_best.pth.tar gtad-anet --kind gtad
      bsp-hf convert bsp-tsm-r50 TSM_bsp_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth --to mit-han-lab
    """
    with report_errors(registers=False):
        if not source.exists():
            raise ValueError(f"{source} does not exist; pass a checkpoint file or folder.")
        if output.is_file() and not force:
            raise ValueError(f"{output} exists; delete it, pass --force, or choose another output.")
        if output.is_dir() and any(output.iterdir()) and not force:
            raise ValueError(f"{output} is not empty; empty it, pass --force, or choose another output.")
    with report_errors():
        from bsp_hf.publishing.conversion.encoders import convert_checkpoint
        from bsp_hf.publishing.conversion.export import EXPORT_LAYOUTS, export_checkpoint

        if kind is not None:
            from bsp_hf.publishing.conversion.localizers import convert_localizer_checkpoint

            words = None if vocabulary is None else vocabulary.read_text(encoding="utf-8").split("\n")
            words = words[:-1] if words and not words[-1] else words
            typer.echo(
                str(convert_localizer_checkpoint(source, output, kind=kind, preset=preset, vocabulary=words))
            )
            return
        if preset is not None or vocabulary is not None:
            raise ValueError("--preset and --vocabulary are of localizers; pass --kind too.")
        if to is None:
            report = convert_checkpoint(
                source,
                output,
                layout=layout,
                num_frames=num_frames,
                shift_div=shift_div,
                shift_place=shift_place,
                labels=labels,
                keep_classifier=keep_classifier,
            )
            typer.echo(str(report))
            return
        given = {
            "--layout": layout,
            "--num-frames": num_frames,
            "--shift-div": shift_div,
            "--shift-place": shift_place,
            "--labels": labels,
            "--encoder-only": None if keep_classifier else True,
        }
        if useless := [name for name, value in given.items() if value is not None]:
            raise ValueError(f"{', '.join(useless)} cannot be combined with --to, which changes nothing.")
        if to not in EXPORT_LAYOUTS:
            raise ValueError(f"--to {to} cannot be written; choose one of {', '.join(EXPORT_LAYOUTS)}.")
        written = export_checkpoint(source, output, layout=to)
        typer.echo(f"{source} -> {written}\n  layout:        {to}\n  bytes:         {written.stat().st_size}")
