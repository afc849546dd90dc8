"""Pre-train a TSM video encoder on boundaries synthesized out of trimmed clips (Sec. 3 of the paper).

    accelerate launch examples/pretrain.py --video_dir clips/ --output_dir bsp-tsm-r50

`clips/` holds `CLASS/clip.mp4` files. Without --video_dir, small clips are rendered first. `--preset demo`
trains a narrow ResNet-18 on 64-pixel clips, which takes minutes on a laptop's CPU. Kill it whenever you
like: the same command goes on where it stopped, exactly.

The paper's setting (Kinetics-400, some days on 8 GPUs) is

    accelerate launch --multi_gpu --mixed_precision bf16 examples/pretrain.py --video_dir kinetics400/train \
        --backbone resnet50 --init_from microsoft/resnet-50 --epochs 50 --batch_size 16 --num_workers 16
"""

import bsp_hf_threads  # noqa: F401  # before torch

# isort: split
import logging
from functools import partial

import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from bsp_hf import BSPForBoundaryClassification, BSPForBoundaryRegression, save_checkpoint_folder
from bsp_hf.localization.boundaries.response import NO_BOUNDARY, calibrate_threshold
from bsp_hf.metrics import evaluate_boundary_classification
from bsp_hf.pretraining.pretexts import find_pretext
from bsp_hf.pretraining.run.optimization import build_optimizer, build_schedule, default_learning_rate
from bsp_hf.pretraining.run.record import check_unfinished, describe_run, save_training_pictures
from bsp_hf.pretraining.run.settings import PRESETS, PretrainingSettings
from bsp_hf.pretraining.run.setup import (
    build_run_data,
    count_steps,
    label_fields,
    prepare_for_training,
    start_accelerator,
    start_features,
    start_model,
)
from bsp_hf.training.checkpoints import TrainingCheckpoints, TrainingProgress
from bsp_hf.training.command_line import GOES_ON, exit_on_mistakes, parse_settings
from bsp_hf.training.finite import check_finite
from bsp_hf.training.launch import end_training
from bsp_hf.training.log import TrainingLog, shows_progress
from bsp_hf.training.sampler import EpochSampler, continue_epoch

logger = logging.getLogger("pretrain")


def build_model(settings, pretext, num_frames):
    if pretext.head == "regression":
        return start_model(BSPForBoundaryRegression, settings, num_frames=num_frames)
    fields = label_fields(pretext.label_names)
    return start_model(BSPForBoundaryClassification, settings, num_frames=num_frames, **fields)


@torch.no_grad()
def evaluate_model(model, loader, extractor, accelerator, pretext):
    """Return the metrics of the held-out clips."""
    model.eval()
    losses, logits, labels = [], [], []
    loader.set_epoch(0)  # Accelerate counts iterations, which would draw other clips every time.
    for batch in tqdm(loader, desc="evaluating", leave=False, disable=not shows_progress(accelerator)):
        with accelerator.autocast():  # also of an average, which accelerate has not prepared
            output = model(extractor.normalize_pixels(batch["pixels"]), labels=batch["labels"])
        losses.append(accelerator.gather_for_metrics(output.loss.repeat(len(batch["labels"]))))
        if pretext.head == "classification":
            gathered = accelerator.gather_for_metrics((output.logits, batch["labels"]))
            logits.append(gathered[0].float().cpu())
            labels.append(gathered[1].cpu())
    model.train()
    results = {"eval_loss": torch.cat(losses).float().mean().item()}
    if pretext.head == "classification":
        votes, truth = torch.cat(logits), torch.cat(labels)
        if pretext.averages_cases:  # several clips of each video, one after the other
            votes = votes.softmax(-1).unflatten(0, (pretext.num_cases, -1)).mean(0)
            truth = truth[: len(votes)]
        scores = evaluate_boundary_classification(votes.argmax(-1), truth, class_names=pretext.label_names)
        results.update({f"eval_{name}": value for name, value in scores.to_dict().items()})
        if NO_BOUNDARY in pretext.label_names:
            number = pretext.label_names.index(NO_BOUNDARY)
            responses = 1 - votes[truth == number].softmax(-1)[:, number]
            results["eval_boundary_threshold"] = calibrate_threshold(responses.numpy())
    return results


def main() -> None:
    settings = parse_settings(PretrainingSettings, presets=PRESETS, description=__doc__)
    accelerator = start_accelerator(settings, "pretrain", "bsp-pretrain")

    data = build_run_data(settings, find_pretext(settings.task), accelerator)
    train_clips, eval_clips, extractor = data.train_clips, data.eval_clips, data.extractor
    pretext = train_clips.pretext
    model = build_model(settings, pretext, extractor.num_frames)
    start = start_features(settings, model, accelerator.device)
    model, average = prepare_for_training(settings, model, accelerator)

    total_batch = settings.batch_size * accelerator.num_processes * settings.gradient_accumulation_steps
    sampler = EpochSampler(len(train_clips), settings.seed, multiple_of=total_batch)
    options = {
        "num_workers": settings.num_workers,
        "persistent_workers": settings.num_workers > 0,
        "pin_memory": accelerator.device.type == "cuda",
    }
    # Starting to iterate draws a number; from torch's own generator, a resumed run would draw one too many.
    train_loader = DataLoader(
        train_clips, settings.batch_size, sampler=sampler, generator=torch.Generator(), **options
    )
    eval_loader = DataLoader(eval_clips, settings.batch_size, generator=torch.Generator(), **options)

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
    folder = settings.output_dir / "checkpoints"
    checkpoints = TrainingCheckpoints(accelerator, folder, progress, schedule, lasting)
    if settings.restart:
        checkpoints.clear()
    else:
        check_unfinished(settings.output_dir, steps.total)
        checkpoints.resume(steps.total)

    logger.info(
        "%s on %s: %.1f M parameters, %d steps of %d clips, %s",
        settings.task,
        accelerator.device,
        sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        steps.total,
        total_batch,
        accelerator.mixed_precision,
    )
    log = TrainingLog(accelerator, progress, steps.total, "pre-training", settings.max_replaced_share)
    model.train()
    while progress.steps_done < steps.total:
        train_clips.set_epoch(progress.epoch)
        for batch in continue_epoch(train_loader, sampler, progress):
            with accelerator.accumulate(model):
                pixels = extractor.normalize_pixels(batch["pixels"])
                output = model(pixels, labels=batch["labels"])
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
                scores = evaluate_model(
                    average or model, eval_loader, extractor, accelerator, eval_clips.pretext
                )
                log.write_scores(scores)
            if is_saved:
                checkpoints.save()
            if step == steps.total:
                break
        else:
            progress.epoch, progress.batches_done = progress.epoch + 1, 0
    if progress.steps_done and not log.has_scores:  # resumed where the run ends
        log.write_scores(
            evaluate_model(average or model, eval_loader, extractor, accelerator, eval_clips.pretext)
        )
    log.close()

    if accelerator.is_main_process:
        trained = average.module if average else accelerator.unwrap_model(model)
        for entry in progress.history:  # the last evaluation is of the weights that are saved
            if "eval_boundary_threshold" in entry:
                trained.config.boundary_threshold = entry["eval_boundary_threshold"]
        record = describe_run(settings, data, progress, total_batch, accelerator)
        save_checkpoint_folder(trained, extractor, settings.output_dir, record)
        save_training_pictures(settings.output_dir, progress.history, pretext.label_names)
        logger.info("saved: AutoModel.from_pretrained(%r) reads it", str(settings.output_dir))
    end_training(accelerator)


if __name__ == "__main__":
    with exit_on_mistakes(GOES_ON):
        main()
