"""`bsp-hf extract`: snippet features of any number of videos."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from bsp_hf.features.extraction.settings import ExtractionSettings
from bsp_hf.pretrained import DEFAULT_ENCODER

from ..application import report_errors
from ..early_checks import check_inputs, find_model
from ..settings_options import with_settings


@with_settings(ExtractionSettings)
def extract(
    *,
    inputs: Annotated[
        list[str] | None,
        Argument(
            help="Folders, files, patterns ('clips/**/*.mp4'), lists (.txt), tables (.csv with file and, if "
            "wanted, id, start_s, end_s), archives (.tar, WebDataset) or addresses (s3://, hf://)."
        ),
    ] = None,
    output: Annotated[
        Path,
        Option("--output", "-o", help="Folder to write to; a name that ends in .h5 for one file of all."),
    ],
    settings: ExtractionSettings,
    model: Annotated[
        str | None, Option(help="Encoder: a folder or a Hub id; default: the packaged one.")
    ] = None,
    shard: Annotated[str, Option(help="i/n, from 0/n on: every nth video from the ith on.")] = "0/1",
    dataset: Annotated[
        str | None, Option(help="Data set of videos instead of files: a folder or a Hub id.")
    ] = None,
    split: Annotated[str, Option(help="Split of the data set.")] = "train",
    streaming: Annotated[bool, Option("--streaming", help="Stream the data set.")] = False,
    video_column: Annotated[str | None, Option(help="Its column of videos.")] = None,
    id_column: Annotated[str | None, Option(help="Its column of ids.")] = None,
    quiet: Annotated[bool, Option("--quiet", help="No progress.")] = False,
) -> None:
    r"""Extract snippet features of videos; started again, it continues where it was stopped.

    A video that cannot be read stops no other: it is named in failures.csv and in the table at the end.
    Shards, on one machine or several, write into one folder at the same time; a second job is refused.

    \b
    Examples:
      bsp-hf extract clips/ --output features/
      bsp-hf extract segments.csv --model bsp-tsm-r50 --output features/ --file-format npz
      bsp-hf extract 'shards/{000..099}.tar' --model bsp-tsm-r50 --output features.h5
      bsp-hf extract long.mp4 --start-s 600 --end-s 1200 --stride-frames 1 --model bsp-tsm-r50 --output out/
      bsp-hf extract clips/ --model bsp-tsm-r50 --output features/ --shard 3/8
    """
    with report_errors(registers=False):
        if bool(inputs) == bool(dataset):
            raise ValueError("pass videos, or --dataset, and not both.")
        settings = replace(settings, shard=_parse_shard(shard))
        check_inputs(inputs or ())
        model = find_model(model, DEFAULT_ENCODER)
    with report_errors():
        from bsp_hf import extract_features
        from bsp_hf.malloc import keep_freed_memory

        keep_freed_memory()
        # One line now and then where no terminal shows the bar.
        logging.getLogger("bsp_hf.features.extraction.report").setLevel(logging.INFO)
        report = extract_features(
            _load_dataset(dataset, split, streaming) if dataset else inputs,
            model,
            output,
            settings=settings,
            video_column=video_column,
            id_column=id_column,
            show_progress=not quiet,
        )
    typer.echo(str(report))
    if report.exit_status:
        raise typer.Exit(report.exit_status)


def _parse_shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise ValueError(f"--shard {text} must be i/n, like 0/4, 1/4, 2/4 and 3/4 for four processes.")
    return int(index), int(count)


def _load_dataset(name: str, split: str, streaming: bool) -> Any:  # Any: a data set, streamed or not
    from datasets import Dataset, load_dataset, load_from_disk

    if (Path(name) / "state.json").is_file() or (Path(name) / "dataset_dict.json").is_file():
        loaded = load_from_disk(name)
        data = loaded if isinstance(loaded, Dataset) else loaded[split]
        return data.to_iterable_dataset() if streaming else data
    return load_dataset(name, split=split, streaming=streaming)
