"""Damaged files by the hundred: each decodes, warns that it is partial, or raises the documented error."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.rendered import render_video

NUM_MUTANTS = int(os.environ.get("BSP_HF_FUZZ_MUTANTS", "300"))
BATCH = 100
# Generous: a mutant takes some hundredths of a second, starting the process a few seconds.
LIMIT_S = 300

NO_EDITS = {"use_editlist": "0"}  # so that the declared count is the number of frames to show
BASES = {
    "base.mp4": {"format_options": NO_EDITS | {"movflags": "faststart"}},
    "base.m4v": {"format_options": NO_EDITS, "container_format": "mp4"},
    "base.f4v": {
        "format_options": NO_EDITS | {"movflags": "frag_keyframe+empty_moov"},
        "container_format": "mp4",
    },
    "base.3gp": {"codec": "mpeg4", "format_options": NO_EDITS, "container_format": "mp4"},
    "base.mov": {"codec": "qtrle", "format_options": NO_EDITS},
    "base.mkv": {"audio": "last"},
    "base.webm": {"codec": "libvpx-vp9"},
    "base.avi": {"codec": "mpeg4"},
    "base.divx": {"codec": "mjpeg", "container_format": "avi"},
    "base.ts": {},
    "base.flv": {},
    "base.gif": {"codec": "gif", "fps": 10},
    "base.h264": {},
    "base.mpg": {"codec": "mpeg2video"},
    "base.m2v": {"codec": "mpeg2video", "container_format": "mpeg2video"},
    "base.y4m": {
        "codec": "rawvideo",
        "pixel_format": "yuv420p",
        "container_format": "yuv4mpegpipe",
        "size": (32, 32),
    },
    "base.ogv": {"codec": "libvpx"},
    "base.nut": {},
    "base.asf": {"codec": "wmv2", "b_frames": 0},
    "base.mxf": {"codec": "mpeg2video"},
}


@pytest.mark.slow
def test_no_damage_crashes_hangs_or_passes_for_whole(tmp_path):
    for name, options in BASES.items():
        render_video(tmp_path / name, 30, **options)
    outcomes = Counter()
    for first in range(0, NUM_MUTANTS, BATCH):
        last = min(first + BATCH, NUM_MUTANTS)
        command = [
            sys.executable,
            Path(__file__).resolve().parents[1] / "support" / "fuzz_videos.py",
            tmp_path,
            str(first),
            str(last),
        ]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path)), "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
        except subprocess.TimeoutExpired as expired:
            pytest.fail(f"hangs: {(expired.stdout or b'').decode().splitlines()[-1:]}")
        lines = done.stdout.splitlines()
        assert done.returncode == 0, f"crashes at {lines[-1:]}: {done.stderr[-2000:]}"
        ends = [line.split(" ", 3) for line in lines if line.startswith("end ")]
        assert [int(end[1]) for end in ends] == list(range(first, last))
        wrong = [line for line in lines if " WRONG " in line]
        assert not wrong, "\n".join(wrong)
        outcomes.update(end[2] for end in ends)
    assert set(outcomes) == {"complete", "partial", "error"}
