"""Set-up of a pre-training run from its settings: processes, clips, model, number of steps."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel
from transformers import PreTrainedModel

from bsp_hf.encoder.backbones import to_channels_last
from bsp_hf.encoder.configuration_bsp import RESNET_VARIANTS
from bsp_hf.encoder.configuration_efficientnet_lite import (
    EFFICIENTNET_LITE_VARIANTS,
    EfficientNetLiteConfig,
    widen_efficientnet_lite,
)
from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor
from bsp_hf.encoder.modeling_bsp import BSPPreTrainedModel
from bsp_hf.pretrained import find_packaged
from bsp_hf.pretraining.augmentation import SpatialAugmentation
from bsp_hf.pretraining.clips import PretextClips
from bsp_hf.pretraining.frame_store import FrameStore
from bsp_hf.pretraining.pretexts import PretextFactory
from bsp_hf.pretraining.rendering.clips import render_action_clips
from bsp_hf.pretraining.sources import count_frames, digest_sources, scan_video_folder, split_sources
from bsp_hf.pretraining.start_features import StartFeatures
from bsp_hf.training import launch
from bsp_hf.training.averaging import average_weights
from bsp_hf.training.command_line import settings_to_dict

from .settings import PRESETS, PretrainingSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RunData:
    """What a pre-training run reads: clips to train on, clips of held-out sources, and the preprocessing."""

    train_clips: PretextClips
    eval_clips: PretextClips
    extractor: BSPFeatureExtractor

    def describe(self) -> dict[str, Any]:  # Any: JSON values
        """Return what must be the same when a run goes on: how many clips there are, and of which videos."""
        sources = [
            source for clips in (self.train_clips, self.eval_clips) for source in clips.catalog.sources
        ]
        return {"num_clips": len(self.train_clips), "videos": digest_sources(sources)}

    def name_videos(self, batch: Mapping[str, Any]) -> list[str]:  # Any: tensors, of which one is needed
        """Return the paths of the videos that the clips of a training batch were drawn from."""
        catalog = self.train_clips.catalog
        plans = [self.train_clips.plan(index).plan for index in batch["index"].tolist()]
        return list(dict.fromkeys(str(catalog.sources[i].path) for plan in plans for i in plan.sources))


def build_run_data(
    settings: PretrainingSettings, build_pretext: PretextFactory, accelerator: Accelerator
) -> RunData:
    """List, count and split the videos of a run, which are rendered without `video_dir`; set up its clips."""
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
    repeats = settings.case_repeats
    if repeats == PRESETS[settings.preset].get("case_repeats") and len(repeats or ()) != pretext.num_cases:
        repeats = None  # the preset's, which are those of all four boundaries
    train_clips = PretextClips(
        train_sources,
        pretext,
        extractor,
        augmentation if settings.augmentation == "multi-scale" else None,
        store,
        case_repeats=repeats,
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
        saved, _ = BSPFeatureExtractor.get_image_processor_dict(find_packaged(init_from))
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

    `fields` are further ones of the class's config. Its 2-D weights have channels last.
    """
    model = to_channels_last(_build_model(model_class, settings, fields))
    if settings.frozen_blocks:
        encoder: Any = model.base_model  # Any: mypy takes a module's attributes for tensors
        encoder.freeze_blocks(settings.frozen_blocks)
    return model


def _build_model(model_class: type[_Model], settings: PretrainingSettings, fields: dict[str, Any]) -> _Model:
    shift = {"shift_div": settings.shift_div, "shift_blocks": settings.shift_blocks}
    fields = shift | {"classifier_dropout": settings.dropout} | fields
    if settings.init_from:
        return model_class.from_backbone(find_packaged(settings.init_from), **fields)
    if settings.backbone in EFFICIENTNET_LITE_VARIANTS:
        lite = widen_efficientnet_lite(
            EFFICIENTNET_LITE_VARIANTS[settings.backbone], settings.width_multiplier
        )
        return model_class(model_class.config_class(backbone_config=EfficientNetLiteConfig(**lite), **fields))
    if settings.backbone not in RESNET_VARIANTS:
        return model_class(model_class.config_class.from_backbone_name(settings.backbone, **fields))
    backbone = dict(RESNET_VARIANTS[settings.backbone])
    backbone["hidden_sizes"] = [int(width * settings.width_multiplier) for width in backbone["hidden_sizes"]]
    backbone["embedding_size"] = int(64 * settings.width_multiplier)
    return model_class(model_class.config_class(backbone_config=backbone, **fields))


def prepare_for_training(
    settings: PretrainingSettings, model: _Model, accelerator: Accelerator
) -> tuple[_Model, AveragedModel | None]:
    """Return the model as the options have it trained, and the moving average of its weights, if any.

    Call it before accelerate prepares the model. The average is part of every checkpoint.
    """
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    if settings.sync_batch_norm:
        if accelerator.device.type != "cuda":
            raise ValueError("--sync_batch_norm needs GPUs; leave it out on a processor.")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if not settings.ema_decay:
        return model, None
    average = average_weights(model, settings.ema_decay).to(accelerator.device)
    accelerator.register_for_checkpointing(average)
    return model, average


def start_features(
    settings: PretrainingSettings, model: PreTrainedModel, device: torch.device
) -> StartFeatures | None:
    """Return the second loss of a model that has just been built, if the run asked for it."""
    if not settings.start_features_weight:
        return None
    return StartFeatures(model, settings.start_features_error).to(device)


def label_fields(label_names: tuple[str, ...]) -> dict[str, dict[Any, Any]]:
    """Return the fields of a config that name the classes of its classifier, `id2label` and `label2id`."""
    return {
        "id2label": dict(enumerate(label_names)),
        "label2id": {name: number for number, name in enumerate(label_names)},
    }


@dataclass(frozen=True)
class RunSteps:
    """How many optimizer steps a run, an epoch and the warm-up take."""

    total: int
    per_epoch: int
    warmup: int


def start_accelerator(settings: PretrainingSettings, script: str, project: str) -> Accelerator:
    """Set up processes, seeds, trackers, and logging of the package and the script, by the main process.

    Trackers keep the run under the name `project`.
    """
    trackers = {"log_with": settings.report_to or None, "project_dir": settings.output_dir}
    accelerator = launch.start_accelerator(settings, script, **trackers)
    if accelerator.device.type == "cpu" and settings.preset == "paper" and settings.max_steps is None:
        logger.info("no GPU: this setting takes days or weeks on a processor; --preset demo takes minutes")
    if settings.report_to:
        config = {name: str(value) for name, value in settings_to_dict(settings).items()}
        accelerator.init_trackers(project, config=config)
    return accelerator


def count_steps(settings: PretrainingSettings, num_clips: int, clips_per_step: int) -> RunSteps:
    """Count the optimizer steps of a run: those of `epochs`, or `max_steps` if that is less."""
    per_epoch = num_clips // clips_per_step
    if per_epoch == 0:
        raise ValueError(f"{num_clips} clips do not fill a step of {clips_per_step}; lower --batch_size.")
    total = settings.epochs * per_epoch
    if settings.max_steps is not None:
        total = min(settings.max_steps, total)
    return RunSteps(total, per_epoch, warmup=round(settings.warmup_share * total))
