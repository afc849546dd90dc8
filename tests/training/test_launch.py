"""Processes of a run end together, none before the one that saves."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

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


@pytest.mark.parametrize(
    ("name", "processes", "machines", "kind"),
    [("one_gpu", 1, 1, "NO"), ("eight_gpus", 8, 1, "MULTI_GPU"), ("two_nodes", 16, 2, "MULTI_GPU")],
)
def test_configuration_files_of_accelerate_are_read_by_it(name, processes, machines, kind):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    path = ROOT / "examples" / "accelerate" / f"{name}.yaml"
    config = load_config_from_file(str(path))  # refuses keys that it does not know
    assert (config.num_processes, config.num_machines) == (processes, machines)
    assert (config.distributed_type, config.mixed_precision, config.use_cpu) == (kind, "bf16", False)
    # So are the options of the commands in its comments, behind "accelerate launch".
    known = {action.dest for action in launch_command_parser()._actions}
    commands = re.findall(r"accelerate launch (.*?) examples/", path.read_text(encoding="utf-8"))
    assert {word for line in commands for word in re.findall(r"--(\w+)", line)} <= known
