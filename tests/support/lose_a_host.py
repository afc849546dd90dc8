"""Train on two hosts, lose one, start both again, and compare with a run that nothing interrupted.

    sudo python tests/support/lose_a_host.py         # Linux; a few minutes

The hosts are two network namespaces of this machine, joined by a cable (a pair of virtual interfaces); each
runs `accelerate launch` with its rank, as on two machines. Once two checkpoints are written, one host is
lost: its cable is cut and its processes are killed (SIGKILL). What is left of the run on the other is ended,
as a scheduler would. The same two commands, on hosts that are there again, go on from the last checkpoint.
Losses, scores and weights must be those of the uninterrupted run to the bit. Prints what happened; the exit
status is 1 if anything differs.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from support.kill_trainings import SCRIPTS, command, list_checkpoints, make_data, result  # noqa: E402

ADDRESSES = ("10.77.0.1", "10.77.0.2")
SLOWEST_S = 1200


def host(rank):
    return f"bsp-host{rank}-{os.getpid()}"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


@contextmanager
def two_hosts():
    """Network namespaces that can reach each other and nothing else."""
    for rank in (0, 1):
        ip("netns", "add", host(rank))
    try:
        ip(*f"link add cable netns {host(0)} type veth peer name cable netns {host(1)}".split())
        for rank, address in enumerate(ADDRESSES):
            ip("-n", host(rank), "address", "add", f"{address}/24", "dev", "cable")
            for interface in ("lo", "cable"):
                ip("-n", host(rank), "link", "set", interface, "up")
        yield
    finally:
        for rank in (0, 1):
            ip("netns", "delete", host(rank))


def launch(rank, words, log):
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "2", "--machine_rank", str(rank), "--main_process_ip", ADDRESSES[0]]
    launcher += ["--main_process_port", "29500", "--mixed_precision", "no", "--dynamo_backend", "no"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "cable"}
    return subprocess.Popen(
        ["ip", "netns", "exec", host(rank), *launcher, *words],
        env=environment,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def start(script, data, output):
    """Start a run on both hosts."""
    words = command(script, data, output, 0, 1)
    output.parent.mkdir(exist_ok=True)
    return [launch(rank, words, output.parent / f"host{rank}.txt") for rank in (0, 1)]


def finish(hosts, output):
    for process in hosts:
        if process.wait(SLOWEST_S):
            raise RuntimeError((output.parent / f"host{hosts.index(process)}.txt").read_text()[-3000:])


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def lose_one(hosts, output):
    """Lose the second host after two checkpoints; return the name of the last one."""
    until = time.monotonic() + SLOWEST_S
    while len(list_checkpoints(output)) < 2:
        if time.monotonic() > until or hosts[0].poll() is not None:
            raise RuntimeError((output.parent / "host0.txt").read_text()[-3000:])
        time.sleep(0.005)
    ip("-n", host(1), "link", "set", "cable", "down")
    kill(hosts[1])
    kill(hosts[0])
    last = list_checkpoints(output)[-1].name
    print(f"one host is lost behind {last}, and the other ended", flush=True)
    return last


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--script", default=SCRIPTS[0], choices=SCRIPTS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        make_data(data)
        whole, cut = data / "whole" / "run", data / "cut" / "run"
        with two_hosts():
            print(
                f"two hosts, {' and '.join(ADDRESSES)}, one process of {args.script}.py on each", flush=True
            )
            finish(start(args.script, data, whole), whole)
            print("a run that nothing interrupted is finished", flush=True)
            last = lose_one(start(args.script, data, cut), cut)
        with two_hosts():
            finish(start(args.script, data, cut), cut)
        said = (cut.parent / "host0.txt").read_text()
        print("\n".join(line for line in said.splitlines() if "resumed from" in line).replace(folder, ""))
        same = [a == b for a, b in zip(result(args.script, whole), result(args.script, cut), strict=True)]
        for name, is_equal in zip(("losses and scores", "weights"), same, strict=True):
            print(f"{name}: {'equal to the bit' if is_equal else 'DIFFER'}", flush=True)
    raise SystemExit(not (all(same) and f"{last}\n" in said))


if __name__ == "__main__":
    main()
