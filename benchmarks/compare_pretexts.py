r"""Train the same small encoder on every pretext and fusion of the paper for one epoch, and compare them.

    python benchmarks/compare_pretexts.py --video_dir clips/ --metadata clips/splits.csv \
        --output_dir runs/pretexts

Each pretext (Tables 5 and 7) is one run of `examples/pretrain.py --preset small --epochs 1`, and each fusion
(Table 4) one of `examples/pretrain_fused.py`, with the encoders of `action` and `boundary` as streams or
teachers: a ResNet-18 of half the width on clips of 64 pixels. One epoch shows every source once in every case
of a task, so tasks of more cases run longer. Prints a Markdown table and writes `pretexts.md` and
`loss_curves.png` to the output folder. Started again it goes on where it was stopped. One to four minutes a
row on one CPU core.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from transformers import AutoConfig, AutoModel

import bsp_hf  # noqa: F401  registers the models
from bsp_hf.pretraining.choices import TASKS
from bsp_hf.visualization.style import LINE_COLORS, LINE_STYLES, new_figure

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FUSIONS = ("two-stream", "two-head", "distillation")


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video_dir", type=Path, required=True, help="CLASS/clip.mp4 files")
    parser.add_argument("--metadata", type=Path, help="CSV: file, class, and optionally split and group")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["random", *TASKS], help="default: all of them")
    parser.add_argument("--fusions", nargs="*", default=list(FUSIONS), choices=FUSIONS, help="likewise")
    parser.epilog = "Other options go to examples/pretrain.py and examples/pretrain_fused.py."
    return parser.parse_known_args()


def own_options(name: str, output_dir: Path) -> list[str]:
    """Return the options in which a run differs from the others."""
    if name == "random":
        return ["--max_steps", "0"]
    if name not in FUSIONS:
        return ["--task", name]
    teachers = ["--action_teacher", str(output_dir / "action")]
    teachers += ["--boundary_teacher", str(output_dir / "boundary")]
    return ["--fusion", name, *(teachers if name != "two-head" else [])]


def all_options(name: str, args: argparse.Namespace, passed_on: list[str]) -> list[str]:
    """Return the options of one run; the preset's repetitions are for the four cases of one task."""
    words = ["--preset", "small", "--epochs", "1", "--eval_every", "100000", "--max_steps", "100000"]
    # So short a training needs many small steps.
    words += ["--batch_size", "8", "--learning_rate", "1e-3", "--case_repeats"]
    num_cases = {"boundary": 4, "regression": 3, "action": 1, "random": 4} | dict.fromkeys(FUSIONS, 4)
    words += ["1"] * num_cases.get(name, 1 if name.startswith("regression-") else 2)
    words += ["--video_dir", str(args.video_dir), "--frame_cache", str(args.output_dir / "frames")]
    words += ["--metadata", str(args.metadata)] if args.metadata else []
    words += [*own_options(name, args.output_dir), "--output_dir", str(args.output_dir / name)]
    return words + passed_on


def run(name: str, args: argparse.Namespace, passed_on: list[str]) -> dict:
    """Train one task or fusion, or find it trained; return its record."""
    folder = args.output_dir / name
    if not (folder / "training_record.json").exists():
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
        launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        launch += ["--num_cpu_threads_per_process", "1"]  # so narrow a network gains nothing from more
        script = EXAMPLES / ("pretrain_fused.py" if name in FUSIONS else "pretrain.py")
        subprocess.run([*launch, str(script), *all_options(name, args, passed_on)], check=True)
    return json.loads((folder / "training_record.json").read_text())


def held_out(folder: Path, final: dict) -> str:
    """Say what the last evaluation found."""
    if not final:
        return "-"
    found = []
    if "eval_accuracy" in final:
        chance = 1 / AutoConfig.from_pretrained(folder).num_labels
        found.append(f"accuracy {final['eval_accuracy']:.3f} (chance {chance:.3f})")
    if "eval_action_accuracy" in final:
        found.append(f"accuracy of actions {final['eval_action_accuracy']:.3f}")
    if "eval_boundary_feature_loss" in final:
        found += [f"squared error of {kind} features {final[f'eval_{kind}_feature_loss']:.2f}" for kind in
                  ("action", "boundary")]  # fmt: skip
    return ", ".join(found) or f"smooth L1 {final['eval_loss']:.4f}"


def describe(name: str, folder: Path, record: dict) -> list[str]:
    """Return the cells of one row of the table."""
    history = record.get("history", [])  # two streams are not trained
    losses = [entry["loss"] for entry in history if "loss" in entry]
    is_evaluated = [entry for entry in history if any(key.startswith("eval_") for key in entry)]
    encoder = AutoModel.from_pretrained(folder)
    options = [Path(word).name for word in own_options(name, folder.parent)]
    return [
        f"`{' '.join(options)}`",
        f"{sum(parameter.numel() for parameter in encoder.parameters()) / 1e6:.2f} M",
        str(record.get("clips_seen", 0)),
        f"{losses[0]:.3f} to {losses[-1]:.3f}" if losses else "-",
        held_out(folder, is_evaluated[-1] if is_evaluated else {}),
    ]


def draw_curves(records: dict[str, dict], path: Path) -> None:
    """Draw the training losses: classification, regression and fusions, whose losses are not alike."""
    figure = new_figure(13.0, 3.8)
    titles = ("Cross-entropy", "Smooth L1 of the heatmap", "Joint losses of the fusions")
    panels = figure.subplots(1, len(titles))
    numbers = [0] * len(titles)
    for name, record in records.items():
        points = [(entry["step"], entry["loss"]) for entry in record.get("history", []) if "loss" in entry]
        if not points:
            continue
        panel = 2 if name in FUSIONS else int(name.startswith("regression"))
        steps, losses = zip(*points, strict=True)
        number = numbers[panel]
        numbers[panel] += 1
        style = LINE_STYLES[(number // len(LINE_COLORS)) % len(LINE_STYLES)]
        color = LINE_COLORS[number % len(LINE_COLORS)]
        panels[panel].plot(steps, losses, style, color=color, label=name, linewidth=1.5)
    panels[2].set_yscale("log")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(title=title, xlabel="Step", ylabel="Training loss")
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    args, passed_on = parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    records = {name: run(name, args, passed_on) for name in [*args.tasks, *args.fusions]}
    head = ["options", "encoder", "clips seen", "training loss, first to last", "held out"]
    rows = [head, ["---"] * len(head)]
    rows += [describe(name, args.output_dir / name, record) for name, record in records.items()]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    print(table)
    (args.output_dir / "pretexts.md").write_text(table + "\n", encoding="utf-8")
    draw_curves(records, args.output_dir / "loss_curves.png")


if __name__ == "__main__":
    main()
