"""`bsp-hf localize`: the actions, moments, steps or boundaries of videos, in seconds."""

import math
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from bsp_hf.pretrained import DEFAULT_DETECTOR

from ..application import NOTHING_DONE, SOME_FAILED, report_errors
from ..boundary_options import CoarseToFine, Kinds, MinGap, split_kinds
from ..early_checks import check_inputs, find_model
from ..progress import show_progress

# Formats, and the end of a file's name that each goes with.
_FORMATS = {"json": ".json", "csv": ".csv", "activitynet": ".json"}


def localize(
    videos: Annotated[
        list[str],
        Argument(
            help="Videos, folders, patterns, lists or tables as of extract; or tracks, or a folder of them."
        ),
    ],
    model: Annotated[
        str | None,
        Option(
            help="Localizer, or boundary classifier: a folder or a Hub id; default: the packaged encoder."
        ),
    ] = None,
    query: Annotated[
        list[str] | None, Option(help="Sentence to look for; may be given several times.")
    ] = None,
    output: Annotated[
        Path | None, Option("--output", "-o", help="File to write the results to: .json or .csv.")
    ] = None,
    file_format: Annotated[
        str | None,
        Option(
            "--format",
            help="json, csv or activitynet (what its evaluator reads); default: by name.",
            autocompletion=lambda: list(_FORMATS),
        ),
    ] = None,
    encoder: Annotated[
        str | None, Option(help="Encoder of the videos; default: the one in the localizer's folder.")
    ] = None,
    word_vectors: Annotated[
        Path | None, Option(help="GloVe file, for words beyond those of the training queries.")
    ] = None,
    top_k: Annotated[int | None, Option(min=1, help="Most actions or moments of a video.")] = None,
    threshold: Annotated[
        float | None, Option(min=0, max=1, help="Smallest score of an action, step or boundary.")
    ] = None,
    kinds: Kinds = None,
    min_gap_s: MinGap = None,
    coarse_to_fine: CoarseToFine = False,
    timecodes: Annotated[bool, Option("--timecodes", help="Show times as hours:minutes:seconds.")] = False,
    batch_size: Annotated[int, Option(min=1, help="Snippets that go through the encoder together.")] = 8,
    device: Annotated[str | None, Option(help="cpu, cuda, cuda:1, mps; default: what there is.")] = None,
) -> None:
    r"""Find actions, moments that a sentence describes, steps, or boundaries in videos.

    What is looked for is what the model in the folder was trained for. Times are seconds of the video.

    Exit status: 0 all done, 1 some videos failed, 2 nothing done.

    \b
    Examples:
      bsp-hf localize match.mp4
      bsp-hf localize match.mp4 --timecodes --kinds cut,gradual
      bsp-hf localize match.mp4 --model gtad-thumos --output results.json
      bsp-hf localize kitchen.mp4 --model tan-charades --query "a person opens the fridge"
      bsp-hf localize recordings/ --model bsp-tsm-r50 --threshold 0.7 --output cuts.csv
    """
    with report_errors(registers=False):
        file_format = _settle_format(file_format, output)
        check_inputs(videos)
        model = find_model(model, DEFAULT_DETECTOR)
    with report_errors():
        from bsp_hf.features.engine.fast_encoder import check_device
        from bsp_hf.malloc import keep_freed_memory

        keep_freed_memory()
        check_device(device)
        task = _task_of(model)
        if (task == "video-grounding") != bool(query):
            raise ValueError(
                f"{model} is for {task}; "
                + ("it takes no --query." if query else 'pass --query "a sentence".')
            )
        is_for_boundaries = kinds is not None or min_gap_s is not None or coarse_to_fine
        if task != "video-boundary-detection" and is_for_boundaries:
            raise ValueError(
                f"{model} is for {task}; --kinds, --min-gap-s and --coarse-to-fine are for boundaries."
            )
        import transformers

        options: dict[str, Any] = {"encoder": encoder, "word_vectors": word_vectors, "device": device}
        options = {key: value for key, value in options.items() if value is not None}
        make: Any = transformers.pipeline  # Any: its overloads know the tasks of transformers alone
        find = make(task, model=model, **options)
        parameters: dict[str, Any] = {"top_k": top_k, "threshold": threshold, "batch_size": batch_size}
        parameters |= {"kinds": split_kinds(kinds), "min_gap_s": min_gap_s}
        parameters |= {"coarse_to_fine": coarse_to_fine or None}
        parameters = {key: value for key, value in parameters.items() if value is not None}
        results, failures = _run(find, videos, query or [], parameters, timecodes)
        if output is not None and results:
            _write(results, output, file_format)
            typer.echo(f"{output}: {sum(len(found) for _, found in results)} rows, {file_format}")
    for name, reason in failures:
        typer.echo(f"{name}: {reason}", err=True)
    if failures:
        raise typer.Exit(SOME_FAILED if results else NOTHING_DONE)


def _settle_format(file_format: str | None, output: Path | None) -> str:
    if file_format is not None and file_format not in _FORMATS:
        raise ValueError(f"--format {file_format} is none of {', '.join(_FORMATS)}.")
    if output is None:
        if file_format is not None:
            raise ValueError("--format is of a file; pass --output too.")
        return "json"
    named = next((name for name, suffix in _FORMATS.items() if suffix == output.suffix), None)
    if named is None or (file_format is not None and output.suffix != _FORMATS[file_format]):
        wanted = ".json or .csv" if file_format is None else _FORMATS[file_format]
        raise ValueError(f"--output {output} must end in {wanted}, which is what is written.")
    return file_format or named


def _task_of(model: str) -> str:
    from transformers import AutoConfig

    from bsp_hf.localization.localizer.config import LOCALIZER_TASKS

    return LOCALIZER_TASKS.get(AutoConfig.from_pretrained(model).model_type, "video-boundary-detection")


def _run(
    find: Any,  # Any: one of four pipelines
    inputs: list[str],
    queries: list[str],
    parameters: dict[str, Any],
    timecodes: bool,
) -> tuple[list[tuple[str, Any]], list[tuple[str, str]]]:
    """Localize one video after the other, and show each as it is done."""
    from bsp_hf.encoder.video_source import PartialVideoWarning, VideoDecodeError
    from bsp_hf.features import FeatureTrack
    from bsp_hf.videos.items import UnusableVideo, VideoItem
    from bsp_hf.videos.listing import find_videos

    tracks = [text for text in inputs if _holds_tracks(Path(text))]
    if tracks and find.task == "video-boundary-detection":
        raise ValueError(f"{tracks[0]}: a boundary classifier looks at frames, not features; pass the video.")
    videos = [text for text in inputs if text not in tracks]
    found = find_videos(videos) if videos else None
    failures = [] if found is None else [(one.name, one.reason) for one in found.unusable]
    items: Iterable[VideoItem | FeatureTrack | UnusableVideo] = chain(
        found.items if found else (), *map(_read_tracks, tracks)
    )
    results: list[tuple[str, Any]] = []
    for item in items:
        if isinstance(item, UnusableVideo):
            failures.append((item.name, item.reason))
            continue
        name = item.record.video_id if isinstance(item, FeatureTrack) else item.video_id
        sentences = {"query": queries} if queries else {}
        try:
            if isinstance(item, FeatureTrack):
                segments = find(item, **sentences, **parameters)
            else:
                part = {"start_s": item.start_s or None, "end_s": item.end_s}
                with (
                    item.origin.open() as source,
                    show_progress(name, source) as progress,
                    warnings.catch_warnings(),
                ):
                    warnings.simplefilter("ignore", PartialVideoWarning)  # the error below says the same
                    segments = find(source, **sentences, **part, **parameters, progress=progress)
        except (VideoDecodeError, OSError, ValueError) as error:
            # Each on its own, because a broken video stops no other; what is wrong with all shows at each.
            failures.append((name, str(error)))
            continue
        for one in segments if queries else [segments]:
            one.video_id = name
            results.append((name, one))
            _show(one, timecodes)
            if one.error:
                failures.append((one.video_id, one.error))
    return results, failures


def _holds_tracks(path: Path) -> bool:
    """Return whether a path is that of features, or of a folder that holds them and no video."""
    from bsp_hf.features.storage.suffixes import H5_SUFFIXES, TRACK_SUFFIXES
    from bsp_hf.videos.walk import walk_files, walk_videos

    if path.suffix in (*H5_SUFFIXES, *TRACK_SUFFIXES) and path.suffix != ".csv":
        return True
    if not path.is_dir() or walk_videos(path):
        return False
    return any(file.suffix in (*TRACK_SUFFIXES, ".arrow") for file in walk_files(path))


def _read_tracks(path: str) -> Iterator[Any]:  # Any: tracks, or an UnusableVideo
    """Yield the tracks of a file or folder; what is damaged ends them, and is named."""
    from bsp_hf.features import read_tracks
    from bsp_hf.videos.items import UnusableVideo

    try:
        yield from read_tracks(path)
    except (OSError, ValueError) as error:
        yield UnusableVideo(path, str(error))


def _show(found: Any, timecodes: bool) -> None:  # Any: LocalizedSegments, slow to import
    are_boundaries = any("time_s" in segment for segment in found)
    names = ("boundary", "boundaries") if are_boundaries else ("segment", "segments")
    typer.echo(f"{found.video_id} ({found.duration_s:.2f} s): {len(found) or 'no'} {names[len(found) != 1]}")
    if found.skipped_s:
        share = 1 - sum(math.isnan(score) for score in found.scores) / len(found.scores)
        typer.echo(
            f"  {100 * share:.0f} % of the windows were encoded; in the others, the pictures hardly change"
        )
    for segment in found:
        places = ("time_s",) if are_boundaries else ("start_s", "end_s")
        times = [_timecode(segment[place]) if timecodes else f"{segment[place]:9.2f} s" for place in places]
        typer.echo(f"  {' '.join(times)}  {segment['score']:.3f}  {segment['label']}")


def _timecode(time_s: float) -> str:
    minutes, rest_s = divmod(round(time_s, 3), 60)
    return f"{int(minutes) // 60:3d}:{int(minutes) % 60:02d}:{rest_s:06.3f}"


def _write(results: list[tuple[str, Any]], output: Path, file_format: str) -> None:
    import csv
    import json

    from bsp_hf.files import atomic_file

    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(output) as partial:
        if file_format == "csv":
            names = ["video_id", "label", "score", "start_s", "end_s", "time_s"]
            with partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, names, restval="")
                writer.writeheader()
                writer.writerows(
                    {"video_id": name, **segment} for name, found in results for segment in found
                )
            return
        content: dict[str, Any] = {}
        if file_format == "activitynet":
            by_video: dict[str, list[dict[str, Any]]] = {}
            # Its files of videos are called v_ID.mp4; annotations and results have the ID alone.
            ids = {name: name.removeprefix("v_") for name, _ in results}
            if len(set(ids.values())) < len(ids):  # 1.mp4 and v_1.mp4 are two videos, of another data set
                ids = {name: name for name in ids}
            for name, found in results:
                by_video.setdefault(ids[name], []).extend(
                    {
                        "label": segment["label"],
                        "score": segment["score"],
                        "segment": [segment["start_s"], segment["end_s"]],
                    }
                    for segment in found
                )
            content = {"version": "VERSION 1.3", "results": by_video, "external_data": {}}
        else:
            content = {
                "videos": [
                    {
                        "video_id": name,
                        "duration_s": found.duration_s,
                        "complete": found.complete,
                        "error": found.error,
                        **({"skipped_s": found.skipped_s} if found.skipped_s else {}),
                        "segments": found,
                    }
                    for name, found in results
                ]
            }
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
