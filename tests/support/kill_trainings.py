"""Kill trainings at random moments, start them again, and compare with a run that nothing interrupted.

    python tests/support/kill_trainings.py                        # everything: some hours
    python tests/support/kill_trainings.py --kills 2 --scripts pretrain --workers 0 --processes 1

Each of the three training scripts runs with and without loader workers, with one and two accumulated
batches, in one process and in two. A run is killed (SIGKILL, all its processes at once) `--kills` times: at a
random moment between its start and its end, while a checkpoint is written, while the result is saved, in
turns; after every third kill the newest checkpoint is cut or has a bit flipped, which the next start has to
notice and to name. Then it runs to its end. Its losses, scores and weights must be those of the uninterrupted
run to the bit. Prints a Markdown table; the exit status is 1 if anything differs.
"""

import argparse
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from bsp_hf.pretraining.rendering.clips import render_action_clips  # noqa: E402
from support.made_videos import make_videos  # noqa: E402

SCRIPTS = ("pretrain", "pretrain_fused", "train_localizer")
WAYS = ("at a random moment", "while a checkpoint is written", "while the result is saved")
LOCALIZER = {
    "num_steps": 32,
    "max_duration": 16,
    "hidden_dim": 32,
    "aligned_dim": 16,
    "map_dim": 16,
    "num_groups": 4,
}
SLOWEST_S = 1200


def command(script, data, output, workers, accumulation, processes):
    """Return a training of some seconds behind its start."""
    words = [sys.executable]
    if processes > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        words += ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
        words += ["--num_machines", "1", "--main_process_port", port]
        words += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    words += [ROOT / "examples" / f"{script}.py", "--output_dir", output, "--cpu"]
    words += ["--num_workers", workers, "--gradient_accumulation_steps", accumulation]
    if script == "train_localizer":
        words += [
            "--localizer",
            "gtad",
            "--config",
            json.dumps(LOCALIZER),
            "--features",
            data / "made/features",
        ]
        words += ["--annotations", data / "made/annotations.json", "--train_subset", "train"]
        words += ["--eval_subset", "test", "--class_scores", data / "made/class_scores.json"]
        words += ["--batch_size", 2, "--epochs", 8, "--save_every", 1]
        return [str(word) for word in words]
    words += ["--video_dir", data / "clips", "--backbone", "resnet18", "--width_multiplier", 0.125]
    words += ["--short_side", 32, "--crop_size", 32, "--batch_size", 4, "--epochs", 100, "--max_steps", 24]
    words += ["--save_every", 3, "--eval_every", 8, "--mixed_precision", "no"]
    words += ["--fusion", "two-head"] if script == "pretrain_fused" else []
    return [str(word) for word in words]


def start(words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        words,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def list_written(output, way):
    """Return what is being written at moments of this kind; earlier deaths have left some behind."""
    place = output / "checkpoints" if way == WAYS[1] else output.parent
    return {path for path in list_names(place) if path.suffix == ".tmp"}


def list_names(folder):
    return list(folder.iterdir()) if folder.is_dir() else []


def kill_once(words, output, way, whole_s, rng):
    """Start a run and kill it; return the way it died, or `None` if it came to its end before."""
    process = start(words)
    # The start takes most of a short run: imports, listing of the videos.
    until = time.monotonic() + whole_s * rng.uniform(0.2, 1.0)
    left = list_written(output, way)
    while process.poll() is None:
        if (time.monotonic() > until) if way == WAYS[0] else list_written(output, way) - left:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return way
        time.sleep(0.0002)
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(said[-3000:])
    return None


def damage(output, rng):
    """Damage a file of the newest checkpoint and return its name; `None` if there is none to spare."""
    found = sorted(path for path in list_names(output / "checkpoints") if path.name.startswith("step-"))
    if len(found) < 2:
        return None
    file = rng.choice(sorted(path for path in found[-1].rglob("*") if path.is_file() and path.stat().st_size))
    content = bytearray(file.read_bytes())
    if rng.random() < 0.5:
        content = content[: rng.randrange(len(content))]
    else:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return found[-1].name


def result(script, output):
    """What must be equal to the bit: everything logged but speeds, and the weights."""
    if script == "train_localizer":
        history = json.loads((output / "history.json").read_text())
    else:
        history = json.loads((output / "training_record.json").read_text())["history"]
    kept = [{name: value for name, value in entry.items() if name != "clips_per_s"} for entry in history]
    return kept, (output / "model.safetensors").read_bytes()


def run_case(case, data, work, num_kills, rng):
    """Return a row of the table, and whether all was equal."""
    script, workers, accumulation, processes = case
    name = "-".join(map(str, case))
    whole, cut = work / f"{name}-whole" / "run", work / f"{name}-cut" / "run"
    for folder in (whole, cut):
        folder.parent.mkdir(parents=True)
    started = time.monotonic()
    process = start(command(script, data, whole, *case[1:]))
    said, _ = process.communicate(timeout=SLOWEST_S)
    if process.returncode:
        raise RuntimeError(said[-3000:])
    whole_s = time.monotonic() - started
    deaths, damaged, noticed = [], 0, 0
    for number in range(num_kills):
        way = kill_once(command(script, data, cut, *case[1:]), cut, WAYS[number % len(WAYS)], whole_s, rng)
        if way is None:
            break  # it is finished: nothing is left to kill
        deaths.append(way)
        broken = damage(cut, rng) if number % 3 == 2 else None
        if broken is None:
            continue
        damaged += 1
        # A start that ends at once shows what it resumes from.
        process = start(command(script, data, cut, *case[1:]))
        said = ""
        for line in process.stdout:
            said += line
            if "resumed from" in line:
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        noticed += f"{broken} is damaged and passed over" in said and broken not in said.splitlines()[-1]
    process = start(command(script, data, cut, *case[1:]))
    said, _ = process.communicate(timeout=SLOWEST_S)
    if process.returncode:
        raise RuntimeError(said[-3000:])
    history, weights = (a == b for a, b in zip(result(script, whole), result(script, cut), strict=True))
    kinds = ", ".join(f"{deaths.count(way)} {way}" for way in WAYS if way in deaths)
    cells = [script, workers, accumulation, processes, f"{len(deaths)} ({kinds})", f"{noticed} of {damaged}"]
    cells += ["equal" if history else "DIFFER", "equal" if weights else "DIFFER"]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    return len(deaths), history and weights and noticed == damaged


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--scripts", nargs="+", default=SCRIPTS, choices=SCRIPTS)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--accumulation", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        render_action_clips(
            work / "clips", num_clips_per_class=2, num_held_out_per_class=2, width=48, height=36
        )
        make_videos(work / "made")
        print("| script | workers | accumulated | processes | kills | damage noticed | losses | weights |")
        print("| --- |" + " --- |" * 7, flush=True)
        cases = itertools.product(args.scripts, args.workers, args.accumulation, args.processes)
        outcomes = [run_case(case, work, work, args.kills, rng) for case in cases]
    print(f"\n{sum(kills for kills, _ in outcomes)} kills in {len(outcomes)} rows, seed {args.seed}.")
    raise SystemExit(not all(is_equal for _, is_equal in outcomes))


if __name__ == "__main__":
    main()
