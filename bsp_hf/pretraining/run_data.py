"""The clips of a pre-training script, from its command line."""

import argparse
import logging
import math
from dataclasses import dataclass, fields
from typing import Any

from accelerate import Accelerator

from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor

from .augmentation import SpatialAugmentation
from .clips import PretextClips
from .frame_store import FrameStore
from .pretexts import PretextFactory
from .rendered_clips import render_action_clips
from .sources import count_frames, scan_video_folder, split_sources
from .synthesis import SynthesisConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RunData:
    """What a pre-training run reads.

    Args:
        train_clips (`PretextClips`): Clips to train on, cropped and flipped at random.
        eval_clips (`PretextClips`): Clips of held-out sources, cropped in the middle.
        extractor (`BSPFeatureExtractor`): The preprocessing that ships with the encoder.
    """

    train_clips: PretextClips
    eval_clips: PretextClips
    extractor: BSPFeatureExtractor


def build_run_data(
    args: argparse.Namespace, build_pretext: PretextFactory, accelerator: Accelerator
) -> RunData:
    """List, count and split the videos of a run, and set up its clips.

    Args:
        args (`argparse.Namespace`): What [`pretraining_parser`] parsed. Without `video_dir`, clips are
            rendered first.
        build_pretext (`Callable`): Makes the task from the synthesis settings and the names of the classes
            among the training videos.
        accelerator (`Accelerator`): Lets one process count frames, and the others read the counts.

    Returns:
        `RunData`: Training clips, held-out clips and preprocessing.

    Raises:
        ValueError: If the videos do not make a data set for the task.
        FileNotFoundError: If the folder or the table does not exist.
    """
    video_dir = args.video_dir
    with accelerator.main_process_first():
        if video_dir is None:
            video_dir = render_action_clips()
        sources = scan_video_folder(video_dir, args.metadata)
        sources, broken = count_frames(sources, args.num_workers, cache=args.output_dir / "frame_counts.json")
    train_sources, eval_sources = split_sources(sources, args.eval_fraction, args.seed)

    synthesis = SynthesisConfig(
        **{field.name: getattr(args, field.name) for field in fields(SynthesisConfig)}
    )
    class_names = tuple(sorted({source.label for source in train_sources} - {""}))
    pretext = build_pretext(synthesis, class_names)
    extractor = BSPFeatureExtractor(
        size={"shortest_edge": args.short_side},
        crop_size={"height": args.crop_size, "width": args.crop_size},
        num_frames=synthesis.num_frames,
        **_pixel_statistics(args.init_from),
    )
    augmentation = SpatialAugmentation(args.crop_size)
    # Large enough that the smallest random crop is not enlarged.
    store = FrameStore(args.frame_cache, short_side=math.ceil(args.crop_size / min(augmentation.scales)))
    train_clips = PretextClips(
        train_sources,
        pretext,
        extractor,
        augmentation,
        store,
        case_repeats=args.case_repeats,
        seed=args.seed,
    )
    eval_clips = PretextClips(eval_sources, pretext, extractor, store=store, seed=args.seed + 1)
    for name, clips in (("training", train_clips), ("held-out", eval_clips)):
        logger.info(
            "%s: %d sources (%d too short), %d clips", name, len(clips.catalog), clips.left_out, len(clips)
        )
    if broken:
        logger.warning("%d unreadable files were left out", len(broken))
    return RunData(train_clips, eval_clips, extractor)


def _pixel_statistics(init_from: str | None) -> dict[str, Any]:  # Any: fields of the extractor
    """Return mean and deviation of the pixels in 0..1 that a model was trained with, if it says so."""
    if init_from is None:
        return {}
    try:
        settings, _ = BSPFeatureExtractor.get_image_processor_dict(init_from)
    except OSError:  # no preprocessing beside the weights
        return {}
    if not (settings.get("image_mean") and settings.get("image_std")):
        return {}
    # ViViT scales to 0..2 and subtracts 1, where others scale to 0..1.
    scale = 255 * settings.get("rescale_factor", 1 / 255)
    offset = 1.0 if settings.get("offset") else 0.0
    return {
        "image_mean": [(mean + offset) / scale for mean in settings["image_mean"]],
        "image_std": [deviation / scale for deviation in settings["image_std"]],
    }


__all__ = ["RunData", "build_run_data"]
