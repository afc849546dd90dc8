"""Features of many videos into one folder: resumed, shared between processes, stopped by no file."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bsp_hf.features.storage.formats import H5_SUFFIXES
from bsp_hf.videos.datasets import is_dataset, iter_dataset
from bsp_hf.videos.items import UnusableVideo, VideoItem
from bsp_hf.videos.listing import FoundVideos, find_videos

from .failures import drop_failures_of_missing_files, list_failures, write_failures
from .folder import JobFolder
from .loop import ExtractionLoop
from .packing import check_ids_fit_one_file, pack_tracks
from .report import ExtractionReport, JobProgress
from .resume import JobSettings
from .session import JobSession
from .workers import EngineFacts, EngineSettings, Worker

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PACK = "\0pack"  # claimed by whoever writes the one file of all; no video id has a NUL


def extract_features(
    videos: Any,  # Any: paths, items or a data set; see below
    model: "str | Path | PreTrainedModel",
    output: str | Path,
    *,
    extractor: Any = None,  # Any: ours, or the image processor of another model
    file_format: str | None = None,
    stride_frames: int | None = None,
    fps: float | None = None,
    padding: str | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    rescale_to: int | None = None,
    keep_partial: bool = False,
    dtype: str = "auto",
    device: str | None = None,
    num_threads: int | None = None,
    batch_size: int | None = None,
    num_workers: int = 0,
    shard: tuple[int, int] = (0, 1),
    timeout_s: float = 60.0,
    overwrite: bool = False,
    video_column: str | None = None,
    id_column: str | None = None,
    show_progress: bool = True,
) -> ExtractionReport:
    """Extract the snippet features of many videos into a folder, one file of all, or an Arrow data set.

    Started again, it goes on where it was stopped, however it was stopped. A video is done again unless it is
    verified: the job's journal names the same source file (size and time of change), part and settings, and
    the features read back with the digest that was noted. All files are written aside and renamed, and none
    states a time of day, so the folder ends up the same however often the job was interrupted. Videos that
    failed, or could be read in part only, are tried again.

    Several processes, on one machine or several, may work into one folder: with a `shard` each, or all on the
    same list; a video that one of them is at is left to it.

    A video that cannot be read stops no other: it is named with its reason in the report and in
    `failures.csv`. With `num_workers=0` one that crashes the decoder ends the process; child processes
    survive it.

    Args:
        videos: What `find_videos` takes (a folder, files, patterns, lists, tables, archives, addresses), one
            or several, or a data set of `datasets`, streamed or not.
        model (`str`, `Path` or `PreTrainedModel`): The encoder: a folder, a Hub id, or a model.
        output (`str` or `Path`): A folder, or a name that ends in `.h5` for one file of all videos.
        extractor (`BSPFeatureExtractor`, *optional*): Preprocessing; by default what lies beside the model.
        file_format (`str`, *optional*): One of `TRACK_FORMATS`; by default `"npy"`, or `"h5"` by the output's
            name.
        stride_frames (`int`, *optional*): Frames from the start of a snippet to that of the next; by default
            what the checkpoint says.
        fps (`float`, *optional*): Rate that videos are resampled to; by default what the checkpoint says.
        padding (`str`, *optional*): `"repeat"` keeps a last snippet that is not full, `"drop"` drops it; by
            default what the checkpoint says.
        start_s (`float`, *optional*, defaults to 0.0): First second of each video.
        end_s (`float`, *optional*): End of each in seconds.
        rescale_to (`int`, *optional*): Interpolate every track over time to so many rows.
        keep_partial (`bool`, *optional*, defaults to `False`): Write what could be read of damaged videos,
            with `complete` false in the record.
        dtype (`str`, *optional*, defaults to `"auto"`): Number type that the encoder computes in.
        device (`str`, *optional*): Where it runs; by default the first accelerator, else the processor.
        num_threads (`int`, *optional*): Threads of each worker on the processor.
        batch_size (`int`, *optional*): Snippets that go through the encoder together.
        num_workers (`int`, *optional*, defaults to 0): Child processes with an encoder each; 0 works in this
            process.
        shard (`tuple[int, int]`, *optional*, defaults to `(0, 1)`): `(i, n)` does every nth video from the
            ith on.
        timeout_s (`float`, *optional*, defaults to 60.0): Seconds after which a file that gives no frame is
            abandoned; one that hangs inside the system, 30 s later.
        overwrite (`bool`, *optional*, defaults to `False`): Delete features of another encoder or of other
            settings that are in the output.
        video_column (`str`, *optional*): Column of videos of a data set.
        id_column (`str`, *optional*): Column of ids of a data set.
        show_progress (`bool`, *optional*, defaults to `True`): Show progress on standard error.

    Returns:
        `ExtractionReport`: What was done, skipped, partial and failed.

    Raises:
        FileNotFoundError: If there is no video.
        InputCollisionError: If two videos have one id.
        JobConflictError: If the output holds features of another encoder or of other settings.
        OutputError: If the output cannot be written; what is finished is kept.
        ValueError: If an option is out of range.

    Example:
    ```python
    >>> from bsp_hf import extract_features
    >>> report = extract_features("clips/", "bsp-tsm-r50", "features/")  # doctest: +SKIP
    >>> report.exit_status  # doctest: +SKIP
    0
    ```
    """
    _check_options(shard, num_workers, timeout_s, rescale_to)
    output = Path(output)
    file_format = file_format or ("h5" if output.suffix in H5_SUFFIXES else "npy")
    job = JobFolder(output, file_format)
    found = None if is_dataset(videos) else find_videos(videos, start_s=start_s, end_s=end_s)
    if found is not None:
        check_ids_fit_one_file(job, (item.video_id for item in found.items))
    settings = EngineSettings(
        model,
        extractor,
        dtype=dtype,
        device=device,
        num_threads=num_threads,
        batch_size=batch_size,
        stride_frames=stride_frames,
        fps=fps,
        padding=padding,
        rescale_to=rescale_to,
        timeout_s=timeout_s,
    )
    job.prepare()
    with JobSession(job.work) as session:
        worker = Worker(settings, num_workers > 0)
        facts = _wait_for(worker)
        try:
            items = () if found is None else found.items
            job.settle(_job_settings(facts, rescale_to, file_format), items, session, overwrite)
            if found is not None:
                drop_failures_of_missing_files(job, {item.video_id for item in found.items})
        except BaseException:
            worker.stop()
            raise
        if found is None:
            stream = iter_dataset(videos, video_column=video_column, id_column=id_column)
            own: Iterator[VideoItem | UnusableVideo] = _share(_checked(stream, start_s, end_s), shard)
            total = None
        else:
            chosen = list(_share((*found.unusable, *found.items), shard))
            own, total = iter(chosen), len(chosen)
        progress = JobProgress(total, show_progress)
        loop = ExtractionLoop(job, session, settings, worker, facts, num_workers, keep_partial, progress)
        try:
            loop.run(own)
            write_failures(job, session)
            waits = job.is_packed and not _pack(job, session, found)
        finally:
            progress.close()
        return ExtractionReport(
            output,
            tuple(loop.done),
            tuple(loop.skipped),
            tuple(failure for failure in loop.failures if failure.is_partial),
            tuple(failure for failure in loop.failures if not failure.is_partial),
            progress.seconds,
            progress.num_snippets,
            progress.video_s,
            job.failures_file,
            waits,
        )


def _check_options(
    shard: tuple[int, int], num_workers: int, timeout_s: float, rescale_to: int | None
) -> None:
    index, count = shard
    if not 0 <= index < count:
        raise ValueError(f"shard={index}/{count}: of n shards, the first is 0/n and the last n-1/n.")
    if num_workers < 0:
        raise ValueError(f"num_workers must not be negative, got {num_workers}.")
    if not timeout_s > 0:
        raise ValueError(f"timeout_s must be positive, got {timeout_s}.")
    if rescale_to is not None and rescale_to < 1:
        raise ValueError(f"rescale_to must be at least 1, got {rescale_to}.")


def _wait_for(worker: Worker) -> EngineFacts:
    message = worker.hear()
    if message is None:
        raise RuntimeError(f"the encoder could not be loaded: {worker.explain_death()}.")
    if message.kind == "fatal":
        raise message.content
    return message.content


def _job_settings(facts: EngineFacts, rescale_to: int | None, file_format: str) -> JobSettings:
    return JobSettings(
        facts.encoder,
        facts.snippet_frames,
        facts.stride_frames,
        facts.fps,
        facts.padding,
        rescale_to,
        file_format,
    )


def _share(
    found: Iterable[VideoItem | UnusableVideo], shard: tuple[int, int]
) -> Iterator[VideoItem | UnusableVideo]:
    index, count = shard
    return islice(found, index, None, count)


def _checked(
    found: Iterable[VideoItem | UnusableVideo], start_s: float, end_s: float | None
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
            yield item.cut(start_s, end_s)


def _pack(job: JobFolder, session: JobSession, found: FoundVideos | None) -> bool:
    """Write the one file of all videos, if all are settled."""
    if found is not None:
        settled = {entry.video_id for entry in job.entries()}
        settled |= {failure.video_id for failure in list_failures(job) if failure.video_id}
        if not settled.issuperset(item.video_id for item in found.items):
            return False
    while not session.claim(_PACK):
        time.sleep(0.5)
    pack_tracks(job, session)
    session.release(_PACK)
    return True
