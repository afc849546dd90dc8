"""Synthesized boundary clips as a `datasets` data set: prepared once and cached, or streamed."""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets

from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor
from bsp_hf.encoder.video import decoder_version
from bsp_hf.pretraining.clips import PretextClips
from bsp_hf.pretraining.dataset_sources import list_dataset_videos
from bsp_hf.pretraining.pretexts import make_pretext
from bsp_hf.pretraining.sources import (
    TrimmedVideo,
    count_frames,
    relative_names,
    scan_video_folder,
    split_sources,
)
from bsp_hf.pretraining.synthesis_config import SynthesisConfig
from bsp_hf.videos.items import LocalFile

from .builder import BoundaryClipsBuilder

_BYTES_A_WRITE = 2**26


def load_boundary_clips(
    videos: str | Path | datasets.Dataset | datasets.DatasetDict | Sequence[TrimmedVideo],
    *,
    num_clips: int | None = None,
    split: str | None = None,
    streaming: bool = False,
    synthesis: SynthesisConfig | None = None,
    task: str = "boundary",
    crop_size: int | tuple[int, int] = 224,
    short_side: int | None = None,
    seed: int = 0,
    epoch: int = 0,
    eval_fraction: float = 0.1,
    metadata: str | Path | None = None,
    video_column: str | None = None,
    label_column: str | None = None,
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
) -> datasets.Dataset | datasets.IterableDataset:
    """Synthesize clips with boundaries out of trimmed videos, as a data set (Sec. 3.2).

    Row `k` is the clip that a training with this seed sees as its `k`-th: item `index` of [`PretextClips`] in
    `epoch`, without augmentation. Only the frames of a clip are decoded. Without `streaming` the rows are
    written to the cache once, and found there again while the settings, and the names, sizes and times of
    change of the files, stay the same.

    Args:
        videos (`str`, `Path`, `Dataset`, `DatasetDict` or `Sequence[TrimmedVideo]`): A folder as
            [`scan_video_folder`] reads it, a data set with a column of videos, or videos already listed.
        num_clips (`int`, *optional*): Rows; by default one epoch, every source once in every case of the
            task. More rows go on in the next epoch.
        split (`str`, *optional*): `"train"` or `"test"` takes that part of the videos, as [`split_sources`]
            divides them; by default all. Of a `DatasetDict` it names the part to take as a whole.
        streaming (`bool`, *optional*, defaults to `False`): Generate rows as they are asked for.
        synthesis (`SynthesisConfig`, *optional*): Settings of the clips; `SynthesisConfig()` by default.
        task (`str`, *optional*, defaults to `"boundary"`): The pretext, a name in `PRETEXTS`.
        crop_size (`int` or `tuple[int, int]`, *optional*, defaults to 224): Height and width of the frames,
            in pixels; the centre is cropped.
        short_side (`int`, *optional*): Short side that frames are resized to before cropping; by default
            256/224 of the crop's long side.
        seed (`int`, *optional*, defaults to 0): Seed of every draw.
        epoch (`int`, *optional*, defaults to 0): Epoch of the first row.
        eval_fraction (`float`, *optional*, defaults to 0.1): Share of the groups of every class that
            `split="test"` holds, where the videos name no split themselves.
        metadata (`str` or `Path`, *optional*): Table of a folder's videos; see [`scan_video_folder`].
        video_column (`str`, *optional*): Column of a data set; see [`list_dataset_videos`].
        label_column (`str`, *optional*): Column of a data set; see [`list_dataset_videos`].
        num_proc (`int`, *optional*): Processes that count frames and write rows; changes no row.
        cache_dir (`str` or `Path`, *optional*): Where rows and frame counts are kept; that of `datasets` by
            default.

    Returns:
        `Dataset` or `IterableDataset`: Columns `frames`, uint8 `(num_frames, height, width, 3)`, RGB;
        `label`, a `ClassLabel`, or for a regression float32 `(num_frames,)`; `boundary_frame`, the first
        frame behind the boundary, 0 for none; `boundary_s`, its seconds from the clip's start at the first
        source's frame rate, `None` for none; `speed` behind the boundary; `sources`, relative names;
        `frame_indices`, the frames taken from each source; `epoch` and `index`. Formatted as numpy or
        torch, `datasets` gives every integer 64 bits, pixels too.

    Raises:
        ValueError: If an argument is out of range, or the videos do not suffice for the task.
        FileNotFoundError: If the folder or the table does not exist.
        TypeError: If `videos` is a stream.

    Example:
    ```python
    >>> from bsp_hf import load_boundary_clips
    >>> clips = load_boundary_clips("clips/", num_clips=1000, crop_size=112)  # doctest: +SKIP
    >>> clips.features["label"].int2str(clips[0]["label"])  # doctest: +SKIP
    'diff-speed'
    ```
    """
    height, width = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
    extractor = BSPFeatureExtractor(
        size={"shortest_edge": short_side or math.ceil(max(height, width) * 256 / 224)},
        crop_size={"height": height, "width": width},
    )
    synthesis = synthesis or SynthesisConfig()
    cache = Path(cache_dir or datasets.config.HF_DATASETS_CACHE)
    sources = _list_sources(videos, split, metadata, video_column, label_column)
    if not all(source.num_frames for source in sources):
        sources, _ = count_frames(sources, num_proc or 0, cache / "bsp_hf_frame_counts.json")
    if split is not None and not isinstance(videos, datasets.DatasetDict):
        if split not in ("train", "test"):
            raise ValueError(f"split={split!r} must be 'train', 'test' or None.")
        sources = split_sources(sources, eval_fraction, seed)[split == "test"]
    class_names = tuple(sorted({source.label for source in sources} - {""}))
    clips = PretextClips(sources, make_pretext(task, synthesis, class_names), extractor, seed=seed)
    num_clips = len(clips) if num_clips is None else num_clips
    if num_clips < 1 or epoch < 0:
        raise ValueError(f"num_clips={num_clips} must be at least 1, and epoch={epoch} not negative.")

    settings = {
        "synthesis": synthesis.to_dict(),
        "task": task,
        "size": [extractor.size, extractor.crop_size],
        "draw": [seed, epoch, num_clips],
        "decoder": decoder_version(),
    }
    names = relative_names(clips.catalog.sources)
    builder = BoundaryClipsBuilder(
        cache_dir=str(cache),
        dataset_name="boundary_clips",
        config_name=task,
        config_id=f"{task}-{_fingerprint(settings, clips.catalog.sources, names)}",
        writer_batch_size=max(1, _BYTES_A_WRITE // (synthesis.num_frames * height * width * 3)),
        clips=clips,
        names=tuple(names),
        epoch=epoch,
        num_clips=num_clips,
        split=split or "train",
    )
    if streaming:
        return builder.as_streaming_dataset(split=builder.config.split)
    builder.download_and_prepare(num_proc=num_proc)
    return builder.as_dataset(split=builder.config.split)


def _list_sources(
    videos: str | Path | datasets.Dataset | datasets.DatasetDict | Sequence[TrimmedVideo],
    split: str | None,
    metadata: str | Path | None,
    video_column: str | None,
    label_column: str | None,
) -> list[TrimmedVideo]:
    if isinstance(videos, (str, Path)):
        if video_column or label_column:
            raise ValueError(
                "video_column and label_column belong to a data set; a folder may have metadata=."
            )
        return scan_video_folder(videos, metadata)
    if metadata is not None:
        raise ValueError("metadata belongs to a folder; of a data set, name the columns.")
    if isinstance(videos, Sequence):
        return list(videos)
    if isinstance(videos, datasets.DatasetDict):
        if split not in videos:
            raise ValueError(f"split={split!r} is none of the data set's parts: {', '.join(videos)}.")
        videos = videos[split]
    return list_dataset_videos(videos, video_column, label_column)


def _fingerprint(settings: dict[str, Any], sources: list[TrimmedVideo], names: list[str]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for source, name in zip(sources, names, strict=True):
        # Without the folder, which may move.
        stamp = (source.origin or LocalFile(source.path)).stamp()
        digest.update(json.dumps([name, source.label, source.num_frames, stamp]).encode())
    return digest.hexdigest()[:16]
