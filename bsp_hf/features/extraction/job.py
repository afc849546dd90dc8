"""Features of many videos into one folder: resumed, shared between processes, stopped by no file."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bsp_hf.features.engine.fast_encoder import check_device
from bsp_hf.features.storage.h5 import import_h5py
from bsp_hf.features.storage.suffixes import H5_SUFFIXES
from bsp_hf.videos.datasets import is_dataset, iter_dataset
from bsp_hf.videos.items import UnusableVideo, VideoItem
from bsp_hf.videos.listing import FoundVideos, find_videos

from .failures import FailureTable
from .folder import JobFolder, JobPlaces
from .lock import JobLock
from .loop import ExtractionLoop, start_first_worker
from .packing import check_ids_fit_one_file, pack_tracks
from .ray_workers import count_actors
from .report import ExtractionReport, JobProgress
from .settings import ExtractionSettings
from .workers import WorkerSetup

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def extract_features(
    videos: Any,  # Any: paths, items or a data set; see below
    model: "str | Path | PreTrainedModel",
    output: str | Path,
    *,
    extractor: Any = None,  # Any: ours, or the image processor of another model
    settings: ExtractionSettings | None = None,
    video_column: str | None = None,
    id_column: str | None = None,
    show_progress: bool = True,
    **options: Any,  # Any: fields of the settings
) -> ExtractionReport:
    """Extract the snippet features of many videos into a folder, one file of all, or an Arrow data set.

    Started again, it goes on where it was stopped, however it was stopped. A video is done again unless it is
    verified: the job's journal names the same source file (size and time of change) and settings, and the
    features read back with the digest that was noted. Features of a file that has changed are replaced, and
    the report names them; those of another part (`start_s`, `end_s`) are replaced with `overwrite` only, and
    else the video fails. All files are written aside and renamed, and none
    states a time of day, so the folder ends up the same however often the job was interrupted. Videos that
    failed, or could be read in part only, are tried again.

    One job at a time extracts into an output: it holds a lock of the system, and a second one is refused in
    a line that names the process. Several processes, on one machine or several, share a job with a `shard`
    each, such as `(0, 8)` to `(7, 8)`.

    A video that cannot be read stops no other: it is named with its reason in the report and in
    `failures.csv`. With `num_workers=0` one that crashes the decoder ends the process; child processes
    survive it.

    Args:
        videos: Inputs of `find_videos` (a folder, files, patterns, lists, tables, archives, addresses), one
            or several, or a data set of `datasets`, streamed or not.
        model (`str`, `Path` or `PreTrainedModel`): The encoder: a folder, a Hub id, or a model.
        output (`str` or `Path`): A folder, or a name that ends in `.h5` for one file of all videos.
        extractor (`BSPFeatureExtractor`, *optional*): Preprocessing; by default what lies beside the model.
        settings (`ExtractionSettings`, *optional*): How to extract; by default as the checkpoint has it.
        video_column (`str`, *optional*): Column of videos of a data set.
        id_column (`str`, *optional*): Column of ids of a data set.
        show_progress (`bool`, *optional*, defaults to `True`): Show progress on standard error.
        options: Fields of [`ExtractionSettings`] by name, such as `stride_frames=4`.

    Returns:
        `ExtractionReport`: What was done, skipped, partial and failed.

    Raises:
        FileNotFoundError: If there is no video.
        InputCollisionError: If two videos have one id.
        JobConflictError: If the output holds features of another encoder or of other settings, or another
            job extracts into it.
        OutputError: If the output cannot be written; what is finished is kept.
        TypeError: If there is no such option.
        ValueError: If an option is out of range.

    Example:
    ```python
    >>> from bsp_hf import extract_features
    >>> report = extract_features("clips/", "bsp-tsm-r50", "features/", stride_frames=4)  # doctest: +SKIP
    >>> report.exit_status  # doctest: +SKIP
    0
    ```
    """
    settings = replace(settings or ExtractionSettings(), **options)
    check_device(settings.device)
    default_format = "h5" if Path(output).suffix in H5_SUFFIXES else "npy"
    settings = replace(settings, file_format=settings.file_format or default_format)
    if settings.file_format == "h5":
        import_h5py()  # before there is a folder
    found = None
    if not is_dataset(videos):
        found = find_videos(videos, start_s=settings.start_s, end_s=settings.end_s)
    is_taken = found is None or any(item.video_id.lower() == "failures" for item in found.items)
    places = JobPlaces(Path(output), settings.file_format or default_format, is_taken)
    if found is not None:
        check_ids_fit_one_file(places, (item.video_id for item in found.items))
    places.make_folders()
    lock = JobLock(places.output, places.work, settings.shard)
    lock.check_free()  # before anything slow
    if settings.ray and not settings.num_workers:
        settings = replace(settings, num_workers=count_actors(settings))
    setup = WorkerSetup(model, extractor, settings)
    with ExitStack() as stack:
        worker, record = start_first_worker(setup)
        stack.callback(worker.shutdown)
        items = () if found is None else found.items
        with lock.step("start"):
            stack.enter_context(lock.hold())
            job = JobFolder(places, record, items, lock, settings.overwrite)
        failures = FailureTable(job)
        index, count = settings.shard
        own: Iterator[VideoItem | UnusableVideo]
        if found is None:
            stream = iter_dataset(videos, video_column=video_column, id_column=id_column)
            own = islice(_check_ids(stream, settings), index, None, count)
            total = None
        else:
            failures.clear_missing_files({item.video_id for item in found.items})
            chosen: list[VideoItem | UnusableVideo] = [*found.unusable, *found.items]
            chosen = chosen[index::count]
            own, total = iter(chosen), len(chosen)
        progress = JobProgress(total, show_progress)
        stack.callback(progress.close)
        loop = ExtractionLoop(job, failures, setup, worker, progress)
        loop.run(own)
        failures.write()
        waits = places.is_packed and not _pack(job, failures, found)
        return ExtractionReport(
            places.output,
            tuple(loop.done),
            tuple(loop.skipped),
            tuple(failure for failure in loop.failures if failure.is_partial),
            tuple(failure for failure in loop.failures if not failure.is_partial),
            progress.seconds,
            progress.num_snippets,
            progress.video_s,
            places.failures_file,
            waits,
            tuple(loop.replaced),
            tuple(loop.unknown),
        )


def _check_ids(
    found: Iterable[VideoItem | UnusableVideo], settings: ExtractionSettings
) -> Iterator[VideoItem | UnusableVideo]:
    """Of a stream, an id that comes twice is only found when it comes: the second is not extracted."""
    names: dict[str, str] = {}
    for item in found:
        if isinstance(item, UnusableVideo):
            yield item
            continue
        first = names.setdefault(item.video_id, item.name)
        if first != item.name:
            yield UnusableVideo(item.name, f"its id {item.video_id!r} is that of {first}; pass id_column")
        else:
            yield item.cut(settings.start_s, settings.end_s)


def _pack(job: JobFolder, failures: FailureTable, found: FoundVideos | None) -> bool:
    """Write the one file of all videos, if all are settled; return whether they are."""
    if found is not None:
        settled = {entry.video_id for entry in job.entries()}
        settled |= {failure.video_id for failure in failures.read() if failure.video_id}
        if not settled.issuperset(item.video_id for item in found.items):
            return False
    with job.lock.step("pack"):
        pack_tracks(job)
    return True
