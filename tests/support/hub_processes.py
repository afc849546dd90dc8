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
from typer.testing import CliRunner

from bsp_hf.cli.application import app
from support.loopback_hub import TOKEN, LoopbackHub

ROOT = Path(__file__).resolve().parents[2]

# The beginning of a clean process, with the package or as if it were not installed.
START = """
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
"""
# Every job gives the model's id and, if it wants one, a revision.
LOAD = """
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
# Every job gives the task, the model's id, for grounding a sentence, and perhaps where to push it first.
LOCALIZE = """
from transformers import pipeline
told = []
for job in request["jobs"]:
    query, repo_id = job.pop("query", None), job.pop("push_to", None)
    try:
        localize = pipeline(**job, **trust)
        if repo_id:
            localize.push_to_hub(repo_id)
            localize = pipeline(**{**job, "model": repo_id}, **trust)
        found = localize(request["video"], query) if query else localize(request["video"])
        told.append({"segments": list(found), "class": type(localize.model).__name__})
    except (KeyError, OSError, ValueError) as error:
        told.append({"error": f"{type(error).__name__}: {error}"})
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


def run_jobs(
    script: str,
    jobs: list[dict[str, Any]],
    video: Path,
    environment: dict[str, str],
    cwd: Path,
    *,
    with_package: bool,
) -> tuple[Path, list[dict[str, Any]]]:
    """Run a script in a new process; return its folder, and what it told of every job."""
    where = cwd / f"process-{len(list(cwd.glob('process-*')))}"
    where.mkdir()
    request = {"jobs": jobs, "video": str(video), "with_package": with_package, "root": str(ROOT)}
    request |= {"arrays": str(where / "arrays.npz"), "told": str(where / "told.json")}
    (where / "request.json").write_text(json.dumps(request))
    run_process([sys.executable, "-I", "-c", START + script, str(where / "request.json")], environment, where)
    print(f"\n# a new process {'with' if with_package else 'without'} bsp_hf")
    return where, json.loads((where / "told.json").read_text())


def localize_in_clean_process(
    jobs: list[dict[str, Any]], video: Path, environment: dict[str, str], cwd: Path, *, with_package: bool
) -> list[dict[str, Any]]:
    """Load the localizer of every job in one new process, and let it look at a video."""
    _, told = run_jobs(LOCALIZE, jobs, video, environment, cwd, with_package=with_package)
    for job, facts in zip(jobs, told, strict=True):
        print(f">>> pipeline({job['task']!r}, model={job['model']!r})({video.name!r})")
        print(str(facts.get("error") or facts["segments"][:2])[:300])
    return told


def load_in_clean_process(
    jobs: list[dict[str, Any]], video: Path, environment: dict[str, str], cwd: Path, *, with_package: bool
) -> list[Loaded]:
    """Load every model of `jobs` in one new process, and extract the features of a video with it."""
    where, told = run_jobs(LOAD, jobs, video, environment, cwd, with_package=with_package)
    with np.load(where / "arrays.npz") as arrays:
        features = dict(arrays)
    trust = "" if with_package else ", trust_remote_code=True"
    for job, facts in zip(jobs, told, strict=True):
        options = "".join(f", {key}={value!r}" for key, value in job.items())
        print(f'>>> pipeline("video-feature-extraction"{options}{trust})("{video.name}")')
        facts_shown = facts.get("error") or f"{facts['class']} {facts['shape']} {facts['encoder']}"
        print(facts_shown[:300])
    return [Loaded(facts, features.get(str(number))) for number, facts in enumerate(told)]
