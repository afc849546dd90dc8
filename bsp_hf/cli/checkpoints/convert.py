"""`bsp-hf convert`: checkpoints of other code bases into folders that `AutoModel` reads, and back."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from ..application import report_errors
from ..early_checks import refuse_existing

_OPTION_NAMES = {"keep_classifier": "--encoder-only"}


def convert(
    context: typer.Context,
    source: Annotated[Path, Argument(help="Checkpoint file or folder; with --to, an encoder's folder.")],
    output: Annotated[Path, Argument(help="Folder to write; with --to, the file.")],
    to: Annotated[str | None, Option(help="Write for another code base: mit-han-lab or mmaction2.")] = None,
    layout: Annotated[
        str | None,
        Option(help="mit-han-lab, mmaction2, torchvision, timm, transformers, efficientnet-lite-pytorch."),
    ] = None,
    num_frames: Annotated[int | None, Option(help="Frames of a snippet.")] = None,
    shift_div: Annotated[int | None, Option(help="One channel in so many moves each way.")] = None,
    shift_place: Annotated[str | None, Option(help="blockres, block or none.")] = None,
    kind: Annotated[str | None, Option(help="A localizer's checkpoint: gtad, tan or lgi.")] = None,
    preset: Annotated[
        str | None,
        Option(help="Its published setting, e.g. thumos14 or charades; default: detected."),
    ] = None,
    vocabulary: Annotated[
        Path | None, Option(help="Of LGI: the words of its embedding, one a line, in their order.")
    ] = None,
    labels: Annotated[Path | None, Option(help="Names of the classes: one a line, or a JSON file.")] = None,
    keep_classifier: Annotated[
        bool, Option("--keep-classifier/--encoder-only", help="Take the classifier along.")
    ] = True,
    force: Annotated[bool, Option("--force", help="Write over an output that exists.")] = False,
) -> None:
    r"""Convert checkpoints: TSM, mmaction2, torchvision, timm, EfficientNet-Lite in; TSM and mmaction2 out.

    Settings that are not given come from the keys and the file's name; the report says which.

    No code in a checkpoint is run, and nothing is written unless every tensor fits.

    With --kind, give what the training changed as options after the paths, named like the fields of the
    localizer's config: --num-steps 128 --context-style 2. The report lists what the weights do not show.

    \b
    Examples:
      bsp-hf convert TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth bsp-tsm-r50
      bsp-hf convert resnet50-11ad3fa6.pth tsm-r50 --encoder-only --num-frames 16
      bsp-hf convert efficientnet-lite0-57934424.pth bsp-tsm-lite0 --encoder-only
      bsp-hf convert checkpoint_best.pth.tar gtad-anet --kind gtad
      bsp-hf convert checkpoint_best.pth.tar gtad-mine --kind gtad --preset thumos14 --context-style 2
      bsp-hf convert bsp-tsm-r50 TSM_bsp_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth --to mit-han-lab
    """
    with report_errors(registers=False):
        if not source.exists():
            raise ValueError(f"{source} does not exist; pass a checkpoint file or folder.")
        if output.is_file():
            refuse_existing(output, force)
        if output.is_dir() and any(output.iterdir()) and not force:
            raise ValueError(f"{output} is not empty; empty it, pass --force, or choose another output.")
        encoder_options: dict[str, Any] = {
            "layout": layout,
            "num_frames": num_frames,
            "shift_div": shift_div,
            "shift_place": shift_place,
            "labels": labels,
            "keep_classifier": None if keep_classifier else False,
        }
        given = {name: value for name, value in encoder_options.items() if value is not None}
        given_names = ", ".join(_OPTION_NAMES.get(name, f"--{name.replace('_', '-')}") for name in given)
        fields = _parse_fields(context.args)
        if kind is None and fields:
            raise ValueError(f"there is no option {context.args[0]}; see bsp-hf convert --help.")
        if kind is None and (preset is not None or vocabulary is not None):
            raise ValueError("--preset and --vocabulary are of localizers; pass --kind too.")
        if kind is not None and given:
            raise ValueError(f"{given_names} cannot be combined with --kind; an encoder has these.")
        if to is not None and (given or kind is not None):
            raise ValueError(
                f"{given_names or '--kind'} cannot be combined with --to, which changes nothing."
            )
    with report_errors():
        if kind is not None:
            from bsp_hf.publishing.conversion.localizers import convert_localizer_checkpoint

            words = None if vocabulary is None else vocabulary.read_text(encoding="utf-8").split("\n")
            words = words[:-1] if words and not words[-1] else words
            made = convert_localizer_checkpoint(
                source, output, kind=kind, preset=preset, vocabulary=words, **fields
            )
            typer.echo(str(made))
        elif to is None:
            from bsp_hf.publishing.conversion.encoders import convert_checkpoint

            typer.echo(str(convert_checkpoint(source, output, **given)))
        else:
            from bsp_hf.publishing.conversion.export import export_checkpoint

            written = export_checkpoint(source, output, layout=to)
            num_bytes = written.stat().st_size
            typer.echo(f"{source} -> {written}\n  layout:        {to}\n  bytes:         {num_bytes}")


def _parse_fields(words: list[str]) -> dict[str, Any]:
    """Return fields of a localizer's config by name, from options such as `--num-steps 128`."""
    fields: dict[str, Any] = {}
    waiting = list(words)
    while waiting:
        name, separator, value = waiting.pop(0).partition("=")
        if not name.startswith("--"):
            raise ValueError(f"{name} belongs to no option; see bsp-hf convert --help.")
        if not separator:
            if not waiting or waiting[0].startswith("--"):
                raise ValueError(f"{name} needs a value.")
            value = waiting.pop(0)
        try:
            fields[name[2:].replace("-", "_")] = json.loads(value)
        except ValueError:
            fields[name[2:].replace("-", "_")] = value
    return fields
