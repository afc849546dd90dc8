"""Processes of a run end together, none before the one that saves."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys, time
from pathlib import Path
import torch
from accelerate import Accelerator
from bsp_hf.training.launch import end_training

saved = Path(sys.argv[1])
end_process = os._exit

def show_and_end(code):
    print(saved.exists(), flush=True)
    end_process(code)

os._exit = show_and_end  # nothing after end_training is reached

def train():
    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(torch.nn.Linear(2, 1))
    accelerator.backward(model(torch.ones(3, 2)).mean())
    accelerator.gather(torch.ones(1))
    if accelerator.is_main_process:
        time.sleep(3)
        saved.touch()
    end_training(accelerator)

train()
print("reached")
"""


@pytest.mark.slow
def test_no_process_ends_before_the_main_one_has_saved(tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "saved")],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            out, err = process.communicate(timeout=300)
            assert process.returncode == 0 and out == "True\n", err[-2000:]
    finally:
        for process in processes:
            process.kill()
