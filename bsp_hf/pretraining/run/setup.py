"""The clips of a pre-training script, from its command line."""

import logging
import math
from dataclasses import dataclass
from typing import Any, TypeVar

from accelerate import Accelerator
from accelerate.utils import set_seed

from bsp_hf.encoder.backbones import to_channels_last
from bsp_hf.encoder.configuration_bsp import RESNET_VARIANTS
from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor
from bsp_hf.encoder.modeling_bsp import BSPPreTrainedModel
from bsp_hf.pretraining.augmentation import SpatialAugmentation
from bsp_hf.pretraining.clips import PretextClips
from bsp_hf.pretraining.frame_store import FrameStore
from bsp_hf.pretraining.pretexts import PretextFactory
from bsp_hf.pretraining.rendering.clips import render_action_clips
from bsp_hf.pretraining.sources import count_frames, digest_sources, scan_video_folder, split_sources
from bsp_hf.training.command_line import settings_to_dict

from .settings import PretrainingSettings

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

    def describe(self) -> dict[str, Any]:  # Any: JSON values
        """Return what must be the same when a run goes on: how many clips there are, and of which videos."""
        sources = [
            source for clips in (self.train_clips, self.eval_clips) for source in clips.catalog.sources
        ]
        return {"num_clips": len(self.train_clips), "videos": digest_sources(sources)}


def build_run_data(
    settings: PretrainingSettings, build_pretext: PretextFactory, accelerator: Accelerator
) -> RunData:
    """List, count and split the videos of a run, and set up its clips.

    Args:
        settings (`PretrainingSettings`): What the run was asked for. Without `video_dir`, clips are
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
    video_dir = settings.video_dir
    with accelerator.main_process_first():
        if video_dir is None:
            video_dir = render_action_clips()
        sources = scan_video_folder(video_dir, settings.metadata)
        sources, broken = count_frames(
            sources, settings.num_workers, cache=settings.output_dir / "frame_counts.json"
        )
    train_sources, eval_sources = split_sources(sources, settings.eval_fraction, settings.seed)

    synthesis = settings.synthesis
    class_names = tuple(sorted({source.label for source in train_sources} - {""}))
    pretext = build_pretext(synthesis, class_names)
    extractor = BSPFeatureExtractor(
        size={"shortest_edge": settings.short_side},
        crop_size={"height": settings.crop_size, "width": settings.crop_size},
        num_frames=synthesis.num_frames,
        **_pixel_statistics(settings.init_from),
    )
    augmentation = SpatialAugmentation(settings.crop_size)
    # Large enough that the smallest random crop is not enlarged.
    store = FrameStore(
        settings.frame_cache, short_side=math.ceil(settings.crop_size / min(augmentation.scales))
    )
    train_clips = PretextClips(
        train_sources,
        pretext,
        extractor,
        augmentation if settings.augmentation == "multi-scale" else None,
        store,
        case_repeats=settings.case_repeats,
        seed=settings.seed,
    )
    eval_pretext = build_pretext(synthesis.for_evaluation(settings.eval_segment_place), class_names)
    eval_clips = PretextClips(eval_sources, eval_pretext, extractor, store=store, seed=settings.seed + 1)
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
        saved, _ = BSPFeatureExtractor.get_image_processor_dict(init_from)
    except OSError:  # no preprocessing beside the weights
        return {}
    if not (saved.get("image_mean") and saved.get("image_std")):
        return {}
    # ViViT scales to 0..2 and subtracts 1, where others scale to 0..1.
    scale = 255 * saved.get("rescale_factor", 1 / 255)
    offset = 1.0 if saved.get("offset") else 0.0
    return {
        "image_mean": [(mean + offset) / scale for mean in saved["image_mean"]],
        "image_std": [deviation / scale for deviation in saved["image_std"]],
    }


_Model = TypeVar("_Model", bound=BSPPreTrainedModel)


def start_model(model_class: type[_Model], settings: PretrainingSettings, **fields: Any) -> _Model:
    """Build a model with fresh weights, or with those of the model that `settings.init_from` names.

    Args:
        model_class (`type[BSPPreTrainedModel]`): The model's class.
        settings (`PretrainingSettings`): What the run was asked for.
        fields: Further fields of the class's config.

    Returns:
        `BSPPreTrainedModel`: A model of that class, to be trained; its 2-D weights have channels last.

    Raises:
        ValueError: If that model cannot be the backbone of an encoder, or takes clips of another length.
        OSError: If there is no such model.
    """
    return to_channels_last(_build_model(model_class, settings, fields))


def _build_model(model_class: type[_Model], settings: PretrainingSettings, fields: dict[str, Any]) -> _Model:
    fields = {"shift_div": settings.shift_div, "classifier_dropout": settings.dropout} | fields
    if settings.init_from:
        return model_class.from_backbone(settings.init_from, **fields)
    if settings.backbone not in RESNET_VARIANTS:
        return model_class(model_class.config_class.from_backbone_name(settings.backbone, **fields))
    backbone = dict(RESNET_VARIANTS[settings.backbone])
    backbone["hidden_sizes"] = [int(width * settings.width_multiplier) for width in backbone["hidden_sizes"]]
    backbone["embedding_size"] = int(64 * settings.width_multiplier)
    return model_class(model_class.config_class(backbone_config=backbone, **fields))


def label_fields(label_names: tuple[str, ...]) -> dict[str, dict[Any, Any]]:
    """Return the fields of a config that name the classes of its classifier.

    Args:
        label_names (`tuple[str, ...]`): Names of the classes, in order.

    Returns:
        `dict`: `id2label` and `label2id`.
    """
    return {
        "id2label": dict(enumerate(label_names)),
        "label2id": {name: number for number, name in enumerate(label_names)},
    }


@dataclass(frozen=True)
class RunSteps:
    """How many optimizer steps a run takes.

    Args:
        total (`int`): Of the whole run.
        per_epoch (`int`): Of an epoch.
        warmup (`int`): Over which the learning rate rises.
    """

    total: int
    per_epoch: int
    warmup: int


def start_accelerator(settings: PretrainingSettings, script: str, project: str) -> Accelerator:
    """Set up processes, logging, seeds and trackers.

    Args:
        settings (`PretrainingSettings`): What the run was asked for.
        script (`str`): Name of the script's own logger; it and this package's are heard from one process.
        project (`str`): Name under which trackers keep the run.

    Returns:
        `Accelerator`: Ready to prepare the model.
    """
    accelerator = Accelerator(
        cpu=settings.cpu,
        mixed_precision=settings.mixed_precision,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        log_with=settings.report_to or None,
        project_dir=settings.output_dir,
    )
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level="WARNING")
    for name in (script, "bsp_hf"):
        logging.getLogger(name).setLevel("INFO" if accelerator.is_main_process else "WARNING")
    set_seed(settings.seed)
    if settings.report_to:
        config = {name: str(value) for name, value in settings_to_dict(settings).items()}
        accelerator.init_trackers(project, config=config)
    return accelerator


def count_steps(settings: PretrainingSettings, num_clips: int, clips_per_step: int) -> RunSteps:
    """Count the optimizer steps of a run.

    Args:
        settings (`PretrainingSettings`): What the run was asked for: `epochs`, unless `max_steps` is less,
            and `warmup_share`.
        num_clips (`int`): Clips of an epoch.
        clips_per_step (`int`): Clips that all processes see in a step.

    Returns:
        `RunSteps`: The counts.

    Raises:
        ValueError: If the clips do not fill a step.
    """
    per_epoch = num_clips // clips_per_step
    if per_epoch == 0:
        raise ValueError(f"{num_clips} clips do not fill a step of {clips_per_step}; lower --batch_size.")
    total = settings.epochs * per_epoch
    if settings.max_steps is not None:
        total = min(settings.max_steps, total)
    return RunSteps(total, per_epoch, warmup=round(settings.warmup_share * total))
