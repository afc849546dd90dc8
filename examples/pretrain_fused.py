"""Fuse boundary and action features (Sec. 3.4 of the paper) in one of three ways.

    # two trained encoders side by side; nothing is trained
    python examples/pretrain_fused.py --fusion two-stream \
        --action_teacher bsp-action --boundary_teacher bsp-boundary --output_dir bsp-two-stream
    # one trunk with a boundary head and an action head
    accelerate launch examples/pretrain_fused.py --fusion two-head --video_dir clips/ --output_dir fused
    # one student that matches the features of two frozen teachers
    accelerate launch examples/pretrain_fused.py --fusion distillation --video_dir clips/ \
        --action_teacher bsp-action --boundary_teacher bsp-boundary --output_dir bsp-distilled

The encoders come from `examples/pretrain.py --task action` and `--task boundary`. All clips are boundary
clips; those of a single action (all but diff-class) also have an action label, which the student learns.
With --teacher_features DIR the teachers run once: DIR keeps their features of the clips of epoch 0, and every
epoch shows these clips. All else is as in `examples/pretrain.py`, the exact resuming too.
"""

import bsp_hf_threads  # noqa: F401  # before torch

# isort: split
import logging
from functools import partial

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, default_collate
from tqdm.auto import tqdm

from bsp_hf import (
    BSPFeatureExtractor,
    BSPForFeatureDistillation,
    BSPForTwoHeadClassification,
    BSPTwoStreamModel,
    save_checkpoint_folder,
)
from bsp_hf.encoder.backbone_family import feature_size
from bsp_hf.encoder.modeling_fusion import TEACHERS
from bsp_hf.metrics import evaluate_boundary_classification
from bsp_hf.pretraining.pretexts import BoundaryWithAction
from bsp_hf.pretraining.run.optimization import build_optimizer, build_schedule, default_learning_rate
from bsp_hf.pretraining.run.record import check_unfinished, describe_run
from bsp_hf.pretraining.run.settings import PRESETS, FusedPretrainingSettings
from bsp_hf.pretraining.run.setup import (
    build_run_data,
    count_steps,
    label_fields,
    prepare_for_training,
    start_accelerator,
    start_features,
    start_model,
)
from bsp_hf.pretraining.teachers import TeacherFeatureStore, Teachers
from bsp_hf.training.checkpoints import TrainingCheckpoints, TrainingProgress
from bsp_hf.training.command_line import GOES_ON, exit_on_mistakes, parse_settings
from bsp_hf.training.finite import check_finite
from bsp_hf.training.launch import end_training
from bsp_hf.training.log import TrainingLog, shows_progress
from bsp_hf.training.sampler import EpochSampler, continue_epoch

logger = logging.getLogger("pretrain_fused")


def build_two_stream(settings) -> None:
    """Join the two trained encoders, and save them as one."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level="WARNING")
    logger.setLevel("INFO")
    streams = {"action": settings.action_teacher, "boundary": settings.boundary_teacher}
    model = BSPTwoStreamModel.from_encoders(streams)
    extractor = BSPFeatureExtractor.from_pretrained(settings.action_teacher)
    save_checkpoint_folder(
        model, extractor, settings.output_dir, {"fusion": "two-stream", "streams": streams}
    )
    logger.info("saved: AutoModel.from_pretrained(%r) reads it", str(settings.output_dir))


def prepare_teachers(settings, data, accelerator):
    """Return a function from batches to the teachers' features, and the teachers' records and sizes."""
    teachers = None
    if settings.action_teacher and settings.boundary_teacher:
        teachers = Teachers.from_pretrained(
            settings.action_teacher, settings.boundary_teacher, data.extractor
        )
        teachers.to(accelerator.device)
    if settings.teacher_features is None:
        sizes = {name: feature_size(encoder.config) for name, encoder in teachers.encoders.items()}
        return lambda batch, pixels, is_training: teachers.features(pixels), teachers.records, sizes

    stores = {}
    for name, clips in (("training", data.train_clips), ("held_out", data.eval_clips)):
        folder = settings.teacher_features / name

        def encode(indices, clips=clips):
            pixels = default_collate([clips[index]["pixels"] for index in indices])
            return teachers.features(data.extractor.normalize_pixels(pixels.to(accelerator.device)))

        if teachers is not None and accelerator.is_main_process and not folder.is_dir():
            logger.info("writing the teachers' features of %d clips to %s", len(clips), folder)
            TeacherFeatureStore.write(folder, clips, teachers, encode, settings.batch_size)
        accelerator.wait_for_everyone()
        stores[name] = store = TeacherFeatureStore(folder, clips)
    if teachers is not None and teachers.records != store.records:
        raise ValueError(
            f"{settings.teacher_features} holds features of other teachers; name another folder."
        )

    def read(batch, pixels, is_training):
        return stores["training" if is_training else "held_out"].read(batch["index"])

    return read, store.records, store.sizes


def build_model(settings, pretext, num_frames, teachers):
    if settings.fusion == "two-head":
        weights = {
            "boundary_loss_weight": settings.boundary_weight,
            "action_loss_weight": settings.action_weight,
        }
        fields = label_fields(pretext.label_names) | {"action_names": list(pretext.action_names)} | weights
        return start_model(BSPForTwoHeadClassification, settings, num_frames=num_frames, **fields)
    _, records, sizes = teachers
    fields = label_fields(pretext.action_names) | {"teacher_records": records}
    fields |= {f"{name}_feature_size": sizes[name] for name in TEACHERS}
    fields |= {f"{name}_feature_weight": getattr(settings, f"{name}_weight") for name in TEACHERS}
    fields |= {name: getattr(settings, name) for name in ("cross_entropy_weight", "squared_error_reduction")}
    return start_model(BSPForFeatureDistillation, settings, num_frames=num_frames, **fields)


def model_inputs(batch, extractor, teachers, num_actions, is_training=True):
    """Return what the model takes of a batch of clips."""
    pixels, (boundaries, actions) = extractor.normalize_pixels(batch["pixels"]), batch["labels"].unbind(1)
    inputs = {"pixel_values": pixels}
    if teachers is None:
        return inputs | {"labels": boundaries, "action_labels": actions, "num_actions_expected": num_actions}
    inputs |= {"labels": actions, "num_labels_expected": num_actions}
    return inputs | {"teacher_features": teachers[0](batch, pixels, is_training)}


@torch.no_grad()
def evaluate_model(model, loader, extractor, accelerator, teachers, pretext):
    """Return the metrics of the held-out clips."""
    model.eval()
    kept, errors = [], []
    loader.set_epoch(0)  # Accelerate counts iterations, which would draw other clips every time.
    for batch in tqdm(loader, desc="evaluating", leave=False, disable=not shows_progress(accelerator)):
        inputs = model_inputs(batch, extractor, teachers, None, is_training=False)
        with accelerator.autocast():  # also of an average, which accelerate has not prepared
            output = model(**inputs)
        if teachers is None:
            boundary, action_logits = output.logits.argmax(-1), output.action_logits
        else:
            boundary, action_logits = batch["labels"][:, 0], output.logits
            found = torch.stack([output.action_feature_loss, output.boundary_feature_loss])
            errors.append(accelerator.gather_for_metrics(found.repeat(len(boundary), 1)).cpu())
        row = accelerator.gather_for_metrics((boundary, action_logits.float(), batch["labels"]))
        kept.append([part.cpu() for part in row])
    model.train()
    boundary, action_logits, labels = (torch.cat(parts) for parts in zip(*kept, strict=True))
    has_action = labels[:, 1] >= 0
    action_logits, actions = action_logits[has_action], labels[has_action, 1]
    results = {
        "eval_action_loss": F.cross_entropy(action_logits, actions).item(),
        "eval_action_accuracy": (action_logits.argmax(-1) == actions).float().mean().item(),
    }
    if teachers is None:
        scores = evaluate_boundary_classification(boundary, labels[:, 0], class_names=pretext.label_names)
        return results | {f"eval_{name}": value for name, value in scores.to_dict().items()}
    means = dict(zip(TEACHERS, torch.cat(errors).mean(0).tolist(), strict=True))
    return results | {f"eval_{name}_feature_loss": mean for name, mean in means.items()}


def main() -> None:
    settings = parse_settings(FusedPretrainingSettings, presets=PRESETS, description=__doc__)
    if settings.fusion == "two-stream":
        return build_two_stream(settings)
    accelerator = start_accelerator(settings, "pretrain_fused", "bsp-fused")

    data = build_run_data(settings, BoundaryWithAction, accelerator)
    train_clips, extractor, pretext = data.train_clips, data.extractor, data.train_clips.pretext
    teachers = prepare_teachers(settings, data, accelerator) if settings.fusion == "distillation" else None
    model = build_model(settings, pretext, extractor.num_frames, teachers)
    start = start_features(settings, model, accelerator.device)
    model, average = prepare_for_training(settings, model, accelerator)

    total_batch = settings.batch_size * accelerator.num_processes * settings.gradient_accumulation_steps
    sampler = EpochSampler(len(train_clips), settings.seed, multiple_of=total_batch)
    # Starting to iterate draws a number; from torch's own generator, a resumed run would draw one too many.
    options = {"num_workers": settings.num_workers, "persistent_workers": settings.num_workers > 0}
    train_loader, eval_loader = (
        DataLoader(clips, settings.batch_size, generator=torch.Generator(), **kind, **options)
        for clips, kind in ((train_clips, {"sampler": sampler}), (data.eval_clips, {}))
    )
    steps = count_steps(settings, len(train_clips), total_batch)
    learning_rate = settings.learning_rate or default_learning_rate(settings.optimizer, total_batch)
    optimizer = build_optimizer(
        settings.optimizer,
        model,
        learning_rate,
        settings.weight_decay,
        settings.momentum,
        settings.backbone_lr_scale,
    )
    model, optimizer, train_loader, eval_loader = accelerator.prepare(
        model, optimizer, train_loader, eval_loader
    )
    # The schedule is stepped by hand: Accelerate would step it once for every process.
    schedule = build_schedule(settings.schedule, optimizer.optimizer, steps.total, steps.warmup)
    progress = TrainingProgress()
    lasting = settings.lasting() | data.describe()
    lasting["mixed_precision"] = accelerator.mixed_precision
    digests = teachers and {name: teachers[1][name]["weights"] for name in TEACHERS}
    lasting |= {"teachers": digests, "fixed_clips": settings.teacher_features is not None}
    folder = settings.output_dir / "checkpoints"
    checkpoints = TrainingCheckpoints(accelerator, folder, progress, schedule, lasting)
    if settings.restart:
        checkpoints.clear()
    else:
        check_unfinished(settings.output_dir, steps.total)
        checkpoints.resume(steps.total)

    # Every batch divides by what an average one holds, so that processes and accumulated batches add up.
    num_actions = settings.batch_size * pretext.action_share(train_clips.cases)
    log = TrainingLog(accelerator, progress, steps.total, settings.fusion, settings.max_replaced_share)
    model.train()
    while progress.steps_done < steps.total:
        train_clips.set_epoch(0 if settings.teacher_features else progress.epoch)
        for batch in continue_epoch(train_loader, sampler, progress):
            with accelerator.accumulate(model):
                inputs = model_inputs(batch, extractor, teachers, num_actions)
                output, pixels = model(**inputs), inputs["pixel_values"]
                with accelerator.autocast():
                    kept = {} if start is None else {"start_feature_loss": start.loss(pixels)}
                loss = output.loss + settings.start_features_weight * sum(kept.values())
                check_finite(loss, "loss", progress.steps_done + 1, partial(data.name_videos, batch))
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
                    if accelerator.scaler is None:  # which expects some gradients to overflow
                        check_finite(norm, "gradient norm", progress.steps_done + 1)
                optimizer.step()
                optimizer.zero_grad()
            progress.batches_done += 1
            log.add_batch(output.loss, settings.batch_size, batch["replaced"], **kept)
            if not accelerator.sync_gradients:
                continue
            schedule.step()
            if average is not None:
                average.update_parameters(accelerator.unwrap_model(model))
            progress.steps_done += 1
            step = progress.steps_done
            is_saved = step % settings.save_every == 0 and step < steps.total
            log.end_step(schedule.get_last_lr()[0], ends_mean=is_saved)
            if step % (settings.eval_every or steps.per_epoch) == 0 or step == steps.total:
                log.write_scores(
                    evaluate_model(average or model, eval_loader, extractor, accelerator, teachers, pretext)
                )
            if is_saved:
                checkpoints.save()
            if step == steps.total:
                break
        else:
            progress.epoch, progress.batches_done = progress.epoch + 1, 0
    if progress.steps_done and not log.has_scores:  # resumed where the run ends
        log.write_scores(
            evaluate_model(average or model, eval_loader, extractor, accelerator, teachers, pretext)
        )
    log.close()

    if accelerator.is_main_process:
        trained = average.module if average else accelerator.unwrap_model(model)
        record = describe_run(settings, data, progress, total_batch, accelerator)
        record |= {"fusion": settings.fusion, "teachers": teachers and teachers[1]}
        save_checkpoint_folder(trained, extractor, settings.output_dir, record)
        logger.info("saved to %s", settings.output_dir)
    end_training(accelerator)


if __name__ == "__main__":
    with exit_on_mistakes(GOES_ON):
        main()
