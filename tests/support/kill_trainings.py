"""Kill trainings at random moments, start them again, and compare with a run that nothing interrupted.

    python tests/support/kill_trainings.py --work kills/          # about 20 minutes on one core
    python tests/support/kill_trainings.py --scripts pretrain --workers 0 --processes 1

Each of the three training scripts runs with and without loader workers, with one and two accumulated
batches, in one process and in two. A run is killed (SIGKILL, all its processes at once) three times: at a
random moment between its start and its end, then in turns while a checkpoint is written, in an evaluation,
and while the result is saved. Then its newest checkpoint is cut or has a bit flipped, which the next start
has to notice and to name, and it runs to its end. Its losses, scores and weights must be those of the
uninterrupted run to the bit. Prints a Markdown table; the exit status is 1 if anything differs. With --work,
the same command goes on with the rows that are not done.

Importing takes longer than these small trainings, so runs are forked off a process that has imported all.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import bsp_hf_threads  # noqa: E402, F401  # before torch

# isort: split
import transformers.models.resnet.modeling_resnet  # noqa: E402, F401  # else imported by every run

from bsp_hf.pretraining.rendering.clips import render_action_clips  # noqa: E402
from support.made_videos import make_videos  # noqa: E402

SCRIPTS = ("pretrain", "pretrain_fused", "train_localizer")
RANDOM, CHECKPOINT, EVALUATION, RESULT = (
    "at a random moment",
    "while a checkpoint is written",
    "in an evaluation",
    "while the result is saved",
)
# In turns; what comes late in a run stands last.
WAYS = (
    (RANDOM, CHECKPOINT, RESULT),
    (RANDOM, EVALUATION, CHECKPOINT),
    (RANDOM, EVALUATION, RESULT),
    (RANDOM, CHECKPOINT, EVALUATION),
)
LOCALIZER = {
    "num_steps": 32,
    "max_duration": 16,
    "hidden_dim": 32,
    "aligned_dim": 16,
    "map_dim": 16,
    "num_groups": 4,
}
SLOWEST_S = 1200
FORK = multiprocessing.get_context("fork")


def command(script, data, output, workers, accumulation):
    """Return a training of some seconds."""
    words = [ROOT / "examples" / f"{script}.py", "--output_dir", output, "--cpu"]
    words += ["--num_workers", workers, "--gradient_accumulation_steps", accumulation]
    if script == "train_localizer":
        words += ["--localizer", "gtad", "--config", json.dumps(LOCALIZER)]
        words += ["--features", data / "made/features"]
        words += ["--annotations", data / "made/annotations.json", "--train_subset", "train"]
        words += ["--eval_subset", "test", "--class_scores", data / "made/class_scores.json"]
        words += ["--batch_size", 2, "--epochs", 8, "--save_every", 1]
        return [str(word) for word in words]
    words += ["--video_dir", data / "clips", "--backbone", "resnet18", "--width_multiplier", 0.125]
    words += ["--short_side", 32, "--crop_size", 32, "--batch_size", 4, "--epochs", 100, "--max_steps", 24]
    words += ["--save_every", 3, "--eval_every", 12, "--mixed_precision", "no"]
    words += ["--fusion", "two-head"] if script == "pretrain_fused" else []
    return [str(word) for word in words]


def start(case, data, output):
    """Start a run, a process group of its own, whose output goes to `log(output)`."""
    script, workers, accumulation, num_processes = case
    words = command(script, data, output, workers, accumulation)
    log(output).write_text("")
    marker(output).unlink(missing_ok=True)
    process = FORK.Process(target=run_processes, args=(words, num_processes, output))
    process.start()
    return process


def run_processes(words, num_processes, output):
    os.setpgid(0, 0)
    with log(output).open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    if num_processes == 1:
        return run_marked(words, output)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    os.environ |= {"WORLD_SIZE": str(num_processes), "ACCELERATE_USE_CPU": "true"}
    ranks = [FORK.Process(target=run_marked, args=(words, output, rank)) for rank in range(num_processes)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    sys.exit(any(process.exitcode for process in ranks))


def run_marked(words, output, rank=None):
    """Run a training script, with a file at `marker(output)` while it evaluates."""
    if rank is not None:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    sys.argv = words
    parts = load_script(words[0])
    evaluate = parts["evaluate_model"]

    def evaluate_marked(*arguments, **options):
        marker(output).touch()
        try:
            return evaluate(*arguments, **options)
        finally:
            marker(output).unlink(missing_ok=True)

    parts["evaluate_model"] = evaluate_marked
    parts["main"]()


def load_script(path):
    parts = {"__name__": "training", "__file__": str(path)}
    exec(compile(Path(path).read_text(), path, "exec"), parts)
    return parts


def finish(process, output):
    process.join(SLOWEST_S)
    if process.exitcode != 0:
        raise RuntimeError(f"exit status {process.exitcode}: {log(output).read_text()[-3000:]}")


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.join()


def log(output):
    return output.parent / "log.txt"


def marker(output):
    """Return the file that is there while a run evaluates."""
    return output.parent / "evaluating"


def list_written(output, way):
    """Return what is being written at moments of this kind; earlier deaths have left some behind."""
    if way == EVALUATION:
        return {marker(output)} if marker(output).exists() else set()
    place = output / "checkpoints" if way == CHECKPOINT else output.parent
    return {path for path in list_names(place) if path.suffix == ".tmp"}


def list_names(folder):
    return list(folder.iterdir()) if folder.is_dir() else []


def list_checkpoints(output):
    return sorted(path for path in list_names(output / "checkpoints") if path.name.startswith("step-"))


def kill_once(case, data, output, way, whole_s, rng):
    """Start a run and kill it; return the way it died, or `None` if it came to its end before."""
    left = list_written(output, way) - {marker(output)}
    process = start(case, data, output)
    until = time.monotonic() + whole_s * rng.uniform(0.05, 0.5)
    while process.exitcode is None:
        if way == RANDOM:
            is_due = time.monotonic() > until
        else:  # with a checkpoint to spare, which is then damaged
            is_due = list_written(output, way) - left and len(list_checkpoints(output)) > 1
        if is_due:
            time.sleep(0 if way == RANDOM else rng.uniform(0, 0.1))
            kill(process)
            return way
        time.sleep(0.002)
    finish(process, output)
    return None


def damage(output, rng):
    """Damage a file of the newest checkpoint and return its name; `None` if there is none to spare."""
    found = list_checkpoints(output)
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


def run_case(case, data, work, ways, rng):
    """Return the cells of a row, how often the run was killed, and whether all was equal."""
    script = case[0]
    name = "-".join(map(str, case))
    whole, cut = work / f"{name}-whole" / "run", work / f"{name}-cut" / "run"
    for folder in (whole, cut):
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.parent.mkdir(parents=True)
    started = time.monotonic()
    finish(start(case, data, whole), whole)
    whole_s = time.monotonic() - started
    deaths = [kill_once(case, data, cut, way, whole_s, rng) for way in ways]
    deaths = [way for way in deaths if way]  # else it is finished: nothing is left to kill
    broken, is_noticed = damage(cut, rng), None
    finish(start(case, data, cut), cut)
    if broken is not None:
        said = log(cut).read_text()
        resumed = said.partition("resumed from")[2].partition("\n")[0]
        is_noticed = (
            f"{broken} is damaged and passed over" in said and "step-" in resumed and broken not in resumed
        )
    history, weights = (a == b for a, b in zip(result(script, whole), result(script, cut), strict=True))
    cells = [*case, "; ".join(deaths), {None: "-", True: "yes", False: "NO"}[is_noticed]]
    cells += ["equal" if same else "DIFFER" for same in (history, weights)]
    return cells, len(deaths), history and weights and is_noticed is not False


def make_data(work):
    render_action_clips(work / "clips", num_clips_per_class=2, num_held_out_per_class=2, width=48, height=36)
    make_videos(work / "made")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scripts", nargs="+", default=SCRIPTS, choices=SCRIPTS)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--accumulation", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="a folder to go on in; a temporary one by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = args.work.resolve() if args.work else Path(folder)
        if not (work / "made").is_dir():
            work.mkdir(parents=True, exist_ok=True)
            making = FORK.Process(target=make_data, args=(work,))  # runs fork off a process without threads
            making.start()
            making.join()
        for script in args.scripts:
            load_script(ROOT / "examples" / f"{script}.py")
        print("| script | workers | accumulated | processes | killed | damage noticed | losses | weights |")
        print("| --- |" + " --- |" * 7, flush=True)
        cases = itertools.product(args.workers, args.accumulation, args.processes, args.scripts)
        outcomes = []
        for number, (*counts, script) in enumerate(cases):
            case = script, *counts
            row = work / f"{'-'.join(map(str, case))}-{args.seed}.json"
            if not row.is_file():
                rng = random.Random(f"{args.seed} {case}")
                ways = WAYS[number // len(args.scripts) % len(WAYS)]
                row.write_text(json.dumps(run_case(case, work, work, ways, rng)))
            outcomes.append(json.loads(row.read_text()))
            print("| " + " | ".join(map(str, outcomes[-1][0])) + " |", flush=True)
    print(f"\n{sum(kills for _, kills, _ in outcomes)} kills in {len(outcomes)} rows, seed {args.seed}.")
    raise SystemExit(not all(is_equal for *_, is_equal in outcomes))


if __name__ == "__main__":
    main()
