"""Child processes of the folder job that crash or hang, runs that are killed, and the launched example."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.job_folders import contents, reasons

from bsp_hf import extract_features
from bsp_hf.features import JobConflictError, VideoItem, find_videos
from bsp_hf.features.extraction import lock as extraction_lock
from bsp_hf.features.extraction import loop as extraction_loop
from bsp_hf.features.extraction.lock import JobLock
from bsp_hf.features.extraction.workers import Worker

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Crashing:
    """A file that crashes the decoder."""

    def stamp(self):
        return "1"

    def open(self):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # writing gigabytes to disk would take its time
        os.kill(os.getpid(), signal.SIGSEGV)


@dataclass(frozen=True)
class Stuck:
    """A file on a disk that has gone away."""

    def stamp(self):
        time.sleep(3600)

    def open(self):
        raise OSError


@pytest.mark.slow
def test_a_crash_and_a_hang_cost_one_video_each(clips, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction_loop, "GRACE_S", 1.0)
    items = [VideoItem("a0", "bad/crash.mp4", Crashing()), VideoItem("a1", "bad/stuck.mp4", Stuck())]
    items += find_videos(clips / "b.mkv").items
    report = extract_features(
        items, tiny_encoder, tmp_path / "out", num_workers=1, timeout_s=9, show_progress=False
    )
    assert report.done == ("b",) and report.exit_status == 1
    told = reasons(tmp_path / "out" / "failures.csv")
    assert told["crash.mp4"] == "the process that read it ended with signal 11 (SIGSEGV)"
    assert told["stuck.mp4"] == "it gave nothing for 10 s and was abandoned"


@pytest.mark.slow
@pytest.mark.parametrize("is_seen", [True, False])
def test_a_worker_that_dies_while_idle_is_replaced(clips, tiny_encoder, tmp_path, monkeypatch, is_seen):
    """As when the system ends it for its memory: assigning a video to it was a BrokenPipeError."""
    workers = []

    class KilledOnce(Worker):
        def assign(self, item):
            workers.append(self)
            if workers[0] is self:
                if is_seen:
                    self._process.kill()
                    self._process.join()
                else:  # the pipe takes the video, and nobody reads it
                    os.kill(self._process.pid, signal.SIGSTOP)
            super().assign(item)
            if workers[0] is self:
                self._process.kill()

    monkeypatch.setattr(extraction_loop, "Worker", KilledOnce)
    report = extract_features(clips, tiny_encoder, tmp_path / "out", num_workers=1, show_progress=False)
    assert report.done == ("b", "c", "kitchen/a") and len(report.failed) == 1
    assert len(set(workers)) == 2 and len(workers) == 5


class KilledAtStart(Worker):
    """Of the workers, those with the numbers of `killed` end before they are ready."""

    killed: tuple[int, ...] = ()
    number = 0

    def __init__(self, setup, is_process):
        super().__init__(setup, is_process)
        KilledAtStart.number += 1
        if KilledAtStart.number in KilledAtStart.killed:
            self._process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("killed", "num_workers"), [((1,), 1), ((2, 3, 4, 5, 6), 2)])
def test_a_worker_that_dies_while_it_starts_ends_no_job(
    clips, tiny_encoder, tmp_path, monkeypatch, killed, num_workers
):
    monkeypatch.setattr(extraction_loop, "Worker", KilledAtStart)
    monkeypatch.setattr(KilledAtStart, "killed", killed)
    monkeypatch.setattr(KilledAtStart, "number", 0)
    report = extract_features(
        clips, tiny_encoder, tmp_path / "out", num_workers=num_workers, show_progress=False
    )
    assert report.done == ("b", "c", "kitchen/a") and len(report.failed) == 1


@pytest.mark.slow
def test_workers_that_all_die_while_they_start_end_the_job_in_one_line(
    clips, tiny_encoder, tmp_path, monkeypatch
):
    monkeypatch.setattr(extraction_loop, "Worker", KilledAtStart)
    monkeypatch.setattr(KilledAtStart, "killed", range(20))
    monkeypatch.setattr(KilledAtStart, "number", 0)
    with pytest.raises(RuntimeError, match=r"could not be loaded: .*signal 9 \(SIGKILL\)"):
        extract_features(clips, tiny_encoder, tmp_path / "out", num_workers=1, show_progress=False)


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_folder(clips, tiny_encoder, tmp_path):
    script = Path(__file__).resolve().parents[2] / "support" / "kill_extraction.py"
    finished = subprocess.run(
        [sys.executable, script, clips, tiny_encoder, tmp_path, "2", "0", "--stride-frames", "1"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [ROOT, *sys.path]))},
    )
    print(finished.stdout)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert " 0 different" in finished.stdout


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1])
def test_ctrl_c_ends_the_installed_command_which_then_goes_on(clips, tiny_encoder, tmp_path, num_workers):
    # As pip writes the console script: its children run it too.
    (tmp_path / "bsp-hf").write_text("from bsp_hf_command import main\nif __name__ == '__main__': main()\n")
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(200):
        (videos / f"{number:03}.mkv").symlink_to(clips / "b.mkv")
    output = tmp_path / "out"
    words = ["extract", videos, "--model", tiny_encoder, "--output", output, "--num-workers", num_workers]
    command = [sys.executable, tmp_path / "bsp-hf", *map(str, words)]
    options = {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "stdin": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell has its background jobs ignore Ctrl-C, and so their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )
    until_s = time.monotonic() + 120
    while not (output / "001.npy").exists() and time.monotonic() < until_s:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and said.endswith("Stopped.\n"), said
    num_done = len(list(output.glob("*.npy")))
    assert 2 <= num_done < 200
    finished = subprocess.run(command, capture_output=True, check=False, **options)
    assert finished.returncode == 0, finished.stderr
    num_new, num_old = map(int, re.search(r"(\d+) done, (\d+) already there", finished.stdout).groups())
    assert num_new + num_old == 200 and num_old >= num_done - 1  # one file may lack its entry in the journal


@pytest.mark.slow
def test_the_example_shares_the_work_under_accelerate(clips, tiny_encoder, tmp_path):
    def run(*launcher, output):
        words = ["--videos", str(clips), "--model", str(tiny_encoder), "--output", str(output)]
        return subprocess.run(
            [sys.executable, *launcher, str(ROOT / "examples" / "extract_features.py"), *words],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )

    alone = run(output=tmp_path / "alone")
    assert alone.returncode == 1, alone.stderr
    assert "3 done, 1 failed" in alone.stderr
    # What `accelerate launch --multi_gpu` runs; on processors alone Accelerate itself launches by MPI only.
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    launched = run(*launcher, output=tmp_path / "two")
    assert launched.returncode == 1, launched.stderr
    assert "process 0:" in launched.stderr and "process 1:" in launched.stderr
    assert contents(tmp_path / "two") == contents(tmp_path / "alone")


def hold_in_a_process(output, shard):
    """Another process that holds the lock of a job until it is killed."""
    code = f"""
import time
from pathlib import Path
from bsp_hf.features.extraction.lock import JobLock
output = Path({str(output)!r})
lock = JobLock(output, output / ".bsp_hf", {shard})
with lock.hold():
    (lock.scratch / "half.npy").write_bytes(b"half")
    print("held", flush=True)
    time.sleep(600)
"""
    (output / ".bsp_hf" / "running").mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize("shard", [(0, 1), (1, 2)])
def test_a_lock_ends_with_its_process_however_that_ends(tmp_path, shard):
    process = hold_in_a_process(tmp_path, shard)
    lock = JobLock(tmp_path, tmp_path / ".bsp_hf", (0, 1))
    try:
        with pytest.raises(JobConflictError, match=f"process {process.pid} on host"):
            lock.check_free()
    finally:
        process.kill()
        process.communicate()
    half = tmp_path / ".bsp_hf" / "running" / f"{shard[0]}-of-{shard[1]}" / "half.npy"
    assert half.exists()
    lock.check_free()
    assert contents(tmp_path) == {}


def test_a_disk_without_locks_is_one_warning(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(extraction_lock.fcntl, "flock", refuse)
    lock = JobLock(tmp_path, tmp_path / ".bsp_hf", (0, 1))
    lock.check_free()
    lock.check_free()
    assert caplog.text.count("has no locks") == 1
