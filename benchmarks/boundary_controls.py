"""How does a trained encoder tell the boundary types apart: baselines, and controls for give-aways.

    python benchmarks/boundary_controls.py --model runs/seed0 --video_dir clips/ --metadata clips/splits.csv

Prints a Markdown report on held-out sources:

- accuracy and recall of the model, by type and by speed;
- the same for a small network on nothing but the differences between consecutive frames;
- what the model says of class boundaries whose transition is exchanged (diff-class with a hard cut,
  same-class with a cross-fade), and how many answers change with the transition of the same frames. Where its
  answer follows the transition, it reads the transition and not the classes;
- leak probes: the same small network on what must not tell the label (brightness, colour, contrast and
  sharpness of
  the first frame, size, frame rate and length of the source), and on the order of the frames being shuffled;
- how many clips of each type repeat a frame.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from transformers import AutoFeatureExtractor, AutoModelForVideoClassification

import bsp_hf  # noqa: F401  registers the models
from bsp_hf.encoder.configuration_bsp import BoundaryType
from bsp_hf.metrics import evaluate_boundary_classification
from bsp_hf.pretraining.augmentation import SpatialAugmentation
from bsp_hf.pretraining.clips import PretextClips
from bsp_hf.pretraining.controls.exchange import exchange_transition, faded_boundaries
from bsp_hf.pretraining.frame_store import FrameStore
from bsp_hf.pretraining.pretexts import BoundaryClassification
from bsp_hf.pretraining.sources import count_frames, scan_video_folder, split_sources
from bsp_hf.pretraining.synthesis_config import SynthesisConfig

LABELS = [kind.label for kind in BoundaryType]


@torch.inference_mode()
def predict(model, extractor, clips, shuffle_frames=False):
    """Return the predicted and true labels of all clips."""
    predictions, labels = [], []
    generator = torch.Generator().manual_seed(0)
    for batch in DataLoader(clips, 32):
        pixels = batch["pixels"]
        if shuffle_frames:
            pixels = pixels[:, torch.randperm(pixels.shape[1], generator=generator)]
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(extractor.normalize_pixels(pixels)).logits
        predictions.append(logits.argmax(-1))
        labels.append(batch["labels"])
    return torch.cat(predictions).numpy(), torch.cat(labels).numpy()


@torch.inference_mode()
def answer(model, extractor, clips):
    """Return the predicted labels of clips that have been read."""
    predictions = []
    for start in range(0, len(clips), 32):
        frames = np.stack([clip.frames for clip in clips[start : start + 32]])
        with torch.autocast("cpu", torch.bfloat16):
            pixels = extractor.normalize_pixels(torch.from_numpy(frames).permute(0, 1, 4, 2, 3))
            predictions.append(model(pixels).logits.argmax(-1))
    return torch.cat(predictions).numpy()


def frame_differences(pixels):
    """Describe a clip by its consecutive frame differences alone: their mean and largest of 4 x 4 blocks."""
    gray = pixels.float().mean(1)
    difference = (gray[1:] - gray[:-1]).abs()
    blocks = nn.functional.adaptive_avg_pool2d(difference[:, None], 4).flatten(1)
    return torch.log(torch.cat([difference.mean((1, 2)), blocks.amax(1)]) + 0.1)


def still_facts(pixels, source):
    """Describe what must not tell the label: the first frame's statistics and facts of the source."""
    first = pixels[0].float()
    sharpness = (first[:, 1:] - first[:, :-1]).abs().mean()
    facts = [first.mean((1, 2)), first.std((1, 2)), sharpness[None], torch.tensor([float(source.num_frames)])]
    return torch.cat(facts)


def describe(clips, describer, epochs):
    """Return descriptions and labels of all clips over some epochs."""
    descriptions, labels = [], []
    for epoch in range(epochs):
        clips.set_epoch(epoch)
        for index in range(len(clips)):
            item = clips[index]
            source = clips.catalog.sources[index % len(clips.catalog)]
            descriptions.append(describer(item["pixels"], source))
            labels.append(item["labels"])
    return torch.stack(descriptions), torch.tensor(labels)


def probe(train, test, num_epochs=40):
    """Train a small network on descriptions and return its predictions on held-out ones."""
    (inputs, labels), (held_out, _) = train, test
    mean, deviation = inputs.mean(0), inputs.std(0) + 1e-6
    inputs, held_out = (inputs - mean) / deviation, (held_out - mean) / deviation
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(inputs.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)
    )
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.05)
    for _ in range(num_epochs):
        for rows in torch.randperm(len(inputs)).split(128):
            loss = nn.functional.cross_entropy(network(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        return network(held_out).argmax(1).numpy()


def row(name, predictions, labels):
    scores = evaluate_boundary_classification(predictions, labels)
    cells = " | ".join(f"{value:.3f}" for value in scores.class_recall)
    return f"| {name} | {scores.accuracy:.3f} | {cells} |"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, nargs="+", required=True, help="folders written by examples/pretrain.py"
    )
    parser.add_argument("--video_dir", type=Path, required=True)
    parser.add_argument("--metadata", type=Path)
    parser.add_argument("--frame_cache", type=Path)
    parser.add_argument(
        "--draws", type=int, default=2, help="clips of every type that each held-out source gives"
    )
    parser.add_argument(
        "--probe_epochs", type=int, default=3, help="draws of the training sources for the probes"
    )
    args = parser.parse_args()

    settings = json.loads((args.model[0] / "training_record.json").read_text())
    synthesis = SynthesisConfig.from_dict(settings["synthesis"])
    sources, _ = count_frames(scan_video_folder(args.video_dir, args.metadata))
    train_sources, eval_sources = split_sources(sources, settings["arguments"]["eval_fraction"], 0)
    extractor = AutoFeatureExtractor.from_pretrained(args.model[0])
    smallest_scale = min(SpatialAugmentation(1).scales)
    store = FrameStore(args.frame_cache, short_side=math.ceil(extractor.crop_size["height"] / smallest_scale))

    def make(pretext, which, repeats=args.draws):
        cases = [repeats] * pretext.num_cases
        return PretextClips(which, pretext, extractor, store=store, case_repeats=cases, seed=12345)

    boundary = BoundaryClassification(synthesis.for_evaluation())
    clips = make(boundary, eval_sources)
    columns = " | ".join(LABELS)
    print(
        f"{len(clips.catalog)} held-out sources, {len(clips)} clips, {len(train_sources)} training sources\n"
    )
    print(f"| on held-out sources | accuracy | {columns} |\n| --- | --- | --- | --- | --- | --- |")

    models = {
        folder.name: AutoModelForVideoClassification.from_pretrained(folder).eval() for folder in args.model
    }
    for name, model in models.items():
        predictions, labels = predict(model, extractor, clips)
        print(row(name, predictions, labels))
        shuffled, _ = predict(model, extractor, clips, shuffle_frames=True)
        print(row(f"{name}, frames shuffled", shuffled, labels))

    train_clips = make(boundary, train_sources, repeats=1)
    test_clips = make(boundary, eval_sources)
    for name, describer in (
        ("frame differences alone", lambda pixels, source: frame_differences(pixels)),
        ("leak probe: first frame and source", still_facts),
    ):
        train = describe(train_clips, describer, args.probe_epochs)
        test = describe(test_clips, describer, 1)
        print(row(name, probe(train, test), test[1].numpy()))

    speeds = np.array([round(clips.plan(index).plan.speed, 3) for index in range(len(clips))])
    drawn = sorted(set(speeds) - {1.0})
    print("\n| speed after the change | " + " | ".join(f"{speed:g}x" for speed in drawn) + " |")
    print("| --- |" + " --- |" * len(drawn))
    for name, model in models.items():
        predictions, labels = predict(model, extractor, clips)
        hits = [np.mean(predictions[(labels == 2) & (speeds == speed)] == 2) for speed in drawn]
        print(f"| {name}: recall | " + " | ".join(f"{hit:.3f}" for hit in hits) + " |")

    boundaries = make(faded_boundaries(synthesis), eval_sources)
    pairs = [exchange_transition(boundaries, index) for index in range(len(boundaries))]
    pairs = [pair for pair in pairs if pair]
    truth = np.array([faded.target for faded, _ in pairs])
    print(f"\n| exchanged transitions: share classified as | {columns} | answers that change |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, model in models.items():
        faded, hard = (answer(model, extractor, part) for part in zip(*pairs, strict=True))
        for case, title in enumerate(("diff-class, hard cut", "same-class, cross-fade")):
            told, is_case = (hard, faded)[case], truth == case
            shares = [
                *(np.bincount(told[is_case], minlength=4) / is_case.sum()),
                (faded != hard)[is_case].mean(),
            ]
            print(f"| {name}: {title} | " + " | ".join(f"{share:.3f}" for share in shares) + " |")

    print(f"\n| clips that repeat a frame | {columns} |\n| --- | --- | --- | --- | --- |")
    repeats = [[] for _ in LABELS]
    for item in Subset(clips, range(len(clips))):
        pixels = item["pixels"]
        repeats[item["labels"]].append(bool((pixels[1:] == pixels[:-1]).flatten(1).all(1).any()))
    print("| share | " + " | ".join(f"{np.mean(values):.3f}" for values in repeats) + " |")


if __name__ == "__main__":
    main()
