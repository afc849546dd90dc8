"""Measure the encoder alone in the forms it can run in, against the peak of a convolution on this processor.

    python benchmarks/encoder.py                          # about 3 minutes
    python benchmarks/encoder.py --models resnet18 efficientnet-lite0 --repeats 2

One thread, 8 x 224 x 224 snippets, random weights, CPU time, the best of the repeats, the forms in turn.
Winograd's method needs fewer multiplications than are counted here, so its share of the peak may pass 1.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPModel
from bsp_hf.encoder.video_snippets import encode_clips
from bsp_hf.features.engine import fast_encoder as inference_model
from bsp_hf.features.engine.fast_encoder import has_fast_bfloat16, prepare_encoder

CPU = torch.device("cpu")
LARGEST_SHIFT_SHARE = 0.07


def clips(batch: int, channels_last: bool) -> torch.Tensor:
    pixels = torch.randn(batch, 8, 224, 224, 3).permute(0, 1, 4, 2, 3)
    return pixels if channels_last else pixels.contiguous()


@contextmanager
def allowing(packs: bool, saves_products: bool) -> Iterator[None]:
    """Let `prepare_encoder` use packed and Winograd convolutions, or not."""
    kept = inference_model._packs, inference_model._saves_products
    inference_model._packs = lambda dtype, device: packs
    inference_model._saves_products = lambda dtype, device: saves_products
    try:
        yield
    finally:
        inference_model._packs, inference_model._saves_products = kept


def prepared(model: BSPModel, dtype: torch.dtype, packs: bool, saves_products: bool) -> BSPModel:
    with allowing(packs, saves_products):
        return prepare_encoder(model, BSPFeatureExtractor(), dtype, CPU)


def without_shift(encoder: BSPModel) -> Callable[[torch.Tensor], None]:
    def run(pixels: torch.Tensor) -> None:
        place, encoder.config.shift_place = encoder.config.shift_place, "none"
        try:
            encode_clips(encoder, pixels)
        finally:
            encoder.config.shift_place = place

    return run


def measure(forms: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """CPU seconds of each form."""
    best = dict.fromkeys(forms, float("inf"))
    with torch.inference_mode():
        for _ in range(repeats + 1):  # the first warms up
            for name, run in forms.items():
                began = time.process_time()
                run()
                best[name] = min(best[name], time.process_time() - began)
    return best


def peak_flops(dtype: torch.dtype) -> float:
    """Operations per second of the 3x3 convolution that oneDNN likes best, computed directly."""
    convolution = nn.Conv2d(256, 256, 3, padding=1).to(dtype).to(memory_format=torch.channels_last)
    pixels = torch.randn(16, 256, 28, 28).to(dtype).contiguous(memory_format=torch.channels_last)
    flops = 2 * 16 * 256 * 256 * 9 * 28 * 28
    return 3 * flops / measure({"": lambda: [convolution(pixels) for _ in range(3)]}, 3)[""]


def run_model(name: str, repeats: int) -> None:
    torch.manual_seed(0)
    model = BSPModel(BSPConfig.from_backbone_name(name)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encode_clips(model, clips(1, False))
    flops = counter.get_total_flops()
    nchw, last, two = clips(1, False), clips(1, True), clips(2, True)
    eager_last = BSPModel(model.config).eval().to(memory_format=torch.channels_last)
    folded = prepared(model, torch.float32, False, False)
    packed = prepared(model, torch.float32, True, False)
    winograd = prepared(model, torch.float32, True, True)
    forms: dict[str, tuple[Callable[[], object], int, torch.dtype]] = {
        "float32 eager, NCHW": (lambda: encode_clips(model, nchw), 1, torch.float32),
        "float32 eager, channels last": (lambda: encode_clips(eager_last, last), 1, torch.float32),
        "float32 folded": (lambda: encode_clips(folded, last), 1, torch.float32),
        "float32 packed": (lambda: encode_clips(packed, last), 1, torch.float32),
        "float32 packed, Winograd": (lambda: encode_clips(winograd, last), 1, torch.float32),
        "float32 packed, Winograd, batch 2": (lambda: encode_clips(winograd, two), 2, torch.float32),
    }
    shift_of, batch_form = winograd, "float32 packed, Winograd"
    if has_fast_bfloat16(CPU):
        half, half_packed = (prepared(model, torch.bfloat16, packs, False) for packs in (False, True))
        forms["bfloat16 folded"] = (lambda: encode_clips(half, last), 1, torch.bfloat16)
        forms["bfloat16 packed"] = (lambda: encode_clips(half_packed, last), 1, torch.bfloat16)
        forms["bfloat16 packed, batch 2"] = (lambda: encode_clips(half_packed, two), 2, torch.bfloat16)
        shift_of, batch_form = half_packed, "bfloat16 packed"
    unshifted = without_shift(shift_of)
    jobs = {label: run for label, (run, _, _) in forms.items()}
    seconds = measure({**jobs, "no shift": lambda: unshifted(last)}, repeats)
    peaks = {dtype: peak_flops(dtype) for dtype in {dtype for _, _, dtype in forms.values()}}
    first = next(iter(forms))
    print(f"\n{name}, {flops / 1e9:.1f} GFLOP a snippet")
    for dtype, peak in peaks.items():
        print(f"peak of a {str(dtype).removeprefix('torch.')} convolution {peak / 1e9:.1f} GFLOP/s")
    print("\n| form | CPU s/snippet | of peak | x first |\n| --- | --- | --- | --- |")
    for label, (_, batch, dtype) in forms.items():
        each = seconds[label] / batch
        print(f"| {label} | {each:.4f} | {flops / each / peaks[dtype]:.2f} | {seconds[first] / each:.2f} |")
    share = seconds[batch_form] / seconds["no shift"] - 1
    print(f"\nshift: {share:+.1%} of {batch_form} without it (at most {LARGEST_SHIFT_SHARE:.0%} is the aim)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["resnet50", "resnet18"])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not has_fast_bfloat16(CPU):
        print("no bf16 in hardware: not run")
    for name in args.models:
        run_model(name, args.repeats)


if __name__ == "__main__":
    main()
