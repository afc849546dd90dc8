"""Measure pre-training: clips against recipes that people use, and a step of the network against a plain one.

    python benchmarks/pretrain.py                  # about 2 minutes on two cores that do nothing else
    python benchmarks/pretrain.py --compile        # some minutes more

Every figure is processor time of one thread, which other work on the machine disturbs least; recipes take
turns, and each figure is the mean of the clips or the median of the steps. Only the share of waiting is a
matter of the clock.

**Clips** of 16 frames, synthesized from rendered 640x360 files (30 frames a second, a keyframe every 250) and
from the prepared store of them (`bsp-hf prepare --short-side 128`). All recipes show the same frames, cropped
to 112 pixels. With `pip install decord opencv-python-headless`:

- decord and OpenCV, as mmaction2's loaders do it: a reader opened for every source of a clip, `get_batch`,
  `cv2.resize`;
- OpenCV alone: the capture set to the first frame, then `grab`, and `retrieve` where a frame is wanted.

Always: PyAV as decord works, with one pass over the packets for the index, a seek to the keyframe before the
first frame, every picture from there decoded, those wanted converted and resized by torch. Ours has read the
packets of each file once, before the clock starts.

**Step**: ResNet-18, 8 frames of 112 pixels, forward, backward and SGD; from uint8, so that the normalisation
is part of it. The plain recipe is eager, float32 and NCHW, with the shift of the published code, and its
loader hands over floats. `--compile` adds `torch.compile`, which takes a C++ compiler; compiling is not in
the figures.

**Waiting**: the share of the time of a training on clips of 16 frames that its loop waits for them, from the
store, with the loader in the same process and, where there are two cores, in a worker.
"""

import argparse
import os
import statistics
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import bsp_hf_threads  # noqa: F401  # before torch

# isort: split
import av
import numpy as np
import torch
import torch.nn.functional as F
from extraction_peers import SNIPPET, PublishedTSM
from prepared_store import make_clips, render_originals
from torch import nn
from torch.utils.data import DataLoader, RandomSampler

from bsp_hf import BSPConfig, BSPForBoundaryClassification
from bsp_hf.encoder.backbones import to_channels_last
from bsp_hf.encoder.configuration_bsp import RESNET_VARIANTS
from bsp_hf.features.engine.fast_encoder import has_fast_bfloat16
from bsp_hf.malloc import keep_freed_memory
from bsp_hf.pretraining.preparation.job import prepare_videos
from bsp_hf.pretraining.preparation.settings import PreparationSettings
from bsp_hf.pretraining.sources import scan_video_folder
from bsp_hf.pretraining.synthesis import render_clip

SHORT_SIDE, CROP, SIZE = 128, 112, (640, 360)


def processor_ms(run, *arguments):
    started = time.process_time()
    run(*arguments)
    return (time.process_time() - started) * 1e3


def print_table(title, spent, first, average=statistics.median):
    """Print the averages of `{name: [ms]}`, beside how many times as fast they are as `first`."""
    print(f"\n| {title} | ms | a second of one core | times as fast |\n| --- | --- | --- | --- |")
    for name, values in spent.items():
        ms, base = average(values), average(spent[first])
        print(f"| {name} | {ms:.1f} | {1e3 / ms:.1f} | {base / ms:.2f} |", flush=True)


# Clips


def crop_centre(images):
    top, left = (images.shape[1] - CROP) // 2, (images.shape[2] - CROP) // 2
    return images[:, top : top + CROP, left : left + CROP]


def small_size(height, width):
    return round(height * SHORT_SIDE / min(height, width)), round(width * SHORT_SIDE / min(height, width))


def shrink_cv2(images):
    import cv2

    height, width = small_size(*images[0].shape[:2])
    return crop_centre(np.stack([cv2.resize(image, (width, height)) for image in images]))


def read_decord(path, frames):
    import decord

    return shrink_cv2(decord.VideoReader(str(path), num_threads=1).get_batch(frames.tolist()).asnumpy())


def read_opencv(path, frames):
    import cv2

    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_N_THREADS, 1)
    capture.set(cv2.CAP_PROP_POS_FRAMES, int(frames[0]))
    images = {}
    for number in range(int(frames[0]), int(frames[-1]) + 1):
        capture.grab()
        if number in frames:
            images[number] = capture.retrieve()[1][..., ::-1]
    capture.release()
    return shrink_cv2([images[number] for number in frames.tolist()])


def read_pyav(path, frames):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        times = sorted(packet.pts for packet in packets)
        container.seek(times[frames[0]], stream=stream)
        wanted, images = {times[frame] for frame in frames}, {}
        for picture in container.decode(stream):
            if picture.pts in wanted:
                images[picture.pts] = picture.to_ndarray(format="rgb24", threads=1)
                if len(images) == len(wanted):
                    break
    pixels = torch.from_numpy(np.stack([images[times[frame]] for frame in frames])).permute(0, 3, 1, 2)
    pixels = F.interpolate(pixels, size=small_size(*pixels.shape[2:]), mode="bilinear", antialias=True)
    return crop_centre(pixels.permute(0, 2, 3, 1).numpy())


def read_clip(read, plan, paths):
    return render_clip(plan, list(map(read, paths, plan.frames)))


def measure_clips(originals, prepared, args):
    recipes = {"decord and OpenCV": read_decord, "OpenCV": read_opencv, "PyAV, like decord": read_pyav}
    if not (find_spec("decord") and find_spec("cv2")):
        recipes = {"PyAV, like decord": read_pyav}
    ours = {"originals": originals, "prepared store": prepared}
    spent = {name: [] for name in (*recipes, *ours)}
    rng = np.random.default_rng(0)
    for number, index in enumerate(rng.integers(len(originals), size=args.clips + 2)):
        plan = originals.plan(int(index)).plan
        paths = [originals.catalog.sources[source].path for source in plan.sources]
        for name, read in recipes.items():
            spent[name].append(processor_ms(read_clip, read, plan, paths))
        for name, clips in ours.items():
            spent[name].append(processor_ms(clips.read, int(index)))
        if number < 2:  # first calls load libraries and read the packets of files
            spent = {name: [] for name in spent}
    # Clips far behind a keyframe take several times as long as others.
    print_table("a clip of 16 frames by", spent, next(iter(recipes)), statistics.mean)


# The network


class PlainTSM(nn.Module):
    """The network as published code trains it."""

    def __init__(self, model):
        super().__init__()
        self.encoder = PublishedTSM(model.bsp)
        self.classifier = nn.Linear(model.config.hidden_size, 4)

    def forward(self, pixels):
        features = self.encoder.frame_features(pixels.flatten(0, 1)).unflatten(0, (len(pixels), SNIPPET))
        return self.classifier(features.mean(1))


def build_model():
    torch.manual_seed(0)
    config = BSPConfig(backbone_config=RESNET_VARIANTS["resnet18"], num_labels=4)
    return BSPForBoundaryClassification(config).train()


def make_step(model, forward, dtype, extractor):
    """Return a training step from uint8 `(batch, num_frames, 3, height, width)` or floats."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def step(pixels, labels):
        pixels = extractor.normalize_pixels(pixels) if pixels.dtype == torch.uint8 else pixels
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = F.cross_entropy(forward(pixels), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure_steps(extractor, args):
    pixels = torch.randint(256, (args.batch, SNIPPET, CROP, CROP, 3), dtype=torch.uint8)
    pixels, labels = pixels.permute(0, 1, 4, 2, 3), torch.arange(args.batch) % 4
    plain_pixels = extractor.normalize_pixels(pixels).contiguous()
    plain = PlainTSM(build_model())
    steps = {"eager, float32, NCHW": (make_step(plain, plain, "float32", extractor), plain_pixels)}
    dtypes = ("float32", "bfloat16") if has_fast_bfloat16(torch.device("cpu")) else ("float32",)
    for dtype in dtypes:
        model = to_channels_last(build_model())
        steps[f"bsp_hf, {dtype}"] = (
            make_step(model, lambda x, model=model: model(x).logits, dtype, extractor),
            pixels,
        )
    if args.compile:
        model = to_channels_last(build_model())
        run = torch.compile(model)
        step = make_step(model, lambda x: run(x).logits, dtype, extractor)
        steps[f"bsp_hf, {dtype}, compiled"] = (step, pixels)
    for name, (step, inputs) in steps.items():
        started = time.perf_counter()
        for _ in range(2):
            step(inputs, labels)
        print(f"{name}: {time.perf_counter() - started:.1f} s for the first two steps", flush=True)
    spent = {name: [] for name in steps}
    for _ in range(args.steps):
        for name, (step, inputs) in steps.items():
            spent[name].append(processor_ms(step, inputs, labels) / args.batch)
    print_table("a step, for each clip of 8 frames", spent, next(iter(steps)))


def measure_waiting(clips, extractor, args):
    dtype = "bfloat16" if has_fast_bfloat16(torch.device("cpu")) else "float32"
    print(f"\n| training from the store ({dtype}) | clips a second | share of waiting |\n| --- | --- | --- |")
    for num_workers in (0, 1):
        if num_workers and (os.cpu_count() or 1) < 2:
            continue
        model = to_channels_last(build_model())
        step = make_step(model, lambda x, model=model: model(x).logits, dtype, extractor)
        sampler = RandomSampler(clips, replacement=True, num_samples=(args.steps + 1) * args.batch)
        loader = iter(DataLoader(clips, args.batch, sampler=sampler, num_workers=num_workers))
        batch, started, waited = next(loader), time.perf_counter(), 0.0
        for _ in range(args.steps):
            step(batch["pixels"], batch["labels"])
            asked = time.perf_counter()
            batch = next(loader)
            waited += time.perf_counter() - asked
        whole = time.perf_counter() - started
        where = f"{num_workers} worker" if num_workers else "the same process"
        print(f"| {where} | {args.steps * args.batch / whole:.1f} | {waited / whole:.3f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=24, help="measured by every recipe")
    parser.add_argument("--steps", type=int, default=7, help="measured of every network")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as scratch:
        originals, prepared = Path(scratch, "originals"), Path(scratch, "store")
        render_originals(originals, 4, SIZE)
        settings = PreparationSettings(form="mp4", short_side=SHORT_SIDE, num_workers=0)
        prepare_videos(scan_video_folder(originals), prepared, settings, root=originals)
        store = make_clips(prepared, CROP, False, short_side=SHORT_SIDE)
        measure_clips(make_clips(originals, CROP, False, short_side=SHORT_SIDE), store, args)
        measure_steps(store.extractor, args)
        measure_waiting(make_clips(prepared, CROP, True, short_side=SHORT_SIDE), store.extractor, args)


if __name__ == "__main__":
    main()
