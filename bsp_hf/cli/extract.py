"""`bsp-hf extract`: snippet features of any number of videos."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from .application import report_errors
from .early_checks import check_inputs, check_model


def extract(
    model: Annotated[str, typer.Option(help="Encoder: a folder or a Hub id.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder to write to; a name that ends in .h5 for one file of all."
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders, files, patterns ('clips/**/*.mp4'), lists (.txt), tables (.csv with file and, if "
            "wanted, id, start_s, end_s), archives (.tar, WebDataset) or addresses (s3://, hf://)."
        ),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="npy (default), npz, h5, pt, csv, safetensors or arrow."),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Frames from one snippet to the next; default: the checkpoint's.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frame rate to resample to; default: its own.")] = None,
    padding: Annotated[
        str | None, typer.Option(help="A last snippet that is not full: repeat its last frame, or drop it.")
    ] = None,
    start: Annotated[float, typer.Option(help="First second.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="End in seconds.")] = None,
    rescale: Annotated[int | None, typer.Option(help="Interpolate every track to so many rows.")] = None,
    keep_partial: Annotated[
        bool, typer.Option("--keep-partial", help="Write what can be read of damaged videos, marked so.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete features of another encoder or of other settings.")
    ] = False,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, ...")] = "auto",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Snippets that go through together.")] = None,
    num_threads: Annotated[int | None, typer.Option(help="Threads of a worker on the processor.")] = None,
    num_workers: Annotated[
        int, typer.Option(help="Child processes with an encoder each; they survive a decoder that crashes.")
    ] = 0,
    shard: Annotated[str, typer.Option(help="i/n, from 0/n on: every nth video from the ith on.")] = "0/1",
    timeout: Annotated[float, typer.Option(help="Seconds after which a silent file is abandoned.")] = 60.0,
    dataset: Annotated[
        str | None, typer.Option(help="Data set of videos instead of files: a folder or a Hub id.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "train",
    streaming: Annotated[bool, typer.Option("--streaming", help="Stream the data set.")] = False,
    video_column: Annotated[str | None, typer.Option(help="Its column of videos.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Its column of ids.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    r"""Extract snippet features of videos; started again, it goes on where it was stopped.

    A video that cannot be read stops no other: it is named in failures.csv and in the table at the end.
    Several processes, on one machine or several, may write into one folder.

    \b
    Examples:
      bsp-hf extract clips/ --model bsp-tsm-r50 --output features/
      bsp-hf extract segments.csv --model bsp-tsm-r50 --output features/ --format npz
      bsp-hf extract 'shards/{000..099}.tar' --model bsp-tsm-r50 --output features.h5
      bsp-hf extract recording.mp4 --start 600 --end 1200 --stride 1 --model bsp-tsm-r50 --output features/
      bsp-hf extract clips/ --model bsp-tsm-r50 --output features/ --shard 3/8
    """
    with report_errors(registers=False):
        if bool(inputs) == bool(dataset):
            raise ValueError("pass videos, or --dataset, and not both.")
        part = _parse_shard(shard)
        check_inputs(inputs or ())
        check_model(model)
    with report_errors():
        from bsp_hf import extract_features

        # One line now and then where no terminal shows the bar.
        logging.getLogger("bsp_hf.features.extraction.report").setLevel(logging.INFO)
        report = extract_features(
            _load_dataset(dataset, split, streaming) if dataset else inputs,
            model,
            output,
            file_format=file_format,
            stride_frames=stride,
            fps=fps,
            padding=padding,
            start_s=start,
            end_s=end,
            rescale_to=rescale,
            keep_partial=keep_partial,
            dtype=dtype,
            device=device,
            num_threads=num_threads,
            batch_size=batch_size,
            num_workers=num_workers,
            shard=part,
            timeout_s=timeout,
            overwrite=overwrite,
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
