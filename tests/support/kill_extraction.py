"""Kill the extraction command at random moments, start it again, and compare with a run that was left alone.

    python tests/support/kill_extraction.py VIDEOS MODEL WORK_FOLDER [KILLS] [SEED] [OPTIONS ...]

Prints a transcript and ends with status 0 if every file of both folders, hidden ones included, is equal.
"""

import hashlib
import random
import re
import subprocess
import sys
import time
from pathlib import Path


def command(videos: str, model: str, output: Path, options: list[str]) -> list[str]:
    words = ["extract", videos, "--model", model, "--output", str(output), "--quiet", *options]
    return [sys.executable, "-c", "from bsp_hf_command import main; main()", *words]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def wait_for_work(process: subprocess.Popen, work: Path) -> None:
    """Until the job has begun: loading the libraries is no moment of interest."""
    before = set(work.glob("**/running/*/"))
    while process.poll() is None and not set(work.glob("**/running/*/")) - before:
        time.sleep(0.005)


def main() -> int:
    videos, model, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    kills = int(sys.argv[4]) if len(sys.argv) > 4 else 6
    rng = random.Random(int(sys.argv[5]) if len(sys.argv) > 5 else 0)
    options = sys.argv[6:]
    name = "features.h5" if "--one-file" in options else "features"
    options = [option for option in options if option != "--one-file"]
    alone, killed = folder / "alone" / name, folder / "killed" / name
    done = subprocess.run(command(videos, model, alone, options), capture_output=True, text=True)
    print(f"left alone: status {done.returncode}", flush=True)
    print("  " + done.stdout.splitlines()[0], flush=True)
    took_s = float(re.search(r"([\d.]+) s", done.stdout.splitlines()[0])[1])
    for number in range(1, kills + 1):
        process = subprocess.Popen(
            command(videos, model, killed, options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        entries = len(list(killed.parent.glob("**/journal/*.json")))
        wait_for_work(process, killed.parent)
        after_s = rng.uniform(0, 1.2 * took_s / kills)
        time.sleep(after_s)
        was_running = process.poll() is None
        process.kill()
        process.communicate()
        journal = len(list(killed.parent.glob("**/journal/*.json")))
        print(
            f"kill -9 number {number}, {after_s:.2f} s into the work: {entries} -> {journal} videos in the "
            f"journal, {len(digests(killed.parent))} files" + ("" if was_running else " (it had ended)"),
            flush=True,
        )
    done = subprocess.run(command(videos, model, killed, options), capture_output=True, text=True)
    print(f"left to end: status {done.returncode}", flush=True)
    print("  " + done.stdout.splitlines()[0], flush=True)
    first, second = digests(alone.parent), digests(killed.parent)
    # The table of failures and the journal name no place but that of the videos.
    different = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    print(f"{len(first)} files left alone, {len(second)} killed and resumed, {len(different)} different")
    for name in different:
        print(f"  {name}")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
