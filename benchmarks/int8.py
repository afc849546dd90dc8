"""How fast int8 convolutions of oneDNN are beside bfloat16 and float32, on the shapes of an encoder.

    python benchmarks/int8.py                             # ResNet-50 and -18 of 8 x 224 x 224, about a minute
    python benchmarks/int8.py --models resnet18 --rounds 2

One thread; seconds of processor, the least of the rounds, the number types in turn. All convolutions of a
snippet, each with its ReLU in the same pass and weights laid out once, pixels 8-bit unsigned with one scale,
weights with one for each channel. Not counted, and needed besides: the first pixels to 8 bit, sums of
shortcuts with their own scales, and the temporal shift. So the ratio is no more than a bound.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable

import torch
from torch import nn

from bsp_hf import BSPConfig, BSPModel
from bsp_hf.features.engine.fast_convolutions import PackedConv2d
from bsp_hf.features.engine.fast_encoder import has_fast_bfloat16

NUM_FRAMES, EDGE = 8, 224


def list_shapes(name: str) -> Counter[tuple[nn.Conv2d, tuple[int, ...]]]:
    """Return the convolutions of an encoder with the shapes of their inputs, and how often each comes."""
    model, found = BSPModel(BSPConfig.from_backbone_name(name)).eval(), {}
    counts: Counter[str] = Counter()

    def note(module: nn.Conv2d, given: tuple[torch.Tensor, ...]) -> None:
        key = f"{module} {tuple(given[0].shape)}"
        found[key] = (module, tuple(given[0].shape))
        counts[key] += 1

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(note)
    with torch.inference_mode():
        model(torch.zeros(1, NUM_FRAMES, 3, EDGE, EDGE))
    return Counter({found[key]: count for key, count in counts.items()})


def packed(module: nn.Conv2d, shape: tuple[int, ...], dtype: torch.dtype) -> Callable[[], object]:
    """Return a convolution as the engine computes it."""
    plain = nn.Conv2d(
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        module.stride,
        module.padding,
        groups=module.groups,
    )
    run = PackedConv2d(plain.to(dtype), rectifies=True)
    pixels = torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)
    return lambda: run(pixels)


def quantized(module: nn.Conv2d, shape: tuple[int, ...]) -> Callable[[], object]:
    """Return the same in int8, with a result in 8 bit."""
    size = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
    weight = torch.randint(-127, 128, size, dtype=torch.int8)
    scales, zeros = torch.full((size[0],), 0.01), torch.zeros(size[0], dtype=torch.int64)
    places = [list(module.stride), list(module.padding), list(module.dilation), module.groups]
    prepared = torch.ops.onednn.qconv_prepack(weight, scales, 0.02, 0, *places, list(shape))
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    bias = torch.zeros(size[0])
    return lambda: torch.ops.onednn.qconv2d_pointwise(
        pixels, 0.02, 0, prepared, scales, zeros, bias, *places, 0.05, 0, torch.uint8, "relu", [], ""
    )


def least_s(run: Callable[[], object], rounds: int) -> float:
    """Return seconds of processor of a call."""
    run()
    found = []
    for _ in range(rounds):
        began_s = time.process_time()
        for _ in range(3):
            run()
        found.append((time.process_time() - began_s) / 3)
    return min(found)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["resnet50", "resnet18"])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    dtypes = [torch.float32, *([torch.bfloat16] if has_fast_bfloat16(torch.device("cpu")) else [])]
    for name in args.models:
        totals: Counter[str] = Counter()
        for (module, shape), count in list_shapes(name).items():
            ways = {str(dtype).removeprefix("torch."): packed(module, shape, dtype) for dtype in dtypes}
            for way, run in {**ways, "int8": quantized(module, shape)}.items():
                totals[way] += count * least_s(run, args.rounds)
        print(f"\n{name}, convolutions of {NUM_FRAMES} frames of {EDGE} pixels\n")
        print("| | ms | int8 is faster by |\n| --- | --- | --- |")
        for way, spent_s in totals.items():
            print(f"| {way} | {1e3 * spent_s:.1f} | {spent_s / totals['int8']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
