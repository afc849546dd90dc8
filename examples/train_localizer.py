"""Train a localizer on features: G-TAD, 2D-TAN, LGI or linear actionness, with the published settings.

    accelerate launch examples/train_localizer.py --localizer gtad \
        --annotations activity_net.v1-3.min.json --train_subset training --eval_subset validation \
        --features features/vanilla features/bsp --prefix v_ --class_scores cuhk_val_simp_share.json \
        --output_dir runs/gtad

    accelerate launch examples/train_localizer.py --localizer tan --annotations charades_sta_train.txt \
        --durations Charades_v1_train.csv --eval_annotations charades_sta_test.txt \
        --eval_durations Charades_v1_test.csv --features features/bsp --word_vectors glove.6B.300d.txt \
        --output_dir runs/tan

    accelerate launch examples/train_localizer.py --localizer actionness --annotations crosstask/annotations \
        --tasks tasks_primary.txt --eval_fraction 0.25 --features features/bsp --output_dir runs/actionness

Features are this package's tracks (`bsp-hf extract`) or those of other tools (--feature_layout). The model of
the epoch with the best metric is kept in --output_dir, which `pipeline(...)` reads, beside the predictions of
that epoch in the benchmark's official layout. Kill it whenever you like: the same command goes on where it
stopped, exactly.
"""

import bsp_hf_threads  # noqa: F401  # before torch

# isort: split
import json
import logging
import math
import time
from dataclasses import asdict
from functools import partial

import torch
from accelerate.utils import gather_object, set_seed
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from bsp_hf.files import atomic_write_text
from bsp_hf.localization.localizer.encoders import load_encoders
from bsp_hf.localization.localizer.folder import save_localizer_folder
from bsp_hf.localization.training.schedule import LocalizerSchedule
from bsp_hf.localization.training.settings import LocalizerTrainingSettings
from bsp_hf.localization.training_arguments import load_task
from bsp_hf.publishing.cards.files import write_card
from bsp_hf.training.checkpoints import TrainingCheckpoints, TrainingProgress
from bsp_hf.training.command_line import GOES_ON, exit_on_mistakes, parse_settings, settings_to_dict
from bsp_hf.training.environment import (
    describe_command,
    describe_commit,
    describe_hardware,
    describe_versions,
)
from bsp_hf.training.finite import check_finite
from bsp_hf.training.launch import end_training, start_accelerator
from bsp_hf.training.log import shows_progress
from bsp_hf.training.sampler import EpochSampler, continue_epoch

logger = logging.getLogger("train_localizer")

RESULT_FILES = ("results.json", "results.txt", "predictions.jsonl", "actionness.csv")


@torch.no_grad()
def evaluate_model(model, task, loader, accelerator):
    """Return what the evaluation samples were decoded to, and their mean loss; alike on all processes."""
    model.eval()
    decoded, losses = {}, {}
    for batch in tqdm(loader, desc="evaluating", leave=False, disable=not shows_progress(accelerator)):
        indices = batch.pop("indices").tolist()
        output = model(**batch)
        decoded.update(task.decode(output, indices))
        losses.update(task.evaluation_losses(output, batch, indices))
    model.train()
    # Processes that got a padded batch repeat samples; by index they fall together.
    decoded, losses = (dict(gather_object(list(found.items()))) for found in (decoded, losses))
    return decoded, sum(losses[index] for index in sorted(losses)) / len(losses) if losses else None


def save_best(model, task, decoded, progress, results, device):
    """Write the model, its predictions and how it was made into the output folder."""
    settings = task.settings
    record = {
        "preset": task.preset,
        "arguments": settings_to_dict(settings),
        "hyper_parameters": asdict(task.hyperparameters),
        "step": progress.steps_done,
        "metric": task.metric,
        "results": results,
        "evaluated": task.coverage,
        "num_samples": {"training": len(task.train_samples), "evaluation": len(task.eval_samples)},
        "missing_videos": {
            "training": list(task.split.missing_train),
            "evaluation": list(task.split.missing_evaluation),
        },
        "bad_rows": [
            str(row) for row in dict.fromkeys(task.split.train.problems + task.split.evaluation.problems)
        ],
        "command": describe_command(),
        "commit": describe_commit(),
        "versions": describe_versions(),
        "hardware": describe_hardware(device),
        "time": progress.measure_time(),
        "energy_kwh": None,
    }
    save_localizer_folder(
        model, settings.output_dir, encoder=settings.encoder, record=record, **task.companions
    )
    write_card(settings.output_dir)
    files = task.write_results(decoded, settings.output_dir)
    for name in set(RESULT_FILES) - {path.name for path in files}:  # of another localizer in the same folder
        (settings.output_dir / name).unlink(missing_ok=True)
    return files


def main() -> None:
    settings = parse_settings(LocalizerTrainingSettings, description=__doc__)
    accelerator = start_accelerator(settings, "train_localizer")
    task = load_task(settings)
    hyper = task.hyperparameters
    model = task.make_model()
    if settings.encoder:
        load_encoders(model, settings.encoder, "cpu")  # checked before the training, and not after it

    total_batch = hyper.batch_size * accelerator.num_processes * settings.gradient_accumulation_steps
    sampler = EpochSampler(len(task.train_samples), settings.seed, multiple_of=total_batch)
    steps_per_epoch = len(sampler) // total_batch
    if not steps_per_epoch:
        raise ValueError(
            f"{len(task.train_samples)} training samples do not fill a step of {total_batch}; lower "
            "--batch_size."
        )
    options = {"num_workers": settings.num_workers, "collate_fn": task.collate}
    # Starting to iterate draws a number; from torch's own generator, a resumed run would draw one too many.
    train_loader = DataLoader(
        task.train_samples, hyper.batch_size, sampler=sampler, generator=torch.Generator(), **options
    )
    eval_loader = DataLoader(task.eval_samples, hyper.batch_size, generator=torch.Generator(), **options)
    optimizer = torch.optim.Adam(model.parameters(), hyper.learning_rate, weight_decay=hyper.weight_decay)
    model, optimizer, train_loader, eval_loader = accelerator.prepare(
        model, optimizer, train_loader, eval_loader
    )
    if accelerator.process_index:  # what each draws, such as dropout, shall not be the same
        set_seed(settings.seed, device_specific=True)
    # Stepped by hand: Accelerate would step it once for every process.
    schedule = LocalizerSchedule(optimizer.optimizer, hyper, steps_per_epoch)
    progress = TrainingProgress()
    lasting = task.describe_run() | {"mixed_precision": accelerator.mixed_precision}
    folder = settings.output_dir / "checkpoints"
    checkpoints = TrainingCheckpoints(accelerator, folder, progress, schedule, lasting)
    if settings.restart:
        checkpoints.clear()
    total_steps = hyper.epochs * steps_per_epoch
    checkpoints.resume(total_steps)

    logger.info(
        "%s (%s) on %s: %.2f M parameters, %d training and %d evaluation samples, evaluated on %s",
        *(settings.localizer, task.preset, accelerator.device),
        sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        *(len(task.train_samples), len(task.eval_samples), task.coverage),
    )
    logger.info("%d steps: %s, %s", total_steps, hyper, accelerator.mixed_precision)
    bar = tqdm(
        total=total_steps,
        initial=progress.steps_done,
        desc="training",
        disable=not shows_progress(accelerator),
    )
    running, started = [], time.perf_counter()
    model.train()
    while progress.steps_done < total_steps:
        task.train_samples.set_epoch(progress.epoch)
        for batch in continue_epoch(train_loader, sampler, progress):
            indices = batch.pop("indices")
            with accelerator.accumulate(model):
                loss = model(**batch).loss
                check_finite(loss, "loss", progress.steps_done + 1, partial(task.name_samples, indices))
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(model.parameters(), hyper.max_grad_norm or math.inf)
                    if accelerator.scaler is None:  # which expects some gradients to overflow
                        check_finite(norm, "gradient norm", progress.steps_done + 1)
                optimizer.step()
                optimizer.zero_grad()
            progress.batches_done += 1
            running.append(loss.detach())
            if not accelerator.sync_gradients:
                continue
            schedule.after_step()
            progress.steps_done += 1
            bar.update()
            step = progress.steps_done
            epochs_done = step // steps_per_epoch
            ends_epoch = step % steps_per_epoch == 0
            is_saved = step % settings.save_every == 0 or step == total_steps
            if ends_epoch or is_saved:  # a checkpoint ends a mean, so that a resumed run logs the same ones
                loss = accelerator.gather(torch.stack(running)).mean().item()
                progress.history.append({"step": step, "loss": loss, "learning_rate": schedule.learning_rate})
                bar.set_postfix(loss=f"{loss:.3f}")
                running = []
            if ends_epoch and (epochs_done % settings.eval_every == 0 or step == total_steps):
                decoded, eval_loss = evaluate_model(model, task, eval_loader, accelerator)
                schedule.after_evaluation(eval_loss)
                results = task.score(decoded)
                for name, value in results.items():
                    check_finite(value, name, step)
                best = max((old[task.metric] for old in progress.history if task.metric in old), default=-1)
                entry = {"step": step, **results}
                progress.history.append(entry if eval_loss is None else {**entry, "eval_loss": eval_loss})
                logger.info(
                    "epoch %d/%d: loss %.4f, %s (%s, %.0f s)",
                    *(epochs_done, hyper.epochs, loss),
                    ", ".join(f"{name} {value:.4f}" for name, value in results.items()),
                    *(task.coverage, time.perf_counter() - started),
                )
                if results[task.metric] > best and accelerator.is_main_process:
                    device = accelerator.device.type
                    files = save_best(
                        accelerator.unwrap_model(model), task, decoded, progress, results, device
                    )
                    logger.info("best %s so far; wrote %s", task.metric, ", ".join(map(str, files)))
                accelerator.wait_for_everyone()
            if is_saved:
                checkpoints.save()
        else:
            progress.epoch, progress.batches_done = progress.epoch + 1, 0
    bar.close()
    if accelerator.is_main_process:
        history = json.dumps(progress.history, indent=1)
        atomic_write_text(settings.output_dir / "history.json", history + "\n")
        best = max(entry[task.metric] for entry in progress.history if task.metric in entry)
        logger.info("best %s: %.4f, on %s; %s", task.metric, best, task.coverage, settings.output_dir)
    end_training(accelerator)


if __name__ == "__main__":
    with exit_on_mistakes(GOES_ON):
        main()
