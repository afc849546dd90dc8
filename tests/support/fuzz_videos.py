"""Child process of the fuzz test: damage rendered videos, read every mutant, print what came of each.

Run as `python fuzz_videos.py FOLDER FIRST LAST`: reads the base videos in FOLDER and makes mutants FIRST to
LAST - 1; mutant k is the same in every run. A crash or a hang shows as a line "begin k" without its "end
k".
"""

import io
import random
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from bsp_hf.encoder.video import VideoReader, index_frames, read_frames
from bsp_hf.encoder.video_source import PartialVideoWarning, VideoDecodeError

NUM_FRAMES = 30  # of the base videos


def mutate(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damage a file in one of the ways in which files are damaged, or a few."""
    kinds = rng.sample(
        ["cut", "noise", "flip", "header", "hole", "double", "zero", "swap"], rng.choice([1, 1, 1, 2, 3])
    )
    damaged = bytearray(data)
    for kind in kinds:
        size = len(damaged)
        at, length = rng.randrange(size), rng.choice([1, 4, 16, 64, 256, 1024])
        if kind == "cut":
            del damaged[at:]
        elif kind == "noise":
            damaged[at : at + length] = rng.randbytes(len(damaged[at : at + length]))
        elif kind == "flip":
            for _ in range(rng.choice([1, 3, 10, 30])):
                damaged[rng.randrange(size)] ^= 1 << rng.randrange(8)
        elif kind == "header":
            for _ in range(rng.choice([1, 2, 4])):
                region = (0, 1200) if rng.random() < 0.5 else (max(0, size - 1500), size)
                damaged[min(rng.randrange(*region), size - 1)] = rng.choice(
                    [0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)]
                )
        elif kind == "hole":
            del damaged[at : at + length]
        elif kind == "double":
            damaged[at:at] = damaged[at : at + length]
        elif kind == "zero":
            damaged[at : at + length] = bytes(len(damaged[at : at + length]))
        elif kind == "swap":
            other = rng.randrange(size)
            a, b = bytes(damaged[at : at + length]), bytes(damaged[other : other + length])
            damaged[at : at + len(b)], damaged[other : other + len(a)] = b, a
        if not damaged:
            break
    return "+".join(kinds), bytes(damaged)


def declared_frames(data: bytes) -> int:
    """The count in the container by plain PyAV; the base files have no edit lists."""
    try:
        with av.open(io.BytesIO(data)) as container:
            return container.streams.video[0].frames
    except (av.FFmpegError, IndexError, ValueError):
        return 0


def read_mutant(data: bytes, path: Path, is_cut: bool) -> str:
    """Read a mutant in every way; return what came of it, beginning with a word."""
    path.write_bytes(data)
    times_s, shapes, images = [], set(), []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with VideoReader(path, timeout_s=20) as video:
                for frame in video:
                    times_s.append(frame.time_s)
                    shapes.add(frame.image.shape)
                    images.append(frame.image)
                report = video.report
        except VideoDecodeError as error:
            if str(path) not in str(error):
                return f"WRONG error does not name the file: {error}"
            return f"error {error.reason}"
    has_warned = any(issubclass(w.category, PartialVideoWarning) for w in caught)
    if has_warned == bool(report.complete):
        return f"WRONG complete={report.complete}, but warned={has_warned}"
    if len(shapes) != 1 or not images or report.num_frames != len(images):
        return f"WRONG {len(images)} frames of shapes {shapes}, {report.num_frames} reported"
    if times_s[0] != 0 or any(after < before for before, after in pairwise(times_s)):
        return f"WRONG times {times_s}"
    if report.complete and len(images) < declared_frames(data):
        return f"WRONG {len(images)} frames pass for {declared_frames(data)}"
    if is_cut and report.complete is True and len(images) < NUM_FRAMES:
        return f"WRONG {len(images)} frames of a file that was cut pass for all {NUM_FRAMES}"
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        try:
            index = index_frames(path, timeout_s=20)
            wanted = sorted({0, index.num_frames // 3, index.num_frames // 2, index.num_frames - 1})
            picked = read_frames(path, wanted, index, timeout_s=20)
        except VideoDecodeError:
            if report.complete:
                return "WRONG complete, but not by its index"
            return f"partial {report.reason}"
    if report.complete and not report.num_repaired_times:
        if index.num_frames != len(images) or not np.array_equal(index.times_s, times_s):
            return (
                f"WRONG index of {index.num_frames} frames for {len(images)}, seekable: {index.is_seekable}"
            )
        # MJPEG and QuickTime RLE fill in for damaged parts, unsaid, what they had decoded before.
        is_told = path.suffix not in (".divx", ".mov")
        if is_told and not all(
            np.array_equal(image, images[i]) for i, image in zip(wanted, picked, strict=True)
        ):
            return "WRONG random access gives other pixels"
    return f"partial {report.reason}" if has_warned else f"complete {report.complete}"


def main() -> None:
    folder, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    bases = sorted(folder.glob("base.*"))
    for k in range(first, last):
        rng = random.Random(k)
        base = rng.choice(bases)
        kind, data = mutate(base.read_bytes(), rng)
        print(f"begin {k} {base.name} {kind}", flush=True)
        outcome = read_mutant(data, folder / f"mutant{base.suffix}", kind == "cut") if data else "error empty"
        print(f"end {k} {outcome}".replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
