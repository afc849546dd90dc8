"""Child processes of the folder job that crash or hang, runs that are killed, and the launched example."""

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
from bsp_hf.features import VideoItem, find_videos
from bsp_hf.features.extraction import job as extraction_job
from bsp_hf.features.extraction import loop as extraction_loop
from bsp_hf.features.extraction.session import STALE_S, JobSession
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
def test_a_worker_that_dies_while_idle_is_replaced(clips, tiny_encoder, tmp_path, monkeypatch):
    """As when the system ends it for its memory: assigning a video to it was a BrokenPipeError."""
    workers = []

    class KilledOnce(Worker):
        def assign(self, item):
            if not workers:
                self._process.kill()
                self._process.join()
            workers.append(self)
            super().assign(item)

    monkeypatch.setattr(extraction_job, "Worker", KilledOnce)
    report = extract_features(clips, tiny_encoder, tmp_path / "out", num_workers=1, show_progress=False)
    assert report.done == ("b", "c", "kitchen/a") and len(report.failed) == 1
    assert len(workers) == 1  # all others were made by the loop


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
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, **options)
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


def test_a_claim_holds_while_its_process_lives(tmp_path):
    with JobSession(tmp_path) as first, JobSession(tmp_path) as second:
        assert first.claim("a") and first.claim("a") and not second.claim("a") and second.claim("b")
        first.release("a")
        assert second.claim("a") and not first.claim("a")
    assert list((tmp_path / "claims").iterdir()) == list((tmp_path / "sessions").iterdir()) == []


def leave_behind(work, pid, host):
    """What a process leaves that was killed in the middle of a video."""
    import json

    session = JobSession(work)
    session.scratch.mkdir(parents=True)
    (work / "claims").mkdir(exist_ok=True)
    (session.scratch / "half.npy").write_bytes(b"half")
    alive = {"host": host, "pid": pid, "started": 1.0}
    (session.scratch / "heartbeat").write_text(json.dumps(alive))
    assert session.claim("a")
    return session


def test_what_a_killed_process_has_left_is_swept_away(tmp_path):
    import socket

    dead = leave_behind(tmp_path, os.getpid(), socket.gethostname())  # this number, another process
    with JobSession(tmp_path) as session:
        assert not dead.scratch.exists()
        assert session.claim("a")


def test_a_process_of_another_machine_is_gone_when_its_heartbeat_is_old(tmp_path):
    other = leave_behind(tmp_path, 1, "another-machine")
    with JobSession(tmp_path) as session:
        assert not session.claim("a")
        long_ago_s = time.time() - STALE_S - 5
        os.utime(other.scratch / "heartbeat", (long_ago_s, long_ago_s))
        assert session.claim("a")
    assert list((tmp_path / "sessions").iterdir()) == []
