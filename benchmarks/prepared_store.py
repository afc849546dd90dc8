"""Measure what `bsp-hf prepare` gains, and whether its stores give away a label.

    python benchmarks/prepared_store.py                       # about 8 minutes on one core
    python benchmarks/prepared_store.py --video_dir kinetics_720p/ --only speed
    python benchmarks/prepared_store.py --video_dir clips/ --metadata clips/splits.csv --only leaks

**Speed**: synthesized clips of 16 frames a second of processor time, of one thread in one process, from the
originals and from each form of the store. The forms take turns, clip by clip, on the same draws; each figure
is the median of the rounds. Without --video_dir, the originals are rendered: 1280x720, 30 frames a second,
10 s, a keyframe every 250 frames, with grain. Their indices are known before the clock starts (a run over
more videos than a process remembers would read all packets of each); those of a store need no reading.

**Leaks**: accuracy of a small network, trained on clips of the training sources and tested on held-out ones,
that sees only

- the bytes of the clip's first source: all of them, and a frame;
- the bytes of one packet (JPEG picture) of the clip, that of its first or of its last frame;
- one frame, the first or the last: colours, contrast, sharpness, the steps at the borders of 8x8 blocks;

for each of which the label should stay at chance; and, of single frames, whether one was a keyframe (chance
0.5).
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch
from extraction_peers import write_video

from bsp_hf import BSPFeatureExtractor
from bsp_hf.pretraining.augmentation import SpatialAugmentation
from bsp_hf.pretraining.clips import PretextClips
from bsp_hf.pretraining.controls.shortcuts import fit_and_predict
from bsp_hf.pretraining.frame_store import FrameStore
from bsp_hf.pretraining.preparation.job import prepare_videos
from bsp_hf.pretraining.preparation.settings import KEYFRAME_EVERY, PreparationSettings
from bsp_hf.pretraining.prepared_store import open_shard
from bsp_hf.pretraining.pretexts import BoundaryClassification
from bsp_hf.pretraining.rendering.clips import render_action_clips
from bsp_hf.pretraining.rendering.motions import MOTION_NAMES, Stretch
from bsp_hf.pretraining.rendering.scenes import render_shot
from bsp_hf.pretraining.sources import count_frames, scan_video_folder, split_sources
from bsp_hf.pretraining.synthesis_config import SynthesisConfig

SIZE, FPS, SECONDS = (1280, 720), 30, 10
CROP = {256: 224, 128: 112}
SYNTHESIS = SynthesisConfig(half_length=8)


def render_originals(folder, num_videos, size=SIZE):
    """Write large videos of two classes with few keyframes, as the net has them."""
    rng = np.random.default_rng(0)
    width, height = size
    grain = [(2.5 * rng.standard_normal((height, width, 1))).astype(np.int16) for _ in range(8)]
    for number in range(num_videos):
        motion = MOTION_NAMES[number % 2]
        path = folder / motion / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        stretch = Stretch(motion, SECONDS * FPS)
        images = render_shot([stretch], [1, number], width=width, height=height, fps=FPS)
        noisy = (np.clip(image + grain[k % 8], 0, 255).astype(np.uint8) for k, image in enumerate(images))
        write_video(path, noisy, FPS)


def make_stores(folder, metadata, work, short_side, num_workers):
    stores = {}
    for form in KEYFRAME_EVERY:
        settings = PreparationSettings(form=form, short_side=short_side, num_workers=num_workers)
        started = time.perf_counter()
        output = work / f"{form}-{short_side}"
        prepare_videos(scan_video_folder(folder, metadata), output, settings, root=folder)
        print(f"prepared {form} {short_side} in {time.perf_counter() - started:.0f} s", flush=True)
        stores[form] = output
    return stores


def make_clips(folder, crop, is_augmented, metadata=None, short_side=256):
    sources, _ = count_frames(scan_video_folder(folder, metadata))
    sources.sort(key=lambda source: source.group)
    extractor = BSPFeatureExtractor(
        size={"shortest_edge": short_side}, crop_size={"height": crop, "width": crop}
    )
    augmentation = SpatialAugmentation(crop) if is_augmented else None
    clips = PretextClips(sources, BoundaryClassification(SYNTHESIS), extractor, augmentation)
    for source in sources:
        if source.origin is None:
            clips.store.index(source)
    return clips


def measure_speed(folder, metadata, work, args):
    print(f"\n| {args.rounds} rounds of {args.clips} clips | size, MB | clips a second of one core | ratio |")
    print("| --- | --- | --- | --- |")
    for short_side, is_augmented in itertools.product(args.short_sides, (False, True)):
        crop = CROP[short_side]
        stores = args.stores[short_side]
        places = {"originals": folder, **stores}
        clips = {
            name: make_clips(place, crop, is_augmented, metadata if name == "originals" else None, short_side)
            for name, place in places.items()
        }
        for part in clips.values():
            part.read(0)
        rates = {name: [] for name in clips}
        for round_ in range(args.rounds):
            rng = np.random.default_rng(round_)
            spent = dict.fromkeys(clips, 0.0)
            for index in rng.integers(len(clips["originals"]), size=args.clips):
                for name, part in clips.items():
                    started = time.process_time()
                    part.read(int(index), round_)
                    spent[name] += time.process_time() - started
            for name in clips:
                rates[name].append(args.clips / spent[name])
        first = statistics.median(rates["originals"])
        view = "random crops" if is_augmented else "centre"
        for name, place in places.items():
            rate = statistics.median(rates[name])
            files = (path for path in place.rglob("*") if path.suffix in (".mp4", ".arrow"))
            size = sum(path.stat().st_size for path in files) / 1e6
            title = name if name == "originals" else f"{name}, short side {short_side}"
            print(f"| {title} -> {crop}, {view} | {size:.1f} | {rate:.1f} | {rate / first:.1f} |", flush=True)


def packet_sizes(source):
    """Bytes of each frame of a source in a store."""
    if hasattr(source.origin, "shard"):
        cells = open_shard(source.origin.shard).get_batch(source.origin.row).column("frames")
        return np.array([len(cell) for cell in cells.flatten().field("bytes").to_pylist()])
    with av.open(str(source.origin.path)) as container:
        return np.array([packet.size for packet in container.demux(video=0) if packet.size])


def describe_frame(frame):
    pixels = frame.astype(np.float32)
    gray = pixels.mean(-1)
    steps = [np.abs(np.diff(gray, axis=axis)) for axis in (0, 1)]
    borders = [
        steps[0][7::8].mean() / (steps[0].mean() + 1e-6),
        steps[1][:, 7::8].mean() / (steps[1].mean() + 1e-6),
    ]
    fine = np.abs(np.diff(gray, 2, axis=1)).mean()
    facts = [*pixels.mean((0, 1)), *pixels.std((0, 1)), steps[0].mean(), steps[1].mean(), fine, *borders]
    return np.array(facts)


def describe_clips(clips, epochs):
    """Descriptions of every probe, and the labels."""
    sizes = {}
    rows = {name: [] for name in ("source", "first packet", "last packet", "first frame", "last frame")}
    labels = []
    for epoch in range(epochs):
        for index in range(len(clips)):
            clip = clips.read(index, epoch)
            plan = clip.draw.plan
            for number in plan.sources:
                if number not in sizes:
                    sizes[number] = packet_sizes(clips.catalog.sources[number])
            own = sizes[plan.sources[0]]
            rows["source"].append(np.log1p([own.sum(), own.mean(), len(own)]))
            rows["first packet"].append(np.log1p([own[plan.frames[0][0]]]))
            rows["last packet"].append(np.log1p([sizes[plan.sources[-1]][plan.frames[-1][-1]]]))
            rows["first frame"].append(describe_frame(clip.frames[0]))
            rows["last frame"].append(describe_frame(clip.frames[-1]))
            labels.append(clip.target)
    return {name: np.stack(values) for name, values in rows.items()}, np.array(labels)


def describe_keyframes(sources, every):
    """Descriptions of as many keyframes as others, far from them, and which are which."""
    store = FrameStore()
    rows, labels = [], []
    for source in sources:
        keyframes = np.arange(0, source.num_frames - every // 2, every)
        for is_key, frames in ((1, keyframes), (0, keyframes + every // 2)):
            rows += [describe_frame(frame) for frame in store.read(source, frames)]
            labels += [is_key] * len(frames)
    return np.stack(rows), np.array(labels)


def measure_leaks(stores, args):
    print("\n| accuracy on held-out sources | " + " | ".join(stores) + " | chance |")
    print("| --- |" + " --- |" * (len(stores) + 1))
    found, counts = {}, set()
    for form, store in stores.items():
        train, test = split_sources(scan_video_folder(store))
        extractor = BSPFeatureExtractor(size={"shortest_edge": 96}, crop_size={"height": 96, "width": 96})
        pretext = BoundaryClassification(SYNTHESIS)
        parts = [PretextClips(part, pretext, extractor, seed=seed) for seed, part in enumerate((train, test))]
        (inputs, labels), (held_out, truth) = (describe_clips(part, args.draws) for part in parts)
        for name in inputs:
            predicted = fit_and_predict(inputs[name], labels, held_out[name])
            found.setdefault(name, []).append((predicted == truth).mean())
        counts.add(len(truth))
        every = KEYFRAME_EVERY[form]
        if every > 1:
            (inputs, labels), (held_out, truth) = (describe_keyframes(part, every) for part in (train, test))
            share = (fit_and_predict(inputs, labels, held_out) == truth).mean()
            found[f"{form}: keyframe or not, by one of {len(truth)} frames"] = [share]
    for name, shares in found.items():
        is_key = len(shares) < len(stores)
        cells = [f"{share:.3f}" for share in shares] + [""] * (len(stores) - len(shares))
        print(f"| {name} | " + " | ".join(cells) + f" | {0.5 if is_key else 0.25} |")
    count = min(counts)
    print(
        f"\n{count} held-out clips: two standard errors of chance are {2 * np.sqrt(0.25 * 0.75 / count):.3f}."
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video_dir", type=Path)
    parser.add_argument("--metadata", type=Path)
    parser.add_argument("--only", choices=("speed", "leaks"))
    parser.add_argument("--videos", type=int, default=4, help="that are rendered for the speed")
    parser.add_argument("--short_sides", type=int, nargs="+", default=[256, 128], choices=list(CROP))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=16, help="of one round")
    parser.add_argument("--draws", type=int, default=3, help="epochs of clips for the leaks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        if args.only != "leaks":
            folder = args.video_dir
            if folder is None:
                folder = work / "originals"
                render_originals(folder, args.videos)
            args.stores = {
                side: make_stores(folder, args.metadata, work, side, 0) for side in args.short_sides
            }
            measure_speed(folder, args.metadata, work, args)
        if args.only != "speed":
            folder = args.video_dir or render_action_clips(min_duration_s=3.0)
            measure_leaks(make_stores(folder, args.metadata, work / "leaks", 96, 0), args)


if __name__ == "__main__":
    main()
