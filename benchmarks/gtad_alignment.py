"""Time and memory of G-TAD's fused alignment against aligning first and convolving the map afterwards.

    python benchmarks/gtad_alignment.py                          # ActivityNet setting, batch of 2
    python benchmarks/gtad_alignment.py --batch_size 16 --peer_chunk 4 --repeats 0 --variants fused map

Runs forward and backward of the whole network in a fresh process per variant, and prints processor seconds
per step (a first step apart, which also builds tables), peak memory and the ratios to the first variant.
Processor seconds depend little on what else the machine does; on an idle one with one thread they are the
wall clock's. Scores and gradients of all variants are then compared for one sample in float64, where they
must agree to 1e-9: in float32 a last digit can change which steps are the nearest, or a ReLU, and with it a
gradient by a thousandth and more. Variants:

fused      project, then interpolate (what the library does)
map        align every anchor, build the (batch, channels * bins, duration, start) map, then convolve it, as
           the published code does
rows       align every anchor into rows, then one matrix product: the best that aligning first can do here

`map` and `rows` interpolate with the same sparse operator as the library, which is far from the slow part.
At the ActivityNet setting their map takes 369 MB per sample, and several times that with gradients: a batch
of 16 needs some 20 GB. With `--peer_chunk` they run the batch in chunks and add the gradients up, which costs
them no time and leaves their memory that of one chunk, a lower bound. `--repeats 0` reports the first step
alone. Linux and macOS only.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bsp_hf.localization.gtad.alignment import SparseOperator, sampling_entries
from bsp_hf.localization.gtad.configuration_gtad import GTADConfig
from bsp_hf.localization.gtad.modeling_gtad import GTADForTemporalActionLocalization

VARIANTS = ("fused", "map", "rows")


def cell_operator(
    num_bins: int, sampling_ratio: int, config: GTADConfig, dtype: torch.dtype
) -> SparseOperator:
    """Alignment of every cell of the map, start outermost; anchors that end too late read (0, 0)."""
    starts, durations = np.indices((config.num_steps, config.max_duration)).reshape(2, -1)
    margin = config.expansion_ratio * (durations + 1)
    valid = starts + durations < config.num_steps
    low, high = np.where(valid, starts - margin, 0.0), np.where(valid, starts + durations + margin, 0.0)
    entries = sampling_entries(low, high, num_bins, sampling_ratio, config.num_steps)
    return SparseOperator.from_entries(*entries, (len(starts) * num_bins, config.num_steps), dtype, "cpu")


class ApplyOperator(torch.autograd.Function):
    """The product of an operator and a table, with the gradient of the table."""

    @staticmethod
    def forward(ctx, table, operator):
        ctx.operator = operator
        return operator.apply(table)

    @staticmethod
    def backward(ctx, grad):
        return ctx.operator.apply_transposed(grad), None


class AlignFirst(GTADForTemporalActionLocalization):
    """The same network with the map of aligned features built in full."""

    as_map = True

    def __init__(self, config: GTADConfig):
        super().__init__(config)
        self.build_operators(torch.float32)

    def build_operators(self, dtype: torch.dtype) -> None:
        config = self.config
        self.operators = [
            cell_operator(config.num_inner_bins, config.inner_sampling_ratio, config, dtype),
            cell_operator(config.num_context_bins, config.context_sampling_ratio, config, dtype),
        ]

    def double(self) -> "AlignFirst":
        self.build_operators(torch.float64)
        return super().double()

    def _score_anchors(self, graph: Tensor, neighbors: tuple[Tensor, ...]) -> Tensor:
        config, batch = self.config, len(graph)
        sources = (graph, self._context(graph, neighbors))
        bins = (config.num_inner_bins, config.num_context_bins)
        shape = (config.num_steps, config.max_duration)
        if self.as_map:
            # (batch, cells, channels, bins), joined along the bins, as the published code lays it out
            parts = [
                torch.stack(
                    [
                        ApplyOperator.apply(sample.t(), operator).view(-1, n, config.hidden_dim).mT
                        for sample in source
                    ]
                )
                for operator, source, n in zip(self.operators, sources, bins, strict=True)
            ]
            maps = torch.cat(parts, dim=3).view(batch, *shape, -1).permute(0, 3, 2, 1)
            return torch.sigmoid(self.localization(maps))
        parts = [
            torch.stack(
                [
                    ApplyOperator.apply(sample.t(), operator).view(-1, n * config.hidden_dim)
                    for sample in source
                ]
            )
            for operator, source, n in zip(self.operators, sources, bins, strict=True)
        ]
        convs = [layer for layer in self.localization if isinstance(layer, nn.Conv2d)]
        weight = convs[0].weight.view(config.aligned_dim, config.hidden_dim, sum(bins)).mT
        halves = [half.reshape(config.aligned_dim, -1) for half in weight.split(bins, dim=1)]
        rows = F.linear(parts[0], halves[0], convs[0].bias).add_(F.linear(parts[1], halves[1])).relu_()
        maps = rows.view(batch, *shape, -1).permute(0, 3, 2, 1)
        return torch.sigmoid(self.localization[2:](maps))


def measure(args: argparse.Namespace) -> None:
    """Run one variant in this process; leave times and results in `args.result_dir`."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = getattr(GTADConfig, args.preset)(feature_dim=args.feature_dim)
    model = (GTADForTemporalActionLocalization if args.variant == "fused" else AlignFirst)(config)
    model.as_map = args.variant == "map"
    features = torch.randn(args.batch_size, config.num_steps, config.feature_dim).requires_grad_()
    upstream = torch.randn(args.batch_size, 2, config.max_duration, config.num_steps)
    chunk = args.batch_size if args.variant == "fused" else args.peer_chunk or args.batch_size

    def run_both_ways(rows: Tensor, weights: Tensor) -> Tensor:
        output = model(rows)
        ((output.iou_map * weights).sum() + output.start.sum() + output.end.sum()).backward()
        return output.iou_map.detach()

    def step() -> None:
        model.zero_grad()
        features.grad = None
        for rows, weights in zip(features.split(chunk), upstream.split(chunk), strict=True):
            run_both_ways(rows, weights)

    before = peak_mb()
    seconds = []
    for _ in range(args.repeats + 1):
        begin = time.process_time()
        step()
        seconds.append(time.process_time() - begin)
    report = {"seconds": min(seconds[1:] or seconds), "first_seconds": seconds[0], "mb": peak_mb() - before}
    (args.result_dir / f"{args.variant}.json").write_text(json.dumps(report))

    model.double().zero_grad()
    one = features[:1].detach().double().requires_grad_()
    arrays = {
        "iou_map": run_both_ways(one, upstream[:1]),
        "features_grad": one.grad,
        "weight_grad": model.localization[0].weight.grad[:32],
    }
    np.savez(args.result_dir / f"{args.variant}.npz", **{k: v.numpy() for k, v in arrays.items()})


def peak_mb() -> float:
    """Peak resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=("activitynet", "thumos14"), default="activitynet")
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--feature_dim", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer_chunk", type=int, default=0, help="samples at a time of the peers; 0 for all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--result_dir", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        measure(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        for variant in args.variants:
            command = [sys.executable, __file__, "--variant", variant, "--result_dir", folder]
            for name in ("preset", "batch_size", "peer_chunk", "feature_dim", "repeats", "threads"):
                command += [f"--{name}", str(getattr(args, name))]
            subprocess.run(command, check=True)
        compare(Path(folder), args)


def compare(folder: Path, args: argparse.Namespace) -> None:
    chunks = f" (peers in chunks of {args.peer_chunk})" if args.peer_chunk else ""
    print(
        f"{args.preset}, batch {args.batch_size}{chunks}, {args.threads} thread(s), torch {torch.__version__}"
    )
    print("variant   s/step    first  peak MB  time x memory x  largest relative difference in float64")
    base = json.loads((folder / f"{args.variants[0]}.json").read_text())
    expected = np.load(folder / f"{args.variants[0]}.npz")
    for variant in args.variants:
        report = json.loads((folder / f"{variant}.json").read_text())
        arrays = np.load(folder / f"{variant}.npz")
        worst = {
            name: float(np.abs(arrays[name] - expected[name]).max() / np.abs(expected[name]).max())
            for name in expected.files
        }
        ratios = report["seconds"] / base["seconds"], report["mb"] / base["mb"]
        print(
            f"{variant:8} {report['seconds']:8.3f} {report['first_seconds']:8.3f} {report['mb']:8.0f} "
            f"{ratios[0]:7.1f} {ratios[1]:8.1f}  " + ", ".join(f"{k} {v:.1e}" for k, v in worst.items())
        )
        if max(worst.values()) > 1e-9:
            raise RuntimeError(f"{variant} and {args.variants[0]} disagree: {worst}.")


if __name__ == "__main__":
    main()
