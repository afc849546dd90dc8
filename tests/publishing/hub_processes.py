"""Clean processes that load from the loopback hub, with the package or without it, and tell what they got."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from loopback_hub import TOKEN, LoopbackHub
from typer.testing import CliRunner

from bsp_hf.cli import app

ROOT = Path(__file__).resolve().parents[2]

# Every job gives the model's id and, if it wants one, a revision.
LOAD = """
import json, sys
request = json.load(open(sys.argv[1]))
if request["with_package"]:
    sys.path.insert(0, request["root"])
    import bsp_hf
    trust = {}
else:
    class NoPackage:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "bsp_hf":
                raise ModuleNotFoundError("bsp_hf is not installed here")
    sys.meta_path.insert(0, NoPackage())
    trust = {"trust_remote_code": True}
import numpy as np
from transformers import pipeline
told, arrays = [], {}
for number, job in enumerate(request["jobs"]):
    try:
        extract = pipeline("video-feature-extraction", **job, **trust)
        track = extract(request["video"])
    except (OSError, ValueError) as error:
        told.append({"error": f"{type(error).__name__}: {error}"})
        continue
    told.append({"encoder": track["encoder"], "class": type(extract.model).__name__,
                 "shape": track["features"].shape, "centers_s": track["centers_s"].tolist()})
    arrays[str(number)] = track["features"]
np.savez(request["arrays"], **arrays)
json.dump(told, open(request["told"], "w"))
"""


@dataclass(frozen=True)
class Loaded:
    """What a process said of one model: its facts, or its error, and the features of the video."""

    facts: dict[str, Any]
    features: np.ndarray | None

    @property
    def error(self) -> str:
        return str(self.facts["error"])


def run_process(command: list[str], environment: dict[str, str], cwd: Path) -> None:
    """Run a command without what could make it offline or find the package's code."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HF_MODULES_CACHE")}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def publish_by_command(words: list[str], hub: LoopbackHub, cwd: Path) -> None:
    """Run `bsp-hf publish`; what it says is printed, for the transcript."""
    with pytest.MonkeyPatch.context() as patch:
        # This process started offline; the client asks these at every call.
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setenv("HF_TOKEN", TOKEN)
        patch.chdir(cwd)
        result = CliRunner().invoke(app, ["publish", *words])
    assert result.exit_code == 0, (result.output, result.exception)
    print(f"\n$ bsp-hf publish {shlex.join(words)}\n{result.stdout.rstrip()}")


def load_in_clean_process(
    jobs: list[dict[str, Any]], video: Path, environment: dict[str, str], cwd: Path, *, with_package: bool
) -> list[Loaded]:
    """Load every model of `jobs` in one new process, and extract the features of a video with it."""
    where = cwd / f"process-{len(list(cwd.glob('process-*')))}"
    where.mkdir()
    request = {"jobs": jobs, "video": str(video), "with_package": with_package, "root": str(ROOT)}
    request |= {"arrays": str(where / "arrays.npz"), "told": str(where / "told.json")}
    (where / "request.json").write_text(json.dumps(request))
    run_process([sys.executable, "-I", "-c", LOAD, str(where / "request.json")], environment, where)
    told = json.loads((where / "told.json").read_text())
    with np.load(where / "arrays.npz") as arrays:
        features = dict(arrays)
    trust = "" if with_package else ", trust_remote_code=True"
    print(f"\n# a new process {'with' if with_package else 'without'} bsp_hf")
    for job, facts in zip(jobs, told, strict=True):
        options = "".join(f", {key}={value!r}" for key, value in job.items())
        print(f'>>> pipeline("video-feature-extraction"{options}{trust})("{video.name}")')
        facts_shown = facts.get("error") or f"{facts['class']} {facts['shape']} {facts['encoder']}"
        print(facts_shown[:300])
    return [Loaded(facts, features.get(str(number))) for number, facts in enumerate(told)]
