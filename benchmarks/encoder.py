"""Measure the encoder alone in the forms it can run in, against the peak of a convolution on this processor.

    python benchmarks/encoder.py                          # about 3 minutes
    python benchmarks/encoder.py --models resnet18 efficientnet-lite0 --repeats 2
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/encoder.py --layers 12  # no AVX-512

`--layers` prints only the convolutions that lose the most time to the peak, in float32 as the engine runs it.

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
from bsp_hf.features.engine.fast_convolutions import PackedConv2d, WinogradConv2d
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


def run_layers(name: str, repeats: int, num_layers: int) -> None:
    """Print the kinds of convolutions that would gain most at the peak."""
    torch.manual_seed(0)
    encoder = prepare_encoder(
        BSPModel(BSPConfig.from_backbone_name(name)).eval(), BSPFeatureExtractor(), torch.float32, CPU
    )
    spent: dict[str, list[float]] = {}
    flops: dict[str, int] = {}
    began_s = 0.0

    def begin(*_: object) -> None:
        nonlocal began_s
        began_s = time.process_time()

    def end(module: nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        took_s, winograd = time.process_time() - began_s, isinstance(module, WinogradConv2d)
        taps = 9 * module.kernel.shape[1] if winograd else module.weight[0].numel()
        size = "Winograd" if winograd else "x".join(map(str, module.weight.shape[2:]))
        label = f"{size}, {given[0].shape[1]} to {made.shape[1]}, {made.shape[2]} x {made.shape[3]}"
        spent.setdefault(label, []).append(took_s)
        flops[label] = 2 * made.numel() * taps

    for module in encoder.modules():
        if isinstance(module, WinogradConv2d | PackedConv2d | nn.Conv2d):
            module.register_forward_pre_hook(begin)
            module.register_forward_hook(end)
    with torch.inference_mode():
        pixels = clips(2, True)
        encode_clips(encoder, pixels)
        spent.clear()
        whole_s = time.process_time()
        for _ in range(repeats):
            encode_clips(encoder, pixels)
        whole_s = (time.process_time() - whole_s) / repeats
    peak = peak_flops(torch.float32)
    each = {label: sum(values) / repeats for label, values in spent.items()}
    needed = {label: flops[label] * len(spent[label]) / repeats / peak for label in spent}
    in_convolutions_s = sum(each.values())
    print(
        f"\n{name}, two snippets {1e3 * whole_s:.0f} ms, of it {1e3 * in_convolutions_s:.0f} in convolutions,"
    )
    print(f"which would take {1e3 * sum(needed.values()):.0f} at the peak of {peak / 1e9:.0f} GFLOP/s\n")
    print("| convolution | how many | ms | of peak | ms lost |\n| --- | --- | --- | --- | --- |")
    for label in sorted(spent, key=lambda label: needed[label] - each[label])[:num_layers]:
        lost, count = each[label] - needed[label], len(spent[label]) // repeats
        share = needed[label] / each[label]
        print(f"| {label} | {count} | {1e3 * each[label]:.1f} | {share:.2f} | {1e3 * lost:.1f} |")


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
    parser.add_argument("--layers", type=int, help="print so many kinds of convolutions instead")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not has_fast_bfloat16(CPU) and not args.layers:
        print("no bf16 in hardware: not run")
    for name in args.models:
        if args.layers:
            run_layers(name, args.repeats, args.layers)
        else:
            run_model(name, args.repeats)


if __name__ == "__main__":
    main()
