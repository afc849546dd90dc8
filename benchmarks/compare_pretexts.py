r"""Train the same small encoder on every pretext of Tables 5 and 7 for one epoch, and lay them side by side.

    python benchmarks/compare_pretexts.py --video_dir clips/ --metadata clips/splits.csv \
        --output_dir runs/pretexts

Each pretext is one run of `examples/pretrain.py --preset demo --epochs 1`: a ResNet-18 of half the width on
clips of 64 pixels. One epoch shows every source once in every case of a task, so tasks of more cases run
longer. Prints a Markdown table and writes `pretexts.md` and `loss_curves.png` to the output folder. Started
again it goes on where it was stopped. About two minutes a task on one CPU core.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from transformers import AutoConfig, AutoModel

import bsp_hf  # noqa: F401  registers the models
from bsp_hf.pretraining.pretexts import TASKS
from bsp_hf.visualization.style import LINE_COLORS, LINE_STYLES, new_figure

PRETRAIN = Path(__file__).resolve().parent.parent / "examples" / "pretrain.py"


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video_dir", type=Path, required=True, help="CLASS/clip.mp4 files")
    parser.add_argument("--metadata", type=Path, help="CSV: file, class, and optionally split and group")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["random", *TASKS], help="default: all of them")
    parser.epilog = "Other options go to examples/pretrain.py."
    return parser.parse_known_args()


def pretrain_arguments(task: str, args: argparse.Namespace, passed_on: list[str]) -> list[str]:
    """Return the options of one run; the preset's repetitions are for the four cases of one task."""
    words = ["--preset", "demo", "--epochs", "1", "--eval_every", "100000"]
    # So short a training needs many small steps.
    words += ["--batch_size", "8", "--learning_rate", "1e-3", "--case_repeats"]
    num_cases = {"boundary": 4, "regression": 3, "action": 1, "random": 4}
    words += ["1"] * num_cases.get(task, 1 if task.startswith("regression-") else 2)
    words += ["--max_steps", "0"] if task == "random" else ["--task", task, "--max_steps", "100000"]
    words += ["--video_dir", str(args.video_dir), "--frame_cache", str(args.output_dir / "frames")]
    words += ["--metadata", str(args.metadata)] if args.metadata else []
    return [*words, "--output_dir", str(args.output_dir / task), *passed_on]


def run(task: str, args: argparse.Namespace, passed_on: list[str]) -> dict:
    """Train on one task, or find it trained; return its record."""
    folder = args.output_dir / task
    if not (folder / "training_record.json").exists():
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
        launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        launch += ["--num_cpu_threads_per_process", "1"]  # so narrow a network gains nothing from more
        subprocess.run([*launch, str(PRETRAIN), *pretrain_arguments(task, args, passed_on)], check=True)
    return json.loads((folder / "training_record.json").read_text())


def describe(task: str, folder: Path, record: dict) -> list[str]:
    """Return the cells of one row of the table."""
    history = record["history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    final = next((entry for entry in reversed(history) if "eval_loss" in entry), {})
    num_labels = AutoConfig.from_pretrained(folder).num_labels
    encoder = AutoModel.from_pretrained(folder)
    metric = "-"
    if "eval_accuracy" in final:
        metric = f"accuracy {final['eval_accuracy']:.3f} (chance {1 / num_labels:.3f})"
    elif final:
        metric = f"smooth L1 {final['eval_loss']:.4f}"
    return [
        f"`{task}`",
        f"{sum(parameter.numel() for parameter in encoder.parameters()) / 1e6:.2f} M",
        str(record["clips_seen"]),
        f"{losses[0]:.3f} to {losses[-1]:.3f}" if losses else "-",
        metric,
    ]


def draw_curves(records: dict[str, dict], path: Path) -> None:
    """Draw the training losses: classification on the left, regression on the right."""
    figure = new_figure(9.5, 3.8)
    panels = figure.subplots(1, 2)
    numbers = [0, 0]
    for task, record in records.items():
        points = [(entry["step"], entry["loss"]) for entry in record["history"] if "loss" in entry]
        if not points:
            continue
        panel = int(task.startswith("regression"))
        steps, losses = zip(*points, strict=True)
        number = numbers[panel]
        numbers[panel] += 1
        style = LINE_STYLES[(number // len(LINE_COLORS)) % len(LINE_STYLES)]
        panels[panel].plot(
            steps, losses, style, color=LINE_COLORS[number % len(LINE_COLORS)], label=task, linewidth=1.5
        )
    for axes, title in zip(panels, ("Cross-entropy", "Smooth L1 of the heatmap"), strict=True):
        axes.set(title=title, xlabel="Step", ylabel="Training loss")
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    args, passed_on = parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    records = {task: run(task, args, passed_on) for task in args.tasks}
    head = ["task", "encoder", "clips seen", "training loss, first to last", "held out"]
    rows = [head, ["---"] * len(head)]
    rows += [describe(task, args.output_dir / task, record) for task, record in records.items()]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    print(table)
    (args.output_dir / "pretexts.md").write_text(table + "\n", encoding="utf-8")
    draw_curves(records, args.output_dir / "loss_curves.png")


if __name__ == "__main__":
    main()
